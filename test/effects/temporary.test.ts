// What goes when temporary objects go: DISCARD drops them, and what lasts but hangs on one of them.
// Invariant: the server is asked what was lost; the judgement is made before, by its catalog.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { openCatalog } from '../../proxy/postgres/catalog.ts';
import { analyze, initialContext, loadParser } from '../../proxy/postgres/effect/analyze.ts';
import type { Parsed } from '../../proxy/postgres/statement.ts';
import { type PostgresServer, sharedPostgres } from '../setup/postgres.ts';

const WORLD = `
  create table users (id int primary key, name text, age int);
  insert into users values (1, 'ann', 40);
  create sequence tickets;
  create function noted() returns trigger language plpgsql as 'begin return new; end';
  create policy own on users using (true);`;

interface Case {
  readonly what: string;
  readonly made: string;
  readonly told: string;
  /** Is true as long as nothing that lasts was lost. */
  readonly whole: string;
}

const CASES: readonly Case[] = [
  {
    what: 'temporary things alone',
    made: `create temp table t (id serial primary key, name text default lower('X'),
        ticket bigint default nextval('tickets'), check (id > 0));
      create index on t (name); create temp view v as select t.id from users join t using (id);
      create trigger n before insert on t for each row execute function noted();
      create function pg_temp.twice(i int) returns int language sql as 'select 2 * i';`,
    told: 'session',
    whole: `select to_regclass('tickets') is not null as whole`,
  },
  {
    what: 'a column of a temporary type',
    made: `create domain pg_temp.text as pg_catalog.text;
      alter table users alter name type pg_temp.text;`,
    told: 'destructive',
    whole: `select count(*) = 3 as whole from pg_attribute
      where attrelid = 'users'::regclass and attnum > 0 and not attisdropped`,
  },
  {
    what: 'a function that takes a temporary row',
    made: `create temp table t (id int);
      create function of_row(t t) returns int language sql as 'select 1';`,
    told: 'ddl',
    whole: `select exists (select from pg_proc where proname = 'of_row') as whole`,
  },
  {
    what: 'a policy by a temporary function',
    made: `create function pg_temp.may() returns bool language sql as 'select true';
      create policy mine on users using (pg_temp.may());`,
    told: 'ddl',
    whole: `select count(*) = 2 as whole from pg_policy`,
  },
  {
    what: 'an index by a temporary function',
    made: `create function pg_temp.twice(i int) returns int language sql immutable
        as 'select 2 * i';
      create unique index twice on users (pg_temp.twice(age));`,
    told: 'ddl',
    whole: `select to_regclass('twice') is not null as whole`,
  },
];

describe('temporary objects', () => {
  let server: PostgresServer;
  before(async () => {
    await loadParser();
    server = await sharedPostgres(18);
  });
  after(() => server?.stop());

  async function judged(database: string, statement: string): Promise<Parsed> {
    const reader = await openCatalog(server.url(database));
    try {
      const context = initialContext({ user: 'postgres', search_path: ['public'] });
      return analyze(statement, context, reader.current());
    } finally {
      await reader.close();
    }
  }

  for (const { what, made, told, whole } of CASES) {
    for (const statement of ['discard temp', 'discard all']) {
      test(`${statement}: ${what}`, async () => {
        const database = await server.createDatabase(WORLD);
        const session = await server.connect(database);
        try {
          await session.query(made);
          const parsed = await judged(database, statement);
          await session.query(statement);
          const { rows } = await session.query(whole);
          assert.equal(parsed.class, told);
          assert.equal(rows[0]?.whole, told === 'session');
        } finally {
          await session.end();
        }
      });
    }
  }

  test('a column that gets a type of users’ may lose its data', async () => {
    const database = await server.createDatabase(
      `${WORLD} create schema other; create domain other.int8 as int check (value > 40);`,
    );
    const age = async (type: string) =>
      (await judged(database, `alter table users alter age type ${type}`)).class;
    assert.equal(await age('other.int8'), 'destructive');
    assert.equal(await age('int8'), 'ddl');
  });
});
