// The rooms behind the flow (policy, recorder, holds) as the services that the flow asks.
// Invariant: a room's failure reaches the flow as `Unavailable` with the refusal that fits.
import type { Target } from './config.ts';
import type { EffectObject } from './effect/effect.ts';
import { mayHoldSecret } from './effect/secret.ts';
import type { RefusalCode } from './errors.ts';
import { type Holds, HoldTooLarge, HoldUnavailable } from './hold/wait.ts';
import type { Operation } from './operation.ts';
import { decisionEntry } from './record/decision.ts';
import { outcomeEntry } from './record/outcome.ts';
import { type Recorder, RecordUnavailable } from './record/recorder.ts';
import { redacted, redactedAnswer } from './record/redact.ts';
import { type Redaction, redactionsOf } from './record/seal.ts';
import {
  type HoldRoom,
  type Judge,
  type Record,
  type Services,
  Unavailable,
} from './session/flow.ts';
import { Memory } from './session/memory.ts';
import { Recent } from './session/recent.ts';
import type { Policy } from './verdict/policy.ts';

export interface Rooms {
  readonly policy: Policy;
  readonly recorder: Recorder;
  readonly holds: Holds;
  /** `proxy/<instance>`. */
  readonly by: string;
  /** Names of the targets whose reads are recorded one by one. */
  readonly eachRead: ReadonlySet<string>;
  /** How literals are recorded, by target. */
  readonly redactions: ReadonlyMap<string, Redaction>;
  /** The approver's page as people reach it. */
  readonly page: string;
  problem(where: string, error: unknown): void;
}

export function servicesOf(rooms: Rooms): Services {
  const { policy, page } = rooms;
  const recent = new Recent();
  return {
    policy: judgeOf(rooms),
    record: recordOf(rooms, recent),
    holds: holdsOf(rooms, recent),
    mode: (target) => policy.effectiveMode(target, 'normal'),
    page,
    memory: new Memory(),
    problem: rooms.problem,
  };
}

function judgeOf({ policy, problem }: Rooms): Judge {
  return {
    decide: (operation, mode) => {
      const decision = policy.decide(operation, mode);
      const { rule, reason } = decision.verdict;
      if (rule === 'policy-error') problem('policy', new Error(reason));
      return decision;
    },
    get version() {
      return policy.version;
    },
    get keeps() {
      return policy.keeps;
    },
  };
}

/** How each target's operations are recorded. */
export async function recordingOf(
  targets: readonly Target[],
): Promise<Pick<Rooms, 'eachRead' | 'redactions'>> {
  const each = targets.filter((target) => target.record.reads === 'each');
  const redactions = await redactionsOf(targets);
  return { eachRead: new Set(each.map((target) => target.name)), redactions };
}

const NONE: Redaction = { literals: 'none', seal: null };

/** A password given to a role is kept from the record of any target. */
function redactionOf(operation: Operation, redactions: Rooms['redactions']): Redaction {
  const own = redactions.get(operation.target.name) ?? NONE;
  return own.literals === 'full' && mayHoldSecret(operation.bytes) ? NONE : own;
}

function recordOf({ recorder, by, eachRead, redactions }: Rooms, recent: Recent): Record {
  const whole = ({ target }: Operation): boolean =>
    redactions.get(target.name)?.literals === 'full';
  return {
    decision: async (operation, decision, disposition, more) => {
      const { literals, seal } = redactionOf(operation, redactions);
      const sealed = seal === null ? null : await seal(operation, decision);
      const detail = { disposition, by, literals, sealed, ...more };
      const record = decisionEntry(operation, decision, detail);
      await asUnavailable(recorder.decision(record));
      recent.decided(operation, decision, disposition, more.hold);
    },
    outcome: (operation, outcome) => {
      recent.ended(operation, outcome.outcome, outcome.rows);
      const answer = whole(operation) ? outcome.answer : redactedAnswer(outcome.answer);
      recorder.outcome(outcomeEntry(operation, { ...outcome, answer, by }));
    },
    tally: (operation, decision) => {
      const { target, agent, session } = operation;
      const { analysis } = whole(operation) ? operation : redacted(operation, decision)[0];
      const tally = recorder.tally({
        session: session.id,
        agent: agent.name,
        target: target.name,
        environment: target.environment,
        engine: operation.engine,
        database: target.database,
        class: analysis.class,
        fingerprint: analysis.fingerprint,
        normalized: analysis.normalized,
        verdict: decision.verdict.kind,
        rule: decision.verdict.rule,
        policy: decision.policy,
        each: eachRead.has(target.name),
      });
      const read = recent.reads(operation, decision);
      return {
        count: () => {
          tally.touch();
          read();
        },
      };
    },
    get readsBlocked() {
      return recorder.readsBlocked;
    },
  };
}

function holdsOf({ holds }: Rooms, recent: Recent): HoldRoom {
  return {
    request: (operation, verdict, policy, waits) => {
      const objects = identities(operation);
      const before = recent.before(operation);
      return holds.request(operation, { verdict, policy, objects, waits, recent: before });
    },
    find: async (request) => {
      const found = await asUnavailable(holds.find(request));
      if (found.kind === 'none' || found.kind === 'nobody') return null;
      return { id: found.hold, approved: found.kind === 'approved' };
    },
    open: (request) => asUnavailable(holds.open(request)),
    wait: (hold, ms, signal) => holds.wait(hold, ms, signal),
    redeem: async (request, hold, operation) => {
      const redeemed = await asUnavailable(
        holds.redeem(hold, request.digest, request.agent.name, operation),
      );
      if (!redeemed.ok) return { refused: redeemed.refused };
      const checked = await asUnavailable(holds.checkReceipt(redeemed.receipt, request));
      return checked.ok ? { receipt: redeemed.receipt } : { refused: checked.why };
    },
    outcome: (hold, operation, outcome) => {
      void holds.outcome({
        hold,
        operation: operation.id,
        outcome: outcome.outcome,
        answer: outcome.answer,
        rows: outcome.rows,
      });
    },
  };
}

/**
 * What the names mean in the engine now, so that the binding breaks when they come to mean
 * something else.
 */
function identities(operation: Operation): readonly string[] {
  const found = new Set<string>();
  for (const effect of operation.analysis.effects) {
    for (const object of effect.objects) {
      if (object.identity !== null) found.add(`${qualified(object)} ${object.identity}`);
    }
  }
  return [...found];
}

function qualified(object: EffectObject): string {
  return `${object.kind} ${object.schema === null ? '' : `${object.schema}.`}${object.name}`;
}

async function asUnavailable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const code = refusalCodeOf(error);
    if (code === null || !(error instanceof Error)) throw error;
    throw new Unavailable(code, error.message, { cause: error });
  }
}

function refusalCodeOf(error: unknown): RefusalCode | null {
  if (error instanceof RecordUnavailable) return 'record_unavailable';
  if (error instanceof HoldUnavailable) return 'approver_unavailable';
  if (error instanceof HoldTooLarge) return 'limit';
  return null;
}
