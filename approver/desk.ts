// The desk: a hold's whole way, from the request on the bus to the answer on the bus.
// Invariant: no record, no approval. A state is in the ledger before anybody outside this file
// hears of it.
//
//   request → pending → signature recorded → state changed (compare-and-set) → state recorded →
// answer published
//
// What if we crash between two steps? After "signature recorded" the person signs again. After
// "state changed" the
// sweep finds the hold unrecorded or unpublished and goes on from there: both steps are idempotent
// by their keys.
import { createHash } from 'node:crypto';
import type { Bus } from '../bus/bus.ts';
import type { Appended, HoldEntry, LedgerWriter, SignatureEntry } from '../ledger/contract.ts';
import type { HoldAnswer } from '../proxy/contract.ts';
import {
  type FoundHold,
  HOLD_DECIDED,
  type HoldOutcome,
  type HoldRequest,
  type RedeemedHold,
  type RedeemHold,
} from './contract.ts';
import { checkDecision, consequence, counterOf, type GivenDecision } from './decide.ts';
import { ApproverError } from './errors.ts';
import { demandStates, waitingFor } from './hold.ts';
import * as limits from './limits.ts';
import type { ApproverKey } from './receipt.ts';
import { loadRoster, type Routing } from './routing.ts';
import type { PasskeyRules } from './sign.ts';
import type { Hold } from './store/holds.ts';
import type { Store } from './store.ts';

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

export interface DeskParts {
  readonly store: Store;
  readonly bus: Bus;
  readonly ledger: LedgerWriter;
  readonly key: ApproverKey;
  /** `approver/<instance>` in every entry. */
  readonly instance: string;
  readonly passkeys: PasskeyRules;
  readonly now: () => number;
  /** Duty, escalation: as configured now. */
  readonly routing: () => Routing;
  /** Told of everything that changes; must not throw. */
  readonly told: (event: DeskEvent) => void;
  /** A line for the service's log. */
  readonly log: (message: string, detail: { readonly [name: string]: unknown }) => void;
}

export class Desk {
  readonly #p: DeskParts;

  constructor(parts: DeskParts) {
    this.#p = parts;
  }

