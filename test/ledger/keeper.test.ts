// Retention and legal holds while the ledger serves: by the clock, over HTTP with a right of their
// own, by the command, with appends going on.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { request } from 'undici';
import { type Principal, tokenDigest } from '../../ledger/access.ts';
import { bodyName } from '../../ledger/body.ts';
import type { Append } from '../../ledger/contract.ts';
import { Keeper } from '../../ledger/keeper.ts';
import { openLedger } from '../../ledger/ledger.ts';
import { legalHolds } from '../../ledger/legal-hold.ts';
import { parseVkey } from '../../ledger/note.ts';
import { type Serving, serveLedger } from '../../ledger/serve.ts';
import { verifyLog } from '../../ledger/verify.ts';
import { decision } from './entries.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-keeper-'));
const opened: { close(): Promise<void> }[] = [];
after(async () => {
  for (const one of opened) await one.close();
  rmSync(directory, { recursive: true, force: true });
});
const ROOT = join(import.meta.dirname, '../..');
const origin = 'example.com/keeper';
const tokenOf = (name: string): string => `${name}-token-0123456789`;
const policy = { days: { default: 0 }, floor_days: 0 };

function principal(name: string, rights: Principal['rights']): Principal {
  const token_sha256 = tokenDigest(tokenOf(name));
  return { name, rights, kinds: null, writes_as: null, token_sha256, certificate_sha256: null };
}

async function serve(name: string, every_ms: number): Promise<Serving> {
  const serving = await serveLedger({
    directory: join(directory, name),
    origin,
    host: '127.0.0.1',
    port: 0,
    principals: [
      principal('keeper', ['retain']),
      principal('proxy', ['append']),
      principal('auditor', ['read', 'metrics']),
    ],
    retention: { policy, archive: null, every_ms },
    shardLevel: 8,
  });
  opened.push(serving);
  return serving;
}

/** The seals of what was appended so far are old enough once another service's entry is newer. */
async function newer(serving: Serving): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 2));
  await serving.ledger?.append(appends(1e6, 1));
}

function appends(from: number, count: number, time = new Date().toISOString()): Append[] {
  return Array.from({ length: count }, (_, i) => ({
    key: `op-${from + i}`,
    entry: decision(from + i, { time }),
  }));
}

