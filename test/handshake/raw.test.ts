// The door spoken to byte by byte: what no ordinary driver sends, how it is cut, and how long it
// may take.
import assert from 'node:assert/strict';
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { LIMITS } from '../../proxy/limits.ts';
import { HandshakeFailed } from '../../proxy/postgres/handshake.ts';
import { openDoor } from './door.ts';

const door = await openDoor();
/** Long enough for a busy machine to answer the first packet. */
const quick = await openDoor({ handshakeTimeoutMs: 1_500 });
after(() => Promise.all([door.close(), quick.close()]));

function packet(code: number, ...pairs: string[]): Buffer {
  const body = Buffer.from(pairs.length === 0 ? '' : `${pairs.join('\0')}\0\0`);
  const head = Buffer.alloc(8);
  head.writeInt32BE(body.length + 8, 0);
  head.writeInt32BE(code, 4);
  return Buffer.concat([head, body]);
}

const SSL = packet(80877103);
const GSSENC = packet(80877104);
const V3 = 3 << 16;
const startup = (minor = 0, ...more: string[]) =>
  packet(V3 | minor, 'user', door.agent, 'database', 'shop', ...more);

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 0, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

function saslInitial(text: string, mechanism = 'SCRAM-SHA-256'): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(text.length, 0);
  return message('p', Buffer.concat([Buffer.from(`${mechanism}\0`), length, Buffer.from(text)]));
}

/** Everything that is said until the door closes. */
async function hear(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('close', resolve));
  return Buffer.concat(chunks).toString('latin1');
}

async function say(bytes: Buffer, port = door.port): Promise<string> {
  const socket = connectTcp(port, '127.0.0.1');
  socket.write(bytes);
  return hear(socket);
}

const fatal = (said: string): string =>
  /SFATAL\0.*?C(\w{5})\0M([^\0]*)/s.exec(said)?.slice(1).join(' ') ?? said;

/**
 * A whole login, written `step` bytes at a time; resolves with what came and the socket still open.
 */
async function login(step: number, more: Buffer, minor = 0, ...pairs: string[]) {
  const socket = connectTcp(door.port, '127.0.0.1');
  socket.setNoDelay(true);
  let heard: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => (heard = Buffer.concat([heard, chunk])));
  const write = async (bytes: Buffer) => {
    for (let at = 0; at < bytes.length; at += step) {
      socket.write(bytes.subarray(at, at + step));
      if (step < 8) await sleep(0);
    }
  };
  const until = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      // NULs as dots, so that patterns stay readable.
      const found = pattern.exec(heard.toString('latin1').replaceAll('\0', '.'));
      if (found) return found;
      await once(socket, 'data');
    }
  };
  const came = door.next();
  await write(startup(minor, ...pairs));
  await until(/SCRAM-SHA-256\.\.$/);
  await write(saslInitial('n,,n=,r=abc'));
  const [, reply = '', nonce = '', salt = ''] = await until(/(r=(abc[^,]*),s=([^,]*),i=4096)/);
  const hmac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest();
  const key = hmac(
    pbkdf2Sync(door.password, Buffer.from(salt, 'base64'), 4096, 32, 'sha256'),
    'Client Key',
  );
  const without = `c=biws,r=${nonce}`;
  const signature = hmac(createHash('sha256').update(key).digest(), `n=,r=abc,${reply},${without}`);
  const proof = Buffer.from(key.map((byte, at) => byte ^ (signature[at] ?? 0))).toString('base64');
  await write(Buffer.concat([message('p', Buffer.from(`${without},p=${proof}`)), more]));
  await until(/R\.{3}[^.]\.{4}$/);
  return { socket, heard: () => heard.toString('latin1'), came: await came };
}

test('a login one byte at a time, and one with a query right behind the proof', async () => {
  const slow = await login(1, Buffer.alloc(0));
  assert.equal('kind' in slow.came && slow.came.kind, 'session');
  slow.socket.destroy();
  const query = message('Q', Buffer.from('select 1\0'));
  const { came, socket } = await login(10_000, query);
  assert.ok('kind' in came && came.kind === 'session');
  const rest = new Promise<Buffer>((resolve) => {
    if (came.residual.length === query.length) return resolve(came.residual);
    came.socket.once('data', (chunk: Buffer) => resolve(Buffer.concat([came.residual, chunk])));
  });
  assert.deepEqual(await rest, query);
  const later = once(came.socket, 'data');
  came.socket.on('data', () => {});
  socket.write('later');
  assert.equal(String((await later)[0]), 'later');
  assert.deepEqual(came.agent, {
    name: 'agent-1',
    groups: ['ai'],
    capabilities: ['read'],
    scopes: [],
  });
  assert.ok(!JSON.stringify(came.agent).includes('SCRAM'));
  socket.destroy();
});

