// The session so far, as signers see it: what passed, what was refused, what is open; no values.
// Invariant: it is what this session did, in order, bounded; another session's acts are not in it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { type Card, soFarWords } from '../../approver/card.ts';
import { cardText } from '../../cli/holds.ts';
import type { Analysis } from '../../proxy/effect/effect.ts';
import { LIMITS } from '../../proxy/limits.ts';
import { Recent } from '../../proxy/session/recent.ts';
import type { Decision } from '../../proxy/verdict/verdict.ts';
import { operation } from '../setup/holds.ts';
import { marked } from '../setup/marked.ts';

const start = marked();

test('a held statement comes with what its session did before', async () => {
  const { holdpoint } = await start();
  const other = new pg.Client(holdpoint.login);
  const client = new pg.Client(holdpoint.login);
  await other.connect();
  await client.connect();
  await other.query("select 'somebody else'");
  for (let i = 0; i < 3; i++) await client.query(`select * from open_t where id = ${4711 + i}`);
  await client.query('insert into open_t values (4712)');
  await assert.rejects(client.query('delete from denied_t'), { code: 'ZH002' });
  await client.query('begin');
  await client.query("select 'correct-horse'");
  await assert.rejects(client.query('delete from held_t where id = 1'), { code: 'ZH001' });
  await client.query('rollback');
  const id = await holdpoint.held('held_t where id = 1');
  const card: Card = await (await holdpoint.signer()).show(id);
  const told: (readonly [string, string, number, string | null])[] = [];
  for (const { class: what, disposition, count, outcome } of card.so_far ?? []) {
    if (what === 'session') continue;
    // A role that anybody makes on the server ends what was remembered: then reads are two lines.
    const same = told.length > 0 && told.at(-1)?.[0] === 'read' && what === 'read';
    const before = same ? (told.pop()?.[2] ?? 0) : 0;
    told.push([what, disposition, before + count, outcome]);
  }
  assert.deepEqual(told, [
    ['read', 'forward', 3, null],
    ['write', 'forward', 1, 'done'],
    ['destructive', 'refuse', 1, null],
    ['read', 'forward', 1, null],
  ]);
  const write = card.so_far?.find((o) => o.class === 'write');
  assert.equal(write?.rows, 1);
  assert.equal(card.so_far?.at(-1)?.in_transaction, true);
  assert.ok(card.in_transaction && card.transaction_age_ms !== null);
  const text = JSON.stringify(card.so_far);
  for (const value of ['4711', '4712', 'correct-horse', 'somebody']) {
    assert.ok(!text.includes(value), `${value} is told`);
  }
  assert.match(
    soFarWords(card),
    /4 read, 1 write, 1 destructive.* \(1 refused\); a transaction open for \d+ s/,
  );
  assert.match(cardText(card), /Before: .* write forward \(done, 1 rows\): insert into open_t/i);
  await client.end();
  await other.end();
});

test('it is bounded for a session and for all together', () => {
  let now = 0;
  const recent = new Recent(() => now++);
  const verdict = { kind: 'allow', rule: 'r', reason: '' } as const;
  const decision = { verdict, policy: 'p' } as unknown as Decision;
  const at = (session: string, normalized: string) => {
    const op = operation();
    const analysis: Analysis = { ...op.analysis, class: 'read', normalized };
    return { ...op, analysis, session: { ...op.session, id: session } };
  };
  const asks = at('first', 'select 1');
  for (let i = 0; i < LIMITS.recent_operations * 3; i++) {
    recent.decided(at('first', `select ${i}${'x'.repeat(5000)}`), decision, 'forward', null);
  }
  const lines = recent.before(asks);
  assert.equal(lines.length, LIMITS.recent_operations);
  assert.ok(lines.every((l) => l.start.length <= LIMITS.recent_characters + 1));
  assert.match(lines.at(-1)?.start ?? '', /^select 59x/);
  const read = recent.reads(at('first', 'select 7'), decision);
  for (let i = 0; i < 1000; i++) read();
  assert.equal(recent.before(asks).at(-1)?.count, 1000);
  for (let i = 0; i < LIMITS.recent_sessions; i++) {
    recent.decided(at(`other ${i}`, 'select 1'), decision, 'forward', null);
  }
  assert.deepEqual(recent.before(asks), [], 'the session heard of least lately is forgotten');
  read();
  assert.equal(recent.before(asks).length, 1);
});
