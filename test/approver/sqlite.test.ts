// The embedded database's group commit: together on disk, alone in failure.
// Invariant: whoever was answered finds their write in a fresh connection.
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { CHECKPOINT_BYTES, CHECKPOINT_COMMITS } from '../../approver/limits.ts';
import type { Db } from '../../approver/store/db.ts';
import { openSqlite } from '../../approver/store/sqlite.ts';
import { until } from '../setup/holds.ts';

let folder: string;
let db: Db;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdpoint-sqlite-'));
  db = await openSqlite(join(folder, 'a.db'));
  await db.run('CREATE TABLE t (n BIGINT PRIMARY KEY, x TEXT NOT NULL)');
});
after(async () => {
  await db.close();
  await rm(folder, { recursive: true, force: true });
});

it('commits many together, and undoes the failing ones alone', async () => {
  const writes = Array.from({ length: 200 }, (_, n) =>
    db.transaction(async (tx) => {
      await tx.run('INSERT INTO t (n, x) VALUES (?, ?)', n, 'a');
      await new Promise((resolve) => setImmediate(resolve));
      if (n % 3 === 0) throw new Error(`not ${n}`);
      if (n % 3 === 1) await tx.run('INSERT INTO t (n, x) VALUES (?, ?)', n, 'twice');
      return n;
    }),
  );
  const results = await Promise.allSettled(writes);
  const other = await openSqlite(join(folder, 'a.db'));
  const there = new Set((await other.all('SELECT n FROM t')).map((r) => Number(r.n)));
  await other.close();
  for (const [n, r] of results.entries()) {
    assert.equal(r.status, n % 3 === 2 ? 'fulfilled' : 'rejected', String(n));
    assert.equal(there.has(n), n % 3 === 2, String(n));
  }
});

it('waits for another writer without stopping, and reads meanwhile', async () => {
  const other = await openSqlite(join(folder, 'a.db'));
  const writing = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const long = other.transaction(async (tx) => {
    await tx.run('INSERT INTO t (n, x) VALUES (1000, ?)', 'long');
    writing.resolve();
    await held.promise;
  });
  await writing.promise;
  const short = db.run('INSERT INTO t (n, x) VALUES (1001, ?)', 'short');
  assert.equal((await db.all('SELECT 1 AS one FROM t WHERE n >= 1000')).length, 0);
  held.resolve();
  await Promise.all([long, short]);
  assert.equal((await db.all('SELECT 1 AS one FROM t WHERE n >= 1000')).length, 2);
  await other.close();
});

it('carries a long log over into the database, beside what is written', async () => {
  const file = join(folder, 'long.db');
  const long = await openSqlite(file);
  await long.run('CREATE TABLE t (n BIGINT PRIMARY KEY, x TEXT NOT NULL)');
  const text = 'x'.repeat(50_000);
  for (let n = 0; n < CHECKPOINT_COMMITS; n++) {
    await long.run('INSERT INTO t (n, x) VALUES (?, ?)', n, text);
  }
  await until('carried over', () => statSync(file).size >= CHECKPOINT_BYTES);
  // From here on the log is written from its beginning: it does not grow with the store.
  await long.run('INSERT INTO t (n, x) VALUES (9999, ?)', text);
  assert.equal((await long.all('SELECT COUNT(*) AS n FROM t'))[0]?.n, CHECKPOINT_COMMITS + 1);
  await long.close();
});

it('commits for everybody to see at once, and is on disk when it says so', async () => {
  const { result, durable } = await db.commit((tx) =>
    tx.run('INSERT INTO t (n, x) VALUES (3000, ?)', 'now'),
  );
  assert.equal(result, 1);
  assert.equal((await db.all('SELECT x FROM t WHERE n = 3000'))[0]?.x, 'now');
  await durable;
});

it('says so when it is closed', async () => {
  const other = await openSqlite(join(folder, 'a.db'));
  const last = other.run('INSERT INTO t (n, x) VALUES (2000, ?)', 'last');
  await other.close();
  assert.equal(await last, 1);
  await assert.rejects(other.run('DELETE FROM t'), /closed/);
});
