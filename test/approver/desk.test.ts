// The desk: who may sign, what may be shown, on both stores.
// Invariant: nobody signs for themselves, twice, for others, or for what they did not see.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { ApproverError, type Code } from '../../approver/errors.ts';
import { PENDING_PER_AGENT } from '../../approver/limits.ts';
import {
  held,
  opened,
  operation,
  type Room,
  room,
  signed,
  storePlaces,
  until,
} from '../setup/holds.ts';

const refused = (code: Code) => (e: unknown) => e instanceof ApproverError && e.code === code;

for (const store of storePlaces())
  describe(`who may sign (${store.name})`, { skip: store.skip }, () => {
    let r: Room;
    let ahead = 0;
    before(async () => {
      r = await room({ place: await store.place(), now: () => Date.now() + ahead });
    });
    after(async () => {
      await r.close();
      await store.close();
    });

    it('needs N different people, whatever they call themselves', async () => {
      const demands = [{ rule: 'x', group: 'db-owners', signatures: 2 }];
      const ann = await r.person('Ann');
      const request = await opened(r, {}, demands);
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
      assert.equal(
        (await r.approver.desk.decide(signed(bob, request, 'approve'))).state,
        'approved',
      );
    });

    it('takes any group of an OR, all demands of an AND', async () => {
      const demands = [
        { rule: 'x', group: 'db-owners|sre', signatures: 1 },
        { rule: 'y', group: 'security', signatures: 1 },
      ];
      const sre = await r.person('Sam', ['sre']);
      const sec = await r.person('Sec', ['security']);
      const request = await opened(r, {}, demands);
      const first = await r.approver.desk.decide(signed(sre, request, 'approve'));
      assert.equal(await r.approver.desk.waiting(first), 'a signature of security');
      assert.equal(
        (await r.approver.desk.decide(signed(sec, request, 'approve'))).state,
        'approved',
      );
    });

    it('lets nobody approve for themselves, on any name of theirs', async () => {
      const eve = await r.person('Eve');
      await r.store.signers.put('Eve', { identities: ['eve@example.com'] }, Date.now());
      const own = [
        await opened(r, { onBehalfOf: 'EVE' }),
        await opened(r, { onBehalfOf: ' eve@Example.com ' }),
        await opened(r, { agentName: 'Eve' }),
      ];
      for (const request of own) {
        const tried = r.approver.desk.decide(signed(eve, request, 'approve'));
        await assert.rejects(tried, refused('self-approval'));
        assert.equal((await r.approver.desk.decide(signed(eve, request, 'deny'))).state, 'denied');
      }
    });

    it('counts no one outside the groups, no removed person, no revoked key', async () => {
      const out = await r.person('Out', ['others']);
      const request = await opened(r);
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
      const two = await opened(r, {}, demands);
      await r.approver.desk.decide(signed(gone, two, 'approve'));
      await r.store.signers.set('Gone', {
        groups: ['db-owners'],
        roles: ['signer'],
        active: false,
      });
      const ann = await r.person('Ann');
      const after = await r.approver.desk.decide(signed(ann, two, 'approve'));
      assert.equal(
        after.state,
        'pending',
        'the signature of a person who was removed still counted',
      );
      const rev = await r.person('Rev');
      await r.store.signers.revokeKey(rev.thumbprint, Date.now());
      await assert.rejects(
        r.approver.desk.decide(signed(rev, request, 'approve')),
        refused('not-a-signer'),
      );
    });

    it('a denial or withdrawal needs a reason; a withdrawn approval can not run', async () => {
      const ann = await r.person('Ann');
      const denied = await opened(r);
      for (const blank of [null, '', '  \n']) {
        await assert.rejects(
          r.approver.desk.decide(signed(ann, denied, 'deny', blank)),
          refused('reason-needed'),
        );
      }
      assert.equal(
        (await r.approver.desk.decide(signed(ann, denied, 'deny', 'no'))).state,
        'denied',
      );
      await assert.rejects(
        r.approver.desk.decide(signed(ann, denied, 'approve')),
        refused('decided'),
      );
      const request = await opened(r);
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
      const request = await opened(r, { statement: `DELETE FROM a -- ${randomUUID()}` });
      const other = await opened(r, { statement: `DELETE FROM b -- ${randomUUID()}` });
      const good = signed(ann, request, 'approve', 'fine');
      const d = good.decision;
      const bad: readonly [string, typeof good, Code][] = [
        ['another reason', { ...good, decision: { ...d, reason: 'other' } }, 'bad-signature'],
        [
          'deny made of approve',
          { ...good, decision: { ...d, decision: 'deny' } },
          'bad-signature',
        ],
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
      // The same once more changes nothing: an answer that got lost is given again.
      const again = await r.approver.desk.decide(good);
      assert.equal(again.receipt, (await r.store.holds.get(request.id))?.receipt);
      assert.equal((await r.store.holds.signatures(request.id)).length, 1);
      const other2 = { ...good, decision: { ...d, reason: 'changed' } };
      await assert.rejects(r.approver.desk.decide(other2), refused('decided'));
    });

    it('expires what nobody signs and what nobody uses, and it can be asked again', async () => {
      const ann = await r.person('Ann');
      const statement = `DELETE FROM c -- ${randomUUID()}`;
      const expires_ms = 60_000;
      const request = await opened(r, { statement }, undefined, { expires_ms });
      const answer = r.holds.wait(request.id, 60_000, new AbortController().signal);
      ahead += expires_ms;
      await until(
        'expired',
        async () => (await r.store.holds.get(request.id))?.state === 'expired',
      );
      assert.deepEqual(await answer, { hold: request.id, state: 'expired' });
      await assert.rejects(
        r.approver.desk.decide(signed(ann, request, 'approve')),
        refused('decided'),
      );
      const asked = new Date(Date.now() + ahead).toISOString();
      const again = await opened(r, { statement, asked }, undefined, { expires_ms });
      assert.notEqual(again.id, request.id);
      const given = signed(ann, again, 'approve', null, { signed: asked });
      assert.equal((await r.approver.desk.decide(given)).state, 'approved');
      ahead += expires_ms;
      await until('unused', async () => (await r.store.holds.get(again.id))?.state === 'expired');
    });
  });

describe('what is too much', () => {
  it('is refused to an agent that buries others, and to nobody else', async () => {
    const r = await room();
    try {
      const agentName = 'flood';
      for (let i = 0; i < PENDING_PER_AGENT; i++) await opened(r, { agentName });
      const request = r.holds.request(operation({ agentName, statement: 'DELETE 1' }), held());
      const waiting = r.holds.wait(request.id, 60_000, new AbortController().signal);
      await r.holds.open(request);
      const answer = await waiting;
      assert.ok(answer !== 'timeout' && answer.state === 'withdrawn');
      assert.match(answer.reason, /flood has 1000 holds waiting/);
      const other = await opened(r, { agentName: 'quiet' });
      assert.ok(await r.store.holds.get(other.id));
    } finally {
      await r.close();
    }
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
        const waiting = r.holds.wait(id, 60_000, new AbortController().signal);
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
