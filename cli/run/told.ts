// What a person is told of failures: which step and why, in a line.
// Invariant: no stack trace where a person can mend it, and no stack lost where it is our mistake.
import { UserError } from '../../proxy/errors.ts';

/**
 * Errors that are somebody's to mend, told by their words; anything else is ours and keeps its
 * stack.
 */
const TOLD = new Set(['LedgerError', 'PolicyRejected', 'ApproverError', 'NoteError']);
const TOLD_CODES = new Set(['EADDRINUSE', 'EACCES', 'EADDRNOTAVAIL', 'ENOENT', 'ENOSPC', 'EROFS']);

export async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Error) || error instanceof UserError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (!TOLD.has(error.name) && !TOLD_CODES.has(code ?? '')) throw error;
    const why =
      code === 'EADDRINUSE'
        ? 'the port is taken; stop what listens there, or choose another ' +
          '(--help, or `listen` in the configuration)'
        : error.message;
    throw new UserError(`can’t ${what}: ${why}`, { cause: error });
  }
}

/** One line to standard error. Callers keep secrets and statements out of it. */
export function problem(where: string, what: unknown): void {
  const said = what instanceof Error ? what.message : String(what);
  process.stderr.write(`${new Date().toISOString()} ${where}: ${said}\n`);
}
