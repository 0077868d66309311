// A disk in memory that knows what is durable, fails any call it is told to, and can lose its
// power.
// Directories themselves are always there; their names (files in them) are not. Invariant: after
// `powerCut` only what was synced is sure to be there; the rest is there, torn, or gone, by the
// seed.
import type { DurableFile, Files } from '../../ledger/files.ts';
import type { Lock } from '../../ledger/lock.ts';

/** What happens to the call that is chosen. */
export type Fault =
  | 'crash-before' // the process is gone before the call
  | 'crash-after' // the call was made, the process is gone before it hears of it
  | 'crash-half' // half the bytes arrived
  | 'crash-torn' // every second sector arrived, the first one not
  | 'EIO' // the call fails and did nothing
  | 'EIO-done' // the call fails but its bytes arrived
  | 'EIO-half' // the call fails and half its bytes arrived
  | 'ENOSPC' // this and all later calls that need room fail, until there is room again
  | 'short'; // a write takes only a part; it is not an error

export const FAULTS: readonly Fault[] = [
  'crash-before',
  'crash-after',
  'crash-half',
  'crash-torn',
  'EIO',
  'EIO-done',
  'EIO-half',
  'ENOSPC',
  'short',
];

interface Node {
  bytes: Buffer;
  synced: Buffer;
}

/** A change of a directory's names that is not durable yet. */
type Change = { readonly name: string; readonly node: Node | null };

interface Directory {
  readonly names: Map<string, Node>;
  readonly synced: Map<string, Node>;
  changes: Change[];
}

export class Crashed extends Error {
  override name = 'Crashed';
}

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}

