// The approver's contract: what a proxy sends it over the bus, and the subjects that carry it.
// Invariant: everything needed to show, sign and re-check a hold is in the request; nothing is
// looked up in the target.

import type { DecisionEntry } from '../ledger/contract.ts';
import type { Effect, EffectClass } from '../proxy/effect/effect.ts';
import type { AgentView, SessionView, TargetView } from '../proxy/operation.ts';
import type { HoldDemand, Verdict } from '../proxy/verdict/verdict.ts';

/** Durable (JetStream), at least once, idempotent by hold id. */
export const HOLD_REQUESTED = 'holdpoint.holds.requested';
/** Durable; the last token is the hold's id. The payload is `HoldAnswer` of proxy/contract.ts. */
export const HOLD_DECIDED = 'holdpoint.holds.decided';
/** Durable; a proxy tells what became of a redeemed operation (HoldOutcome). */
export const HOLD_OUTCOME = 'holdpoint.holds.outcome';
/** To every approver: a hold changed at one of them, so that each can tell the pages it serves. */
export const HOLD_TOLD = 'holdpoint.holds.told';
/** Request and reply: FindHold → FoundHold. */
export const HOLD_FIND = 'holdpoint.holds.find';
/**
 * Request and reply: StateOfHold → HoldAnswer of proxy/contract.ts, or `{ hold, state: 'pending' |
 * 'unknown' }`.
 */
export const HOLD_STATE = 'holdpoint.holds.state';
/** Request and reply: RedeemHold → RedeemedHold. Compare-and-set: one redemption wins. */
export const HOLD_REDEEM = 'holdpoint.holds.redeem';

export interface HeldParameter {
  readonly type: string;
  readonly format: 'text' | 'binary';
  /** base64 of the bytes as sent; null is SQL NULL. */
  readonly base64: string | null;
  readonly text: string | null;
}

/** What the binding is the SHA-256 of, as canonical JSON (RFC 8785). */
export interface Binding {
  readonly v: 1;
  /** base64 of the statement's exact bytes. */
  readonly statement: string;
  readonly parameters: readonly Pick<HeldParameter, 'type' | 'format' | 'base64'>[];
  readonly target: string;
  readonly environment: string;
  readonly database: string;
  readonly agent: string;
  readonly settings: { readonly [name: string]: string };
  readonly policy: string;
  /** Engine identities (OIDs, UUIDs) of the objects the names meant, sorted. */
  readonly objects: readonly string[];
}

/** One of the session's operations before the held one, as the proxy saw it. */
export interface RecentOperation {
  /** When it was asked; of several reads alike, the last. */
  readonly time: string;
  readonly class: EffectClass;
  readonly verdict: Verdict['kind'];
  readonly rule: string;
  readonly disposition: DecisionEntry['disposition'];
  /** The beginning of its normalized text: without values. */
  readonly start: string;
  /** So many alike, one after the other. */
  readonly count: number;
  readonly in_transaction: boolean;
  /** null: not ended, not run, or a read. */
  readonly outcome: 'done' | 'failed' | 'unknown' | null;
  readonly rows: number | null;
  readonly hold: string | null;
}

export interface HoldRequest {
  /**
   * Hold id: `h-` and 16 base32 characters; derived from the binding and the first asking, so
   * re-delivery is idempotent.
   */
  readonly id: string;
  readonly operation: string;
  readonly binding: Binding;
  /** base64url SHA-256 over the canonical binding: what people sign. */
  readonly digest: string;
  /** The statement as text for people; the exact bytes are in the binding. */
  readonly statement: string;
  readonly parameters: readonly HeldParameter[];
  readonly class: EffectClass;
  readonly effects: readonly Effect[];
  /** The effects as sentences (describe.ts), in order. */
  readonly sentences: readonly string[];
  readonly rule: string;
  readonly reason: string;
  readonly demands: readonly HoldDemand[];
  readonly target: TargetView;
  readonly agent: AgentView;
  readonly session: SessionView;
  /** The session so far, oldest first; absent from a proxy that does not tell. */
  readonly recent?: readonly RecentOperation[];
  readonly in_transaction: boolean;
  readonly transaction_age_ms: number | null;
  readonly impact: null;
  /** RFC 3339, UTC. */
  readonly asked: string;
  readonly expires: string;
  /** Until when the client's connection waits; null when it does not (inside a transaction). */
  readonly waits_until: string | null;
}

export type HoldState = 'pending' | 'approved' | 'denied' | 'expired' | 'withdrawn' | 'redeemed';

export interface FindHold {
  readonly digest: string;
  readonly agent: string;
}
/**
 * The newest hold of this binding that is pending or approved and not expired; null when there is
 * none.
 */
export interface FoundHold {
  readonly hold: {
    readonly id: string;
    readonly state: HoldState;
    readonly expires: string;
    readonly waiting_for: string;
    readonly receipt: string | null;
  } | null;
}

/**
 * What became of a hold, by its id: for a proxy that may have missed the answer while the bus was
 * away.
 */
export interface StateOfHold {
  readonly hold: string;
}

export interface RedeemHold {
  readonly hold: string;
  readonly digest: string;
  readonly agent: string;
  /**
   * The operation that will run; a second redeem by the same operation answers as the first did.
   */
  readonly operation: string;
}
export type RedeemedHold =
  | { readonly ok: true; readonly receipt: string }
  | { readonly ok: false; readonly reason: string };

export interface HoldOutcome {
  readonly hold: string;
  readonly operation: string;
  readonly outcome: 'done' | 'failed' | 'unknown';
  readonly answer: string | null;
  readonly rows: number | null;
}
