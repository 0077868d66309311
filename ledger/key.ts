// The log's signing key: made once, kept private, never replaced.
// Invariant: a log that has been signed is never opened with a key made now.
import { LedgerError } from './errors.ts';
import { type Files, replaceFile } from './files.ts';
import type { Layout } from './layout.ts';
import { checkName, generateKey, type Signer, signerOf } from './note.ts';

/** The signer of `origin`: the key in the directory, the one given, or a new one for a new log. */
export async function loadSigner(
  files: Files,
  layout: Layout,
  origin: string,
  given: string | undefined,
): Promise<Signer> {
  checkName(origin);
  const kept = files.read(layout.key)?.toString() ?? null;
  if (
    kept !== null &&
    given !== undefined &&
    signerOf(origin, kept).vkey !== signerOf(origin, given).vkey
  ) {
    throw new LedgerError(
      'key-mismatch',
      `${layout.key} is another key than the one given; a log keeps its key for life.`,
    );
  }
  const pem = kept ?? given ?? generateKey();
  const signer = signerOf(origin, pem);
  if (kept === null && given === undefined) {
    if (files.exists(layout.checkpoint)) {
      throw new LedgerError(
        'key-mismatch',
        `${layout.key} is missing, but the log has been signed already; restore it from the ` +
          'backup.',
      );
    }
    await replaceFile(files, layout.key, Buffer.from(pem), { mode: 0o600, durable: true });
  }
  await replaceFile(files, layout.publicKey, Buffer.from(`${signer.vkey}\n`), { durable: true });
  return signer;
}
