// Retention: sealed, held, removed, archived; what is left verifies, what was removed is recorded.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { bodyName } from '../../ledger/body.ts';
import { openCheckpoint } from '../../ledger/checkpoint.ts';
import type { DecisionEntry } from '../../ledger/contract.ts';
import { type Ledger, openLedger } from '../../ledger/ledger.ts';
import { legalHolds, releaseLegalHold, setLegalHold } from '../../ledger/legal-hold.ts';
import { hashLeaf } from '../../ledger/merkle.ts';
import { parseVkey } from '../../ledger/note.ts';
import { parseProof, verifyProof } from '../../ledger/proof.ts';
import { Retention, type RetentionPolicy } from '../../ledger/retention.ts';
import { verifyLog } from '../../ledger/verify.ts';
import { decision } from './entries.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-retention-'));
const opened: Ledger[] = [];
after(async () => {
  for (const ledger of opened) await ledger.close();
  rmSync(directory, { recursive: true, force: true });
});
const origin = 'example.com/retention';
const LEVEL = 9;
const YEAR = 366 * 86_400_000;
const BASE = Date.now();
const BY = 'ledger/test';
const usual: RetentionPolicy = { days: { default: 200, destructive: 1000 } };

async function open(name: string): Promise<Ledger> {
  const where = join(directory, name);
  const ledger = await openLedger({ directory: where, origin, shardLevel: LEVEL });
  opened.push(ledger);
  return ledger;
}

function entryOf(number: number, over: Partial<DecisionEntry> = {}): DecisionEntry {
  const time = new Date(BASE + number * 1000).toISOString();
  return decision(number, { class: 'write', time, ...over });
}

async function fill(name: string, count: number): Promise<Ledger> {
  const ledger = await open(name);
  const appends = Array.from({ length: count }, (_, i) => ({ key: `op-${i}`, entry: entryOf(i) }));
  await ledger.append(appends);
  return ledger;
}

function retain(
  ledger: Ledger,
  years: number,
  over: { dry?: boolean; archive?: string; policy?: RetentionPolicy } = {},
) {
  const { dry = false, archive = null, policy = usual } = over;
  const now = new Date(BASE + years * YEAR);
  return new Retention(ledger, { policy, by: BY, archive }).run({ who: 'ana', now, dry });
}

test('the first entry after a full shard seals it, with its final checkpoint', async () => {
  const ledger = await fill('sealed', 1100);
  await ledger.publish();
  for (const [at, from] of [
    [512, 0],
    [1024, 512],
  ] as const) {
    const seal = await ledger.read(at);
    assert.ok(seal.kind === 'administration' && seal.act === 'shard-sealed');
    assert.equal(seal.detail.from, from);
    const checkpoint = openCheckpoint(String(seal.detail.checkpoint), [
      parseVkey(ledger.publicKey),
    ]);
    assert.equal(checkpoint.size, at);
    const result = await verifyLog({
      directory: ledger.directory,
      verifier: parseVkey(ledger.publicKey),
      earlier: [String(seal.detail.checkpoint)],
    });
    assert.deepEqual(result.findings, []);
  }
  assert.equal(ledger.size, 1102);
  await ledger.close();
});

