// The fence between sequencers: whoever holds it may sign, nobody else.
// Invariant: held by the kernel for the process (SQLite's file locks), so it ends with the process,
// however that ends, and never before: a paused holder still holds it, and a standby can't sign
// until the holder is really gone.
import { DatabaseSync } from 'node:sqlite';
import { LedgerError, reasonOf } from './errors.ts';

export interface Lock {
  release(): void;
}

/** Takes the lock or throws `locked` at once. */
export function takeLock(path: string): Lock {
  const database = new DatabaseSync(path);
  try {
    database.exec('PRAGMA journal_mode = DELETE; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    throw new LedgerError(
      'locked',
      `${path} is held by another process that appends to this log (${reasonOf(error)}); stop ` +
        'that one, or start this one as its standby.',
      { cause: error },
    );
  }
  return { release: () => database.close() };
}
