// C2SP tlog-cosignature (Ed25519, cosignature/v1): what a witness says of a checkpoint.
// Invariant: a cosignature is kept only when it verifies under a witness key that was configured.
import { sign } from 'node:crypto';
import { LedgerError } from './errors.ts';
import {
  COSIGNATURE,
  parseNote,
  parseSignatures,
  type Signer,
  signatureLine,
  type Verifier,
  verifySignature,
} from './note.ts';

/** A witness's signature line over a checkpoint's text, at a time in seconds since 1970. */
export function cosign(text: string, witness: Signer, time: number): string {
  if (witness.type !== COSIGNATURE)
    throw new LedgerError('note-invalid', `${witness.name} is not a witness key (type 4).`);
  const signature = Buffer.alloc(72);
  signature.writeBigUInt64BE(BigInt(time), 0);
  signature.set(
    sign(null, Buffer.from(`cosignature/v1\ntime ${time}\n${text}`), witness.secret),
    8,
  );
  return signatureLine(witness.name, witness.id, signature);
}

/** The lines of a witness's answer that verify under its key; throws when none does. */
export function acceptCosignatures(
  checkpoint: string,
  answer: string,
  witness: Verifier,
): string[] {
  const { text } = parseNote(checkpoint);
  const lines = parseSignatures(answer)
    .filter(
      (s) => s.name === witness.name && s.id === witness.id && verifySignature(text, s, witness),
    )
    .map((s) => s.line);
  if (lines.length === 0)
    throw new LedgerError(
      'note-invalid',
      `${witness.name} answered without a valid co-signature of its own.`,
    );
  return lines;
}
