// docker-compose.yml where no engine can run it: held against the compose schema, then each
// service's command by hand. compose-spec.json is schema/compose-spec.json of
// github.com/compose-spec/compose-go v2.16.2 (Apache-2.0), unchanged.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Ajv2020 } from 'ajv/dist/2020.js';
import pg from 'pg';
import { parse } from 'yaml';
import { z } from 'zod';
import { findNatsServer } from '../setup/nats.ts';
import { freePort } from '../setup/port.ts';
import { sharedPostgres } from '../setup/postgres.ts';
import { program, skipWithout } from '../setup/programs.ts';
import { ROOT } from '../tidy/files.ts';

const run = promisify(execFile);
const text = readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8');
const document: unknown = parse(text, { merge: true });
const names = z.array(z.string()).default([]);
const compose = z
  .looseObject({
    services: z.record(
      z.string(),
      z.looseObject({
        command: z.array(z.string()).optional(),
        networks: names,
        secrets: names,
        volumes: names,
        ports: names,
        depends_on: z.record(z.string(), z.unknown()).default({}),
      }),
    ),
    networks: z.record(z.string(), z.looseObject({ internal: z.boolean().default(false) })),
    secrets: z.record(z.string(), z.looseObject({ environment: z.string() })),
    volumes: z.record(z.string(), z.unknown()),
  })
  .parse(document);
const services = Object.entries(compose.services);

function validate(what: unknown): string[] {
  const file = join(import.meta.dirname, 'compose-spec.json');
  const ajv = new Ajv2020({ allErrors: true, strict: false });
  const check = ajv.compile(JSON.parse(readFileSync(file, 'utf8')));
  return check(what) ? [] : (check.errors ?? []).map((e) => `${e.instancePath} ${e.message}`);
}

test('it is valid by the compose schema, which does refuse mistakes', () => {
  assert.deepEqual(validate(document), []);
  const broken = [
    text.replace('healthcheck:', 'healtcheck:'),
    text.replace('retries: 30', 'retries: [30]'),
    text.replace('condition: service_healthy', 'condition: service_well'),
    text.replace("ports: ['127.0.0.1:6432:6432']", 'ports: 6432'),
  ];
  for (const [index, mistake] of broken.entries()) {
    assert.notEqual(mistake, text, `case ${index}`);
    assert.notDeepEqual(validate(parse(mistake, { merge: true })), [], `case ${index}`);
  }
});

test('everything it names is there, and every stated service too', () => {
  const wanted = ['approver', 'ledger', 'mongodb', 'mysql', 'nats', 'postgres', 'proxy'];
  assert.deepEqual(Object.keys(compose.services).sort(), wanted);
  for (const [name, service] of services) {
    for (const network of service.networks) assert.ok(network in compose.networks, network);
    for (const secret of service.secrets) assert.ok(secret in compose.secrets, secret);
    for (const other of Object.keys(service.depends_on))
      assert.ok(other in compose.services, other);
    for (const volume of service.volumes) {
      const source = volume.split(':')[0] ?? '';
      const there = source.startsWith('.')
        ? existsSync(join(ROOT, source))
        : source in compose.volumes;
      assert.ok(there, `${name}: ${source}`);
    }
    for (const port of service.ports)
      assert.match(port, /^127\.0\.0\.1:/, 'published on this machine only');
  }
  for (const { environment } of Object.values(compose.secrets))
    assert.ok(text.includes(`${environment} `) || text.includes(`${environment};`), environment);
});

test('agents reach the proxy alone, and databases are reached by the proxy alone', () => {
  const on = (network: string) =>
    services.filter(([, service]) => service.networks.includes(network)).map(([name]) => name);
  assert.deepEqual(on('agents'), ['proxy']);
  assert.deepEqual(on('databases'), ['proxy', 'postgres', 'mysql', 'mongodb']);
  assert.equal(compose.networks.databases?.internal, true);
  assert.equal(compose.networks.services?.internal, true);
  for (const name of ['approver', 'ledger', 'nats']) {
    assert.ok(!compose.services[name]?.secrets.includes('database-password'), name);
  }
});

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-compose-'));
const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

interface Service {
  readonly said: () => string;
  stop(): Promise<number | null>;
}

function start(command: string, args: readonly string[], cwd = directory): Service {
  const child = spawn(command, args, { cwd, env: { PATH: process.env.PATH } });
  children.push(child);
  let said = '';
  child.stdout.on('data', (chunk) => (said += chunk));
  child.stderr.on('data', (chunk) => (said += chunk));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const stop = () => {
    child.kill('SIGTERM');
    return ended;
  };
  return { said: () => said, stop };
}

async function saying(service: Service, pattern: RegExp): Promise<void> {
  for (const late = Date.now() + 120_000; !pattern.test(service.said()); await sleep(25)) {
    assert.ok(Date.now() < late, service.said());
  }
}

/** The container's paths, names and ports as they are here. */
type Places = readonly (readonly [string, string])[];

function moved(what: string, places: Places): string {
  return places.reduce((now, [from, to]) => now.replaceAll(from, to), what);
}

async function places(): Promise<Places> {
  const [nats, ledger, page, clients] = await Promise.all([
    freePort(),
    freePort(),
    freePort(),
    freePort(),
  ]);
  return [
    ['/opt/holdpoint', ROOT],
    ['/run/secrets', join(directory, 'secrets')],
    ['/etc/holdpoint', join(directory, 'etc')],
    ['nats://nats:4222', `nats://127.0.0.1:${nats}`],
    ['0.0.0.0:4222', `127.0.0.1:${nats}`],
    ['http://ledger:8090', `http://127.0.0.1:${ledger}`],
    ['host: 0.0.0.0, port: 8090', `host: 127.0.0.1, port: ${ledger}`],
    ['http://approver:8080', `http://127.0.0.1:${page}`],
    ['host: 0.0.0.0, port: 8080', `host: 127.0.0.1, port: ${page}`],
    ['http://localhost:8080', `http://localhost:${page}`],
    ['host: 0.0.0.0, port: 6432', `host: 127.0.0.1, port: ${clients}`],
  ];
}

