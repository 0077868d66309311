// Decisions by signed callback and by Teams' commands, and what forgers and careless senders try.
// Invariant: callbacks are signed with the specification's own library, not with our code.
import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { Webhook } from 'standardwebhooks';
import type { HoldRequest } from '../../approver/contract.ts';
import type { HoldDemand } from '../../proxy/verdict/verdict.ts';
import { opened, type Room, room, until } from '../setup/holds.ts';

const demand = (...channels: readonly string[]): readonly HoldDemand[] => [
  { rule: 'x', group: 'db-owners', signatures: 1, channels },
];

interface Sent {
  readonly id?: string;
  readonly at?: number;
  /** Sent instead of what was signed. */
  readonly altered?: string;
}

describe('decisions by signed callback', () => {
  let r: Room;
  let secret: string;
  let ahead = 0;
  before(async () => {
    r = await room({ now: () => Date.now() + ahead });
    await r.person('Ann');
    await r.store.signers.link('Ann', 'callback:jira:ann@example.com');
    secret = (await r.approver.integrations.addCallback('jira', null)) ?? '';
  });
  after(async () => {
    await r.close();
  });

  const open = (demands = demand('callback:jira')) =>
    opened(r, { asked: new Date(Date.now() + ahead).toISOString() }, demands);
  const bodyOf = (hold: HoldRequest, over: object = {}) =>
    JSON.stringify({
      type: 'hold.decision',
      data: {
        hold: hold.id,
        binding: hold.digest,
        decision: 'approve',
        reason: null,
        account: 'ann@example.com',
        ...over,
      },
    });
  const post = (name: string, headers: { [n: string]: string }, body: string) =>
    fetch(`${r.approver.url}/api/channels/callback/${name}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
    });
  const send = (body: string, with_ = secret, sent: Sent = {}, name = 'jira') => {
    const id = sent.id ?? `msg_${randomUUID()}`;
    const at = new Date(sent.at ?? Date.now() + ahead);
    const headers = {
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': new Webhook(with_).sign(id, at, body),
    };
    return post(name, headers, sent.altered ?? body);
  };
  const code = async (answer: Response) => ((await answer.json()) as { code?: string }).code;
  const state = async (hold: HoldRequest) => (await r.store.holds.get(hold.id))?.state;

  it('counts for the person it names, where policy takes this integration', async () => {
    const hold = await open();
    const answer = await send(bodyOf(hold));
    assert.equal(answer.status, 200);
    assert.deepEqual(await answer.json(), { hold: hold.id, state: 'approved' });
    const [signature] = await r.store.holds.signatures(hold.id);
    assert.deepEqual(
      [signature?.signer, signature?.method, signature?.channel],
      ['Ann', 'attested', 'callback:jira'],
    );
    const receipt = (await r.store.holds.get(hold.id))?.receipt ?? '';
    const wanted = { ...hold, demands: demand('callback:jira') };
    assert.ok((await r.holds.checkReceipt(receipt, wanted)).ok);
    for (const channels of [['callback:other'], ['page', 'slack']]) {
      const closed = await open(demand(...channels));
      assert.equal(await code(await send(bodyOf(closed))), 'wrong-channel');
    }
  });

  it('takes no forged, altered, old or repeated one', async () => {
    const hold = await open();
    const body = bodyOf(hold);
    const other = `whsec_${Buffer.from('x'.repeat(32)).toString('base64')}`;
    const bad: readonly Promise<Response>[] = [
      send(body, other),
      send(body, secret, { altered: bodyOf(hold, { decision: 'deny', reason: 'x' }) }),
      send(body, secret, { altered: `${body} ` }),
      send(body, secret, { at: Date.now() + ahead - 6 * 60_000 }),
      send(body, secret, { at: Date.now() + ahead + 6 * 60_000 }),
      send(body, secret, {}, 'nowhere'),
      post('jira', {}, body),
      post('jira', { 'webhook-id': 'a', 'webhook-timestamp': 'b', 'webhook-signature': 'c' }, body),
    ];
    for (const answer of await Promise.all(bad)) {
      assert.equal(answer.status, 403);
      assert.equal(await code(answer), 'bad-signature');
    }
    assert.equal(await state(hold), 'pending');
    const id = 'msg_once';
    assert.equal((await send(body, secret, { id })).status, 200);
    assert.equal(await code(await send(body, secret, { id })), 'replayed');
    const next = await open();
    assert.equal(await code(await send(bodyOf(next), secret, { id })), 'replayed');
    assert.equal(await state(next), 'pending');
  });

  it('may come again when it could not be recorded', async () => {
    const hold = await open();
    const ledger = r.ledger as { append: typeof r.ledger.append };
    const { append } = ledger;
    ledger.append = async () => {
      throw new Error('the disk is full');
    };
    const id = `msg_${randomUUID()}`;
    assert.equal(await code(await send(bodyOf(hold), secret, { id })), 'ledger-unavailable');
    ledger.append = append;
    const again = await send(bodyOf(hold), secret, { id });
    assert.ok([200, 409].includes(again.status));
    await r.approver.desk.sweep();
    assert.equal(await state(hold), 'approved');
    assert.equal((await r.store.holds.signatures(hold.id)).length, 1);
  });

  it('is for people we know, for the card they saw, with a reason for a denial', async () => {
    const hold = await open();
    const refused: readonly (readonly [object, string])[] = [
      [{ account: 'mallory@example.com' }, 'not-a-signer'],
      [{ binding: 'A'.repeat(43) }, 'stale-card'],
      [{ decision: 'deny' }, 'reason-needed'],
      [{ hold: 'h-aaaaaaaaaaaaaaaa' }, 'not-found'],
      [{ decision: 'withdraw' }, 'bad-request'],
      [{ account: 'ann@example.com', extra: 1 }, 'bad-request'],
    ];
    for (const [over, wanted] of refused) {
      assert.equal(await code(await send(bodyOf(hold, over))), wanted);
    }
    for (const odd of ['', '{', 'null', '[]']) {
      assert.equal(await code(await send(odd)), 'bad-request');
    }
    const own = await opened(
      r,
      { onBehalfOf: 'ann', asked: new Date(Date.now() + ahead).toISOString() },
      demand('callback:jira'),
    );
    assert.equal(await code(await send(bodyOf(own))), 'self-approval');
    assert.equal((await send(bodyOf(hold), secret, { altered: 'x'.repeat(300_000) })).status, 413);
    assert.equal(await state(hold), 'pending');
    const denied = await send(bodyOf(hold, { decision: 'deny', reason: 'not now' }));
    assert.deepEqual(await denied.json(), { hold: hold.id, state: 'denied' });
  });

  it('turns its secret without losing a decision; a public key will do as well', async () => {
    const fresh = (await r.approver.integrations.rotateCallback('jira', null)) ?? '';
    const [first, second, third] = [await open(), await open(), await open()];
    assert.equal((await send(bodyOf(first), secret)).status, 200);
    assert.equal((await send(bodyOf(second), fresh)).status, 200);
    ahead += 25 * 3_600_000;
    assert.equal(await code(await send(bodyOf(third), secret)), 'bad-signature');
    secret = fresh;
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const x = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
    const whpk = `whpk_${x.toString('base64')}`;
    assert.equal(await r.approver.integrations.addCallback('bot', whpk), null);
    await r.store.signers.link('Ann', 'callback:bot:ann@example.com');
    const hold = await open(demand('callback:bot'));
    const body = bodyOf(hold);
    const id = `msg_${randomUUID()}`;
    const time = String(Math.floor((Date.now() + ahead) / 1000));
    const signed = Buffer.from(`${id}.${time}.${body}`);
    const signature = sign(null, signed, privateKey).toString('base64');
    const headers = { 'webhook-id': id, 'webhook-timestamp': time };
    // The public key is public: it must not do as a shared secret.
    const key = createHmac('sha256', x).update(signed).digest('base64');
    const confused = await post('bot', { ...headers, 'webhook-signature': `v1,${key}` }, body);
    assert.equal(confused.status, 403);
    const both = `v1,AAAA v1a,${signature}`;
    assert.equal((await post('bot', { ...headers, 'webhook-signature': both }, body)).status, 200);
    const kept = JSON.stringify(await r.store.db.all('SELECT * FROM integrations'));
    assert.ok(!kept.includes('whsec_') && !kept.includes(fresh.slice(6)), 'a secret lies open');
  });
});

describe('decisions by Teams', () => {
  const TOKEN = Buffer.from('a security token of Teams, 32 by').toString('base64');
  const ANN = '6f1b2c3d-0000-4000-8000-00000000000a';
  let r: Room;
  before(async () => {
    r = await room();
    await r.person('Ann');
    await r.store.signers.link('Ann', `teams:${ANN}`);
    await r.approver.integrations.connectTeams(TOKEN);
  });
  after(async () => {
    await r.close();
  });

  interface Message {
    readonly text: string;
    readonly id?: string;
    readonly timestamp?: string;
    readonly from?: object;
  }
  const say = async (message: Message, token = TOKEN, altered?: string) => {
    const body = JSON.stringify({
      type: 'message',
      id: randomUUID(),
      timestamp: new Date().toISOString(),
      from: { name: 'Ann', aadObjectId: ANN },
      ...message,
    });
    const hmac = createHmac('sha256', Buffer.from(token, 'base64')).update(body).digest('base64');
    const answer = await fetch(`${r.approver.url}/api/channels/teams`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `HMAC ${hmac}` },
      body: altered ?? body,
    });
    return { status: answer.status, text: await answer.text() };
  };
  const state = async (hold: HoldRequest) => (await r.store.holds.get(hold.id))?.state;

  it('takes a command of somebody it knows, and answers with a card', async () => {
    const hold = await opened(r, {}, demand('teams'));
    const said = await say({ text: `<at>Holdpoint</at>&nbsp;approve ${hold.id}\n` });
    assert.match(said.text, new RegExp(`Taken. ${hold.id} is approved`));
    assert.match(said.text, /AdaptiveCard/);
    const [signature] = await r.store.holds.signatures(hold.id);
    assert.deepEqual([signature?.method, signature?.channel], ['attested', 'teams']);
    const denied = await opened(r, {}, demand('teams'));
    assert.match((await say({ text: `deny ${denied.id}` })).text, /say why/);
    const why = `<at>Holdpoint</at> <b>deny</b> ${denied.id} wrong month`;
    assert.match((await say({ text: why })).text, /is denied/);
    assert.equal((await r.store.holds.get(denied.id))?.reason, 'wrong month');
    assert.match((await say({ text: 'hello' })).text, /Say approve/);
  });

  it('is told of in a card how to decide there, where that counts', async () => {
    const given = { name: 'team', url: 'https://holdpoint.invalid/', kind: 'hmac' } as const;
    const more = { events: ['hold.requested'], allowPrivate: false, format: 'teams' } as const;
    await r.approver.webhooks.add({ ...given, ...more });
    const bodyOf = async (hold: HoldRequest) => {
      const find = async () =>
        (await r.store.webhooks.deliveries('waiting', 50)).find((d) => d.hold === hold.id);
      await until('queued', async () => (await find()) !== undefined);
      return (await find())?.body ?? '';
    };
    const here = await opened(r, {}, demand('teams'));
    assert.match(await bodyOf(here), new RegExp(`@Holdpoint approve ${here.id}`));
    const long = await opened(r, { statement: `-- ${'x'.repeat(10_000)}` }, demand('teams'));
    for (const hold of [long, await opened(r, {}, demand('page'))]) {
      const body = await bodyOf(hold);
      assert.ok(body.includes(`/holds/${hold.id}`) && !body.includes('@Holdpoint'));
    }
    await r.store.webhooks.remove('team');
  });

  it('takes nothing forged, old or repeated, of strangers, or where policy says no', async () => {
    const hold = await opened(r, {}, demand('teams'));
    const text = `approve ${hold.id}`;
    const old = new Date(Date.now() - 6 * 60_000).toISOString();
    assert.equal((await say({ text }, Buffer.from('another').toString('base64'))).status, 403);
    assert.equal((await say({ text: 'hello' }, TOKEN, JSON.stringify({ text }))).status, 403);
    assert.equal((await say({ text, timestamp: old })).status, 403);
    const unknown = { name: 'Ann', aadObjectId: ANN.replace('a', 'b') };
    assert.match((await say({ text, from: unknown })).text, /linked to nobody/);
    assert.equal((await say({ text, from: { name: 'Ann' } })).status, 403);
    const closed = await opened(r, {}, demand('page', 'slack'));
    assert.match((await say({ text: `approve ${closed.id}` })).text, /not by teams/);
    const long = await opened(r, { statement: `-- ${'x'.repeat(10_000)}` }, demand('teams'));
    assert.match((await say({ text: `approve ${long.id}` })).text, /too long/);
    assert.equal(await state(hold), 'pending');
    const id = randomUUID();
    assert.equal((await say({ text, id })).status, 200);
    assert.equal((await say({ text, id })).status, 409);
    assert.equal(await state(hold), 'approved');
  });
});
