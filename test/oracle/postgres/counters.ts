// What a statement really changed, told by the server's own counters: rows inserted, updated and
// deleted in every table and catalog, sequences advanced, tables emptied or gone.
// Invariant: counters are read from the server after it has flushed them, never from the analysis;
// a change that was rolled back counts too, since it was tried.
import type pg from 'pg';

interface Count {
  readonly schema: string;
  readonly name: string;
  readonly kind: string;
  readonly temporary: boolean;
  readonly system: boolean;
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
  readonly live: number;
  readonly file: string;
}

export interface Reading {
  readonly total: string;
  readonly tables: ReadonlyMap<string, Count>;
  readonly sequences: ReadonlyMap<string, string>;
  /** Another number whenever anything but temporary objects is made, altered or dropped. */
  readonly lasting: string;
}

export interface Counted {
  readonly schema: string;
  readonly name: string;
  readonly temporary: boolean;
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
  /** It had rows, and has none or is gone. */
  readonly emptied: boolean;
  /** It was not there before. */
  readonly fresh: boolean;
}

export interface Counts {
  readonly tables: readonly Counted[];
  /** System catalogs with rows changed. */
  readonly catalogs: readonly string[];
  readonly sequences: readonly string[];
  readonly lasting: boolean;
}

/** Inside the session, so that what it did is told when it is idle next. */
export const FLUSH_COUNTERS = 'select pg_catalog.pg_stat_force_next_flush()';

/** Cheap: nothing is read when these are as they were. */
const TOTAL = `select concat_ws(' ',
  sum(pg_stat_get_db_tuples_inserted(oid)), sum(pg_stat_get_db_tuples_updated(oid)),
  sum(pg_stat_get_db_tuples_deleted(oid)),
  (select md5(string_agg(pg_sequence_last_value(c.oid)::text, ' ' order by c.oid)) from pg_class c
    where c.relkind = 'S' and c.relpersistence <> 't')) as total
  from (select oid from pg_database where datname = current_database() union all select 0) d`;

const TABLES = `select c.oid::text as oid, coalesce(o.oid, c.oid)::text as owner,
    n.nspname as schema, coalesce(o.relname, c.relname) as name,
    c.relkind as kind, c.relpersistence = 't' as temporary,
    coalesce(o.oid, c.oid) < 16384 as system,
    pg_stat_get_tuples_inserted(c.oid)::int as inserted,
    pg_stat_get_tuples_updated(c.oid)::int as updated,
    pg_stat_get_tuples_deleted(c.oid)::int as deleted,
    pg_stat_get_live_tuples(c.oid)::int as live, c.relfilenode::text as file
  from pg_class c
  left join pg_class o on c.relkind = 't' and o.reltoastrelid = c.oid
  join pg_namespace n on n.oid = coalesce(o.relnamespace, c.relnamespace)
  where c.relkind in ('r', 'm', 't')`;

const SEQUENCES = `select format('%I.%I', n.nspname, c.relname) as name,
    coalesce(pg_sequence_last_value(c.oid)::text, '') as value
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'S' and c.relpersistence <> 't'`;

const stamp = (catalog: string, where = 'true') =>
  `(select count(*) || '.' || coalesce(sum(xmin::text::int8), 0) from ${catalog} x where ${where})`;

/** Of a table that is not temporary. */
const of = (column: string) =>
  `not exists (select from pg_class c where c.oid = x.${column} and c.relpersistence = 't')`;

const LASTING = `select concat_ws(' ', ${[
  stamp('pg_class', "relpersistence <> 't' and relkind <> 't'"),
  stamp('pg_proc', 'not pg_is_other_temp_schema(pronamespace)'),
  stamp('pg_type', 'not pg_is_other_temp_schema(typnamespace)'),
  stamp('pg_namespace', "nspname !~ '^pg_(toast_)?temp_'"),
  stamp('pg_authid'),
  stamp('pg_extension'),
  stamp('pg_rewrite', of('ev_class')),
  stamp('pg_trigger', of('tgrelid')),
  stamp('pg_constraint', of('conrelid')),
  stamp('pg_policy', of('polrelid')),
  stamp('pg_database'),
].join(', ')}) as lasting`;

export class Counters {
  readonly #client: pg.Client;
  #last: Reading | null = null;

  constructor(client: pg.Client) {
    this.#client = client;
  }

  /** Call while the session under test is idle and holds no locks. */
  async read(): Promise<Reading> {
    const { rows } = await this.#client.query<{ total: string }>(TOTAL);
    const total = rows[0]?.total ?? '';
    if (this.#last?.total === total) return this.#last;
    const tables = new Map<string, Count>();
    for (const row of await this.#rows(TABLES))
      tables.set(String(row.oid), row as unknown as Count);
    const sequences = new Map<string, string>();
    for (const row of await this.#rows(SEQUENCES))
      sequences.set(String(row.name), String(row.value));
    const [lasting] = await this.#rows(LASTING);
    this.#last = { total, tables, sequences, lasting: String(lasting?.lasting) };
    return this.#last;
  }

  async #rows(text: string): Promise<{ readonly [column: string]: unknown }[]> {
    return (await this.#client.query<{ [column: string]: unknown }>(text)).rows;
  }
}

export function countedBetween(before: Reading, after: Reading): Counts {
  if (before === after) return { tables: [], catalogs: [], sequences: [], lasting: false };
  const tables: Counted[] = [];
  const catalogs = new Set<string>();
  for (const [oid, now] of after.tables) {
    const then = before.tables.get(oid);
    const inserted = now.inserted - (then?.inserted ?? 0);
    const updated = now.updated - (then?.updated ?? 0);
    const deleted = now.deleted - (then?.deleted ?? 0);
    const emptied = then !== undefined && now.live === 0 && then.live > 0 && now.file !== then.file;
    if (inserted + updated + deleted <= 0 && !emptied) continue;
    if (now.system) catalogs.add(now.name);
    else if (now.kind !== 't') {
      const { schema, name, temporary } = then ?? now;
      const fresh = then === undefined;
      tables.push({ schema, name, temporary, inserted, updated, deleted, emptied, fresh });
    }
  }
  for (const [oid, then] of before.tables) {
    if (after.tables.has(oid) || then.kind === 't' || then.system) continue;
    const { schema, name, temporary } = then;
    const none = { inserted: 0, updated: 0, deleted: 0, fresh: false };
    if (then.live > 0) tables.push({ schema, name, temporary, ...none, emptied: true });
  }
  const sequences = [...after.sequences]
    .filter(([name, value]) => before.sequences.has(name) && before.sequences.get(name) !== value)
    .map(([name]) => name);
  return {
    tables,
    catalogs: [...catalogs],
    sequences,
    lasting: before.lasting !== after.lasting,
  };
}

/** In an open transaction: the session's own counters since its transaction began. */
export const IN_TRANSACTION = `select c.oid::text as oid, n.nspname as schema, c.relname as name,
    c.relpersistence = 't' as temporary, c.oid < 16384 as system,
    pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid)::int as inserted,
    pg_catalog.pg_stat_get_xact_tuples_updated(c.oid)::int as updated,
    pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid)::int as deleted
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'm')
    and (pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) > 0
      or pg_catalog.pg_stat_get_xact_tuples_updated(c.oid) > 0
      or pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) > 0)`;
