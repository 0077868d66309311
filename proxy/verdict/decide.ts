// The verdict stage: one operation in, one decision out.
// Invariant: total and synchronous; whatever fails is a `deny` with rule `policy-error`, and a
// cached decision is the one a fresh evaluation would give.
import { LRUCache } from 'lru-cache';
import type { Analysis, Effect } from '../effect/effect.ts';
import type { AgentView, Operation, TargetView } from '../operation.ts';
import { POLICY_ERROR, policyError, verdictOf, worstOf } from './answer.ts';
import { type PolicyData, tagged } from './data.ts';
import { Dispatcher, type DispatchIndex } from './dispatch.ts';
import { type Evaluator, messageOf, threadMilliseconds } from './evaluate.ts';
import { type DependsOn, dependsOn, effectsToJudge, InputMaker, type Question } from './input.ts';
import {
  CACHE_CHARACTERS,
  CACHE_CIRCUMSTANCES,
  CACHE_MAX_KEY,
  FAILURE_TTL_MS,
  MAX_DISTINCT_EFFECTS,
  OPERATION_TIMEOUT_MS,
} from './limits.ts';
import type { Path } from './references.ts';
import type { Decision, Mode, Verdict } from './verdict.ts';

export interface JudgeOptions {
  readonly evaluator: Evaluator;
  readonly references: readonly Path[];
  readonly data: PolicyData;
  readonly digest: string;
  readonly dispatch: DispatchIndex | null;
}

/**
 * Under what one decision was made. Target and agent are compared by identity, session facts by
 * value.
 */
interface Circumstance {
  readonly target: TargetView;
  readonly agent: AgentView;
  readonly mode: Mode;
  readonly in_transaction: boolean;
  readonly session: string;
  readonly decision: Decision;
}

/** The question's input, as a value and as text. */
interface Asked {
  readonly question: Question;
  readonly input: unknown;
  readonly text: string;
}

type Ask = (asked: Asked) => Verdict;

const EVERYTHING: readonly Path[] = [[]];
const ANSWER = 'holdpoint/verdict/answer';

