// Logging in at real servers, and at scripted ones that behave badly: what is handed over, and what
// is told of failures.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { after, test } from 'node:test';
import type { Target } from '../../proxy/config.ts';
import { LIMITS } from '../../proxy/limits.ts';
import {
  cancelUpstream,
  connectUpstream,
  type Upstream,
  UpstreamFailed,
} from '../../proxy/postgres/upstream.ts';
import { startPostgres } from '../setup/postgres.ts';
import { targetOf } from './door.ts';

const server = await startPostgres({ tls: true });
after(() => server.stop());
const admin = await server.connect('postgres');
after(() => admin.end());

const login = (target: Target, database = 'postgres', more = {}) =>
  connectUpstream({ target, database, settings: [], ...more });

function frame(type: string, ...parts: (string | number | Buffer)[]): Buffer {
  const body = Buffer.concat(
    parts.map((part) => {
      if (typeof part === 'string') return Buffer.from(`${part}\0`);
      if (Buffer.isBuffer(part)) return part;
      const number = Buffer.alloc(4);
      number.writeInt32BE(part, 0);
      return number;
    }),
  );
  const head = Buffer.alloc(5);
  head.write(type, 0, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

/** Asks, and answers with all that came until ReadyForQuery, as text. */
async function ask({ socket }: Upstream, sql: string): Promise<string> {
  let heard = '';
  const ready = new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString('latin1');
      if (/Z.{4}[ITE]$/s.test(heard)) resolve();
    });
  });
  socket.resume();
  socket.write(frame('Q', sql));
  await ready;
  socket.removeAllListeners('data');
  return heard;
}

async function failure(work: Promise<Upstream>): Promise<UpstreamFailed> {
  const error = await work.then(
    () => null,
    (error: unknown) => error,
  );
  assert.ok(error instanceof UpstreamFailed, String(error));
  const shown = `${error.message} ${error.detail} ${error.hint}`;
  assert.ok(!shown.includes(server.password) && !shown.includes(`:${server.port}`), shown);
  return error;
}

const tls = (mode: Target['tls']['mode'], ca: string | null = server.certificate) => ({
  tls: { mode, ca, cert: null, key: null },
});

test('every TLS mode gives a raw socket with nothing of pg on it', async () => {
  for (const mode of ['disable', 'require', 'verify-ca', 'verify-full'] as const) {
    const upstream = await login(targetOf(server, tls(mode)));
    assert.equal(upstream.status, 'I');
    assert.ok(upstream.processId > 0 && upstream.secretKey.length === 4);
    assert.equal(upstream.parameters.get('server_encoding'), 'UTF8');
    assert.equal(upstream.socket.listenerCount('data'), 0);
    const heard = await ask(upstream, 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
    assert.ok(heard.includes(mode === 'disable' ? '\x01f' : '\x01t'), heard);
    upstream.socket.end(frame('X'));
    await once(upstream.socket, 'close');
  }
});

test('a certificate of another authority, or for another name, stops the login', async () => {
  const other = await startPostgres({ tls: true });
  try {
    for (const mode of ['verify-ca', 'verify-full'] as const) {
      const error = await failure(login(targetOf(server, tls(mode, other.certificate))));
      assert.equal(error.sqlstate, '08001');
      assert.match(String(error.cause), /certificate|signature/);
    }
    const forward = createServer((socket) => {
      const onward = connect(server.port, server.host);
      for (const one of [socket, onward]) one.on('error', () => {});
      socket.pipe(onward).pipe(socket);
    });
    forward.listen(0, '127.0.0.2');
    await once(forward, 'listening');
    const { port } = forward.address() as AddressInfo;
    const elsewhere = (mode: 'verify-ca' | 'verify-full') =>
      login({ ...targetOf(server, tls(mode)), host: '127.0.0.2', port });
    const error = await failure(elsewhere('verify-full'));
    assert.equal((error.cause as NodeJS.ErrnoException).code, 'ERR_TLS_CERT_ALTNAME_INVALID');
    (await elsewhere('verify-ca')).socket.destroy();
    forward.close();
  } finally {
    await other.stop();
  }
});

test('settings go up in order, the last counts, and read-only is ours to say', async () => {
  const settings = [
    { name: 'application_name', value: 'one' },
    { name: 'default_transaction_read_only', value: 'off' },
    { name: 'application_name', value: "two ' \\" },
  ];
  const show =
    "SELECT current_setting('application_name'), current_setting('default_transaction_read_only')";
  for (const readOnly of [undefined, true, false]) {
    const upstream = await login(targetOf(server), 'postgres', {
      settings,
      ...(readOnly === undefined ? {} : { readOnly }),
    });
    const heard = await ask(upstream, show);
    assert.ok(heard.includes("two ' \\"), heard);
    assert.ok(heard.includes(readOnly === false ? '\x03off' : '\x02on'), heard);
    upstream.socket.destroy();
  }
});

test('a bad setting is told as the server told it; a missing database too', async () => {
  const bad = [{ name: 'search_path', value: 'a b' }];
  const one = await failure(login(targetOf(server), 'postgres', { settings: bad }));
  assert.match(
    `${one.sqlstate} ${one.message}`,
    /^22023 invalid value for parameter "search_path"/,
  );
  const strange = [{ name: 'no_such_setting', value: '1' }];
  const two = await failure(login(targetOf(server), 'postgres', { settings: strange }));
  assert.match(`${two.sqlstate} ${two.message}`, /^42704 unrecognized configuration parameter/);
  const three = await failure(login(targetOf(server), 'nowhere'));
  assert.equal(`${three.sqlstate} ${three.message}`, '3D000 database "nowhere" does not exist');
});

test('wrong and missing credentials: nothing of them is told, nothing else is used', async () => {
  const secret = 'not-the-password';
  const wrong = await failure(login(targetOf(server, { password: () => secret })));
  assert.equal(wrong.sqlstate, '08004');
  assert.ok(!wrong.message.includes(server.user) && !wrong.message.includes(secret));
  process.env.PGPASSWORD = server.password;
  process.env.PGOPTIONS = '-c work_mem=77MB';
  try {
    const none = await failure(login(targetOf(server, { password: () => undefined })));
    assert.equal(none.sqlstate, '28000');
    const upstream = await login(targetOf(server));
    assert.ok(!(await ask(upstream, 'SHOW work_mem')).includes('77MB'));
    upstream.socket.destroy();
  } finally {
    delete process.env.PGPASSWORD;
    delete process.env.PGOPTIONS;
  }
});

test('md5 passwords work', async () => {
  const role = `md5_${randomBytes(4).toString('hex')}`;
  await admin.query(`SET password_encryption = md5; CREATE ROLE ${role} LOGIN PASSWORD 'old'`);
  const { rows } = await admin.query('SHOW hba_file');
  const file = String(rows[0]?.hba_file);
  const before = readFileSync(file, 'utf8');
  writeFileSync(file, `host all ${role} all md5\n${before}`);
  await admin.query('SELECT pg_reload_conf()');
  const upstream = await login(targetOf(server, { user: role, password: () => 'old' }));
  assert.match(await ask(upstream, 'SELECT current_user'), new RegExp(role));
  upstream.socket.destroy();
});

test('a cancel request stops what runs, plain and over TLS', async () => {
  for (const mode of ['disable', 'verify-full'] as const) {
    const target = targetOf(server, tls(mode));
    const upstream = await login(target);
    const slept = ask(upstream, 'SELECT pg_sleep(30)');
    let running = false;
    while (!running) {
      const sql = "SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'";
      running = (await admin.query(sql, [upstream.processId])).rowCount === 1;
    }
    await cancelUpstream(target, upstream.processId, upstream.secretKey);
    assert.match(await slept, /C57014/);
    upstream.socket.destroy();
  }
});

test('giving up ends the login at once, and a server that is not there is said so', async () => {
  const silent = await scripted(() => {});
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 50);
  const given = await failure(login(silent.target, 'x', { signal: stop.signal }));
  assert.equal(given.sqlstate, '57014');
  const early = await failure(login(silent.target, 'x', { signal: AbortSignal.abort() }));
  assert.equal(early.sqlstate, '57014');
  await silent.close();
  const gone = await failure(login(silent.target));
  assert.equal(`${gone.sqlstate} ${gone.message}`, '08001 target shop can’t be reached');
});

