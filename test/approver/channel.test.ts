// Where a decision may come from: the policy names the channels, and everybody keeps to it.
// Invariant: a click counts only where each demand of the person's groups takes its channel, here
// and at the proxy.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cardOf } from '../../approver/card.ts';
import { ApproverError, type Code } from '../../approver/errors.ts';
import { type ApproverKey, approverKey, recheckReceipt } from '../../approver/receipt.ts';
import { parseRequest } from '../../approver/request.ts';
import { NO_ROUTING, Roster } from '../../approver/routing.ts';
import { attest, type Said } from '../../approver/webhook/attest.ts';
import type { HoldDemand } from '../../proxy/verdict/verdict.ts';
import { held, opened, operation, type Room, room, signed, until } from '../setup/holds.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'cli', 'main.ts');
const refused = (code: Code) => (e: unknown) => e instanceof ApproverError && e.code === code;
const SLACK = ['page', 'slack'];
const demand = (channels?: readonly string[], group = 'db-owners', signatures = 1): HoldDemand => ({
  rule: 'x',
  group,
  signatures,
  ...(channels ? { channels } : {}),
});

describe('channels', () => {
  let r: Room;
  let key: ApproverKey;
  before(async () => {
    r = await room();
    key = await approverKey(`${r.folder}/approver.pem`);
    for (const name of ['Ann', 'Bob', 'Eve']) {
      await r.person(name);
      await r.store.signers.link(name, `slack:U${name.toUpperCase()}`);
    }
  });
  after(async () => {
    await r.close();
  });

  const click = async (
    who: string,
    hold: { id: string; digest: string },
    over: Partial<Said> = {},
    by = key,
  ) => {
    const said: Said = {
      hold: hold.id,
      binding: hold.digest,
      decision: 'approve',
      reason: null,
      channel: 'slack',
      account: `slack:U${who.toUpperCase()}`,
      request: Buffer.from(`${who} clicks`),
      ...over,
    };
    return await attest(by, r.store.signers, said, Date.now());
  };

  const verify = async (receipt: string, keys: string) => {
    const [jws, jwks] = [join(r.folder, 'receipt.jws'), join(r.folder, 'keys.json')];
    await writeFile(jws, receipt);
    await writeFile(jwks, keys);
    const args = [MAIN, 'receipt', 'verify', jws, '--keys', jwks];
    return await new Promise<{ out: string }>((resolve) => {
      execFile(process.execPath, args, (_e, out) => resolve({ out }));
    });
  };

  it('a click counts where policy says so; the entry and the receipt say how it came', async () => {
    const request = await opened(r, {}, [demand(SLACK)]);
    const hold = await r.approver.desk.decide(await click('Ann', request));
    assert.equal(hold.state, 'approved');
    const records = await r.store.holds.records(request.id);
    const entry = records.map((d) => d.entry).find((e) => e.kind === 'signature');
    assert.ok(entry?.kind === 'signature');
    assert.deepEqual([entry.method, entry.channel, entry.signer], ['attested', 'slack', 'Ann']);
    const receipt = hold.receipt ?? '';
    assert.deepEqual((await r.holds.checkReceipt(receipt, request)).ok, true);
    const checked = await recheckReceipt(receipt, await r.approver.jwks(), { now: Date.now() });
    assert.deepEqual(
      checked.signers.map((s) => [s.method, s.channel, s.fault]),
      [['attested', 'slack', null]],
    );
    const { out } = await verify(receipt, JSON.stringify(await r.approver.jwks()));
    assert.match(out, /good {2}Ann {2}attested/);
    assert.match(out, /the approver's word that slack:UANN decided: no key of Ann's own/);
    // The same receipt for a policy that wants keys, or another channel.
    for (const channels of [undefined, ['page'], ['teams']]) {
      const mine = { ...request, demands: [demand(channels)] };
      const proxy = await r.holds.checkReceipt(receipt, mine);
      assert.match(proxy.ok ? '' : proxy.why, /lacks signatures/);
    }
  });

  it('a click answers the statement that waits, over the bus and back', async () => {
    const request = r.holds.request(operation(), held([demand(SLACK)]));
    await r.holds.open(request);
    const waiting = r.holds.wait(request.id, 60_000, new AbortController().signal);
    await until('arrived', async () => (await r.store.holds.get(request.id)) !== null);
    await r.approver.desk.decide(await click('Ann', request));
    const answer = await waiting;
    assert.ok(answer !== 'timeout' && answer.state === 'approved');
    const used = await r.holds.redeem(request.id, request.digest, request.agent.name, 'o');
    assert.ok(used.ok && (await r.holds.checkReceipt(used.receipt, request)).ok);
    for (const channels of [[], ['fax'], 'slack', ['page', 7]]) {
      const demands = [{ ...demand(), channels }];
      assert.equal(parseRequest({ ...request, demands }).ok, false, JSON.stringify(channels));
    }
  });

  it('a click counts nowhere else, nor for a denial', async () => {
    for (const channels of [undefined, ['page'], ['cli', 'teams'], ['callback:slack']]) {
      const request = await opened(r, {}, [demand(channels)]);
      for (const decision of ['approve', 'deny'] as const) {
        const given = await click('Ann', request, { decision, reason: 'why' });
        await assert.rejects(r.approver.desk.decide(given), refused('wrong-channel'));
      }
      assert.equal((await r.store.holds.get(request.id))?.state, 'pending');
    }
    const mixed = await opened(r, {}, [demand(SLACK), demand(undefined, 'db-owners', 2)]);
    const half = r.approver.desk.decide(await click('Ann', mixed));
    await assert.rejects(half, refused('wrong-channel'));
  });

  it('the page can be left out as well', async () => {
    const cy = await r.person('Cy');
    const request = await opened(r, {}, [demand(['slack'])]);
    const pending = await r.store.holds.get(request.id);
    assert.ok(pending);
    assert.equal(await r.approver.desk.waiting(pending), 'a signature of db-owners by slack');
    const keyed = r.approver.desk.decide(signed(cy, request, 'approve'));
    await assert.rejects(keyed, refused('wrong-channel'));
    const hold = await r.store.holds.get(request.id);
    const people = await r.store.signers.list();
    const roster = new Roster(people, [], NO_ROUTING, Date.now());
    const person = people.find((p) => p.name === 'Cy');
    assert.ok(hold && person);
    const { you } = await cardOf(hold, r.store, person, roster, Date.now());
    assert.deepEqual([you.can_approve, you.can_deny], [false, true]);
    assert.match(you.why ?? '', /by slack, and not by/);
    assert.equal((await r.approver.desk.decide(await click('Bob', request))).state, 'approved');
  });

  it('whoever could sign may always stop it by their own key', async () => {
    const dee = await r.person('Dee');
    const denied = await opened(r, {}, [demand(['slack'])]);
    const done = await r.approver.desk.decide(signed(dee, denied, 'deny', 'stop'));
    assert.equal(done.state, 'denied');
    const withdrawn = await opened(r, {}, [demand(['slack'])]);
    await r.approver.desk.decide(await click('Bob', withdrawn));
    const back = await r.approver.desk.decide(signed(dee, withdrawn, 'withdraw', 'stop'));
    assert.equal(back.state, 'withdrawn');
  });

  it('two signatures are two people across channels; nobody approves their own', async () => {
    const dan = await r.person('Dan');
    await r.store.signers.link('Dan', 'slack:UDAN');
    const all = ['cli', 'page', 'slack'];
    const request = await opened(r, {}, [demand(all, 'db-owners', 2)]);
    assert.equal((await r.approver.desk.decide(await click('Dan', request))).state, 'pending');
    const twice = r.approver.desk.decide(signed(dan, request, 'approve'));
    await assert.rejects(twice, refused('already-signed'));
    const again = r.approver.desk.decide(await click('Dan', request, { request: Buffer.of(1) }));
    await assert.rejects(again, refused('already-signed'));
    const done = await r.approver.desk.decide(await click('Ann', request));
    assert.equal(done.state, 'approved');
    const proxy = await r.holds.checkReceipt(done.receipt ?? '', request);
    assert.ok(proxy.ok, proxy.ok ? '' : proxy.why);
    const owned = [{ onBehalfOf: 'eve' }, { agentName: 'Eve' }, { onBehalfOf: 'slack:UEVE' }];
    for (const over of owned) {
      const own = await opened(r, over, [demand(SLACK)]);
      const self = r.approver.desk.decide(await click('Eve', own));
      await assert.rejects(self, refused('self-approval'));
    }
  });

  it('refuses what was not attested here, other accounts, and a stale card', async () => {
    const request = await opened(r, {}, [demand(SLACK)]);
    const { privateKey } = generateKeyPairSync('ed25519');
    const forged = await click('Ann', request, {}, { ...key, private: privateKey });
    await assert.rejects(r.approver.desk.decide(forged), refused('bad-signature'));
    const other = { ...forged, key: 'x'.repeat(43) };
    await assert.rejects(r.approver.desk.decide(other), refused('bad-signature'));
    const good = await click('Ann', request);
    const bob = { ...good, decision: { ...good.decision, signer: 'Bob' } };
    await assert.rejects(r.approver.desk.decide(bob), refused('not-a-signer'));
    const moved = { ...good, channel: 'teams' };
    await assert.rejects(r.approver.desk.decide(moved), refused('not-a-signer'));
    const paged = { ...good, channel: 'page' };
    await assert.rejects(r.approver.desk.decide(paged), refused('not-a-signer'));
    const reasoned = { ...good, decision: { ...good.decision, reason: 'added' } };
    await assert.rejects(r.approver.desk.decide(reasoned), refused('bad-signature'));
    const stale = await click('Ann', { ...request, digest: 'A'.repeat(43) });
    await assert.rejects(r.approver.desk.decide(stale), refused('stale-card'));
    await assert.rejects(click('Mallory', request), refused('not-a-signer'));
    assert.equal((await r.approver.desk.decide(good)).state, 'approved');
  });

  it('one account is one person’s', async () => {
    await assert.rejects(r.store.signers.link('Bob', 'slack:UANN'), refused('conflict'));
    await assert.rejects(r.store.signers.link('Bob', 'SLACK:uann'), refused('conflict'));
    await r.store.signers.link('Ann', 'slack:UANN');
    assert.equal(await r.store.signers.unlink('Ann', 'slack:UANN'), true);
    assert.equal(await r.store.signers.unlink('Ann', 'slack:UANN'), false);
    const request = await opened(r, {}, [demand(SLACK)]);
    await assert.rejects(click('Ann', request), refused('not-a-signer'));
  });
});
