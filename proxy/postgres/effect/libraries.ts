// What functions in C do, for the libraries that ship with PostgreSQL and a few well-known
// extensions.
// Invariant: a library that is not here is `unknown`; in one that is, every symbol not listed only
// returns values.
import type { BuiltinEffect } from './builtins.ts';

const HARMLESS = `_int adminpack amcheck auto_explain autoinc bloom btree_gin btree_gist citext
  cube dict_int dict_snowball
  dict_xsyn earthdistance file_fdw fuzzystrmatch hstore hstore_plperl hstore_plpython3
  insert_username isn
  jsonb_plperl jsonb_plpython3 lo ltree ltree_plpython3 moddatetime old_snapshot pageinspect
  pg_buffercache
  pg_freespacemap pg_logicalinspect pg_overexplain pg_prewarm pg_stat_statements pg_surgery
  pg_trgm pg_visibility
  pg_walinspect pgcrypto pgrowlocks pgstattuple pgxml plpgsql postgres_fdw refint seg sslinfo
  tablefunc tcn
  tsm_system_rows tsm_system_time unaccent uuid-ossp dblink
  postgis-3 postgis_raster-3 postgis_topology-3 address_standardizer-3 vector pg_hint_plan hll
  pgroonga h3 rum
  semver prefix ip4r`;

const known = new Set(HARMLESS.trim().split(/\s+/));

/** Character-set conversions that come with the server. */
const CONVERSION = /^[a-z0-9]+_and_[a-z0-9]+$|^euc2004_sjis2004$|^latin2_and_win1250$/;

type Line = readonly [library: string, symbols: RegExp, effect: Partial<BuiltinEffect>];

const EFFECTS: readonly Line[] = [
  [
    'adminpack',
    /write|rename|unlink|sync/,
    { class: 'admin', verb: 'write', kind: 'file', argument: 0 },
  ],
  ['adminpack', /logdir_ls|file_read/, { class: 'admin', verb: 'read', kind: 'file' }],
  [
    'pg_surgery',
    /^heap_force_kill$/,
    { class: 'destructive', verb: 'delete', kind: 'table', argument: 0 },
  ],
  ['pg_surgery', /./, { class: 'admin', verb: 'alter', kind: 'table', argument: 0 }],
  [
    'pg_visibility',
    /^pg_truncate_visibility_map$/,
    { class: 'admin', verb: 'alter', kind: 'table', argument: 0 },
  ],
  ['pg_stat_statements', /reset/, { class: 'admin', verb: 'reset' }],
  ['pg_prewarm', /^autoprewarm/, { class: 'admin', verb: 'configure' }],
  ['pg_buffercache', /evict|mark_dirty/, { class: 'admin', verb: 'alter' }],
  ['pg_trgm', /^set_limit$/, { class: 'session', verb: 'set' }],
  // They select from what is named, which may be a view.
  ['dblink', /^dblink_build_sql_(insert|update)$/, { runs: 'relation' }],
  [
    'dblink',
    /^dblink_(get_pkey|build_sql_|current_query|get_connections|error_message|fdw_validator)/,
    { class: 'read' },
  ],
  ['dblink', /./, { class: 'admin', verb: 'connect', kind: 'server', argument: 0 }],
  ['pgxml', /^xpath_table$/, { runs: 'xpath' }],
  ['tablefunc', /^crosstab/, { runs: 'query' }],
  ['tablefunc', /^connectby/, { runs: 'connectby' }],
  ['hstore', /^hstore_populate_record$/, { runs: 'types' }],
  ['amcheck', /index/, { runs: 'indexes' }],
  // They run text of their own, with arguments put in.
  ['address_standardizer-3', /^standardize_address$/, { class: 'unknown' }],
  ['pgroonga', /command|wal|vacuum/, { class: 'unknown' }],
  ['postgres_fdw', /disconnect/, { class: 'session', verb: 'set' }],
  // Trigger functions that change other tables.
  ['refint', /^check_foreign_key$/, { class: 'destructive', verb: 'delete' }],
  ['lo', /^lo_manage$/, { class: 'destructive', verb: 'delete', kind: 'large-object' }],
  ['tcn', /./, { class: 'write', verb: 'notify' }],
  ['postgis_topology-3', /./, { class: 'unknown' }],
];

const NOTHING: BuiltinEffect = {
  class: 'read',
  verb: 'call',
  kind: 'function',
  argument: -1,
  access: 'use',
  runs: null,
};

/** `$libdir/dblink` → `dblink`; null when it is some other file. */
function libraryName(probin: string): string | null {
  const name = /^(?:\$libdir\/)?([A-Za-z0-9_.-]+?)(?:\.so)?$/.exec(probin)?.[1];
  return name ?? null;
}

/** What a C function does beyond returning a value; null: nothing; undefined: not known. */
export function libraryEffect(
  probin: string | null,
  symbol: string,
): BuiltinEffect | null | undefined {
  const library = probin === null ? null : libraryName(probin);
  if (library === null) return undefined;
  for (const [name, symbols, effect] of EFFECTS) {
    if (name !== library || !symbols.test(symbol)) continue;
    if (effect.class === 'read') return null;
    return { ...NOTHING, ...effect };
  }
  return known.has(library) || CONVERSION.test(library) ? null : undefined;
}
