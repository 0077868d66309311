// The whole way of a hold over both buses: asked, found, signed, answered, redeemed once, its
// receipt checked.
// Invariant: every case runs with the real approver, ledger and (second time) a real NATS server.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { recheckReceipt } from '../../approver/receipt.ts';
import { BusUnavailable } from '../../bus/bus.ts';
import { openNatsBus } from '../../bus/nats.ts';
import { Holds, HoldTooLarge, HoldUnavailable } from '../../proxy/hold/wait.ts';
import { held, operation, type Room, room, signed, until } from '../setup/holds.ts';
import { type RunningNats, startNats } from '../setup/nats.ts';

const never = new AbortController().signal;

function suite(open: () => Promise<Room>): void {
  let r: Room;
  before(async () => {
    r = await open();
  });
  after(async () => {
    await r.close();
  });

  const ask = async (...given: Parameters<typeof operation>) => {
    const op = operation(...given);
    const request = r.holds.request(op, held());
    await r.holds.open(request);
    await until(
      'the approver has it',
      async () => (await r.store.holds.resolve(request.id)) !== null,
    );
    return { op, request };
  };

  it('approved while the client waits: redeemed once, by one operation', async () => {
    const ann = await r.person(`Ann ${randomUUID()}`);
    const { op, request } = await ask();
    const found = await r.holds.find(request);
    assert.equal(found.kind, 'pending');
    assert.equal(found.kind === 'pending' && found.waiting_for, 'a signature of db-owners');
    const waiting = r.holds.wait(request.id, 60_000, never);
    await r.approver.desk.decide(signed(ann, request, 'approve', 'as agreed'));
    const answer = await waiting;
    assert.ok(answer !== 'timeout' && answer.state === 'approved');
    assert.deepEqual(answer.signers, [ann.name]);
    const checked = await r.holds.checkReceipt(answer.receipt, request);
    assert.ok(checked.ok, checked.ok ? '' : checked.why);
    const first = await r.holds.redeem(request.id, request.digest, op.agent.name, op.id);
    assert.deepEqual(first, { ok: true, receipt: answer.receipt });
    const again = await r.holds.redeem(request.id, request.digest, op.agent.name, op.id);
    assert.deepEqual(again, first);
    const second = await r.holds.redeem(request.id, request.digest, op.agent.name, randomUUID());
    assert.match(second.ok ? '' : second.refused, /already used/);
    assert.deepEqual(await r.holds.find(request), { kind: 'none' });
    await r.holds.outcome({
      hold: request.id,
      operation: op.id,
      outcome: 'done',
      answer: 'DELETE 1',
      rows: 1,
    });
    await until('outcome kept', async () => {
      return (await r.store.holds.get(request.id))?.outcome?.includes('DELETE 1') === true;
    });
    const offline = await recheckReceipt(answer.receipt, await r.approver.jwks(), {
      now: Date.now(),
    });
    assert.deepEqual(
      offline.signers.map((s) => [s.name, s.fault]),
      [[ann.name, null]],
    );
  });

  it('approved after the client went: the same statement again finds and redeems it', async () => {
    const ann = await r.person(`Ann ${randomUUID()}`);
    const mark = `DELETE FROM users WHERE id = $1 -- ${randomUUID()}`;
    const { request } = await ask({ statement: mark });
    assert.equal(await r.holds.wait(request.id, 30, never), 'timeout');
    const gone = new AbortController();
    const waiting = r.holds.wait(request.id, 60_000, gone.signal);
    gone.abort();
    assert.equal(await waiting, 'timeout');
    await r.approver.desk.decide(signed(ann, request, 'approve'));
    const op2 = operation({ statement: mark });
    const again = r.holds.request(op2, held());
    assert.equal(again.digest, request.digest);
    assert.notEqual(again.id, request.id);
    const found = await r.holds.find(again);
    assert.ok(found.kind === 'approved' && found.hold === request.id);
    const redeemed = await r.holds.redeem(found.hold, again.digest, op2.agent.name, op2.id);
    assert.ok(redeemed.ok && (await r.holds.checkReceipt(redeemed.receipt, again)).ok);
  });

  it('a wait that begins after the answer still gets it, heard or not', async () => {
    const ann = await r.person(`Ann ${randomUUID()}`);
    const { request } = await ask({ statement: `DELETE FROM t WHERE id = $1 -- ${randomUUID()}` });
    await r.approver.desk.decide(signed(ann, request, 'deny', 'not tonight'));
    const deaf = new Holds({ bus: r.bus, instance: 'deaf', keys: () => r.approver.jwks() });
    const answer = await deaf.wait(request.id, 60_000, never);
    assert.deepEqual(answer, {
      hold: request.id,
      state: 'denied',
      by: ann.name,
      reason: 'not tonight',
    });
  });

  it('two askings at once are one hold: one signature answers both, one of them runs', async () => {
    const ann = await r.person(`Ann ${randomUUID()}`);
    const statement = `DELETE FROM users WHERE id = $1 -- ${randomUUID()}`;
    const one = await ask({ statement });
    const two = await ask({ statement });
    const held1 = await r.store.holds.resolve(one.request.id);
    const held2 = await r.store.holds.resolve(two.request.id);
    assert.equal(held1?.id, held2?.id);
    const waits = [
      r.holds.wait(one.request.id, 60_000, never),
      r.holds.wait(two.request.id, 60_000, never),
    ];
    await r.approver.desk.decide(
      signed(ann, { id: held1?.id ?? '', digest: one.request.digest }, 'approve'),
    );
    const answers = await Promise.all(waits);
    assert.deepEqual(
      answers.map((a) => a !== 'timeout' && a.state),
      ['approved', 'approved'],
    );
    const redeems = await Promise.all([
      r.holds.redeem(one.request.id, one.request.digest, one.op.agent.name, one.op.id),
      r.holds.redeem(two.request.id, two.request.digest, two.op.agent.name, two.op.id),
    ]);
    assert.equal(redeems.filter((x) => x.ok).length, 1);
  });

  it('an approval fits nothing but what was signed', async () => {
    const ann = await r.person(`Ann ${randomUUID()}`);
    const { op, request } = await ask({
      statement: `DELETE FROM u WHERE id=$1 -- ${randomUUID()}`,
    });
    const after = await r.approver.desk.decide(signed(ann, request, 'approve'));
    const receipt = after.receipt ?? '';
    assert.ok((await r.holds.checkReceipt(receipt, request)).ok);
    const others = {
      statement: operation({ ...op, statement: 'DELETE FROM u WHERE id=$2' }),
      parameter: {
        ...op,
        parameters: [{ type: 'int4', format: 'text', bytes: Buffer.from('43'), text: '43' }],
      },
      null: { ...op, parameters: [{ type: 'int4', format: 'text', bytes: null, text: null }] },
      agent: { ...op, agent: { ...op.agent, name: 'other-agent' } },
      target: { ...op, target: { ...op.target, name: 'shop2' } },
      database: { ...op, target: { ...op.target, database: 'shop2' } },
      environment: { ...op, target: { ...op.target, environment: 'staging' } },
      settings: { ...op, session: { ...op.session, settings: { search_path: 'evil' } } },
    } as const;
    for (const [what, other] of Object.entries(others)) {
      const mine = r.holds.request(other as typeof op, held());
      const checked = await r.holds.checkReceipt(receipt, mine);
      assert.ok(!checked.ok, `${what}: accepted`);
      const redeemed = await r.holds.redeem(request.id, mine.digest, mine.agent.name, op.id);
      assert.ok(!redeemed.ok, `${what}: redeemed`);
    }
    const objects = { ...held(), objects: ['16411', '99999'] };
    assert.ok(!(await r.holds.checkReceipt(receipt, r.holds.request(op, objects))).ok);
    const policy = { ...held(), policy: 'b'.repeat(64) };
    assert.ok(!(await r.holds.checkReceipt(receipt, r.holds.request(op, policy))).ok);
    const two = held([{ rule: 'x', group: 'db-owners', signatures: 2 }]);
    const short = await r.holds.checkReceipt(receipt, r.holds.request(op, two));
    assert.match(short.ok ? '' : short.why, /lacks signatures/);
    const [h, p, s] = receipt.split('.');
    const claims = JSON.parse(Buffer.from(p ?? '', 'base64url').toString());
    const forged = Buffer.from(JSON.stringify({ ...claims, exp: claims.exp + 1000 })).toString(
      'base64url',
    );
    assert.ok(!(await r.holds.checkReceipt(`${h}.${forged}.${s}`, request)).ok);
    const none = Buffer.from('{"alg":"none","typ":"holdpoint-receipt+jwt"}').toString('base64url');
    assert.ok(!(await r.holds.checkReceipt(`${none}.${p}.`, request)).ok);
    const late = new Holds({
      bus: r.bus,
      instance: 'late',
      keys: () => r.approver.jwks(),
      now: () => Date.now() + 700_000,
    });
    assert.match(JSON.stringify(await late.checkReceipt(receipt, request)), /dates are bad/);
  });

  it('a hold that cannot be carried is refused in words', async () => {
    const huge = r.holds.request(operation({ statement: `-- ${'x'.repeat(600_000)}` }), held());
    await assert.rejects(r.holds.open(huge), HoldTooLarge);
  });
}

