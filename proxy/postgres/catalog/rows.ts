// The rows that a snapshot is built of, by the ranges that they are read again in.
// Invariant: never changed once made: the next state shares every range that is as it was, and two
// states are alike in a range where it is the same object.
import type { ObjectFact, SmallFact } from './facts.ts';
import { rangeOf } from './ranges.ts';
import type { Steps } from './steps.ts';

export type Row = { readonly [column: string]: unknown };
export type Range = { readonly [Name in ObjectFact]?: readonly Row[] };

export interface Facts {
  readonly small: { readonly [Name in SmallFact]?: readonly Row[] };
  readonly ranges: ReadonlyMap<number, Range>;
}

export const NO_FACTS: Facts = { small: {}, ranges: new Map() };

/** In which column a row has the OID that it belongs to. */
const OWNER: { readonly [Name in ObjectFact]: string } = {
  relations: 'oid',
  columns: 'relation',
  types: 'oid',
  constraints: 'relation',
  triggers: 'relation',
  rules: 'relation',
  indexes: 'relation',
  statistics: 'relation',
  inherits: 'child',
  policies: 'relation',
  routines: 'oid',
  extension_members: 'oid',
  rule_owners: 'owner',
  dependencies: 'oid',
};

function rangeOfRow(name: ObjectFact, row: Row): number {
  const owner = row[OWNER[name]];
  // A constraint of a domain has no relation.
  const { type } = row;
  return rangeOf(String(owner === '0' ? type : owner));
}

/** Rows on their way into ranges. */
export class Sorting {
  readonly #ranges = new Map<number, { [Name in ObjectFact]?: Row[] }>();

  add(name: ObjectFact, rows: readonly Row[]): void {
    for (const row of rows) {
      const at = rangeOfRow(name, row);
      let range = this.#ranges.get(at);
      if (range === undefined) this.#ranges.set(at, (range = {}));
      const list = (range[name] ??= []);
      list.push(row);
    }
  }

  /** All that there is. */
  whole(small: Facts['small']): Facts {
    return { small, ranges: this.#ranges };
  }

  /** In place of what was in `asked`; what is as it was stays the same. */
  *replacing(before: Facts, asked: Iterable<number>, small: Facts['small']): Steps<Facts> {
    const ranges = new Map(before.ranges);
    for (const at of asked) {
      const range = this.#ranges.get(at);
      if (range === undefined) ranges.delete(at);
      else if (!alike(range, ranges.get(at))) ranges.set(at, range);
      yield;
    }
    return { small: { ...before.small, ...small }, ranges };
  }
}

/** All that a snapshot shows is the same. */
export function isSame(before: Facts, now: Facts): boolean {
  return (
    rangesBetween(before, now).length === 0 &&
    Object.entries(now.small).every(
      ([name, rows]) => name === 'roles' || alike(rows, before.small[name as SmallFact]),
    )
  );
}

/** They hold nothing but what JSON does, and come in the same order. */
function alike(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** The ranges in which two states differ, in order. */
export function rangesBetween(before: Facts, now: Facts): number[] {
  const different = [];
  for (const [at, range] of now.ranges) if (before.ranges.get(at) !== range) different.push(at);
  for (const at of before.ranges.keys()) if (!now.ranges.has(at)) different.push(at);
  return different.sort((a, b) => a - b);
}

/**
 * true when another name stands for something than before, or what needs no schema came or went:
 * then texts may be others, of which nobody can tell.
 */
export function* isRenamed(before: Facts, now: Facts): Steps<boolean> {
  for (const name of ['schemas', 'roles'] as const) {
    if (differs(named(before.small[name]), named(now.small[name]))) return true;
  }
  for (const at of rangesBetween(before, now)) {
    if (isRangeRenamed(before.ranges.get(at) ?? {}, now.ranges.get(at) ?? {})) return true;
    yield;
  }
  return false;
}

// What of the rows is compared here; see facts.ts.
type Named = { readonly oid: string; readonly name: string; readonly schema?: string };
const named = (rows: readonly Row[] = []) => rows as unknown as readonly Named[];
type NamedColumn = { readonly relation: string; readonly number: number; readonly name: string };

function isRangeRenamed(before: Range, now: Range): boolean {
  const columns = ({ columns = [] }: Range) =>
    (columns as unknown as readonly NamedColumn[]).map(({ relation, number, name }) => ({
      oid: `${relation} ${number}`,
      name,
    }));
  return (
    differs(columns(before), columns(now)) ||
    (['relations', 'types', 'routines'] as const).some((of) => {
      const was = named(before[of]);
      const is = named(now[of]);
      return differs(was, is) || [...was, ...is].some(({ schema }) => schema === 'pg_catalog');
    })
  );
}

/** Something is there before and after, under another name. */
function differs(before: readonly Named[], now: readonly Named[]): boolean {
  const known = new Map(before.map((each) => [each.oid, each]));
  return now.some(({ oid, name, schema }) => {
    const was = known.get(oid);
    return was !== undefined && (was.name !== name || was.schema !== schema);
  });
}
