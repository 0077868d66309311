// What a large catalog costs: asking whether it has changed, beside one count of its columns;
// reading it whole; and looking again after DDL, beside that. None of it must hold the sessions up.
// Invariant: the catalog is that of a real server; stalls are the event loop's own, as sessions
// would feel them.
//
//   node test/bench/catalog.ts [--tables=50000]
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type pg from 'pg';
import { type CatalogReader, openCatalog } from '../../proxy/postgres/catalog.ts';
import { startPostgres } from '../setup/postgres.ts';
import { median } from './measure.ts';

const GIVEN = process.argv.find((word) => word.startsWith('--tables='));
const TABLES = Number(GIVEN?.slice(9) ?? 5_000);
const COLUMNS = 11;
const ROUNDS = 15;
const READINGS = 5;

const TYPES = ['int', 'text', 'timestamptz', 'numeric'];

function tableOf(n: number): string {
  const columns = Array.from({ length: COLUMNS }, (_, i) => `c${i} ${TYPES[i % TYPES.length]}`);
  return `create table t${n} (id bigint primary key, ${columns.join(', ')});
    create index on t${n} (c1);
    create trigger touched before update on t${n} for each row execute function touch();`;
}

async function fill(client: pg.Client): Promise<void> {
  await client.query(`create table busy (id int);
    create function touch() returns trigger language plpgsql as 'begin return new; end'`);
  for (let from = 0; from < TABLES; from += 100) {
    await client.query(Array.from({ length: 100 }, (_, i) => tableOf(from + i)).join('\n'));
  }
  await client.query('vacuum analyze pg_attribute, pg_class, pg_depend');
}

async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

async function probes(client: pg.Client, reader: CatalogReader): Promise<void> {
  const [quiet, busy, count]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < ROUNDS; round++) {
    quiet.push(await milliseconds(() => reader.probe()));
    count.push(await milliseconds(() => client.query('select count(*) from pg_attribute')));
    await client.query('insert into busy values (1)');
    busy.push(await milliseconds(() => reader.probe()));
  }
  const one = median(count);
  const say = (name: string, ms: number) =>
    console.log(
      `${name.padEnd(44)}${ms.toFixed(1).padStart(8)} ${(ms / one).toFixed(2).padStart(8)}`,
    );
  console.log(`catalog of ${TABLES} tables${' '.repeat(28)}ms  of count`);
  say('count(*) of pg_attribute', one);
  say('probe, nothing has committed since', median(quiet));
  say('probe, rows have changed since', median(busy));
}

/** What a session waits for after DDL of its own; `n` is another one each time. */
const DDL: { readonly [name: string]: (n: number) => string } = {
  'create table': (n) => `create table fresh${n} (id int primary key, b text)`,
  'create index': (n) => `create index on t${n * 100} (c2)`,
  'alter table add column': (n) => `alter table t${n * 100 + 50} add column d int`,
  'add foreign key': (n) => `alter table t${n * 100 + 70} add foreign key (id) references t1`,
  'drop table': (n) => `drop table fresh${n}`,
  'create temporary table': (n) => `create temporary table brief${n} (id int)`,
};

async function readings(client: pg.Client, reader: CatalogReader): Promise<void> {
  const stalls = monitorEventLoopDelay({ resolution: 1 });
  const took: { [name: string]: number[] } = {};
  for (let reading = 0; reading <= READINGS; reading++) {
    // The first one warms the compiler up.
    if (reading === 1) {
      for (const times of Object.values(took)) times.length = 0;
      stalls.enable();
    }
    for (const [name, sql] of Object.entries(DDL)) {
      await client.query(sql(reading));
      (took[name] ??= []).push(await milliseconds(() => reader.probe()));
    }
    (took['reading it whole'] ??= []).push(await milliseconds(() => reader.refresh()));
  }
  stalls.disable();
  const whole = median(took['reading it whole'] ?? []);
  console.log(`${'after'.padEnd(44)}      ms of whole`);
  for (const [name, times] of Object.entries(took)) {
    const ms = median(times);
    const part = (ms / whole).toFixed(2);
    console.log(`${name.padEnd(44)}${ms.toFixed(1).padStart(8)} ${part.padStart(8)}`);
  }
  const longest = (stalls.max / 1e6).toFixed(1).padStart(8);
  console.log(`${'longest stall of the event loop meanwhile'.padEnd(44)}${longest}`);
  global.gc?.();
  const memory = (process.memoryUsage().heapUsed / 2 ** 20).toFixed(0).padStart(8);
  console.log(`${'memory in use at the end, MB'.padEnd(44)}${memory}`);
}

async function main(): Promise<void> {
  const server = await startPostgres();
  const database = await server.createDatabase();
  const client = await server.connect(database);
  await fill(client);
  const reader = await openCatalog(server.url(database));
  await probes(client, reader);
  await readings(client, reader);
  await reader.close();
  await client.end();
  await server.stop();
}

await main();
