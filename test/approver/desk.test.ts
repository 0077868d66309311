// The desk under pressure: who may sign, what a crash leaves, what a missing ledger means, who wins a race.
// Invariant: no state is told that is not in the ledger, and nothing is decided twice.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { ApproverError, type Code } from '../../approver/errors.ts';
import { openStore } from '../../approver/store.ts';
import type { Append, Appended, LedgerWriter } from '../../ledger/contract.ts';
import type { HoldDemand } from '../../proxy/verdict/verdict.ts';
import { held, operation, type Room, room, signed, until } from '../setup/holds.ts';

const refused = (code: Code) => (e: unknown) => e instanceof ApproverError && e.code === code;

async function open(
  r: Room,
  over: Parameters<typeof operation>[0] = {},
  demands?: readonly HoldDemand[],
  times?: { readonly expires_ms?: number },
) {
  const unique = { statement: `DELETE FROM t -- ${randomUUID()}`, ...over };
  const request = r.holds.request(operation(unique), held(demands, times));
  await r.approver.desk.receive(request);
  return request;
}

describe('who may sign', () => {
  let r: Room;
  before(async () => {
    r = await room();
  });
  after(async () => {
    await r.close();
  });

  it('needs N different people, whatever they call themselves', async () => {
    const demands = [{ rule: 'x', group: 'db-owners', signatures: 2 }];
    const ann = await r.person('Ann');
    const request = await open(r, {}, demands);
    const first = await r.approver.desk.decide(signed(ann, request, 'approve'));
    assert.equal(first.state, 'pending');
    const twice = r.approver.desk.decide(signed(ann, request, 'approve', 'again'));
    await assert.rejects(twice, refused('already-signed'));
    // A second key of the same person is the same person: width and case do not make another.
    const ann2 = await r.person('ＡＮＮ');
    assert.equal(ann2.name, 'Ann');
    const third = r.approver.desk.decide(signed(ann2, request, 'approve'));
    await assert.rejects(third, refused('already-signed'));
    const bob = await r.person('Bob');
    assert.equal((await r.approver.desk.decide(signed(bob, request, 'approve'))).state, 'approved');
  });

  it('takes any group of an OR, all demands of an AND', async () => {
    const demands = [
      { rule: 'x', group: 'db-owners|sre', signatures: 1 },
      { rule: 'y', group: 'security', signatures: 1 },
    ];
    const sre = await r.person('Sam', ['sre']);
    const sec = await r.person('Sec', ['security']);
    const request = await open(r, {}, demands);
    const first = await r.approver.desk.decide(signed(sre, request, 'approve'));
    assert.equal(await r.approver.desk.waiting(first), 'a signature of security');
    assert.equal((await r.approver.desk.decide(signed(sec, request, 'approve'))).state, 'approved');
  });

  it('lets nobody approve for themselves, on any name of theirs', async () => {
    const eve = await r.person('Eve');
    await r.store.signers.put('Eve', { identities: ['eve@example.com'] }, Date.now());
    const own = [
      await open(r, { onBehalfOf: 'EVE' }),
      await open(r, { onBehalfOf: ' eve@Example.com ' }),
      await open(r, { agentName: 'Eve' }),
    ];
    for (const request of own) {
      const tried = r.approver.desk.decide(signed(eve, request, 'approve'));
      await assert.rejects(tried, refused('self-approval'));
      assert.equal((await r.approver.desk.decide(signed(eve, request, 'deny'))).state, 'denied');
    }
  });

  it('counts no one outside the groups, no removed person, no revoked key', async () => {
    const out = await r.person('Out', ['others']);
    const request = await open(r);
    await assert.rejects(
      r.approver.desk.decide(signed(out, request, 'approve')),
      refused('not-a-signer'),
    );
    await assert.rejects(
      r.approver.desk.decide(signed(out, request, 'deny')),
      refused('not-a-signer'),
    );
    const demands = [{ rule: 'x', group: 'db-owners', signatures: 2 }];
    const gone = await r.person('Gone');
    const two = await open(r, {}, demands);
    await r.approver.desk.decide(signed(gone, two, 'approve'));
    await r.store.signers.set('Gone', { groups: ['db-owners'], roles: ['signer'], active: false });
    const ann = await r.person('Ann');
    const after = await r.approver.desk.decide(signed(ann, two, 'approve'));
    assert.equal(after.state, 'pending', 'the signature of a person who was removed still counted');
    const rev = await r.person('Rev');
    await r.store.signers.revokeKey(rev.thumbprint, Date.now());
    await assert.rejects(
      r.approver.desk.decide(signed(rev, request, 'approve')),
      refused('not-a-signer'),
    );
  });

  it('a denial or withdrawal needs a reason and ends it; a withdrawn approval can not run', async () => {
    const ann = await r.person('Ann');
    const denied = await open(r);
    for (const blank of [null, '', '  \n']) {
      await assert.rejects(
        r.approver.desk.decide(signed(ann, denied, 'deny', blank)),
        refused('reason-needed'),
      );
    }
    assert.equal((await r.approver.desk.decide(signed(ann, denied, 'deny', 'no'))).state, 'denied');
    await assert.rejects(
      r.approver.desk.decide(signed(ann, denied, 'approve')),
      refused('decided'),
    );
    const request = await open(r);
    await r.approver.desk.decide(signed(ann, request, 'approve'));
    const back = await r.approver.desk.decide(signed(ann, request, 'withdraw', 'wrong table'));
    assert.equal(back.state, 'withdrawn');
    const ask = {
      hold: request.id,
      digest: request.digest,
      agent: 'billing-agent',
      operation: 'o',
    };
    assert.equal((await r.approver.desk.redeem(ask)).ok, false);
  });

  it('refuses signatures that are altered, replayed, re-targeted or stale', async () => {
    const ann = await r.person('Ann');
    const bob = await r.person('Bob');
    const request = await open(r, { statement: `DELETE FROM a -- ${randomUUID()}` });
    const other = await open(r, { statement: `DELETE FROM b -- ${randomUUID()}` });
    const good = signed(ann, request, 'approve', 'fine');
    const d = good.decision;
    const bad: readonly [string, typeof good, Code][] = [
      ['another reason', { ...good, decision: { ...d, reason: 'other' } }, 'bad-signature'],
      ['deny made of approve', { ...good, decision: { ...d, decision: 'deny' } }, 'bad-signature'],
      ['another hold', { ...good, decision: { ...d, hold: other.id } }, 'stale-card'],
      [
        'another hold and binding',
        { ...good, decision: { ...d, hold: other.id, binding: other.digest } },
        'bad-signature',
      ],
      [
        'another binding',
        signed(ann, request, 'approve', null, { binding: other.digest }),
        'stale-card',
      ],
      ['somebody else’s name', { ...good, decision: { ...d, signer: 'Bob' } }, 'not-a-signer'],
      ['somebody else’s key', { ...good, key: bob.thumbprint }, 'not-a-signer'],
      ['an unknown key', { ...good, key: 'x'.repeat(43) }, 'not-a-signer'],
      ['an empty signature', { ...good, signature: '' }, 'bad-signature'],
      [
        '64 zero bytes',
        { ...good, signature: Buffer.alloc(64).toString('base64url') },
        'bad-signature',
      ],
      [
        'yesterday',
        signed(ann, request, 'approve', null, {
          signed: new Date(Date.now() - 864e5).toISOString(),
        }),
        'bad-signature',
      ],
      ['no time', signed(ann, request, 'approve', null, { signed: 'never' }), 'bad-signature'],
    ];
    for (const [what, given, code] of bad) {
      await assert.rejects(r.approver.desk.decide(given), refused(code), what);
    }
    assert.equal((await r.approver.desk.decide(good)).state, 'approved');
    await assert.rejects(r.approver.desk.decide(good), refused('decided'));
  });

  it('expires what nobody signs and what nobody uses, and it can be asked again', async () => {
    const ann = await r.person('Ann');
    const statement = `DELETE FROM c -- ${randomUUID()}`;
    const request = await open(r, { statement }, undefined, { expires_ms: 1000 });
    const answer = r.holds.wait(request.id, 6000, new AbortController().signal);
    await until('expired', async () => (await r.store.holds.get(request.id))?.state === 'expired');
    assert.deepEqual(await answer, { hold: request.id, state: 'expired' });
    await assert.rejects(
      r.approver.desk.decide(signed(ann, request, 'approve')),
      refused('decided'),
    );
    const again = await open(r, { statement }, undefined, { expires_ms: 1000 });
    assert.notEqual(again.id, request.id);
    assert.equal((await r.approver.desk.decide(signed(ann, again, 'approve'))).state, 'approved');
    await until('unused', async () => (await r.store.holds.get(again.id))?.state === 'expired');
  });
});

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

