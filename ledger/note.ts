// C2SP signed notes with Ed25519 keys: text, a blank line, signature lines.
// Invariant: text is trusted only after a signature by a key that the caller named has been
// verified over exactly those bytes.
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { LedgerError } from './errors.ts';
import { NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX } from './limits.ts';

/** Signature type bytes: a log's own signature, and a witness's timestamped one. */
export const ED25519 = 0x01;
export const COSIGNATURE = 0x04;

const PUBLIC_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const NAME = /^[^\s+\p{Z}\p{Cc}]+$/u;
const DASH = '\u2014 ';

export interface Verifier {
  readonly name: string;
  readonly id: number;
  readonly type: number;
  readonly key: KeyObject;
}

export interface Signer extends Verifier {
  readonly secret: KeyObject;
  /** `<name>+<id>+<base64(type || key)>`. */
  readonly vkey: string;
}

export interface NoteSignature {
  readonly name: string;
  readonly id: number;
  readonly signature: Buffer;
  readonly line: string;
}

export interface Note {
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

function keyId(name: string, type: number, raw: Uint8Array): number {
  const input = Buffer.concat([Buffer.from(`${name}\n`), Buffer.of(type), raw]);
  return hash('sha256', input, 'buffer').readUInt32BE(0);
}

function rawOf(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' }).subarray(PUBLIC_PREFIX.length);
}

export function vkeyOf(name: string, type: number, raw: Uint8Array): string {
  const id = keyId(name, type, raw).toString(16).padStart(8, '0');
  return `${name}+${id}+${Buffer.concat([Buffer.of(type), raw]).toString('base64')}`;
}

export function checkName(name: string): void {
  if (!NAME.test(name)) {
    throw new LedgerError(
      'note-invalid',
      `The name ${JSON.stringify(name)} must not be empty or have spaces, plus signs or ` +
        'control characters.',
    );
  }
}

/** Reads a verifier key; its id must be the one its name and key give. */
export function parseVkey(vkey: string): Verifier {
  const match = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/u.exec(vkey.trim());
  const [, name, id, encoded] = match ?? [];
  const bytes = Buffer.from(encoded ?? '', 'base64');
  const type = bytes[0];
  if (name === undefined || id === undefined || bytes.length !== 33 || type === undefined) {
    throw new LedgerError(
      'note-invalid',
      'A public key looks like <name>+<8 hex digits>+<base64 of type and 32 key bytes>.',
    );
  }
  checkName(name);
  if (type !== ED25519 && type !== COSIGNATURE) {
    throw new LedgerError(
      'note-invalid',
      `Key ${name} has signature type ${type}; only Ed25519 keys (1, and 4 of witnesses) are ` +
        'known.',
    );
  }
  const raw = bytes.subarray(1);
  if (keyId(name, type, raw) !== Number.parseInt(id, 16)) {
    throw new LedgerError(
      'note-invalid',
      `The id ${id} is not that of key ${name}; it was mistyped or belongs to another key.`,
    );
  }
  const key = createPublicKey({
    key: Buffer.concat([PUBLIC_PREFIX, raw]),
    format: 'der',
    type: 'spki',
  });
  return { name, id: Number.parseInt(id, 16), type, key };
}

export function generateKey(): string {
  return generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' });
}

/** A signer of `name` from a PKCS #8 PEM. */
export function signerOf(name: string, pem: string, type: number = ED25519): Signer {
  checkName(name);
  const secret = createPrivateKey(pem);
  if (secret.asymmetricKeyType !== 'ed25519') {
    throw new LedgerError('key-mismatch', `The key of ${name} is not an Ed25519 key.`);
  }
  const key = createPublicKey(secret);
  const raw = rawOf(key);
  return { name, id: keyId(name, type, raw), type, key, secret, vkey: vkeyOf(name, type, raw) };
}

/** One signature line. */
export function signatureLine(name: string, id: number, signature: Uint8Array): string {
  const bytes = Buffer.allocUnsafe(4 + signature.length);
  bytes.writeUInt32BE(id, 0);
  bytes.set(signature, 4);
  return `${DASH}${name} ${bytes.toString('base64')}\n`;
}

/** The whole note: `text` must end in a newline. */
export function signNote(text: string, signer: Signer): string {
  const signature = sign(null, Buffer.from(text), signer.secret);
  return `${text}\n${signatureLine(signer.name, signer.id, signature)}`;
}

/** Reads signature lines; throws on anything else. */
export function parseSignatures(lines: string): NoteSignature[] {
  const signatures: NoteSignature[] = [];
  for (const line of lines.split('\n').slice(0, -1)) {
    const match = /^\u2014 (\S+) ([A-Za-z0-9+/]+={0,2})$/u.exec(line);
    const [, name, encoded] = match ?? [];
    const bytes = Buffer.from(encoded ?? '', 'base64');
    if (name === undefined || bytes.length < 5 || bytes.toString('base64') !== encoded) {
      throw new LedgerError('note-invalid', 'A signature line is malformed.');
    }
    checkName(name);
    signatures.push({
      name,
      id: bytes.readUInt32BE(0),
      signature: bytes.subarray(4),
      line: `${line}\n`,
    });
  }
  if (signatures.length === 0 || signatures.length > NOTE_SIGNATURES_MAX || !lines.endsWith('\n')) {
    throw new LedgerError(
      'note-invalid',
      `A note needs 1 to ${NOTE_SIGNATURES_MAX} signature lines, each ended by a newline.`,
    );
  }
  return signatures;
}

/** Splits a note. Nothing in it is trusted yet: see {@link openNote}. */
export function parseNote(bytes: Uint8Array | string): Note {
  let note: string;
  try {
    note =
      typeof bytes === 'string'
        ? bytes
        : new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new LedgerError('note-invalid', 'The note is not UTF-8.', { cause: error });
  }
  const end = note.lastIndexOf('\n\n');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the format forbids them
  if (end < 0 || note.length > NOTE_BYTES_MAX || /[\x00-\x09\x0b-\x1f]/.test(note)) {
    throw new LedgerError(
      'note-invalid',
      'The note has no blank line, is too long or has control characters.',
    );
  }
  return { text: note.slice(0, end + 1), signatures: parseSignatures(note.slice(end + 2)) };
}

/** What a signature of this verifier is over; null when the signature can't be one of its type. */
function signedMessage(text: string, signature: Buffer, type: number): [string, Buffer] | null {
  if (type === ED25519) return signature.length === 64 ? [text, signature] : null;
  if (signature.length !== 72) return null;
  return [`cosignature/v1\ntime ${signature.readBigUInt64BE(0)}\n${text}`, signature.subarray(8)];
}

/** true when `signature` is this verifier's over `text`. */
export function verifySignature(
  text: string,
  signature: NoteSignature,
  verifier: Verifier,
): boolean {
  const message = signedMessage(text, signature.signature, verifier.type);
  return message !== null && verify(null, Buffer.from(message[0]), verifier.key, message[1]);
}

/**
 * The note's text when at least one of the verifiers signed it. A wrong signature under a known
 * name and id rejects the note; signatures of unknown keys are ignored.
 */
export function openNote(
  bytes: Uint8Array | string,
  verifiers: readonly Verifier[],
): { text: string; by: Verifier[] } {
  const note = parseNote(bytes);
  const by: Verifier[] = [];
  for (const signature of note.signatures) {
    const verifier = verifiers.find((v) => v.name === signature.name && v.id === signature.id);
    if (verifier === undefined || by.includes(verifier)) continue;
    if (!verifySignature(note.text, signature, verifier)) {
      throw new LedgerError('note-invalid', `The signature of ${signature.name} is wrong.`);
    }
    by.push(verifier);
  }
  if (by.length === 0) {
    throw new LedgerError(
      'note-invalid',
      `The note is not signed by ${verifiers.map((v) => v.name).join(' or ')} with the key given.`,
    );
  }
  return { text: note.text, by };
}
