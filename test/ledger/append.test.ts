// Appending, proving and reopening a real ledger on a real disk.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openCheckpoint } from '../../ledger/checkpoint.ts';
import type { Appended } from '../../ledger/contract.ts';
import { openLedger } from '../../ledger/ledger.ts';
import { hashLeaf, rootOfInclusion } from '../../ledger/merkle.ts';
import { parseVkey } from '../../ledger/note.ts';
import { parseProof, verifyProof } from '../../ledger/proof.ts';
import { verifyLog } from '../../ledger/verify.ts';
import { appendOf, decision } from './entries.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-ledger-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const origin = 'example.com/test';

/** An answer proves itself: leaf and path lead to the root in its own signed checkpoint. */
function assertProven(answer: Appended, vkey: string): void {
  const checkpoint = openCheckpoint(answer.checkpoint, [parseVkey(vkey)]);
  assert.equal(checkpoint.size, answer.size);
  const path = answer.proof.map((hash) => Buffer.from(hash, 'base64'));
  const root = rootOfInclusion(answer.index, answer.size, Buffer.from(answer.leaf, 'base64'), path);
  assert.ok(root.equals(checkpoint.root), `entry ${answer.index} of ${answer.size}`);
}

test('each answer carries an inclusion proof that holds, at every batch size', async () => {
  const where = join(directory, 'answers');
  const ledger = await openLedger({ directory: where, origin });
  let number = 0;
  for (const batch of [1, 1, 3, 250, 1, 1, 255, 256, 257, 1, 700]) {
    const answers = await ledger.append(Array.from({ length: batch }, () => appendOf(number++)));
    assert.equal(answers.length, batch);
    for (const answer of answers) assertProven(answer, ledger.publicKey);
    assert.equal(answers.at(-1)?.index, number - 1);
  }
  const calls = await Promise.all(
    Array.from({ length: 300 }, () => ledger.append([appendOf(number++)])),
  );
  for (const [answer] of calls) {
    assert.ok(answer);
    assertProven(answer, ledger.publicKey);
  }
  const { size, root } = ledger;
  await ledger.close();
  const result = await verifyLog({ directory: where, verifier: parseVkey(ledger.publicKey) });
  assert.deepEqual(result.findings, []);
  assert.equal(result.entries, number);
  assert.equal(result.checkpoint?.root.toString('base64'), root);

  const again = await openLedger({ directory: where, origin });
  assert.equal(again.size, size);
  assert.equal(again.root, root);
  assert.equal(again.publicKey, ledger.publicKey);
  for (const index of [0, 1, 255, 256, 511, 512, 1000, size - 1]) {
    const proof = parseProof(await again.proof(index));
    assert.ok(proof.extra);
    verifyProof(proof, hashLeaf(proof.extra), parseVkey(again.publicKey));
    const entry = await again.read(index);
    assert.equal(entry.key, `op-${index}/decision`);
  }
  const [more] = await again.append([appendOf(number++)]);
  assert.ok(more);
  assertProven(more, again.publicKey);
  await again.close();
});

test('the same key is one entry: within a call, at once, later, and after a restart', async () => {
  const where = join(directory, 'keys');
  let ledger = await openLedger({ directory: where, origin });
  const twice = await ledger.append([appendOf(1), appendOf(1)]);
  assert.deepEqual(
    twice.map((a) => a.index),
    [0, 0],
  );
  const many = await Promise.all(Array.from({ length: 20 }, () => ledger.append([appendOf(2)])));
  assert.deepEqual(new Set(many.flat().map((a) => a.index)), new Set([1]));
  const [changed] = await ledger.append([{ key: 'op-1/decision', entry: decision(99) }]);
  assert.equal(changed?.index, 0);
  await ledger.append(Array.from({ length: 600 }, (_, i) => appendOf(10 + i)));
  await ledger.close();
  ledger = await openLedger({ directory: where, origin });
  const answers = await ledger.append([appendOf(2), appendOf(1), appendOf(300), appendOf(5000)]);
  assert.deepEqual(
    answers.map((a) => a.index),
    [1, 0, 292, 602],
  );
  for (const answer of answers) assertProven(answer, ledger.publicKey);
  await ledger.close();
});

test('what the log can not hold is refused, and says what to do', async () => {
  const ledger = await openLedger({ directory: join(directory, 'refusals'), origin });
  const long = decision(1, { policy: 'x'.repeat(70_000) });
  await assert.rejects(ledger.append([{ key: 'a', entry: long }]), { code: 'entry-too-large' });
  await assert.rejects(ledger.append([{ key: '', entry: decision(1) }]), { code: 'key-invalid' });
  await assert.rejects(ledger.append([{ key: 'a b', entry: decision(1) }]), {
    code: 'key-invalid',
  });
  const lone = decision(1, { policy: '\ud800' });
  await assert.rejects(ledger.append([{ key: 'a', entry: lone }]), { code: 'entry-invalid' });
  const tooMany = Array.from({ length: 4097 }, (_, i) => appendOf(i));
  await assert.rejects(ledger.append(tooMany), { code: 'append-too-large' });
  assert.equal(ledger.size, 0);
  const [largest] = await ledger.append([
    { key: 'a', entry: decision(1, { policy: 'x'.repeat(64_000) }) },
  ]);
  assert.equal(largest?.index, 0);
  await ledger.close();
  await assert.rejects(ledger.append([appendOf(1)]), { code: 'closed' });
});

test('the key is private, one process has the log, another key or name is refused', async () => {
  const where = join(directory, 'key');
  const ledger = await openLedger({ directory: where, origin });
  assert.equal(statSync(join(where, 'key')).mode & 0o777, 0o600);
  assert.equal(existsSync(join(where, 'log', 'key')), false);
  assert.equal(readFileSync(join(where, 'key.pub'), 'utf8').trim(), ledger.publicKey);
  await assert.rejects(openLedger({ directory: where, origin }), { code: 'locked' });
  await ledger.append([appendOf(1)]);
  await ledger.close();
  await assert.rejects(openLedger({ directory: where, origin: 'example.com/other' }), {
    code: 'key-mismatch',
  });
  const kept = readFileSync(join(where, 'key'));
  rmSync(join(where, 'key'));
  await assert.rejects(openLedger({ directory: where, origin }), { code: 'key-mismatch' });
  writeFileSync(join(where, 'key'), kept, { mode: 0o600 });
  await (await openLedger({ directory: where, origin })).close();
});

test('a body is beside the log under its SHA-256 before its entry is answered', async () => {
  const where = join(directory, 'bodies');
  const ledger = await openLedger({ directory: where, origin });
  const body = Buffer.from('insert into t values (1)'.repeat(1000));
  await ledger.append([{ key: 'a', entry: decision(1), body }]);
  const { bodyName } = await import('../../ledger/ledger.ts');
  const name = bodyName(body);
  assert.ok(readFileSync(join(where, 'bodies', name.slice(0, 2), name)).equals(body));
  await ledger.close();
});
