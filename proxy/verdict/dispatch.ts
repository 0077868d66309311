// An index over a large policy, which OPA's WASM has none of: rules that can't answer are not
// asked.
// Invariant: a rule is passed over only when a condition that it plainly requires is not met, so
// the answer is the same as when all are asked (the rule index of OPA itself rests on the same).
//
// Rules of the sets that require one value get a set of their own (a bucket), buckets share groups:
//
//   hold contains {…} if input.target.name == "a"   →   dispatch_b0_hold contains {…} if …
//   hold contains x if { input.dispatch.g0; some x in dispatch_g0_hold }
//   dispatch_g0_hold contains x if { input.dispatch.b0; some x in dispatch_b0_hold }
//
// The proxy looks the input's values up and tells `input.dispatch` which buckets may answer.
import { type Path, references } from './references.ts';
import { EACH, type Requirement, Requirements, type RuleTree, samePath } from './requirement.ts';
import { variables } from './rules.ts';

/** One path that buckets hang on, and the buckets of each value there. */
export interface IndexedPath {
  readonly path: Path;
  readonly buckets: { readonly [value: string]: readonly number[] };
}

/** What the manifest keeps; bucket b is in group b / GROUP. */
export interface DispatchIndex {
  readonly buckets: number;
  readonly paths: readonly IndexedPath[];
}

export interface Dispatched {
  readonly text: string;
  readonly index: DispatchIndex;
}

const SETS = ['allow', 'hold', 'deny'] as const;
/** Buckets behind one gate: about the root of what is worth it. */
const GROUP = 32;
/** Below so many rules of the sets, a gate costs more than it saves. */
const FEW_RULES = 40;

interface Placed {
  readonly set: string;
  readonly offset: number;
  readonly requirement: Requirement;
}

/**
 * The policy with its buckets; null when it is small, or when an index could change what it means.
 */
export function dispatch(policy: string, tree: unknown): Dispatched | null {
  const rules = ((tree as { rules?: unknown }).rules ?? []) as readonly RuleTree[];
  const setRules = rules.filter(isOfSet);
  if (setRules.length < FEW_RULES || !isIndexable(tree)) return null;
  const requirements = new Requirements(rules);
  const candidates = setRules.flatMap((rule) => {
    const offset = headOffset(policy, rule);
    const required = requirements.of(rule);
    return offset === null || required.length === 0 ? [] : [{ rule, offset, required }];
  });
  const spread = spreadOf(candidates.flatMap(({ required }) => required));
  const placed = candidates.map(({ rule, offset, required }) => ({
    set: String(rule.head?.name),
    offset,
    requirement: mostTelling(required, spread),
  }));
  if (placed.length * 2 < setRules.length) return null;
  return rewrite(policy, placed);
}

function isOfSet(rule: RuleTree): boolean {
  return SETS.some((set) => set === rule.head?.name) && rule.head?.key !== undefined;
}

/** Not where the policy looks at its input as a whole, or asks itself with another one. */
function isIndexable(tree: unknown): boolean {
  const paths = references(tree);
  if (paths.some(([first]) => first === undefined || first === 'dispatch')) return false;
  if ([...variables(tree)].some((name) => name.startsWith('dispatch_'))) return false;
  return !JSON.stringify(tree).includes('"with":[');
}

/** Where the rule's name stands in the text; null when it is not plainly there. */
function headOffset(policy: string, rule: RuleTree): number | null {
  const { row, col } = rule.location ?? {};
  if (typeof row !== 'number' || typeof col !== 'number') return null;
  const offset = lineOffset(policy, row) + col - 1;
  const head = new RegExp(`^${String(rule.head?.name)}\\s+contains\\s`);
  return head.test(policy.slice(offset, offset + 40)) ? offset : null;
}

function lineOffset(text: string, row: number): number {
  let offset = 0;
  for (let line = 1; line < row; line++) {
    const end = text.indexOf('\n', offset);
    if (end < 0) return text.length;
    offset = end + 1;
  }
  return offset;
}

function keyOf(path: Path): string {
  return JSON.stringify(path);
}

/** How many values a path tells apart over the whole policy. */
function spreadOf(requirements: readonly Requirement[]): ReadonlyMap<string, number> {
  const values = new Map<string, Set<string>>();
  for (const requirement of requirements) {
    const key = keyOf(requirement.path);
    const known = values.get(key) ?? new Set();
    for (const value of requirement.values) known.add(value);
    values.set(key, known);
  }
  return new Map([...values].map(([key, known]) => [key, known.size]));
}

