// postgres.js: simple, prepared, pipelined, cursors, COPY both ways, large results, listen, cancel.
// Invariant: what the driver sees through Holdpoint is what it sees on the server itself.
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describe, test } from 'node:test';
import postgres from 'postgres';
import { type Door, routes, running } from '../setup/routes.ts';

const SETUP = `
  create table points (id int primary key, x float8, label text);
  insert into points select i, i / 2.0, 'p' || i from generate_series(1, 5000) i;`;

type Sql = postgres.Sql;

async function using<T>(door: Door, use: (sql: Sql) => Promise<T>, max = 1): Promise<T> {
  const sql = postgres(door.url, { max, onnotice: () => {} });
  try {
    return await use(sql);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

for (const route of routes()) {
  describe(`postgres.js to ${route.name}`, { skip: route.skip }, () => {
    test('prepared and simple queries', async () => {
      const door = await route.open(SETUP);
      await using(door, async (sql) => {
        const label = await sql`select label from points where id = ${17}`;
        assert.deepEqual([...label], [{ label: 'p17' }]);
        const [a, b] = await sql.unsafe('select 1 as a; select 2 as b');
        assert.deepEqual(
          [a, b].map((r) => ({ ...r?.[0] })),
          [{ a: 1 }, { b: 2 }],
        );
        const none = await sql`update points set x = ${null} where id = any(${[1, 2, 3]})`;
        assert.equal(none.count, 3);
        assert.equal((await sql`select ${sql.json({ a: [1] })}::jsonb as j`)[0]?.j.a[0], 1);
      });
    });

    test('a hundred queries pipelined on one connection, one of them wrong', async () => {
      const door = await route.open(SETUP);
      await using(door, async (sql) => {
        const asked = Array.from({ length: 100 }, (_, i) =>
          i === 50
            ? sql`select 1 / (id - id) from points`.then(
                () => 'no error',
                (error) => error.code,
              )
            : sql`select x from points where id = ${i + 1}`.then((rows) => rows[0]?.x),
        );
        const answers = await Promise.all(asked);
        const wanted = Array.from({ length: 100 }, (_, i) => (i === 50 ? '22012' : (i + 1) / 2));
        assert.deepEqual(answers, wanted);
      });
    });

    test('a cursor in portions, and one left early', async () => {
      const door = await route.open(SETUP);
      await using(door, async (sql) => {
        const sizes: number[] = [];
        for await (const rows of sql`select * from points order by id`.cursor(700))
          sizes.push(rows.length);
        assert.deepEqual(sizes, [700, 700, 700, 700, 700, 700, 700, 100]);
        let seen = 0;
        await sql`select * from points order by id`.cursor(10, () => {
          seen++;
          return seen === 3 ? sql.CLOSE : undefined;
        });
        assert.equal(seen, 3);
        assert.equal((await sql`select count(*)::int as n from points`)[0]?.n, 5000);
      });
    });

    test('COPY in and out as streams', async () => {
      const door = await route.open(SETUP);
      await using(door, async (sql) => {
        const lines = Array.from({ length: 20_000 }, (_, i) => `${i + 10_000}\t0.5\tcopied\n`);
        await pipeline(Readable.from(lines), await sql`copy points from stdin`.writable());
        const [count] = await sql`select count(*)::int as n from points where label = 'copied'`;
        assert.equal(count?.n, 20_000);
        let bytes = 0;
        for await (const chunk of await sql`copy points (id) to stdout`.readable())
          bytes += chunk.length;
        assert.equal(bytes, 23_893 + 20_000 * 6);
        assert.equal((await sql`select 1 as one`)[0]?.one, 1);
      });
    });

    test('transactions that commit, roll back and nest', async () => {
      const door = await route.open(SETUP);
      await using(door, async (sql) => {
        await sql.begin(async (tx) => {
          await tx`insert into points values (-1, 0, 'kept')`;
          await tx
            .savepoint((inner) => inner`insert into points values (1, 0, 'twice')`)
            .catch(() => {});
        });
        const left = sql.begin(async (tx) => {
          await tx`delete from points where id < 100`;
          throw new Error('changed my mind');
        });
        await assert.rejects(left, /changed my mind/);
        assert.equal((await sql`select count(*)::int as n from points`)[0]?.n, 5001);
      });
    });

    test('a large result arrives whole', async () => {
      const door = await route.open();
      await using(door, async (sql) => {
        const rows = await sql`select i, repeat('x', 1000) as pad from generate_series(1, 30000) i`;
        assert.equal(rows.length, 30_000);
        assert.equal(rows[29_999]?.pad.length, 1000);
      });
    });

    test('listen and notify on two connections', async () => {
      const door = await route.open();
      await using(
        door,
        async (sql) => {
          const heard = new Promise(
            (resolve) => void sql.listen('ch', resolve).then(() => sql.notify('ch', 'hi')),
          );
          assert.equal(await heard, 'hi');
        },
        2,
      );
    });

    test('a query is cancelled and the connection goes on', async () => {
      const door = await route.open();
      await using(door, async (sql) => {
        const sleeping = sql`select pg_sleep(30)`;
        const gone = assert.rejects(sleeping.execute(), { code: '57014' });
        await running(door, 'pg_sleep(30)');
        sleeping.cancel();
        await gone;
        assert.equal((await sql`select 1 as one`)[0]?.one, 1);
      });
    });
  });
}
