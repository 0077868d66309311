// Retention: sealed, held, removed, archived; what is left verifies, what was removed is recorded.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { AdministrationEntry } from '../../ledger/contract.ts';
import { type Ledger, openLedger } from '../../ledger/ledger.ts';
import { hashLeaf } from '../../ledger/merkle.ts';
import { parseVkey } from '../../ledger/note.ts';
import { parseProof, verifyProof } from '../../ledger/proof.ts';
import { LEGAL_HOLD, LEGAL_HOLD_RELEASED, retain } from '../../ledger/retention.ts';
import { verifyLog } from '../../ledger/verify.ts';
import { appendOf, decision } from './entries.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-retention-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const origin = 'example.com/retention';
const LEVEL = 9;
const YEAR = 366 * 86_400_000;
const policy = { days: { default: 200, destructive: 1000 } };

async function fill(name: string, count: number): Promise<Ledger> {
  const ledger = await openLedger({ directory: join(directory, name), origin });
  const appends = Array.from({ length: count }, (_, i) => ({
    key: `op-${i}/decision`,
    entry: decision(i, { class: 'write' }),
  }));
  await ledger.append(appends);
  return ledger;
}

function later(years: number): Date {
  return new Date(Date.parse(decision(0).time) + years * YEAR);
}

function options(years: number) {
  return { policy, who: 'ana', by: 'ledger/test', level: LEVEL, now: later(years) };
}

function act(
  name: string,
  what: string,
  detail: AdministrationEntry['detail'],
): AdministrationEntry {
  const time = later(0).toISOString();
  return {
    v: 1,
    time,
    by: 'ledger/test',
    kind: 'administration',
    act: name,
    who: 'ana',
    what,
    detail,
  };
}

test('full shards are sealed, and removed when all is old; what is left verifies', async () => {
  const ledger = await fill('plain', 1300);
  const where = ledger.directory;
  assert.deepEqual(await retain(ledger, options(0)), { sealed: [0, 1], removed: [], held: [] });
  // Old by its entries, but sealed only now by the ledger's own clock.
  const archive = join(directory, 'archive');
  const dry = await retain(ledger, { ...options(2), dry: true });
  assert.deepEqual(dry, { sealed: [], removed: [0, 1], held: [] });
  assert.ok(existsSync(join(where, 'log/tile/entries/000')));
  const done = await retain(ledger, { ...options(2), archive });
  assert.deepEqual(done, { sealed: [], removed: [0, 1], held: [] });
  assert.ok(!existsSync(join(where, 'log/tile/entries/000')));
  assert.ok(existsSync(join(archive, 'log/tile/entries/003')));
  await assert.rejects(ledger.read(5), { code: 'removed' });
  assert.equal((await ledger.read(1024)).key, 'op-1024/decision');
  const found = await ledger.search({ agent: 'agent-0', limit: 1000 });
  assert.ok(found.entries.every(({ index }) => index >= 1024));
  const [again] = await ledger.append([appendOf(7)]);
  assert.equal(again?.index, 7);
  assert.deepEqual(await retain(ledger, options(2)), { sealed: [], removed: [], held: [] });
  const proof = parseProof(await ledger.proof(1100));
  verifyProof(proof, hashLeaf(proof.extra ?? Buffer.alloc(0)), parseVkey(ledger.publicKey));
  await ledger.close();
  const verifier = parseVkey(ledger.publicKey);
  const result = await verifyLog({ directory: where, verifier });
  assert.deepEqual(result.findings, []);
  assert.equal(result.removed, 1024);
  // A bundle that no act removed is missed.
  rmSync(join(where, 'log/tile/entries/004'));
  const bad = await verifyLog({ directory: where, verifier });
  assert.equal(bad.findings[0]?.entry, 1024);
});

test('a legal hold keeps its shards until released; a longer class keeps its own', async () => {
  const ledger = await fill('held', 1024);
  const detail = { from: decision(600).time, to: decision(700).time };
  await ledger.append([{ key: 'hold-1', entry: act(LEGAL_HOLD, 'case 7', detail) }]);
  await retain(ledger, options(0));
  const held = await retain(ledger, options(2));
  assert.deepEqual(held, { sealed: [], removed: [0], held: [{ shard: 1, hold: 'case 7' }] });
  await ledger.append([{ key: 'hold-1/released', entry: act(LEGAL_HOLD_RELEASED, 'case 7', {}) }]);
  assert.deepEqual(await retain(ledger, options(2)), { sealed: [], removed: [1], held: [] });
  await ledger.close();
  const result = await verifyLog({
    directory: ledger.directory,
    verifier: parseVkey(ledger.publicKey),
  });
  assert.deepEqual(result.findings, []);

  const other = await openLedger({ directory: join(directory, 'class'), origin });
  await other.append(Array.from({ length: 512 }, (_, i) => appendOf(i)));
  await retain(other, options(0));
  assert.deepEqual((await retain(other, options(2))).removed, []);
  assert.deepEqual((await retain(other, options(4))).removed, [0]);
  await other.close();
});

test('nothing below the floor, nothing freshly sealed', async () => {
  const ledger = await fill('floor', 512);
  await assert.rejects(retain(ledger, { ...options(0), policy: { days: { default: 10 } } }), {
    code: 'entry-invalid',
  });
  const low = { days: { default: 0 }, floor_days: 0 };
  assert.deepEqual((await retain(ledger, { ...options(9), policy })).removed, []);
  assert.deepEqual((await retain(ledger, { ...options(9), policy: low })).removed, [0]);
  await ledger.close();
});
