// A lock on a file that the operating system lets go when its holder dies, however it dies.
// Invariant: at most one process holds a path; a crash never leaves it locked.
//
// Node has no flock. SQLite locks its file with fcntl, which is what is wanted here and nothing
// else of it is.
import { DatabaseSync } from 'node:sqlite';

export interface Lock {
  release(): void;
}

/** null when somebody else holds it for longer than `waitMs`. */
export function takeLock(path: string, waitMs = 0): Lock | null {
  const database = new DatabaseSync(path, { timeout: waitMs });
  try {
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (error instanceof Error && /locked|busy/.test(error.message)) return null;
    throw error;
  }
  return { release: () => database.close() };
}
