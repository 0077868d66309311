// Attacks on the running service by who can reach its port, with a token and without: odd requests,
// odd entries, a clock that jumps.
// Invariant: after each the service still answers, its index follows, and nothing private was said.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, mock, test } from 'node:test';
import { request } from 'undici';
import { type Principal, tokenDigest } from '../../ledger/access.ts';
import { openLedger } from '../../ledger/ledger.ts';
import { legalHolds, releaseLegalHold, setLegalHold } from '../../ledger/legal-hold.ts';
import { type Serving, serveLedger } from '../../ledger/serve.ts';
import { appendOf, decision } from './entries.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-attack-'));
const tokenOf = (name: string): string => `${name}-token-0123456789`;

function principal(name: string, rights: Principal['rights']): Principal {
  const token_sha256 = tokenDigest(tokenOf(name));
  return { name, rights, kinds: null, writes_as: null, token_sha256, certificate_sha256: null };
}

let serving: Serving;
before(async () => {
  serving = await serveLedger({
    directory: join(directory, 'service'),
    origin: 'example.com/attack',
    host: '127.0.0.1',
    port: 0,
    publicLog: true,
    principals: [principal('proxy', ['append']), principal('auditor', ['read'])],
  });
  await serving.ledger?.append(Array.from({ length: 300 }, (_, i) => appendOf(i)));
  await serving.ledger?.publish(true);
});
after(async () => {
  await serving.close();
  rmSync(directory, { recursive: true, force: true });
});

/** What the service answers to these very bytes, until it ends or has said `enough`. */
function raw(text: string, enough = /\r\n\r\n/): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    const socket = connect(serving.port, '127.0.0.1', () => socket.write(text));
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      said += chunk;
      if (enough.test(said)) socket.destroy();
    });
    socket.on('error', reject).on('close', () => resolve(said));
  });
}

async function append(body: string): Promise<number> {
  const response = await request(`http://127.0.0.1:${serving.port}/v1/append`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${tokenOf('proxy')}` },
    body,
  });
  await response.body.dump();
  return response.statusCode;
}

/** Appends go on and are found: neither log nor index stumbled. */
async function stillWell(key: string): Promise<void> {
  const entry = decision(1, { agent: key });
  assert.equal(await append(JSON.stringify({ appends: [{ key, entry }] })), 200);
  await serving.ledger?.publish(true);
  const found = await serving.ledger?.search({ agent: key });
  assert.equal(found?.entries.length, 1);
}

test('paths that lead out of the log lead nowhere', async () => {
  for (const path of [
    '/tile/../../key',
    '/tile/../key',
    '/tile/%2e%2e/%2e%2e/key',
    '/tile/..%2f..%2fkey',
    '/tile/0/..\\..\\..\\key',
    '/tile/0/000/../../../../key',
    '//tile/../key',
    '/tile/entries/000%00',
    '/tile/0/000?/../../../key',
    '/checkpoint/../../key',
    '/tile/./0/000',
    '/tile/00/000',
    '/tile/0/x000',
    '/tile/0/000.p/256',
    '/tile/0/000.p/0',
    `/tile/0/${'x001/'.repeat(200)}000`,
  ]) {
    const said = await raw(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`, /never/);
    assert.match(said, /^HTTP\/1\.1 4\d\d/, path);
    assert.doesNotMatch(said, /PRIVATE KEY/, path);
  }
});

test('nobody is listened to at length before they have shown who they are', async () => {
  const head = 'POST /v1/append HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';
  const large = `content-length: ${90 * 1024 * 1024}\r\n\r\n{`;
  // The body never comes; the answer does.
  assert.match(await raw(head + large), /^HTTP\/1\.1 401/);
  const reader = `authorization: Bearer ${tokenOf('auditor')}\r\n`;
  assert.match(await raw(head + reader + large), /^HTTP\/1\.1 403/);
  const writer = `authorization: Bearer ${tokenOf('proxy')}\r\n`;
  const tooLarge = `content-length: ${900 * 1024 * 1024}\r\n\r\n{`;
  assert.match(await raw(head + writer + tooLarge), /^HTTP\/1\.1 413/);
  await stillWell('after-length');
});

