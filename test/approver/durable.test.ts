// The embedded store answers after the disk, and never again once the disk has failed it.
// Invariant: only the sync itself is held up or failed here; all else is the real store.
import assert from 'node:assert/strict';
import fs, { mkdtempSync, rmSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, it } from 'node:test';

const real = fs.fdatasync;
let how: 'sync' | 'wait' | 'fail' = 'sync';
const waiting: (() => void)[] = [];
fs.fdatasync = ((fd: number, done: (e: NodeJS.ErrnoException | null) => void) => {
  if (how === 'sync') real(fd, done);
  else if (how === 'wait') waiting.push(() => real(fd, done));
  else done(Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' }));
}) as typeof fs.fdatasync;
syncBuiltinESMExports();
// Only now: it takes the function as it is when it is loaded.
const { openSqlite } = await import('../../approver/store/sqlite.ts');
const { until } = await import('../setup/holds.ts');

const folder = mkdtempSync(join(tmpdir(), 'holdpoint-durable-'));
after(() => {
  fs.fdatasync = real;
  syncBuiltinESMExports();
  rmSync(folder, { recursive: true, force: true });
});

it('answers nobody before the log is on disk; one sync serves all who wait', async () => {
  const db = await openSqlite(join(folder, 'a.db'));
  await db.run('CREATE TABLE t (n BIGINT)');
  how = 'wait';
  let answered = 0 as number;
  const add = (n: number) =>
    db.run('INSERT INTO t VALUES (?)', n).then(() => {
      answered++;
    });
  const first = add(0);
  const { result } = await db.commit((tx) => tx.run('INSERT INTO t VALUES (1)'));
  assert.equal(result, 1);
  const others = Array.from({ length: 20 }, (_, n) => add(n + 2));
  // Who was just answered writes at once: that is not left lying.
  await until('all are seen', async () => (await db.all('SELECT n FROM t')).length === 22);
  assert.equal(answered, 0);
  assert.equal(waiting.length, 1, 'one sync is under way, and one waits for it');
  waiting.shift()?.();
  await first;
  assert.equal(answered, 1, 'the sync that began before the others covers none of them');
  await until('the next sync began', () => waiting.length > 0);
  how = 'sync';
  waiting.shift()?.();
  await Promise.all(others);
  assert.equal(waiting.length, 0);
  await db.close();
});

it('after a sync that failed it writes nothing more, and says what to do', async () => {
  const db = await openSqlite(join(folder, 'b.db'));
  await db.run('CREATE TABLE t (n BIGINT)');
  how = 'fail';
  await assert.rejects(db.run('INSERT INTO t VALUES (1)'), /EIO/);
  how = 'sync';
  // A sync that works now says nothing of what the failed one lost.
  await assert.rejects(db.run('INSERT INTO t VALUES (2)'), /could not be synced: look at its disk/);
  await db.close();
});
