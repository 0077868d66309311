// Nudges and alerts: each once, none in quiet hours, and nothing that happened is left untold.
// Invariant: time is passed in; no case waits for it.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Desk } from '../../approver/desk.ts';
import { approverKey } from '../../approver/receipt.ts';
import { isQuiet, Reminders } from '../../approver/remind.ts';
import { parseRouting } from '../../approver/routing.ts';
import { openStore, type Store } from '../../approver/store.ts';
import { bindingOf, holdRequestOf } from '../../proxy/hold/request.ts';
import { held, opened, operation, type Room, room, signed, until } from '../setup/holds.ts';
import { objectsIn, Slack } from '../setup/slack.ts';

const MINUTE = 60_000;
const START = Date.parse('2026-03-02T12:00:00Z');

describe('reminders', () => {
  let folder: string;
  let store: Store;
  let now = START;
  let reminded: string[] = [];
  let alerts: string[] = [];
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdpoint-remind-'));
    store = await openStore(join(folder, 'approver.db'));
  });
  after(async () => {
    await store.close();
    await rm(folder, { recursive: true, force: true });
  });

  const reminders = (data: object) => {
    const rules = parseRouting(data);
    return new Reminders({
      store,
      now: () => now,
      routing: () => rules,
      remind: async (hold, stage) => void reminded.push(`${hold} ${stage}`),
      alert: async ({ what, detail }) => void alerts.push(`${detail.hold} ${what}`),
    });
  };
  let count = 0;
  const ask = async (minutes: number, group = 'db-owners') => {
    const op = operation({ statement: `DELETE FROM t${count++}` });
    const as = held([{ rule: 'x', group, signatures: 1 }]);
    const request = holdRequestOf({ ...op, asked: new Date(now).toISOString() }, as);
    assert.ok(bindingOf(op, as.policy, as.objects));
    await store.holds.insert(request, { asked: now, expires: now + minutes * MINUTE });
    return request.id;
  };
  /** Turns once a minute; answers the minutes after `from` at which each thing was said. */
  const course = async (r: Reminders, minutes: number) => {
    const from = now;
    const said: [number, string][] = [];
    for (let m = 0; m <= minutes; m++) {
      now = from + m * MINUTE;
      [reminded, alerts] = [[], []];
      // Two replicas look at the same time.
      await Promise.all([r.turn(), r.turn()]);
      for (const what of reminded) said.push([m, what]);
      for (const what of new Set(alerts)) said.push([m, what]);
    }
    return said;
  };

  it('comes once before the end, and late enough for a short hold', async () => {
    const r = reminders({ reminders: { before_minutes: 5 } });
    const long = await ask(30);
    const short = await ask(4);
    assert.deepEqual(await course(r, 40), [
      [2, `${short} end`],
      [25, `${long} end`],
    ]);
  });

  it('comes before an escalation, which is an alert when it is there', async () => {
    const escalations = [
      { group: 'db-owners', after_minutes: 20, to: 'managers' },
      { group: 'others', after_minutes: 1, to: 'managers' },
    ];
    const r = reminders({ escalations });
    const id = await ask(60);
    const either = await ask(60, 'sre|others');
    assert.deepEqual(
      (await course(r, 50)).filter(([, what]) => what.startsWith(id)),
      [
        [15, `${id} before db-owners > managers`],
        [20, `${id} a hold has waited 20 minutes and escalates`],
      ],
    );
    assert.ok(either);
  });

  it('is silent in quiet hours, and afterwards speaks only of what still waits', async () => {
    now = Date.parse('2026-03-02T21:50:00Z');
    const quiet = [{ from: '22:00', to: '07:00', zone: 'UTC' }];
    const r = reminders({ reminders: { before_minutes: 30, quiet } });
    const ended = await ask(120);
    const waits = await ask(10 * 60 - 40);
    const said = await course(r, 11 * 60);
    assert.ok(!said.some(([, what]) => what.startsWith(ended)));
    assert.deepEqual(said, [[9 * 60 + 10, `${waits} end`]]);
    const off = reminders({ reminders: { before_minutes: 0 } });
    await ask(10);
    assert.deepEqual(await course(off, 20), []);
  });

  it('knows other zones, spans past midnight, named days, a change of clocks', () => {
    const at = (time: string, span: object) =>
      isQuiet(parseRouting({ reminders: { quiet: [span] } }).reminders.quiet, Date.parse(time));
    const berlin = { from: '22:00', to: '07:00', zone: 'Europe/Berlin' };
    assert.deepEqual(
      ['20:59', '21:00', '05:59', '06:00'].map((t) => at(`2026-01-05T${t}:00Z`, berlin)),
      [false, true, true, false],
    );
    assert.deepEqual(
      ['19:59', '20:00', '04:59', '05:00'].map((t) => at(`2026-07-06T${t}:00Z`, berlin)),
      [false, true, true, false],
    );
    const weekend = { from: '00:00', to: '24:00', zone: 'UTC', days: ['sat', 'sun'] };
    assert.deepEqual(
      ['06T23:59', '07T00:00', '08T23:59', '09T00:00'].map((t) => at(`2026-03-${t}:00Z`, weekend)),
      [false, true, true, false],
    );
    // Friday's night ends on Saturday morning; Saturday's own does not begin.
    const friday = { from: '22:00', to: '06:00', zone: 'UTC', days: ['fri'] };
    assert.deepEqual(
      ['06T23:00', '07T05:59', '07T23:00', '06T05:00'].map((t) => at(`2026-03-${t}:00Z`, friday)),
      [true, true, false, false],
    );
    for (const bad of [{ ...berlin, zone: 'Mars' }, { ...berlin, from: '7pm' }, { from: '1:00' }]) {
      assert.throws(() => parseRouting({ reminders: { quiet: [bad] } }), /routing: /);
    }
  });
});

