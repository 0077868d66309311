// Search and story: questions to the index, answers from the log.
// Invariant: the entries returned are the log's own; the index only says where to look.
import type { SQLInputValue } from 'node:sqlite';
import type { Logged } from './canonical.ts';
import { SEARCH_PAGE, SEARCH_PAGE_MAX, STORY_ENTRIES_MAX } from './limits.ts';

/** All given conditions must hold. Times are RFC 3339; `before` is where the last page ended. */
export interface SearchQuery {
  readonly kind?: string | undefined;
  readonly operation?: string | undefined;
  readonly hold?: string | undefined;
  readonly session?: string | undefined;
  readonly agent?: string | undefined;
  readonly target?: string | undefined;
  readonly environment?: string | undefined;
  readonly class?: string | undefined;
  readonly verdict?: string | undefined;
  readonly rule?: string | undefined;
  readonly signer?: string | undefined;
  /** `orders` or `public.orders`. */
  readonly object?: string | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly before?: number | undefined;
  readonly limit?: number | undefined;
}

export interface Found {
  readonly index: number;
  readonly entry: Logged;
}

/** Newest first; `next` is the `before` of the next page, null at the end. */
export interface SearchPage {
  readonly entries: readonly Found[];
  readonly next: number | null;
  /** Entries the index covers: newer ones are not found yet. */
  readonly indexed: number;
}

/** What of an operation an entry tells. */
export type Stage = 'judged' | 'signed' | 'settled' | 'ran' | 'recorded';

export interface StoryStep extends Found {
  readonly stage: Stage;
}

export interface Story {
  readonly operations: readonly string[];
  readonly holds: readonly string[];
  readonly steps: readonly StoryStep[];
}

/** What an entry can be found by, beside its objects and its time. */
export const COLUMNS = [
  'kind',
  'operation',
  'hold',
  'session',
  'agent',
  'target',
  'environment',
  'class',
  'verdict',
  'rule',
  'signer',
] as const;

type Read = (index: number) => Promise<Logged>;

/** An index that can be asked: SQLite beside the log, or PostgreSQL. Placeholders are `?`. */
export interface Finder {
  /** Entries it covers: all below this place. */
  readonly size: number;
  query(
    sql: string,
    values: readonly SQLInputValue[],
  ): Record<string, unknown>[] | Promise<Record<string, unknown>[]>;
}

function timeOf(text: string, name: string): number {
  const time = Date.parse(text);
  if (Number.isNaN(time))
    throw new RangeError(`${name} is not a time such as 2026-01-31T12:00:00Z: ${text}`);
  return time;
}

function conditions(query: SearchQuery): { where: string[]; values: SQLInputValue[] } {
  const where: string[] = [];
  const values: SQLInputValue[] = [];
  const also = (condition: string, value: SQLInputValue): void => {
    where.push(condition);
    values.push(value);
  };
  if (query.object !== undefined)
    also('place IN (SELECT place FROM object WHERE name = ?)', query.object);
  for (const column of COLUMNS) {
    const value = query[column];
    if (value !== undefined) also(`${column} = ?`, value);
  }
  if (query.from !== undefined) also('time >= ?', timeOf(query.from, 'from'));
  if (query.to !== undefined) also('time < ?', timeOf(query.to, 'to'));
  if (query.before !== undefined) also('place < ?', query.before);
  return { where, values };
}

export async function search(index: Finder, read: Read, query: SearchQuery): Promise<SearchPage> {
  const limit = Math.max(1, Math.min(query.limit ?? SEARCH_PAGE, SEARCH_PAGE_MAX));
  const { where, values } = conditions(query);
  const filter = where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`;
  const sql = `SELECT place FROM entry ${filter} ORDER BY place DESC LIMIT ?`;
  const rows = await index.query(sql, [...values, limit + 1]);
  const places = rows.map((row) => Number(row.place));
  const shown = places.slice(0, limit);
  const entries = await Promise.all(
    shown.map(async (place) => ({ index: place, entry: await read(place) })),
  );
  const next = places.length > limit ? (shown.at(-1) ?? null) : null;
  return { entries, next, indexed: index.size };
}

function stageOf(entry: Logged): Stage {
  switch (entry.kind) {
    case 'decision':
      return 'judged';
    case 'signature':
      return 'signed';
    case 'hold':
      return 'settled';
    case 'outcome':
      return 'ran';
    default:
      return 'recorded';
  }
}

/**
 * The whole chain of an operation or a hold: a statement sent again after approval is another
 * operation of the same hold.
 */
export async function story(index: Finder, read: Read, id: string): Promise<Story> {
  const operations = new Set<string>();
  const holds = new Set<string>();
  const places = new Set<number>();
  const ask: [column: 'operation' | 'hold', value: string][] = [
    ['operation', id],
    ['hold', id],
  ];
  for (let next = ask.pop(); next !== undefined; next = ask.pop()) {
    const [column, value] = next;
    const known = column === 'operation' ? operations : holds;
    if (known.has(value)) continue;
    const rows = await index.query(
      `SELECT place, operation, hold FROM entry WHERE ${column} = ? LIMIT ${STORY_ENTRIES_MAX}`,
      [value],
    );
    if (rows.length > 0) known.add(value);
    for (const row of rows) {
      places.add(Number(row.place));
      if (typeof row.operation === 'string') ask.push(['operation', row.operation]);
      if (typeof row.hold === 'string') ask.push(['hold', row.hold]);
    }
  }
  const ordered = [...places].sort((a, b) => a - b).slice(0, STORY_ENTRIES_MAX);
  const steps = await Promise.all(
    ordered.map(async (place) => {
      const entry = await read(place);
      return { index: place, stage: stageOf(entry), entry };
    }),
  );
  return { operations: [...operations], holds: [...holds], steps };
}
