// What the syntax tree says of each rule of a policy: for `explain`, which names the rule and the
// facts it read.
// Invariant: descriptive only; no verdict depends on it.
import { type Path, references, shortest } from './references.ts';

export interface RuleFacts {
  /** `allow`, `hold`, `deny`, or the name of a helper. */
  readonly set: string;
  /** The constant `rule` of the object that it adds; null for helpers and computed names. */
  readonly rule: string | null;
  readonly row: number;
  /** The parts of `input` that it reads, through the helpers it uses too. */
  readonly references: readonly Path[];
}

interface Rule {
  readonly head?: {
    readonly name?: string;
    readonly ref?: unknown;
    readonly args?: unknown;
    readonly key?: unknown;
    readonly value?: unknown;
  };
  readonly body?: unknown;
  readonly else?: Rule;
  readonly location?: { readonly row?: number };
}

export function rulesOf(tree: unknown): readonly RuleFacts[] {
  const rules = (tree as { rules?: Rule[] }).rules ?? [];
  const helpers = new Map<string, Rule[]>();
  for (const rule of rules) {
    const name = nameOf(rule);
    helpers.set(name, [...(helpers.get(name) ?? []), rule]);
  }
  return rules.map((rule) => ({
    set: nameOf(rule),
    rule: constantRule(rule.head?.key),
    row: rule.location?.row ?? 0,
    references: reads(rule, helpers),
  }));
}

function nameOf(rule: Rule): string {
  const ref = rule.head?.ref;
  const first: unknown = Array.isArray(ref) ? ref[0] : undefined;
  return rule.head?.name ?? String((first as { value?: unknown } | undefined)?.value ?? '');
}

function constantRule(key: unknown): string | null {
  const node = key as { type?: unknown; value?: unknown } | undefined;
  if (node?.type !== 'object' || !Array.isArray(node.value)) return null;
  for (const [name, value] of node.value as [
    { value?: unknown },
    { type?: unknown; value?: unknown },
  ][]) {
    if (name.value === 'rule' && value.type === 'string') return String(value.value);
  }
  return null;
}

function reads(rule: Rule, helpers: ReadonlyMap<string, readonly Rule[]>): readonly Path[] {
  const seen = new Set<Rule>();
  const paths: Path[] = [];
  const visit = (from: Rule): void => {
    if (seen.has(from)) return;
    seen.add(from);
    // Not the head's own name: it stands for all rules of the set.
    const parts = [from.head?.args, from.head?.key, from.head?.value, from.body];
    paths.push(...references(parts));
    if (from.else !== undefined) visit(from.else);
    for (const name of variables(parts))
      for (const helper of helpers.get(name) ?? []) visit(helper);
  };
  visit(rule);
  return shortest(paths);
}

/** Every name in the tree, of variables, rules and the first part of built-ins alike. */
export function variables(tree: unknown): ReadonlySet<string> {
  const found = new Set<string>();
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    const { type, value } = node as { type?: unknown; value?: unknown };
    if (type === 'var' && typeof value === 'string') found.add(value);
    for (const child of Object.values(node)) visit(child);
  };
  visit(tree);
  return found;
}

/**
 * Rows where `not` stands before a call or an `in` that reads `input` or `data`. When what it reads
 * is undefined the whole rule says nothing, instead of taking the `not` as met: a guard that opens.
 */
export function silentNegations(tree: unknown): readonly number[] {
  const rows = new Set<number>();
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    const { negated, terms, location } = node as {
      negated?: unknown;
      terms?: unknown;
      location?: { row?: unknown };
    };
    if (negated === true && Array.isArray(terms) && mayBeUndefined(terms)) {
      if (typeof location?.row === 'number') rows.add(location.row);
    }
    for (const child of Object.values(node)) visit(child);
  };
  visit(tree);
  return [...rows].sort((a, b) => a - b);
}

/** `==` alone is safe: opa takes it as not met. */
function mayBeUndefined([operator, ...operands]: readonly unknown[]): boolean {
  const name = variables(operator);
  if (name.has('equal') || name.has('eq')) return false;
  return operands.some((operand) => {
    const { type, value } = (operand ?? {}) as { type?: unknown; value?: unknown };
    const head: unknown = type === 'ref' && Array.isArray(value) ? value[0] : undefined;
    const root = (head as { value?: unknown } | undefined)?.value;
    return root === 'input' || root === 'data';
  });
}
