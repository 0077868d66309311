// What judging costs beside parsing, as ratios to libpg-query's own `parseSync` of the same texts:
// first sight, exact repeat, and a known shape with other literals (–: its literals matter).
// Invariant: all arms run in one process, turn by turn, on the same texts, by the catalog of a real
// server.
//
//   node test/bench/effect.ts
import { loadModule, parseSync } from 'libpg-query';
import { openCatalog } from '../../proxy/postgres/catalog.ts';
import { analyze, initialContext, loadParser } from '../../proxy/postgres/effect/analyze.ts';
import { startPostgres } from '../setup/postgres.ts';
import { median } from './measure.ts';

const SCHEMA = `
create table users (id int primary key, name text not null, email text unique);
create table orders (id int primary key, user_id int not null references users on delete cascade,
  total numeric not null default 0 check (total >= 0), status text,
  placed timestamptz default now());
create table audit (at timestamptz default now(), what text);
create table pgbench_accounts (aid int primary key, bid int, abalance int, filler char(84));
create view open_orders as select o.*, u.name from orders o join users u on u.id = o.user_id
  where status = 'open';
create function note() returns trigger language plpgsql as
  $$ begin insert into audit (what) values (tg_op); return new; end $$;
create trigger noted after update on users for each row execute function note();
`;

/** Texts that differ in `name` differ in shape; those that differ in `n` only have one shape. */
type TextOf = (name: string, n: number) => string;

const KINDS: readonly (readonly [string, TextOf])[] = [
  ['constant', (name, n) => `select ${n} as ${name}`],
  ['point select', (name, n) => `SELECT abalance ${name} FROM pgbench_accounts WHERE aid = ${n}`],
  [
    'join',
    (name, n) =>
      `select u.id as ${name}, count(*) from users u join orders o on o.user_id = u.id ` +
      `where u.id = ${n} and o.status = 'x${n}' group by 1 order by 2 desc limit 10`,
  ],
  [
    'functions',
    (name, n) =>
      `select lower(u.name) ${name}, coalesce(sum(total), 0), to_char(max(placed), 'YYYY') ` +
      `from users u, orders o where o.user_id = u.id and u.id > ${n} group by 1`,
  ],
  [
    'sub-selects',
    (name, n) =>
      `with ${name} as (select id from users where email like 'x${n}%') select * from orders ` +
      `where user_id in (select id from ${name}) and exists (select 1 from audit where what = 'y')`,
  ],
  ['view', (name, n) => `select ${name}.total from open_orders ${name} where id = ${n}`],
  [
    'insert',
    (name, n) => `insert into orders as ${name} (id, user_id, total) values (${n}, 3, 4.5)`,
  ],
  [
    'upsert',
    (name, n) =>
      `insert into users as ${name} (id, name) values (${n}, 'a') on conflict (id) ` +
      'do update set name = excluded.name returning id',
  ],
  ['update', (name, n) => `UPDATE users ${name} SET name = 'a${n}' WHERE id = ${n}`],
  ['delete', (name, n) => `delete from users ${name} where id = ${n}`],
  ['savepoint', (name) => `savepoint ${name}`],
  ['set', (name, n) => `set work_mem = '${n}kB' /* ${name} */`],
  [
    'create table',
    (name, n) => `create table ${name} (id int primary key, total numeric default ${n}, note text)`,
  ],
];
const ROUNDS = 25;
/** Enough for the collector to have its share of every round. */
const TEXTS = 1000;

/** Microseconds for each text, which is made of bytes as it is in a session. */
function timed(texts: readonly string[], work: (text: string) => unknown): number {
  const read = texts.map((text) => Buffer.from(text).toString());
  const began = performance.now();
  for (const text of read) work(text);
  return ((performance.now() - began) * 1000) / texts.length;
}

async function main(): Promise<void> {
  await loadModule();
  await loadParser();
  const server = await startPostgres();
  const reader = await openCatalog(server.url(await server.createDatabase(SCHEMA)));
  const catalog = reader.current();
  const times = new Map<string, number[]>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const [kind, textOf] of KINDS) {
      const add = (arm: string, texts: readonly string[], work: (text: string) => unknown) => {
        const took = timed(texts, work);
        // The first rounds warm the compiler up, of all arms alike.
        if (round < ROUNDS / 5) return;
        const name = `${kind} ${arm}`;
        times.set(name, [...(times.get(name) ?? []), took]);
      };
      // Nothing is remembered for this one yet but what the catalog's own bodies do.
      const context = initialContext({ user: `${kind} ${round}`, search_path: ['public'] });
      const judge = (text: string) => analyze(text, context, catalog);
      const numbers = Array.from({ length: TEXTS }, (_, i) => round * TEXTS + i);
      const unseen = numbers.map((n) => textOf(`n${n}`, n));
      add('parse', unseen, parseSync);
      add('first', unseen, judge);
      add('repeat', unseen, judge);
      const alike = numbers.map((n) => textOf(`n${round * TEXTS}`, n + 1));
      const [one, other] = [judge(textOf('n', 1)), judge(textOf('n', 2))];
      if (one !== other && one.effects === other.effects) add('shape', alike, judge);
    }
  }
  console.log('statement     parseSync µs    first   repeat    shape   (ratios to parseSync)');
  for (const [kind] of KINDS) {
    const parse = times.get(`${kind} parse`) ?? [];
    const row = ['first', 'repeat', 'shape'].map((arm) => {
      const took = times.get(`${kind} ${arm}`);
      if (took === undefined) return '–'.padStart(8);
      return median(took.map((t, i) => t / (parse[i] ?? Number.NaN)))
        .toFixed(3)
        .padStart(8);
    });
    console.log(`${kind.padEnd(14)}${median(parse).toFixed(1).padStart(12)} ${row.join(' ')}`);
  }
  await reader.close();
  await server.stop();
}

await main();
