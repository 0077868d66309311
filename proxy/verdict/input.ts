// `input` of the policy: made for one effect of an operation, and only of the parts that the policy
// can read.
// Invariant: what the policy is shown is exactly what its answer is cached under, so a cached
// answer can't differ.
import { createHash } from 'node:crypto';
import { type Effect, severity, worst } from '../effect/effect.ts';
import type { Operation } from '../operation.ts';
import type { Path } from './references.ts';
import type { Mode, PolicyInput } from './verdict.ts';

/** What one input is made of. */
export interface Question {
  readonly operation: Operation;
  readonly effect: Effect;
  readonly mode: Mode;
}

/**
 * Each part is made when it is wanted: some cost more than a whole verdict, or are lazy themselves.
 */
const PARTS: { readonly [P in keyof PolicyInput]: (question: Question) => PolicyInput[P] } = {
  effect: ({ effect }) => effect,
  operation: ({ operation }) => made(OPERATION, operation),
  target: ({ operation }) => operation.target,
  agent: ({ operation }) => operation.agent,
  session: ({ operation }) => operation.session,
  mode: ({ mode }) => mode,
  impact: () => null,
  time: ({ operation }) => operation.asked,
};

type OperationPart = PolicyInput['operation'];

const OPERATION: {
  readonly [P in keyof OperationPart]: (operation: Operation) => OperationPart[P];
} = {
  id: ({ id }) => id,
  engine: ({ engine }) => engine,
  statement: ({ bytes }) => new TextDecoder().decode(bytes),
  sha256: ({ bytes }) => createHash('sha256').update(bytes).digest('hex'),
  normalized: ({ analysis }) => analysis.normalized,
  fingerprint: ({ analysis }) => analysis.fingerprint,
  class: ({ analysis }) => analysis.class,
  complete: ({ analysis }) => analysis.complete,
  unscoped: ({ analysis }) => analysis.unscoped,
  in_transaction: ({ in_transaction }) => in_transaction,
  parameters: ({ parameters }) => parameters.map((parameter) => parameter.text),
};

/** All the parts of a table, from what they are made of. */
function made<T, From>(parts: { readonly [P in keyof T]: (from: From) => T[P] }, from: From): T {
  const names = Object.keys(parts) as (keyof T)[];
  return Object.fromEntries(names.map((name) => [name, parts[name](from)])) as T;
}

/** The parts wanted of a document: all of it, or some fields. */
type Wanted = true | readonly (readonly [field: string, wanted: Wanted])[];

/** The tree of the paths. A path that ends is all below it. */
function wantedOf(paths: readonly Path[]): Wanted {
  if (paths.some((path) => path.length === 0)) return true;
  const fields = new Map<string, Path[]>();
  for (const [field, ...rest] of paths) {
    if (field !== undefined) fields.set(field, [...(fields.get(field) ?? []), rest]);
  }
  return [...fields].map(([field, rest]) => [field, wantedOf(rest)] as const);
}

interface Fields {
  [field: string]: unknown;
}

function pick(value: unknown, wanted: Wanted): unknown {
  if (wanted === true || typeof value !== 'object' || value === null || Array.isArray(value)) {
    return value;
  }
  const picked: Fields = {};
  for (const [field, inner] of wanted) {
    if (Object.hasOwn(value, field)) picked[field] = pick((value as Fields)[field], inner);
  }
  return picked;
}

/** Fields made one by one, so that none is made that is not wanted. */
function pickMade<From>(
  parts: { readonly [field: string]: (from: From) => unknown },
  from: From,
  wanted: Exclude<Wanted, true>,
): Fields {
  const picked: Fields = {};
  for (const [field, inner] of wanted) {
    const make = Object.hasOwn(parts, field) ? parts[field] : undefined;
    if (make !== undefined) picked[field] = pick(make(from), inner);
  }
  return picked;
}

/** Makes inputs for one policy: the parts that it can read. */
export class InputMaker {
  readonly #wanted: Exclude<Wanted, true>;
  readonly #operation: Wanted | null;

  constructor(references: readonly Path[]) {
    const wanted = wantedOf(references);
    const all = Object.keys(PARTS).map((part) => [part, true] as const);
    this.#wanted = (wanted === true ? all : wanted).filter(([part]) => part !== 'operation');
    const operation = wanted === true || wanted.find(([part]) => part === 'operation')?.[1];
    this.#operation = operation ?? null;
  }

  /** The same facts give the same JSON text. */
  make(question: Question): Fields {
    const input = pickMade(PARTS, question, this.#wanted);
    const { operation } = question;
    if (this.#operation === true) input.operation = made(OPERATION, operation);
    else if (this.#operation !== null) {
      input.operation = pickMade(OPERATION, operation, this.#operation);
    }
    return input;
  }
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