describe('holds in process', () => suite(() => room()));

describe('holds over NATS', () => {
  let nats: RunningNats;
  before(async () => {
    nats = await startNats();
  });
  after(async () => {
    await nats.close();
  });
  suite(() => room({ makeBus: () => openNatsBus({ servers: [nats.url] }) }));
});

describe('holds when things are away', () => {
  it('without an approver the hold is published, and found when one comes', async () => {
    const r = await room();
    try {
      const ann = await r.person('Ann');
      await r.approver.close();
      const request = r.holds.request(operation(), held());
      assert.deepEqual(await r.holds.find(request), { kind: 'nobody' });
      await r.holds.open(request);
      await assert.rejects(
        r.holds.redeem(request.id, request.digest, 'billing-agent', 'x'),
        HoldUnavailable,
      );
      const waiting = r.holds.wait(request.id, 60_000, never);
      await r.restart();
      await until('it has arrived', async () => (await r.store.holds.get(request.id)) !== null);
      await r.approver.desk.decide(signed(ann, request, 'approve'));
      const answer = await waiting;
      assert.equal(answer !== 'timeout' && answer.state, 'approved');
    } finally {
      await r.close();
    }
  });

  it('a bus that is away is told in words; an answer given meanwhile arrives later', async () => {
    const nats = await startNats();
    const r = await room({ makeBus: () => openNatsBus({ servers: [nats.url] }) });
    try {
      const ann = await r.person('Ann');
      const request = r.holds.request(operation(), held());
      await r.holds.open(request);
      await until('it has arrived', async () => (await r.store.holds.get(request.id)) !== null);
      const waiting = r.holds.wait(request.id, 60_000, never);
      await nats.kill();
      await until('noticed', () => r.holds.unavailable !== null);
      const other = r.holds.request(operation(), held());
      await assert.rejects(r.holds.find(other), HoldUnavailable);
      await assert.rejects(r.holds.open(other), /can't be reached: .*NATS/);
      await assert.rejects(r.bus.publish('holdpoint.modes', {}, 'm'), BusUnavailable);
      const decided = await r.approver.desk.decide(signed(ann, request, 'approve'));
      assert.equal(decided.state, 'approved');
      assert.equal(decided.published, false);
      await nats.restart();
      const answer = await waiting;
      assert.equal(answer !== 'timeout' && answer.state, 'approved');
      await until(
        'published',
        async () => (await r.store.holds.get(request.id))?.published === true,
      );
    } finally {
      await r.close();
      await nats.close();
    }
  });
});
