// The catalog that statements are judged by: every change of it is seen by the probe, whatever its
// size, and nothing else is taken for one.
// Invariant: the server is a real one, and changes are made by another connection than the
// reader's.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import pg from 'pg';
import { LIMITS } from '../../proxy/limits.ts';
import { buildSnapshotInSteps, factsOf } from '../../proxy/postgres/catalog/build.ts';
import { type CatalogReader, openCatalog } from '../../proxy/postgres/catalog.ts';
import { skipWithoutPostgres, startPostgres, VERSIONS } from '../setup/postgres.ts';

const SCHEMA = `
create table t (id int primary key, a int, b text);
create table child (id int references t);
create function f() returns trigger language plpgsql as 'begin return new; end';
create type mood as enum ('sad', 'happy');
create domain positive as int;
insert into t select g, g, 'x' from generate_series(1, 100) g;
`;

/** One for each catalogue that the probe looks at, and then some. */
const CHANGES = [
  'create table fresh (id int)',
  'alter table t add column c int default 1',
  'alter table t rename column c to d',
  'alter table t alter column d set not null',
  'alter table t alter column d set default 3',
  'alter table t drop column d',
  'create index on t (a)',
  'create trigger tr before update on t for each row execute function f()',
  'alter table t disable trigger tr',
  'drop trigger tr on t',
  `create or replace function f() returns trigger language plpgsql as 'begin return null; end'`,
  'alter function f() security definer',
  'create rule r as on delete to child do instead nothing',
  'create view v as select * from t',
  'create or replace view v as select id, a, b from t where a > 1',
  'alter table child drop constraint child_id_fkey',
  'alter table child add constraint k foreign key (id) references t on delete cascade',
  'alter table t enable row level security',
  'create policy p on t using (a > 0)',
  'alter policy p on t using (a > 1)',
  `alter domain positive add constraint c check (value > 0)`,
  `alter type mood add value 'angry'`,
  'create operator === (leftarg = int, rightarg = int, function = int4eq)',
  'create operator class oc for type int using btree as function 1 btint4cmp(int, int)',
  'create cast (mood as int) with inout',
  'create schema s',
  'alter table child set schema s',
  'create statistics st on a, b from t',
  `alter role current_user set work_mem = '5MB'`,
  'alter role current_user reset work_mem',
  'create table heir () inherits (t)',
  'alter table heir no inherit t',
  'create sequence sq',
  'alter sequence sq owned by t.a',
  "create function g() returns int language sql as 'select 1'",
  'alter extension plpgsql add function g()',
  'alter extension plpgsql drop function g()',
  'alter role catalog_one rename to catalog_two',
  'drop table fresh',
  'drop schema s cascade',
];

const NO_CHANGES = [
  'select 1',
  'insert into t values (1000, 1, null)',
  'update t set a = a + 1',
  'delete from t where id = 1000',
  'analyze t',
  'vacuum t',
  'vacuum full t',
  'reindex table t',
  'truncate t cascade',
  'comment on table t is null',
  'create role catalog_one',
  'begin; create table never (id int); rollback',
];

for (const version of VERSIONS) {
  describe(`the probe, PostgreSQL ${version}`, { skip: skipWithoutPostgres(version) }, () => {
    let server: Awaited<ReturnType<typeof startPostgres>>;
    let reader: CatalogReader;
    let admin: pg.Client;
    let url: string;

    before(async () => {
      server = await startPostgres({ version });
      url = server.url(await server.createDatabase(SCHEMA));
      reader = await openCatalog(url);
      admin = new pg.Client({ connectionString: url });
      await admin.connect();
    });
    after(async () => {
      await admin?.end();
      await reader?.close();
      await server?.stop();
    });

    for (const sql of NO_CHANGES) {
      test(`takes nothing for a change in ${sql}`, async () => {
        await reader.probe();
        await admin.query(sql);
        assert.equal(await reader.probe(), false);
      });
    }

    for (const sql of CHANGES) {
      test(`sees ${sql}`, async () => {
        await reader.probe();
        const before = reader.current()?.version;
        await admin.query(sql);
        assert.equal(await reader.probe(), true);
        assert.notEqual(reader.current()?.version, before);
        assert.equal(await reader.probe(), false, 'once');
      });
    }

    test('sees a change when it commits, though it began before the catalog was read', async () => {
      await admin.query('begin; create table late (id int)');
      await reader.refresh();
      assert.equal(await reader.probe(), false);
      // Others commit meanwhile.
      const other = new pg.Client({ connectionString: url });
      await other.connect();
      await other.query('insert into t values (2000, 1, null)');
      assert.equal(await reader.probe(), false);
      await admin.query('commit');
      assert.equal(await reader.probe(), true);
      assert.ok(reader.current()?.relations_named.has('late'));
      await other.query('begin; drop table late; savepoint a; create table later (id int)');
      assert.equal(await reader.probe(), false);
      await other.query('commit');
      assert.equal(await reader.probe(), true);
      assert.ok(reader.current()?.relations_named.has('later'));
      await other.end();
    });

    test('what is seen while the catalog is being read is not forgotten', async () => {
      const reading = reader.refresh();
      await new Promise((resolve) => setImmediate(resolve));
      reader.invalidate();
      await reading;
      assert.equal(reader.stale, true);
      await reader.probe();
      assert.equal(reader.stale, false);
      const probing = reader.probe();
      await new Promise((resolve) => setImmediate(resolve));
      reader.invalidate();
      assert.equal(reader.stale, true, 'while it is being asked for');
      await probing;
      assert.equal(reader.stale, true);
    });

    test('a large catalog is read whole, and put together in steps', async () => {
      const columns = Array.from({ length: 700 }, (_, n) => `c${n} int`).join(', ');
      await admin.query(`create table wide (${columns}); create table wider (${columns})`);
      await admin.query(
        Array.from({ length: LIMITS.catalog_rows }, (_, n) => `create table many_${n} ()`).join(
          ';',
        ),
      );
      assert.equal(await reader.probe(), true);
      const catalog = reader.current();
      assert.ok(catalog);
      assert.equal(catalog.relations_named.get('wide')?.[0]?.columns.length, 700);
      assert.equal(catalog.relations_named.get('wider')?.[0]?.columns.length, 700);
      for (const n of [0, LIMITS.catalog_rows - 1])
        assert.ok(catalog.relations_named.has(`many_${n}`));
      const facts = factsOf(catalog);
      let steps = 0;
      for (const _ of buildSnapshotInSteps(facts, 1)) steps += 1;
      const parts = [facts.small, ...facts.ranges.values()];
      const rows = parts.flatMap((part) => Object.values(part)).flat().length;
      assert.ok(steps >= rows / 1000, `${steps} steps for ${rows} rows`);
    });
  });
}
