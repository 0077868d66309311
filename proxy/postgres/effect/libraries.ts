// What functions in C do, for the extensions that ship with PostgreSQL and others that were tried.
// Invariant: a library that is not here is `unknown`, and so is a symbol that libraries.txt does
// not list for it; of those listed, all but the ones below only return values.
import { readFileSync } from 'node:fs';
import type { BuiltinEffect } from './builtins.ts';

const words = (text: string): string[] => text.trim().split(/\s+/);

/** Their sources were looked through, or what they import was, and their functions tried. */
export const REVIEWED: ReadonlySet<string> = new Set(
  words(`
  _int adminpack amcheck autoinc bloom btree_gin btree_gist citext cube dblink dict_int
  dict_snowball dict_xsyn earthdistance file_fdw fuzzystrmatch hstore insert_username isn lo ltree
  moddatetime old_snapshot pageinspect pg_buffercache pg_freespacemap pg_logicalinspect pg_prewarm
  pg_stat_statements pg_surgery pg_trgm pg_visibility pg_walinspect pgcrypto pgrowlocks pgstattuple
  pgxml postgres_fdw refint seg sslinfo tablefunc tcn tsm_system_rows tsm_system_time
  unaccent uuid-ossp

  address_standardizer asn1oid extra_window_functions first_last_agg h3 h3_postgis hll hypopg
  icu_ext ip4r jsquery numeral orafce pg_dirtyread pg_hashids pg_qualstats pg_rational
  pg_similarity pg_stat_kcache pg_uuidv7 pg_wait_sampling pgaudit pgmp pgpcre pointcloud postgis
  postgis_raster postgis_sfcgal prefix q3c rum semver tdigest timescaledb toastinfo unit vector`),
);

/** Character-set conversions that come with the server. */
const CONVERSION = /^[a-z0-9]+_and_[a-z0-9]+$|^euc2004_sjis2004$|^latin2_and_win1250$/;

type Line = readonly [library: string, symbols: RegExp, effect: Partial<BuiltinEffect>];

const UNKNOWN = { class: 'unknown' } as const;
const SESSION = { class: 'session', verb: 'set' } as const;
const RESET = { class: 'admin', verb: 'reset' } as const;
const READS_FILE = { class: 'admin', verb: 'read', kind: 'file' } as const;

