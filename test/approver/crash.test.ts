// The desk on bad nights: a ledger that fails, a crash at each step, two replicas at once; on both
// stores.
// Invariant: no state is told that is not in the ledger, and nothing is decided twice.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe, it } from 'node:test';
import { startSession } from '../../approver/api/principal.ts';
import { ApproverError, type Code } from '../../approver/errors.ts';
import { startApprover } from '../../approver/main.ts';
import { openStore, type Store } from '../../approver/store.ts';
import type { Append, Appended, LedgerWriter } from '../../ledger/contract.ts';
import { opened, type Room, room, signed, storePlaces, until } from '../setup/holds.ts';

const refused = (code: Code) => (e: unknown) => e instanceof ApproverError && e.code === code;

/** A ledger that can be told to fail, before or after it wrote. */
class Failing implements LedgerWriter {
  fail: 'no' | 'before' | 'after' = 'no';
  readonly #inner: LedgerWriter;
  readonly keys: string[] = [];
  constructor(inner: LedgerWriter) {
    this.#inner = inner;
  }
  get unavailable(): string | null {
    return this.#inner.unavailable;
  }
  async append(appends: readonly Append[]): Promise<readonly Appended[]> {
    if (this.fail === 'before') throw new Error('disk full');
    const done = await this.#inner.append(appends);
    this.keys.push(...appends.map((a) => a.key));
    if (this.fail === 'after') throw new Error('connection lost');
    return done;
  }
  async close(): Promise<void> {}
}

for (const store of storePlaces())
  describe(`no record, no approval (${store.name})`, { skip: store.skip }, () => {
    let r: Room;
    let ledger: Failing;
    beforeEach(async () => {
      r = await room({ place: await store.place() });
      ledger = new Failing(r.ledger);
      await r.restart({ ledger });
    });
    afterEach(async () => {
      await r.close();
    });
    after(() => store.close());

    it('a signature that can’t be recorded counts once it is, and nobody asks twice', async () => {
      const ann = await r.person('Ann');
      const request = await opened(r);
      const given = signed(ann, request, 'approve');
      ledger.fail = 'before';
      await assert.rejects(r.approver.desk.decide(given), refused('ledger-unavailable'));
      const { state } = await r.approver.desk.state(request.id);
      assert.equal(state, 'pending', 'it was told and is not on record');
      ledger.fail = 'no';
      assert.equal((await r.approver.desk.decide(given)).state, 'approved');
      // The sweep may have given the ledger the same at the same moment: it keeps each once.
      const told = new Set(ledger.keys.filter((k) => k.includes(request.id)));
      assert.equal(told.size, 2, `the ledger was given ${[...told].join(' ')}`);
      assert.equal(r.ledger.size, 2);
    });

    it('an approval that can’t be recorded is not told until it is', async () => {
      const ann = await r.person('Ann');
      const request = await opened(r);
      const given = signed(ann, request, 'approve');
      ledger.fail = 'before';
      await assert.rejects(r.approver.desk.decide(given), refused('ledger-unavailable'));
      assert.equal(
        (await r.approver.desk.find(request.digest, 'billing-agent')).hold?.state,
        'pending',
      );
      assert.deepEqual(await r.approver.desk.state(request.id), {
        hold: request.id,
        state: 'pending',
      });
      const ask = {
        hold: request.id,
        digest: request.digest,
        agent: 'billing-agent',
        operation: 'o',
      };
      assert.equal((await r.approver.desk.redeem(ask)).ok, false);
      const waiting = r.holds.wait(request.id, 60_000, new AbortController().signal);
      ledger.fail = 'no';
      const answer = await waiting;
      assert.equal(answer !== 'timeout' && answer.state, 'approved');
    });

    it('a redemption that can’t be recorded does not run; the approval is not lost', async () => {
      const ann = await r.person('Ann');
      const request = await opened(r);
      await r.approver.desk.decide(signed(ann, request, 'approve'));
      const ask = {
        hold: request.id,
        digest: request.digest,
        agent: 'billing-agent',
        operation: 'o1',
      };
      ledger.fail = 'before';
      assert.match(JSON.stringify(await r.approver.desk.redeem(ask)), /disk full/);
      ledger.fail = 'no';
      assert.equal((await r.approver.desk.redeem({ ...ask, operation: 'o2' })).ok, true);
      assert.equal((await r.approver.desk.redeem(ask)).ok, false);
    });
  });

