// Search, story and the index: found through SQLite, read from the log, made again from the log
// alone.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import pg from 'pg';
import type { Append, HoldEntry, SignatureEntry } from '../../ledger/contract.ts';
import { IndexFile, removeIndex } from '../../ledger/index-file.ts';
import { type Ledger, openLedger } from '../../ledger/ledger.ts';
import { skipWithoutPostgres, startPostgres } from '../setup/postgres.ts';
import { appendOf, decision, outcome } from './entries.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-search-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const origin = 'example.com/search';
const time = '2026-02-01T00:00:00.000Z';

/**
 * A held statement: asked, held, signed, approved, asked again under a new operation, redeemed,
 * run.
 */
function held(): Append[] {
  const hold = 'h-aaaa';
  const signature: SignatureEntry = {
    v: 1,
    time,
    by: 'approver/1',
    kind: 'signature',
    hold,
    operation: 'held-1',
    binding: 'b',
    signer: 'ana',
    decision: 'approve',
    method: 'ed25519',
    channel: 'page',
    signature: 's',
    reason: null,
  };
  const approved: HoldEntry = {
    v: 1,
    time,
    by: 'approver/1',
    kind: 'hold',
    hold,
    operation: 'held-1',
    binding: 'b',
    state: 'approved',
    receipt: 'r',
    reason: null,
  };
  const verdict = {
    kind: 'hold',
    rule: 'production-deletes',
    reason: 'x',
    demands: [],
    expires_ms: 1,
    wait_ms: 1,
  } as const;
  return [
    {
      key: 'held-1/decision/hold',
      entry: decision(7000, {
        operation: 'held-1',
        hold,
        disposition: 'hold',
        verdict,
        agent: 'cleaner',
      }),
    },
    { key: 'h-aaaa/signature/ana', entry: signature },
    { key: 'h-aaaa/approved', entry: approved },
    {
      key: 'held-2/decision/redeemed',
      entry: decision(7001, {
        operation: 'held-2',
        hold,
        disposition: 'redeemed',
        verdict,
        agent: 'cleaner',
      }),
    },
    { key: 'held-2/outcome', entry: { ...outcome(7002), operation: 'held-2' } },
  ];
}

async function assertSearches(ledger: Ledger): Promise<void> {
  const orders = await ledger.search({
    object: 'orders',
    agent: 'agent-0',
    class: 'destructive',
    limit: 5,
  });
  assert.equal(orders.entries.length, 5);
  for (const { entry } of orders.entries) {
    assert.ok(
      entry.kind === 'decision' && entry.agent === 'agent-0' && entry.class === 'destructive',
    );
    assert.equal(entry.effects[0]?.objects[0]?.name, 'orders');
  }
  const seen: number[] = [];
  for (let before: number | undefined; ; ) {
    const page = await ledger.search({
      object: 'public.orders',
      agent: 'agent-0',
      before,
      limit: 7,
    });
    seen.push(...page.entries.map((found) => found.index));
    if (page.next === null) break;
    before = page.next;
  }
  const wanted = Array.from({ length: 1000 }, (_, i) => i).filter(
    (i) => i % 4 === 0 && i % 3 === 0,
  );
  assert.deepEqual(seen, wanted.reverse());
  assert.equal((await ledger.search({ rule: 'production-deletes' })).entries.length, 2);
  assert.equal((await ledger.search({ signer: 'ana' })).entries[0]?.entry.kind, 'signature');
  assert.equal(
    (await ledger.search({ session: 'session-3', kind: 'decision', limit: 1000 })).entries.length,
    143,
  );
  const first = decision(10).time;
  const last = decision(20).time;
  assert.equal((await ledger.search({ from: first, to: last })).entries.length, 10);
  assert.deepEqual((await ledger.search({ agent: "'; DROP TABLE entry; --" })).entries, []);
  for (const id of ['held-1', 'held-2', 'h-aaaa']) {
    const told = await ledger.story(id);
    assert.deepEqual(
      told.steps.map((step) => step.stage),
      ['judged', 'signed', 'settled', 'judged', 'ran'],
    );
    assert.deepEqual([...told.operations].sort(), ['held-1', 'held-2']);
    assert.deepEqual(told.holds, ['h-aaaa']);
  }
  assert.deepEqual((await ledger.story('nobody')).steps, []);
}

test('search and story, the same after the index was made again from the log', async () => {
  const where = join(directory, 'log');
  let ledger = await openLedger({ directory: where, origin });
  await ledger.append(Array.from({ length: 1000 }, (_, i) => appendOf(i)));
  await ledger.append(held());
  await ledger.publish(true);
  assert.equal(ledger.indexed, ledger.size);
  await assertSearches(ledger);
  await ledger.close();
  removeIndex(join(where, 'index.sqlite'));
  ledger = await openLedger({ directory: where, origin });
  const [again] = await ledger.append([appendOf(500)]);
  assert.equal(again?.index, 500);
  await ledger.publish(true);
  await assertSearches(ledger);
  await ledger.close();
});

