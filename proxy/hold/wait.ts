// The hold room: asks the approver over the bus, waits for its answer, redeems it once.
// Invariant: nothing here lets a statement pass; only `checkReceipt` on a redeemed receipt does.
import {
  type FoundHold,
  HOLD_DECIDED,
  HOLD_FIND,
  HOLD_OUTCOME,
  HOLD_REDEEM,
  HOLD_REQUESTED,
  HOLD_STATE,
  type HoldOutcome,
  type HoldRequest,
  type RedeemedHold,
} from '../../approver/contract.ts';
import { HOLD_REQUEST_BYTES } from '../../approver/limits.ts';
import { type Bus, BusUnavailable, type Subscription } from '../../bus/bus.ts';
import type { HoldAnswer } from '../contract.ts';
import type { Operation } from '../operation.ts';
import { type ApproverKeys, type CheckedReceipt, checkReceipt, type Expected } from './receipt.ts';
import { type HeldAs, holdRequestOf } from './request.ts';
import type { Pinned } from './signers.ts';

/**
 * Bus or approver can't be reached: the change is refused with this reason, and nothing is lost.
 */
export class HoldUnavailable extends Error {
  override name = 'HoldUnavailable';
}
/** The statement is too large to be shown and signed. */
export class HoldTooLarge extends Error {
  override name = 'HoldTooLarge';
}

export interface HoldParts {
  readonly bus: Bus;
  /** This proxy's name, for the log and the bus. */
  readonly instance: string;
  readonly keys: ApproverKeys;
  /** The pinned list of signers; without it the approver's word for whose key it is counts. */
  readonly signers?: () => Promise<Pinned>;
  readonly now?: () => number;
}

export type Found =
  | {
      readonly kind: 'pending';
      readonly hold: string;
      readonly expires: string;
      readonly waiting_for: string;
    }
  | {
      readonly kind: 'approved';
      readonly hold: string;
      readonly expires: string;
      readonly receipt: string;
    }
  | { readonly kind: 'none' }
  /** The bus carries messages, but no approver answers now. */
  | { readonly kind: 'nobody' };

export type Redeemed =
  | { readonly ok: true; readonly receipt: string }
  | { readonly ok: false; readonly refused: string };

type Waiter = (answer: HoldAnswer) => void;

/**
 * How long the approver may take to answer a question; asked again this often while a client waits.
 */
const ASK_MS = 2_000;
const RECHECK_MS = 3_000;
/** Answers kept for a wait that starts just after its answer came. */
const KEPT_ANSWERS = 1_000;

export class Holds {
  readonly #bus: Bus;
  readonly #keys: ApproverKeys;
  readonly #signers: (() => Promise<Pinned>) | null;
  readonly #now: () => number;
  readonly #waiters = new Map<string, Set<Waiter>>();
  readonly #answers = new Map<string, HoldAnswer>();
  #subscription: Subscription | null = null;

  constructor(parts: HoldParts) {
    this.#bus = parts.bus;
    this.#keys = parts.keys;
    this.#signers = parts.signers ?? null;
    this.#now = parts.now ?? Date.now;
  }

