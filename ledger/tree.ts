// The tree's right edge in memory: the tiles still growing, and finished ones until they are on
// disk as files.
// Invariant: memory is a few tiles a level whatever the log's size; older nodes come from the tile
// files.
import { LedgerError } from './errors.ts';
import { HASH_BYTES, TILE_HEIGHT, TILE_WIDTH } from './limits.ts';
import { consistencyProof, type NodeSource, rangeRoot, splitAt, treeRoot } from './merkle.ts';
import { hashesAt, TileNodes } from './tile.ts';

/** Hashes of a full tile that is no longer in memory; null when there is none. */
export type TileReader = (level: number, index: number) => Uint8Array | null;

/** Tiles read back that are kept for the next question. */
const READ_TILES_KEPT = 64;

/** Right edge of a tree: per level of tiles the hashes of its unfinished tile. */
export interface Edge {
  readonly size: number;
  readonly tiles: readonly Buffer[];
  /** The unfinished bundle's entries, each with its length prefix. */
  readonly entries: readonly Buffer[];
}

export class Tree {
  #size = 0;
  readonly #edge: TileNodes[] = [new TileNodes(0, 0)];
  #entries: Buffer[] = [];
  /** Finished since they were last forgotten, by level and index. */
  readonly #finished = new Map<string, TileNodes>();
  readonly #bundles = new Map<number, readonly Buffer[]>();
  readonly #read: TileReader;
  readonly #cache = new Map<string, TileNodes>();

  constructor(read: TileReader) {
    this.#read = read;
  }

  static from(edge: Edge, read: TileReader): Tree {
    const tree = new Tree(read);
    tree.#size = edge.size;
    tree.#edge.length = 0;
    edge.tiles.forEach((hashes, level) => {
      const index = Math.floor(hashesAt(level, edge.size) / TILE_WIDTH);
      tree.#edge.push(TileNodes.from(level, index, hashes));
    });
    if (tree.#edge.length === 0) tree.#edge.push(new TileNodes(0, 0));
    tree.#entries = [...edge.entries];
    return tree;
  }

  get size(): number {
    return this.#size;
  }

  /** `framed` is the entry with its length prefix; it is kept until its bundle is forgotten. */
  append(leaf: Uint8Array, framed: Buffer): void {
    this.#size++;
    this.#entries.push(framed);
    if (this.#entries.length === TILE_WIDTH) {
      this.#bundles.set(this.#size / TILE_WIDTH - 1, this.#entries);
      this.#entries = [];
    }
    let hash = leaf;
    for (let level = 0; ; level++) {
      const tile = this.#edge[level] ?? new TileNodes(level, 0);
      this.#edge[level] = tile;
      tile.push(hash);
      if (tile.width < TILE_WIDTH) return;
      this.#finished.set(`${level}/${tile.index}`, tile);
      this.#edge[level] = new TileNodes(level, tile.index + 1);
      hash = tile.root;
    }
  }

  /** Root of the perfect subtree `index` of 2^level leaves. */
  readonly node: NodeSource = (level, index) => {
    const height = Math.floor(level / TILE_HEIGHT);
    const row = level % TILE_HEIGHT;
    const across = 2 ** (TILE_HEIGHT - row);
    return this.#tile(height, Math.floor(index / across)).node(row, index % across);
  };

  #tile(level: number, index: number): TileNodes {
    const edge = this.#edge[level];
    if (edge?.index === index) return edge;
    const name = `${level}/${index}`;
    const known = this.#finished.get(name) ?? this.#cache.get(name);
    if (known !== undefined) return known;
    const hashes = this.#read(level, index);
    if (hashes?.length !== TILE_WIDTH * HASH_BYTES) {
      throw new LedgerError(
        'tile-invalid',
        `Tile ${index} of level ${level} is missing or not 8,192 bytes; run: holdpoint ledger ` +
          'verify.',
      );
    }
    const tile = TileNodes.from(level, index, hashes);
    if (this.#cache.size >= READ_TILES_KEPT) {
      const oldest = this.#cache.keys().next().value;
      if (oldest !== undefined) this.#cache.delete(oldest);
    }
    this.#cache.set(name, tile);
    return tile;
  }

  root(): Buffer {
    return Buffer.from(treeRoot(this.#size, this.node));
  }

  /**
   * Leaf and inclusion proof as base64, for entries of one tree size; what entries share is
   * computed once.
   */
  proofs(size: number): (index: number) => { leaf: string; proof: string[] } {
    const known = new Map<number, string>();
    return (index) => {
      const proof: string[] = [];
      let low = 0;
      let high = size;
      while (high - low > 1) {
        const middle = low + splitAt(high - low);
        const right = index < middle;
        // The left sibling of [low, middle) and the right one from `middle` to the edge or the
        // subtree's end.
        const from = right ? middle : low;
        const width = right ? high - middle : middle - low;
        const name = from * 64 + Math.ceil(Math.log2(width));
        let hash = known.get(name);
        if (hash === undefined) {
          hash = rangeRoot(from, from + width, this.node).toString('base64');
          known.set(name, hash);
        }
        proof.push(hash);
        if (right) high = middle;
        else low = middle;
      }
      return { leaf: this.node(0, index).toString('base64'), proof: proof.reverse() };
    };
  }

  consistency(from: number, to: number): Buffer[] {
    return consistencyProof(from, to, this.node).map((hash) => Buffer.from(hash));
  }

  /** A copy of the right edge as it is now. */
  edge(): Edge {
    const tiles = this.#edge.map((tile) => tile.bytes());
    return { size: this.#size, tiles, entries: [...this.#entries] };
  }

  /** Finished tiles and bundles that have not been forgotten, oldest first. */
  finished(): { tiles: TileNodes[]; bundles: [number, readonly Buffer[]][] } {
    return { tiles: [...this.#finished.values()], bundles: [...this.#bundles] };
  }

  /** Drops what {@link finished} gave: its files are there. */
  forget(tiles: readonly TileNodes[], bundles: readonly (readonly [number, unknown])[]): void {
    for (const tile of tiles) this.#finished.delete(`${tile.level}/${tile.index}`);
    for (const [index] of bundles) this.#bundles.delete(index);
  }

  /** An entry that is still in memory, with its length prefix. */
  recent(index: number): Buffer | undefined {
    const bundle = Math.floor(index / TILE_WIDTH);
    const entries =
      bundle === Math.floor(this.#size / TILE_WIDTH) ? this.#entries : this.#bundles.get(bundle);
    return entries?.[index % TILE_WIDTH];
  }
}
