// The desk: a hold's whole way, from the request on the bus to the answer on the bus.
// Invariant: no record, no approval; nobody hears of a state that is not in the ledger.
//
//   request → pending → signature, state and their entries kept (compare-and-set, on disk)
//           → entries in the ledger, in one commit → answer published      (settle.ts)
//   redeem  → state and its entry kept  ┐ side by side, both on disk
//           → entry in the ledger       ┘ → receipt
//
// What if we crash between two steps? What is kept goes its way: the sweep gives the ledger the
// very entries that were kept, and publishes; both steps are idempotent by their keys. Of a
// redemption only the ledger may know, when the machine itself goes down before the store is on
// disk: then it was not answered, nothing ran, and the approval is still there.
import { createHash } from 'node:crypto';
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
import { reasonOf, type SettleParts, Settler } from './settle.ts';
import type { PasskeyRules } from './sign.ts';
import type { Hold, Signature } from './store/holds.ts';
import type { Due } from './store/records.ts';

export interface DeskParts extends SettleParts {
  readonly key: ApproverKey;
  readonly passkeys: PasskeyRules;
  /** Duty, escalation: as configured now. */
  readonly routing: () => Routing;
}

export class Desk {
  readonly #p: DeskParts;
  readonly #settler: Settler;

  constructor(parts: DeskParts) {
    this.#p = parts;
    this.#settler = new Settler(parts);
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
        const why = `${request.agent.name} has ${most} holds waiting: some have to end first`;
        await this.refuse(request.id, why);
        return null;
      }
    }
    // A proxy whose clock is ahead can't make a hold live longer.
    const asked = Math.min(Date.parse(request.asked), this.#p.now());
    const life = Date.parse(request.expires) - Date.parse(request.asked);
    const expires =
      asked + Math.min(Math.max(life, limits.HOLD_LIFE_LEAST_MS), limits.HOLD_LIFE_MOST_MS);
    for (let attempt = 0; attempt < limits.DECIDE_ATTEMPTS; attempt++) {
      const late = expires <= this.#p.now();
      const entry = this.#settler.entry(lateHold(request, asked, expires), 'expired');
      const how = await store.holds.insert(request, { asked, expires }, late ? entry : null);
      if (how === 'active') {
        const first = await store.holds.active(request.digest, request.agent.name);
        if (!first || (await this.#expireIfDue(first))) continue;
        await store.holds.addAlias(request.id, first.id);
        if (first.state !== 'pending' && first.recorded)
          await this.#settler.publish(first, [request.id]);
        return first;
      }
      const hold = await this.#load(request.id);
      // A failure here brings the request again, and with it the event: it is not lost by a crash.
      if (hold.state === 'pending') await this.#p.told({ kind: 'requested', hold: hold.id });
      if (late || (how === 'known' && hold.state !== 'pending')) await this.#settler.settle(hold);
      return hold;
    }
    throw new Error(`hold ${request.id}: the hold before it keeps changing`);
  }

  /** Tells what is left to tell; see {@link Settler.settle}. */
  async settle(hold: Hold): Promise<Hold> {
    return await this.#settler.settle(hold);
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
    return (await this.#settler.answer(hold, id)) ?? { hold: id, state: 'pending' };
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
      if (hold.state === 'redeemed') return await this.#recordAgain(hold, hold.receipt);
      const change = {
        state: 'redeemed',
        redeemed_by: ask.operation,
        redeemed: this.#p.now(),
      } as const;
      const redeemed = { ...hold, ...change, version: hold.version + 1, recorded: false };
      const entry = this.#settler.entry(redeemed, 'redeemed');
      const kept = await store.holds.change(hold.id, hold.version, change, [entry]);
      if (!kept.result) continue;
      try {
        await Promise.all([kept.durable, this.#settler.record(redeemed)]);
      } catch (e) {
        // Nobody was told: the approval is given back, to be used when the ledger is there again.
        const back = { state: 'approved', redeemed_by: null, redeemed: null } as const;
        await store.holds.takeBack(redeemed, back, entry);
        return { ok: false, reason: `the ledger can't record the redemption: ${reasonOf(e)}` };
      }
      this.#settleLater(hold.id);
      return { ok: true, receipt: hold.receipt };
    }
    return { ok: false, reason: `hold ${ask.hold} keeps changing: send the statement again` };
  }

  /** Redeemed by this very operation, and perhaps not on record yet: a crash, or it asks twice. */
  async #recordAgain(hold: Hold, receipt: string): Promise<RedeemedHold> {
    try {
      await this.#settler.record(hold);
    } catch (e) {
      return { ok: false, reason: `the ledger can't record the redemption: ${reasonOf(e)}` };
    }
    this.#settleLater(hold.id);
    return { ok: true, receipt };
  }

  /** Nobody waits for this; what is left over, the sweep does. */
  #settleLater(id: string): void {
    void this.#load(id)
      .then((h) => this.#settler.settle(h))
      .catch(() => {});
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
    if (ledger.unavailable !== null) throw this.#settler.noLedger(ledger.unavailable);
    for (let attempt = 0; attempt < limits.DECIDE_ATTEMPTS; attempt++) {
      const hold = await store.holds.resolve(given.decision.hold);
      if (!hold) throw new ApproverError('not-found', `there is no hold ${given.decision.hold}`);
      if (await this.#expireIfDue(hold)) continue;
      // The same signature again is the same decision: an answer that got lost is given again.
      if (await this.#signedBefore(hold, given)) return await this.#after(hold.id);
      const { signer, signature } = await checkDecision(this.#p, hold, given);
      const result = await store.holds.sign(hold, signature, async (all, people) => {
        // Its time may have ended while the signature was checked.
        if (hold.expires <= this.#p.now()) {
          throw new ApproverError('decided', `hold ${hold.id} has expired`);
        }
        const change = await consequence(this.#p, hold, signature, all, people);
        const entries = [this.#signatureEntry(hold, signature)];
        if (change.state && change.state !== 'pending') {
          entries.push(this.#settler.entry({ ...hold, ...change }, change.state));
        }
        return { change, entries };
      });
      if (result === 'moved') continue;
      if (result === 'already') {
        throw new ApproverError('already-signed', `${signer.name} has already signed ${hold.id}`);
      }
      const used = counterOf(signature.evidence);
      if (used > 0) await store.signers.raiseCounter(signature.key, used).catch(() => {});
      return await this.#after(hold.id);
    }
    throw new ApproverError('conflict', `hold ${given.decision.hold} keeps changing: try again`);
  }

  async #signedBefore(hold: Hold, given: GivenDecision): Promise<boolean> {
    const all = await this.#p.store.holds.signatures(hold.id);
    const { decision, signer, reason } = given.decision;
    const mine = all.find((s) => s.signer === signer && s.decision === decision);
    if (!mine) return false;
    if (mine.signature === given.signature && mine.reason === reason) return true;
    if (hold.state !== 'pending') return false;
    throw new ApproverError('already-signed', `${signer} has already signed ${hold.id}`);
  }

  #signatureEntry(hold: Hold, s: Signature): Due {
    return {
      key: `signature/${hold.id}/${hash(s.signature)}`,
      entry: {
        kind: 'signature',
        ...this.#settler.stamp(),
        hold: hold.id,
        operation: hold.request.operation,
        binding: hold.request.digest,
        signer: s.signer,
        decision: s.decision,
        method: s.method,
        channel: s.channel,
        signature: s.signature,
        reason: s.reason,
      },
    };
  }

  async #after(id: string): Promise<Hold> {
    return await this.#settler.settle(await this.#load(id));
  }

  /** Expired holds end, and what a crash or an outage left half-told is told. */
  async sweep(): Promise<void> {
    const { store, now } = this.#p;
    for (const hold of await store.holds.overdue(now(), limits.SWEEP_BATCH)) {
      await this.#expireIfDue(hold).catch(() => {});
    }
    for (const hold of await store.holds.unsettled(limits.SWEEP_BATCH)) {
      await this.#settler.settle(hold).catch(() => {});
    }
    await store.signers.dropExpired(now());
  }

  async outcome(o: HoldOutcome): Promise<void> {
    const hold = await this.#p.store.holds.resolve(o.hold);
    if (!hold || hold.redeemed_by !== o.operation) return;
    const kept = { outcome: o.outcome, answer: o.answer, rows: o.rows };
    if (await this.#p.store.holds.setOutcome(hold.id, JSON.stringify(kept))) {
      await this.#p.told({ kind: 'outcome', hold: hold.id });
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
    const change = { state: 'expired', decided: this.#p.now() } as const;
    const entry = this.#settler.entry(hold, 'expired');
    const kept = await this.#p.store.holds.change(hold.id, hold.version, change, [entry]);
    await kept.durable;
    if (kept.result) await this.#settler.settle(await this.#load(hold.id)).catch(() => {});
    return true;
  }

  async #load(id: string): Promise<Hold> {
    const hold = await this.#p.store.holds.get(id);
    if (!hold) throw new Error(`hold ${id} is gone from the store`);
    return hold;
  }
}

/** A request that came after its time, as the hold it never was. */
function lateHold(request: HoldRequest, asked: number, expires: number): Hold {
  const nothing = { decided: null, decided_by: null, reason: null, receipt: null, outcome: null };
  const unused = { redeemed_by: null, redeemed: null, recorded: false, published: false };
  const { id } = request;
  return { id, request, state: 'expired', version: 1, asked, expires, ...nothing, ...unused };
}

function hash(s: string): string {
  return createHash('sha256').update(s).digest('base64url').slice(0, 22);
}
