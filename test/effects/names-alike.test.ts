// Names with commas and stars in them: what was found of one thing is not said of another, however
// alike their names are once they are written one after the other.
// Invariant: the first statement of each pair would give the second one the wrong answer.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type CatalogReader, openCatalog } from '../../proxy/postgres/catalog.ts';
import { analyze, initialContext, loadParser } from '../../proxy/postgres/effect/analyze.ts';
import { type PostgresServer, sharedPostgres } from '../setup/postgres.ts';

const SCHEMA = `
create table victims (id int);
create function purge() returns trigger language plpgsql as
  'begin delete from public.victims; return new; end';
create table t (id int primary key, a int, b int, "a,b" int, "*" int);
create trigger purged after update of a on t for each row execute function purge();
create view v as select id, a as x from t;
create schema s; create schema p; create schema "p,s";
create function s.f() returns int language sql as 'select 1';
create table p.u (id int primary key, a int);
create function "p,s".purge() returns int language plpgsql as
  'begin delete from public.victims; return 1; end';
create function s.purge() returns int language sql as 'select 1';
create function public.outer() returns int language plpgsql as 'begin return purge(); end';
`;

let server: PostgresServer;
let reader: CatalogReader;

before(async () => {
  await loadParser();
  server = await sharedPostgres();
  reader = await openCatalog(server.url(await server.createDatabase(SCHEMA)));
});
after(async () => {
  await reader?.close();
  await server?.stop();
});

function touched(sql: string, path: readonly string[] = ['public']): readonly string[] {
  const context = initialContext({ user: 'u', search_path: path });
  const { effects } = analyze(sql, context, reader.current());
  return effects.flatMap(({ objects }) => objects.map(({ name }) => name));
}

test('a column of two names, and two columns', () => {
  assert.ok(!touched('update t set "a,b" = 1 where id = 1').includes('victims'));
  assert.ok(touched('update t set a = 1, b = 2 where id = 1').includes('victims'));
});

test('a column of the name *, and columns that are not known', () => {
  assert.ok(!touched('update t set "*" = 1 where id = 1').includes('victims'));
  assert.ok(touched('update v set x = 1 where id = 1').includes('victims'));
});

test('a schema of two names, and two schemas', () => {
  assert.ok(!touched('select public.outer()', ['p', 's']).includes('victims'));
  assert.ok(touched('select public.outer()', ['p,s']).includes('victims'));
});
