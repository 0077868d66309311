// Numbers of rows, where null is any number.
// Invariant: what is not known stays unknown, but for what never happens.
import type { Predicate } from '../../effect/effect.ts';
import type { Draft } from './judge.ts';

/** So many rows, so many times. */
export function multiplied(rows: number | null, times: number | null): number | null {
  if (rows === 0 || times === 0) return 0;
  return rows === null || times === null ? null : rows * times;
}

/** By a key, any number of times, is by any number of keys. */
export function predicateFor(predicate: Predicate, rows: number | null): Predicate {
  return predicate === 'key' && rows === null ? 'filter' : predicate;
}

export function predicateOf(
  draft: Draft,
  predicate: Predicate,
  scoped: boolean,
  rows: number | null,
): void {
  draft.predicate = predicateFor(predicate, rows);
  draft.scoped = scoped;
  draft.rows_max = rows;
}
