// THE SPINE: operation → effect → verdict → forward | hold | refusal → record, the same for every
// engine.
// Invariant: a change passes only with its decision durable in the ledger; nothing here trusts what
// the agent says.

import type { HoldRequest } from '../../approver/contract.ts';
import type { DecisionEntry } from '../../ledger/contract.ts';
import type { HoldAnswer } from '../contract.ts';
import { isChange } from '../effect/effect.ts';
import type { RefusalCode } from '../errors.ts';
import type { AgentView, Operation, TargetView } from '../operation.ts';
import type { Decision, HoldVerdict, Mode } from '../verdict/verdict.ts';
import type { Memory } from './memory.ts';
import { deniedWords, heldWords } from './told.ts';

/** Why an operation is not run, before an engine puts it into its own words. */
export interface Refusal {
  readonly code: RefusalCode;
  /**
   * What is refused and why, in one sentence; the code's own words stand for it where it is absent.
   */
  readonly message?: string;
  readonly detail?: string;
  readonly hint?: string;
}

export type Passage =
  | { readonly kind: 'forward'; readonly recorded: boolean; readonly hold: string | null }
  | { readonly kind: 'refuse'; readonly refusal: Refusal };

/** Forwarded and counted, with no entry of its own. */
export const FORWARD: Passage = { kind: 'forward', recorded: false, hold: null };

export interface Judge {
  decide(operation: Operation, mode: Mode): Decision;
  /** Goes up when another policy is in force: a kept verdict is void then. */
  readonly version: number;
  /**
   * true: no verdict depends on parameters or time, so one may be kept with a prepared statement.
   */
  readonly keeps: boolean;
}

export interface Record {
  decision(
    operation: Operation,
    decision: Decision,
    disposition: DecisionEntry['disposition'],
    more: { mode: Mode; hold: string | null; binding: string | null; receipt: string | null },
  ): Promise<void>;
  outcome(operation: Operation, outcome: Outcome): void;
  /** Counts reads of one shape in one session; made once, counted for each. */
  tally(operation: Operation, decision: Decision): Tally;
  /** Why a read may not run now (the spool is full), or null. */
  readonly readsBlocked: string | null;
}

export interface Tally {
  count(): void;
}

export interface Outcome {
  readonly outcome: 'done' | 'failed' | 'unknown';
  readonly answer: string | null;
  readonly rows: number | null;
  readonly duration_ms: number | null;
}

export interface HoldRoom {
  request(operation: Operation, verdict: HoldVerdict, policy: string, waits: boolean): HoldRequest;
  /** The open hold of this very binding, or null. */
  find(request: HoldRequest): Promise<{ readonly id: string; readonly approved: boolean } | null>;
  open(request: HoldRequest): Promise<void>;
  wait(hold: string, ms: number, signal: AbortSignal): Promise<HoldAnswer | 'timeout'>;
  redeem(
    request: HoldRequest,
    hold: string,
    operation: string,
  ): Promise<{ readonly receipt: string } | { readonly refused: string }>;
  outcome(hold: string, operation: Operation, outcome: Outcome): void;
}

export interface Services {
  readonly policy: Judge;
  readonly record: Record;
  readonly holds: HoldRoom;
  /** The mode in force, freeze windows included. */
  mode(target: TargetView, agent: AgentView): Mode;
  /** What all sessions may keep of unfinished messages. */
  readonly memory: Memory;
  /** For the log: a failure inside; never secrets, never statements. */
  problem(where: string, error: unknown): void;
  /** Where people look at holds: the approver's page. */
  readonly page: string;
}

/** What the engine lends the flow while an operation waits. */
export interface Waiting {
  /** false inside an open transaction: a hold is then answered at once. */
  readonly may: boolean;
  /** The longest this target lets a connection wait, whatever the policy says. */
  readonly most_ms: number;
  /** Ends with the client's cancel or disconnect. */
  readonly signal: AbortSignal;
  /** Tells the client, in its own protocol, what it waits for. */
  notice(words: { message: string; detail: string; hint: string }): void;
  /** The operation as it would be understood now: names resolved again after people have signed. */
  again(): Promise<Operation>;
}

/**
 * The whole way of one operation that is not a plain, already judged read.
 * Never rejects: a failure inside is a refusal.
 */
export async function flow(
  operation: Operation,
  decision: Decision,
  mode: Mode,
  services: Services,
  waiting: Waiting,
): Promise<Passage> {
  const { record } = services;
  const { verdict } = decision;
  const change = isChange(operation.analysis.class);
  const nothing = { mode, hold: null, binding: null, receipt: null };
  try {
    if (!change && verdict.kind === 'allow') {
      return record.readsBlocked === null ? FORWARD : refuseUnrecorded(record.readsBlocked);
    }
    if (verdict.kind === 'allow') {
      await record.decision(operation, decision, 'forward', nothing);
      return { kind: 'forward', recorded: true, hold: null };
    }
    if (!operation.target.enforce) {
      await record.decision(operation, decision, 'observed', nothing);
      return { kind: 'forward', recorded: true, hold: null };
    }
    if (verdict.kind === 'deny') {
      await record.decision(operation, decision, 'refuse', nothing).catch(() => undefined);
      return refuse(mode !== 'normal' ? 'stopped' : 'denied', deniedWords(operation, verdict));
    }
    return await hold(operation, decision, verdict, mode, services, waiting);
  } catch (error) {
    return refusalOf(error);
  }
}