test('a shard is removed when all in it is old; what is left verifies', async () => {
  const ledger = await fill('plain', 1300);
  const where = ledger.directory;
  const none = { sealed: [0, 512], removed: [], held: [] };
  assert.deepEqual(await retain(ledger, 0), none);
  const archive = join(directory, 'archive');
  const all = { sealed: [0, 512], removed: [0, 512], held: [] };
  assert.deepEqual(await retain(ledger, 2, { dry: true }), all);
  assert.ok(existsSync(join(where, 'log/tile/entries/000')));
  assert.deepEqual(await retain(ledger, 2, { archive }), all);
  assert.ok(!existsSync(join(where, 'log/tile/entries/000')));
  assert.ok(existsSync(join(archive, 'log/tile/entries/003')));
  await assert.rejects(ledger.read(5), { code: 'removed' });
  assert.equal((await ledger.read(1025)).key, 'op-1023');
  const found = await ledger.search({ agent: 'agent-0', limit: 1000 });
  assert.ok(found.entries.every(({ index }) => index >= 1024));
  assert.deepEqual(await retain(ledger, 2), none);
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

test('what was removed is not doubled by who sends it again, with a new index too', async () => {
  let ledger = await fill('again', 1100);
  await retain(ledger, 2);
  const { directory: where } = ledger;
  const sent = async (): Promise<(number | undefined)[]> => {
    const keys = [7, 511, 512, 700];
    const answers = keys.map((i) => ledger.append([{ key: `op-${i}`, entry: entryOf(i) }]));
    return (await Promise.all(answers)).flat().map((answer) => answer.index);
  };
  const places = [7, 511, 513, 701];
  assert.deepEqual(await sent(), places);
  await ledger.close();
  for (const end of ['', '-wal', '-shm'])
    rmSync(join(where, `index.sqlite${end}`), { force: true });
  ledger = await open('again');
  await ledger.publish(true);
  const { size } = ledger;
  assert.deepEqual(await sent(), places);
  assert.equal(ledger.size, size);
  await ledger.close();
});

test('a removal that was cut short is finished by the next run, bodies too', async () => {
  const ledger = await open('short');
  const { directory: where } = ledger;
  const bodies = Array.from({ length: 3 }, (_, i) => Buffer.from(`select ${i}`));
  const withBody = (i: number, body: Buffer) => ({
    key: `op-${i}`,
    body,
    entry: entryOf(i, {
      statement: { ...decision(i).statement, sha256: bodyName(body), text: null },
    }),
  });
  const [one, two, three] = bodies;
  assert.ok(one && two && three);
  await ledger.append([withBody(0, one), withBody(1, two)]);
  await ledger.append(
    Array.from({ length: 600 }, (_, i) => ({ key: `p-${i}`, entry: entryOf(i) })),
  );
  // One body is named again by an entry that stays.
  await ledger.append([withBody(900, two), withBody(901, three)]);
  const unseal = join(where, 'log/tile/entries');
  const kept = readdirSync(unseal);
  await retain(ledger, 2);
  assert.deepEqual(
    bodies.map((body) =>
      existsSync(join(where, 'bodies', bodyName(body).slice(0, 2), bodyName(body))),
    ),
    [false, true, true],
  );
  assert.ok((await ledger.body(bodyName(two))).equals(two));
  // As a crash would leave it: a bundle is still there.
  assert.ok(kept.includes('001'));
  assert.ok(!existsSync(join(unseal, '001')));
  writeFileSync(join(unseal, '001'), '');
  await assert.rejects(retain(ledger, 2));
  rmSync(join(unseal, '001'));
  assert.deepEqual((await retain(ledger, 2)).removed, []);
  await ledger.close();
});

test('a legal hold keeps its shards until released; a longer class keeps its own', async () => {
  const ledger = await fill('held', 1100);
  const hold = {
    name: 'case 7',
    who: 'ana',
    from: entryOf(600).time,
    to: entryOf(700).time,
  };
  await setLegalHold(ledger, hold, BY);
  const held = await retain(ledger, 2);
  const expected = { sealed: [0, 512], removed: [0], held: [{ shard: 512, hold: 'case 7' }] };
  assert.deepEqual(held, expected);
  assert.deepEqual(await legalHolds(ledger), [hold]);
  await assert.rejects(releaseLegalHold(ledger, 'case 8', 'ana', BY), { code: 'not-found' });
  await releaseLegalHold(ledger, 'case 7', 'ana', BY);
  assert.deepEqual((await retain(ledger, 2)).removed, [512]);
  await ledger.close();
  const result = await verifyLog({
    directory: ledger.directory,
    verifier: parseVkey(ledger.publicKey),
  });
  assert.deepEqual(result.findings, []);

  const other = await open('class');
  const destructive = (i: number) => entryOf(i, { class: i === 300 ? 'destructive' : 'write' });
  await other.append(
    Array.from({ length: 513 }, (_, i) => ({ key: `op-${i}`, entry: destructive(i) })),
  );
  assert.deepEqual((await retain(other, 2)).removed, []);
  assert.deepEqual((await retain(other, 4)).removed, [0]);
  await other.close();
});

test('a hold outlives the shard it was set in, and so does its release', async () => {
  const ledger = await open('outlives');
  const set = (name: string) =>
    setLegalHold(ledger, { name, who: 'ana', from: entryOf(9_000_000).time, to: null }, BY);
  await set('stands');
  await set('released');
  const more = (from: number) =>
    ledger.append(
      Array.from({ length: 600 }, (_, i) => ({ key: `op-${from + i}`, entry: entryOf(i) })),
    );
  await more(0);
  await releaseLegalHold(ledger, 'released', 'ana', BY);
  await more(1000);
  for (const years of [2, 3, 4]) {
    assert.equal((await retain(ledger, years)).held.length, 0);
    await more(years * 10_000);
    assert.deepEqual(
      (await legalHolds(ledger)).map((hold) => hold.name),
      ['stands'],
    );
  }
  await assert.rejects(ledger.read(0), { code: 'removed' });
  await ledger.close();
});

test('nothing below the floor, nothing freshly sealed, no unknown name', async () => {
  const ledger = await fill('floor', 513);
  const refused = { code: 'entry-invalid' };
  assert.throws(() => retain(ledger, 0, { policy: { days: { default: 10 } } }), refused);
  assert.throws(() => retain(ledger, 0, { policy: { days: { raeds: 200 } } }), refused);
  assert.throws(() => retain(ledger, 0, { policy: { days: { reads: 200 } } }), refused);
  const low = { days: { default: 0 }, floor_days: 0 };
  // Old by what its entries say, but sealed only just now.
  const old = { days: { default: 400 } };
  assert.deepEqual((await retain(ledger, 0.4, { policy: low })).removed, [0]);
  const fresh = await open('fresh');
  const long = new Date(BASE - 5 * YEAR).toISOString();
  await fresh.append(
    Array.from({ length: 513 }, (_, i) => ({ key: `op-${i}`, entry: entryOf(i, { time: long }) })),
  );
  assert.deepEqual((await retain(fresh, 0.4, { policy: old })).removed, []);
  assert.deepEqual((await retain(fresh, 0.6, { policy: old })).removed, [0]);
  await fresh.close();
  await ledger.close();
});