/** Small, seeded, good enough to choose with. */
export function random(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export class FaultyDisk implements Files {
  /** Calls that change something, so far. */
  calls = 0;
  /** The call to fail, and how; null for none. */
  plan: { at: number; fault: Fault } | null = null;
  crashed = false;
  full = false;
  /** Names of the calls, for a test's message. */
  readonly trace: string[] = [];
  #directories = new Map<string, Directory>();

  #directory(path: string): Directory {
    const cut = path.lastIndexOf('/');
    const name = path.slice(0, cut);
    let directory = this.#directories.get(name);
    if (directory === undefined) {
      directory = { names: new Map(), synced: new Map(), changes: [] };
      this.#directories.set(name, directory);
    }
    return directory;
  }

  #base(path: string): string {
    return path.slice(path.lastIndexOf('/') + 1);
  }

  #set(path: string, node: Node | null): void {
    const directory = this.#directory(path);
    if (node === null) directory.names.delete(this.#base(path));
    else directory.names.set(this.#base(path), node);
    directory.changes.push({ name: this.#base(path), node });
  }

  #node(path: string): Node | undefined {
    return this.#directories.get(path.slice(0, path.lastIndexOf('/')))?.names.get(this.#base(path));
  }

  /** Runs one changing call under the plan. `part` does a fraction of it. */
  #call<T>(
    name: string,
    needsRoom: boolean,
    whole: () => T,
    part: (() => T) | null,
    torn?: () => void,
  ): T {
    if (this.crashed) throw new Crashed();
    this.trace.push(name);
    const fault = this.plan?.at === this.calls++ ? this.plan.fault : null;
    if (fault === 'ENOSPC') this.full = true;
    if (this.full && needsRoom) throw failure('ENOSPC');
    switch (fault) {
      case 'crash-before':
        this.crashed = true;
        throw new Crashed();
      case 'crash-after':
        whole();
        this.crashed = true;
        throw new Crashed();
      case 'crash-half':
      case 'crash-torn':
        if (fault === 'crash-half') part?.();
        else torn?.();
        this.crashed = true;
        throw new Crashed();
      case 'EIO':
        throw failure('EIO');
      case 'EIO-done':
        whole();
        throw failure('EIO');
      case 'EIO-half':
        part?.();
        throw failure('EIO');
      case 'short':
        return part === null ? whole() : part();
      default:
        return whole();
    }
  }

  read(path: string): Buffer | null {
    const node = this.#node(path);
    return node === undefined ? null : Buffer.from(node.bytes);
  }

  readAt(path: string, position: number, length: number): Buffer | null {
    return this.read(path)?.subarray(position, position + length) ?? null;
  }

  async readAsync(path: string): Promise<Buffer | null> {
    return this.read(path);
  }

  exists(path: string): boolean {
    return this.#node(path) !== undefined || this.#directories.has(path);
  }

  isDirectory(path: string): boolean {
    return this.#directories.has(path);
  }

  list(path: string): string[] {
    return [...(this.#directories.get(path)?.names.keys() ?? [])].sort();
  }

  async makeDirectory(path: string): Promise<void> {
    this.#call(`mkdir ${path}`, true, () => this.#directory(`${path}/x`), null);
  }

  async write(path: string, bytes: Uint8Array): Promise<void> {
    const put = (content: Uint8Array): void => {
      const node = this.#node(path);
      if (node === undefined)
        this.#set(path, { bytes: Buffer.from(content), synced: Buffer.alloc(0) });
      else node.bytes = Buffer.from(content);
    };
    const half = (): void => put(bytes.subarray(0, bytes.length >> 1));
    // A short write is carried on with inside DiskFiles.write, so here it is the whole.
    const short = this.plan?.fault === 'short';
    this.#call(`write ${path}`, true, () => put(bytes), short ? null : half);
  }

  async rename(from: string, to: string): Promise<void> {
    this.#call(
      `rename ${from}`,
      false,
      () => {
        const node = this.#node(from);
        if (node === undefined) throw failure('ENOENT');
        this.#set(to, node);
        this.#set(from, null);
      },
      null,
    );
  }

  async sync(path: string): Promise<void> {
    this.#call(`sync ${path}`, false, () => this.#sync(path), null);
  }

  #sync(path: string): void {
    const node = this.#node(path);
    if (node !== undefined) {
      node.synced = Buffer.from(node.bytes);
      return;
    }
    const directory = this.#directories.get(path);
    if (directory !== undefined) this.#settle(directory, directory.changes.length);
    else if (![...this.#directories.keys()].some((name) => name.startsWith(`${path}/`)))
      throw failure('ENOENT');
  }

  #settle(directory: Directory, count: number): void {
    for (const { name, node } of directory.changes.slice(0, count)) {
      if (node === null) directory.synced.delete(name);
      else directory.synced.set(name, node);
    }
    directory.changes = directory.changes.slice(count);
  }

  async remove(path: string): Promise<void> {
    this.#call(
      `remove ${path}`,
      false,
      () => {
        if (this.#node(path) !== undefined) this.#set(path, null);
        for (const name of this.list(path)) this.#set(`${path}/${name}`, null);
      },
      null,
    );
  }

  openDurable(path: string): DurableFile {
    return {
      write: async (bytes, from, length, position) => {
        const put = (count: number, skip = 0): number => {
          const node = this.#node(path);
          if (node === undefined) throw failure('EBADF');
          if (skip > 0) {
            for (let at = skip; at < count; at += 2 * skip) {
              node.bytes.set(
                bytes.subarray(from + at, from + Math.min(at + skip, count)),
                position + at,
              );
            }
            node.synced = Buffer.from(node.bytes);
            return count;
          }
          const end = position + count;
          if (node.bytes.length < end)
            node.bytes = Buffer.concat([node.bytes, Buffer.alloc(end - node.bytes.length)]);
          node.bytes.set(bytes.subarray(from, from + count), position);
          if (node.synced.length < end) node.synced = Buffer.from(node.bytes);
          else node.synced.set(bytes.subarray(from, from + count), position);
          return count;
        };
        return this.#call(
          `journal ${path} at ${position}`,
          false,
          () => put(length),
          () => put(Math.max(1, length >> 1)),
          () => put(length, 512),
        );
      },
      close: () => {},
    };
  }

  lock(): Lock {
    return { release: () => {} };
  }

  /**
   * What another process finds after this one died: everything that was written, durable or not.
   */
  restart(): FaultyDisk {
    const next = new FaultyDisk();
    next.#directories = this.#directories;
    return next;
  }

  /** What is found after the power was cut. */
  powerCut(seed: number): FaultyDisk {
    const next = new FaultyDisk();
    const choose = random(seed);
    const kept = new Map<Node, Node>();
    const after = (node: Node): Node => {
      let survivor = kept.get(node);
      if (survivor === undefined) {
        const bytes = torn(node, choose);
        survivor = { bytes, synced: Buffer.from(bytes) };
        kept.set(node, survivor);
      }
      return survivor;
    };
    for (const [path, directory] of this.#directories) {
      this.#settle(directory, Math.floor(choose() * (directory.changes.length + 1)));
      const names = new Map([...directory.synced].map(([name, node]) => [name, after(node)]));
      next.#directories.set(path, { names, synced: new Map(names), changes: [] });
    }
    return next;
  }
}

/** A file that was not synced: as it was, as it is, empty, or some pages of each. */
function torn(node: Node, choose: () => number): Buffer {
  const way = choose();
  if (node.bytes.equals(node.synced) || way < 0.25) return Buffer.from(node.synced);
  if (way < 0.5) return Buffer.from(node.bytes);
  if (way < 0.65) return Buffer.alloc(0);
  const mixed = Buffer.alloc(node.bytes.length);
  for (let at = 0; at < mixed.length; at += 512) {
    const source = choose() < 0.5 ? node.bytes : node.synced;
    mixed.set(source.subarray(at, at + 512), at);
  }
  return mixed;
}
