// The ledger over HTTP: rights, the same contract as in process, the public log, witnesses, and a
// standby that takes over.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { generate } from 'selfsigned';
import { request } from 'undici';
import { type Principal, tokenDigest } from '../../ledger/access.ts';
import { openCheckpoint } from '../../ledger/checkpoint.ts';
import { RemoteLedger } from '../../ledger/client.ts';
import { hashLeaf } from '../../ledger/merkle.ts';
import { parseVkey } from '../../ledger/note.ts';
import { parseProof, verifyProof } from '../../ledger/proof.ts';
import { type Serving, serveLedger } from '../../ledger/serve.ts';
import { appendOf, decision, outcome } from './entries.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-service-'));
const opened: Serving[] = [];
after(async () => {
  for (const serving of opened) await serving.close();
  rmSync(directory, { recursive: true, force: true });
});
const origin = 'example.com/service';
const TOKENS = {
  proxy: 'proxy-token-0123456789',
  auditor: 'auditor-token-0123456789',
  metrics: 'metrics-token-0123456789',
};

function principal(
  name: keyof typeof TOKENS | string,
  rights: Principal['rights'],
  over: Partial<Principal> = {},
): Principal {
  const token = (TOKENS as { [name: string]: string })[name];
  return {
    name,
    rights,
    kinds: null,
    writes_as: null,
    token_sha256: token === undefined ? null : tokenDigest(token),
    certificate_sha256: null,
    ...over,
  };
}

const principals = [
  principal('proxy', ['append'], { kinds: ['decision', 'outcome', 'reads'] }),
  principal('auditor', ['read']),
  principal('metrics', ['metrics']),
];

async function serve(
  name: string,
  over: Partial<Parameters<typeof serveLedger>[0]> = {},
): Promise<Serving> {
  const serving = await serveLedger({
    directory: join(directory, name),
    origin,
    host: '127.0.0.1',
    port: 0,
    principals,
    ...over,
  });
  opened.push(serving);
  return serving;
}

async function get(
  serving: Serving,
  path: string,
  token: string | null,
  headers: { [name: string]: string } = {},
) {
  const response = await request(`http://127.0.0.1:${serving.port}${path}`, {
    headers: { ...headers, ...(token === null ? {} : { authorization: `Bearer ${token}` }) },
  });
  return {
    status: response.statusCode,
    headers: response.headers,
    bytes: Buffer.from(await response.body.arrayBuffer()),
  };
}

function client(serving: Serving, token: string = TOKENS.proxy): RemoteLedger {
  return new RemoteLedger({ urls: [`http://127.0.0.1:${serving.port}`], token });
}

test('over HTTP the contract is the same: proofs, keys, refusals', async () => {
  const serving = await serve('contract');
  const remote = client(serving);
  const calls = await Promise.all(
    Array.from({ length: 300 }, (_, i) => remote.append([appendOf(i)])),
  );
  assert.deepEqual(
    calls.flat().map((a) => a.index),
    Array.from({ length: 300 }, (_, i) => i),
  );
  const [again] = await remote.append([appendOf(7)]);
  assert.equal(again?.index, 7);
  const results = await Promise.allSettled([
    remote.append([appendOf(300)]),
    remote.append([{ key: 'long', entry: decision(1, { policy: 'x'.repeat(70_000) }) }]),
    remote.append([{ key: 'op-301/outcome', entry: outcome(301) }]),
  ]);
  assert.deepEqual(
    results.map((r) => (r.status === 'rejected' ? r.reason.code : 'ok')),
    ['ok', 'entry-too-large', 'ok'],
  );
  const body = Buffer.from('select 1'.repeat(10_000));
  await remote.append([{ key: 'with-body', entry: decision(302), body }]);
  const { bodyName } = await import('../../ledger/ledger.ts');
  assert.ok(
    (await get(serving, `/v1/bodies/${bodyName(body)}`, TOKENS.auditor)).bytes.equals(body),
  );
  await remote.close();
  await serving.close();
});

