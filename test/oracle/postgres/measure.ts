// What a statement really changed: the state of a database before and after, row by row and catalog
// by catalog.
// Invariant: the server is asked, never the analysis; what can't be seen from SQL (files, memory,
// the log) is not claimed.
import type pg from 'pg';

export interface State {
  /** Rows of each table as digests, sorted, by the table's OID. */
  readonly tables: ReadonlyMap<string, { readonly name: string; readonly rows: readonly string[] }>;
  /** Count and ages of each catalog's rows. */
  readonly catalogs: ReadonlyMap<string, string>;
  readonly others: ReadonlyMap<string, string>;
}

/** The schema where the world's rows are kept, to put them back. */
export const COPIES = 'copies_of_the_oracle';

const CATALOGS =
  `pg_class pg_attribute pg_proc pg_type pg_constraint pg_index pg_trigger pg_rewrite pg_policy
  pg_attrdef
  pg_inherits pg_operator pg_cast pg_aggregate pg_namespace pg_enum pg_extension
  pg_event_trigger pg_publication
  pg_statistic_ext pg_collation pg_default_acl pg_description pg_foreign_server
  pg_partitioned_table`
    .trim()
    .split(/\s+/);

const SHARED =
  'pg_authid pg_auth_members pg_db_role_setting pg_replication_origin pg_shdescription'.split(' ');

/** An alias that is no column's name. */
const ROW = 'row_of_the_oracle';

/** Rows of a session's temporary objects are left out: they are the session's own. */
const TEMPORARY: { readonly [catalog: string]: string } = {
  pg_namespace: "where nspname !~ '^pg_(toast_)?temp_'",
};

function stamp(catalog: string): string {
  return `select '${catalog}' as name, 
    count(*) || ' ' || coalesce(sum(xmin::text::int8), 0) as value
    from ${catalog} ${TEMPORARY[catalog] ?? ''}`;
}

const OTHERS = `
  select 'sequence ' || schemaname || '.' || sequencename as name,
    coalesce(last_value::text, '') as value from pg_sequences
  union all select 'large object ' || m.oid,
    coalesce(md5(string_agg(l.data, '' order by l.pageno)), '')
    from pg_largeobject_metadata m left join pg_largeobject l on l.loid = m.oid group by m.oid
  union all select 'slot ' || slot_name, slot_type from pg_replication_slots
  ${SHARED.map((catalog) => `union all (${stamp(catalog)})`).join('\n')}`;

async function pairs(client: pg.Client, text: string): Promise<ReadonlyMap<string, string>> {
  const { rows } = await client.query<{ name: string; value: string }>(text);
  return new Map(rows.map((row) => [row.name, row.value]));
}

/** Waits for the last session's temporary objects to go, then reads everything. */
export async function readState(client: pg.Client): Promise<State> {
  for (let tries = 0; tries < 200; tries++) {
    const { rows } = await client.query<{ n: number }>(
      `select (select count(*) from pg_class where relpersistence = 't')::int
        + (select count(*) from pg_stat_activity where datname = current_database()
           and pid <> pg_backend_pid()
           and backend_type = 'client backend')::int as n`,
    );
    if (rows[0]?.n === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const { rows: names } = await client.query<{ name: string; oid: string }>(
    `select c.oid::text as oid, format('%I.%I', n.nspname, c.relname) as name
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'm') and c.relispopulated
       and n.nspname !~ '^(pg_|information_schema|${COPIES})'`,
  );
  const tables = new Map<string, { name: string; rows: readonly string[] }>();
  if (names.length > 0) {
    const each = names.map(
      ({ name, oid }) =>
        `select '${oid} ${name.replaceAll("'", "''")}' as name,
          array(select md5(record_out(${ROW})::text) from only ${name} ${ROW} order by 1) as rows`,
    );
    // A table keeps its OID under whatever name; a partition counts with the others of its table.
    const { rows } = await client.query<{ name: string; rows: string[] }>(each.join(' union all '));
    for (const row of rows) {
      const [oid = '', ...name] = row.name.split(' ');
      tables.set(oid, { name: name.join(' '), rows: row.rows });
    }
  }
  return {
    tables,
    catalogs: await pairs(client, CATALOGS.map(stamp).join(' union all ')),
    others: await readOthers(client),
  };
}

export function readOthers(client: pg.Client): Promise<ReadonlyMap<string, string>> {
  return pairs(client, OTHERS);
}

export interface TableChange {
  readonly table: string;
  readonly removed: number;
  readonly added: number;
  readonly before: number;
  /** null when the table is gone. */
  readonly after: number | null;
}

export interface Change {
  readonly tables: readonly TableChange[];
  readonly catalogs: readonly string[];
  readonly others: readonly string[];
}

function withoutAll(from: readonly string[], what: readonly string[]): number {
  const counts = new Map<string, number>();
  for (const item of what) counts.set(item, (counts.get(item) ?? 0) + 1);
  let left = 0;
  for (const item of from) {
    const count = counts.get(item) ?? 0;
    if (count > 0) counts.set(item, count - 1);
    else left += 1;
  }
  return left;
}

function differing(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): string[] {
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].filter((name) => before.get(name) !== after.get(name));
}

export function difference(before: State, after: State): Change {
  const tables: TableChange[] = [];
  for (const [oid, { name: table, rows }] of before.tables) {
    const now = after.tables.get(oid)?.rows;
    if (now === undefined) {
      tables.push({ table, removed: rows.length, added: 0, before: rows.length, after: null });
      continue;
    }
    const removed = withoutAll(rows, now);
    const added = withoutAll(now, rows);
    if (removed + added > 0)
      tables.push({ table, removed, added, before: rows.length, after: now.length });
  }
  return {
    tables,
    catalogs: differing(before.catalogs, after.catalogs),
    others: differing(before.others, after.others),
  };
}

export function isNothing(change: Change): boolean {
  return change.tables.length + change.catalogs.length + change.others.length === 0;
}
