// What is no message, or not one that a client may send: refused in PostgreSQL's own form, and
// nobody else notices.
// Invariant: after every case another client still works, and nothing was changed.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RawClient } from '../peers/client.ts';
import {
  cancelRequest,
  copyData,
  copyDone,
  GSSENC_REQUEST,
  message,
  parse,
  query,
  SSL_REQUEST,
  startup,
  sync,
} from '../peers/messages.ts';
import { until } from '../setup/holds.ts';
import { marked } from '../setup/marked.ts';

const start = marked({ tls: 'off' });
const INT_MAX = Buffer.from([0x7f, 0xff, 0xff, 0xff]);

async function stillServes(): Promise<void> {
  const { holdpoint, count } = await start();
  const client = await RawClient.login(holdpoint.login);
  client.send(query('select 1'));
  assert.deepEqual((await client.replies()).at(-1), 'Z "I"');
  await client.end();
  assert.equal(await count('open_t'), 3);
}

/** Sends raw bytes in a session and expects an ErrorResponse, then the end of the connection. */
async function breaksOff(bytes: Buffer, code: RegExp): Promise<void> {
  const { holdpoint } = await start();
  const client = await RawClient.login(holdpoint.login);
  client.send(bytes);
  const seen = await client.closed();
  const last = seen.at(-1) ?? 'nothing';
  assert.match(last, /^E FATAL /, seen.join('\n'));
  assert.match(last, code);
  await stillServes();
}

/** Sends raw bytes as the first of a connection. */
async function greetedWith(bytes: Buffer): Promise<{ text: string; client: RawClient }> {
  const { holdpoint } = await start();
  const client = await RawClient.open(holdpoint.login);
  let text = '';
  client.socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  client.send(bytes);
  await client.closed().catch((error: Error) => assert.fail(error.message));
  return { text, client };
}

describe('a message that', () => {
  test('has an unknown type', () => breaksOff(message('!', Buffer.from('x')), /ZH010|08P01/));
  test('is a server message', () => breaksOff(message('Z', Buffer.from('I')), /ZH010|08P01/));
  test('has a length below four', () => breaksOff(Buffer.from([0x51, 0, 0, 0, 3]), /ZH010|08P01/));
  test('has a negative length', () =>
    breaksOff(Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff]), /ZH010|08P01/));
  test('claims two gigabytes', () =>
    breaksOff(Buffer.concat([Buffer.from('Q'), INT_MAX]), /ZH013|54000/));
  test('claims a large Sync', () =>
    breaksOff(Buffer.concat([Buffer.from('S'), INT_MAX]), /ZH01[03]|54000|08P01/));
  test('has no end to its text', () =>
    breaksOff(message('Q', Buffer.from('select 1')), /ZH010|08P01/));
  test('goes on behind its text', () =>
    breaksOff(message('Q', Buffer.from('select 1\0delete from open_t\0')), /ZH010|08P01/));
  test('is a Parse with more types than bytes', () =>
    breaksOff(message('P', Buffer.from('s\0select 1\0\x7f\xff', 'latin1')), /ZH010|08P01/));
  test('is a Bind with a parameter of two gigabytes', () =>
    breaksOff(
      Buffer.concat([
        parse('select $1::text'),
        message('B', Buffer.from('\0\0\0\0\0\x01', 'latin1'), INT_MAX),
      ]),
      /ZH010|08P01/,
    ));
  test('describes neither statement nor portal', () =>
    breaksOff(Buffer.concat([message('D', Buffer.from('Xs\0')), sync()]), /ZH010|08P01/));
  test('is a password after the login', () =>
    breaksOff(message('p', Buffer.from('secret\0')), /ZH010|08P01/));
});

