// policies.json as the proxy itself reads it: freeze windows and tags. The rest is the policy's
// own.
// Invariant: parsed once at the door; data that can't be used is rejected with the place named, and
// the old stays in force.
import type { Effect, EffectObject } from '../effect/effect.ts';
import { type FreezeWindow, freezeWindows } from './freeze.ts';

export interface PolicyData {
  /** The whole document: `data` of the policy. */
  readonly document: { readonly [name: string]: unknown };
  readonly freeze: readonly FreezeWindow[];
  readonly tags: readonly TagRule[];
}

export interface TagRule {
  readonly pattern: RegExp;
  /** The pattern without its column, when it has one. */
  readonly table: RegExp | null;
  readonly tags: readonly string[];
}

export function parseData(text: string): PolicyData {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new Error(`policies.json is not JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw new Error('policies.json must be an object');
  }
  const fields = document as { readonly [name: string]: unknown };
  if (Object.hasOwn(fields, 'holdpoint')) {
    throw new Error("policies.json can't have a key `holdpoint`: that is where the policy is");
  }
  try {
    return { document: fields, freeze: freezeWindows(fields.freeze), tags: tagRules(fields.tags) };
  } catch (cause) {
    throw new Error(`policies.json: ${(cause as Error).message}`, { cause });
  }
}

/**
 * `tags`: from `schema.name` or `schema.name.column` patterns (`*` stands for any run of
 * characters) to lists of tags.
 */
function tagRules(value: unknown): readonly TagRule[] {
  if (value === undefined) return [];
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Error('`tags` must be an object from name patterns to lists of tags');
  }
  return Object.entries(value).map(([pattern, tags]: [string, unknown]) => {
    if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === 'string')) {
      throw new Error(`tags["${pattern}"] must be a list of texts`);
    }
    const parts = pattern.split('.');
    const table = parts.length < 3 ? null : matcher(parts.slice(0, -1).join('.'));
    return { pattern: matcher(pattern), table, tags };
  });
}

function matcher(pattern: string): RegExp {
  const source = pattern
    .split('*')
    .map((part) => RegExp.escape(part))
    .join('.*');
  return new RegExp(`^${source}$`, 'isu');
}

/** The effect with the data's tags on its objects; the same effect when there is nothing to add. */
export function tagged(effect: Effect, rules: readonly TagRule[]): Effect {
  if (rules.length === 0) return effect;
  let changed = false;
  const objects = effect.objects.map((object) => {
    const tags = tagsOf(object, rules);
    if (tags.length === object.tags.length) return object;
    changed = true;
    return { ...object, tags };
  });
  return changed ? { ...effect, objects } : effect;
}

function tagsOf(object: EffectObject, rules: readonly TagRule[]): readonly string[] {
  const name = `${object.schema ?? object.database ?? ''}.${object.name}`;
  const columns = object.columns.map((column) => `${name}.${column}`);
  const found = rules.filter(
    ({ pattern, table }) =>
      pattern.test(name) ||
      columns.some((column) => pattern.test(column)) ||
      // No column named means that any may be touched: a column's tag is the table's.
      (columns.length === 0 && table?.test(name) === true),
  );
  return [...new Set([...object.tags, ...found.flatMap((rule) => rule.tags)])];
}
