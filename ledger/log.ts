// Reading a published log: entries and hashes from the tlog-tiles files alone.
// Invariant: what it returns is checked for form only; proofs and verify.ts check it against a
// checkpoint.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { decodeEntry, type Logged } from './canonical.ts';
import { type Checkpoint, openCheckpoint, parseCheckpoint } from './checkpoint.ts';
import { LedgerError } from './errors.ts';
import { DiskFiles, type Files } from './files.ts';
import { HASH_BYTES, TILE_HEIGHT, TILE_WIDTH } from './limits.ts';
import type { NodeSource } from './merkle.ts';
import { parseNote, type Verifier } from './note.ts';
import { bundlePath, hashesAt, splitBundle, TileNodes, tilePath } from './tile.ts';

/** `directory` may be a ledger's directory or its public `log/` part. */
export function logDirectory(directory: string): string {
  const inner = join(directory, 'log');
  return !existsSync(join(directory, 'checkpoint')) && existsSync(join(inner, 'checkpoint'))
    ? inner
    : directory;
}

export class PublishedLog {
  readonly directory: string;
  readonly note: string;
  readonly checkpoint: Checkpoint;
  readonly #files: Files;
  readonly #tiles = new Map<string, TileNodes>();

  /**
   * Takes the checkpoint given, or the file as it is now; with a verifier its signature is checked.
   */
  constructor(
    directory: string,
    verifier: Verifier | null,
    files: Files = new DiskFiles(),
    given: string | null = null,
  ) {
    this.directory = logDirectory(directory);
    this.#files = files;
    const note = given ?? files.read(join(this.directory, 'checkpoint'));
    if (note === null) {
      throw new LedgerError(
        'not-found',
        `There is no checkpoint in ${directory}; is it a ledger's directory?`,
      );
    }
    this.note = note.toString();
    this.checkpoint =
      verifier === null ? parseCheckpoint(parseNote(note).text) : openCheckpoint(note, [verifier]);
  }

  get size(): number {
    return this.checkpoint.size;
  }

  /** Width of a tile at this checkpoint; 0 when there is none. */
  width(level: number, index: number): number {
    return Math.max(0, Math.min(TILE_WIDTH, hashesAt(level, this.size) - index * TILE_WIDTH));
  }

  /** The file, or the full one in place of a partial one that is gone. */
  #read(path: string, full: string): Buffer {
    const bytes =
      this.#files.read(join(this.directory, path)) ?? this.#files.read(join(this.directory, full));
    if (bytes === null) throw new LedgerError('tile-invalid', `${path} is missing.`);
    return bytes;
  }

  tile(level: number, index: number): Buffer {
    const width = this.width(level, index);
    const path = tilePath(level, index, width);
    const bytes = this.#read(path, tilePath(level, index, TILE_WIDTH));
    const wanted = width * HASH_BYTES;
    if (bytes.length !== wanted && bytes.length !== TILE_WIDTH * HASH_BYTES) {
      throw new LedgerError(
        'tile-invalid',
        `${path} has ${bytes.length} bytes instead of ${wanted}.`,
      );
    }
    return bytes.subarray(0, wanted);
  }

  /** null when the bundle is not there at all: retention may have removed it. */
  bundleIfThere(index: number): Uint8Array[] | null {
    const gone = [this.width(0, index), TILE_WIDTH].every(
      (width) => !this.#files.exists(join(this.directory, bundlePath(index, width))),
    );
    return gone ? null : this.bundle(index);
  }

  bundle(index: number): Uint8Array[] {
    const width = this.width(0, index);
    const path = bundlePath(index, width);
    const partial = this.#files.read(join(this.directory, path));
    if (partial !== null || width === TILE_WIDTH) {
      return splitBundle(partial ?? this.#read(path, path), width, path);
    }
    const full = bundlePath(index, TILE_WIDTH);
    return splitBundle(this.#read(full, full), TILE_WIDTH, full).slice(0, width);
  }

  readonly node: NodeSource = (level, index) => {
    const height = Math.floor(level / TILE_HEIGHT);
    const row = level % TILE_HEIGHT;
    const across = 2 ** (TILE_HEIGHT - row);
    const at = Math.floor(index / across);
    const name = `${height}/${at}`;
    let tile = this.#tiles.get(name);
    if (tile === undefined) {
      tile = TileNodes.from(height, at, this.tile(height, at));
      if (this.#tiles.size > 256) this.#tiles.clear();
      this.#tiles.set(name, tile);
    }
    return tile.node(row, index % across);
  };

  /** The entry's own bytes. */
  entry(index: number): Uint8Array {
    const entry =
      index < this.size
        ? this.bundle(Math.floor(index / TILE_WIDTH))[index % TILE_WIDTH]
        : undefined;
    if (entry === undefined)
      throw new LedgerError('not-found', `Entry ${index} is not in the log: it has ${this.size}.`);
    return entry;
  }

  /** Entries in order, a bundle at a time in memory; removed ones are left out. */
  *entries(from = 0, to = this.size): Generator<{ index: number; entry: Logged }> {
    for (let at = Math.floor(from / TILE_WIDTH); at * TILE_WIDTH < to; at++) {
      const start = at * TILE_WIDTH;
      for (const [offset, bytes] of (this.bundleIfThere(at) ?? []).entries()) {
        const index = start + offset;
        if (index >= from && index < to) yield { index, entry: decodeEntry(bytes) };
      }
    }
  }
}
