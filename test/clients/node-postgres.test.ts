// node-postgres: simple, parameters, named statements, partial rows, types, notifications, cancel,
// TLS, errors.
// Invariant: what the driver sees through Holdpoint is what it sees on the server itself.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import pg from 'pg';
import { type Door, routes, running } from '../setup/routes.ts';

const SETUP = `
  create table notes (id serial primary key, body text, at timestamptz default now());
  insert into notes (body) select 'note ' || i from generate_series(1, 1000) i;`;

async function connected<T>(door: Door, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: door.url });
  client.on('error', () => {});
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/**
 * What tests of driver internals need of a Query with a row limit: it suspends its portal every
 * `rows` rows.
 */
interface LimitedQuery {
  text: string;
  values: unknown[];
  rows: number;
}

for (const route of routes()) {
  describe(`node-postgres to ${route.name}`, { skip: route.skip }, () => {
    test('simple and parameterised queries, with NULL, arrays, JSON and bytes', async () => {
      const door = await route.open(SETUP);
      await connected(door, async (client) => {
        const simple = await client.query('select count(*)::int as n from notes; select 2 as two');
        const results = simple as unknown as pg.QueryResult[];
        assert.deepEqual(
          results.map((r) => r.rows),
          [[{ n: 1000 }], [{ two: 2 }]],
        );
        const { rows } = await client.query(
          `select $1::int as i, $2::text as t, $3::int[] as a,
            $4::jsonb as j, $5::bytea as b, $6::text as u`,
          [
            7,
            null,
            [1, 2],
            { deep: { é: '☃' } },
            Buffer.from([0, 1, 255]),
            "'; drop table notes --",
          ],
        );
        assert.deepEqual(rows, [
          {
            i: 7,
            t: null,
            a: [1, 2],
            j: { deep: { é: '☃' } },
            b: Buffer.from([0, 1, 255]),
            u: "'; drop table notes --",
          },
        ]);
        const changed = await client.query('update notes set body = $2 where id = $1', [3, 'new']);
        assert.deepEqual([changed.command, changed.rowCount], ['UPDATE', 1]);
      });
    });

    test('a named statement is prepared once and used again', async () => {
      const door = await route.open(SETUP);
      await connected(door, async (client) => {
        for (const id of [1, 500, 1000]) {
          const query = {
            name: 'by-id',
            text: 'select body from notes where id = $1',
            values: [id],
          };
          assert.deepEqual((await client.query(query)).rows, [{ body: `note ${id}` }]);
        }
        const { rows } = await client.query('select name, statement from pg_prepared_statements');
        assert.deepEqual(rows, [
          { name: 'by-id', statement: 'select body from notes where id = $1' },
        ]);
      });
    });

    test('binary results', async () => {
      const door = await route.open(SETUP);
      await connected(door, async (client) => {
        const query = {
          text: 'select id, $1::int8 as big from notes where id < 3',
          values: [5],
          binary: true,
        };
        const { rows } = await client.query(query as pg.QueryConfig);
        assert.deepEqual(
          rows.map((r) => r.id),
          [1, 2],
        );
      });
    });

    test('rows taken in portions from one portal', async () => {
      const door = await route.open(SETUP);
      await connected(door, async (client) => {
        const portions: LimitedQuery = {
          text: 'select id from notes where id > $1 order by id',
          values: [0],
          rows: 64,
        };
        const { rows } = await client.query(portions as pg.QueryConfig);
        assert.equal(rows.length, 1000);
        assert.deepEqual([rows[0], rows[999]], [{ id: 1 }, { id: 1000 }]);
      });
    });

    test('transactions, savepoints and a failed one', async () => {
      const door = await route.open(SETUP);
      await connected(door, async (client) => {
        await client.query('begin');
        await client.query('insert into notes (body) values ($1)', ['kept']);
        await client.query('savepoint s');
        await assert.rejects(client.query('select 1 / 0'), { code: '22012' });
        await assert.rejects(client.query('select 1'), { code: '25P02' });
        await client.query('rollback to savepoint s');
        await client.query('commit');
        const { rows } = await client.query(
          "select count(*)::int as n from notes where body = 'kept'",
        );
        assert.deepEqual(rows, [{ n: 1 }]);
      });
    });

    test('notifications from another session', async () => {
      const door = await route.open();
      await connected(door, async (listener) => {
        await listener.query('listen events');
        const heard = new Promise<pg.Notification>((resolve) =>
          listener.once('notification', resolve),
        );
        await connected(door, (client) => client.query("select pg_notify('events', 'payload')"));
        assert.equal((await heard).payload, 'payload');
      });
    });

    test('an error keeps its code, detail, table and constraint', async () => {
      const door = await route.open(SETUP);
      await connected(door, async (client) => {
        const again = client.query('insert into notes (id, body) values ($1, $2)', [1, 'x']);
        await assert.rejects(again, {
          code: '23505',
          detail: 'Key (id)=(1) already exists.',
          table: 'notes',
          constraint: 'notes_pkey',
        });
        const parse = client.query('selec 1');
        await assert.rejects(parse, { code: '42601', position: '1' });
      });
    });

    test('queries queued at once come back in order', async () => {
      const door = await route.open(SETUP);
      await connected(door, async (client) => {
        const asked = Array.from({ length: 50 }, (_, i) =>
          client.query('select $1::int as n', [i]),
        );
        const answers = await Promise.all(asked);
        assert.deepEqual(
          answers.map((a) => a.rows[0].n),
          Array.from({ length: 50 }, (_, i) => i),
        );
      });
    });

    test('a cancel from a second connection ends a running query', async () => {
      const door = await route.open();
      await connected(door, async (client) => {
        const { processID, secretKey } = client as unknown as {
          processID: number;
          secretKey: number;
        };
        assert.ok(processID !== undefined && secretKey !== undefined);
        const sleeping = client.query('select pg_sleep(30)');
        const gone = assert.rejects(sleeping, { code: '57014' });
        await running(door, 'pg_sleep(30)');
        const canceller = new pg.Client({ connectionString: door.url });
        (canceller as unknown as { cancel(c: unknown, q: unknown): void }).cancel(
          client,
          activeQuery(client),
        );
        await gone;
        assert.deepEqual((await client.query('select 1 as one')).rows, [{ one: 1 }]);
      });
    });

    test('a pool of ten serves a hundred at once', async () => {
      const door = await route.open(SETUP);
      const pool = new pg.Pool({ connectionString: door.url, max: 10 });
      const asked = Array.from({ length: 100 }, (_, i) =>
        pool.query('select body from notes where id = $1', [i + 1]),
      );
      const answers = await Promise.all(asked);
      assert.ok(answers.every((a, i) => a.rows[0].body === `note ${i + 1}`));
      await pool.end();
    });
  });
}

/** node-postgres cancels the query that is active on the other client. */
function activeQuery(client: pg.Client): unknown {
  const inside = client as unknown as { activeQuery?: unknown; _activeQuery?: unknown };
  return inside._activeQuery ?? inside.activeQuery;
}
