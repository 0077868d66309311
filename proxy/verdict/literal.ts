// Rules whose object stands in the policy word for word: what is wrong with it is said at once.
// Invariant: answer.ts stays the judge of answers; this only finds earlier what it would refuse.
import { POLICY_ERROR, verdictOf } from './answer.ts';
import type { RuleTree, Tree } from './requirement.ts';

const SETS = ['allow', 'hold', 'deny'] as const;

/** Stands for a value that is only known when the rule is asked. */
const FITTING: { readonly [field: string]: unknown } = {
  rule: 'computed',
  reason: 'computed',
  group: 'computed',
  signatures: 1,
  channels: ['page'],
  expires: '30m',
  wait: '45s',
};

/**
 * What is wrong with the policy's sets and objects, with the row; empty when nothing plainly is.
 */
export function oddLiterals(tree: unknown): readonly string[] {
  const rules = ((tree as { rules?: unknown }).rules ?? []) as readonly RuleTree[];
  return rules.flatMap((rule) => {
    const set = SETS.find((name) => name === rule.head?.name);
    if (set === undefined) return [];
    const row = String(rule.location?.row ?? '?');
    if (rule.head?.key === undefined) {
      return [`policies.rego:${row}: \`${set}\` is a set: write \`${set} contains {…} if …\``];
    }
    const object = literal(rule.head.key as Tree);
    if (object === undefined) return [];
    const verdict = verdictOf({ kind: set, said: [object] });
    return verdict.rule === POLICY_ERROR ? [`policies.rego:${row}: ${verdict.reason}`] : [];
  });
}

/**
 * The value that a term writes out, its computed fields filled in; undefined when it is computed.
 */
function literal(term: Tree): unknown {
  if (term.type !== 'object' || !Array.isArray(term.value)) return constant(term);
  const fields: { [name: string]: unknown } = {};
  for (const [name, value] of term.value as readonly [Tree, Tree][]) {
    if (name.type !== 'string') return undefined;
    const known = constant(value);
    fields[String(name.value)] = known === undefined ? FITTING[String(name.value)] : known;
  }
  return fields;
}

function constant({ type, value }: Tree): unknown {
  switch (type) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      return Number(value);
    case 'null':
      return null;
    case 'array':
    case 'set': {
      const all = Array.isArray(value) ? value.map((element: Tree) => constant(element)) : [];
      return all.includes(undefined) ? undefined : all;
    }
    default:
      return undefined;
  }
}
