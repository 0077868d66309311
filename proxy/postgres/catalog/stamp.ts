// By what it is seen that the catalog has changed, and what has to be read again.
// Invariant: two equal stamps mean that nothing of what facts.ts asks is another; an object whose
// facts may be others is in one of the ranges that are named, or everything is.
import { FIRST_USER_RANGE, rangeOfColumn, withinRanges } from './ranges.ts';

/**
 * Catalogs whose rows belong to one object each: a relation, a type, a routine, or in pg_depend
 * what depends. By which column, and which rows.
 */
const OWNED = {
  pg_class: 'oid',
  pg_attribute: 'attrelid',
  pg_attrdef: 'adrelid',
  pg_index: 'indrelid',
  pg_constraint: 'case when conrelid = 0 then contypid else conrelid end',
  pg_trigger: 'tgrelid',
  pg_rewrite: 'ev_class',
  pg_policy: 'polrelid',
  pg_inherits: 'inhrelid',
  pg_statistic_ext: 'stxrelid',
  pg_foreign_table: 'ftrelid',
  pg_type: 'oid',
  pg_enum: 'enumtypid',
  pg_proc: 'oid',
  pg_depend: 'objid',
} as const;
type Owned = keyof typeof OWNED;
const OWNED_NAMES = Object.keys(OWNED) as Owned[];

/** Read whole with everything: what changes here may be in the facts of any object. */
const COMMON = [
  'pg_collation',
  'pg_operator',
  'pg_opclass',
  'pg_amop',
  'pg_amproc',
  'pg_cast',
  'pg_language',
  'pg_extension',
  'pg_foreign_server',
  'pg_foreign_data_wrapper',
];

/** Asked for whenever anything has changed; names in them are looked at. */
const FRESH = ['pg_namespace', 'pg_auth_members', 'pg_event_trigger', 'pg_db_role_setting'];

/**
 * How many rows, and the sum of their xmins: a row that changes gets a newer one. Ages count back
 * from the newest transaction, and are much cheaper to add up than an xid made a text first; rows
 * as old as the database (INT_MAX) don't count.
 */
const SUM = `count(*) || ' ' || coalesce(count(age) * age('3'::xid)::int8 - sum(age), 0)`;
const AGE = 'nullif(age(xmin), 2147483647) as age';

const stamped = (catalog: string) =>
  `(select ${SUM} from (select ${AGE} from ${catalog} offset 0) as rows)`;

/** The same of each range. In-place updates (ANALYZE, VACUUM) leave it alone. */
function stampedByRange(catalog: Owned): string {
  // Columns of the system are what they are.
  const which = catalog === 'pg_attribute' ? ' where attnum > 0' : '';
  return `(select string_agg(range || ' ' || sum, ',' order by range)
    from (select ${rangeOfColumn('owner')} as range, ${SUM} as sum
      from (select ${OWNED[catalog]} as owner, ${AGE} from ${catalog}${which} offset 0) as rows
      group by 1) as ranges)`;
}

/** What roles are called and which schemas ours may use depends on much that is not ours to see. */
const ROLES = `(select count(*) || ' ' || sum(hashtextextended(rolname, oid::int8)) from pg_roles)`;
const USABLE = `(select string_agg(oid::text, ' ' order by oid) from pg_namespace
    where not has_schema_privilege(oid, 'USAGE'))`;

/** A connection may lead to another server than before, behind a pooler. */
const PLACE = `concat_ws(' ', pg_postmaster_start_time(), (select oid from pg_database
    where datname = current_database()))`;

/** What {@link probe} answers: no stamps where nothing at all has committed since. */
export type Stamp = { readonly [catalog in Owned]: string | null } & {
  readonly snapshot: string;
  readonly place: string;
  readonly common: string | null;
  readonly fresh: string | null;
};

/**
 * Asks for the stamps of the catalogs, or for none where nothing at all has committed since
 * `before`. A standby does not list what is in progress, so its snapshots tell nothing.
 */
export function probe(before: Stamp | null): string {
  const known = (before?.snapshot ?? '').replaceAll("'", '');
  const stamps = [
    ...OWNED_NAMES.map((catalog) => [stampedByRange(catalog), catalog]),
    [`concat_ws(',', ${COMMON.map(stamped).join(', ')})`, 'common'],
    [`concat_ws(',', ${FRESH.map(stamped).join(', ')}, ${ROLES}, ${USABLE})`, 'fresh'],
  ].map(([stamp, name]) => `case when now.moved then ${stamp} end as ${name}`);
  return `select now.snapshot, ${PLACE} as place, ${stamps.join(',\n')}
    from (select snapshot, snapshot <> '${known}' or pg_is_in_recovery() as moved
      from (select pg_current_snapshot()::text as snapshot) as current offset 0) as now`;
}

