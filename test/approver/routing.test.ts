// Duty, escalation and delegation: who may sign changes with the clock, and ends with it.
// Invariant: what was lent is not lent on, and two signatures stay two people.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ApproverError, type Code } from '../../approver/errors.ts';
import { onDuty, parseRouting, Roster } from '../../approver/routing.ts';
import { opened, type Room, room, signed } from '../setup/holds.ts';

const refused = (code: Code) => (e: unknown) => e instanceof ApproverError && e.code === code;
const HOUR = 3_600_000;
const START = '2026-01-05T08:00:00Z';

describe('duty', () => {
  const rules = parseRouting({
    schedules: [
      {
        group: 'on-call',
        people: ['Ann', 'Bob'],
        start: START,
        turn_hours: 12,
        overrides: [{ person: 'Eve', from: '2026-01-05T10:00:00Z', to: '2026-01-05T11:00:00Z' }],
      },
    ],
  });
  const [schedule] = rules.schedules;

  it('goes round, with overrides, and begins when it begins', () => {
    assert.ok(schedule);
    const at = (h: number) => onDuty(schedule, Date.parse(START) + h * HOUR);
    assert.deepEqual([-1, 0, 2, 3, 11.9, 12, 24].map(at), [
      null,
      'Ann',
      'Eve',
      'Ann',
      'Ann',
      'Bob',
      'Ann',
    ]);
  });

  it('leaves its group to whoever is on duty, whatever the store says', () => {
    const person = (name: string) => ({
      name,
      groups: ['on-call', 'x'],
      roles: ['signer'] as const,
      identities: [],
      active: true,
    });
    const now = Date.parse(START) + HOUR;
    const roster = new Roster([person('Ann'), person('Bob')], [], rules, now);
    const groups = roster.at({ asked: now }).map((s) => s.groups);
    assert.deepEqual(groups, [['x', 'on-call'], ['x']]);
  });

  it('is refused in words when the data is wrong', () => {
    assert.throws(() => parseRouting({ schedules: [{ group: 'x' }] }), /routing: .*people/s);
    assert.throws(() => parseRouting({ nonsense: 1 }), /nonsense/);
  });
});

describe('escalation and delegation', () => {
  let r: Room;
  let ahead = 0;
  before(async () => {
    const rules = parseRouting({
      escalations: [{ group: 'db-owners', after_minutes: 10, to: 'managers' }],
    });
    r = await room({ now: () => Date.now() + ahead, routing: () => rules });
  });
  after(async () => {
    await r.close();
  });
  const ask = (expires_ms = HOUR, signatures = 1) =>
    opened(
      r,
      { asked: new Date(Date.now() + ahead).toISOString() },
      [{ rule: 'x', group: 'db-owners', signatures }],
      { expires_ms },
    );
  const at = () => ({ signed: new Date(Date.now() + ahead).toISOString() });

  it('lets managers sign once it has waited long enough, and says for which group', async () => {
    const max = await r.person('Max', ['managers']);
    const request = await ask();
    const soon = r.approver.desk.decide(signed(max, request, 'approve', null, at()));
    await assert.rejects(soon, refused('not-a-signer'));
    ahead += 11 * 60_000;
    const done = await r.approver.desk.decide(signed(max, request, 'approve', null, at()));
    assert.equal(done.state, 'approved');
    const [signature] = await r.store.holds.signatures(request.id);
    assert.deepEqual(signature?.groups, ['managers', 'db-owners']);
    const late = new Date(Date.now() + ahead);
    assert.ok(late.getTime() > request.asked.length);
  });

  it('lends groups until a time, not on, not to oneself, and takes them back', async () => {
    const ann = await r.person('Ann', ['db-owners']);
    const dan = await r.person('Dan', []);
    const eve = await r.person('Eve', []);
    const until = Date.now() + ahead + HOUR;
    await r.store.signers.delegate({ id: 'd1', from: 'Ann', to: 'Dan', until });
    await r.store.signers.delegate({ id: 'd2', from: 'Dan', to: 'Eve', until });
    const request = await ask(2 * HOUR, 2);
    const passed = r.approver.desk.decide(signed(eve, request, 'approve', null, at()));
    await assert.rejects(passed, refused('not-a-signer'));
    await r.approver.desk.decide(signed(dan, request, 'approve', null, at()));
    const again = r.approver.desk.decide(signed(dan, request, 'approve', 'x', at()));
    await assert.rejects(again, refused('already-signed'));
    const done = await r.approver.desk.decide(signed(ann, request, 'approve', null, at()));
    assert.equal(done.state, 'approved');
    ahead += HOUR;
    const next = await ask();
    const over = r.approver.desk.decide(signed(dan, next, 'approve', null, at()));
    await assert.rejects(over, refused('not-a-signer'));
    assert.equal(await r.store.signers.undelegate('d1', 'Dan'), false);
    assert.equal(await r.store.signers.undelegate('d1', 'Ann'), true);
  });
});
