// `holdpoint start`: everything it prints works, a second start keeps all, and nothing outlives it.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect, holdpoint, launch, nothingLeft, printed, start, state } from './launch.ts';

test('a first start: read, hold, sign, run, verify, all as printed', async (t) => {
  const one = await start();
  t.diagnostic(`ready after ${one.seconds} s with initdb and seeding`);
  const client = await connect(one);
  const { rows } = await client.query('SELECT count(*)::int AS n FROM orders');
  assert.deepEqual(rows, [{ n: 4000 }]);

  const notice = new Promise<string>((resolve) => {
    client.once('notice', (said) => resolve(`${said.message}`));
  });
  const gone = client.query("DELETE FROM orders WHERE status = 'cancelled' AND id < 100");
  const hold = /h-[a-z2-7]{16}/.exec(await notice)?.[0] ?? '';
  const list = printed(one.line('signer'));
  assert.match(await holdpoint(...list), new RegExp(hold));
  const at = list.indexOf('list');
  const approve = [...list.slice(0, at), 'approve', hold, ...list.slice(at + 1)];
  assert.match(await holdpoint(...approve), /is approved/);
  assert.ok(((await gone).rowCount ?? 0) > 0);
  await client.end();

  const page = /^(\S+)/.exec(one.line('page'))?.[1] ?? '';
  assert.equal((await fetch(page)).status, 200);
  const verified = await holdpoint(...printed(one.line('verify')));
  assert.match(verified, /entries, all as signed/);
  one.child.kill('SIGINT');
  assert.equal(await one.ended, 0, one.said());
  await nothingLeft();
});

test('secrets lie in files of their owner alone, and none was printed', () => {
  for (const file of readdirSync(state, { recursive: true, encoding: 'utf8' })) {
    if (file.startsWith(join('demo', 'data'))) continue;
    const stat = statSync(join(state, file));
    assert.equal(stat.mode & (stat.isDirectory() ? 0o066 : 0o077), 0, file);
  }
});

test('a second start keeps all state, and a third beside it is refused', async (t) => {
  const two = await start();
  t.diagnostic(`ready after ${two.seconds} s`);
  const client = await connect(two);
  const { rows } = await client.query('SELECT count(*)::int AS n FROM orders');
  assert.ok(Number(rows[0]?.n) < 4000);
  await client.end();
  const refused = launch(['start', '--port', '0', '--page-port', '0']);
  assert.equal(await refused.ended, 1);
  assert.match(
    refused.said(),
    /^holdpoint: another holdpoint \(process \d+\) runs on .*: stop it, or/,
  );
  two.child.kill('SIGTERM');
  assert.equal(await two.ended, 0, two.said());
  await nothingLeft();
});

test('killed, launcher or process: nothing lives on, and the next start is well', async () => {
  const pid = () => Number(readFileSync(join(state, 'start.pid'), 'utf8'));
  const one = await start();
  const client = await connect(one);
  process.kill(pid(), 'SIGKILL');
  await one.ended;
  await nothingLeft();
  await client.end().catch(() => {});

  const two = await start();
  two.child.kill('SIGKILL');
  await two.ended;
  await nothingLeft();

  const three = await start(process.execPath);
  const again = await connect(three);
  assert.equal((await again.query('SELECT 1 AS one')).rowCount, 1);
  await again.end();
  process.kill(pid(), 'SIGINT');
  assert.equal(await three.ended, 0, three.said());
  await nothingLeft();
});
