// The spool: entries on local disk while the ledger is away, shipped in order when it is back.
// Invariant: an entry is in the spool durably when `add` resolves and stays until the ledger has
// answered for it; the same key makes shipping it twice harmless. A torn last line was never
// promised and is left out.
import { mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Append } from '../../ledger/contract.ts';
import { SPOOL_FILE_BYTES } from './limits.ts';

/**
 * What is spooled: entries without bodies (only decisions have those, and they are never spooled).
 */
export type Spooled = Pick<Append, 'key' | 'entry'>;

interface SpoolFile {
  readonly path: string;
  bytes: number;
  /**
   * Nothing is added to it any more: it is being shipped, or another run wrote it and its last line
   * may be torn.
   */
  sealed: boolean;
}

export class Spool {
  readonly #directory: string;
  #files: SpoolFile[] = [];
  #next = 0;
  #entries = 0;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Opens a directory, with what an earlier run left in it. */
  static async open(directory: string): Promise<Spool> {
    const spool = new Spool(directory);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const name of (await readdir(directory)).sort()) {
      if (!/^\d{10}\.jsonl$/.test(name)) continue;
      const path = join(directory, name);
      spool.#files.push({ path, bytes: (await stat(path)).size, sealed: true });
      spool.#next = Number.parseInt(name, 10) + 1;
      spool.#entries += (await read(path)).length;
    }
    return spool;
  }

  get bytes(): number {
    return this.#files.reduce((sum, file) => sum + file.bytes, 0);
  }

  get files(): number {
    return this.#files.length;
  }

  get entries(): number {
    return this.#entries;
  }

  /** Sessions that have something in the spool: what follows in them must wait its turn. */
  async sessions(): Promise<Set<string>> {
    const sessions = new Set<string>();
    for (const file of this.#files) {
      for (const { entry } of await read(file.path))
        if ('session' in entry) sessions.add(entry.session);
    }
    return sessions;
  }

  async add(spooled: readonly Spooled[]): Promise<void> {
    const lines = Buffer.from(spooled.map((one) => `${JSON.stringify(one)}\n`).join(''));
    // A new file for each start and each few megabytes, so that a shipped one can go as a whole.
    let file = this.#files.at(-1);
    if (file === undefined || file.sealed || file.bytes > SPOOL_FILE_BYTES) {
      const name = `${String(this.#next++).padStart(10, '0')}.jsonl`;
      file = { path: join(this.#directory, name), bytes: 0, sealed: false };
      this.#files.push(file);
    }
    const handle = await open(file.path, 'a', 0o600);
    try {
      await handle.appendFile(lines);
      await handle.datasync();
    } catch (error) {
      // What stands after the promised bytes is not promised; cut it off so that nothing follows a
      // torn line.
      await handle.truncate(file.bytes).catch(() => {});
      throw error;
    } finally {
      await handle.close();
    }
    file.bytes += lines.length;
    this.#entries += spooled.length;
    const directory = await open(this.#directory, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  /** Where entries are kept that the ledger refuses for good. */
  get aside(): string {
    return join(this.#directory, 'refused.jsonl');
  }

  async setAside(spooled: Spooled): Promise<void> {
    const handle = await open(this.aside, 'a', 0o600);
    try {
      await handle.appendFile(`${JSON.stringify(spooled)}\n`);
      await handle.datasync();
    } finally {
      await handle.close();
    }
  }

  /** The oldest file's entries; empty when there are none. */
  async oldest(): Promise<Spooled[]> {
    const file = this.#files[0];
    return file === undefined ? [] : read(file.path);
  }

  /** Removes the oldest file: the ledger has answered for the `count` entries it had. */
  async shipped(count: number): Promise<void> {
    const file = this.#files.shift();
    if (file === undefined) return;
    this.#entries -= count;
    await rm(file.path, { force: true });
  }

  /** Nothing more goes into the oldest file, so that it can be shipped while entries are added. */
  seal(): void {
    const oldest = this.#files[0];
    if (oldest !== undefined) oldest.sealed = true;
  }
}

async function read(path: string): Promise<Spooled[]> {
  const text = await readFile(path, 'utf8');
  const spooled: Spooled[] = [];
  for (const line of text.slice(0, text.lastIndexOf('\n') + 1).split('\n')) {
    if (line === '') continue;
    spooled.push(JSON.parse(line));
  }
  return spooled;
}
