// An entry's bytes: canonical JSON (RFC 8785) of the entry with its idempotence key.
// Invariant: the bytes alone tell all that the ledger knows of the entry; indexes are rebuilt from
// them.
import canonicalize from 'canonicalize';
import type { Append, Entry } from './contract.ts';
import { LedgerError, reasonOf } from './errors.ts';
import { ENTRY_BYTES_MAX, KEY_CHARS_MAX } from './limits.ts';

/** An entry as it stands in the log: `key` is what makes a second append of it find the first. */
export type Logged = Entry & { readonly key: string };

/** The service of a `by`: `proxy` of `proxy/one`. */
export function serviceOf(by: string): string {
  return by.split('/', 1)[0] ?? by;
}

/**
 * What makes a second append the same as the first: its key among the entries of that kind that its
 * service wrote. Nobody can take a key that somebody else is going to use.
 */
export function identityOf(key: string, entry: Pick<Entry, 'kind' | 'by'>): string {
  return `${serviceOf(entry.by)} ${entry.kind} ${key}`;
}

const KEY = new RegExp(`^[\\x21-\\x7e]{1,${KEY_CHARS_MAX}}$`);

/** The bundle's form of an entry: uint16 length, then canonical JSON. */
export function encodeEntry(append: Append): Buffer {
  if (!KEY.test(append.key)) {
    throw new LedgerError(
      'key-invalid',
      `An append's key must be 1 to ${KEY_CHARS_MAX} printable ASCII characters without ` +
        "spaces; make it of the operation's id and the phase.",
    );
  }
  let text: string | undefined;
  try {
    text = canonicalize({ ...append.entry, key: append.key });
  } catch (error) {
    throw new LedgerError(
      'entry-invalid',
      `The ${append.entry.kind} entry can't be written as canonical JSON: ${reasonOf(error)}.`,
      { cause: error },
    );
  }
  if (text === undefined) throw new LedgerError('entry-invalid', 'The entry is not an object.');
  const bytes = Buffer.byteLength(text);
  if (bytes > ENTRY_BYTES_MAX) {
    throw new LedgerError(
      'entry-too-large',
      `The ${append.entry.kind} entry has ${bytes} bytes, the most is ${ENTRY_BYTES_MAX}; put ` +
        "the statement in the append's body.",
    );
  }
  const framed = Buffer.allocUnsafe(2 + bytes);
  framed.writeUInt16BE(bytes, 0);
  framed.write(text, 2, 'utf8');
  return framed;
}

/** Reads an entry back; `bytes` without the length prefix. */
export function decodeEntry(bytes: Uint8Array): Logged {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
}
