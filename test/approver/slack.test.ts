// Slack as people use it: a message that stays current, buttons, the modal; and what forgers try.
// Invariant: the other side is a real HTTP server that keeps to Slack's documented contract.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import type { HoldRequest } from '../../approver/contract.ts';
import type { HoldDemand } from '../../proxy/verdict/verdict.ts';
import { opened, type Room, room, signed, until } from '../setup/holds.ts';
import {
  CONVERSATION,
  objectsIn,
  pressOf,
  SIGNING,
  type Signing,
  Slack,
  signedBySlack,
  submissionOf,
  TOKEN,
} from '../setup/slack.ts';

const BOTH: readonly HoldDemand[] = [
  { rule: 'x', group: 'db-owners', signatures: 1, channels: ['cli', 'page', 'slack'] },
];
const KEYS: readonly HoldDemand[] = [{ rule: 'x', group: 'db-owners', signatures: 1 }];

describe('Slack', () => {
  let r: Room;
  const slack = new Slack();
  let url: string;
  before(async () => {
    await slack.start();
    r = await room({ privateWebhooks: true });
    url = `${r.approver.url}/api/channels/slack`;
    for (const name of ['Ann', 'Bob']) {
      await r.person(name);
      await r.store.signers.link(name, `slack:U${name.toUpperCase()}`);
    }
    await r.person('Outsider', ['others']);
    await r.store.signers.link('Outsider', 'slack:UOUT');
    const { signing_secret: signing, bot_token: token, ...settings } = slack.settings;
    const events = ['*'];
    await r.approver.integrations.connectSlack({ ...settings, events }, { signing, token });
  });
  after(async () => {
    await r.close();
    slack.close();
  });

  const post = (payload: unknown, how: Signing = {}) => fetch(url, signedBySlack(payload, how));
  const shownOf = (h: HoldRequest) => `${h.id}.${h.digest}`;
  const press = (user: string, action: string, h: HoldRequest, how: Signing = {}) =>
    post(pressOf(slack, user, action, shownOf(h)), how);
  const state = async (h: HoldRequest) => (await r.store.holds.get(h.id))?.state;
  /** The message of a hold, once Slack has it. */
  const messageOf = async (h: HoldRequest, has: RegExp = /./) => {
    let found: string | undefined;
    await until(`a message of ${h.id} with ${has}`, () => {
      found = slack.messages
        .filter((m) => m.body.thread_ts === undefined)
        .map((m) => JSON.stringify(m.body))
        .find((m) => m.includes(h.id) && has.test(m));
      return found !== undefined;
    });
    return JSON.parse(found ?? '') as { text: string; blocks: unknown[] };
  };
  const buttons = (message: unknown) =>
    objectsIn(message)
      .filter((o) => o.type === 'button')
      .map((o) => o.action_id);
  const whispered = async (words: RegExp) => {
    await until(`whispered ${words}`, () => slack.whispers.some((w) => words.test(w)));
  };

  it('approves by a click: one message, changed when the hold is decided', async () => {
    const hold = await opened(r, {}, BOTH);
    const first = await messageOf(hold, /waits for a signature/);
    assert.deepEqual(buttons(first), ['approve', 'deny', 'open']);
    const answer = await press('UANN', 'approve', hold);
    assert.equal(answer.status, 200);
    assert.equal(await answer.text(), '');
    assert.equal(await state(hold), 'approved');
    const after = await messageOf(hold, /is approved/);
    assert.deepEqual(buttons(after), ['open']);
    assert.match(JSON.stringify(after), /Ann \(slack, attested\)/);
    const mine = slack.messages.filter((m) => JSON.stringify(m.body).includes(hold.id));
    assert.equal(mine.length, 1, 'a hold has one message');
    const [signature] = await r.store.holds.signatures(hold.id);
    assert.deepEqual([signature?.method, signature?.channel], ['attested', 'slack']);
    const receipt = (await r.store.holds.get(hold.id))?.receipt ?? '';
    assert.ok((await r.holds.checkReceipt(receipt, hold)).ok);
  });

  it('asks why before it denies', async () => {
    const hold = await opened(r, {}, BOTH);
    assert.equal((await press('UBOB', 'deny', hold)).status, 200);
    const opening = slack.calls.findLast((c) => c.method === 'views.open')?.body;
    assert.match(String(opening?.trigger_id), /^trigger\./);
    const view = opening?.view as { private_metadata: string };
    assert.equal(view.private_metadata, shownOf(hold));
    assert.equal(await state(hold), 'pending');
    const empty = await post(submissionOf('UBOB', view.private_metadata, '  '));
    assert.deepEqual(Object.keys((await empty.json()) as object), ['response_action', 'errors']);
    assert.equal(await state(hold), 'pending');
    const done = await post(submissionOf('UBOB', view.private_metadata, 'wrong <month>'));
    assert.equal(await done.text(), '');
    assert.equal((await r.store.holds.get(hold.id))?.reason, 'wrong <month>');
    await messageOf(hold, /is denied/);
    const late = await post(submissionOf('UANN', view.private_metadata, 'me too'));
    assert.match(await late.text(), /already denied/);
  });

  it('a click means nothing where policy wants keys: whoever clicked gets the page', async () => {
    const hold = await opened(r, {}, KEYS);
    assert.deepEqual(buttons(await messageOf(hold)), ['open']);
    const before = slack.calls.length;
    for (const action of ['approve', 'deny']) {
      assert.equal((await press('UANN', action, hold)).status, 200);
    }
    await whispered(new RegExp(`by page or cli|by cli or page.*/holds/${hold.id}\\|Open it>`));
    const modal = submissionOf('UANN', shownOf(hold), 'because');
    assert.match(await (await post(modal)).text(), /not by slack/);
    assert.ok(!slack.calls.slice(before).some((c) => c.method === 'views.open'));
    assert.equal(await state(hold), 'pending');
  });

  it('takes nobody it does not know, nobody outside, nobody for themselves', async () => {
    const hold = await opened(r, { onBehalfOf: 'Ann' }, BOTH);
    await press('UMALLORY', 'approve', hold);
    await whispered(/slack:UMALLORY is linked to nobody/);
    await press('UOUT', 'approve', hold);
    await whispered(new RegExp(`no hold ${hold.id} that concerns you`));
    await press('UOUT', 'approve', { ...hold, id: 'h-aaaaaaaaaaaaaaaa' });
    await whispered(/no hold h-aaaaaaaaaaaaaaaa that concerns you/);
    await press('UANN', 'approve', hold);
    await whispered(/on behalf of Ann/);
    const stale = pressOf(slack, 'UBOB', 'approve', `${hold.id}.${'A'.repeat(43)}`);
    await post(stale);
    await whispered(/what was signed is not hold/);
    assert.equal(await state(hold), 'pending');
    assert.deepEqual(await r.store.holds.signatures(hold.id), []);
  });

  it('reads nothing that Slack did not sign, that is old, or that came before', async () => {
    const hold = await opened(r, {}, BOTH);
    const payload = pressOf(slack, 'UANN', 'approve', shownOf(hold));
    const forged: readonly Signing[] = [
      { secret: 'a-secret-of-somebody-else' },
      { at: Date.now() - 6 * 60_000 },
      { at: Date.now() + 6 * 60_000 },
      { altered: `${new URLSearchParams({ payload: JSON.stringify(payload) })}&x=1` },
      { altered: '' },
    ];
    for (const how of forged) {
      const answer = await post(payload, how);
      assert.equal(answer.status, 403, JSON.stringify(how).slice(0, 40));
      assert.match(answer.headers.get('content-type') ?? '', /problem\+json/);
    }
    const unsigned = signedBySlack(payload);
    const bare = { 'content-type': 'application/x-www-form-urlencoded' };
    assert.equal((await fetch(url, { ...unsigned, headers: bare })).status, 403);
    const elsewhere = pressOf(slack, 'UANN', 'approve', shownOf(hold), 'T0EVIL');
    assert.equal((await post(elsewhere)).status, 403);
    assert.equal(await state(hold), 'pending');
    const good = signedBySlack(pressOf(slack, 'UOUT', 'approve', shownOf(hold)));
    assert.equal((await fetch(url, good)).status, 200);
    assert.equal((await fetch(url, good)).status, 409, 'the same request twice');
    const big = { ...payload, actions: [{ action_id: 'x', value: 'y'.repeat(300_000) }] };
    assert.equal((await post(big)).status, 413);
    for (const odd of [null, [], 7, { type: 'nonsense' }, { ...payload, user: {} }]) {
      assert.ok([200, 403].includes((await post(odd)).status));
    }
    assert.equal(await state(hold), 'pending');
  });

  it('answers at no address but Slack’s', async () => {
    const hold = await opened(r, {}, KEYS);
    let asked = 0;
    const elsewhere = createServer((_request, response) => {
      asked += 1;
      response.end();
    });
    await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = elsewhere.address() as AddressInfo;
      const wrong = [`http://127.0.0.1:${port}/`, 'http://169.254.169.254/', 'nonsense', ''];
      for (const response_url of wrong) {
        const payload = { ...pressOf(slack, 'UANN', 'approve', shownOf(hold)), response_url };
        assert.equal((await post(payload)).status, 200);
      }
      assert.equal(asked, 0);
    } finally {
      elsewhere.close();
    }
  });

  it('waits as long as Slack asks', async () => {
    const hold = await opened(r, {}, BOTH);
    await messageOf(hold);
    slack.refusals.push('ratelimited');
    const bob = await r.person('Bob');
    await r.approver.desk.decide(signed(bob, hold, 'deny', 'no'));
    const put = async () =>
      (await r.store.webhooks.deliveries('waiting', 50)).find((d) => d.status === 429);
    await until('put off', async () => (await put()) !== undefined);
    const waiting = await put();
    assert.ok((waiting?.due ?? 0) > Date.now() + 50_000);
    await r.approver.webhooks.replay(waiting?.id ?? '');
    await messageOf(hold, /is denied/);
  });

  it('one of two clicks at once counts, at two replicas', async () => {
    const demands = [{ ...BOTH[0], rule: 'x', group: 'db-owners', signatures: 2 }];
    const hold = await opened(r, {}, demands);
    const { startApprover } = await import('../../approver/main.ts');
    const { openStore } = await import('../../approver/store.ts');
    const store = await openStore(r.place);
    const other = await startApprover({
      store,
      bus: r.bus,
      ledger: r.ledger,
      keyFile: `${r.folder}/approver.pem`,
      listen: { host: '127.0.0.1', port: 0 },
      privateWebhooks: true,
    });
    try {
      const there = `${other.url}/api/channels/slack`;
      const click = () => signedBySlack(pressOf(slack, 'UANN', 'approve', shownOf(hold)));
      const places = [url, there, url, there];
      await Promise.all(places.map((place) => fetch(place, click())));
      const signatures = await r.store.holds.signatures(hold.id);
      assert.equal(signatures.length, 1);
      assert.equal(await state(hold), 'pending');
      await whispered(/already signed/);
      const records = await r.store.holds.records(hold.id);
      assert.equal(records.filter((d) => d.entry.kind === 'signature').length, 1);
      await Promise.all([
        fetch(there, signedBySlack(pressOf(slack, 'UBOB', 'approve', shownOf(hold)))),
      ]);
      assert.equal(await state(hold), 'approved');
    } finally {
      await other.close();
      await store.close();
    }
  });

  it('comes too late for a hold that has expired', async () => {
    const hold = await opened(r, {}, BOTH, { expires_ms: 1000 });
    await until('expired', async () => (await state(hold)) === 'expired');
    await press('UANN', 'approve', hold);
    await whispered(new RegExp(`hold ${hold.id} is already expired`));
  });

  it('shows others’ words as words; what is too long is decided on the page', async () => {
    const nasty = '```\n<!channel> *bold* <@UANN> & </code> [x](http://evil) \u202e';
    const over = { statement: nasty, reason: nasty, agentName: '<!here>' };
    const message = await messageOf(await opened(r, over, BOTH));
    assert.equal(message.text, '&lt;!here&gt; on shop: waits for a signature');
    const kinds = new Set(objectsIn(message.blocks).map((o) => o.type));
    assert.ok(!kinds.has('mrkdwn') && !kinds.has('broadcast') && !kinds.has('user'));
    assert.match(JSON.stringify(message), /<!channel> \*bold\* <@UANN> & /);
    assert.ok(!JSON.stringify(message).includes('\u202e'));

    const long = await opened(r, { statement: `-- ${'x'.repeat(10_000)}\nDROP TABLE t` }, BOTH);
    const short = await messageOf(long);
    assert.match(
      JSON.stringify(short),
      /\(10016 bytes\) with its parameters is shown whole on the page/,
    );
    assert.ok(!JSON.stringify(short).includes('xxxx'), 'a part of a statement was shown');
    assert.deepEqual(buttons(short), ['deny', 'open']);
    await press('UANN', 'approve', long);
    await whispered(/too long to be shown whole in Slack/);
    assert.equal(await state(long), 'pending');
    const parameters = [
      {
        type: 'text',
        format: 'text',
        bytes: Buffer.from('v'.repeat(3000)),
        text: 'v'.repeat(3000),
      },
    ] as const;
    const valued = await opened(r, { parameters }, BOTH);
    assert.deepEqual(buttons(await messageOf(valued)), ['deny', 'open']);
    const reason = await opened(r, { reason: 'r'.repeat(2000) }, BOTH);
    assert.deepEqual(buttons(await messageOf(reason)), ['deny', 'open']);
  });

  it('keeps the message true when Slack stumbles', async () => {
    const ann = await r.person('Ann');
    const hold = await opened(r, {}, BOTH);
    await messageOf(hold);
    slack.refusals.push('message_not_found');
    await r.approver.desk.decide(signed(ann, hold, 'deny', 'no'));
    const tried = async () => {
      const all = await r.store.webhooks.deliveries('waiting', 50);
      return all.find((d) => d.hold === hold.id && d.attempts > 0 && d.error !== null);
    };
    await until('tried', async () => (await tried()) !== undefined);
    const waiting = await tried();
    assert.match(waiting?.error ?? '', /message_not_found/);
    await r.approver.webhooks.replay(waiting?.id ?? '');
    await messageOf(hold, /is denied/);
    const kept = JSON.stringify(await r.store.db.all('SELECT * FROM integrations'));
    assert.ok(!kept.includes(TOKEN) && !kept.includes(SIGNING), 'a secret lies open');
    assert.ok(
      slack.calls.every((c) => c.method === 'views.open' || c.body.channel === CONVERSATION),
    );
  });

  it('is deaf once it is taken away', async () => {
    const hold = await opened(r, {}, BOTH);
    await r.approver.integrations.remove('slack');
    assert.equal((await press('UANN', 'approve', hold)).status, 404);
    assert.equal(await r.store.webhooks.get('slack'), null);
  });
});
