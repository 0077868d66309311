// Publishing: the committed tree as tlog-tiles files, then the checkpoint that needs them.
// Invariant: a checkpoint is in place only after every tile and bundle it needs; full files are
// never changed.
import { dirname } from 'node:path';
import { type Files, replaceFile } from './files.ts';
import type { Layout } from './layout.ts';
import { HASH_BYTES, PUBLISH_PARALLEL, TILE_WIDTH } from './limits.ts';
import { parseNote } from './note.ts';
import { bundlePath, hashesAt, type TileNodes, tilePath } from './tile.ts';
import type { Edge, Tree } from './tree.ts';

/** The tree at one committed size, copied so that later appends don't touch it. */
export interface Snapshot {
  readonly edge: Edge;
  readonly checkpoint: string;
  readonly tiles: readonly TileNodes[];
  readonly bundles: readonly (readonly [number, readonly Buffer[]])[];
}

export function snapshot(tree: Tree, checkpoint: string): Snapshot {
  return { edge: tree.edge(), checkpoint, ...tree.finished() };
}

export class Publisher {
  readonly #files: Files;
  readonly #layout: Layout;
  /** Full files written since the last settle, and directories that got names. */
  #dirty = new Set<string>();
  #directories = new Set<string>();
  /** Size that the published checkpoint has. */
  size: number;

  constructor(files: Files, layout: Layout, size: number) {
    this.#files = files;
    this.#layout = layout;
    this.size = size;
  }

  /**
   * Crash here, at any line: the checkpoint on disk still needs only files that are there; recovery
   * publishes again from the journal. `again` is recovery: files may exist, torn or from a commit
   * that never was, so each is replaced as a whole unless it is right already.
   */
  async publish(state: Snapshot, again = false): Promise<void> {
    const size = state.edge.size;
    const jobs: [string, () => Buffer, boolean][] = [];
    for (const tile of state.tiles) {
      jobs.push([tilePath(tile.level, tile.index, TILE_WIDTH), () => tile.bytes(), true]);
    }
    for (const [index, entries] of state.bundles) {
      jobs.push([bundlePath(index, TILE_WIDTH), () => Buffer.concat(entries), true]);
    }
    state.edge.tiles.forEach((hashes, level) => {
      const count = hashesAt(level, size);
      const width = count % TILE_WIDTH;
      if (width === 0 || (!again && count === hashesAt(level, this.size))) return;
      const index = Math.floor(count / TILE_WIDTH);
      jobs.push([tilePath(level, index, width), () => hashes, false]);
      if (level > 0) return;
      const entries = state.edge.entries;
      jobs.push([bundlePath(index, width), () => Buffer.concat(entries), false]);
    });
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let job = jobs[next++]; job !== undefined; job = jobs[next++]) {
        await this.#write(this.#layout.tile(job[0]), job[1](), job[2], again);
      }
    };
    await Promise.all(Array.from({ length: PUBLISH_PARALLEL }, worker));
    if (again) {
      await this.#mendPartials(state.edge);
      await this.settle();
    }
    await replaceFile(this.#files, this.#layout.checkpoint, Buffer.from(state.checkpoint), {
      durable: again,
    });
    this.size = size;
    for (const tile of state.tiles)
      await this.#dropPartials(tilePath(tile.level, tile.index, TILE_WIDTH));
    for (const [index] of state.bundles) await this.#dropPartials(bundlePath(index, TILE_WIDTH));
  }

  /**
   * Narrower files of the unfinished tiles stay for who holds an older checkpoint; a crash may have
   * torn one that the present checkpoint does not need. A wider one was never signed.
   */
  async #mendPartials({ size, tiles, entries }: Edge): Promise<void> {
    const mend = async (full: string, width: number, start: (w: number) => Buffer) => {
      const partials = `${this.#layout.tile(full)}.p`;
      for (const name of this.#files.list(partials)) {
        const path = `${partials}/${name}`;
        const narrower = /^\d{1,3}$/.test(name) && Number(name) > 0 && Number(name) <= width;
        if (narrower) await this.#write(path, start(Number(name)), false, true);
        else await this.#files.remove(path);
      }
    };
    for (const [level, hashes] of tiles.entries()) {
      const count = hashesAt(level, size);
      const index = Math.floor(count / TILE_WIDTH);
      await mend(tilePath(level, index, TILE_WIDTH), count % TILE_WIDTH, (width) =>
        hashes.subarray(0, width * HASH_BYTES),
      );
    }
    await mend(bundlePath(Math.floor(size / TILE_WIDTH), TILE_WIDTH), size % TILE_WIDTH, (width) =>
      Buffer.concat(entries.slice(0, width)),
    );
  }

  async #write(path: string, bytes: Buffer, full: boolean, again: boolean): Promise<void> {
    if (!again) await this.#files.write(path, bytes);
    else if (this.#files.read(path)?.equals(bytes) !== true) {
      await this.#files.makeDirectory(dirname(path));
      await replaceFile(this.#files, path, bytes);
    }
    if (!full && !again) return;
    this.#dirty.add(path);
    for (let up = dirname(path); !this.#directories.has(up); up = dirname(up)) {
      this.#directories.add(up);
      if (up === this.#layout.directory || up === dirname(up)) break;
    }
  }

  /**
   * Keeps a co-signed checkpoint: as `witnessed`, and in place of the same one without
   * co-signatures.
   */
  async cosigned(note: string): Promise<void> {
    await replaceFile(this.#files, this.#layout.witnessed, Buffer.from(note));
    const now = this.#files.read(this.#layout.checkpoint);
    if (now !== null && parseNote(now).text === parseNote(note).text) {
      await replaceFile(this.#files, this.#layout.checkpoint, Buffer.from(note));
    }
  }

  /** Partial tiles may go once the full one is there. */
  async #dropPartials(full: string): Promise<void> {
    await this.#files.remove(`${this.#layout.tile(full)}.p`);
  }

  /**
   * Makes every full file published so far durable; after it, older journal segments are not
   * needed.
   */
  async settle(): Promise<void> {
    const files = this.#dirty;
    const directories = this.#directories;
    this.#dirty = new Set();
    this.#directories = new Set();
    for (const path of files) await this.#files.sync(path);
    for (const path of directories) await this.#files.sync(path);
  }
}
