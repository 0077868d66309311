// Functions in C: of extensions that Debian has, on a real server, and of libraries by their names.
// Invariant: what only computes is a read, what changes only the session is that, and what is not
// listed is unknown, in a well-known library too.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type CatalogReader, openCatalog } from '../../proxy/postgres/catalog.ts';
import { analyze, initialContext, loadParser } from '../../proxy/postgres/effect/analyze.ts';
import { libraryEffect, libraryName } from '../../proxy/postgres/effect/libraries.ts';
import { type PostgresServer, sharedPostgres, skipWithoutPostgres } from '../setup/postgres.ts';
import { skipWithout } from '../setup/programs.ts';

const WORLD = `
  create extension ip4r; create extension hll; create extension orafce; create extension hypopg;
  create extension pageinspect;
  create table hosts (id int primary key, at ip4r, seen hll, note text);
  create index on hosts using gist (at);
  create function leave_trace(x text) returns text language sql
    as $$ insert into hosts values (9, null, null, x); select x $$;
  create view watched as select id, leave_trace(note) as note from hosts;`;

const READS = [
  `select * from hosts where at >>= '10.1.2.3'::ip4r order by at limit 5`,
  `select '10.0.0.0/8'::ip4r && at, family(at::iprange) from hosts`,
  `select id, #seen, hll_cardinality(seen || hll_hash_text(note)) from hosts`,
  `select hll_cardinality(hll_add_agg(hll_hash_integer(id))) from hosts group by note`,
  `select oracle.add_months('2026-01-31'::date, 1), oracle.nvl(note, 'x') from hosts`,
  `select oracle.to_date('31.1.2026', 'DD.MM.YYYY'), oracle.listagg(note) from hosts`,
  `select hypopg_get_indexdef(indexrelid) from hypopg_list_indexes`,
  `select * from heap_page_items(get_raw_page('hosts', 0))`,
];

const SESSION = [
  `select * from hypopg_create_index('create index on hosts (note)')`,
  `select hypopg_reset()`,
  `select hll_set_output_version(1)`,
  `select dbms_output.enable(), dbms_output.put_line('x')`,
  `select dbms_random.seed(1)`,
  `set hypopg.enabled = off`,
];

const WRITES = [
  `update hosts set seen = hll_add(seen, hll_hash_text('a')) where id = 1`,
  `insert into hosts values (1, '10.1.2.3', hll_empty(), 'x')`,
];

/** At least that bad. */
const WORSE: readonly (readonly [sql: string, told: string])[] = [
  // The text, and what an index would compute, is run or may be.
  [`select hypopg_create_index('create index on hosts (leave_trace(note))')`, 'ddl'],
  [`select hypopg_create_index(note) from hosts`, 'unknown'],
  [`select dbms_sql.parse(dbms_sql.open_cursor(), 'delete from hosts')`, 'unknown'],
  [`select dbms_pipe.send_message('x')`, 'unknown'],
  [`select utl_file.fopen('/tmp', 'x', 'w')`, 'unknown'],
  [`select get_raw_page(note, 0) from hosts`, 'unknown'],
  [`set plpgsql.variable_conflict = use_variable`, 'admin'],
  [`set orafce.sys_guid_source = 'leave_trace'`, 'admin'],
  [`set postgis.gdal_enabled_drivers = 'ENABLE_ALL'`, 'admin'],
  [`select set_config('anon.transparent_dynamic_masking', 'off', false)`, 'admin'],
];

describe('extensions, PostgreSQL 15', {
  skip: skipWithoutPostgres(15) || skipWithout('extensions'),
}, () => {
  let server: PostgresServer;
  let reader: CatalogReader;
  before(async () => {
    await loadParser();
    server = await sharedPostgres(15);
    reader = await openCatalog(server.url(await server.createDatabase(WORLD)));
  });
  after(async () => {
    await reader?.close();
    await server?.stop();
  });
  const judge = (sql: string) =>
    analyze(sql, initialContext({ user: 'postgres', search_path: ['public'] }), reader.current());

  const cases = [
    ...READS.map((sql) => [sql, 'read'] as const),
    ...SESSION.map((sql) => [sql, 'session'] as const),
    ...WRITES.map((sql) => [sql, 'write'] as const),
    ...WORSE,
  ];
  for (const [sql, told] of cases) {
    test(sql, () => {
      const parsed = judge(sql);
      assert.equal(parsed.class, told, JSON.stringify(parsed.effects));
    });
  }
});

test('a library is known by its name, whatever its version', () => {
  assert.equal(libraryName('$libdir/postgis-3'), 'postgis');
  assert.equal(libraryName('$libdir/timescaledb-2.17.2.so'), 'timescaledb');
  assert.equal(libraryName('$libdir/uuid-ossp'), 'uuid-ossp');
  assert.equal(libraryName('/tmp/vector'), null);
});

describe('functions in C', () => {
  const told = (library: string, symbol: string): string => {
    const effect = libraryEffect(`$libdir/${library}`, symbol);
    if (effect === undefined) return 'unknown';
    return effect === null ? 'read' : (effect.runs ?? effect.class);
  };
  const expected: readonly (readonly [library: string, symbol: string, told: string])[] = [
    ['vector', 'l2_distance', 'read'],
    ['vector', 'a_function_of_the_next_version', 'unknown'],
    ['postgis-3', 'ST_AsGeoJsonRow', 'json'],
    ['postgis-3', 'LWGEOM_dwithin', 'read'],
    ['postgis-3', 'pgis_tablefromflatgeobuf', 'unknown'],
    ['postgis_raster-3', 'RASTER_nMapAlgebraExpr', 'unknown'],
    ['postgis_raster-3', 'RASTER_mapAlgebraFct', 'unknown'],
    ['postgis_raster-3', 'RASTER_addBandOutDB', 'admin'],
    ['address_standardizer-3', 'standardize_address1', 'unknown'],
    ['timescaledb-2.17.2', 'ts_timestamp_bucket', 'read'],
    ['timescaledb-2.17.2', 'ts_hypertable_insert_blocker', 'read'],
    ['timescaledb-2.17.2', 'ts_chunk_drop_chunks', 'unknown'],
    ['pg_cron', 'cron_schedule', 'unknown'],
    ['my_own', 'anything', 'unknown'],
  ];
  for (const [library, symbol, effect] of expected)
    test(`${library} ${symbol}: ${effect}`, () => assert.equal(told(library, symbol), effect));
});