export type Change =
  /** Nothing has changed. */
  | null
  | 'everything'
  /** In which ranges, by catalog. */
  | ReadonlyMap<Owned, ReadonlySet<number>>;

/** What is another than before. */
export function changeBetween(before: Stamp | null, now: Stamp): Change {
  if (before === null || before.place !== now.place) return 'everything';
  if (now.common === null) return null;
  if (before.common !== now.common) return 'everything';
  const changed = new Map<Owned, ReadonlySet<number>>();
  for (const catalog of OWNED_NAMES) {
    if (before[catalog] === now[catalog]) continue;
    const ranges = differing(before[catalog] ?? '', now[catalog] ?? '');
    for (const range of ranges) if (range < FIRST_USER_RANGE) return 'everything';
    changed.set(catalog, ranges);
  }
  return changed.size === 0 && before.fresh === now.fresh ? null : changed;
}

function differing(before: string, now: string): Set<number> {
  const known = new Set(before.split(','));
  const different = new Set<number>();
  for (const each of now.split(',')) {
    if (!known.delete(each)) different.add(Number.parseInt(each, 10));
  }
  for (const gone of known) different.add(Number.parseInt(gone, 10));
  different.delete(Number.NaN);
  return different;
}

/** The ranges in which anything has changed. */
export function rangesOf(change: Exclude<Change, null | 'everything'>): Set<number> {
  return new Set([...change.values()].flatMap((ranges) => [...ranges]));
}

/** Things whose names stand in texts of what depends on them, and where they are told of. */
const NAMED: { readonly [kind: string]: readonly Owned[] } = {
  pg_class: ['pg_class', 'pg_attribute'],
  pg_type: ['pg_type', 'pg_enum'],
  pg_proc: ['pg_proc'],
};

/** The objects that rows of other catalogs belong to. */
const OWNERS: readonly (readonly [catalog: string, owner: string])[] = [
  ['pg_attrdef', OWNED.pg_attrdef],
  ['pg_constraint', OWNED.pg_constraint],
  ['pg_trigger', OWNED.pg_trigger],
  ['pg_rewrite', OWNED.pg_rewrite],
  ['pg_policy', OWNED.pg_policy],
  ['pg_statistic_ext', OWNED.pg_statistic_ext],
];

/**
 * Asks for the ranges of what depends on objects in the changed ones, through whatever lies
 * between: texts that the server deparses name them. null where nothing that is named has changed;
 * the answer has the range -1 when there is more than `most`.
 */
export function dependents(
  change: Exclude<Change, null | 'everything'>,
  most: number,
): string | null {
  const seeds: string[] = [];
  for (const [kind, catalogs] of Object.entries(NAMED)) {
    const ranges = new Set(catalogs.flatMap((catalog) => [...(change.get(catalog) ?? [])]));
    if (ranges.size === 0) continue;
    seeds.push(`select classid, objid from pg_depend where refclassid = '${kind}'::regclass
      and ${withinRanges(ranges)('refobjid')}`);
  }
  const constraints = change.get('pg_constraint');
  if (constraints !== undefined) {
    const within = withinRanges(constraints);
    seeds.push(`select classid, objid from pg_depend where refclassid = 'pg_constraint'::regclass
      and refobjid in (select oid from pg_constraint
        where ${within('conrelid')} or ${within('contypid')})`);
  }
  if (seeds.length === 0) return null;
  const renamed = withinRanges(change.get('pg_class') ?? []);
  const owners = OWNERS.map(
    ([catalog, owner]) => `select ${owner} from things join ${catalog} on oid = object
      where class = '${catalog}'::regclass`,
  );
  return `with recursive seeds(class, object) as (${seeds.join(' union all ')}),
    reached(class, object) as (select class, object from seeds
      union select next.* from reached, lateral (select classid, objid from pg_depend
        where refclassid = class and refobjid = object offset 0) as next),
    things as materialized (select class, object from reached limit ${most})
    select distinct ${rangeOfColumn('owner')} as range from (
      select object from things
        where class in ('pg_class'::regclass, 'pg_type'::regclass, 'pg_proc'::regclass)
      union all select indrelid from things join pg_index on indexrelid = object
        where class = 'pg_class'::regclass
      union all select indrelid from pg_index where ${renamed('indexrelid')}
      union all ${owners.join(' union all ')}) as owners(owner)
    union all select -1 where (select count(*) from things) = ${most}`;
}
