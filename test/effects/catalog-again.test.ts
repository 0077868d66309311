// What is read again after a change: only what may have changed, and never less.
// Invariant: after any DDL the snapshot is equal to one that is read whole, and what lies apart is
// not read again; a failure prints the seed and the statements that led to it.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type pg from 'pg';
import { buildSnapshot, factsOf } from '../../proxy/postgres/catalog/build.ts';
import { assembled, slices } from '../../proxy/postgres/catalog/hand-over.ts';
import { type Facts, NO_FACTS, rangesBetween } from '../../proxy/postgres/catalog/rows.ts';
import {
  type CatalogReader,
  type CatalogSnapshot,
  openCatalog,
} from '../../proxy/postgres/catalog.ts';
import { dice } from '../peers/cutter.ts';
import {
  type PostgresServer,
  skipWithoutPostgres,
  startPostgres,
  VERSIONS,
} from '../setup/postgres.ts';
import { DDL_SCHEMA, RandomDdl } from './catalog-ddl.ts';

const SECONDS = Number(process.env.HOLDPOINT_SECONDS ?? 0);
const SEED = Number(process.env.HOLDPOINT_SEED ?? 7);
const LEAST = 30;

/** All of a snapshot but its number. */
function shown(snapshot: CatalogSnapshot | null): object {
  return { ...snapshot, version: 0 };
}

for (const version of VERSIONS) {
  describe(`PostgreSQL ${version}`, { skip: skipWithoutPostgres(version) }, () => {
    let server: PostgresServer;
    let admin: pg.Client;
    let reader: CatalogReader;
    let whole: CatalogReader;

    before(async () => {
      server = await startPostgres({ version });
      const database = await server.createDatabase(DDL_SCHEMA);
      admin = await server.connect(database);
      reader = await openCatalog(server.url(database));
      whole = await openCatalog(server.url(database));
    });
    after(async () => {
      await admin?.end();
      await reader?.close();
      await whole?.close();
      await server?.stop();
    });

    test('is equal to what is read whole, after any DDL', async (t) => {
      const roll = dice(SEED);
      const random = new RandomDdl(roll);
      const done: string[] = [];
      const end = performance.now() + SECONDS * 1000;
      let steps = 0;
      let other: { facts: Facts; built: CatalogSnapshot } | null = null;
      for (; steps < LEAST || performance.now() < end; steps++) {
        // Most fail: names are not there, or are there already.
        let left = 1 + roll(3);
        for (let tries = 0; left > 0 && tries < 30; tries++) {
          const sql = random.step();
          await admin.query(sql).then(
            () => {
              left -= 1;
              done.push(sql);
            },
            () => admin.query('rollback'),
          );
        }
        await reader.probe();
        await whole.refresh();
        const why = `HOLDPOINT_SEED=${SEED}, after\n${done.slice(-8).join(';\n')}`;
        assert.deepEqual(shown(reader.current()), shown(whole.current()), why);
        other = handedOver(other, reader.current(), why);
      }
      t.diagnostic(`${steps} looks, after ${done.length} changes`);
    });
  });
}

const TABLES = `
create table first (id int primary key);
select lo_unlink(lo_create(0)) from generate_series(1, 300);
create table second (id int references first, a int);
select lo_unlink(lo_create(0)) from generate_series(1, 300);
create table third (id int)`;

describe('what is read again', { skip: skipWithoutPostgres(18) }, () => {
  let server: PostgresServer;
  let admin: pg.Client;
  let reader: CatalogReader;
  before(async () => {
    server = await startPostgres();
    const database = await server.createDatabase(TABLES);
    admin = await server.connect(database);
    reader = await openCatalog(server.url(database));
  });
  after(async () => {
    await admin?.end();
    await reader?.close();
    await server?.stop();
  });

  /** Which of these are the same objects as before. */
  async function kept(look: () => Promise<unknown>): Promise<string[]> {
    const named = () => reader.current()?.relations_named;
    const were = named();
    await look();
    const same = (name: string) => {
      const relation = were?.get(name)?.[0];
      return relation !== undefined && named()?.get(name)?.[0] === relation;
    };
    return ['first', 'second', 'third'].filter(same);
  }

  for (const [sql, stay] of [
    ['create table fresh (id int)', ['first', 'second']],
    ['alter table second add column c int', ['third']],
    ['create index on first (id)', ['second', 'third']],
    ['alter table second drop constraint second_id_fkey', ['third']],
    ['alter table third add column c int', ['first', 'second']],
    ['drop table second', ['first', 'third']],
    ['alter table first rename to second', []],
    ['create collation c (locale = "C")', []],
  ] as const) {
    test(`what is far from ${sql} is not`, async () => {
      await admin.query(`${sql}; select lo_unlink(lo_create(0)) from generate_series(1, 300)`);
      const same = await kept(() => reader.probe());
      for (const name of stay) assert.ok(same.includes(name), `${name} was read again`);
      if (stay.length === 0) assert.deepEqual(same, []);
    });
  }

  test('it is everything over a new connection', async () => {
    assert.equal(await reader.probe(), false);
    await admin.query(`select pg_terminate_backend(pid, 30000) from pg_stat_activity
      where application_name = 'holdpoint catalog'`);
    const again = (): Promise<boolean> => reader.probe().catch(again);
    assert.deepEqual(await kept(again), []);
  });
});

/** What a thread makes of it. */
function handedOver(
  known: { facts: Facts; built: CatalogSnapshot } | null,
  snapshot: CatalogSnapshot | null,
  why: string,
) {
  assert.ok(snapshot);
  const now = factsOf(snapshot);
  const before = known?.facts ?? NO_FACTS;
  const pieces = [...slices(before, now, 100)].flatMap((slice) => structuredClone(slice));
  const base = known === null ? NO_FACTS : factsOf(known.built);
  const facts = assembled(base, rangesBetween(before, now), pieces);
  const built = buildSnapshot(facts, snapshot.version, known?.built ?? null);
  assert.deepEqual(built, snapshot, why);
  return { facts: now, built };
}