  /** Listens for answers; without it a wait still ends, by asking. */
  async start(): Promise<void> {
    this.#subscription ??= await this.#bus.listen(`${HOLD_DECIDED}.>`, async (subject, body) => {
      const answer = body as HoldAnswer;
      if (subject === `${HOLD_DECIDED}.${answer.hold}`) this.#heard(answer);
    });
  }

  async close(): Promise<void> {
    await this.#subscription?.close();
    this.#subscription = null;
  }

  /** null when holds can be asked for now, else why not. */
  get unavailable(): string | null {
    return this.#bus.unavailable;
  }

  request(operation: Operation, as: HeldAs): HoldRequest {
    return holdRequestOf(operation, as);
  }

  /** A hold of this very binding that is still pending, or approved and not yet used. */
  async find(request: HoldRequest): Promise<Found> {
    this.#check();
    let found: FoundHold;
    try {
      const ask = { digest: request.digest, agent: request.agent.name };
      found = (await this.#bus.request(HOLD_FIND, ask, ASK_MS)) as FoundHold;
    } catch (e) {
      this.#check();
      if (e instanceof BusUnavailable) return { kind: 'nobody' };
      throw e;
    }
    const { hold } = found;
    if (hold === null || Date.parse(hold.expires) <= this.#now()) return { kind: 'none' };
    const { id, expires, waiting_for, receipt } = hold;
    if (hold.state === 'approved' && receipt !== null) {
      return { kind: 'approved', hold: id, expires, receipt };
    }
    return { kind: 'pending', hold: id, expires, waiting_for };
  }

  /** Publishes it durably: found by an approver that is up now or comes back later. */
  async open(request: HoldRequest): Promise<void> {
    this.#check();
    const bytes = Buffer.byteLength(JSON.stringify(request));
    if (bytes > HOLD_REQUEST_BYTES) {
      throw new HoldTooLarge(
        `this statement makes a hold of ${bytes} bytes and people can be shown ` +
          `${HOLD_REQUEST_BYTES}: split it, or load the data another way`,
      );
    }
    try {
      await this.#bus.publish(HOLD_REQUESTED, request, request.id);
    } catch (cause) {
      throw new HoldUnavailable(`the hold can't be asked for: ${reasonOf(cause)}`, { cause });
    }
  }

  /**
   * The answer, or `timeout` after `ms` or when the client goes: neither is a denial, and the hold
   * lives on.
   */
  async wait(hold: string, ms: number, signal: AbortSignal): Promise<HoldAnswer | 'timeout'> {
    if (signal.aborted) return 'timeout';
    const kept = this.#answers.get(hold);
    if (kept) return kept;
    const ended = Promise.withResolvers<HoldAnswer | 'timeout'>();
    const waiter: Waiter = (answer) => ended.resolve(answer);
    const stop = () => ended.resolve('timeout');
    const waiters = this.#waiters.get(hold) ?? new Set();
    waiters.add(waiter);
    this.#waiters.set(hold, waiters);
    signal.addEventListener('abort', stop, { once: true });
    const timer = setTimeout(stop, ms);
    // Listening loses what was said before it began or while the bus was away: asking makes up for
    // it.
    const ask = () => void this.#ask(hold).then((a) => a && ended.resolve(a));
    const recheck = setInterval(ask, RECHECK_MS);
    ask();
    try {
      return await ended.promise;
    } finally {
      clearTimeout(timer);
      clearInterval(recheck);
      signal.removeEventListener('abort', stop);
      waiters.delete(waiter);
      if (waiters.size === 0) this.#waiters.delete(hold);
    }
  }

  /**
   * Uses the approval for this operation; a second redeem by the same operation answers as the
   * first did.
   */
  async redeem(hold: string, digest: string, agent: string, operation: string): Promise<Redeemed> {
    this.#check();
    let answer: RedeemedHold;
    try {
      // Redeeming uses the approval up: first be sure that its receipt can be checked.
      await this.#keys(false);
      await this.#signers?.();
      const ask = { hold, digest, agent, operation };
      answer = (await this.#bus.request(HOLD_REDEEM, ask, ASK_MS)) as RedeemedHold;
    } catch (cause) {
      throw new HoldUnavailable(
        `the approval of ${hold} can't be redeemed: ${reasonOf(cause)}; send the statement again`,
        { cause },
      );
    }
    return answer.ok
      ? { ok: true, receipt: answer.receipt }
      : { ok: false, refused: answer.reason };
  }

  /** The one gate: signature, dates and every claim against the proxy's own binding. */
  async checkReceipt(jws: string, expected: Expected): Promise<CheckedReceipt> {
    return await checkReceipt(jws, expected, this.#keys, this.#now(), this.#signers);
  }

  /** Tells what became of it; for people and the dashboard, so a bus that is away is no failure. */
  async outcome(outcome: HoldOutcome): Promise<void> {
    const id = `${outcome.hold}/${outcome.operation}`;
    await this.#bus.publish(HOLD_OUTCOME, outcome, id).catch(() => {});
  }

  #heard(answer: HoldAnswer): void {
    this.#answers.delete(answer.hold);
    this.#answers.set(answer.hold, answer);
    if (this.#answers.size > KEPT_ANSWERS) {
      const oldest = this.#answers.keys().next().value;
      if (oldest !== undefined) this.#answers.delete(oldest);
    }
    for (const waiter of this.#waiters.get(answer.hold) ?? []) waiter(answer);
  }

  async #ask(hold: string): Promise<HoldAnswer | null> {
    if (this.#bus.unavailable !== null) return null;
    try {
      const answer = (await this.#bus.request(HOLD_STATE, { hold }, ASK_MS)) as { state: string };
      if (answer.state === 'pending' || answer.state === 'unknown') return null;
      return answer as HoldAnswer;
    } catch {
      return null;
    }
  }

  #check(): void {
    const why = this.#bus.unavailable;
    if (why !== null) throw new HoldUnavailable(`the approver can't be reached: ${why}`);
  }
}

function reasonOf(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}
