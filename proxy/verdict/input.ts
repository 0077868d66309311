// `input` of the policy: made for one effect of an operation, and only of the parts that the policy
// can read.
// Invariant: what the policy is shown is exactly what its answer is cached under, so a cached
// answer can't differ.
import { createHash } from 'node:crypto';
import { type Effect, severity, worst } from '../effect/effect.ts';
import type { Operation } from '../operation.ts';
import type { Path } from './references.ts';
import type { Mode, PolicyInput } from './verdict.ts';

/** The parts wanted of a document: all of it, or some fields. */
type Wanted = true | { readonly [field: string]: Wanted };

/** The tree of the paths. A path that ends is all below it. */
function wantedOf(paths: readonly Path[]): Wanted {
  if (paths.some((path) => path.length === 0)) return true;
  const fields = new Map<string, Path[]>();
  for (const [field, ...rest] of paths) {
    if (field !== undefined) fields.set(field, [...(fields.get(field) ?? []), rest]);
  }
  return Object.fromEntries([...fields].map(([field, rest]) => [field, wantedOf(rest)]));
}

function pick(value: unknown, wanted: Wanted): unknown {
  if (wanted === true || typeof value !== 'object' || value === null || Array.isArray(value)) {
    return value;
  }
  const picked: Record<string, unknown> = {};
  for (const field of Object.keys(wanted)) {
    const inner = wanted[field];
    if (inner === undefined || !Object.hasOwn(value, field)) continue;
    picked[field] = pick((value as { readonly [field: string]: unknown })[field], inner);
  }
  return picked;
}

/** Parts that differ from one execution of the same statement to the next. */
export interface DependsOn {
  /** The values of bound parameters. */
  readonly parameters: boolean;
  readonly time: boolean;
  /** The statement's own text or digest, beyond what its effects say. */
  readonly statement: boolean;
  /** The operation's own id: different each time. */
  readonly operation: boolean;
  /** Anything of the session: what it states, its settings, its application, … */
  readonly session: boolean;
  readonly transaction: boolean;
}

export function dependsOn(references: readonly Path[]): DependsOn {
  const reads = (...path: string[]): boolean =>
    references.some((reference) => path.every((part, at) => (reference[at] ?? part) === part));
  return {
    parameters: reads('operation', 'parameters'),
    time: reads('time'),
    statement: reads('operation', 'statement') || reads('operation', 'sha256'),
    operation: reads('operation', 'id'),
    session: reads('session'),
    transaction: reads('operation', 'in_transaction'),
  };
}

/** Makes inputs for one policy. */
export class InputMaker {
  readonly #wanted: Wanted;

  constructor(references: readonly Path[]) {
    this.#wanted = wantedOf(references);
  }

  /** JSON text of the wanted parts; the same facts give the same text. */
  text(input: PolicyInput): string {
    return JSON.stringify(pick(input, this.#wanted)) ?? '{}';
  }
}

/**
 * The whole input; what is costly, or made by the operation when it is first read, is made only
 * when it is wanted.
 */
export function inputOf(operation: Operation, effect: Effect, mode: Mode): PolicyInput {
  const { analysis } = operation;
  return {
    effect,
    operation: {
      get id() {
        return operation.id;
      },
      engine: operation.engine,
      get statement() {
        return new TextDecoder().decode(operation.bytes);
      },
      get sha256() {
        return createHash('sha256').update(operation.bytes).digest('hex');
      },
      normalized: analysis.normalized,
      fingerprint: analysis.fingerprint,
      class: analysis.class,
      complete: analysis.complete,
      unscoped: analysis.unscoped,
      in_transaction: operation.in_transaction,
      get parameters() {
        return operation.parameters.map((parameter) => parameter.text);
      },
    },
    target: operation.target,
    agent: operation.agent,
    get session() {
      return operation.session;
    },
    mode,
    impact: null,
    get time() {
      return operation.asked;
    },
  };
}

/**
 * The effects to ask about. The analysis as a whole may be worse than each of them (something in it
 * was not understood), or name none (an empty statement): then one more effect stands for the
 * whole.
 */
export function effectsToJudge(analysis: Operation['analysis']): readonly Effect[] {
  const { effects } = analysis;
  const known = worst(effects.map((effect) => effect.class));
  const whole = analysis.complete ? analysis.class : 'unknown';
  if (effects.length > 0 && severity(whole) <= severity(known)) return effects;
  const standIn: Effect = {
    class: whole,
    verb: effects.length === 0 ? 'nothing' : 'other',
    objects: [],
    predicate: 'not-applicable',
    scoped: !analysis.unscoped && whole !== 'unknown',
    rows_max: null,
    reversible: false,
    opaque: whole === 'unknown' ? 'a part of the statement was not understood' : null,
  };
  return [...effects, standIn];
}
