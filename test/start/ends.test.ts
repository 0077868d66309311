// `holdpoint start` with something in its way: its database, its directory, its ports, its file.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { makeVerifier } from '../../proxy/agents.ts';
import { sharedPostgres } from '../setup/postgres.ts';
import { ROOT } from '../tidy/files.ts';
import { directory, launch, NODE, nothingLeft, start, state } from './launch.ts';

test('a database that dies is told, and ends the start with exit code 1', async () => {
  const one = await start();
  const postmaster = join(state, 'demo', 'data', 'postmaster.pid');
  process.kill(Number(readFileSync(postmaster, 'utf8').split('\n')[0]), 'SIGQUIT');
  assert.equal(await one.ended, 1);
  assert.match(one.said(), /PostgreSQL has ended by itself; see demo\/postgres\.log/);
  await nothingLeft();
});

test('where the database’s user can’t reach the state, its data lies elsewhere', async () => {
  const hidden = join(directory, 'hidden');
  mkdirSync(hidden, { mode: 0o700 });
  const beside = join(hidden, 'state');
  const one = await start(NODE, '--state', beside);
  const port = Number(readFileSync(join(beside, 'demo', 'port'), 'utf8'));
  one.child.kill('SIGTERM');
  assert.equal(await one.ended, 0, one.said());
  await assert.rejects(once(connectTcp(port, '127.0.0.1'), 'connect'), /ECONNREFUSED/);
  rmSync(beside, { recursive: true });
  const fresh = await start(NODE, '--state', beside);
  fresh.child.kill('SIGTERM');
  assert.equal(await fresh.ended, 0, fresh.said());
});

test('with --config it serves the databases named there, to the agents named there', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());
  const file = join(directory, 'holdpoint.yaml');
  const yaml = `
state: configured
listen: { postgres: { port: 0 }, tls: { mode: require } }
approver: { listen: { port: 0 } }
policy:
  rego: ${ROOT}/policies.rego
  tests: ${ROOT}/policies_test.rego
  data: ${ROOT}/policies.json
targets:
  - name: main
    host: ${server.host}
    port: ${server.port}
    user: ${server.user}
    password: { file: secret }
    environment: test
    tls: { mode: disable }
agents:
  - name: reader
    verifier: ${makeVerifier('pencil')}
    capabilities: [read]
`;
  writeFileSync(file, yaml);
  const missing = launch(['start', '--config', file]);
  assert.equal(await missing.ended, 1);
  assert.match(missing.said(), /holdpoint\.yaml:14: the file .*secret is missing/);
  writeFileSync(join(directory, 'secret'), server.password);
  const one = launch(['start', '--config', file]);
  for (const late = Date.now() + 120_000; !one.said().includes('  verify '); await sleep(20)) {
    assert.ok(Date.now() < late && one.child.exitCode === null, one.said());
  }
  const port = Number(
    /clients +postgres:\/\/AGENT@127\.0\.0\.1:(\d+)\/TARGET {2}\(main\)/.exec(one.said())?.[1],
  );
  const where = { host: '127.0.0.1', port, user: 'reader', password: 'pencil', database: 'main' };
  await assert.rejects(new pg.Client(where).connect(), /requires encryption/);
  const client = new pg.Client({ ...where, ssl: { rejectUnauthorized: false } });
  await client.connect();
  assert.deepEqual((await client.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
  await assert.rejects(client.query('CREATE ROLE mallory'), { code: 'ZH002' });
  await client.end();
  assert.ok(!one.said().includes(server.password));
  one.child.kill('SIGTERM');
  assert.equal(await one.ended, 0, one.said());
  await nothingLeft();
});

test('a taken port, a wrong configuration: one line, exit code 1, nothing left', async () => {
  const one = await start();
  const beside = join(directory, 'other');
  const taken = launch([
    'start',
    '--state',
    beside,
    '--page-port',
    '0',
    '--port',
    String(one.port),
  ]);
  assert.equal(await taken.ended, 1);
  assert.match(taken.said(), /^holdpoint: can’t .*127\.0\.0\.1.*taken/);
  const none = launch(['start', '--config', 'none.yaml']);
  assert.equal(await none.ended, 1);
  assert.match(none.said(), /^holdpoint: can't read .*none\.yaml/);
  const bad = launch(['start', '--port', '70000']);
  assert.equal(await bad.ended, 1);
  assert.match(bad.said(), /a port is a number/);
  one.child.kill('SIGINT');
  await one.ended;
  await nothingLeft();
});
