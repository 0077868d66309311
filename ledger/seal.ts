// Sealing: the first entry after a full shard names that shard's root and carries the checkpoint it
// ends with.
// Invariant: it is placed in the commit that begins the next shard, so no shard is without it.
import { encodeEntry, identityOf } from './canonical.ts';
import { signCheckpoint } from './checkpoint.ts';
import type { AdministrationEntry } from './contract.ts';
import { rangeRoot } from './merkle.ts';
import type { Signer } from './note.ts';
import { SHARD_SEALED } from './removed.ts';
import type { Tree } from './tree.ts';

export const SEQUENCER = 'ledger/sequencer';

/** The entry that begins the next shard; null when none begins here. */
export function sealOf(
  tree: Tree,
  signer: Signer,
  level: number,
): { key: string; framed: Buffer } | null {
  const to = tree.size;
  const width = 2 ** level;
  if (to === 0 || to % width !== 0) return null;
  const from = to - width;
  const checkpoint = signCheckpoint({ origin: signer.name, size: to, root: tree.root() }, signer);
  const entry: AdministrationEntry = {
    v: 1,
    time: new Date().toISOString(),
    by: SEQUENCER,
    kind: 'administration',
    act: SHARD_SEALED,
    who: 'the ledger',
    what: `entries ${from} to ${to - 1}`,
    detail: { from, to, root: rangeRoot(from, to, tree.node).toString('base64'), checkpoint },
  };
  const key = `${SHARD_SEALED}/${from}/${to}`;
  return { key: identityOf(key, entry), framed: encodeEntry({ key, entry }) };
}