async function ask(
  serving: Serving,
  name: string,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: object,
) {
  const response = await request(`http://127.0.0.1:${serving.port}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${tokenOf(name)}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    body: body === undefined ? null : JSON.stringify(body),
  });
  const text = await response.body.text();
  const json = /json/.test(String(response.headers['content-type']));
  return { status: response.statusCode, answer: json ? JSON.parse(text) : text };
}

function holdpoint(...words: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [join(ROOT, 'cli/main.ts'), 'ledger', ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.err += text));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, ...said }));
  });
}

test('over HTTP: its own right, the asker named, holds respected, metrics', async () => {
  const serving = await serve('http', 3_600_000);
  const { ledger } = serving;
  assert.ok(ledger);
  for (const name of ['proxy', 'auditor']) {
    for (const [method, path] of [
      ['GET', '/v1/retention'],
      ['POST', '/v1/retention'],
      ['POST', '/v1/legal-holds'],
      ['DELETE', '/v1/legal-holds/x'],
    ] as const) {
      const body = method === 'POST' ? { name: 'x' } : undefined;
      assert.equal((await ask(serving, name, method, path, body)).status, 403, `${name} ${path}`);
    }
  }
  await ledger.append(appends(0, 600));
  await newer(serving);
  const held = await ask(serving, 'keeper', 'POST', '/v1/legal-holds', { name: 'case 7' });
  assert.equal(held.status, 200);
  const stopped = await ask(serving, 'keeper', 'POST', '/v1/retention', {});
  assert.deepEqual(stopped.answer.removed, []);
  assert.deepEqual(stopped.answer.held, [
    { shard: 0, hold: 'case 7' },
    { shard: 256, hold: 'case 7' },
  ]);
  const status = (await ask(serving, 'keeper', 'GET', '/v1/retention')).answer;
  assert.deepEqual(status.holds, [{ name: 'case 7', who: 'keeper', from: null, to: null }]);
  assert.deepEqual(status.policy, policy);
  const metrics = (await ask(serving, 'auditor', 'GET', '/metrics')).answer;
  assert.match(metrics, /holdpoint_ledger_legal_holds 1\n/);
  assert.match(metrics, /holdpoint_ledger_shards\{state="held"\} 2\n/);
  const bad = await ask(serving, 'keeper', 'POST', '/v1/retention', { dyr: true });
  assert.equal(bad.status, 400);
  const odd = { name: 'y', from: 'yesterday' };
  assert.equal((await ask(serving, 'keeper', 'POST', '/v1/legal-holds', odd)).status, 422);
  assert.equal((await ask(serving, 'keeper', 'DELETE', '/v1/legal-holds/none')).status, 404);
  const free = await ask(
    serving,
    'keeper',
    'DELETE',
    `/v1/legal-holds/${encodeURIComponent('case 7')}`,
  );
  assert.equal(free.status, 200);
  const dry = await ask(serving, 'keeper', 'POST', '/v1/retention', { dry: true });
  assert.deepEqual(dry.answer.removed, [0, 256]);
  const done = await ask(serving, 'keeper', 'POST', '/v1/retention', {});
  assert.deepEqual(done.answer.removed, [0, 256]);
  const gone = await ask(serving, 'auditor', 'GET', '/v1/entries/3');
  assert.deepEqual([gone.status, gone.answer.code], [410, 'removed']);
  const { entries } = await ledger.search({ rule: 'shard-removed' });
  assert.deepEqual(
    entries.map(({ entry }) => (entry.kind === 'administration' ? [entry.who, entry.by] : [])),
    [
      ['keeper', 'ledger/service'],
      ['keeper', 'ledger/service'],
    ],
  );
  await serving.close();
});

test('by the clock, with appends and a body going on; verify finds nothing', async () => {
  const serving = await serve('clock', 20);
  const { ledger } = serving;
  assert.ok(ledger);
  const body = Buffer.from('select long');
  const statement = { ...decision(0).statement, sha256: bodyName(body), text: null };
  const verifier = parseVkey(ledger.publicKey);
  let number = 0;
  let removed = 0;
  while (removed < 2) {
    await ledger.append(appends(number, 150));
    number += 150;
    // The same body again and again: named by shards that go and by entries that stay.
    const entry = decision(number, { time: new Date().toISOString(), statement });
    await ledger.append([{ key: `body-${number}`, entry, body }]);
    assert.ok((await ledger.body(bodyName(body))).equals(body));
    const result = await verifyLog({ directory: ledger.directory, verifier });
    assert.deepEqual(result.findings, []);
    removed = result.removed / 256;
  }
  await serving.close();
  const result = await verifyLog({ directory: ledger.directory, verifier });
  assert.deepEqual(result.findings, []);
  assert.ok(!existsSync(join(ledger.directory, 'log/tile/entries/000')));
});

test('a clock that is wrong removes nothing', async () => {
  const day = 86_400_000;
  const ledger = await openLedger({ directory: join(directory, 'wrong'), origin, shardLevel: 8 });
  opened.push(ledger);
  const long = { days: { default: 365 }, floor_days: 0 };
  const keeperAt = (now: number) =>
    new Keeper(ledger, {
      retention: { policy: long, archive: null },
      metrics: null,
      now: () => now,
      warn: () => {},
    });
  await ledger.append(appends(0, 300));
  const ahead = keeperAt(Date.now() + 1000 * day);
  assert.deepEqual((await ahead.run('ana', false)).removed, []);
  // Two clocks agree: time has really passed.
  const time = new Date(Date.now() + 1000 * day).toISOString();
  await ledger.append(appends(1000, 1, time));
  assert.deepEqual((await keeperAt(Date.now()).run('ana', false)).removed, []);
  assert.deepEqual((await ahead.run('ana', false)).removed, [0]);
  await ahead.close();
  await ledger.close();
});

test('the command, of a running ledger and of a stopped one', async () => {
  const serving = await serve('command', 3_600_000);
  await serving.ledger?.append(appends(0, 300));
  await newer(serving);
  const tokenFile = join(directory, 'keeper.token');
  writeFileSync(tokenFile, tokenOf('keeper'));
  const running = ['--url', `http://127.0.0.1:${serving.port}`, '--token-file', tokenFile];
  const set = await holdpoint('legal-hold', 'case 9', ...running);
  assert.deepEqual([set.code, set.out], [0, 'legal hold case 9 set: entry 302\n'], set.err);
  const kept = await holdpoint('retain', ...running);
  assert.match(
    kept.out,
    /removed, by first entry: none\nshard of entry 0: kept by legal hold case 9/,
  );
  const shown = await holdpoint('retention', ...running);
  assert.equal(JSON.parse(shown.out).holds[0].name, 'case 9');
  assert.equal((await holdpoint('legal-hold', 'case 9', '--release', ...running)).code, 0);
  await serving.close();
  const where = ['--directory', join(directory, 'command')];
  const nobody = await holdpoint('legal-hold', 'case 10', ...where);
  assert.deepEqual([nobody.code, /--who NAME/.test(nobody.err)], [1, true]);
  assert.equal((await holdpoint('legal-hold', 'case 10', ...where, '--who', 'ana')).code, 0);
  const ledger = await openLedger({ directory: join(directory, 'command'), origin });
  opened.push(ledger);
  assert.deepEqual(
    (await legalHolds(ledger)).map((hold) => [hold.name, hold.who]),
    [['case 10', 'ana']],
  );
});
