// The rooms behind the flow (policy, recorder, holds) as the services that the flow asks.
// Invariant: a room's failure reaches the flow as `Unavailable` with the refusal that fits.
import type { EffectObject } from './effect/effect.ts';
import { mayHoldSecret } from './effect/secret.ts';
import type { RefusalCode } from './errors.ts';
import { type Holds, HoldTooLarge, HoldUnavailable } from './hold/wait.ts';
import type { Operation } from './operation.ts';
import { decisionEntry } from './record/decision.ts';
import { outcomeEntry } from './record/outcome.ts';
import { type Recorder, RecordUnavailable } from './record/recorder.ts';
import {
  type HoldRoom,
  type Judge,
  type Record,
  type Services,
  Unavailable,
} from './session/flow.ts';
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

function recordOf({ recorder, by, eachRead }: Rooms, recent: Recent): Record {
  return {
    decision: async (operation, decision, disposition, more) => {
      const literals = mayHoldSecret(operation.bytes) ? 'none' : 'full';
      const record = decisionEntry(operation, decision, { disposition, by, literals, ...more });
      await asUnavailable(recorder.decision(record));
      recent.decided(operation, decision, disposition, more.hold);
    },
    outcome: (operation, outcome) => {
      recent.ended(operation, outcome.outcome, outcome.rows);
      recorder.outcome(outcomeEntry(operation, { ...outcome, by }));
    },
    tally: (operation, decision) => {
      const { analysis, target, agent, session } = operation;
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
