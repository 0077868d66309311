// How the rows of a snapshot get to another thread: what differs from those that it has, in slices.
// Invariant: what is put together again is equal to what was taken apart.
import type { ObjectFact, SmallFact } from './facts.ts';
import { type Facts, type Row, rangesBetween } from './rows.ts';

/** Some rows of a range, or of the small facts. */
export interface Piece {
  readonly range: number | null;
  readonly name: ObjectFact | SmallFact;
  readonly rows: readonly Row[];
}

/** What `now` has and `before` has not, about so many rows at a time. */
export function* slices(before: Facts, now: Facts, most: number): Generator<Piece[], void, void> {
  let slice: Piece[] = [];
  let count = 0;
  for (const { rows, ...piece } of pieces(before, now)) {
    // What is empty now is told too.
    for (let from = 0; from === 0 || from < rows.length; from += most) {
      const some = rows.slice(from, from + most);
      slice.push({ ...piece, rows: some });
      count += some.length;
      if (count < most) continue;
      yield slice;
      slice = [];
      count = 0;
    }
  }
  if (slice.length > 0) yield slice;
}

function* pieces(before: Facts, now: Facts): Generator<Piece, void, void> {
  for (const [name, rows] of Object.entries(now.small) as [SmallFact, readonly Row[]][])
    if (before.small[name] !== rows) yield { range: null, name, rows };
  for (const range of rangesBetween(before, now)) {
    const facts = Object.entries(now.ranges.get(range) ?? {}) as [ObjectFact, readonly Row[]][];
    for (const [name, rows] of facts) yield { range, name, rows };
  }
}

/** `ranges` are those {@link rangesBetween} the two. */
export function assembled(
  before: Facts,
  ranges: readonly number[],
  handed: readonly Piece[],
): Facts {
  const small: { [name: string]: Row[] } = {};
  const now = new Map(before.ranges);
  const parts = new Map<number | null, { [name: string]: Row[] }>([[null, small]]);
  for (const range of ranges) now.delete(range);
  for (const { range, name, rows } of handed) {
    let part = parts.get(range);
    if (part === undefined) parts.set(range, (part = {}));
    const list = (part[name] ??= []);
    for (const row of rows) list.push(row);
    if (range !== null) now.set(range, part);
  }
  return { small: { ...before.small, ...small }, ranges: now };
}