test('older keys are found in the index; a key that it has wrong is not believed', async () => {
  const where = join(directory, 'keys');
  const warnings: string[] = [];
  const ledger = await openLedger({
    directory: where,
    origin,
    warn: (message) => warnings.push(message),
  });
  await ledger.append(Array.from({ length: 700 }, (_, i) => appendOf(i)));
  await ledger.publish(true);
  const [found] = await ledger.append([appendOf(3)]);
  assert.equal(found?.index, 3);
  const index = new IndexFile(join(where, 'index.sqlite'), ledger.publicKey);
  index.query('UPDATE key SET place = 5 WHERE place = 4', []);
  index.close();
  const [moved] = await ledger.append([appendOf(4)]);
  assert.equal(moved?.index, 700);
  assert.match(warnings.join(), /reindex/);
  await ledger.close();
});

test('an index of another log, or with more than this one, is begun anew', async () => {
  const a = await openLedger({ directory: join(directory, 'a'), origin });
  await a.append([appendOf(1), appendOf(2)]);
  await a.publish(true);
  const path = join(directory, 'a', 'index.sqlite');
  await a.close();
  const other = new IndexFile(path, 'another+key');
  assert.equal(other.size, 0);
  other.close();
  const again = await openLedger({ directory: join(directory, 'a'), origin });
  await again.publish(true);
  assert.equal((await again.search({})).entries.length, 2);
  await again.close();
});

test('a damaged index is made again at the start, and does not stop an append', async () => {
  const where = join(directory, 'damaged');
  let ledger = await openLedger({ directory: where, origin });
  await ledger.append(Array.from({ length: 300 }, (_, i) => appendOf(i)));
  await ledger.publish(true);
  await ledger.close();
  const path = join(where, 'index.sqlite');
  removeIndex(path);
  writeFileSync(path, 'this is not a database'.repeat(1000));
  ledger = await openLedger({ directory: where, origin });
  const [known] = await ledger.append([appendOf(5)]);
  assert.equal(known?.index, 5);
  await ledger.publish(true);
  assert.equal((await ledger.search({ limit: 1000 })).entries.length, 300);
  await ledger.close();
});

test('the same searches in PostgreSQL, from the log, again after it was emptied', {
  skip: skipWithoutPostgres(18),
  timeout: 300_000,
}, async () => {
  const server = await startPostgres({ version: 18 });
  const searchIn = server.url(await server.createDatabase());
  const where = join(directory, 'postgres');
  const ledger = await openLedger({ directory: where, origin, searchIn });
  await ledger.append(Array.from({ length: 1000 }, (_, i) => appendOf(i)));
  await ledger.append(held());
  await ledger.append([{ key: 'nul', entry: decision(8000, { agent: 'a\0b' }) }]);
  await ledger.publish(true);
  assert.equal(ledger.indexed, ledger.size);
  await assertSearches(ledger);
  assert.equal((await ledger.search({ agent: 'a\0b' })).entries.length, 1);
  await ledger.close();
  const client = new pg.Client({ connectionString: searchIn });
  await client.connect();
  await client.query("UPDATE holdpoint_ledger.meta SET value = 'another' WHERE name = 'mark'");
  await client.end();
  const again = await openLedger({ directory: where, origin, searchIn });
  await again.publish(true);
  await assertSearches(again);
  await again.close();
  await server.stop();
});

test('a PostgreSQL that is away stops searches, not appends', async () => {
  const warnings: string[] = [];
  const ledger = await openLedger({
    directory: join(directory, 'away'),
    origin,
    searchIn: 'postgres://nobody@127.0.0.1:1/none',
    warn: (message) => warnings.push(message),
  });
  const [answer] = await ledger.append([appendOf(1)]);
  assert.equal(answer?.index, 0);
  await assert.rejects(ledger.search({}));
  for (const late = Date.now() + 60_000; warnings.length === 0 && Date.now() < late; ) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.match(warnings.join(), /PostgreSQL is behind/);
  await ledger.close();
});

test('an index that can not be written stops neither the start nor appends', async () => {
  const where = join(directory, 'unwritable');
  let ledger = await openLedger({ directory: where, origin });
  await ledger.append([appendOf(1)]);
  await ledger.publish(true);
  await ledger.close();
  const path = join(where, 'index.sqlite');
  const index = new IndexFile(path, ledger.publicKey);
  index.query(
    "CREATE TRIGGER refuse BEFORE INSERT ON entry BEGIN SELECT RAISE(ABORT, 'full'); END",
    [],
  );
  index.close();
  const warnings: string[] = [];
  const warn = (message: string): number => warnings.push(message);
  ledger = await openLedger({ directory: where, origin, warn });
  await ledger.append([appendOf(2)]);
  await assert.rejects(ledger.publish(true), /can not be written/);
  await ledger.append([appendOf(3)]);
  assert.equal((await ledger.append([appendOf(2)]))[0]?.index, 1);
  await ledger.close();
  ledger = await openLedger({ directory: where, origin, warn });
  assert.equal((await ledger.append([appendOf(3)]))[0]?.index, 2);
  await ledger.close();
  assert.match(warnings.join(), /can't be kept up \(full\)/);
});
