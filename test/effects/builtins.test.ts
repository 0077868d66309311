// The table of built-in functions: every volatile one is spoken of, on every server at hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { builtinBehind, builtinNamed, unreviewed } from '../../proxy/postgres/effect/builtins.ts';
import { sharedPostgres, skipWithoutPostgres, VERSIONS } from '../setup/postgres.ts';

test('every volatile built-in has been reviewed', () => {
  assert.deepEqual(unreviewed(), []);
});

for (const version of VERSIONS) {
  test(`every function of PostgreSQL ${version} is in the table`, {
    skip: skipWithoutPostgres(version),
  }, async () => {
    const server = await sharedPostgres(version);
    const client = await server.connect('postgres');
    try {
      const { rows } = await client.query<{ name: string; volatility: string; symbol: string }>(
        `select p.proname as name, p.provolatile as volatility, p.prosrc as symbol
         from pg_proc p join pg_language l on l.oid = p.prolang
         where p.oid < 16384 and p.pronamespace = 'pg_catalog'::regnamespace
           and l.lanname = 'internal'`,
      );
      assert.ok(rows.length > 2000);
      const missing = rows.filter(
        (row) => builtinNamed(row.name) === undefined || builtinBehind(row.symbol) === undefined,
      );
      assert.deepEqual(
        missing.map((row) => row.name),
        [],
      );
      const order = 'isv';
      const milder = rows.filter(
        (row) =>
          order.indexOf(builtinNamed(row.name)?.volatility ?? 'i') < order.indexOf(row.volatility),
      );
      assert.deepEqual(
        milder.map((row) => row.name),
        [],
      );
    } finally {
      await client.end();
      await server.stop();
    }
  });
}
