// One range of a verification: bundles against the tile of their hashes.
// Invariant: every entry is hashed again; what is missing is told, never passed over.
import { reasonOf } from './errors.ts';
import { HASH_BYTES, TILE_WIDTH } from './limits.ts';
import type { PublishedLog } from './log.ts';
import { hashLeaf } from './merkle.ts';
import { type Removed, removedIn } from './removed.ts';
import { TileNodes } from './tile.ts';

/** One thing that is wrong; `entry` is the first entry it concerns, when there is one. */
export interface Finding {
  readonly entry: number | null;
  readonly what: string;
}

/**
 * What one range of bundles gives: the root of each full tile, or the hashes of the last, partial
 * one.
 */
export interface RangeResult {
  readonly hashes: Uint8Array[];
  readonly findings: Finding[];
  /** Bundles that are not there; right when {@link removed} covers them. */
  readonly missing: number[];
  /** Acts of retention that the entries record. */
  readonly removed: Removed[];
}

/** Bundles against level-0 tiles; runs in a worker for large logs. */
export function checkRange(
  log: PublishedLog,
  from: number,
  to: number,
  progress: (entries: number) => void,
): RangeResult {
  const hashes: Uint8Array[] = [];
  const findings: Finding[] = [];
  const missing: number[] = [];
  const removed: Removed[] = [];
  for (let index = from; index < to; index++) {
    const first = index * TILE_WIDTH;
    const width = log.width(0, index);
    try {
      const tile = log.tile(0, index);
      const entries = log.bundleIfThere(index);
      const wrong = entries === null ? null : checkBundle(index, entries, tile);
      if (wrong !== null) findings.push(wrong);
      if (entries === null) missing.push(index);
      else removed.push(...removedIn(entries));
      hashes.push(
        width === TILE_WIDTH ? Buffer.from(TileNodes.from(0, index, tile).root) : Buffer.from(tile),
      );
    } catch (error) {
      findings.push({ entry: first, what: reasonOf(error) });
      hashes.push(Buffer.alloc(width === TILE_WIDTH ? HASH_BYTES : width * HASH_BYTES));
    }
    progress(width);
  }
  return { hashes, findings, missing, removed };
}

function checkBundle(
  index: number,
  entries: readonly Uint8Array[],
  tile: Uint8Array,
): Finding | null {
  for (const [offset, entry] of entries.entries()) {
    const at = offset * HASH_BYTES;
    if (Buffer.compare(hashLeaf(entry), tile.subarray(at, at + HASH_BYTES)) !== 0) {
      const place = index * TILE_WIDTH + offset;
      return { entry: place, what: `entry ${place} does not have the hash that tile/0 has for it` };
    }
  }
  return null;
}
