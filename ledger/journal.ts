// The journal: what makes an append durable in one write. Segments of zeroed, reused files hold
// checksummed records.
// Invariant: a segment starts with a base (the tree's whole right edge), so the newest unsettled
// base and the records after it are enough to rebuild every file that may not have reached the
// disk.
//
//   record, at a multiple of 4,096:
//   | 'HPJ1' 4 | kind 1 | zero 3 | segment u64 | ordinal u32 | length u32 | crc32 u32 | zero 4 |
//   payload … | zeros |
import { crc32 } from 'node:zlib';
import { LedgerError } from './errors.ts';
import type { Files } from './files.ts';
import { HASH_BYTES, JOURNAL_ALIGN, TILE_WIDTH } from './limits.ts';
import type { Edge } from './tree.ts';

const MAGIC = 0x48504a31;
export const HEADER_BYTES = 32;
const BASE = 1;
const COMMIT = 2;

/** The tree at the segment's start, and the checkpoint signed for it. */
export interface BaseRecord {
  readonly kind: 'base';
  readonly checkpoint: string;
  readonly edge: Edge;
}

/**
 * One group commit: entries (with length prefixes) from `first` on, and the checkpoint that
 * contains them.
 */
export interface CommitRecord {
  readonly kind: 'commit';
  readonly checkpoint: string;
  readonly first: number;
  readonly entries: readonly Buffer[];
}

export type JournalRecord = BaseRecord | CommitRecord;

function aligned(bytes: number): number {
  return Math.ceil(bytes / JOURNAL_ALIGN) * JOURNAL_ALIGN;
}