type Server = Awaited<ReturnType<typeof sharedPostgres>>;
const state = (name: string): string => join(directory, `state-${name}`);
const command = (name: string): readonly string[] => compose.services[name]?.command ?? [];
const holdpoint = (...args: string[]) =>
  run(process.execPath, [join(ROOT, 'cli', 'main.ts'), ...args]);

/** The deployment's files with the paths, names and ports of this machine, and a seeded shop. */
async function prepare(server: Server): Promise<Places> {
  const shop = `shop_${randomBytes(4).toString('hex')}`;
  const common: Places = [
    ...(await places()),
    ['host: postgres\n', `host: ${server.host}\n    port: ${server.port}\n`],
    ['user: holdpoint', `user: ${shop}`],
    ['database: shop', `database: ${shop}`],
  ];
  for (const name of ['secrets', 'etc', 'nats']) mkdirSync(join(directory, name), { mode: 0o700 });
  for (const name of Object.keys(compose.secrets)) {
    writeFileSync(join(directory, 'secrets', name), `${randomBytes(24).toString('hex')}\n`);
  }
  for (const name of ['proxy', 'approver', 'ledger']) {
    const given = readFileSync(join(ROOT, 'deploy', `${name}.yaml`), 'utf8');
    const here: Places = [...common, ['/var/lib/holdpoint', state(name)]];
    writeFileSync(join(directory, 'etc', `${name}.yaml`), moved(given, here));
  }
  await seed(server, shop, common);
  return common;
}

async function startNats(common: Places): Promise<Service> {
  const text = moved(command('nats')[0] ?? '', [
    ...common,
    ['$$', '$'],
    ['/tmp/nats.conf', join(directory, 'nats.conf')],
    ['/data', join(directory, 'nats')],
    ['exec nats-server', `exec ${await findNatsServer()}`],
  ]);
  const nats = start('/bin/sh', ['-c', text]);
  await saying(nats, /Server is ready/);
  return nats;
}

const skip = skipWithout('psql');
test('each service by its own command: a read, a hold, a signature, a proof', {
  skip,
}, async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());
  const common = await prepare(server);
  const nats = await startNats(common);
  const service = async (name: string): Promise<Service> => {
    const args = command(name).map((word) => moved(word, common));
    const started = start(process.execPath, [join(ROOT, 'holdpoint.mjs'), ...args]);
    await saying(started, new RegExp(`^${name} is ready: `, 'm'));
    return started;
  };
  const ledger = await service('ledger');
  const approver = await service('approver');
  const proxy = await service('proxy');
  const port = Number(/proxy is ready: .*:(\d+)/.exec(proxy.said())?.[1]);
  const page = /approver is ready: (\S+)/.exec(approver.said())?.[1] ?? '';

  const config = join(directory, 'etc', 'proxy.yaml');
  const { stdout } = await holdpoint('agent', 'add', 'my-agent', '--config', config);
  const key = join(directory, 'alice.pem');
  const store = join(state('approver'), 'approver.db');
  const alice = ['alice', '--group', 'db-owners', '--store', store, '--key', key];
  await holdpoint('signer', 'add', ...alice, '--wait', '60');

  const login = {
    host: '127.0.0.1',
    port,
    user: 'my-agent',
    password: stdout.trim(),
    database: 'shop',
  };
  const client = new pg.Client(login);
  await client.connect();
  assert.deepEqual((await client.query('SELECT count(*)::int AS n FROM orders')).rows, [
    { n: 4000 },
  ]);
  const held = new Promise<string>((resolve) =>
    client.once('notice', (said) => resolve(`${said.message}`)),
  );
  const gone = client.query('DELETE FROM order_lines WHERE order_id = 7');
  const hold = /h-[a-z2-7]{16}/.exec(await held)?.[0] ?? '';
  await holdpoint('holds', 'approve', hold, '--as', 'alice', '--key', key, '--server', page);
  assert.equal((await gone).rowCount, 2);
  await client.end();

  for (const one of [proxy, approver, ledger]) assert.equal(await one.stop(), 0, one.said());
  await nats.stop();
  const log = join(state('ledger'), 'ledger');
  const publicKey = /ledger is ready: (\S+)/.exec(ledger.said())?.[1] ?? '';
  const verified = await holdpoint('ledger', 'verify', '--directory', log, '--key', publicKey);
  assert.match(verified.stdout, /all as signed/);
});

/**
 * The postgres service's own script, against the test's server: the role and database get a name of
 * this test.
 */
async function seed(server: Server, shop: string, common: Places): Promise<void> {
  const script = moved(readFileSync(join(ROOT, 'deploy', 'shop.sh'), 'utf8'), [
    ...common,
    ['ROLE holdpoint', `ROLE ${shop}`],
    ['OWNER holdpoint', `OWNER ${shop}`],
    ['AUTHORIZATION holdpoint', `AUTHORIZATION ${shop}`],
    ['DATABASE shop', `DATABASE ${shop}`],
    ['--dbname shop', `--dbname ${shop}`],
    ['/opt/shop.sql', join(ROOT, 'cli', 'demo', 'shop.sql')],
  ]);
  const env = {
    PATH: `${join(program('psql'), '..')}:${process.env.PATH}`,
    PGHOST: server.host,
    PGPORT: String(server.port),
    PGPASSWORD: server.password,
  };
  await run('/bin/sh', ['-c', script], { env });
}
