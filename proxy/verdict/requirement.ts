// What must be so before a rule can say anything: `input.target.name == "x"`, found in its syntax
// tree.
// Invariant: a requirement is necessary for the rule; where the tree does not plainly say so, there
// is none.
import type { Path } from './references.ts';

/** A step into each element of a list. */
export const EACH = '*';

/** The value at the path (one of them, where it goes through EACH) is one of these. */
export interface Requirement {
  readonly path: Path;
  readonly values: readonly string[];
}

export interface Tree {
  readonly type?: unknown;
  readonly value?: unknown;
}

export interface RuleTree {
  readonly default?: unknown;
  readonly else?: unknown;
  readonly head?: {
    readonly name?: unknown;
    readonly ref?: unknown;
    readonly key?: unknown;
    readonly args?: unknown;
    readonly value?: Tree;
  };
  readonly body?: unknown;
  readonly location?: { readonly row?: unknown; readonly col?: unknown };
}

interface Expression {
  readonly negated?: unknown;
  readonly with?: unknown;
  readonly terms?: unknown;
}

/** How many helper rules deep a condition is followed. */
const MAX_DEPTH = 4;

export class Requirements {
  readonly #helpers = new Map<string, RuleTree[]>();

  constructor(rules: readonly RuleTree[]) {
    for (const rule of rules) {
      const name = rule.head?.name;
      if (typeof name !== 'string') continue;
      this.#helpers.set(name, [...(this.#helpers.get(name) ?? []), rule]);
    }
  }

  of(rule: RuleTree, depth = 0): readonly Requirement[] {
    const found: Requirement[] = [];
    const bound = new Map<string, Path>();
    for (const expression of (rule.body ?? []) as readonly Expression[]) {
      if (expression.negated !== undefined || expression.with !== undefined) continue;
      bind(expression.terms, bound);
      const compared = comparison(expression.terms, bound);
      if (compared !== null) found.push(compared);
      const word = wordOf(expression.terms);
      if (word !== null && depth < MAX_DEPTH) found.push(...this.#ofHelper(word, depth + 1));
    }
    return found;
  }

  /** What each way to make a helper true requires: on one path, the values of all the ways. */
  #ofHelper(name: string, depth: number): readonly Requirement[] {
    const ways = this.#helpers.get(name) ?? [];
    const [first, ...others] = ways.map((way) => (isPlain(way) ? this.of(way, depth) : []));
    return (first ?? []).flatMap((requirement) => {
      const values = new Set(requirement.values);
      for (const other of others) {
        const same = other.find((o) => samePath(o.path, requirement.path));
        if (same === undefined) return [];
        for (const value of same.values) values.add(value);
      }
      return [{ path: requirement.path, values: [...values] }];
    });
  }
}

/** `word if { … }` and nothing more: no default, else, argument or set. */
function isPlain({ default: otherwise, else: next, head }: RuleTree): boolean {
  const parts = [otherwise, next, head?.key, head?.args];
  return parts.every((part) => part === undefined) && head?.value?.value === true;
}

export function samePath(a: Path, b: Path): boolean {
  return a.length === b.length && a.every((part, at) => part === b[at]);
}

function wordOf(terms: unknown): string | null {
  const { type, value } = (terms ?? {}) as Tree;
  return type === 'var' && typeof value === 'string' ? value : null;
}

/** `some x in input.effect.objects` and `x := input.effect` say what a variable stands for. */
function bind(terms: unknown, bound: Map<string, Path>): void {
  const symbols = (terms as { symbols?: unknown } | null)?.symbols;
  if (Array.isArray(symbols)) {
    const [name, ...operands] = callOf((symbols[0] as Tree | undefined)?.value);
    const collection = pathOf(operands.at(-1), bound);
    const element = wordOf(operands.at(-2));
    const isIn = name === 'internal.member_2' || name === 'internal.member_3';
    if (isIn && collection !== null && element !== null) bound.set(element, [...collection, EACH]);
    return;
  }
  const [name, left, right] = callOf(terms);
  const variable = wordOf(left);
  const path = pathOf(right, bound);
  if (name === 'assign' && variable !== null && path !== null) bound.set(variable, path);
}

/** `path == "value"`, either way round, or `path in {"one", "other"}`. */
function comparison(terms: unknown, bound: ReadonlyMap<string, Path>): Requirement | null {
  const [name, left, right] = callOf(terms);
  if (name === 'equal' || name === 'eq') {
    for (const [one, other] of [
      [left, right],
      [right, left],
    ]) {
      const path = pathOf(one, bound);
      const value = constant(other);
      if (path !== null && value !== null) return { path, values: [value] };
    }
  }
  if (name === 'internal.member_2') {
    const path = pathOf(left, bound);
    const { type, value } = (right ?? {}) as Tree;
    if (path === null || (type !== 'set' && type !== 'array') || !Array.isArray(value)) return null;
    const values = value.map(constant);
    if (values.every((v) => v !== null)) return { path, values };
  }
  return null;
}

/** The called name and its operands; empty when it is no call. */
function callOf(terms: unknown): readonly [string | null, ...unknown[]] {
  if (!Array.isArray(terms)) return [null];
  const [operator, ...operands] = terms as [Tree, ...unknown[]];
  if (operator.type !== 'ref' || !Array.isArray(operator.value)) return [null];
  return [operator.value.map((part: Tree) => String(part.value)).join('.'), ...operands];
}

function constant(term: unknown): string | null {
  const { type, value } = (term ?? {}) as Tree;
  return type === 'string' && typeof value === 'string' ? value : null;
}

/** The path below `input` that a reference means; a bracket with a variable is each element. */
function pathOf(term: unknown, bound: ReadonlyMap<string, Path>): Path | null {
  const { type, value } = (term ?? {}) as Tree;
  if (type === 'var') return bound.get(String(value)) ?? null;
  if (type !== 'ref' || !Array.isArray(value)) return null;
  const [head, ...rest] = value as Tree[];
  if (head?.type !== 'var') return null;
  const start = head.value === 'input' ? [] : bound.get(String(head.value));
  if (start === undefined) return null;
  const path = [...start];
  for (const part of rest) {
    if (part.type === 'string') path.push(String(part.value));
    else if (part.type === 'var') path.push(EACH);
    else return null;
  }
  return path.includes('') ? null : path;
}