export class Judge {
  readonly dependsOn: DependsOn;
  readonly #options: JudgeOptions;
  readonly #shown: InputMaker;
  readonly #full = new InputMaker(EVERYTHING);
  readonly #dispatcher: Dispatcher | null;
  readonly #session: readonly Path[];
  readonly #byAnalysis = new WeakMap<Analysis, Circumstance[]>();
  readonly #byInput = new LRUCache<string, Verdict>({
    maxSize: CACHE_CHARACTERS,
    sizeCalculation: (_verdict, key) => key.length + 1,
  });
  /** One decision a verdict, made once. */
  readonly #decisions = new WeakMap<Verdict, Decision>();
  /** Neither time nor the operation's id is read: an answer may be used again. */
  readonly #cacheable: boolean;
  /** Nor is the statement's text or a parameter: the analysis stands for the statement. */
  readonly #byIdentity: boolean;

  constructor(options: JudgeOptions) {
    this.#options = options;
    this.dependsOn = dependsOn(options.references);
    this.#shown = new InputMaker(options.references);
    this.#dispatcher = options.dispatch === null ? null : new Dispatcher(options.dispatch);
    this.#session = options.references.filter(([first]) => first === 'session');
    this.#cacheable = !this.dependsOn.time && !this.dependsOn.operation;
    this.#byIdentity = this.#cacheable && !this.dependsOn.statement && !this.dependsOn.parameters;
  }

  /** The decision, from the cache when the same facts were judged before. */
  decide(operation: Operation, mode: Mode): Decision {
    try {
      const known = this.#byIdentity ? this.#recall(operation, mode) : null;
      if (known !== null) return known;
      const decision = this.#judge(operation, mode, this.#shown, this.#askKnown);
      if (this.#byIdentity && decision.verdict.rule !== POLICY_ERROR)
        this.#remember(operation, mode, decision);
      return decision;
    } catch {
      return this.#failed('the verdict stage failed');
    }
  }

  /**
   * No verdict depends on anything but the statement and its analysis, target, agent, mode and
   * `in_transaction`: as long as those and the version are the same, one may be kept with a
   * prepared statement.
   */
  get keeps(): boolean {
    return this.#cacheable && !this.dependsOn.parameters && this.#session.length === 0;
  }

  /** The decision from the whole input and no cache: what `decide` must equal. */
  decideFresh(operation: Operation, mode: Mode): Decision {
    try {
      return this.#judge(operation, mode, this.#full, this.#askAll);
    } catch {
      return this.#failed('the verdict stage failed');
    }
  }

  #recall(operation: Operation, mode: Mode): Decision | null {
    const circumstances = this.#byAnalysis.get(operation.analysis);
    if (circumstances === undefined) return null;
    const { target, agent, in_transaction } = operation;
    const facts = this.#sessionFacts(operation);
    for (const known of circumstances) {
      if (
        known.target === target &&
        known.agent === agent &&
        known.mode === mode &&
        known.in_transaction === in_transaction &&
        known.session === facts
      ) {
        return known.decision;
      }
    }
    return null;
  }

  /** What the policy reads of the session, as text; empty when it reads nothing of it. */
  #sessionFacts(operation: Operation): string {
    if (this.#session.length === 0) return '';
    const { session } = operation;
    return JSON.stringify(this.#session.map(([, ...path]) => at(session, path) ?? null));
  }

  #remember(operation: Operation, mode: Mode, decision: Decision): void {
    const { analysis, target, agent, in_transaction } = operation;
    const circumstances = this.#byAnalysis.get(analysis) ?? [];
    if (circumstances.length >= CACHE_CIRCUMSTANCES) circumstances.shift();
    circumstances.push({
      target,
      agent,
      mode,
      in_transaction,
      session: this.#sessionFacts(operation),
      decision,
    });
    this.#byAnalysis.set(analysis, circumstances);
  }

  #judge(operation: Operation, mode: Mode, inputs: InputMaker, ask: Ask): Decision {
    const effects = effectsToJudge(operation.analysis);
    const [only] = effects;
    if (only !== undefined && effects.length === 1) {
      return this.#decisionOf(ask(this.#asked(operation, only, mode, inputs)));
    }
    const texts = new Set<string>();
    const verdicts: Verdict[] = [];
    const budget = new Budget();
    for (const effect of effects) {
      const asked = this.#asked(operation, effect, mode, inputs);
      if (texts.has(asked.text)) continue;
      if (texts.size >= MAX_DISTINCT_EFFECTS) {
        return this.#failed(`more than ${MAX_DISTINCT_EFFECTS} distinct effects in one operation`);
      }
      texts.add(asked.text);
      verdicts.push(ask(asked));
      if (budget.spent) {
        return this.#failed(`judging all its effects took more than ${OPERATION_TIMEOUT_MS} ms`);
      }
    }
    return this.#decisionOf(worstOf(verdicts));
  }

  #asked(operation: Operation, plain: Effect, mode: Mode, inputs: InputMaker): Asked {
    const question = { operation, effect: tagged(plain, this.#options.data.tags), mode };
    const input = inputs.make(question);
    return { question, input, text: JSON.stringify(input) };
  }

  #decisionOf(verdict: Verdict): Decision {
    const known = this.#decisions.get(verdict);
    if (known !== undefined) return known;
    const decision = Object.freeze({
      verdict: Object.freeze(verdict),
      policy: this.#options.digest,
    });
    this.#decisions.set(verdict, decision);
    return decision;
  }

  /** From the cache, else from the rules that may answer. */
  readonly #askKnown = ({ question, input, text }: Asked): Verdict => {
    const known = this.#cacheable ? this.#byInput.get(text) : undefined;
    if (known !== undefined) return known;
    const told = this.#dispatcher?.told(text, input) ?? text;
    const verdict = this.#evaluate(told, question);
    if (!this.#cacheable || text.length > CACHE_MAX_KEY) return verdict;
    // A failure is no property of the question (the machine may have been busy): it lapses.
    const failed = verdict.rule === POLICY_ERROR;
    this.#byInput.set(text, verdict, failed ? { ttl: FAILURE_TTL_MS } : {});
    return verdict;
  };

  /** From all rules. */
  readonly #askAll = ({ question, text }: Asked): Verdict =>
    this.#evaluate(this.#dispatcher?.opened(text) ?? text, question);

  #evaluate(text: string, { effect, mode }: Question): Verdict {
    const kind = `${effect.class} ${effect.verb} ${mode}`;
    try {
      return verdictOf(this.#options.evaluator.ask(ANSWER, text, kind));
    } catch (error) {
      return policyError(messageOf(error));
    }
  }

  #failed(why: string): Decision {
    return { verdict: policyError(why), policy: this.#options.digest };
  }
}

/**
 * The time of one operation with several effects: the clock is looked at first, for it costs less.
 */
class Budget {
  readonly #began = performance.now();
  readonly #worked = threadMilliseconds();

  get spent(): boolean {
    if (performance.now() - this.#began <= OPERATION_TIMEOUT_MS) return false;
    return threadMilliseconds() - this.#worked > OPERATION_TIMEOUT_MS;
  }
}

function at(value: unknown, path: Path): unknown {
  let found = value;
  for (const part of path) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, part)) return null;
    found = (found as { readonly [part: string]: unknown })[part];
  }
  return found;
}