/** The first line that fits counts. */
const EFFECTS: readonly Line[] = [
  [
    'adminpack',
    /write|rename|unlink|sync/,
    { class: 'admin', verb: 'write', kind: 'file', argument: 0 },
  ],
  ['adminpack', /logdir_ls|file_read/, READS_FILE],
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
  ['pg_stat_statements', /reset/, RESET],
  ['pg_prewarm', /^autoprewarm/, { class: 'admin', verb: 'configure' }],
  ['pg_buffercache', /evict|mark_dirty/, { class: 'admin', verb: 'alter' }],
  ['pg_trgm', /^set_limit$/, SESSION],
  ['isn', /^accept_weak_input$/, SESSION],
  // Rows come out of them, dead ones too.
  ['pageinspect', /^get_raw_page/, { runs: 'relation' }],
  ['pg_dirtyread', /./, { runs: 'relation' }],
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
  ['postgres_fdw', /disconnect/, SESSION],
  // Trigger functions that change other tables.
  ['refint', /^check_foreign_key$/, { class: 'destructive', verb: 'delete' }],
  ['lo', /^lo_manage$/, { class: 'destructive', verb: 'delete', kind: 'large-object' }],
  ['tcn', /./, { class: 'write', verb: 'notify' }],
  ['autoinc', /./, { class: 'write', verb: 'nextval', kind: 'sequence', access: 'update' }],

  // It runs queries on tables that arguments name, put into the text as they are.
  ['address_standardizer', /^standardize_address/, UNKNOWN],
  // Expressions and functions given by name are run, tables given by name are read.
  ['postgis_raster', /mapalgebra|coverage/i, UNKNOWN],
  ['postgis_raster', /addBandOutDB|fromGDALRaster/, READS_FILE],
  [
    'postgis_raster',
    /asGDALRaster|GDALWarp|contour|interpolate|asRaster/i,
    { runs: 'spatial_ref_sys' },
  ],
  // It makes a table of what is in the data; the trigger reads what its arguments name.
  ['postgis', /tablefromflatgeobuf|^check_authorization$/, UNKNOWN],
  ['postgis', /^geom_from_gml$/, { runs: 'spatial_ref_sys' }],
  // Members of a row become JSON by casts that users may have made.
  ['postgis', /^(ST_AsGeoJsonRow|ROW_to_geojson)$/i, { runs: 'json' }],
  ['hypopg', /^hypopg_create_index$/, { runs: 'hypothetical' }],
  ['hypopg', /reset|drop|hide/, SESSION],
  ['hll', /^hll_set_/, SESSION],
  ['icu_ext', /^icu_set_/, SESSION],
  ['unit', /^unit_(reset|load)/, SESSION],
  ['pgmp', /rand/, SESSION],
  ['pg_qualstats', /reset/, RESET],
  ['pg_stat_kcache', /reset/, RESET],
  ['pg_wait_sampling', /reset/, RESET],
  // Messages to other sessions, SQL made as it runs.
  ['orafce', /^dbms_(alert|pipe|sql)_/, UNKNOWN],
  ['orafce', /^utl_file_(fopen|fremove|frename|fcopy|put|new_line|fflush|fclose)/, UNKNOWN],
  ['orafce', /^utl_file_/, READS_FILE],
  ['orafce', /^(dbms_(output|random)_|ora_set_|plvsubst_setsubst)/, SESSION],
  ['orafce', /^plvdate_(set|unset|use|include|default)/, SESSION],
  // Older versions mark by a trigger what a continuous aggregate has to do again, and keep rows out
  // of the table above the chunks.
  [
    'timescaledb',
    /^ts_continuous_agg_invalidation_trigger$/,
    { class: 'write', verb: 'insert', kind: 'table' },
  ],
  ['timescaledb', /^ts_hypertable_insert_blocker$/, { class: 'read' }],
  // Its event triggers bring its own catalog up to date.
  ['timescaledb', /^ts_timescaledb_process_ddl_event$/, { class: 'ddl', verb: 'alter' }],
  [
    'timescaledb',
    /bucket$|_(s|combine|(de)?serialize|final)func$|dimension_info_(in|out)$|internal|gapfill/,
    { class: 'read' },
  ],
  [
    'timescaledb',
    /_size$|_show$|_show_chunks$|status(_text)?$|uuid|watermark|unix_microseconds/,
    { class: 'read' },
  ],
  ['timescaledb', /./, UNKNOWN],
];

const NOTHING: BuiltinEffect = {
  class: 'read',
  verb: 'call',
  kind: 'function',
  argument: -1,
  access: 'use',
  runs: null,
};

/** `$libdir/postgis-3` → `postgis`, whatever its version; null when it is some other file. */
export function libraryName(probin: string): string | null {
  const name = /^(?:\$libdir\/)?([A-Za-z0-9_.-]+?)(?:\.so)?$/.exec(probin)?.[1];
  return name?.replace(/-\d[A-Za-z0-9.-]*$/, '') ?? null;
}

/**
 * The symbols listed for each library: its name at the start of a line, they in the lines below.
 */
export function listedLibraries(text: string): Map<string, Set<string>> {
  const lists = new Map<string, Set<string>>();
  let list = new Set<string>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    if (!line.startsWith(' ')) lists.set(line, (list = new Set()));
    else for (const symbol of words(line)) list.add(symbol);
  }
  return lists;
}

const lists = listedLibraries(readFileSync(new URL('./libraries.txt', import.meta.url), 'utf8'));

/** What a C function does beyond returning a value; null: nothing; undefined: not known. */
export function libraryEffect(
  probin: string | null,
  symbol: string,
): BuiltinEffect | null | undefined {
  const library = probin === null ? null : libraryName(probin);
  if (library === null) return undefined;
  if (CONVERSION.test(library)) return null;
  if (lists.get(library)?.has(symbol) !== true) return undefined;
  for (const [name, symbols, effect] of EFFECTS) {
    if (name !== library || !symbols.test(symbol)) continue;
    if (effect.class === 'read') return null;
    return { ...NOTHING, ...effect };
  }
  return null;
}
