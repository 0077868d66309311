// What retention has removed, as its own entries say it, and the acts that are the ledger's own.
// Invariant: an act counts only with the root of what it removed, which the tree proves.
import { decodeEntry, type Logged } from './canonical.ts';

export const SHARD_REMOVED = 'shard-removed';
export const SHARD_SEALED = 'shard-sealed';
export const LEGAL_HOLD = 'legal-hold';
export const LEGAL_HOLD_RELEASED = 'legal-hold-released';
export const JOURNAL_LOST = 'journal-lost';

/** What only the ledger itself may say: these acts decide what may be missing. */
const OWN_ACTS: readonly string[] = [
  SHARD_REMOVED,
  SHARD_SEALED,
  LEGAL_HOLD,
  LEGAL_HOLD_RELEASED,
  JOURNAL_LOST,
];

export function isOwnAct(act: string): boolean {
  return OWN_ACTS.includes(act);
}

/** Entries [from, to), the perfect subtree of 2^level leaves that starts at `from`. */
export interface Removed {
  readonly from: number;
  readonly to: number;
  readonly level: number;
  readonly root: Buffer;
}

const MARK = Buffer.from(`"act":"${SHARD_REMOVED}"`);

/** The shard that an act of the ledger's own names; null when it names none. */
export function shardOf(entry: Logged, act: string): Removed | null {
  if (entry.kind !== 'administration' || entry.act !== act) return null;
  if (!entry.by.startsWith('ledger/')) return null;
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
