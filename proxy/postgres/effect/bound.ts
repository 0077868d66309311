// What conditions leave of a table, alone and put together.
// Invariant: together they never seem to leave less than the server would let through.
import type { Predicate } from '../../effect/effect.ts';
import type { Judge } from './judge.ts';
import { baseType } from './operand.ts';
import type { References, Target } from './reference.ts';
import { steadyRows } from './times.ts';
import { type Binding, uniqueRows } from './unique.ts';

/**
 * `all`: true for every row, or null. `none`: true for no row. `open`: may be true for all. `key`:
 * equality on a column.
 * `join`: equality with another relation's column.
 */
export type Reach = 'all' | 'none' | 'open' | 'key' | 'join';

export interface Bound {
  readonly reach: Reach;
  readonly columns: ReadonlyMap<string, Binding>;
  /** The most rows that it lets through; null: any number. */
  readonly rows: number | null;
  /** A value that a boolean column could have: two of them may cover every row. */
  readonly boolish: boolean;
  /** A value comes from another relation: one for each of its rows. */
  readonly fed: boolean;
}

const NO_COLUMNS: ReadonlyMap<string, Binding> = new Map<string, Binding>();

export function plain(reach: Exclude<Reach, 'key'>): Bound {
  const rows = reach === 'none' ? 0 : null;
  return { reach, columns: NO_COLUMNS, rows, boolish: false, fed: false };
}

export interface Narrowing {
  readonly predicate: Predicate;
  readonly scoped: boolean;
  readonly rows_max: number | null;
  /** Narrowed by a join alone. */
  readonly joined: boolean;
}

export function narrowingOf({ reach, rows }: Bound): Narrowing {
  const key = reach === 'key' && rows !== null;
  return {
    predicate: reach === 'all' ? 'tautology' : key ? 'key' : 'filter',
    scoped: reach === 'key' || reach === 'none',
    rows_max: rows,
    joined: reach === 'join',
  };
}

const least = (a: number | null, b: number | null): number | null =>
  a === null ? b : b === null ? a : Math.min(a, b);

/** Puts bounds of one target's conditions together. */
export class Bounds {
  readonly #judge: Judge;
  readonly #target: Target;
  readonly #names: References;
  #feeding: number | null | undefined;

  constructor(judge: Judge, target: Target, names: References) {
    this.#judge = judge;
    this.#target = target;
    this.#names = names;
  }

  /** Rows of the other relations, all combined; null: any number. */
  get feeding(): number | null {
    if (this.#feeding === undefined) {
      const { from, single } = this.#target;
      if (single === true) return (this.#feeding = 1);
      // What is computed anew may be other rows for each of the target's.
      const fixed = from?.every((item) => this.#names.dependence(item) === 'none') ?? false;
      this.#feeding = fixed ? steadyRows(this.#judge, from) : null;
    }
    return this.#feeding;
  }

  key(columns: ReadonlyMap<string, Binding>, more?: { boolish?: boolean; fed?: boolean }): Bound {
    const { relation, only, given } = this.#target;
    const { boolish = false, fed = false } = more ?? {};
    const unique = uniqueRows(this.#judge, relation, columns, only, given);
    const times = fed ? this.feeding : 1;
    const rows = unique === null || times === null ? null : unique * times;
    return { reach: 'key', columns, rows, boolish, fed };
  }

  and(all: readonly Bound[]): Bound {
    if (all.some((b) => b.reach === 'none')) return plain('none');
    const columns = new Map<string, Binding>();
    let rows: number | null = null;
    let fed = false;
    for (const b of all) {
      rows = least(rows, b.rows);
      if (b.reach !== 'key') continue;
      fed ||= b.fed;
      for (const [name, binding] of b.columns) {
        const known = columns.get(name);
        columns.set(name, known === undefined ? binding : closer(known, binding));
      }
    }
    if (columns.size > 0) {
      const found = this.key(columns, { fed });
      return { ...found, rows: least(found.rows, rows) };
    }
    if (all.some((b) => b.reach === 'key')) return { ...this.key(columns, { fed }), rows };
    if (all.some((b) => b.reach === 'join')) return { ...plain('join'), rows };
    return plain(all.every((b) => b.reach === 'all') ? 'all' : 'open');
  }

  or(given: readonly Bound[]): Bound {
    const all = given.filter((b) => b.reach !== 'none');
    const [first] = all;
    if (first === undefined) return plain('none');
    if (all.some((b) => b.reach === 'all')) return plain('all');
    if (all.length === 1) return first;
    if (all.some((b) => b.reach !== 'key')) return plain('open');
    const boolish = all.some((b) => b.boolish);
    let rows: number | null = 0;
    for (const b of all) rows = rows === null || b.rows === null ? null : rows + b.rows;
    const [name] = first.columns.keys();
    const same = all.every(
      (b) => b.columns.size === 1 && name !== undefined && b.columns.has(name),
    );
    if (same && name !== undefined) {
      const found = this.several(
        name,
        all.flatMap((b) => b.columns.get(name) ?? []),
        { boolish, fed: all.some((b) => b.fed) },
      );
      return found.reach === 'key' ? { ...found, rows: least(found.rows, rows) } : found;
    }
    // Arms on several columns: each narrows, unless it is by columns of few values alone.
    const few = (b: Bound) =>
      [...b.columns.keys()].every((column) => this.size(column, b.boolish) !== null);
    if (all.some(few)) return plain('open');
    return { reach: 'key', columns: NO_COLUMNS, rows, boolish: false, fed: false };
  }

  /** One column equal to any of several values. */
  several(
    name: string,
    bindings: readonly Binding[],
    more: { boolish?: boolean; fed?: boolean },
  ): Bound {
    let values: number | null = 0;
    for (const binding of bindings)
      values = values === null || binding.values === null ? null : values + binding.values;
    const size = this.size(name, more.boolish ?? false);
    // All the values that there are let every row through.
    if (size !== null && (values === null || values >= size) && bindings.length > 0)
      return plain('open');
    const exact = bindings.every((binding) => binding.exact);
    return this.key(new Map([[name, { values, exact }]]), more);
  }

  /** How many values a column can have, where they are few. */
  size(name: string, boolish: boolean): number | null {
    const column = this.#names.columnFact(name.endsWith('()') ? name.slice(0, -2) : name);
    if (column === null) {
      this.#judge.root.literal = true;
      return boolish ? 2 : null;
    }
    const type = baseType(this.#judge, column.type);
    return type?.name === 'bool' ? 2 : (type?.labels?.length ?? null);
  }
}

/** Both hold: the one that says more. */
function closer(a: Binding, b: Binding): Binding {
  if (a.exact !== b.exact) return a.exact ? a : b;
  if (a.values === null || b.values === null) return a.values === null ? b : a;
  return a.values <= b.values ? a : b;
}
