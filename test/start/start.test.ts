// `holdpoint start` as a stranger runs it: from the launcher, in a directory of its own, ended in
// every way there is.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { makeVerifier } from '../../proxy/agents.ts';
import { sharedPostgres } from '../setup/postgres.ts';
import { ROOT } from '../tidy/files.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-start-'));
// Searchable: under root the database runs as a plain user, and is to lie here and not in /var/lib.
chmodSync(directory, 0o711);
const state = join(directory, '.holdpoint');
const children = new Set<ChildProcess>();
after(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

/** The Node that a stranger has: the one on PATH, which is older than the one that runs this. */
function olderNode(): string {
  for (const folder of (process.env.PATH ?? '').split(':')) {
    const file = join(folder, 'node');
    if (!existsSync(file)) continue;
    const version = execFileSync(file, ['--version'], { encoding: 'utf8' });
    if (/^v2[0-5]\./.test(version)) return file;
  }
  return process.execPath;
}
const NODE = olderNode();
const LAUNCHER = join(ROOT, 'holdpoint.mjs');

interface Started {
  readonly child: ChildProcess;
  readonly said: () => string;
  readonly line: (name: string) => string;
  readonly port: number;
  readonly seconds: number;
  readonly ended: Promise<number | null>;
}

function launch(args: readonly string[], node = NODE): Omit<Started, 'line' | 'port' | 'seconds'> {
  const env = { PATH: process.env.PATH, HOME: directory, LANG: 'C' };
  const child = spawn(node, [LAUNCHER, ...args], { cwd: directory, env, stdio: 'pipe' });
  children.add(child);
  let said = '';
  child.stdout.on('data', (chunk) => (said += chunk));
  child.stderr.on('data', (chunk) => (said += chunk));
  const ended = new Promise<number | null>((resolve) => {
    child.once('close', (code) => {
      children.delete(child);
      resolve(code);
    });
  });
  return { child, said: () => said, ended };
}

async function start(node = NODE, ...more: string[]): Promise<Started> {
  const started = launch(['start', '--port', '0', '--page-port', '0', ...more], node);
  const late = Date.now() + 60_000;
  while (!started.said().includes('  verify ')) {
    assert.ok(Date.now() < late && started.child.exitCode === null, started.said());
    await sleep(20);
  }
  const line = (name: string): string =>
    new RegExp(`^ {2}${name} +(.*)$`, 'm').exec(started.said())?.[1] ?? '';
  const port = Number(/port=(\d+)/.exec(line('agent'))?.[1]);
  const seconds = Number(/ready \(([\d.]+) s\)/.exec(started.said())?.[1]);
  return { ...started, line, port, seconds };
}

/** Processes whose command line names our directory: the database, its guard, Holdpoint itself. */
function alive(): string[] {
  const found: string[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      const at = execFileSync('readlink', [`/proc/${pid}/cwd`], { encoding: 'utf8' }).trim();
      const ours = at.startsWith(directory) && Number(pid) !== process.pid;
      if (command.includes(directory) || ours) found.push(`${pid} ${command}`);
    } catch {
      // Gone between two looks, or not ours to see.
    }
  }
  return found;
}

async function nothingLeft(): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (alive().length === 0) return;
    await sleep(50);
  }
  assert.deepEqual(alive(), []);
}

async function connect({ port }: Started): Promise<pg.Client> {
  const passfile = readFileSync(join(state, 'keys', 'demo-agent.pgpass'), 'utf8');
  const password = passfile.trim().split(':')[4] ?? '';
  const where = { host: '127.0.0.1', port, user: 'demo-agent', password, database: 'shop' };
  const client = new pg.Client(where);
  client.on('error', () => {});
  await client.connect();
  return client;
}

function holdpoint(...args: string[]): Promise<string> {
  const { said, ended } = launch(args);
  return ended.then(() => said());
}

/** The command as it was printed, with more behind its first words. */
function printed(line: string): string[] {
  const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map((found) => found[1] ?? found[2] ?? '');
  assert.deepEqual(words.slice(0, 2), ['node', 'holdpoint.mjs'], line);
  return words.slice(2);
}

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
  for (const late = Date.now() + 60_000; !one.said().includes('  verify '); await sleep(20)) {
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