test('rights: appends and reads apart, kinds by writer, nothing without a token', async () => {
  const serving = await serve('rights');
  const post = async (token: string | null, body: unknown): Promise<number> => {
    const response = await request(`http://127.0.0.1:${serving.port}/v1/append`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify(body),
    });
    await response.body.dump();
    return response.statusCode;
  };
  const good = { appends: [appendOf(1)] };
  assert.equal(await post(null, good), 401);
  assert.equal(await post('wrong-token-0123456789', good), 401);
  assert.equal(await post(TOKENS.auditor, good), 403);
  assert.equal(await post(TOKENS.proxy, good), 200);
  const drill = {
    v: 1,
    time: new Date().toISOString(),
    by: 'x',
    kind: 'drill',
    name: 'n',
    passed: true,
    detail: '',
  };
  assert.equal(await post(TOKENS.proxy, { appends: [{ key: 'd', entry: drill }] }), 403);
  for (const bad of [
    {},
    { appends: [] },
    { appends: [1] },
    { appends: [{ key: 'a' }] },
    { appends: [{ key: 'a', entry: { v: 1, kind: 'decision' } }] },
    { appends: [{ key: 'a', entry: { ...decision(1), kind: 'gossip' } }] },
    { appends: [{ key: 'a', entry: { ...decision(1), key: 'b' } }] },
    { appends: [{ key: 'a', entry: { ...decision(1), time: 'yesterday' } }] },
    { appends: [{ key: 'a\n', entry: decision(1) }] },
  ]) {
    assert.equal(await post(TOKENS.proxy, bad), 422, JSON.stringify(bad).slice(0, 80));
  }
  for (const path of [
    '/v1/search',
    '/v1/entries/0',
    '/v1/entries/0/proof',
    '/v1/operations/op-1',
    '/v1/log',
    '/checkpoint',
    '/tile/0/000.p/1',
    '/metrics',
  ]) {
    assert.equal((await get(serving, path, null)).status, 401, path);
    assert.equal((await get(serving, path, TOKENS.proxy)).status, 403, path);
  }
  assert.equal((await get(serving, '/healthz', null)).status, 200);
  const metrics = await get(serving, '/metrics', TOKENS.metrics);
  assert.match(metrics.bytes.toString(), /holdpoint_ledger_entries_total 1\n/);
  await serving.close();
});

test('reading: search, story, entry, proof, tiles of every width, gzip where asked', async () => {
  const serving = await serve('reading');
  const remote = client(serving);
  await remote.append(Array.from({ length: 600 }, (_, i) => appendOf(i)));
  await remote.append([{ key: 'op-5/outcome', entry: outcome(5) }]);
  await serving.ledger?.publish(true);
  const key = parseVkey(
    JSON.parse((await get(serving, '/v1/log', TOKENS.auditor)).bytes.toString()).publicKey,
  );
  const json = async (path: string) =>
    JSON.parse((await get(serving, path, TOKENS.auditor)).bytes.toString());
  assert.equal((await json('/v1/search?object=public.orders&limit=3')).entries.length, 3);
  assert.equal((await get(serving, '/v1/search?colour=red', TOKENS.auditor)).status, 400);
  assert.equal((await get(serving, '/v1/search?from=nonsense', TOKENS.auditor)).status, 400);
  assert.equal((await get(serving, '/v1/search?limit=x', TOKENS.auditor)).status, 404);
  assert.deepEqual(
    (await json('/v1/operations/op-5')).steps.map((s: { stage: string }) => s.stage),
    ['judged', 'ran'],
  );
  assert.equal((await get(serving, '/v1/operations/none', TOKENS.auditor)).status, 404);
  assert.equal((await get(serving, '/v1/entries/601', TOKENS.auditor)).status, 404);
  const proof = parseProof(
    (await get(serving, '/v1/entries/600/proof', TOKENS.auditor)).bytes.toString(),
  );
  verifyProof(proof, hashLeaf(proof.extra ?? Buffer.alloc(0)), key);
  const checkpoint = openCheckpoint((await get(serving, '/checkpoint', TOKENS.auditor)).bytes, [
    key,
  ]);
  assert.equal(checkpoint.size, 601);
  const full = await get(serving, '/tile/0/000', TOKENS.auditor);
  assert.equal(full.bytes.length, 8192);
  for (const width of [1, 17, 255]) {
    const part = await get(serving, `/tile/0/000.p/${width}`, TOKENS.auditor);
    assert.ok(part.bytes.equals(full.bytes.subarray(0, width * 32)));
  }
  const plain = await get(serving, '/tile/entries/001', TOKENS.auditor);
  const zipped = await get(serving, '/tile/entries/001', TOKENS.auditor, {
    'accept-encoding': 'gzip',
  });
  assert.equal(zipped.headers['content-encoding'], 'gzip');
  assert.ok(gunzipSync(zipped.bytes).equals(plain.bytes));
  for (const path of [
    '/tile/0/003',
    '/tile/0/002.p/90',
    '/tile/../../key',
    '/tile/0/%2e%2e/key',
    '/tile/64/000',
  ]) {
    assert.equal((await get(serving, path, TOKENS.auditor)).status, 404, path);
  }
  await remote.close();
  await serving.close();
});