  /**
   * A request from the bus. At least once: the same one twice is one hold; a second asking joins
   * the first.
   */
  async receive(request: HoldRequest): Promise<Hold | null> {
    const { store } = this.#p;
    const most = limits.PENDING_PER_AGENT;
    if (await store.holds.pendingReach(request.agent.name, most)) {
      if (!(await store.holds.resolve(request.id))) {
        const why = `${request.agent.name} has ${most} holds waiting: it has to wait for some to end`;
        await this.refuse(request.id, why);
        return null;
      }
    }
    const asked = Date.parse(request.asked);
    const life = Date.parse(request.expires) - asked;
    const expires =
      asked + Math.min(Math.max(life, limits.HOLD_LIFE_LEAST_MS), limits.HOLD_LIFE_MOST_MS);
    for (let attempt = 0; attempt < limits.DECIDE_ATTEMPTS; attempt++) {
      const late = expires <= this.#p.now();
      const how = await store.holds.insert(
        request,
        { asked, expires },
        late ? 'expired' : 'pending',
      );
      if (how === 'active') {
        const first = await store.holds.active(request.digest, request.agent.name);
        if (!first || (await this.#expireIfDue(first))) continue;
        await store.holds.addAlias(request.id, first.id);
        if (first.state !== 'pending' && first.recorded) await this.#publish(first, [request.id]);
        return first;
      }
      const hold = await this.#load(request.id);
      if (how === 'inserted' && !late) this.#p.told({ kind: 'requested', hold: hold.id });
      if (late || (how === 'known' && hold.state !== 'pending')) await this.settle(hold);
      return hold;
    }
    throw new Error(`hold ${request.id}: the hold before it keeps changing`);
  }

  /** A request that can't be shown: its proxy is told, so that nobody waits for it. */
  async refuse(id: string, why: string): Promise<void> {
    this.#p.log('hold request refused', { hold: id, why });
    const answer: HoldAnswer = {
      hold: id,
      state: 'withdrawn',
      reason: `the approver does not take this request: ${why}`,
    };
    await this.#p.bus.publish(`${HOLD_DECIDED}.${id}`, answer, `${id}/refused`);
  }

  async find(digest: string, agent: string): Promise<FoundHold> {
    const hold = await this.#p.store.holds.active(digest, agent);
    if (!hold || (await this.#expireIfDue(hold))) return { hold: null };
    const shown = hold.recorded ? hold.state : 'pending';
    return {
      hold: {
        id: hold.id,
        state: shown,
        expires: new Date(hold.expires).toISOString(),
        waiting_for: shown === 'pending' ? await this.waiting(hold) : 'nobody',
        receipt: shown === 'approved' ? hold.receipt : null,
      },
    };
  }

  async state(id: string): Promise<HoldAnswer | { hold: string; state: 'pending' | 'unknown' }> {
    const hold = await this.#p.store.holds.resolve(id);
    if (!hold) return { hold: id, state: 'unknown' };
    if (!hold.recorded) return { hold: id, state: 'pending' };
    return (await this.#answer(hold, id)) ?? { hold: id, state: 'pending' };
  }

  /** Compare-and-set: one operation wins, and asks again as often as it likes. */
  async redeem(ask: RedeemHold): Promise<RedeemedHold> {
    const { store } = this.#p;
    for (let attempt = 0; attempt < limits.DECIDE_ATTEMPTS; attempt++) {
      const hold = await store.holds.resolve(ask.hold);
      const why = hold ? this.#whyNotRedeem(hold, ask) : `there is no hold ${ask.hold}`;
      if (!hold || why !== null) return { ok: false, reason: why ?? '' };
      if (hold.receipt === null) return { ok: false, reason: `hold ${hold.id} has no receipt` };
      if (hold.state === 'redeemed' && hold.recorded) return { ok: true, receipt: hold.receipt };
      if (hold.state === 'approved') {
        const done = await store.holds.change(hold.id, hold.version, {
          state: 'redeemed',
          redeemed_by: ask.operation,
          redeemed: this.#p.now(),
          recorded: false,
        });
        if (!done) continue;
      }
      return await this.#finishRedeem(hold.id, hold.receipt);
    }
    return { ok: false, reason: `hold ${ask.hold} keeps changing: send the statement again` };
  }

  async #finishRedeem(id: string, receipt: string): Promise<RedeemedHold> {
    const { store } = this.#p;
    const redeemed = await this.#load(id);
    try {
      await this.#record(redeemed);
    } catch (e) {
      // Nothing was written and nobody was told: the approval is given back, to be used when the
      // ledger is there again.
      await store.holds.change(id, redeemed.version, {
        state: 'approved',
        redeemed_by: null,
        redeemed: null,
        recorded: true,
      });
      return { ok: false, reason: `the ledger can't record the redemption: ${reasonOf(e)}` };
    }
    this.#p.told({ kind: 'redeemed', hold: id });
    return { ok: true, receipt };
  }

  #whyNotRedeem(hold: Hold, ask: RedeemHold): string | null {
    if (hold.request.digest !== ask.digest) {
      return `hold ${hold.id} was approved for other bytes, values, target, settings or policy`;
    }
    if (hold.request.agent.name !== ask.agent) return `hold ${hold.id} is of another agent`;
    if (hold.state === 'redeemed') {
      if (hold.redeemed_by === ask.operation) return null;
      return `the approval of hold ${hold.id} is already used: one approval runs once`;
    }
    if (hold.state !== 'approved' || !hold.recorded) return `hold ${hold.id} is ${hold.state}`;
    if (hold.expires <= this.#p.now()) return `the approval of hold ${hold.id} has expired`;
    return null;
  }

  /** One person signs. Resolves with the hold as it is then. */
  async decide(given: GivenDecision): Promise<Hold> {
    const { store, ledger } = this.#p;
    if (ledger.unavailable !== null) throw this.#noLedger(ledger.unavailable);
    for (let attempt = 0; attempt < limits.DECIDE_ATTEMPTS; attempt++) {
      const hold = await store.holds.resolve(given.decision.hold);
      if (!hold) throw new ApproverError('not-found', `there is no hold ${given.decision.hold}`);
      if (await this.#expireIfDue(hold)) continue;
      // The same signature again is the same decision: an answer that got lost is given again.
      if (await this.#signedBefore(hold, given)) return await this.#after(hold.id);
      const { signer, signature } = await checkDecision(this.#p, hold, given);
      const entry = {
        kind: 'signature',
        ...this.#stamp(),
        hold: hold.id,
        operation: hold.request.operation,
        binding: hold.request.digest,
        signer: signer.name,
        decision: signature.decision,
        method: signature.method,
        channel: signature.channel,
        signature: signature.signature,
        reason: signature.reason,
      } as const;
      await this.#append(`signature/${hold.id}/${hash(signature.signature)}`, entry);
      const result = await store.holds.sign(hold, signature, (all, people) =>
        consequence(this.#p, hold, signature, all, people),
      );
      if (result === 'moved') continue;
      if (result === 'already') {
        throw new ApproverError('already-signed', `${signer.name} has already signed ${hold.id}`);
      }
      this.#p.told({ kind: 'signed', hold: hold.id, who: signer.name });
      const { key, counter } = { key: signature.key, counter: counterOf(signature.evidence) };
      if (counter > 0) await store.signers.raiseCounter(key, counter).catch(() => {});
      return await this.#after(hold.id);
    }
    throw new ApproverError('conflict', `hold ${given.decision.hold} keeps changing: try again`);
  }

  async #signedBefore(hold: Hold, given: GivenDecision): Promise<boolean> {
    const all = await this.#p.store.holds.signatures(hold.id);
    const { decision, signer, reason } = given.decision;
    return all.some(
      (s) =>
        s.signature === given.signature &&
        s.signer === signer &&
        s.decision === decision &&
        s.reason === reason,
    );
  }

  async #after(id: string): Promise<Hold> {
    const hold = await this.#load(id);
    return hold.state === 'pending' ? hold : await this.settle(hold);
  }

  /** Ledger, then bus, each marked when done. Safe to run again from wherever it stopped. */
  async settle(hold: Hold): Promise<Hold> {
    const { store } = this.#p;
    let now = hold;
    if (!now.recorded) {
      try {
        await this.#record(now);
      } catch (e) {
        const why = `hold ${hold.id} is ${hold.state}, but the ledger can't record it yet`;
        this.#p.log(why, { hold: hold.id, error: reasonOf(e) });
        throw this.#noLedger(`${why}; it will be recorded and published when the ledger is back`);
      }
      now = await this.#load(hold.id);
      if (isEnd(now.state)) this.#p.told({ kind: now.state, hold: now.id });
    }
    if (!now.published && now.state !== 'redeemed') {
      try {
        await this.#publish(now, [now.id, ...(await store.holds.aliases(now.id))]);
        await store.holds.change(now.id, now.version, { published: true });
      } catch (e) {
        // Decided and on record: the sweep publishes it when the bus is back.
        this.#p.log('answer not yet published', { hold: hold.id, error: reasonOf(e) });
      }
      now = await this.#load(hold.id);
    } else if (!now.published) {
      await store.holds.change(now.id, now.version, { published: true });
    }
    return now;
  }

  /** Expired holds end, and what a crash or an outage left half-told is told. */
  async sweep(): Promise<void> {
    const { store, now } = this.#p;
    for (const hold of await store.holds.due(now(), limits.SWEEP_BATCH)) {
      await this.#expireIfDue(hold).catch(() => {});
    }
    for (const hold of await store.holds.unsettled(limits.SWEEP_BATCH)) {
      await this.settle(hold).catch(() => {});
    }
    await store.signers.dropExpired(now());
  }

  async outcome(o: HoldOutcome): Promise<void> {
    const hold = await this.#p.store.holds.resolve(o.hold);
    if (!hold || hold.redeemed_by !== o.operation) return;
    const kept = { outcome: o.outcome, answer: o.answer, rows: o.rows };
    if (await this.#p.store.holds.setOutcome(hold.id, JSON.stringify(kept))) {
      this.#p.told({ kind: 'outcome', hold: hold.id });
    }
  }

  /** Whom a pending hold waits for, in words. */
  async waiting(hold: Hold): Promise<string> {
    const { holds, signers } = this.#p.store;
    const signatures = await holds.signatures(hold.id);
    const roster = await loadRoster(signers, this.#p.routing(), this.#p.now());
    return waitingFor(demandStates(hold.request, signatures, roster.at(hold)));
  }

  /** true when its time was over: then it is expired now, whoever did it. */
  async #expireIfDue(hold: Hold): Promise<boolean> {
    if (hold.state !== 'pending' && hold.state !== 'approved') return false;
    if (hold.expires > this.#p.now()) return false;
    const done = await this.#p.store.holds.change(hold.id, hold.version, {
      state: 'expired',
      decided: this.#p.now(),
      recorded: false,
      published: false,
    });
    if (done) await this.settle(await this.#load(hold.id)).catch(() => {});
    return true;
  }

  async #record(hold: Hold): Promise<void> {
    if (!isEnd(hold.state)) return;
    const entry: HoldEntry = {
      kind: 'hold',
      ...this.#stamp(),
      hold: hold.id,
      operation: hold.redeemed_by ?? hold.request.operation,
      binding: hold.request.digest,
      state: hold.state,
      receipt: hold.state === 'approved' ? hold.receipt : null,
      reason: hold.reason,
    };
    const by = hold.redeemed_by === null ? '' : `/${hold.redeemed_by}`;
    await this.#append(`hold/${hold.id}/${hold.state}${by}`, entry);
    const marked = await this.#p.store.holds.change(hold.id, hold.version, { recorded: true });
    if (!marked) this.#p.log('hold moved on while it was recorded', { hold: hold.id });
  }

  async #publish(hold: Hold, ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const answer = await this.#answer(hold, id);
      if (!answer) continue;
      await this.#p.bus.publish(`${HOLD_DECIDED}.${id}`, answer, `${id}/${hold.state}`);
    }
  }

  async #answer(hold: Hold, as: string): Promise<HoldAnswer | null> {
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

  async #append(key: string, entry: HoldEntry | SignatureEntry): Promise<void> {
    let place: Appended | undefined;
    try {
      [place] = await this.#p.ledger.append([{ key, entry }]);
    } catch (e) {
      throw this.#noLedger(reasonOf(e));
    }
    // Kept for the page, which checks it; the ledger is the record, so a failure here is no matter.
    if (place)
      await this.#p.store.holds.addRecord(entry.hold, { key, entry, place }).catch(() => {});
  }

  #noLedger(why: string): ApproverError {
    return new ApproverError(
      'ledger-unavailable',
      `${why}: nothing is approved without its record`,
    );
  }

  #stamp() {
    return { v: 1, time: new Date(this.#p.now()).toISOString(), by: this.#p.instance } as const;
  }

  async #load(id: string): Promise<Hold> {
    const hold = await this.#p.store.holds.get(id);
    if (!hold) throw new Error(`hold ${id} is gone from the store`);
    return hold;
  }
}

function isEnd(state: Hold['state']): state is HoldEntry['state'] {
  return state !== 'pending';
}

function hash(s: string): string {
  return createHash('sha256').update(s).digest('base64url').slice(0, 22);
}

function reasonOf(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}
