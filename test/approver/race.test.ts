// Two things at the same moment: expiry and signature, withdrawal and redemption, two replicas, two
// proxies, two clocks. On both stores.
// Invariant: whoever is second is told so, and the ledger tells one story.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ApproverError } from '../../approver/errors.ts';
import { type Approver, startApprover } from '../../approver/main.ts';
import { openStore, type Store } from '../../approver/store.ts';
import type { Entry } from '../../ledger/contract.ts';
import { Holds } from '../../proxy/hold/wait.ts';
import { held, opened, operation, type Room, room, signed, storePlaces } from '../setup/holds.ts';

const ROUNDS = 12;
const refusedAs = (code: string) => (e: unknown) => e instanceof ApproverError && e.code === code;

for (const place of storePlaces())
  describe(`at the same moment (${place.name})`, { skip: place.skip }, () => {
    let r: Room;
    let store: Store;
    let second: Approver;
    /** What the clock of the first replica adds to the time; `ticks` at each look. */
    const clock = { ahead: 0, ticks: 0 };
    before(async () => {
      const now = () => {
        clock.ahead += clock.ticks;
        return Date.now() + clock.ahead;
      };
      r = await room({ place: await place.place(), now });
      store = await openStore(r.place);
      second = await startApprover({
        store,
        bus: r.bus,
        ledger: r.ledger,
        keyFile: join(r.folder, 'approver.pem'),
        listen: { host: '127.0.0.1', port: 0 },
        instance: 'second',
      });
    });
    after(async () => {
      await second.close();
      await store.close();
      await r.close();
      await place.close();
    });
    const unique = () => ({ statement: `DELETE FROM t -- ${randomUUID()}` });
    const told = async (hold: string): Promise<readonly string[]> => {
      const states: string[] = [];
      for (let i = 0; i < r.ledger.size; i++) {
        const e: Entry = await r.ledger.read(i);
        if (e.kind === 'hold' && e.hold === hold) states.push(e.state);
      }
      return states;
    };
    const asking = (request: { id: string; digest: string }) => ({
      hold: request.id,
      digest: request.digest,
      agent: 'billing-agent',
    });

    it('withdrawn or redeemed, never both', async () => {
      const ann = await r.person('Ann');
      let withdrawn = 0;
      for (let i = 0; i < ROUNDS; i++) {
        const request = await opened(r, unique());
        await r.approver.desk.decide(signed(ann, request, 'approve'));
        const [taken, redeemed] = await Promise.allSettled([
          second.desk.decide(signed(ann, request, 'withdraw', 'wrong table')),
          r.approver.desk.redeem({ ...asking(request), operation: randomUUID() }),
        ]);
        assert.ok(redeemed.status === 'fulfilled');
        const won = redeemed.value.ok;
        assert.notEqual(taken.status === 'fulfilled', won, `round ${i}: both, or neither`);
        if (taken.status === 'rejected') assert.ok(refusedAs('decided')(taken.reason));
        else withdrawn++;
        const end = won ? 'redeemed' : 'withdrawn';
        assert.equal((await r.store.holds.get(request.id))?.state, end);
        assert.deepEqual(await told(request.id), ['approved', end]);
      }
      assert.ok(withdrawn <= ROUNDS);
    });

    it('redeemed by one of two proxies, asked at two replicas', async () => {
      const ann = await r.person('Ann');
      for (let i = 0; i < ROUNDS; i++) {
        const request = await opened(r, unique());
        await r.approver.desk.decide(signed(ann, request, 'approve'));
        const answers = await Promise.all(
          [r.approver, second, r.approver, second].map((a, n) =>
            a.desk.redeem({ ...asking(request), operation: `o${n % 2}` }),
          ),
        );
        const winners = new Set(answers.flatMap((a, n) => (a.ok ? [`o${n % 2}`] : [])));
        assert.equal(winners.size, 1, JSON.stringify(answers));
        const by = (await r.store.holds.get(request.id))?.redeemed_by ?? '';
        assert.ok(winners.has(by));
        assert.deepEqual(await told(request.id), ['approved', 'redeemed']);
      }
    });

    it('two people sign at two replicas: one approval; one person twice: one', async () => {
      const [ann, bob] = [await r.person('Ann'), await r.person('Bob')];
      const again = await r.person('ANN');
      const demands = [{ rule: 'x', group: 'db-owners', signatures: 2 }];
      for (let i = 0; i < ROUNDS; i++) {
        const request = await opened(r, unique(), demands);
        await Promise.all([
          r.approver.desk.decide(signed(ann, request, 'approve')),
          second.desk.decide(signed(bob, request, 'approve')),
        ]);
        const hold = await r.store.holds.get(request.id);
        assert.equal(hold?.state, 'approved');
        const claims = JSON.parse(
          Buffer.from(hold.receipt?.split('.')[1] ?? '', 'base64url').toString(),
        );
        const names = claims.signers.map((s: { name: string }) => s.name);
        assert.deepEqual(names.toSorted(), ['Ann', 'Bob']);
        assert.deepEqual(await told(request.id), ['approved']);
        const alone = await opened(r, unique(), demands);
        const twice = await Promise.allSettled([
          r.approver.desk.decide(signed(ann, alone, 'approve')),
          second.desk.decide(signed(again, alone, 'approve')),
        ]);
        assert.equal(twice.filter((t) => t.status === 'fulfilled').length, 1);
        assert.equal((await r.store.holds.get(alone.id))?.state, 'pending');
      }
    });

    it('nothing is signed or used at or after the end of its time', async () => {
      const ann = await r.person('Ann');
      const times = { expires_ms: 60_000 };
      for (const early of [0, 1, 40]) {
        const request = await opened(r, unique(), undefined, times);
        const hold = await r.store.holds.get(request.id);
        assert.ok(hold);
        // Just before its end, by a clock that goes on while the signature is checked.
        const given = signed(ann, request, 'approve', null, {
          signed: new Date(hold.expires).toISOString(),
        });
        clock.ahead = hold.expires - Date.now() - early;
        clock.ticks = 20;
        const tried = r.approver.desk.decide(given);
        await assert.rejects(tried, refusedAs('decided'), `${early} ms before`);
        clock.ticks = 0;
        await r.approver.desk.sweep();
        assert.equal((await r.store.holds.get(request.id))?.state, 'expired');
        clock.ahead = 0;
        assert.deepEqual(await told(request.id), ['expired']);
      }
      const request = await opened(r, unique(), undefined, times);
      const { expires } = await r.approver.desk.decide(signed(ann, request, 'approve'));
      clock.ahead = expires - Date.now();
      const late = await r.approver.desk.redeem({ ...asking(request), operation: 'o' });
      clock.ahead = 0;
      assert.match(late.ok ? '' : late.reason, /expired/);
    });

    it('a proxy whose clock is wrong gets no longer hold, no receipt after its end', async () => {
      const ann = await r.person('Ann');
      const hour = 3_600_000;
      const ahead = new Date(Date.now() + hour).toISOString();
      const request = await opened(r, { ...unique(), asked: ahead }, undefined, {
        expires_ms: 60_000,
      });
      const hold = await r.store.holds.get(request.id);
      assert.ok(hold && hold.expires <= Date.now() + 60_000, 'it lives by the approver’s clock');
      const done = await r.approver.desk.decide(signed(ann, request, 'approve'));
      for (const [skew, good] of [
        [-hour, true],
        [0, true],
        [hour, false],
      ] as const) {
        const now = () => Date.now() + skew;
        const keys = () => r.approver.jwks();
        const proxy = new Holds({ bus: r.bus, instance: 'skewed', keys, now });
        const checked = await proxy.checkReceipt(done.receipt ?? '', request);
        assert.equal(checked.ok, good, `skew of ${skew} ms`);
      }
    });

    it('a card that somebody else ended meanwhile is told as ended', async () => {
      const [ann, bob] = [await r.person('Ann'), await r.person('Bob')];
      const request = await opened(r, unique());
      const other = r.holds.request(operation(unique()), held());
      await r.approver.desk.receive(other);
      const given = signed(ann, request, 'approve');
      await second.desk.decide(signed(bob, request, 'deny', 'no'));
      await assert.rejects(r.approver.desk.decide(given), refusedAs('decided'));
      const moved = { ...given, decision: { ...given.decision, hold: other.id } };
      await assert.rejects(r.approver.desk.decide(moved), refusedAs('stale-card'));
    });
  });
