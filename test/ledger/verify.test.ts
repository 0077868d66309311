// Verification of a log in use, of a copy of its public part, and of what its journal adds.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openLedger } from '../../ledger/ledger.ts';
import { parseVkey } from '../../ledger/note.ts';
import { verifyLog } from '../../ledger/verify.ts';
import { appendOf } from './entries.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-verify-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const origin = 'example.com/verify';

test('a log in use verifies at every moment, and so does a copy of its public part', async () => {
  const where = join(directory, 'live');
  const ledger = await openLedger({ directory: where, origin, segmentBytes: 256 * 1024 });
  const verifier = parseVkey(ledger.publicKey);
  let stop = false;
  let number = 0;
  const writers = [1, 30, 300].map(async (batch) => {
    while (!stop) await ledger.append(Array.from({ length: batch }, () => appendOf(number++)));
  });
  for (let at = 0; at < 15; at++) {
    const result = await verifyLog({ directory: where, verifier });
    assert.deepEqual(result.findings, [], `at ${result.entries}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  stop = true;
  await Promise.all(writers);
  await ledger.close();
  const copy = join(directory, 'copy');
  cpSync(join(where, 'log'), copy, { recursive: true });
  const result = await verifyLog({ directory: copy, verifier, threads: 2 });
  assert.deepEqual(result.findings, []);
  assert.equal(result.entries, ledger.size);
});

test('threads find the same as one; the first bad entry is named across them', async () => {
  const where = join(directory, 'threads');
  const ledger = await openLedger({ directory: where, origin });
  const verifier = parseVkey(ledger.publicKey);
  for (let at = 0; at < 20_000; at += 4000) {
    await ledger.append(Array.from({ length: 4000 }, (_, i) => appendOf(at + i)));
  }
  await ledger.close();
  const good = await verifyLog({ directory: where, verifier, threads: 2 });
  assert.deepEqual(good.findings, []);
  for (const bundle of ['070', '050']) {
    const path = join(where, 'log/tile/entries', bundle);
    const bytes = readFileSync(path);
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    writeFileSync(path, bytes);
  }
  for (const threads of [1, 2]) {
    const bad = await verifyLog({ directory: where, verifier, threads });
    assert.deepEqual(
      bad.findings.map((finding) => finding.entry),
      [50 * 256, 70 * 256],
    );
  }
});

test('what only the journal has is counted; a damaged journal is found', async () => {
  const where = join(directory, 'journal');
  const ledger = await openLedger({ directory: where, origin });
  const verifier = parseVkey(ledger.publicKey);
  await ledger.append([appendOf(1)]);
  await ledger.publish();
  const published = readFileSync(join(where, 'log/checkpoint'));
  await ledger.append([appendOf(2), appendOf(3)]);
  await ledger.close();
  writeFileSync(join(where, 'log/checkpoint'), published);
  const result = await verifyLog({ directory: where, verifier });
  assert.deepEqual([result.ok, result.entries, result.journal], [true, 1, 2]);
  const [segment] = readdirSync(join(where, 'journal'));
  const path = join(where, 'journal', segment ?? '');
  const bytes = readFileSync(path);
  bytes[4096 + 200] = (bytes[4096 + 200] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  const bad = await verifyLog({ directory: where, verifier });
  assert.match(bad.findings[0]?.what ?? '', /damaged at byte 4096/);
  await assert.rejects(openLedger({ directory: where, origin }), { code: 'journal-corrupt' });
});

test('a tile that a crash tore while it was written is mended at the next start', async () => {
  const where = join(directory, 'torn');
  let ledger = await openLedger({ directory: where, origin });
  let number = 0;
  for (const count of [17, 13, 7]) {
    await ledger.append(Array.from({ length: count }, () => appendOf(number++)));
    await ledger.publish();
  }
  await ledger.close();
  const verifier = parseVkey(ledger.publicKey);
  const tile = join(where, 'log/tile/0/000.p');
  // A kill between open and write, and in a write; one that a checkpoint never came to need.
  writeFileSync(join(tile, '17'), '');
  writeFileSync(join(tile, '30'), readFileSync(join(tile, '30')).subarray(0, 100));
  writeFileSync(join(where, 'log/tile/entries/000.p/30'), 'x');
  writeFileSync(join(tile, '99'), 'x');
  assert.equal((await verifyLog({ directory: where, verifier })).ok, false);
  ledger = await openLedger({ directory: where, origin });
  await ledger.append(Array.from({ length: 90 }, (_, i) => appendOf(1000 + i)));
  await ledger.close();
  assert.deepEqual((await verifyLog({ directory: where, verifier })).findings, []);
});

test('a lost journal stops the ledger; an operator may go on from the published log', async () => {
  for (const size of [1, 255, 256, 300, 70_000]) {
    const where = join(directory, `lost-${size}`);
    const ledger = await openLedger({ directory: where, origin });
    for (let at = 0; at < size; at += 4000) {
      const count = Math.min(4000, size - at);
      await ledger.append(Array.from({ length: count }, (_, i) => appendOf(at + i)));
    }
    await ledger.close();
    rmSync(join(where, 'journal'), { recursive: true });
    await assert.rejects(openLedger({ directory: where, origin }), { code: 'journal-missing' });
    const again = await openLedger({ directory: where, origin, adopt: true });
    assert.equal(again.root, ledger.root);
    const [next] = await again.append([appendOf(size)]);
    assert.equal(next?.index, ledger.size);
    await again.close();
    const verifier = parseVkey(ledger.publicKey);
    const earlier = [ledger.checkpoint];
    const result = await verifyLog({ directory: where, verifier, earlier });
    assert.deepEqual(result.findings, []);
  }
});

test('the command: exit status, JSON, earlier checkpoints, words for mistakes', async () => {
  const where = join(directory, 'command');
  const ledger = await openLedger({ directory: where, origin });
  await ledger.append([appendOf(1)]);
  const since = join(directory, 'since');
  writeFileSync(since, ledger.checkpoint);
  await ledger.append([appendOf(2)]);
  await ledger.close();
  const main = join(import.meta.dirname, '../../cli/main.ts');
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [main, 'ledger', ...args], { encoding: 'utf8' });
  const good = run(
    'verify',
    '--directory',
    where,
    '--key',
    ledger.publicKey,
    '--since',
    since,
    '--json',
  );
  assert.equal(good.status, 0, good.stderr);
  assert.equal(JSON.parse(good.stdout).entries, 2);
  writeFileSync(since, readFileSync(since, 'utf8').replace('\n1\n', '\n9\n'));
  const bad = run(
    'verify',
    '--directory',
    where,
    '--key',
    join(where, 'key.pub'),
    '--since',
    since,
  );
  assert.equal(bad.status, 1);
  assert.match(bad.stdout, /NOT as signed/);
  const wrong = run('verify', '--directory', where, '--key', 'nonsense+key');
  assert.equal(wrong.status, 1);
  assert.match(wrong.stderr, /^holdpoint ledger: A public key looks like/);
  const proof = join(directory, 'proof');
  writeFileSync(proof, run('proof', '1', '--directory', where).stdout);
  const checked = run('check-proof', proof, '--key', ledger.publicKey);
  assert.equal(checked.status, 0, checked.stderr);
  assert.match(checked.stdout, /Entry 1 is in example.com\/verify/);
});
