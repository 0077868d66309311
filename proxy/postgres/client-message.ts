// What a client may send after the handshake, decoded. (PostgreSQL documentation, "Message
// Formats", F messages.)
// Invariant: a decoder reads exactly its frame, `bytes[at, end)`; anything short, long or odd
// throws Malformed. Names of statements and portals keep one character a byte, so that names the
// server tells apart stay apart here whatever their encoding.
import { Malformed, Reader } from '../bytes/reader.ts';
import { HEADER } from './frame.ts';

/** Query: String query. */
export interface Query {
  readonly text: Buffer;
}

/** Parse: String statement, String query, Int16 n, Int32[n] parameter types (0: unspecified). */
export interface Parse {
  readonly statement: string;
  readonly text: Buffer;
  readonly types: readonly number[];
}

/** Bind: String portal, String statement, formats, values, result formats. */
export interface Bind {
  readonly portal: string;
  readonly statement: string;
  /** 0 text, 1 binary; none, one for all, or one a value. */
  readonly formats: readonly number[];
  /** The bytes of each value; null is SQL NULL. Views into the frame. */
  readonly values: readonly (Buffer | null)[];
}

/** Describe and Close: Byte1 `S` or `P`, String name. */
export interface Named {
  readonly what: 'statement' | 'portal';
  readonly name: string;
}

/** Execute: String portal, Int32 most rows (0: all). */
export interface Execute {
  readonly portal: string;
  readonly rows: number;
}

function body(bytes: Buffer, at: number, end: number): Reader {
  return new Reader(bytes, at + HEADER, end);
}

/** The last name of a statement that was read: the next is likely the same. */
let lastStatement = '';

export function decodeQuery(bytes: Buffer, at: number, end: number): Query {
  const reader = body(bytes, at, end);
  const text = reader.cstringBytes();
  reader.end();
  return { text };
}

export function decodeParse(bytes: Buffer, at: number, end: number): Parse {
  const reader = body(bytes, at, end);
  const statement = reader.name('');
  const text = reader.cstringBytes();
  const count = reader.int16();
  if (count < 0) throw new Malformed('a negative number of parameter types');
  const types: number[] = [];
  for (let i = 0; i < count; i++) types.push(reader.uint32());
  reader.end();
  return { statement, text, types };
}

/**
 * Only the two names of a Bind: what the hot path needs when the verdict does not depend on values.
 */
export function decodeBindNames(
  bytes: Buffer,
  at: number,
  end: number,
): { portal: string; statement: string } {
  const reader = body(bytes, at, end);
  const portal = reader.name('');
  lastStatement = reader.name(lastStatement);
  return { portal, statement: lastStatement };
}

export function decodeBind(bytes: Buffer, at: number, end: number): Bind {
  const reader = body(bytes, at, end);
  const portal = reader.name('');
  const statement = reader.name('');
  const formats = decodeFormats(reader);
  const count = reader.int16() & 0xffff;
  if (formats.length > 1 && formats.length !== count) {
    throw new Malformed(`${formats.length} parameter formats for ${count} parameters`);
  }
  const values: (Buffer | null)[] = [];
  for (let i = 0; i < count; i++) {
    const length = reader.int32();
    if (length < -1) throw new Malformed('a negative parameter length');
    values.push(length === -1 ? null : reader.slice(length));
  }
  decodeFormats(reader);
  reader.end();
  return { portal, statement, formats, values };
}

function decodeFormats(reader: Reader): number[] {
  const count = reader.int16() & 0xffff;
  const formats: number[] = [];
  for (let i = 0; i < count; i++) {
    const format = reader.int16();
    if (format !== 0 && format !== 1) throw new Malformed(`format code ${format}`);
    formats.push(format);
  }
  return formats;
}

export function decodeNamed(bytes: Buffer, at: number, end: number): Named {
  const reader = body(bytes, at, end);
  const kind = reader.byte();
  const name = reader.name('');
  reader.end();
  if (kind === 0x53) return { what: 'statement', name };
  if (kind === 0x50) return { what: 'portal', name };
  throw new Malformed(`neither a statement nor a portal: ${kind}`);
}

export function decodeExecute(bytes: Buffer, at: number, end: number): Execute {
  const reader = body(bytes, at, end);
  const portal = reader.name('');
  const rows = reader.int32();
  reader.end();
  return { portal, rows };
}