test('newer minors and unknown extensions are negotiated down, known minors are not', async () => {
  for (const [minor, pairs, wanted] of [
    [0, [], null],
    [2, [], null],
    [9999, [], 'v\0\0\0\x0c\0\x03\0\x02\0\0\0\0'],
    [0, ['_pq_.test', 'on'], 'v\0\0\0\x16\0\x03\0\x02\0\0\0\x01_pq_.test\0'],
  ] as const) {
    const { socket, heard, came } = await login(10_000, Buffer.alloc(0), minor, ...pairs);
    assert.equal(heard().startsWith('v') ? heard().slice(0, wanted?.length) : null, wanted);
    assert.ok('kind' in came && came.kind === 'session');
    assert.equal(came.startup.protocol.minor, Math.min(minor, 2));
    assert.ok(![...came.startup.parameters.keys()].some((name) => name.startsWith('_pq_')));
    socket.destroy();
  }
});

test('packets that are no startup are answered with a FATAL in PostgreSQL’s words', async () => {
  const length = (value: number) => {
    const bytes = Buffer.alloc(8);
    bytes.writeInt32BE(value, 0);
    return bytes;
  };
  for (const [bytes, wanted] of [
    [
      packet(2 << 16, 'user', 'x'),
      '0A000 unsupported frontend protocol 2.0: server supports 3.0 to 3.2',
    ],
    [packet(4 << 16), '0A000 unsupported frontend protocol 4.0: server supports 3.0 to 3.2'],
    [packet(1234 << 16), '0A000 unsupported frontend protocol 1234.0: server supports 3.0 to 3.2'],
    [length(0), '08P01 invalid length of startup packet'],
    [length(4), '08P01 invalid length of startup packet'],
    [length(-1), '08P01 invalid length of startup packet'],
    [length(LIMITS.startup_packet_bytes + 1), '08P01 invalid length of startup packet'],
    [Buffer.from('GET / HTTP/1.1\r\n\r\n'), '08P01 invalid length of startup packet'],
    [packet(V3), '08P01 invalid startup packet layout: a string is not terminated'],
    [packet(V3, 'user'), '08P01 invalid startup packet layout: a string is not terminated'],
    [packet(V3, 'database', 'shop'), '28000 no PostgreSQL user name specified in startup packet'],
    [packet(V3, 'user', 'x', 'replication', 'on'), 'ZH012 replication connections are refused'],
    [
      packet(V3, 'user', 'x', 'USER', 'postgres'),
      '42704 unrecognized configuration parameter "user"',
    ],
    [
      packet(V3, 'user', 'x', 'Replication', 'on'),
      '42704 unrecognized configuration parameter "replication"',
    ],
    [
      packet(V3, 'user', 'x', 'OPTIONS', '-c role=y'),
      '42704 unrecognized configuration parameter "options"',
    ],
    [packet(V3, 'user', 'x', '_PQ_.x', 'y'), '42704 unrecognized configuration parameter "_pq_.x"'],
    [
      packet(V3, 'user', 'x', 'options', '-c replication=1'),
      '42704 unrecognized configuration parameter "replication"',
    ],
    [
      packet(V3, 'user', 'x', 'options', '--DataBase=d'),
      '42704 unrecognized configuration parameter "database"',
    ],
    [
      packet(V3, 'user', 'x', 'options', '-c Session-Authorization=d'),
      'ZH006 the setting session_authorization can',
    ],
    [packet(80877103, 'x', 'y'), '08P01 invalid startup packet layout: 5 bytes are left over'],
    [packet(80877102), '08P01 invalid startup packet layout: wanted 4 bytes, 0 are left'],
    [packet(80877102, 'abc'), '08P01 invalid startup packet layout'],
  ] as const) {
    const said = fatal(await say(bytes));
    assert.ok(
      said.startsWith(wanted) || wanted === '08P01 invalid startup packet layout',
      `${said} / ${wanted}`,
    );
  }
  const bad = Buffer.from(startup());
  bad[bad.indexOf('shop')] = 0xff;
  assert.match(fatal(await say(bad)), /^22021 /);
  const over = Buffer.concat([startup(), Buffer.from('xyz')]);
  over.writeInt32BE(over.length, 0);
  assert.match(fatal(await say(over)), /^08P01 .*left over/);
});

