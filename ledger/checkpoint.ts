// C2SP tlog-checkpoint: origin, size and root as a signed note.
// Invariant: parse(format(x)) is x, and text that format would not write is refused (extension
// lines are allowed by the format, not by this log).
import { LedgerError } from './errors.ts';
import { HASH_BYTES } from './limits.ts';
import { openNote, type Signer, signNote, type Verifier } from './note.ts';

export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
}

export function checkpointText(checkpoint: Checkpoint): string {
  return `${checkpoint.origin}\n${checkpoint.size}\n${checkpoint.root.toString('base64')}\n`;
}

export function signCheckpoint(checkpoint: Checkpoint, signer: Signer): string {
  return signNote(checkpointText(checkpoint), signer);
}

/** Reads the text of a note as a checkpoint. */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin, size, encoded] = text.split('\n');
  const root = Buffer.from(encoded ?? '', 'base64');
  const count = Number(size);
  if (
    origin === undefined ||
    origin === '' ||
    size === undefined ||
    !/^(0|[1-9]\d*)$/.test(size) ||
    !Number.isSafeInteger(count) ||
    root.length !== HASH_BYTES ||
    root.toString('base64') !== encoded ||
    !text.endsWith('\n')
  ) {
    throw new LedgerError(
      'note-invalid',
      'The note is not a checkpoint: origin, size and root are expected, a line each.',
    );
  }
  return { origin, size: count, root };
}

/** A checkpoint that at least one of `verifiers` signed. */
export function openCheckpoint(
  note: Uint8Array | string,
  verifiers: readonly Verifier[],
): Checkpoint {
  return parseCheckpoint(openNote(note, verifiers).text);
}
