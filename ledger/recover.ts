// Recovery: from what the disk has to a tree that can be appended to, through append's own steps.
// Invariant: every entry that was answered is in the recovered tree, or opening fails and says so;
// nothing is signed here that an earlier checkpoint contradicts. Bytes that an earlier failed fsync
// left in the page cache are trusted only after they have been written again, to other files, and
// synced.
import { dirname } from 'node:path';
import { type Checkpoint, openCheckpoint, signCheckpoint } from './checkpoint.ts';
import { LedgerError } from './errors.ts';
import type { Files } from './files.ts';
import { type BaseRecord, type CommitRecord, readSegment, type Segment } from './journal.ts';
import type { Layout } from './layout.ts';
import { SEGMENT_BYTES, TILE_WIDTH } from './limits.ts';
import { PublishedLog } from './log.ts';
import { EMPTY_ROOT, hashLeaf, treeRoot } from './merkle.ts';
import type { Signer, Verifier } from './note.ts';
import { Publisher, snapshot } from './publish.ts';
import { Segments } from './segments.ts';
import { hashesAt, tilePath } from './tile.ts';
import { type TileReader, Tree } from './tree.ts';

export interface Recovered {
  readonly tree: Tree;
  readonly checkpoint: string;
  readonly publisher: Publisher;
  readonly segments: Segments;
  readonly segment: Segment;
}

/** Full tiles from the published files. */
export function tileReader(files: Files, layout: Layout): TileReader {
  return (level, index) => files.read(layout.tile(tilePath(level, index, TILE_WIDTH)));
}

function published(files: Files, layout: Layout, signer: Signer): Checkpoint | null {
  const note = files.read(layout.checkpoint);
  if (note === null) return null;
  try {
    return openCheckpoint(note, [signer]);
  } catch (error) {
    throw new LedgerError(
      'key-mismatch',
      `${layout.checkpoint} is not signed by ${signer.vkey}: the log has another key or name, ` +
        'or the file was changed. Restore the key, or open the log by its own name.',
      { cause: error },
    );
  }
}

export interface Replayed {
  readonly tree: Tree;
  readonly checkpoint: string;
  /** true when a checkpoint of this size and root was passed on the way. */
  readonly passed: (checkpoint: Checkpoint) => boolean;
}

/** The journal's segments, oldest first; empty ones at the end were only made ready. */
function segmentsOf(files: Files, layout: Layout): { number: number; name: string }[] {
  const names = files.list(layout.journal).filter((name) => /^\d{12}$/.test(name));
  return names.map((name) => ({ number: Number(name), name }));
}

function corrupt(name: string, why: string): LedgerError {
  return new LedgerError(
    'journal-corrupt',
    `Journal ${name} ${why}. Restore it from the standby or a backup.`,
  );
}

/** Runs the journal's commits through the tree again; each must give the root that was signed. */
export function replay(
  files: Files,
  layout: Layout,
  signer: Verifier,
  read: TileReader,
): Replayed | null {
  let tree: Tree | null = null;
  let checkpoint = '';
  let ended: string | null = null;
  const roots = new Map<number, Buffer>();
  const arrive = (at: Tree, record: BaseRecord | CommitRecord, name: string): void => {
    const signed = openCheckpoint(record.checkpoint, [signer]);
    const root = at.root();
    if (signed.size !== at.size || !signed.root.equals(root)) {
      throw corrupt(name, `has entries that do not give the root signed for size ${signed.size}`);
    }
    roots.set(at.size, root);
    checkpoint = record.checkpoint;
  };
  for (const { number, name } of segmentsOf(files, layout)) {
    const records = readSegment(
      files.read(layout.segment(number)) ?? Buffer.alloc(0),
      number,
      name,
    );
    if (records.length === 0) {
      ended ??= name;
      continue;
    }
    if (ended !== null) throw corrupt(ended, `has no base, but ${name} follows it`);
    for (const record of records) {
      if (record.kind === 'base') {
        if (tree === null) tree = Tree.from(record.edge, read);
        else if (tree.size !== record.edge.size)
          throw corrupt(name, `starts at ${record.edge.size}, the one before ends at ${tree.size}`);
      } else {
        if (tree === null) throw corrupt(name, 'does not start with a base');
        if (record.first !== tree.size)
          throw corrupt(name, `goes on at ${record.first} instead of ${tree.size}`);
        for (const framed of record.entries) tree.append(hashLeaf(framed.subarray(2)), framed);
      }
      arrive(tree, record, name);
    }
  }
  if (tree === null) return null;
  const passed = (at: Checkpoint): boolean => {
    if (at.size === 0) return at.root.equals(EMPTY_ROOT);
    return (roots.get(at.size) ?? treeRoot(at.size, tree.node)).equals(at.root);
  };
  return { tree, checkpoint, passed };
}

