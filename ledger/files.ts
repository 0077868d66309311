// The file layer: every call by which the ledger touches the disk, so that a test can fail any one
// of them.
// Invariant: no other file of the append path imports node:fs.
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  write as writeAt,
} from 'node:fs';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { type Lock, takeLock } from './lock.ts';

/** An open journal segment. A write is durable when it resolves; it may be short. */
export interface DurableFile {
  write(bytes: Uint8Array, from: number, length: number, position: number): Promise<number>;
  close(): void;
}

export interface Files {
  read(path: string): Buffer | null;
  /**
   * Up to `length` bytes from `position`; fewer at the end of the file; null when there is no file.
   */
  readAt(path: string, position: number, length: number): Buffer | null;
  readAsync(path: string): Promise<Buffer | null>;
  exists(path: string): boolean;
  list(path: string): string[];
  isDirectory(path: string): boolean;
  makeDirectory(path: string, mode?: number): Promise<void>;
  /** Creates or overwrites. Not durable before {@link sync} of the file and of its directory. */
  write(path: string, bytes: Uint8Array, mode?: number): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Makes a file's bytes or a directory's names durable. */
  sync(path: string): Promise<void>;
  /** Removes a file or a directory with all in it; nothing there is no error. */
  remove(path: string): Promise<void>;
  openDurable(path: string): DurableFile;
  /** The fence between writers (lock.ts); throws `locked`. */
  lock(path: string): Lock;
}

function missing(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'ENOENT' || error.code === 'ENOTDIR')
  );
}

class OpenSegment implements DurableFile {
  readonly #fd: number;
  #closed = false;

  constructor(path: string) {
    // O_DSYNC makes a write and its fdatasync one call, and one trip to the thread pool.
    this.#fd = openSync(path, constants.O_RDWR | constants.O_DSYNC);
  }

  write(bytes: Uint8Array, from: number, length: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      writeAt(this.#fd, bytes, from, length, position, (error, written) => {
        if (error === null) resolve(written);
        else reject(error);
      });
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#fd);
  }
}

export class DiskFiles implements Files {
  read(path: string): Buffer | null {
    try {
      return readFileSync(path);
    } catch (error) {
      if (missing(error)) return null;
      throw error;
    }
  }

  readAt(path: string, position: number, length: number): Buffer | null {
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch (error) {
      if (missing(error)) return null;
      throw error;
    }
    try {
      const bytes = Buffer.alloc(Math.max(0, Math.min(length, fstatSync(fd).size - position)));
      let got = 0;
      while (got < bytes.length) {
        const n = readSync(fd, bytes, got, bytes.length - got, position + got);
        if (n === 0) break;
        got += n;
      }
      return bytes.subarray(0, got);
    } finally {
      closeSync(fd);
    }
  }

  async readAsync(path: string): Promise<Buffer | null> {
    try {
      return await readFile(path);
    } catch (error) {
      if (missing(error)) return null;
      throw error;
    }
  }

  exists(path: string): boolean {
    return existsSync(path);
  }

  list(path: string): string[] {
    try {
      return readdirSync(path).sort();
    } catch (error) {
      if (missing(error)) return [];
      throw error;
    }
  }

  isDirectory(path: string): boolean {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  }

  async makeDirectory(path: string, mode = 0o755): Promise<void> {
    mkdirSync(path, { recursive: true, mode });
  }

  async write(path: string, bytes: Uint8Array, mode = 0o644): Promise<void> {
    let file: Awaited<ReturnType<typeof open>>;
    try {
      file = await open(path, 'w', mode);
    } catch (error) {
      if (!missing(error)) throw error;
      await mkdir(path.slice(0, path.lastIndexOf('/')), { recursive: true });
      file = await open(path, 'w', mode);
    }
    try {
      for (let at = 0; at < bytes.length; ) {
        const { bytesWritten } = await file.write(bytes, at, bytes.length - at, at);
        at += bytesWritten;
      }
    } finally {
      await file.close();
    }
  }

  async rename(from: string, to: string): Promise<void> {
    await rename(from, to);
  }

  async sync(path: string): Promise<void> {
    const file = await open(path, 'r');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async remove(path: string): Promise<void> {
    await rm(path, { recursive: true, force: true });
  }

  openDurable(path: string): DurableFile {
    return new OpenSegment(path);
  }

  lock(path: string): Lock {
    return takeLock(path);
  }
}

/**
 * Replaces a file as a whole: readers see the old bytes or the new ones, after a power cut too.
 * Durable when `durable`.
 */
export async function replaceFile(
  files: Files,
  path: string,
  bytes: Uint8Array,
  options: { mode?: number; durable?: boolean } = {},
): Promise<void> {
  const fresh = `${path}.new`;
  await files.write(fresh, bytes, options.mode);
  await files.sync(fresh);
  await files.rename(fresh, path);
  if (options.durable) await files.sync(path.slice(0, path.lastIndexOf('/')));
}
