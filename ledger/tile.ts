// Tiles and bundles of C2SP tlog-tiles: where they are and what they hold.
// Invariant: a path and a width name exactly one byte string for a given tree.

import { LedgerError } from './errors.ts';
import { HASH_BYTES, TILE_HEIGHT, TILE_WIDTH } from './limits.ts';
import { hashNode } from './merkle.ts';

function elements(index: number): string {
  let path = String(index % 1000).padStart(3, '0');
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    path = `x${String(rest % 1000).padStart(3, '0')}/${path}`;
  }
  return path;
}

/** `tile/<L>/<N>[.p/<W>]`; `width` 256 is the full tile. */
export function tilePath(level: number, index: number, width: number): string {
  const path = `tile/${level}/${elements(index)}`;
  return width === TILE_WIDTH ? path : `${path}.p/${width}`;
}

/** `tile/entries/<N>[.p/<W>]`. */
export function bundlePath(index: number, width: number): string {
  const path = `tile/entries/${elements(index)}`;
  return width === TILE_WIDTH ? path : `${path}.p/${width}`;
}

export interface TilePlace {
  readonly level: number | 'entries';
  readonly index: number;
  readonly width: number;
}

const PATH = /^tile\/(entries|0|[1-9]\d?)\/((?:x\d{3}\/)*\d{3})(?:\.p\/([1-9]\d{0,2}))?$/;

/**
 * Reads a path back; null when it is not one that {@link tilePath} or {@link bundlePath} would
 * write.
 */
export function parseTilePath(path: string): TilePlace | null {
  const match = PATH.exec(path);
  const [, level, digits, partial] = match ?? [];
  if (level === undefined || digits === undefined) return null;
  const index = Number(digits.replaceAll(/[x/]/g, ''));
  const width = partial === undefined ? TILE_WIDTH : Number(partial);
  if (!Number.isSafeInteger(index) || width > TILE_WIDTH || (partial && width === TILE_WIDTH)) {
    return null;
  }
  const place: TilePlace = { level: level === 'entries' ? level : Number(level), index, width };
  const again =
    place.level === 'entries' ? bundlePath(index, width) : tilePath(place.level, index, width);
  return again === path && (place.level === 'entries' || place.level <= 63) ? place : null;
}

/** How many hashes level `level` of tiles has in all for a tree of `size`. */
export function hashesAt(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** level);
}

/** Where row `row` of a tile's nodes starts: 256 leaves, 128 parents, … , the root at 510. */
function rowStart(row: number): number {
  return 2 * TILE_WIDTH - Math.floor((2 * TILE_WIDTH) / 2 ** row);
}

/** One tile with the nodes between its hashes and its root, filled from the left. */
export class TileNodes {
  readonly level: number;
  readonly index: number;
  width = 0;
  readonly #nodes = Buffer.alloc((2 * TILE_WIDTH - 1) * HASH_BYTES);

  constructor(level: number, index: number) {
    this.level = level;
    this.index = index;
  }

  static from(level: number, index: number, hashes: Uint8Array): TileNodes {
    const tile = new TileNodes(level, index);
    for (let at = 0; at < hashes.length; at += HASH_BYTES) {
      tile.push(hashes.subarray(at, at + HASH_BYTES));
    }
    return tile;
  }

  push(hash: Uint8Array): void {
    let position = this.width++;
    this.#nodes.set(hash, position * HASH_BYTES);
    for (let row = 0; row < TILE_HEIGHT && position % 2 === 1; row++) {
      const parent = hashNode(this.node(row, position - 1), this.node(row, position));
      position = (position - 1) / 2;
      this.#nodes.set(parent, (rowStart(row + 1) + position) * HASH_BYTES);
    }
  }

  /** A view; copy it to keep it. */
  node(row: number, position: number): Buffer {
    const at = (rowStart(row) + position) * HASH_BYTES;
    return this.#nodes.subarray(at, at + HASH_BYTES);
  }

  get root(): Buffer {
    return this.node(TILE_HEIGHT, 0);
  }

  /** The tile's file: a copy of its hashes. */
  bytes(width = this.width): Buffer {
    return Buffer.from(this.#nodes.subarray(0, width * HASH_BYTES));
  }
}

/**
 * The entries of a bundle, each with its place in the file; throws when the bundle is not exactly
 * `width` entries.
 */
export function splitBundle(bundle: Uint8Array, width: number, name: string): Uint8Array[] {
  const entries: Uint8Array[] = [];
  let at = 0;
  while (at + 2 <= bundle.length && entries.length < width) {
    const length = ((bundle[at] ?? 0) << 8) | (bundle[at + 1] ?? 0);
    if (at + 2 + length > bundle.length) break;
    entries.push(bundle.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  if (entries.length !== width || at !== bundle.length) {
    throw new LedgerError(
      'tile-invalid',
      `Bundle ${name} should hold exactly ${width} entries; ${entries.length} whole ones are ` +
        `in its first ${at} of ${bundle.length} bytes.`,
    );
  }
  return entries;
}