/** The published log as a tree, for when the journal is lost: its own checkpoint vouches for it. */
function fromPublished(files: Files, layout: Layout, signer: Verifier): Replayed {
  const log = new PublishedLog(layout.log, signer, files);
  const tiles: Buffer[] = [];
  for (let level = 0; hashesAt(level, log.size) > 0; level++) {
    const index = Math.floor(hashesAt(level, log.size) / TILE_WIDTH);
    tiles.push(log.width(level, index) === 0 ? Buffer.alloc(0) : log.tile(level, index));
  }
  const last = Math.floor(log.size / TILE_WIDTH);
  const entries = log.width(0, last) === 0 ? [] : log.bundle(last).map(framed);
  const tree = Tree.from({ size: log.size, tiles, entries }, tileReader(files, layout));
  const leaves = entries.map((entry) => hashLeaf(entry.subarray(2)));
  if (
    !tree.root().equals(log.checkpoint.root) ||
    !Buffer.concat(leaves).equals(tiles[0] ?? Buffer.alloc(0))
  ) {
    throw new LedgerError(
      'tile-invalid',
      'The published files do not give their own root; run: holdpoint ledger verify.',
    );
  }
  return { tree, checkpoint: log.note, passed: (at) => at.size === log.size };
}

function framed(entry: Uint8Array): Buffer {
  const bytes = Buffer.alloc(2 + entry.length);
  bytes.writeUInt16BE(entry.length);
  bytes.set(entry, 2);
  return bytes;
}

/** Journal and published checkpoint against each other; null for a new log. */
function readAll(
  files: Files,
  layout: Layout,
  signer: Signer,
  before: Checkpoint | null,
  adopt: boolean,
): Replayed | null {
  const replayed = replay(files, layout, signer, tileReader(files, layout));
  if (before === null) return replayed;
  const size = replayed?.tree.size ?? 0;
  if (replayed !== null && size >= before.size) {
    if (replayed.passed(before)) return replayed;
    throw new LedgerError(
      'rolled-back',
      `The published checkpoint of ${before.size} entries is not a state of this journal: they ` +
        'are of different histories.',
    );
  }
  if (adopt) return fromPublished(files, layout, signer);
  const code = replayed === null ? 'journal-missing' : 'rolled-back';
  throw new LedgerError(
    code,
    `The published checkpoint has ${before.size} entries, the journal ` +
      `${replayed === null ? 'is not there' : `only ${size}`}; ` +
      'entries that were answered may be missing. Restore the journal from the standby or a ' +
      'backup; ' +
      'if it is lost, go on from the published log with: holdpoint ledger adopt.',
  );
}

/** Opens what is there, or makes an empty log. `adopt`: go on without a lost journal. */
export async function recover(
  files: Files,
  layout: Layout,
  signer: Signer,
  segmentBytes: number = SEGMENT_BYTES,
  adopt = false,
): Promise<Recovered> {
  await files.makeDirectory(layout.journal);
  await files.makeDirectory(layout.log);
  await files.makeDirectory(layout.bodies, 0o700);
  const read = tileReader(files, layout);
  const before = published(files, layout, signer);
  const old = segmentsOf(files, layout);
  // 1. Read. Nothing is written yet; a crash changes nothing.
  const replayed = readAll(files, layout, signer, before, adopt);
  const tree = replayed?.tree ?? new Tree(read);
  const checkpoint =
    replayed?.checkpoint ??
    signCheckpoint({ origin: signer.name, size: 0, root: EMPTY_ROOT }, signer);
  // 2. A new segment with the tree as its base, durable. A crash before it or after: the old
  // segments are still there,
  //    and a log without entries has its journal before its first checkpoint.
  const last = old.at(-1)?.number ?? 0;
  const segments = new Segments(files, layout, last + 1, segmentBytes);
  const segment = await segments.next();
  await segment.base({ checkpoint, edge: tree.edge() });
  // 3. Publish what the journal has, as append does, synced. A crash here: the same again.
  const publisher = new Publisher(files, layout, 0);
  await publisher.publish(snapshot(tree, checkpoint), true);
  const done = tree.finished();
  tree.forget(done.tiles, done.bundles);
  // 4. Only now the old segments go, oldest first. A crash between: those left are replayed and
  // give the same tree.
  for (const { number } of old) {
    await files.remove(layout.segment(number));
    await files.sync(layout.journal);
  }
  for (const name of files.list(layout.journal)) {
    if (/\.(new|spare)$/.test(name) && !name.startsWith(String(last + 2).padStart(12, '0'))) {
      await files.remove(`${layout.journal}/${name}`);
    }
  }
  await files.sync(dirname(layout.journal));
  return { tree, checkpoint, publisher, segments, segment };
}