describe('a client that', () => {
  test('calls a function by number is refused and goes on', async () => {
    const { holdpoint } = await start();
    const client = await RawClient.login(holdpoint.login);
    const call = Buffer.from([0, 0, 3, 1, 0, 0, 0, 0, 0, 0]);
    client.send(message('F', call), query('select 1'));
    const seen = await client.replies(2);
    assert.match(seen[0] ?? '', /^E ERROR ZH011 /);
    assert.deepEqual(
      seen
        .slice(1)
        .map((l) => l[0])
        .join(''),
      'ZTDCZ',
    );
    await client.end();
    await stillServes();
  });

  test('sends copy data that nobody asked for is not disturbed', async () => {
    const { holdpoint } = await start();
    const client = await RawClient.login(holdpoint.login);
    client.send(copyData('stray'), copyDone(), query('select 1'));
    assert.deepEqual((await client.replies()).map((l) => l[0]).join(''), 'TDCZ');
    await client.end();
  });

  test('sends text that is not UTF-8 is told so, as by the server', async () => {
    const { holdpoint } = await start();
    const client = await RawClient.login(holdpoint.login);
    client.send(message('Q', Buffer.from("select '\xff\xfe'\0", 'latin1')), query('select 1'));
    const seen = await client.replies(2);
    assert.match(seen[0] ?? '', /^E ERROR \S+ /);
    assert.deepEqual(
      seen
        .slice(1)
        .map((l) => l[0])
        .join(''),
      'ZTDCZ',
    );
    await client.end();
  });

  test('leaves in the middle of a message leaves nothing behind', async () => {
    const { holdpoint, behind, database } = await start();
    const client = await RawClient.login(holdpoint.login);
    client.send(query('begin'), query('delete from open_t'));
    await client.replies(2);
    client.send(query('commit').subarray(0, 7));
    client.socket.destroy();
    const open = `select count(*)::int as n from pg_stat_activity
      where datname = $1 and pid <> pg_backend_pid() and state like 'idle in%'`;
    await until('it has gone', async () => {
      return (await behind.query(open, [database])).rows[0].n === 0;
    });
    await stillServes();
  });
});

describe('a connection that begins with', () => {
  test('a replication request is refused', async () => {
    const { holdpoint } = await start();
    const { user, database } = holdpoint.login;
    const { text } = await greetedWith(startup({ user, database, replication: 'database' }));
    assert.match(text, /^E/);
    assert.match(text, /ZH012/);
  });

  test('HTTP', async () => {
    await greetedWith(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
    await stillServes();
  });

  test('a startup packet that is too long', async () => {
    await greetedWith(Buffer.from([0, 0x10, 0, 0, 0, 3, 0, 0]));
    await stillServes();
  });

  test('protocol 2', async () => {
    const { text } = await greetedWith(startup({ user: 'x' }, 0x0002_0000));
    assert.match(text, /^E/);
  });

  test('a cancel of nobody', async () => {
    const { text } = await greetedWith(cancelRequest(12_345, Buffer.from([1, 2, 3, 4])));
    assert.equal(text, '');
    await stillServes();
  });

  test('SSL and GSS requests gets N for both and may go on', async () => {
    const { holdpoint } = await start();
    const client = await RawClient.open(holdpoint.login);
    let raw = '';
    client.socket.removeAllListeners('data');
    client.socket.on('data', (chunk: Buffer) => (raw += chunk.toString('latin1')));
    for (const [i, request] of [GSSENC_REQUEST, SSL_REQUEST].entries()) {
      client.send(request);
      while (raw.length <= i) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.equal(raw, 'NN');
    client.socket.destroy();
  });

  test('nothing, forever, is cut off', async () => {
    const { holdpoint } = await start();
    const client = await RawClient.open(holdpoint.login);
    const began = performance.now();
    await client.closed(60_000);
    assert.ok(performance.now() - began < 50_000);
  });

  test('a wrong password', async () => {
    const { holdpoint } = await start();
    const wrong = { ...holdpoint.login, password: 'wrong' };
    await assert.rejects(RawClient.login(wrong), /password authentication failed/);
    const nobody = { ...holdpoint.login, user: 'nobody', password: 'wrong' };
    await assert.rejects(RawClient.login(nobody), /password authentication failed/);
    await stillServes();
  });
});
