// The catalog is read again in ranges of OIDs: objects that were made one after the other.
// Invariant: the server and we count ranges alike; every OID is in one of them.
import { FIRST_USER_OID } from './snapshot.ts';

/** OIDs in a range: about 25 tables with their types and indexes take up as many. */
const RANGE = 256;

/** What initdb made is in the ranges before this one. */
export const FIRST_USER_RANGE = FIRST_USER_OID / RANGE;

export function rangeOf(oid: string): number {
  return Math.floor(Number(oid) / RANGE);
}

/** The same, as the server counts it. */
export function rangeOfColumn(column: string): string {
  return `${column}::int8 / ${RANGE}`;
}

/** Chooses rows by a column of OIDs; `beside` is true of them too, and helps to find them. */
export type Within = (column: string, beside?: string) => string;

export const EVERYWHERE: Within = () => 'true';

/** Rows of these ranges. */
export function withinRanges(ranges: Iterable<number>): Within {
  const bounds: [from: number, to: number][] = [];
  for (const range of [...ranges].sort((a, b) => a - b)) {
    const last = bounds.at(-1);
    if (last?.[1] === range) last[1] = range + 1;
    else bounds.push([range, range + 1]);
  }
  return (column, beside) => {
    // The largest OIDs are no integers: a cast keeps the server to its index of OIDs.
    const between = bounds.map(
      ([from, to]) =>
        `${column} >= '${from * RANGE}'::oid and ${column} <= '${to * RANGE - 1}'::oid`,
    );
    const chosen = between.map((each) => (beside === undefined ? each : `${beside} and ${each}`));
    return chosen.length === 0 ? 'false' : `(${chosen.join(' or ')})`;
  };
}
