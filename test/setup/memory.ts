// Where throw-away servers keep their files: in memory where there is plenty of it.
// Invariant: a folder that somebody chose is kept to.
import { statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { availableMemory } from 'node:process';

const IN_MEMORY = '/dev/shm';
/** Some three times what all servers of a test run take together. */
const PLENTY = 8 * 2 ** 30;

/**
 * A database is some three hundred files. On a disk most of a test's time goes into making and
 * removing them, and how much of it depends on what else the disk does.
 */
export function serverFolder(): string {
  const chosen = process.env.TMPDIR !== undefined;
  return !chosen && roomInMemory() ? IN_MEMORY : tmpdir();
}

function roomInMemory(): boolean {
  try {
    const { bavail, bsize } = statfsSync(IN_MEMORY);
    return Math.min(bavail * bsize, availableMemory()) >= PLENTY;
  } catch {
    return false;
  }
}
