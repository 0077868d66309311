// Ledger, then bus: how a state that the store has reached becomes known.
// Invariant: a state is on record before anybody is told of it, and both steps may be done again.
import type { Bus } from '../bus/bus.ts';
import type { Appended, HoldEntry, LedgerWriter } from '../ledger/contract.ts';
import type { HoldAnswer } from '../proxy/contract.ts';
import { HOLD_DECIDED } from './contract.ts';
import { ApproverError } from './errors.ts';
import type { Hold } from './store/holds.ts';
import type { Due } from './store/records.ts';
import type { Store } from './store.ts';

/** What happened to a hold, for pages and webhooks. */
export type DeskEvent =
  | {
      readonly kind: 'requested' | 'signed' | 'outcome';
      readonly hold: string;
      readonly who?: string;
    }
  | {
      readonly kind: 'approved' | 'denied' | 'expired' | 'withdrawn' | 'redeemed';
      readonly hold: string;
    };

export interface SettleParts {
  readonly store: Store;
  readonly bus: Bus;
  readonly ledger: LedgerWriter;
  /** `approver/<instance>` in every entry. */
  readonly instance: string;
  readonly now: () => number;
  /** Told of everything that changes, at least once; rejects when it has to be told again. */
  readonly told: (event: DeskEvent) => Promise<void>;
  /** A line for the service's log. */
  readonly log: (message: string, detail: { readonly [name: string]: unknown }) => void;
}

export class Settler {
  readonly #p: SettleParts;

  constructor(parts: SettleParts) {
    this.#p = parts;
  }

  /** Ledger, then bus, each marked when done. Safe to run again from wherever it stopped. */
  async settle(hold: Hold): Promise<Hold> {
    if (!hold.recorded) {
      try {
        await this.record(hold);
      } catch (e) {
        const why = `hold ${hold.id} is ${hold.state}, but the ledger can't record it yet`;
        this.#p.log(why, { hold: hold.id, error: reasonOf(e) });
        throw this.noLedger(`${why}; it will be recorded and published when the ledger is back`);
      }
    }
    if (!hold.published) {
      try {
        await this.#tell(hold);
      } catch (e) {
        // Decided and on record: the sweep publishes it when the bus is back.
        this.#p.log('answer not yet published', { hold: hold.id, error: reasonOf(e) });
      }
    }
    return await this.#load(hold.id);
  }

  /** Gives the ledger what is due of this hold, in one commit of its, and marks it. */
  async record(hold: Hold): Promise<void> {
    const { holds } = this.#p.store;
    const due = await holds.due(hold.id);
    let places: readonly Appended[];
    try {
      places = due.length === 0 ? [] : await this.#p.ledger.append(due);
    } catch (e) {
      throw this.noLedger(reasonOf(e));
    }
    const records = due.flatMap((d, i) => {
      const place = places[i];
      return place ? [{ ...d, place }] : [];
    });
    await holds.setRecorded(hold, records);
  }

  /** The waiting proxies first; then pages and webhooks, of each signature and of the state. */
  async #tell(hold: Hold): Promise<void> {
    const { holds } = this.#p.store;
    const { id, state } = hold;
    if (state !== 'redeemed') await this.publish(hold, [id, ...(await holds.aliases(id))]);
    for (const { signer } of await holds.signatures(id)) {
      await this.#p.told({ kind: 'signed', hold: id, who: signer });
    }
    // What came after an approval may have come before it was told of.
    if (hold.receipt !== null && state !== 'approved') {
      await this.#p.told({ kind: 'approved', hold: id });
    }
    if (state !== 'pending') await this.#p.told({ kind: state, hold: id });
    await holds.setPublished(hold);
  }

  /** The entry that tells of the state this hold has come to. */
  entry(hold: Hold, state: HoldEntry['state']): Due {
    const by = hold.redeemed_by === null ? '' : `/${hold.redeemed_by}`;
    return {
      key: `hold/${hold.id}/${state}${by}`,
      entry: {
        kind: 'hold',
        ...this.stamp(),
        hold: hold.id,
        operation: hold.redeemed_by ?? hold.request.operation,
        binding: hold.request.digest,
        state,
        receipt: state === 'approved' ? hold.receipt : null,
        reason: hold.reason,
      },
    };
  }

  async publish(hold: Hold, ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const answer = await this.answer(hold, id);
      if (!answer) continue;
      await this.#p.bus.publish(`${HOLD_DECIDED}.${id}`, answer, `${id}/${hold.state}`);
    }
  }

  /** What a waiting proxy is told; null while there is nothing to tell. */
  async answer(hold: Hold, as: string): Promise<HoldAnswer | null> {
    const { state, receipt, decided_by, reason } = hold;
    if (state === 'approved' && receipt !== null) {
      const signatures = await this.#p.store.holds.signatures(hold.id);
      const signers = signatures.filter((s) => s.decision === 'approve').map((s) => s.signer);
      return { hold: as, state, receipt, signers };
    }
    if (state === 'denied') return { hold: as, state, by: decided_by ?? '', reason: reason ?? '' };
    if (state === 'expired') return { hold: as, state };
    if (state === 'withdrawn') return { hold: as, state, reason: reason ?? '' };
    if (state === 'redeemed') {
      return { hold: as, state: 'withdrawn', reason: 'its approval was used by another asking' };
    }
    return null;
  }

  noLedger(why: string): ApproverError {
    return new ApproverError(
      'ledger-unavailable',
      `${why}: nothing is approved without its record`,
    );
  }

  stamp() {
    return { v: 1, time: new Date(this.#p.now()).toISOString(), by: this.#p.instance } as const;
  }

  async #load(id: string): Promise<Hold> {
    const hold = await this.#p.store.holds.get(id);
    if (!hold) throw new Error(`hold ${id} is gone from the store`);
    return hold;
  }
}

export function reasonOf(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}