test('gzip only where it is asked for', async () => {
  for (const [accepted, zipped] of [
    ['gzip', true],
    ['br;q=1.0, gzip;q=0.5', true],
    ['gzip;q=0', false],
    ['gzip;q=0.000, identity', false],
    ['x-gzip-not', false],
    ['identity', false],
  ] as const) {
    const { headers, body } = await request(`http://127.0.0.1:${serving.port}/tile/0/000`, {
      headers: { 'accept-encoding': accepted },
    });
    await body.dump();
    assert.equal(headers['content-encoding'] === 'gzip', zipped, accepted);
  }
});

test('an entry that would make a reader of the log stumble is refused at the door', async () => {
  const good = decision(5);
  const bent: object[] = [
    { ...good, effects: 5 },
    { ...good, effects: [null] },
    { ...good, effects: [{}] },
    { ...good, effects: [{ objects: [{ name: { a: 1 } }] }] },
    { ...good, statement: null },
    { ...good, statement: [] },
    { ...good, statement: { sha256: '../../key' } },
    { ...good, verdict: 'allow' },
    { ...good, agent: { toString: 1 } },
    { ...good, operation: ['a'] },
    { ...good, hold: 7 },
    { ...good, stated: null },
    { ...good, time: 'Infinity' },
  ];
  for (const [at, entry] of bent.entries()) {
    const status = await append(JSON.stringify({ appends: [{ key: `bent-${at}`, entry }] }));
    assert.equal(status, 422, JSON.stringify(bent[at]).slice(0, 2_000));
  }
  const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
  const entry = JSON.stringify({ ...good, policy: 'DEEP' }).replace('"DEEP"', deep);
  const status = await append(`{"appends":[{"key":"deep","entry":${entry}}]}`);
  assert.ok(status >= 400 && status < 500, `${status}`);
  const odd = { ...good, verdict: { kind: 5, rule: [] }, __proto__: null, class: { a: 1 } };
  await append(JSON.stringify({ appends: [{ key: 'odd', entry: odd }] }));
  await stillWell('after-bent');
});

test('a body stays where bodies are, whatever its entry calls it', async () => {
  const statement = { ...decision(6).statement, text: null, sha256: '../../../key' };
  const body = Buffer.from('x').toString('base64');
  const entry = decision(6, { statement });
  assert.equal(await append(JSON.stringify({ appends: [{ key: 'b', entry, body }] })), 200);
  await stillWell('after-body');
});

test('a clock that jumps back changes neither order nor what holds', async () => {
  const where = { directory: join(directory, 'clock'), origin: 'example.com/clock', shardLevel: 8 };
  const ledger = await openLedger(where);
  mock.timers.enable({ apis: ['Date'], now: Date.now() });
  try {
    const hold = { name: 'case', who: 'ana', from: null, to: null };
    await setLegalHold(ledger, hold, 'ledger/test');
    mock.timers.setTime(Date.now() - 3_600_000);
    await releaseLegalHold(ledger, 'case', 'ana', 'ledger/test');
    assert.deepEqual(await legalHolds(ledger), []);
    await ledger.append(Array.from({ length: 300 }, (_, i) => appendOf(i)));
    mock.timers.setTime(1);
    await setLegalHold(ledger, hold, 'ledger/test');
    assert.deepEqual(await legalHolds(ledger), [hold]);
    const answers = await ledger.append([appendOf(1000), appendOf(3)]);
    assert.deepEqual(
      answers.map((answer) => answer.index),
      [ledger.size - 1, 5],
    );
  } finally {
    mock.timers.reset();
    await ledger.close();
  }
});