/** Writes payloads into one reused buffer; `take` gives the record ready for the disk. */
export class RecordWriter {
  #bytes = Buffer.alloc(64 * 1024);
  #at = HEADER_BYTES;

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const larger = Buffer.alloc(aligned(Math.max(this.#bytes.length * 2, this.#at + bytes)));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }

  number(n: number): void {
    this.#room(8);
    this.#bytes.writeBigUInt64BE(BigInt(n), this.#at);
    this.#at += 8;
  }

  raw(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  bytes(bytes: Uint8Array): void {
    this.number(bytes.length);
    this.raw(bytes);
  }

  /** Bytes that the record will take on disk with `payload` bytes more than now. */
  size(payload = 0): number {
    return aligned(this.#at + payload);
  }

  take(kind: number, segment: number, ordinal: number): Buffer {
    const length = this.#at - HEADER_BYTES;
    const total = aligned(this.#at);
    this.#room(total - this.#at);
    const record = this.#bytes.subarray(0, total);
    record.fill(0, this.#at);
    record.fill(0, 0, HEADER_BYTES);
    record.writeUInt32BE(MAGIC, 0);
    record[4] = kind;
    record.writeBigUInt64BE(BigInt(segment), 8);
    record.writeUInt32BE(ordinal, 16);
    record.writeUInt32BE(length, 20);
    record.writeUInt32BE(crc32(record.subarray(0, HEADER_BYTES + length)), 24);
    this.#at = HEADER_BYTES;
    return record;
  }
}

export function writeBase(writer: RecordWriter, base: Omit<BaseRecord, 'kind'>): void {
  writer.bytes(Buffer.from(base.checkpoint));
  writer.number(base.edge.size);
  writer.number(base.edge.tiles.length);
  for (const tile of base.edge.tiles) writer.bytes(tile);
  writer.number(base.edge.entries.length);
  for (const entry of base.edge.entries) writer.raw(entry);
}

export function writeCommit(writer: RecordWriter, commit: Omit<CommitRecord, 'kind'>): void {
  writer.bytes(Buffer.from(commit.checkpoint));
  writer.number(commit.first);
  writer.number(commit.entries.length);
  for (const entry of commit.entries) writer.raw(entry);
}

/** A checked cursor over one payload. */
class RecordReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  #take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) {
      throw new LedgerError(
        'journal-corrupt',
        'A journal record with a right checksum ends too early.',
      );
    }
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  number(): number {
    return Number(this.#take(8).readBigUInt64BE());
  }

  bytes(): Buffer {
    return this.#take(this.number());
  }

  entries(): Buffer[] {
    const count = this.number();
    const entries: Buffer[] = [];
    for (let i = 0; i < count; i++) {
      const at = this.#at;
      this.#take(this.#take(2).readUInt16BE());
      entries.push(this.#bytes.subarray(at, this.#at));
    }
    return entries;
  }
}

function decode(kind: number, payload: Buffer): JournalRecord {
  const reader = new RecordReader(payload);
  const checkpoint = reader.bytes().toString();
  if (kind === COMMIT) {
    return { kind: 'commit', checkpoint, first: reader.number(), entries: reader.entries() };
  }
  const size = reader.number();
  const levels = reader.number();
  const tiles: Buffer[] = [];
  for (let i = 0; i < levels; i++) tiles.push(reader.bytes());
  const entries = reader.entries();
  if (entries.length !== size % TILE_WIDTH || tiles.some((t) => t.length % HASH_BYTES !== 0)) {
    throw new LedgerError('journal-corrupt', 'A journal base does not fit its own size.');
  }
  return { kind: 'base', checkpoint, edge: { size, tiles, entries } };
}

/** The record at `at`, or null when there is no whole record of this segment. */
function recordAt(
  bytes: Buffer,
  at: number,
  segment: number,
): { ordinal: number; kind: number; length: number } | null {
  if (at + HEADER_BYTES > bytes.length || bytes.readUInt32BE(at) !== MAGIC) return null;
  if (bytes.readBigUInt64BE(at + 8) !== BigInt(segment)) return null;
  const length = bytes.readUInt32BE(at + 20);
  if (at + HEADER_BYTES + length > bytes.length) return null;
  const checked = Buffer.from(bytes.subarray(at, at + HEADER_BYTES + length));
  checked.writeUInt32BE(0, 24);
  if (crc32(checked) !== bytes.readUInt32BE(at + 24)) return null;
  return { ordinal: bytes.readUInt32BE(at + 16), kind: bytes[at + 4] ?? 0, length };
}

/**
 * The whole records of a segment, in order. What follows the last one must be a torn write at most:
 * a later record that is whole means damage in the middle, which would lose entries that were
 * answered, so that is an error.
 */
export function readSegment(bytes: Buffer, segment: number, name: string): JournalRecord[] {
  const records: JournalRecord[] = [];
  let at = 0;
  for (;;) {
    const found = recordAt(bytes, at, segment);
    if (found === null || found.ordinal !== records.length) break;
    const start = at + HEADER_BYTES;
    records.push(decode(found.kind, bytes.subarray(start, start + found.length)));
    at += aligned(HEADER_BYTES + found.length);
  }
  for (let later = at; later < bytes.length; later += JOURNAL_ALIGN) {
    const found = recordAt(bytes, later, segment);
    if (found !== null && found.ordinal > records.length) {
      throw new LedgerError(
        'journal-corrupt',
        `Journal ${name} is damaged at byte ${at}, but a later record (${found.ordinal}) is ` +
          'whole: entries that were answered would be lost. Restore the file from the standby ' +
          'or a backup.',
      );
    }
  }
  return records;
}

/** One segment open for writing. */
export class Segment {
  readonly number: number;
  readonly path: string;
  readonly #file: ReturnType<Files['openDurable']>;
  readonly #writer: RecordWriter;
  readonly #bytes: number;
  #ordinal = 0;
  #at = 0;

  constructor(files: Files, path: string, number: number, bytes: number, writer: RecordWriter) {
    this.#bytes = bytes;
    this.number = number;
    this.path = path;
    this.#file = files.openDurable(path);
    this.#writer = writer;
  }

  /** true when a record of about this payload should go into the next segment. */
  full(payload: number): boolean {
    return this.#ordinal > 1 && this.#at + aligned(payload + HEADER_BYTES + 1024) > this.#bytes;
  }

  async base(base: Omit<BaseRecord, 'kind'>): Promise<void> {
    writeBase(this.#writer, base);
    await this.#flush(BASE);
  }

  async commit(commit: Omit<CommitRecord, 'kind'>): Promise<void> {
    writeCommit(this.#writer, commit);
    await this.#flush(COMMIT);
  }

  async #flush(kind: number): Promise<void> {
    const record = this.#writer.take(kind, this.number, this.#ordinal);
    // A short write is carried on with; an error is not retried: the caller stops for good
    // (poison).
    for (let done = 0; done < record.length; ) {
      const n = await this.#file.write(record, done, record.length - done, this.#at + done);
      if (n <= 0) throw new Error('the disk took no bytes');
      done += n;
    }
    this.#at += record.length;
    this.#ordinal++;
  }

  close(): void {
    this.#file.close();
  }
}
