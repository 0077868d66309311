// Webhooks as a receiver sees them: signed, retried, rotated, given up and replayed; never to a
// private address.
// Invariant: signatures are checked with the specification's own library, not with our code.
import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { ApproverError } from '../../approver/errors.ts';
import { checkAddress, guarded, isPublic, Sender } from '../../approver/webhook/send.ts';
import { opened, type Room, room, signed, until } from '../setup/holds.ts';

interface Got {
  readonly path: string;
  readonly headers: { readonly [name: string]: string };
  readonly body: string;
}

describe('webhooks', () => {
  let r: Room;
  let server: Server;
  let base: string;
  const got: Got[] = [];
  const answers = new Map<string, { status: number; headers?: { [name: string]: string } }>();
  let ahead = 0;
  before(async () => {
    r = await room({ privateWebhooks: true, now: () => Date.now() + ahead });
    server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (d: Buffer) => parts.push(d));
      request.on('end', () => {
        const path = request.url ?? '';
        got.push({ path, headers: flat(request.headers), body: Buffer.concat(parts).toString() });
        const answer = answers.get(path) ?? { status: 200 };
        response.writeHead(answer.status, answer.headers).end('x'.repeat(100_000));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(async () => {
    await r.close();
    server.closeAllConnections();
    server.close();
  });

  const add = (name: string, kind: 'hmac' | 'ed25519', events: readonly string[] = ['*']) =>
    r.approver.webhooks.add({ name, url: `${base}/${name}`, events, kind, allowPrivate: true });
  const to = (name: string) => got.filter((g) => g.path === `/${name}`);
  const types = (name: string) => to(name).map((g) => JSON.parse(g.body).type as string);

  it('tells every step of a hold, signed as the specification’s library wants it', async () => {
    const ann = await r.person('Ann');
    const secret = await add('all', 'hmac');
    assert.match(secret, /^whsec_/);
    const request = await opened(r, { asked: new Date(Date.now() + ahead).toISOString() });
    await r.approver.desk.decide(signed(ann, request, 'approve'));
    const ask = {
      hold: request.id,
      digest: request.digest,
      agent: 'billing-agent',
      operation: 'o',
    };
    await r.approver.desk.redeem(ask);
    await r.approver.desk.outcome({
      hold: request.id,
      operation: 'o',
      outcome: 'done',
      answer: 'DELETE 1',
      rows: 1,
    });
    await until('all told', () => to('all').length >= 5);
    assert.deepEqual(types('all').toSorted(), [
      'hold.approved',
      'hold.executed',
      'hold.redeemed',
      'hold.requested',
      'hold.signed',
    ]);
    for (const g of to('all')) {
      const body = new Webhook(secret).verify(g.body, g.headers) as { data: { statement: string } };
      assert.equal(body.data.statement, request.statement);
      assert.ok(!g.body.includes('"receipt"'));
      assert.throws(() => new Webhook(secret).verify(`${g.body} `, g.headers));
    }
    await r.approver.webhooks.tell({ kind: 'approved', hold: request.id });
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(to('all').length, 5, 'an event told twice was sent twice');
  });

  it('signs with Ed25519 where asked, sends only the events wanted', async () => {
    const ann = await r.person('Ann');
    const key = await add('ed', 'ed25519', ['hold.denied']);
    const request = await opened(r, { asked: new Date(Date.now() + ahead).toISOString() });
    await r.approver.desk.decide(signed(ann, request, 'deny', 'no'));
    await until('told', () => to('ed').length === 1);
    const g = to('ed')[0];
    assert.ok(g);
    const [version, signature] = (g.headers['webhook-signature'] ?? '').split(',');
    assert.equal(version, 'v1a');
    const x = Buffer.from(key.replace('whpk_', ''), 'base64').toString('base64url');
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    const text = `${g.headers['webhook-id']}.${g.headers['webhook-timestamp']}.${g.body}`;
    assert.ok(verify(null, Buffer.from(text), publicKey, Buffer.from(signature ?? '', 'base64')));
    assert.deepEqual(types('ed'), ['hold.denied']);
  });

  it('tries again later and later for days, gives up, and sends again when asked', async () => {
    await add('down', 'hmac', ['hold.requested']);
    answers.set('/down', { status: 503 });
    const started = Date.now() + ahead;
    await opened(r, { asked: new Date(Date.now() + ahead).toISOString() });
    for (let n = 1; n <= 10; n++) {
      await until(`attempt ${n}`, () => to('down').length === n);
      await until('noted', async () => (await waitingOf(r, 'down')) >= n || n === 10);
      ahead += 30 * 3_600_000;
    }
    await until('dead', async () => (await r.store.webhooks.deliveries('dead', 10)).length === 1);
    const [dead] = await r.store.webhooks.deliveries('dead', 10);
    assert.equal(dead?.status, 503);
    assert.equal(new Set(to('down').map((g) => g.headers['webhook-id'])).size, 1);
    assert.ok(Date.now() + ahead - started > 3 * 86_400_000);
    answers.delete('/down');
    await r.approver.webhooks.replay(dead?.id ?? '');
    await until('sent again', () => to('down').length === 11);
    await until('done', async () => (await r.store.webhooks.deliveries('dead', 10)).length === 0);
  });

  it('waits as long as the receiver asks; stops for one that is gone', async () => {
    await add('busy', 'hmac', ['hold.requested']);
    await add('gone', 'hmac', ['hold.requested']);
    answers.set('/busy', { status: 429, headers: { 'retry-after': '3600' } });
    answers.set('/gone', { status: 410 });
    await opened(r, { asked: new Date(Date.now() + ahead).toISOString() });
    await until('both tried', () => to('busy').length === 1 && to('gone').length === 1);
    await until('switched off', async () => (await r.store.webhooks.get('gone'))?.active === false);
    await until('noted', async () => (await waitingOf(r, 'busy')) === 1);
    const waiting = await r.store.webhooks.deliveries('waiting', 50);
    const busy = waiting.find((d) => d.webhook === 'busy');
    assert.ok((busy?.due ?? 0) > Date.now() + ahead + 3_000_000);
  });

  it('rotates its secret without losing an event to either', async () => {
    const old = await add('turn', 'hmac', ['hold.requested']);
    const fresh = await r.approver.webhooks.rotate('turn');
    assert.notEqual(fresh, old);
    await opened(r, { asked: new Date(Date.now() + ahead).toISOString() });
    await until('told', () => to('turn').length === 1);
    ahead += 2 * 86_400_000;
    await opened(r, { asked: new Date(Date.now() + ahead).toISOString() });
    await until('told again', () => to('turn').length === 2);
    const [first, second] = to('turn');
    assert.ok(first && second);
    const now = first.headers['webhook-timestamp'];
    for (const secret of [old, fresh]) check(secret, first);
    check(fresh, second);
    assert.throws(() => check(old, second));
    assert.ok(now);
    const kept = JSON.stringify(await r.store.db.all('SELECT * FROM webhooks'));
    assert.ok(
      !kept.includes(old.slice(6)) && !kept.includes('whsec_'),
      'a secret lies open in the store',
    );
  });

  it('writes to Slack and Teams in their own cards, others’ words never as markup', async () => {
    for (const format of ['slack', 'teams'] as const) {
      const given = { name: format, url: `${base}/${format}`, kind: 'hmac', format } as const;
      await r.approver.webhooks.add({ ...given, events: ['hold.requested'], allowPrivate: true });
    }
    const nasty = '```\n<!channel> *bold* </code> [x](http://evil) \u202e';
    const asked = new Date(Date.now() + ahead).toISOString();
    await opened(r, { statement: nasty, reason: nasty, agentName: '<!here>', asked });
    const long = `-- ${'x'.repeat(5000)}\nDROP TABLE users`;
    await opened(r, { statement: long, asked });
    await until('told', () => to('slack').length === 2 && to('teams').length === 2);
    const slack = JSON.parse(to('slack')[0]?.body ?? '') as SlackMessage;
    assert.equal(slack.text, '&lt;!here&gt; on shop: waits for a signature');
    const kinds = new Set(all(slack.blocks, 'type'));
    assert.ok(!kinds.has('mrkdwn') && kinds.has('rich_text_preformatted'));
    assert.ok(all(slack.blocks, 'text').some((t) => String(t).includes('<!channel> *bold*')));
    assert.ok(!JSON.stringify(slack).includes('\u202e'));
    assert.match(String(all(slack.blocks, 'url')[0]), /\/holds\/h-/);
    for (const g of to('slack')) {
      const { blocks } = JSON.parse(g.body) as SlackMessage;
      assert.ok(blocks.length <= 50);
      for (const text of all(blocks, 'text')) {
        assert.ok(typeof text !== 'string' || text.length <= 3000);
      }
    }
    const cut = to('slack')[1]?.body ?? '';
    assert.match(cut, /\(5020 bytes\) with its parameters is shown whole on the page/);
    assert.ok(!cut.includes('xxxx'), 'a part of a statement was shown');
    const teams = to('teams')[0]?.body ?? '';
    const elements = new Set(all(JSON.parse(teams), 'type'));
    assert.ok(!elements.has('TextBlock'), 'a TextBlock reads markdown');
    assert.ok(elements.has('AdaptiveCard') && Buffer.byteLength(teams) < 28_000);
  });

  it('tells of changed modes, once', async () => {
    await add('modes', 'hmac', ['mode.changed']);
    const time = new Date().toISOString();
    const change = { scope: 'all', name: null, mode: 'killed', who: 'Ann', reason: 'fire', time };
    await r.bus.publish('holdpoint.modes', change, 'm1');
    await r.bus.publish('holdpoint.modes', change, 'm2');
    await r.bus.publish('holdpoint.modes', { nonsense: 1 }, 'm3');
    await until('told', () => to('modes').length === 1);
    assert.deepEqual(JSON.parse(to('modes')[0]?.body ?? '').data, change);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(to('modes').length, 1);
  });

  it('follows no redirect, and connects to the very address that was checked', async () => {
    answers.set('/away', { status: 302, headers: { location: `${base}/inside` } });
    await add('away', 'hmac', ['hold.requested']);
    await opened(r, { asked: new Date(Date.now() + ahead).toISOString() });
    await until('tried', async () => {
      const all = await r.store.webhooks.deliveries('waiting', 50);
      return all.some((d) => d.webhook === 'away' && d.status === 302);
    });
    assert.equal(to('inside').length, 0);
    // A name that is public when it is looked at and private when it is looked at again.
    let asked = 0;
    const turning = async () => {
      asked += 1;
      const address = asked === 1 ? '93.184.216.34' : '127.0.0.1';
      return [
        { address, family: 4 },
        { address: '10.0.0.1', family: 4 },
      ];
    };
    const resolved = (allowPrivate: boolean) =>
      new Promise((resolve) => {
        guarded(allowPrivate, turning)('x', {}, (e, all) => resolve(e?.message ?? all));
      });
    assert.deepEqual(await resolved(false), [{ address: '93.184.216.34', family: 4 }]);
    assert.equal(asked, 1);
    assert.equal(await resolved(false), 'x resolves to private addresses only');
    const sender = new Sender();
    const letter = { allowPrivate: false, headers: {}, body: '{}' };
    await assert.rejects(sender.send({ ...letter, url: `${base}/inside` }), /not sent/);
    await assert.rejects(sender.send({ ...letter, url: 'https://localhost/x' }), /private/);
    await sender.close();
  });

  it('never goes where it must not', async () => {
    const bad = [
      'http://example.com/',
      'https://127.0.0.1/',
      'https://[::1]/',
      'https://10.1.2.3/',
      'https://192.168.0.1/',
      'https://169.254.169.254/latest/meta-data',
      'https://[fe80::1]/',
      'https://[fd00::1]/',
      'https://[::ffff:127.0.0.1]/',
      'https://[64:ff9b::7f00:1]/',
      'https://0.0.0.0/',
      'https://100.64.0.1/',
      'https://0x7f.1/',
      'https://2130706433/',
      'https://user:secret@example.com/',
      'ftp://example.com/',
      'file:///etc/passwd',
      'nonsense',
    ];
    for (const url of bad) assert.notEqual(checkAddress(url, false), null, url);
    assert.equal(checkAddress('https://example.com/hook', false), null);
    assert.ok(isPublic('93.184.216.34') && !isPublic('localhost'));
    const tight = await room();
    try {
      const given = { name: 'x', url: `${base}/x`, events: ['*'], kind: 'hmac' } as const;
      const refused = (e: unknown) => e instanceof ApproverError;
      await assert.rejects(tight.approver.webhooks.add({ ...given, allowPrivate: true }), refused);
      // A name that resolves to a private address is found out when it is connected to.
      const named = { ...given, url: 'https://localhost/x', allowPrivate: false };
      await tight.approver.webhooks.add(named);
      await opened(tight);
      await until('tried', async () => {
        const [d] = await tight.store.webhooks.deliveries('waiting', 1);
        return d?.error?.includes('private') === true;
      });
    } finally {
      await tight.close();
    }
  });
});

interface SlackMessage {
  readonly text: string;
  readonly blocks: readonly unknown[];
}

/** Every value of that name, however deep. */
function all(value: unknown, name: string): readonly unknown[] {
  if (Array.isArray(value)) return value.flatMap((v) => all(v, name));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([k, v]) => [...(k === name ? [v] : []), ...all(v, name)]);
}

async function waitingOf(r: Room, webhook: string): Promise<number> {
  const all = await r.store.webhooks.deliveries('waiting', 100);
  return all.find((d) => d.webhook === webhook)?.attempts ?? 0;
}

/**
 * The library holds the time against this machine's clock; ours runs ahead, so only the signature
 * is checked.
 */
function check(secret: string, g: Got): void {
  const sent = new Date(Number(g.headers['webhook-timestamp']) * 1000);
  const wanted = new Webhook(secret).sign(g.headers['webhook-id'] ?? '', sent, g.body);
  assert.ok((g.headers['webhook-signature'] ?? '').split(' ').includes(wanted));
}

function flat(headers: IncomingHttpHeaders): { [name: string]: string } {
  return Object.fromEntries(Object.entries(headers).map(([k, v]) => [k, String(v)]));
}
