// Why a verdict came out as it did: every rule that answered, and the facts that each of them read.
// Invariant: the same module, data and input as the verdict itself; what decided is not retold.
import type { Effect } from '../effect/effect.ts';
import type { Operation } from '../operation.ts';
import type { Compiled } from './compile.ts';
import { type PolicyData, tagged } from './data.ts';
import { Judge } from './decide.ts';
import { Dispatcher } from './dispatch.ts';
import { Evaluator, messageOf } from './evaluate.ts';
import { effectsToJudge, InputMaker } from './input.ts';
import type { Path } from './references.ts';
import type { RuleFacts } from './rules.ts';
import type { Decision, Mode } from './verdict.ts';

export interface Fact {
  /** `input.effect.class`. */
  readonly name: string;
  readonly value: unknown;
}

/** One object that a rule put into a set. */
export interface Said {
  readonly set: 'deny' | 'hold' | 'allow';
  readonly object: unknown;
  /** Where the rule stands in the policy; null when its name is computed. */
  readonly row: number | null;
  /** What the rule read of the input, through the words it uses too. */
  readonly facts: readonly Fact[];
}

export interface Explanation {
  readonly decision: Decision;
  readonly effects: readonly {
    readonly effect: Effect;
    readonly said: readonly Said[];
    /** Why the policy could not be asked; null when it answered. */
    readonly failure: string | null;
  }[];
}

const SETS = ['deny', 'hold', 'allow'] as const;

export function explain(
  compiled: Compiled,
  data: PolicyData,
  digest: string,
  operation: Operation,
  mode: Mode,
): Explanation {
  const { manifest } = compiled;
  const evaluator = new Evaluator(compiled.wasm, data.document, manifest.unbounded);
  const judge = new Judge({ ...manifest, evaluator, data, digest });
  const dispatcher = manifest.dispatch === null ? null : new Dispatcher(manifest.dispatch);
  const full = new InputMaker([[]]);
  const effects = effectsToJudge(operation.analysis).map((plain) => {
    const effect = tagged(plain, data.tags);
    const plainText = JSON.stringify(full.make({ operation, effect, mode }));
    const input: unknown = JSON.parse(plainText);
    const text = dispatcher?.opened(plainText) ?? plainText;
    try {
      const answer = evaluator.ask('holdpoint/verdict/said', text, 'explain');
      return { effect, said: saidIn(answer, manifest.rules, input), failure: null };
    } catch (error) {
      return { effect, said: [], failure: messageOf(error) };
    }
  });
  return { decision: judge.decideFresh(operation, mode), effects };
}

function saidIn(answer: unknown, rules: readonly RuleFacts[], input: unknown): readonly Said[] {
  const sets = (answer ?? {}) as { readonly [set: string]: unknown };
  return SETS.flatMap((set) => {
    const objects = sets[set];
    // A set that is none is shown as it is: the verdict calls it a policy error.
    const all: readonly unknown[] = Array.isArray(objects) ? objects : [objects];
    return all.flatMap((object) => whoSaid(set, object, rules, input));
  });
}

/** One `Said` for each rule of the object's name: several rules of one name may have said it. */
function whoSaid(
  set: Said['set'],
  object: unknown,
  rules: readonly RuleFacts[],
  input: unknown,
): readonly Said[] {
  if (object === undefined) return [];
  const name = (object as { rule?: unknown } | null)?.rule;
  const named = rules.filter((rule) => rule.set === set && rule.rule === name);
  const computed = rules.filter((rule) => rule.set === set && rule.rule === null);
  const candidates = named.length > 0 ? named : computed;
  if (candidates.length === 0) return [{ set, object, row: null, facts: [] }];
  return candidates.map((rule) => ({
    set,
    object,
    row: rule.row,
    facts: rule.references.map((path) => ({ name: nameOf(path), value: valueAt(input, path) })),
  }));
}

function nameOf(path: Path): string {
  return ['input', ...path].join('.');
}

function valueAt(input: unknown, path: Path): unknown {
  let value = input;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part))
      return undefined;
    value = (value as { readonly [part: string]: unknown })[part];
  }
  return value;
}