interface Event {
  readonly type: string;
  readonly data: { readonly id?: string; readonly what?: string; readonly detail?: object };
}

describe('what happened is told', () => {
  let r: Room;
  let server: Server;
  const slack = new Slack();
  const told: Event[] = [];
  let ahead = 0;
  let gone = false;
  before(async () => {
    server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (d: Buffer) => parts.push(d));
      request.on('end', () => {
        if (request.url === '/gone') return response.writeHead(410).end();
        told.push(JSON.parse(Buffer.concat(parts).toString()) as Event);
        return response.writeHead(200).end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    await slack.start();
    const rules = parseRouting({
      escalations: [{ group: 'db-owners', after_minutes: 20, to: 'managers' }],
    });
    r = await room({
      privateWebhooks: true,
      now: () => Date.now() + ahead,
      routing: () => rules,
    });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const hook = { kind: 'hmac', allowPrivate: true } as const;
    await r.approver.webhooks.add({ ...hook, name: 'all', url, events: ['*'] });
    await r.approver.webhooks.add({
      ...hook,
      name: 'gone',
      url: `${url}/gone`,
      events: ['hold.denied'],
    });
    const { signing_secret: signing, bot_token: token, ...settings } = slack.settings;
    await r.approver.integrations.connectSlack({ ...settings, events: ['*'] }, { signing, token });
  });
  after(async () => {
    await r.close();
    slack.close();
    server.closeAllConnections();
    server.close();
  });

  const ask = () => opened(r, { asked: new Date(Date.now() + ahead).toISOString() });
  const of = (id: string) => told.filter((e) => e.data.id === id).map((e) => e.type);
  const alerts = () => told.filter((e) => e.type === 'alert').map((e) => e.data);
  /** A desk that dies before it tells anybody. */
  const dying = async () => {
    const key = await approverKey(`${r.folder}/approver.pem`);
    return new Desk({
      store: r.store,
      bus: r.bus,
      ledger: r.ledger,
      key,
      instance: 'approver/dying',
      passkeys: { origins: [], rpId: 'localhost' },
      now: () => Date.now() + ahead,
      routing: () => parseRouting({}),
      told: async () => {
        throw new Error('killed');
      },
      log: () => {},
    });
  };

  it('though the one that did it dies before it tells', async () => {
    const ann = await r.person('Ann');
    const request = await ask();
    const desk = await dying();
    await desk.decide(signed(ann, request, 'approve'));
    const asked = { hold: request.id, digest: request.digest, agent: 'billing-agent' };
    assert.ok((await desk.redeem({ ...asked, operation: 'o' })).ok);
    const outcome = { outcome: 'done', answer: 'DELETE 1', rows: 1 } as const;
    const done = { hold: request.id, operation: 'o', ...outcome };
    await assert.rejects(desk.outcome(done), /killed/);
    // The bus gives what was not taken to another.
    await r.approver.desk.outcome(done);
    await until('all told', () => of(request.id).length >= 5);
    assert.deepEqual(of(request.id).toSorted(), [
      'hold.approved',
      'hold.executed',
      'hold.redeemed',
      'hold.requested',
      'hold.signed',
    ]);
  });

  it('in the hold’s thread, to those who can sign; an escalation is an alert', async () => {
    await r.person('Max', ['db-owners']);
    await r.store.signers.link('Max', 'slack:UMAX');
    ahead += 1000;
    const request = await opened(
      r,
      { asked: new Date(Date.now() + ahead).toISOString() },
      undefined,
      { expires_ms: 60 * MINUTE },
    );
    await until('posted', () => slack.messages.some((m) => JSON.stringify(m).includes(request.id)));
    ahead += 16 * MINUTE;
    await until('reminded', () => of(request.id).includes('hold.reminded'));
    const inThread = () => slack.messages.find((m) => m.body.thread_ts !== undefined);
    await until('called', () => inThread() !== undefined);
    const users = objectsIn(inThread()?.body).filter((o) => o.type === 'user');
    assert.deepEqual(
      users.map((u) => u.user_id),
      ['UMAX'],
    );
    ahead += 5 * MINUTE;
    await until('escalated', () => alerts().some((a) => /escalates/.test(a.what ?? '')));
    assert.equal(of(request.id).filter((t) => t === 'hold.reminded').length, 1);
  });

  it('when somebody asks for another’s approval', async () => {
    const bob = await r.person('Bob');
    const request = await ask();
    const given = { signed: new Date(Date.now() + ahead).toISOString() };
    await r.approver.desk.decide(signed(bob, request, 'approve', null, given));
    const theft = { hold: request.id, digest: request.digest, agent: 'mallory', operation: 'm' };
    for (let i = 0; i < 3; i++) {
      const answer = await r.bus.request('holdpoint.holds.redeem', theft, 30_000);
      assert.equal((answer as { ok: boolean }).ok, false);
    }
    const about = () => alerts().filter((a) => JSON.stringify(a).includes('mallory'));
    await until('told', () => about().length === 1);
    const notices = () =>
      slack.messages.filter((m) => /of another agent/.test(String(m.body.text)));
    await until('told in Slack', () => notices().length === 1);
  });

  it('when a delivery is given up, and when the ledger is away and is back', async () => {
    const cy = await r.person('Cy');
    const request = await ask();
    const given = { signed: new Date(Date.now() + ahead).toISOString() };
    await r.approver.desk.decide(signed(cy, request, 'deny', 'no', given));
    await until('given up', () => alerts().some((a) => /are given up/.test(a.what ?? '')));
    Object.defineProperty(r.ledger, 'unavailable', {
      configurable: true,
      get: () => (gone ? 'the disk is full' : null),
    });
    gone = true;
    ahead += 1000;
    const away = () => alerts().filter((a) => a.what?.startsWith('the ledger is away'));
    // The first look notices, the second after the bound tells.
    await until('noticed and told', () => {
      ahead += 10_000;
      return away().length === 1;
    });
    gone = false;
    await until('back', () => alerts().some((a) => a.what === 'the ledger is there again'));
    assert.equal(away().length, 1);
  });
});
