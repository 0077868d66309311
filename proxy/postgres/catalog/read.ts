// Asks the server for the rows that a snapshot is built of: all of them, or what may have changed.
// Invariant: what is not asked for again is what asking would give; where that is not sure,
// everything is asked for.
import type pg from 'pg';
import { LIMITS } from '../../limits.ts';
import { FRESH_FACTS, OBJECT_FACTS, type ObjectFact, RARE_FACTS } from './facts.ts';
import { EVERYWHERE, type Within, withinRanges } from './ranges.ts';
import { type Facts, isRenamed, type Row, Sorting } from './rows.ts';
import { type Change, dependents, rangesOf } from './stamp.ts';
import { inSteps } from './steps.ts';

type Small = { readonly [name: string]: string };

/** What is there now, and whether it was all asked for. */
export async function readFacts(
  client: pg.Client,
  before: Facts,
  change: Exclude<Change, null>,
): Promise<{ facts: Facts; whole: boolean }> {
  const facts = change === 'everything' ? null : await changed(client, before, change);
  if (facts !== null) return { facts, whole: false };
  const { sorting, small } = await fetched(client, { ...RARE_FACTS, ...FRESH_FACTS }, EVERYWHERE);
  return { facts: sorting.whole(small), whole: true };
}

/** null: so much may have changed, or such a thing, that everything has to be asked for. */
async function changed(
  client: pg.Client,
  before: Facts,
  change: Exclude<Change, null | 'everything'>,
): Promise<Facts | null> {
  const ranges = rangesOf(change);
  const more = dependents(change, LIMITS.catalog_dependents);
  if (more !== null) {
    const { rows } = await client.query<{ range: string }>(more);
    for (const { range } of rows) ranges.add(Number(range));
  }
  if (ranges.has(-1) || ranges.size > LIMITS.catalog_ranges) return null;
  const { sorting, small } = await fetched(client, FRESH_FACTS, withinRanges(ranges));
  const now = await inSteps(sorting.replacing(before, ranges, small));
  return (await inSteps(isRenamed(before, now))) ? null : now;
}

const next = (name: string) => `fetch ${LIMITS.catalog_rows} from "${name}"`;

/**
 * A small answer takes one round trip. Of a large one, so much comes at a time as keeps others
 * waiting for no longer than a moment.
 */
async function fetched(
  client: pg.Client,
  asked: Small,
  within: Within,
): Promise<{ sorting: Sorting; small: Facts['small'] }> {
  const queries = new Map(Object.entries(asked));
  for (const [name, query] of Object.entries(OBJECT_FACTS)) queries.set(name, query(within));
  const opening: string[] = [];
  for (const [name, query] of queries)
    opening.push(`declare "${name}" no scroll cursor for ${query}`, next(name));
  const results = (await client.query(opening.join(';\n'))) as unknown as pg.QueryResult<Row>[];
  const sorting = new Sorting();
  const small: { [name: string]: Row[] } = {};
  const closing: string[] = [];
  for (const [index, name] of [...queries.keys()].entries()) {
    let rows = results[2 * index + 1]?.rows ?? [];
    closing.push(`close "${name}"`);
    for (;;) {
      if (isObjectFact(name)) sorting.add(name, rows);
      else (small[name] ??= []).push(...rows);
      if (rows.length < LIMITS.catalog_rows) break;
      ({ rows } = await client.query<Row>(next(name)));
    }
  }
  await client.query(closing.join(';'));
  return { sorting, small };
}

function isObjectFact(name: string): name is ObjectFact {
  return name in OBJECT_FACTS;
}