const READY = Buffer.concat([
  frame('R', 0),
  frame('S', 'server_version', '18.0'),
  frame('N', Buffer.from('SNOTICE\0Mhello\0\0')),
  frame('S', 'server_version', '18.1'),
  frame('K', 77, Buffer.from([1, 2, 3, 4])),
  frame('Z', Buffer.from('I')),
]);

test('what comes behind ReadyForQuery in the same packet, whole or cut, is not lost', async () => {
  const tail = Buffer.concat([frame('S', 'TimeZone', 'UTC'), frame('A', 1, 'channel', '')]);
  for (let cut = 0; cut <= tail.length; cut += 3) {
    const peer = await scripted((socket) => {
      socket.write(Buffer.concat([READY, tail.subarray(0, cut)]));
      setTimeout(() => socket.end(tail.subarray(cut)), 5);
    });
    const upstream = await login(peer.target);
    assert.equal(upstream.parameters.get('server_version'), '18.1');
    assert.equal(upstream.notices.length, 1);
    assert.deepEqual([upstream.processId, ...upstream.secretKey], [77, 1, 2, 3, 4]);
    const chunks = [upstream.residual];
    upstream.socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    upstream.socket.resume();
    await once(upstream.socket, 'end');
    assert.deepEqual(Buffer.concat(chunks), tail);
    await peer.close();
  }
});

test('a server that talks without end, or nonsense, or leaves, is a failed login', async () => {
  const endless = frame('S', 'x', 'y'.repeat(LIMITS.upstream_greeting_bytes / 4));
  for (const said of [
    Buffer.concat([frame('R', 0), endless, endless, endless, endless, endless, READY]),
    Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
    Buffer.alloc(0),
  ]) {
    const peer = await scripted((socket) => socket.end(said));
    assert.match((await failure(login(peer.target))).sqlstate, /^08001$/);
    await peer.close();
  }
});

test('a server that declines TLS, or answers with more than one byte, is left', async () => {
  for (const answer of ['N', 'SX', 'E']) {
    const peer = await scripted((socket) => socket.write(answer));
    const error = await failure(login({ ...peer.target, ...tls('require') }));
    assert.equal(error.sqlstate, '08001');
    await peer.close();
  }
});

/** A peer that says its piece when the client has spoken first. */
async function scripted(speak: (socket: Socket) => void) {
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', () => speak(socket));
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const at = listener.address();
  if (at === null || typeof at === 'string') throw new Error('no port');
  return {
    target: targetOf({ ...server, port: at.port }),
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}
