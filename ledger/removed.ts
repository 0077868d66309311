// What retention has removed, as its own entries say it.
// Invariant: an act counts only with the root of what it removed, which the tree proves.
import { decodeEntry, type Logged } from './canonical.ts';

export const SHARD_REMOVED = 'shard-removed';
export const SHARD_SEALED = 'shard-sealed';

/** Entries [from, to), the perfect subtree of 2^level leaves that starts at `from`. */
export interface Removed {
  readonly from: number;
  readonly to: number;
  readonly level: number;
  readonly root: Buffer;
}

const MARK = Buffer.from(`"act":"${SHARD_REMOVED}"`);

/** The shard that an administrative act names; null when it names none. */
export function shardOf(entry: Logged, act: string): Removed | null {
  if (entry.kind !== 'administration' || entry.act !== act) return null;
  const { from, to, root } = entry.detail;
  const level = Math.log2(Number(to) - Number(from));
  if (typeof from !== 'number' || typeof to !== 'number' || typeof root !== 'string') return null;
  if (!Number.isInteger(level) || from < 0 || from % 2 ** level !== 0) return null;
  return { from, to, level, root: Buffer.from(root, 'base64') };
}

/** The removals that these entries record. */
export function removedIn(entries: readonly Uint8Array[]): Removed[] {
  const removed: Removed[] = [];
  for (const bytes of entries) {
    if (!Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes(MARK)) continue;
    const shard = shardOf(decodeEntry(bytes), SHARD_REMOVED);
    if (shard !== null) removed.push(shard);
  }
  return removed;
}