function mostTelling(
  required: readonly Requirement[],
  spread: ReadonlyMap<string, number>,
): Requirement {
  const telling = ({ path, values }: Requirement): number =>
    (spread.get(keyOf(path)) ?? 0) / values.length;
  return required.reduce((best, next) => (telling(next) > telling(best) ? next : best));
}

function rewrite(policy: string, placed: readonly Placed[]): Dispatched {
  const numbers = new Map<string, number>();
  const sets = new Map<number, Set<string>>();
  const paths: { path: Path; buckets: { [value: string]: number[] } }[] = [];
  const parts: string[] = [];
  let done = 0;
  for (const { set, offset, requirement } of [...placed].sort((a, b) => a.offset - b.offset)) {
    const key = JSON.stringify([requirement.path, requirement.values]);
    const known = numbers.get(key);
    const bucket = known ?? numbers.size;
    numbers.set(key, bucket);
    if (known === undefined) register(paths, requirement, bucket);
    sets.set(bucket, (sets.get(bucket) ?? new Set()).add(set));
    parts.push(policy.slice(done, offset), `dispatch_b${bucket}_`);
    done = offset;
  }
  parts.push(policy.slice(done), '\n', gates(sets));
  return { text: parts.join(''), index: { buckets: numbers.size, paths } };
}

function register(
  paths: { path: Path; buckets: { [value: string]: number[] } }[],
  { path, values }: Requirement,
  bucket: number,
): void {
  let indexed = paths.find((known) => samePath(known.path, path));
  if (indexed === undefined) {
    indexed = { path, buckets: Object.create(null) as { [value: string]: number[] } };
    paths.push(indexed);
  }
  for (const value of values) {
    const buckets = indexed.buckets[value] ?? [];
    buckets.push(bucket);
    indexed.buckets[value] = buckets;
  }
}

function gates(sets: ReadonlyMap<number, ReadonlySet<string>>): string {
  const lines = new Set<string>();
  for (const [bucket, names] of sets) {
    const group = Math.floor(bucket / GROUP);
    for (const set of names) {
      const [g, b] = [`dispatch_g${group}_${set}`, `dispatch_b${bucket}_${set}`];
      lines.add(`${set} contains x if { input.dispatch.g${group}; some x in ${g} }`);
      lines.add(`${g} contains x if { input.dispatch.b${bucket}; some x in ${b} }`);
    }
  }
  return `${[...lines].join('\n')}\n`;
}

/** Which buckets may answer an input. */
export class Dispatcher {
  readonly #index: DispatchIndex;
  /** Values as keys of a Map: a value named `__proto__` is a value like any other. */
  readonly #paths: readonly { path: Path; buckets: ReadonlyMap<string, readonly number[]> }[];
  readonly #all: string;

  constructor(index: DispatchIndex) {
    this.#index = index;
    this.#paths = index.paths.map(({ path, buckets }) => ({
      path,
      buckets: new Map(Object.entries(buckets)),
    }));
    this.#all = gatesText(Array.from({ length: index.buckets }, (_, bucket) => bucket));
  }

  /** The input's text with every gate open: all rules are asked. */
  opened(text: string): string {
    return withDispatch(text, this.#all);
  }

  /** The input's text with those gates open behind which a rule may answer. */
  told(text: string, input: unknown): string {
    const buckets: number[] = [];
    for (const { path, buckets: known } of this.#paths) {
      collect(input, path, 0, (value) => buckets.push(...(known.get(value) ?? [])));
    }
    return withDispatch(text, gatesText(buckets));
  }

  get size(): number {
    return this.#index.buckets;
  }
}

function gatesText(buckets: readonly number[]): string {
  const open: { [gate: string]: true } = {};
  for (const bucket of buckets) {
    open[`g${Math.floor(bucket / GROUP)}`] = true;
    open[`b${bucket}`] = true;
  }
  return JSON.stringify(open);
}

function withDispatch(text: string, gates: string): string {
  const rest = text.slice(1);
  return `{"dispatch":${gates}${rest === '}' ? '' : ','}${rest}`;
}

function collect(value: unknown, path: Path, at: number, found: (value: string) => void): void {
  const part = path[at];
  if (part === undefined) {
    if (typeof value === 'string') found(value);
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  if (part === EACH) {
    for (const element of Object.values(value)) collect(element, path, at + 1, found);
  } else if (Object.hasOwn(value, part)) {
    collect((value as { readonly [part: string]: unknown })[part], path, at + 1, found);
  }
}