for (const store of storePlaces())
  describe(`a restart (${store.name})`, { skip: store.skip }, () => {
    let r: Room;
    beforeEach(async () => {
      r = await room({ place: await store.place() });
    });
    afterEach(async () => {
      await r.close();
    });
    after(() => store.close());

    it('loses no hold, no signature, no approval', async () => {
      const ann = await r.person('Ann');
      const bob = await r.person('Bob');
      const demands = [{ rule: 'x', group: 'db-owners', signatures: 2 }];
      const request = await opened(r, {}, demands);
      await r.approver.desk.decide(signed(ann, request, 'approve'));
      await r.restart();
      const after = await r.approver.desk.decide(signed(bob, request, 'approve'));
      assert.equal(after.state, 'approved');
      await r.restart();
      const found = await r.holds.find(request);
      assert.ok(found.kind === 'approved');
      assert.ok((await r.holds.checkReceipt(found.receipt, request)).ok);
    });

    it('tells what was decided and not yet told when it crashed', async () => {
      const ann = await r.person('Ann');
      const request = await opened(r);
      const after = await r.approver.desk.decide(signed(ann, request, 'approve'));
      const hook = { name: 'x', url: 'https://localhost/x', events: ['*'], kind: 'hmac' } as const;
      await r.approver.webhooks.add({ ...hook, allowPrivate: false });
      // As a crash between store and ledger, and between ledger and bus, would leave it.
      for (const left of ['recorded = 0, published = 0', 'published = 0']) {
        const { db } = r.store;
        if (left.includes('recorded')) await db.run(`UPDATE records SET place = ''`);
        await db.run(`UPDATE holds SET ${left} WHERE id = ?`, request.id);
        await r.restart();
        await until('settled', async () => {
          const hold = await r.store.holds.get(request.id);
          return hold?.recorded === true && hold.published;
        });
      }
      const queued = await r.store.webhooks.deliveries('waiting', 10);
      assert.deepEqual(queued.map((q) => q.event).toSorted(), ['hold.approved', 'hold.signed']);
      assert.equal((await r.store.holds.get(request.id))?.receipt, after.receipt);
      const entries = [];
      for (let i = 0; i < r.ledger.size; i++) entries.push(await r.ledger.read(i));
      const states = entries.filter((e) => e.kind === 'hold').map((e) => e.state);
      assert.deepEqual(states, ['approved'], 'the ledger has the approval once');
      const records = await r.store.holds.records(request.id);
      assert.deepEqual(
        records.map(({ entry, key }) => ({ ...entry, key })),
        entries.filter((e) => e.kind === 'hold' || e.kind === 'signature'),
        'what the page proves is what the ledger has',
      );
    });

    it('of two replicas that decide at once, one result stands', async () => {
      const other = await openStore(r.place);
      const second = await startApprover({
        store: other,
        bus: r.bus,
        ledger: r.ledger,
        keyFile: join(r.folder, 'approver.pem'),
        listen: { host: '127.0.0.1', port: 0 },
        instance: 'second',
      });
      try {
        const ann = await r.person('Ann');
        const bob = await r.person('Bob');
        const heard = await listen(second.url, other, 'Ann');
        for (let i = 0; i < 20; i++) {
          const request = await opened(r, { statement: `DELETE FROM t${i}` });
          const results = await Promise.allSettled([
            r.approver.desk.decide(signed(ann, request, 'approve')),
            second.desk.decide(signed(bob, request, 'deny', 'no')),
          ]);
          const won = results.filter((x) => x.status === 'fulfilled');
          assert.equal(won.length, 1, `round ${i}: ${won.length} decisions`);
          const hold = await r.store.holds.get(request.id);
          const ask = { digest: request.digest, agent: 'billing-agent', hold: request.id };
          const redeems = await Promise.all([
            r.approver.desk.redeem({ ...ask, operation: 'a' }),
            second.desk.redeem({ ...ask, operation: 'b' }),
          ]);
          const ran = redeems.filter((x) => x.ok).length;
          assert.equal(ran, hold?.state === 'approved' ? 1 : 0);
        }
        await until('a page at the other replica is live', () => heard().includes('"requested"'));
      } finally {
        await second.close();
        await other.close();
      }
    });

    it('keeps its key; a store of a newer version is refused in words', async () => {
      const before = await r.approver.jwks();
      await r.restart();
      assert.deepEqual(await r.approver.jwks(), before);
      await r.store.db.run('INSERT INTO migrations (step) VALUES (?)', 9999);
      await assert.rejects(openStore(r.place), /newer version/);
    });
  });

/** A page's live events; ends with its server. */
async function listen(url: string, store: Store, signer: string): Promise<() => string> {
  const session = await startSession({ store, origins: [url], now: Date.now }, signer);
  const headers = { cookie: `holdpoint_session=${session}` };
  const response = await fetch(`${url}/api/events`, { headers });
  let heard = '';
  void (async () => {
    for await (const chunk of response.body ?? []) heard += Buffer.from(chunk).toString();
  })().catch(() => {});
  return () => heard;
}
