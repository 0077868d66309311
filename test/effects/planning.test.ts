// Functions that run when a query is planned, because of what is known of its tables: seen in what
// the server really does, and in what we say of it.
// Invariant: a case in which nothing was lost proves nothing, and fails.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type pg from 'pg';
import { openCatalog } from '../../proxy/postgres/catalog.ts';
import { analyze, initialContext, loadParser } from '../../proxy/postgres/effect/analyze.ts';
import {
  type PostgresServer,
  sharedPostgres,
  skipWithoutPostgres,
  VERSIONS,
} from '../setup/postgres.ts';

/** `f` is labelled immutable, and is not. */
const SCHEMA = `
create table victims (id int);
create function w() returns int language plpgsql as
  'begin delete from public.victims; return 1; end';
create function f(int) returns int language plpgsql immutable as 'begin return public.w(); end';
create function g(int) returns int language sql immutable as 'select $1 + public.f(7)';
create table predicate (id int primary key, x int);
create index on predicate (id) where x > f(1);
create table checked (id int, x int check (x > f(2)));
create table expression (id int, x int);
create index on expression ((x + f(3)));
create table statistic (id int, x int);
create statistics known on (x + f(4)), id from statistic;
create table parted (id int, x int) partition by range ((id + f(5)));
create table part partition of parted for values from (0) to (10);
create table parent (id int, x int);
create table child (check (x > f(6))) inherits (parent);
create table inlined (id int, x int check (x > g(id)));
create table harmless (id int primary key, x int check (x > 0), y text check (y ~ '^a'));
create index on harmless (lower(y)) where x > 1 + 1;
`;

const QUERIES: readonly (readonly [what: string, sql: string])[] = [
  ['an index predicate', 'select * from predicate where x = 5'],
  ['a check', 'select * from checked where x < 0'],
  ['an index expression', 'select * from expression where x = 5'],
  ['a statistic', 'select * from statistic where x = 5'],
  ['a partition key', 'select * from parted where id = 3'],
  ["a child's check", 'select * from parent where x < 0'],
  ['a check that is inlined', 'select * from inlined where x < 0'],
  ['a change of nothing', 'update predicate set id = 1 where x = 5'],
  ['a plan that is shown', 'explain select * from predicate where x = 5'],
];

for (const version of VERSIONS) {
  describe(`planning, PostgreSQL ${version}`, { skip: skipWithoutPostgres(version) }, () => {
    let server: PostgresServer;
    let database: string;
    let admin: pg.Client;
    before(async () => {
      await loadParser();
      server = await sharedPostgres(version);
      database = await server.createDatabase(SCHEMA);
      admin = await server.connect(database);
    });
    after(async () => {
      await admin?.end();
      await server?.stop();
    });

    const judged = async (sql: string) => {
      const reader = await openCatalog(server.url(database));
      const context = initialContext({ user: 'postgres', search_path: ['public'] });
      const parsed = analyze(sql, context, reader.current());
      await reader.close();
      return parsed;
    };

    for (const [what, sql] of QUERIES) {
      test(`runs ${what}`, async () => {
        const parsed = await judged(sql);
        await admin.query('insert into victims values (1)');
        // A session of its own: what one has planned by, it remembers.
        const session = await server.connect(database);
        await session.query('set constraint_exclusion = on');
        await session.query(sql);
        await session.end();
        const { rows } = await admin.query('select * from victims');
        assert.equal(rows.length, 0, 'nothing was run');
        assert.equal(parsed.class, 'destructive');
        const names = parsed.effects.flatMap((effect) => effect.objects.map(({ name }) => name));
        assert.ok(names.includes('victims'), names.join(' '));
      });
    }

    test('runs nothing where all is built in', async () => {
      const parsed = await judged(`select * from harmless where lower(y) = 'a'`);
      assert.equal(parsed.class, 'read');
      assert.deepEqual(
        parsed.effects.map(({ objects }) => objects.map(({ name }) => name)),
        [['harmless']],
      );
    });
  });
}
