// Real clients through the door to a real server: psql in every TLS mode, and pg.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import pg from 'pg';
import { removeAgent } from '../../proxy/agents.ts';
import { findBinaries, sharedPostgres } from '../setup/postgres.ts';
import { program, skipWithout } from '../setup/programs.ts';
import { openDoor } from './door.ts';

const run = promisify(execFile);
const server = await sharedPostgres();
const door = await openDoor({ server });
after(async () => {
  await door.close();
  await server.stop();
});

async function psql(
  how: string,
  sql: string,
  port = door.port,
  password = door.password,
  libraries = '',
) {
  const where = `host=localhost hostaddr=127.0.0.1 port=${port} user=${door.agent} ${how}`;
  const env = {
    PATH: process.env.PATH,
    PGPASSWORD: password,
    PGCONNECT_TIMEOUT: '60',
    ...(libraries === '' ? {} : { LD_LIBRARY_PATH: libraries }),
  };
  const args = ['-X', '-At', '-v', 'VERBOSITY=verbose', '-c', sql, where];
  return run(program('psql'), args, { env }).then(
    ({ stdout }) => stdout.trim(),
    (error: { stderr: string }) => error.stderr,
  );
}

const skip = skipWithout('psql');

test('psql logs in with every kind of encryption it knows', { skip }, async () => {
  const verify = `sslrootcert=${door.certificate}`;
  for (const how of [
    'sslmode=disable',
    'sslmode=prefer',
    'sslmode=require',
    `sslmode=verify-ca ${verify}`,
    `sslmode=verify-full ${verify}`,
    `sslmode=verify-full ${verify} channel_binding=require`,
    'sslmode=require channel_binding=disable',
    'sslmode=prefer gssencmode=prefer',
  ]) {
    assert.equal(await psql(`dbname=shop ${how}`, "select 'in'"), 'in', how);
  }
});

test('the newest libpq: protocol 3.2, direct TLS, channel binding', { skip }, async () => {
  const libraries = join(dirname(findBinaries(18) ?? ''), 'lib');
  const verify = `sslmode=verify-full sslrootcert=${door.certificate}`;
  for (const how of [
    'sslmode=disable max_protocol_version=latest',
    'sslmode=disable min_protocol_version=3.2 max_protocol_version=3.2',
    'sslmode=require sslnegotiation=direct max_protocol_version=latest',
    `${verify} sslnegotiation=direct channel_binding=require`,
    'sslmode=require require_auth=scram-sha-256',
  ]) {
    const said = await psql(
      `dbname=shop ${how}`,
      "select 'in'",
      door.port,
      door.password,
      libraries,
    );
    assert.equal(said, 'in', how);
  }
});

test('verify-full refuses a certificate it does not know', { skip }, async () => {
  const said = await psql(
    'dbname=shop sslmode=verify-full sslrootcert=/etc/ssl/cert.none',
    'select 1',
  );
  assert.match(said, /certificate/);
});

test('the agent’s name stays here, the upstream role is Holdpoint’s; sessions start read-only', {
  skip,
}, async () => {
  const sql = 'select current_user, current_setting($$default_transaction_read_only$$)';
  assert.equal(await psql('dbname=shop', sql), `${server.user}|on`);
  const off = "dbname=shop options='-c default_transaction_read_only=off'";
  assert.equal(await psql(off, sql), `${server.user}|on`);
});

test('settings of the client reach the server: options first, then parameters', {
  skip,
}, async () => {
  const show = (name: string) => `select current_setting('${name}')`;
  const options = "options='-c search_path=a,\\\\ b --statement-timeout=12s -cwork_mem=1MB'";
  assert.equal(await psql(`dbname=shop ${options}`, show('search_path')), 'a, b');
  assert.equal(await psql(`dbname=shop ${options}`, show('statement_timeout')), '12s');
  assert.equal(await psql(`dbname=shop ${options}`, show('work_mem')), '1MB');
  const named = String.raw`application_name='o\'k \\ x' options='-c application_name=first'`;
  assert.equal(await psql(`dbname=shop ${named}`, show('application_name')), "o'k \\ x");
  assert.equal(await psql('dbname=shop client_encoding=LATIN1', show('client_encoding')), 'LATIN1');
  const stated = "options='-c holdpoint.reason=ticket\\\\ 7'";
  assert.equal(await psql(`dbname=shop ${stated}`, show('holdpoint.reason')), 'ticket 7');
});