test('encryption: GSSENC gets N, SSL gets S; asking again and talking ahead do not', async () => {
  const socket = connectTcp(door.port, '127.0.0.1');
  socket.write(GSSENC);
  assert.equal(String((await once(socket, 'data'))[0]), 'N');
  socket.write(SSL);
  assert.equal(String((await once(socket, 'data'))[0]), 'S');
  const secure = connectTls({ socket, rejectUnauthorized: false });
  await once(secure, 'secureConnect');
  secure.write(SSL);
  assert.equal(fatal(await hear(secure)), '0A000 unsupported frontend protocol 1234.5679');
  const ahead = Buffer.concat([SSL, startup()]);
  assert.equal(fatal(await say(ahead)), '08P01 received unencrypted data after SSL request');
  const gssAhead = Buffer.concat([GSSENC, startup()]);
  assert.equal(
    fatal(await say(gssAhead)),
    '08P01 received unencrypted data after GSSAPI encryption request',
  );
  const many = connectTcp(door.port, '127.0.0.1');
  for (let round = 0; round < LIMITS.encryption_requests; round++) {
    many.write(GSSENC);
    assert.equal(String((await once(many, 'data'))[0]), 'N');
  }
  many.write(GSSENC);
  assert.match(fatal(await hear(many)), /^0A000/);
});

test('direct TLS needs the protocol’s name; another name is turned away', async () => {
  const where = { port: door.port, host: '127.0.0.1', rejectUnauthorized: false };
  const named = connectTls({ ...where, ALPNProtocols: ['postgresql'] });
  named.write(startup());
  assert.match(String((await once(named, 'data'))[0]), /SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0/);
  named.destroy();
  const nameless = connectTls(where);
  nameless.write(startup());
  assert.equal(await hear(nameless), '');
  const other = connectTls({ ...where, ALPNProtocols: ['http/1.1'] });
  assert.equal(await hear(other), '');
  const off = await openDoor({ tls: false });
  const refused = connectTls({ ...where, port: off.port, ALPNProtocols: ['postgresql'] });
  assert.equal(await hear(refused), '');
  await off.close();
});

test('a cancel request is handed on as it came, also over TLS and with a long secret', async () => {
  for (const secret of [Buffer.from([1, 2, 3, 4]), Buffer.alloc(256, 7)]) {
    const head = Buffer.alloc(12);
    head.writeInt32BE(12 + secret.length, 0);
    head.writeInt32BE(80877102, 4);
    head.writeInt32BE(-5, 8);
    const came = door.next();
    assert.equal(await say(Buffer.concat([head, secret])), '');
    const one = await came;
    assert.ok('kind' in one && one.kind === 'cancel');
    assert.equal(one.processId, -5);
    assert.deepEqual(one.secret, secret);
  }
});

test('during the login: other messages, long ones, other mechanisms, and giving up', async () => {
  const answer = async (...more: Buffer[]) => fatal(await say(Buffer.concat([startup(), ...more])));
  const query = message('Q', Buffer.from('drop table t\0'));
  assert.equal(await answer(query), '08P01 expected SASL response, got message type 81');
  const long = message('p', Buffer.alloc(LIMITS.sasl_message_bytes));
  assert.equal(await answer(long), '08P01 invalid message length');
  const short = Buffer.from([0x70, 0, 0, 0, 3]);
  assert.equal(await answer(short), '08P01 invalid message length');
  const md5 = saslInitial('n,,n=,r=a', 'MD5');
  assert.equal(await answer(md5), '08P01 client selected an invalid SASL authentication mechanism');
  const plus = saslInitial('p=tls-server-end-point,,n=,r=a', 'SCRAM-SHA-256-PLUS');
  assert.equal(
    await answer(plus),
    '08P01 client selected an invalid SASL authentication mechanism',
  );
  assert.match(await answer(message('p', Buffer.from('SCRAM-SHA-256'))), /^08P01 .*not terminated/);
  const lied = Buffer.from(saslInitial('n,,n=,r=abc'));
  lied.writeInt32BE(99, 5 + 14);
  assert.match(await answer(lied), /^08P01 wanted 99 bytes/);
  const came = door.next();
  const gone = connectTcp(door.port, '127.0.0.1');
  gone.end(Buffer.concat([startup(), Buffer.from([0x58, 0, 0, 0, 4])]));
  await hear(gone);
  assert.ok((await came) instanceof HandshakeFailed);
});

test('silence, half a packet and a stuck TLS handshake end at the time limit', async () => {
  const silent = [Buffer.alloc(0), startup().subarray(0, 9), startup()];
  const stuck = [SSL, Buffer.from([0x16, 3, 1])];
  const said = await Promise.all([...silent, ...stuck].map((bytes) => say(bytes, quick.port)));
  for (const one of said.slice(0, silent.length)) {
    assert.match(fatal(one), /57014 the login took too long$/);
  }
  assert.deepEqual(said.slice(silent.length), ['S', '']);
});

test('leaving at any byte leaves nothing behind', async () => {
  const whole = Buffer.concat([startup(), saslInitial('n,,n=,r=abc')]);
  for (let cut = 0; cut < whole.length; cut += 7) {
    const came = door.next();
    const socket = connectTcp(door.port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write(whole.subarray(0, cut));
    socket.on('error', () => {});
    if (cut % 2 === 0) socket.end();
    else socket.resetAndDestroy();
    socket.resume();
    assert.ok((await came) instanceof HandshakeFailed);
  }
});