describe('no record, no approval', () => {
  let r: Room;
  let ledger: Failing;
  beforeEach(async () => {
    r = await room();
    ledger = new Failing(r.ledger);
    await r.restart({ ledger });
  });
  afterEach(async () => {
    await r.close();
  });

  it('a signature that can’t be recorded is not kept', async () => {
    const ann = await r.person('Ann');
    const request = await open(r);
    ledger.fail = 'before';
    await assert.rejects(
      r.approver.desk.decide(signed(ann, request, 'approve')),
      refused('ledger-unavailable'),
    );
    assert.deepEqual(await r.store.holds.signatures(request.id), []);
    ledger.fail = 'no';
    assert.equal((await r.approver.desk.decide(signed(ann, request, 'approve'))).state, 'approved');
  });

  it('an approval that can’t be recorded is not told until it is', async () => {
    const ann = await r.person('Ann');
    const request = await open(r);
    const given = signed(ann, request, 'approve');
    let calls = 0;
    const append = ledger.append.bind(ledger);
    ledger.append = (a) =>
      ++calls > 1 && ledger.fail === 'before' ? Promise.reject(new Error('full')) : append(a);
    ledger.fail = 'no';
    const first = ledger.append.bind(ledger);
    ledger.append = async (a) => {
      if (a[0]?.entry.kind === 'hold') throw new Error('disk full');
      return await first(a);
    };
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
    const waiting = r.holds.wait(request.id, 6000, new AbortController().signal);
    ledger.append = append;
    const answer = await waiting;
    assert.equal(answer !== 'timeout' && answer.state, 'approved');
  });

  it('a redemption that can’t be recorded does not run, and the approval is not lost', async () => {
    const ann = await r.person('Ann');
    const request = await open(r);
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

describe('a restart', () => {
  let r: Room;
  beforeEach(async () => {
    r = await room();
  });
  afterEach(async () => {
    await r.close();
  });

  it('loses no hold, no signature, no approval', async () => {
    const ann = await r.person('Ann');
    const bob = await r.person('Bob');
    const demands = [{ rule: 'x', group: 'db-owners', signatures: 2 }];
    const request = await open(r, {}, demands);
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
    const request = await open(r);
    const after = await r.approver.desk.decide(signed(ann, request, 'approve'));
    // As a crash between store and ledger, and between ledger and bus, would leave it.
    for (const left of [{ recorded: false, published: false }, { published: false }]) {
      const now = await r.store.holds.get(request.id);
      assert.ok(await r.store.holds.change(request.id, now?.version ?? 0, left));
      await r.restart();
      await until('settled', async () => {
        const hold = await r.store.holds.get(request.id);
        return hold?.recorded === true && hold.published;
      });
    }
    assert.equal((await r.store.holds.get(request.id))?.receipt, after.receipt);
    const entries = [];
    for (let i = 0; i < r.ledger.size; i++) entries.push(await r.ledger.read(i));
    const states = entries.filter((e) => e.kind === 'hold').map((e) => e.state);
    assert.deepEqual(states, ['approved'], 'the ledger has the approval once');
  });

  it('of two replicas that decide at once, one result stands', async () => {
    const other = await openStore(join(r.folder, 'approver.db'));
    const { startApprover } = await import('../../approver/main.ts');
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
      for (let i = 0; i < 20; i++) {
        const request = await open(r, { statement: `DELETE FROM t${i}` });
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
    await assert.rejects(openStore(join(r.folder, 'approver.db')), /newer version/);
  });
});

describe('what is no request', () => {
  it('is refused to its proxy, never shown', async () => {
    const r = await room();
    try {
      const good = r.holds.request(operation(), held());
      const evil = [
        { ...good, statement: 'SELECT 1' },
        { ...good, target: { ...good.target, name: 'staging' } },
        { ...good, agent: { ...good.agent, name: 'nice-agent' } },
        { ...good, parameters: [{ ...good.parameters[0], text: '1' }] },
        { ...good, parameters: [] },
        { ...good, demands: [] },
        { ...good, demands: [{ rule: 'x', group: 'db-owners', signatures: 0 }] },
        { ...good, binding: { ...good.binding, agent: 'x' } },
        { ...good, binding: { ...good.binding, extra: 'x' } },
        { ...good, expires: 'tomorrow' },
      ];
      for (const [i, body] of evil.entries()) {
        const id = `h-${'abcdefghij'[i]}${'a'.repeat(15)}`;
        const waiting = r.holds.wait(id, 5000, new AbortController().signal);
        await r.bus.publish('holdpoint.holds.requested', { ...body, id }, `evil-${i}`);
        const answer = await waiting;
        assert.equal(answer !== 'timeout' && answer.state, 'withdrawn', `case ${i} was shown`);
      }
      await r.bus.publish('holdpoint.holds.requested', 'nonsense', 'evil-text');
      await r.bus.publish('holdpoint.holds.outcome', { hold: 1 }, 'evil-outcome');
      assert.equal(await r.store.holds.count({}), 0);
    } finally {
      await r.close();
    }
  });
});