test('mutual TLS: a known client certificate has its rights, an unknown one none', async () => {
  const make = async (name: string) =>
    generate([{ name: 'commonName', value: name }], { keySize: 2048, algorithm: 'sha256' });
  const [server, known, stranger] = await Promise.all([
    make('localhost'),
    make('proxy-1'),
    make('stranger'),
  ]);
  const fingerprint = new X509Certificate(known.cert).fingerprint256.replaceAll(':', '');
  const serving = await serve('tls', {
    principals: [
      principal('proxy-1', ['append'], {
        certificate_sha256: fingerprint,
        writes_as: ['proxy/test'],
      }),
    ],
    tls: { cert: server.cert, key: server.private, clientCa: `${known.cert}\n${stranger.cert}` },
  });
  const remote = (pair: { cert: string; private: string }) =>
    new RemoteLedger({
      urls: [`https://localhost:${serving.port}`],
      tls: { ca: server.cert, cert: pair.cert, key: pair.private },
    });
  const good = remote(known);
  assert.equal((await good.append([appendOf(1)]))[0]?.index, 0);
  const bad = remote(stranger);
  await assert.rejects(bad.append([appendOf(2)]), { code: 'unauthorized' });
  await good.close();
  await bad.close();
  await serving.close();
});

test('the standby waits, takes over, and goes on with the same log', async () => {
  const first = await serve('standby');
  const second = await serve('standby', { standby: true });
  assert.equal((await get(second, '/healthz', null)).status, 503);
  const remote = new RemoteLedger({
    urls: [first.port, second.port].map((port) => `http://127.0.0.1:${port}`),
    token: TOKENS.proxy,
  });
  await remote.append([appendOf(1)]);
  assert.equal(second.ledger, null);
  await first.close();
  await second.active;
  const until = performance.now() + 60_000;
  let answer: number | undefined;
  while (answer === undefined && performance.now() < until) {
    answer = await remote.append([appendOf(2)]).then(
      (a) => a[0]?.index,
      () => undefined,
    );
    if (answer === undefined) await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.equal(answer, 1);
  assert.equal((await remote.append([appendOf(1)]))[0]?.index, 0);
  await remote.close();
  await second.close();
});

/** A line to the service that loses the answer of every second append. */
async function lossyLine(
  port: number,
): Promise<{ port: number; lost: () => number; close: () => void }> {
  let number = 0;
  let lost = 0;
  const server = createTcpServer((client) => {
    const service = connect(port, '127.0.0.1');
    client.on('data', (chunk) => {
      if (chunk.includes('POST /v1/append')) number++;
      service.write(chunk);
    });
    service.on('data', (chunk) => {
      if (number % 2 === 0) client.write(chunk);
      else if (chunk.includes('"answers"')) {
        lost++;
        client.destroy();
      }
    });
    client.on('close', () => service.destroy()).on('error', () => {});
    service.on('close', () => client.destroy()).on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const at = typeof address === 'object' && address !== null ? address.port : 0;
  return { port: at, lost: () => lost, close: () => server.close() };
}

test('an answer lost on the way does not double an entry, nor change the order', async () => {
  const serving = await serve('lossy');
  const line = await lossyLine(serving.port);
  const remote = new RemoteLedger({ urls: [`http://127.0.0.1:${line.port}`], token: TOKENS.proxy });
  for (let at = 0; at < 20; at++) {
    const calls = [appendOf(2 * at), appendOf(2 * at + 1)].map((append) => remote.append([append]));
    const answers = (await Promise.all(calls)).flat();
    assert.deepEqual(
      answers.map((answer) => answer.index),
      [2 * at, 2 * at + 1],
    );
  }
  assert.ok(line.lost() > 5, `${line.lost()} answers were lost`);
  assert.equal(serving.ledger?.size, 40);
  await remote.close();
  line.close();
  await serving.close();
});
