// Legal holds: what was recorded in a time is kept from retention until it is released.
// Invariant: a hold and its release are entries, and only those of the ledger itself count.
import { randomUUID } from 'node:crypto';
import type { Logged } from './canonical.ts';
import type { AdministrationEntry } from './contract.ts';
import { LedgerError } from './errors.ts';
import type { Ledger } from './ledger.ts';
import { LEGAL_HOLD, LEGAL_HOLD_RELEASED } from './removed.ts';

export interface LegalHold {
  /** The case. */
  readonly name: string;
  readonly who: string;
  /** RFC 3339: entries of this time and after, and up to that; null is open. */
  readonly from: string | null;
  readonly to: string | null;
}

export interface Act {
  /** Where it was said first: retention says an act again before the shard it stands in goes. */
  readonly place: number;
  readonly entry: Logged & AdministrationEntry;
}

/** All the ledger's own entries of one act, oldest first, through the index. */
export async function acts(ledger: Ledger, act: string): Promise<Act[]> {
  const found: Act[] = [];
  let before: number | undefined;
  do {
    const query = { kind: 'administration', rule: act, before, limit: 1000 };
    const page = await ledger.searchHere(query);
    for (const { index, entry } of page.entries) {
      if (entry.kind !== 'administration' || !entry.by.startsWith('ledger/')) continue;
      const { was } = entry.detail;
      found.push({ place: typeof was === 'number' ? was : index, entry });
    }
    before = page.next ?? undefined;
  } while (before !== undefined);
  return found.sort((a, b) => a.place - b.place);
}

/** The holds that stand: set, and not released after that. */
export async function legalHolds(ledger: Ledger): Promise<LegalHold[]> {
  const released = await acts(ledger, LEGAL_HOLD_RELEASED);
  const standing = (await acts(ledger, LEGAL_HOLD)).filter(
    ({ place, entry }) =>
      !released.some((later) => later.place > place && later.entry.what === entry.what),
  );
  const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
  const unique = new Map(standing.map((one) => [one.place, one.entry]));
  return [...unique.values()].map(({ what, who, detail }) => ({
    name: what,
    who,
    from: text(detail.from),
    to: text(detail.to),
  }));
}

/** The first hold that covers something recorded from `first` to `last`. */
export function holdOver(
  holds: readonly LegalHold[],
  first: number,
  last: number,
): LegalHold | undefined {
  return holds.find(
    ({ from, to }) =>
      (from === null || Date.parse(from) <= last) && (to === null || Date.parse(to) >= first),
  );
}

function checkTime(time: string | null): void {
  if (time !== null && Number.isNaN(Date.parse(time))) {
    throw new LedgerError('entry-invalid', `${time} is not a time such as 2026-01-31T12:00:00Z.`);
  }
}

async function record(
  ledger: Ledger,
  act: string,
  hold: LegalHold,
  by: string,
): Promise<{ readonly index: number }> {
  const time = new Date().toISOString();
  const { name, who, from, to } = hold;
  const entry: AdministrationEntry = {
    v: 1,
    time,
    by,
    kind: 'administration',
    act,
    who,
    what: name,
    detail: { from, to },
  };
  const key = `${act}/${randomUUID()}`;
  const [answer] = await ledger.append([{ key, entry }]);
  // Retention asks the index: a hold counts once it is found there.
  await ledger.publish(true);
  return { index: answer?.index ?? -1 };
}

/** Sets a hold; it counts when this resolves. */
export function setLegalHold(
  ledger: Ledger,
  hold: LegalHold,
  by: string,
): Promise<{ readonly index: number }> {
  checkTime(hold.from);
  checkTime(hold.to);
  if (hold.name === '' || hold.name.length > 200)
    throw new LedgerError('entry-invalid', 'A legal hold needs a name of at most 200 characters.');
  return record(ledger, LEGAL_HOLD, hold, by);
}

/** Releases all holds of a name. */
export async function releaseLegalHold(
  ledger: Ledger,
  name: string,
  who: string,
  by: string,
): Promise<{ readonly index: number }> {
  const standing = await legalHolds(ledger);
  if (!standing.some((hold) => hold.name === name))
    throw new LedgerError('not-found', `There is no legal hold ${JSON.stringify(name)}.`);
  return record(ledger, LEGAL_HOLD_RELEASED, { name, who, from: null, to: null }, by);
}
