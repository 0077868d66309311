// Schemas on the search_path that the target's role may not use: the server looks past them.
// Invariant: what is judged of a name is true of the table that the server really takes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { openCatalog } from '../../proxy/postgres/catalog.ts';
import { analyze, initialContext, loadParser } from '../../proxy/postgres/effect/analyze.ts';
import { skipWithoutPostgres, startPostgres } from '../setup/postgres.ts';

const WORLD = `
  create role app login password 'app';
  create schema closed; create schema opened;
  create table closed.t (id int primary key, n int);
  create table public.t (id int, n int); insert into public.t values (1, 1), (1, 2);
  create function closed.f(int) returns int language sql as 'select 1';
  create function public.f(bigint) returns int language plpgsql
    as 'begin delete from t; return 1; end';
  create table opened.u (id int primary key); create table public.u (id int);
  grant usage on schema opened to app;
  grant all on all tables in schema public, opened, closed to app;`;

function asApp(address: string): string {
  const url = new URL(address);
  url.username = 'app';
  url.password = 'app';
  return url.href;
}

test('what a role may use is seen to change, however it came to it', {
  skip: skipWithoutPostgres(18),
}, async () => {
  const server = await startPostgres({ version: 18 });
  try {
    const database = await server.createDatabase(WORLD);
    const reader = await openCatalog(asApp(server.url(database)));
    const admin = await server.connect(database);
    const closed = () => reader.current()?.closed_schemas.has('closed');
    await admin.query('create role boss; grant usage on schema closed to boss');
    await reader.probe();
    assert.equal(closed(), true);
    await admin.query('grant boss to app');
    assert.equal(await reader.probe(), true);
    assert.equal(closed(), false);
    await admin.query('revoke boss from app');
    assert.equal(await reader.probe(), true);
    assert.equal(closed(), true);
    await admin.end();
    await reader.close();
  } finally {
    await server.stop();
  }
});

test('a table in a schema that may not be used hides nothing', {
  skip: skipWithoutPostgres(18),
}, async () => {
  await loadParser();
  const server = await startPostgres({ version: 18 });
  try {
    const url = asApp(server.url(await server.createDatabase(WORLD)));
    const reader = await openCatalog(url);
    const catalog = reader.current();
    await reader.close();
    const context = initialContext({ user: 'app', search_path: 'closed, opened, public' });
    const judged = (text: string) => analyze(text, context, catalog);
    const update = 'update t set n = 5 where id = 1';
    assert.equal(judged(update).effects[0]?.rows_max, null);
    assert.equal(judged('select f(1)').class, 'destructive');
    assert.equal(judged('delete from u where id = 1').effects[0]?.rows_max, 1);
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query('set search_path = closed, opened, public');
    assert.equal((await client.query(update)).rowCount, 2);
    await client.query('select f(1)');
    assert.equal((await client.query('select from public.t')).rowCount, 0);
    await client.end();
  } finally {
    await server.stop();
  }
});
