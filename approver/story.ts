// What the ledger holds of an operation: judged, signed, settled, run; each entry with its proof.
// Invariant: an entry is shown only with what proves it; the reader's own check decides, not this.
import { createHash } from 'node:crypto';
import type { Appended, Entry, LedgerWriter } from '../ledger/contract.ts';
import { parseProof } from '../ledger/proof.ts';
import type { Story } from '../ledger/search.ts';
import { STORY_MOST } from './limits.ts';
import { reasonOf } from './settle.ts';
import type { Hold } from './store/holds.ts';
import type { Store } from './store.ts';

/** The ledger as far as this room reads it: in process, or over HTTP with a token that may read. */
export interface LedgerReader {
  story(id: string): Promise<Story>;
  proof(index: number): Promise<string>;
}

export interface ProvedEntry {
  readonly key: string;
  readonly entry: Entry;
  readonly place: Appended;
}

export interface HoldStory {
  readonly records: readonly ProvedEntry[];
  /** Why entries of others (the proxy's) may be missing here; null when all are there. */
  readonly missing: string | null;
}

/** A ledger that answers questions too; null for one that only takes entries. */
export function readerOf(ledger: LedgerWriter): LedgerReader | null {
  const able = ledger as LedgerWriter & Partial<LedgerReader>;
  const { story, proof } = able;
  if (typeof story !== 'function' || typeof proof !== 'function') return null;
  return { story: (id) => story.call(able, id), proof: (index) => proof.call(able, index) };
}

/**
 * In the ledger's order. Our own entries are kept with their proofs; the others' are read there, as
 * soon as it finds them.
 */
export async function storyOf(
  hold: Hold,
  store: Store,
  reader: LedgerReader | null,
): Promise<HoldStory> {
  const own: readonly ProvedEntry[] = await store.holds.records(hold.id);
  const found = new Map(own.map((r) => [r.place.index, r]));
  let missing: string | null = reader === null ? 'this approver can’t read the ledger' : null;
  try {
    const steps = (await reader?.story(hold.id))?.steps ?? [];
    const others = steps.filter((s) => !found.has(s.index)).slice(0, STORY_MOST);
    for (const { index } of others) {
      const record = reader && proved(index, await reader.proof(index));
      if (record) found.set(index, record);
    }
  } catch (e) {
    missing = `the ledger can’t be read now: ${reasonOf(e)}`;
  }
  const records = [...found.values()].toSorted((a, b) => a.place.index - b.place.index);
  return { records, missing };
}

/** A proof file as the page checks it: entry, leaf, path, checkpoint. */
function proved(index: number, file: string): ProvedEntry | null {
  const proof = parseProof(file);
  if (proof.index !== index || proof.extra === null) return null;
  const { key, ...entry } = JSON.parse(proof.extra.toString('utf8')) as Entry & { key: string };
  const leaf = createHash('sha256')
    .update(new Uint8Array([0]))
    .update(proof.extra)
    .digest();
  return {
    key,
    entry: entry as Entry,
    place: {
      index,
      leaf: leaf.toString('base64'),
      size: Number(proof.checkpoint.split('\n')[1]),
      proof: proof.path.map((hash) => hash.toString('base64')),
      checkpoint: proof.checkpoint,
    },
  };
}
