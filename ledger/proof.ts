// C2SP tlog-proof: one file that proves offline that an entry is in the log.
// Invariant: a proof is accepted only when the leaf leads to the root of a checkpoint signed by the
// key given.
import { type Checkpoint, openCheckpoint } from './checkpoint.ts';
import { LedgerError } from './errors.ts';
import { HASH_BYTES } from './limits.ts';
import { rootOfInclusion } from './merkle.ts';
import type { Verifier } from './note.ts';

const HEADER = 'c2sp.org/tlog-proof@v1';
const HASHES_MAX = 63;

export interface Proof {
  readonly index: number;
  readonly path: readonly Buffer[];
  /** The signed note, verbatim. */
  readonly checkpoint: string;
  /** Opaque and unauthenticated: here the entry's own bytes, so that the file is self-contained. */
  readonly extra: Buffer | null;
}

export function formatProof(proof: Proof): string {
  const extra = proof.extra === null ? '' : `extra ${proof.extra.toString('base64')}\n`;
  const path = proof.path.map((hash) => `${hash.toString('base64')}\n`).join('');
  return `${HEADER}\n${extra}index ${proof.index}\n${path}\n${proof.checkpoint}`;
}

function base64(text: string, what: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text)
    throw new LedgerError('proof-invalid', `The proof's ${what} is not base64.`);
  return bytes;
}

export function parseProof(text: string): Proof {
  const end = text.indexOf('\n\n');
  const lines = text.slice(0, Math.max(end, 0)).split('\n');
  if (end < 0 || lines.shift() !== HEADER) {
    throw new LedgerError(
      'proof-invalid',
      `The file does not start with ${HEADER}; it is not a tlog-proof.`,
    );
  }
  let extra: Buffer | null = null;
  if (lines[0]?.startsWith('extra ')) extra = base64(lines.shift()?.slice(6) ?? '', 'extra data');
  const index = /^index (0|[1-9]\d*)$/.exec(lines.shift() ?? '')?.[1];
  if (index === undefined || !Number.isSafeInteger(Number(index)) || lines.length > HASHES_MAX) {
    throw new LedgerError('proof-invalid', 'The proof has no index line, or too many hashes.');
  }
  const path = lines.map((line) => base64(line, 'hash'));
  if (path.some((hash) => hash.length !== HASH_BYTES)) {
    throw new LedgerError('proof-invalid', 'A hash in the proof is not 32 bytes.');
  }
  return { index: Number(index), path, checkpoint: text.slice(end + 2), extra };
}

/** Verifies a proof for a leaf hash; returns the checkpoint that vouches for it. */
export function verifyProof(proof: Proof, leaf: Uint8Array, verifier: Verifier): Checkpoint {
  const checkpoint = openCheckpoint(proof.checkpoint, [verifier]);
  if (checkpoint.origin !== verifier.name) {
    throw new LedgerError(
      'key-mismatch',
      `The checkpoint is of ${checkpoint.origin}, the key of ${verifier.name}.`,
    );
  }
  const root = rootOfInclusion(proof.index, checkpoint.size, leaf, proof.path);
  if (!root.equals(checkpoint.root)) {
    throw new LedgerError(
      'proof-invalid',
      `Entry ${proof.index} is not in the tree of this checkpoint: the path leads to another root.`,
    );
  }
  return checkpoint;
}