/**
 * A held operation: the receipt that is there already, or the hold that is waited for, then its one
 * redemption.
 */
async function hold(
  operation: Operation,
  decision: Decision,
  verdict: HoldVerdict,
  mode: Mode,
  services: Services,
  waiting: Waiting,
): Promise<Passage> {
  const { holds, record } = services;
  const request = holds.request(operation, verdict, decision.policy, waiting.may);
  const digest = request.digest;
  const found = await holds.find(request);
  const id = found?.id ?? request.id;
  if (found === null) {
    // The record comes first: a crash after this line leaves a hold that was asked and never
    // opened; asking again opens it.
    await record.decision(operation, decision, 'hold', {
      mode,
      hold: id,
      binding: digest,
      receipt: null,
    });
    await holds.open(request);
  }
  if (found?.approved !== true) {
    const refusal = await waitForPeople(id, request, verdict, services, waiting);
    if (refusal !== null) return { kind: 'refuse', refusal };
  }
  // What names, settings, policy and mode meant when people signed must still be so. Mode and
  // policy are asked before the approval is used.
  const early = asSigned(operation, request, verdict, services, waiting);
  if (early !== null) return refuse(early.code, { detail: `Hold ${id}: ${early.detail}` });
  if (waiting.signal.aborted) {
    return refuse('held', heldWords(id, request, services.page, waiting.may));
  }
  // Then, side by side, the approval is used and the names are resolved again: an approval of names
  // that mean something else by now is void, and loses nothing by being used.
  const [now, redeemed] = await Promise.all([
    waiting.again(),
    holds.redeem(request, id, operation.id),
  ]);
  const late = asSigned(now, request, verdict, services, waiting);
  if (late !== null) return refuse(late.code, { detail: `Hold ${id}: ${late.detail}` });
  if ('refused' in redeemed) {
    return refuse('receipt_refused', { detail: `Hold ${id}: ${redeemed.refused}` });
  }
  await record.decision(operation, decision, 'redeemed', {
    mode,
    hold: id,
    binding: digest,
    receipt: redeemed.receipt,
  });
  return { kind: 'forward', recorded: true, hold: id };
}

/** Understood as it is now, it is what people signed, and still not denied: null, or why not. */
function asSigned(
  now: Operation,
  request: HoldRequest,
  verdict: HoldVerdict,
  services: Services,
  waiting: Waiting,
): Refusal | null {
  const mode = services.mode(now.target, now.agent);
  const decision = services.policy.decide(now, mode);
  if (decision.verdict.kind === 'deny') {
    const words = deniedWords(now, decision.verdict);
    return { code: mode !== 'normal' ? 'stopped' : 'denied', ...words };
  }
  const again = services.holds.request(now, verdict, decision.policy, waiting.may);
  if (again.digest === request.digest) return null;
  return {
    code: 'receipt_refused',
    detail:
      'what it names has changed since it was signed (objects, settings or policy): ' +
      'the approval is void.',
  };
}

/** Waits as long as the policy lets the connection wait; null means approved. */
async function waitForPeople(
  id: string,
  request: HoldRequest,
  verdict: HoldVerdict,
  services: Services,
  waiting: Waiting,
): Promise<Refusal | null> {
  const words = heldWords(id, request, services.page, waiting.may);
  const ms = Math.min(verdict.wait_ms, waiting.most_ms);
  if (!waiting.may || ms <= 0) return { code: 'held', ...words };
  waiting.notice(words);
  const answer = await services.holds.wait(id, ms, waiting.signal);
  if (answer === 'timeout') return { code: 'held', ...words };
  switch (answer.state) {
    case 'approved':
      return null;
    case 'denied':
      return {
        code: 'hold_denied',
        detail: `Hold ${id}: ${answer.by} denied it: ${answer.reason}`,
      };
    case 'expired':
      return { code: 'hold_expired', detail: `Hold ${id} was not signed by ${request.expires}.` };
    case 'withdrawn':
      return { code: 'hold_denied', detail: `Hold ${id} was withdrawn: ${answer.reason}` };
  }
}

function refuse(code: RefusalCode, words: Omit<Refusal, 'code'>): Passage {
  return { kind: 'refuse', refusal: { code, ...words } };
}

function refuseUnrecorded(why: string): Passage {
  return refuse('record_unavailable', { detail: why });
}

/**
 * Errors of the rooms that carry a refusal code of their own keep it; anything else is `internal`.
 */
function refusalOf(error: unknown): Passage {
  if (error instanceof Unavailable) return refuse(error.code, { detail: error.message });
  return refuse('internal', { detail: error instanceof Error ? error.name : 'unknown failure' });
}

/** A room can't do its part now: the ledger, the bus or the approver is away. */
export class Unavailable extends Error {
  override name = 'Unavailable';
  readonly code: RefusalCode;
  constructor(code: RefusalCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