test('settings that change who acts, and options that are no settings, are refused', {
  skip,
}, async () => {
  for (const options of ['-c role=postgres', '-c session_replication_role=replica', '-c Role=x']) {
    assert.match(
      await psql(`dbname=shop options='${options}'`, 'select 1'),
      /ZH006|can’t be given/,
    );
  }
  for (const options of ['-f', '-d 5', '-c', '-c x', 'loose', '--', '-O']) {
    assert.match(await psql(`dbname=shop options='${options}'`, 'select 1'), /is not a setting/);
  }
  assert.match(await psql('dbname=shop replication=true', 'select 1'), /replication connections/);
  assert.match(await psql('dbname=shop replication=database', 'select 1'), /replication/);
  assert.equal(await psql('dbname=shop replication=false', "select 'plain'"), 'plain');
});

test('databases: the target’s name, target/database, any other of the only target', {
  skip,
}, async () => {
  const sql = 'select current_database()';
  const other = await server.createDatabase();
  assert.equal(await psql('dbname=shop', sql), 'postgres');
  assert.equal(await psql(`dbname=shop/${other}`, sql), other);
  assert.equal(await psql(`dbname=${other}`, sql), other);
  assert.match(await psql('dbname=nowhere', sql), /database "nowhere" does not exist/);
});

test('a wrong password and an unknown name read the same', { skip }, async () => {
  const wrong = await psql('dbname=shop sslmode=disable', 'select 1', door.port, 'nope');
  assert.match(wrong, /FATAL: {2}password authentication failed for user "agent-1"/);
  const where = `host=127.0.0.1 port=${door.port} user=ghost dbname=shop sslmode=disable`;
  const ghost = await run(program('psql'), ['-X', '-c', 'select 1', where], {
    env: { PATH: process.env.PATH, PGPASSWORD: 'nope' },
  }).catch((error: { stderr: string }) => error.stderr);
  assert.equal(
    String(ghost).replace('ghost', 'agent-1').split('FATAL')[1],
    wrong.split('FATAL')[1],
  );
});

test('TLS can be off, and can be demanded', { skip }, async (t) => {
  const plain = await openDoor({ server, tls: false });
  const strict = await openDoor({ server, tlsRequired: true });
  t.after(() => Promise.all([plain.close(), strict.close()]));
  const ask = (port: number, password: string, how: string) =>
    psql(`dbname=shop ${how}`, "select 'in'", port, password);
  assert.match(await ask(plain.port, plain.password, 'sslmode=require'), /does not support SSL/);
  assert.equal(await ask(plain.port, plain.password, 'sslmode=prefer'), 'in');
  assert.match(await ask(strict.port, strict.password, 'sslmode=disable'), /requires encryption/);
  assert.equal(await ask(strict.port, strict.password, 'sslmode=require'), 'in');
});

test('pg: direct TLS negotiation, channel binding, and an agent that is removed', async () => {
  const own = await openDoor({ server });
  try {
    const { port, password, agent } = own;
    const base = { host: '127.0.0.1', port, user: agent, password, database: 'shop' };
    const ssl = { rejectUnauthorized: false };
    for (const how of [
      {},
      { ssl, enableChannelBinding: true },
      { ssl, sslnegotiation: 'direct' as const, enableChannelBinding: true },
    ]) {
      const client = new pg.Client({ ...base, ...how });
      await client.connect();
      const { rows } = await client.query("select 'in' as it");
      assert.deepEqual(rows, [{ it: 'in' }]);
      await client.end();
    }
    removeAgent(own.state, agent);
    const late = new pg.Client(base);
    await assert.rejects(late.connect(), { code: '28P01' });
  } finally {
    await own.close();
  }
});
