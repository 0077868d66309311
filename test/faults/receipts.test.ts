// Somebody else's approval, a used one, a forged one: none of them lets anything run.
// Invariant: what an approval covers is one agent, one statement with its values, one target, once.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { HOLD_REDEEM } from '../../approver/contract.ts';
import type { Bus, Handler, Responder, Subscription } from '../../bus/bus.ts';
import { MemoryBus } from '../../bus/memory.ts';
import { RawClient } from '../peers/client.ts';
import {
  bind,
  describe as describeMessage,
  execute,
  parse,
  query,
  sync,
} from '../peers/messages.ts';
import type { AgentLogin } from '../setup/holdpoint.ts';
import { marked } from '../setup/marked.ts';

/**
 * A bus whose answers to redemptions a test may change on their way: what somebody on the bus could
 * do.
 */
class TamperedBus implements Bus {
  readonly #inner: Bus;
  tamper: ((answer: { ok: boolean; receipt: string }) => unknown) | null = null;
  receipts: string[] = [];

  constructor(inner: Bus) {
    this.#inner = inner;
  }

  async request(subject: string, body: unknown, timeoutMs: number): Promise<unknown> {
    const answer = await this.#inner.request(subject, body, timeoutMs);
    if (subject !== HOLD_REDEEM) return answer;
    const redeemed = answer as { ok: boolean; receipt: string };
    if (redeemed.ok) this.receipts.push(redeemed.receipt);
    return this.tamper === null ? answer : this.tamper(redeemed);
  }

  publish(subject: string, body: unknown, id: string): Promise<void> {
    return this.#inner.publish(subject, body, id);
  }
  consume(durable: string, subject: string, handler: Handler): Promise<Subscription> {
    return this.#inner.consume(durable, subject, handler);
  }
  listen(subject: string, handler: Handler): Promise<Subscription> {
    return this.#inner.listen(subject, handler);
  }
  respond(subject: string, responder: Responder): Promise<Subscription> {
    return this.#inner.respond(subject, responder);
  }
  get unavailable(): string | null {
    return this.#inner.unavailable;
  }
  close(): Promise<void> {
    return this.#inner.close();
  }
}

let bus = new TamperedBus(new MemoryBus());
const start = marked({
  wait: '300ms',
  parts: {
    bus: (inner) => {
      bus = new TamperedBus(inner);
      return bus;
    },
  },
  setup:
    'create schema other; create table other.held_t (id int); insert into other.held_t values (1);',
});

async function asks(login: AgentLogin, ...messages: readonly Buffer[]): Promise<string[]> {
  const client = await RawClient.login(login);
  client.send(...messages);
  const seen = await client.replies();
  await client.end();
  return seen;
}

function error(seen: readonly string[]): string {
  return seen.find((line) => line.startsWith('E ')) ?? seen.join('\n');
}

function hold(seen: readonly string[]): string {
  return /h-[a-z2-7]{16}/.exec(error(seen))?.[0] ?? assert.fail(seen.join('\n'));
}

const DELETE = 'delete from held_t where id = 1';

function remove(id: string): Buffer {
  const statement = parse('delete from held_t where id = $1::int');
  return Buffer.concat([statement, bind([id]), describeMessage('portal'), execute(), sync()]);
}

/** A statement that is approved and not used yet. */
async function approved(sql: string): Promise<string> {
  const { holdpoint } = await start();
  const id = hold(await asks(holdpoint.login, query(sql)));
  await holdpoint.approve(id);
  return id;
}

describe('an approval', () => {
  afterEach(async () => {
    bus.tamper = null;
    const { reset } = await start();
    await reset();
  });

  test('is used once: the second time the statement is held again', async () => {
    const { holdpoint, count } = await start();
    await approved(DELETE);
    assert.ok((await asks(holdpoint.login, query(DELETE))).includes('C "DELETE 1\\u0000"'));
    assert.match(error(await asks(holdpoint.login, query(DELETE))), /^E ERROR ZH001 /);
    assert.equal(await count('held_t'), 2);
  });

  test('used by five connections at once runs once', async () => {
    const { holdpoint, count, behind } = await start();
    await behind.query(
      'create table if not exists held_n (n int); truncate held_n; insert into held_n values (0)',
    );
    const more = 'update held_n set n = n + 1';
    await approved(more);
    await Promise.all(Array.from({ length: 5 }, () => asks(holdpoint.login, query(more))));
    assert.equal((await behind.query('select n from held_n')).rows[0].n, 1);
    assert.equal(await count('held_t'), 3);
  });

  test('is of one agent', async () => {
    const { holdpoint, count } = await start();
    const id = await approved('delete from held_t where id = 2');
    const seen = await asks(holdpoint.other, query('delete from held_t where id = 2'));
    assert.match(error(seen), /^E ERROR ZH001 /);
    assert.notEqual(hold(seen), id);
    assert.equal(await count('held_t'), 3);
  });

  for (const [name, other] of [
    ['another value', 'delete from held_t where id = 30'],
    ['a blank more', 'delete from held_t  where id = 3'],
    ['a comment more', 'delete from held_t where id = 3 -- really'],
    ['another case', 'DELETE from held_t where id = 3'],
    ['a second statement', 'delete from held_t where id = 3; delete from held_t'],
    ['no predicate', 'delete from held_t'],
  ] as const) {
    test(`is of one statement: not with ${name}`, async () => {
      const { holdpoint, count } = await start();
      const id = await approved('delete from held_t where id = 3');
      const seen = await asks(holdpoint.login, query(other));
      assert.match(error(seen), /^E ERROR ZH001 /);
      assert.notEqual(hold(seen), id);
      assert.equal(await count('held_t'), 3);
      assert.ok(
        (await asks(holdpoint.login, query('delete from held_t where id = 3'))).some((l) =>
          l.startsWith('C'),
        ),
      );
    });
  }

  test('is of its parameters', async () => {
    const { holdpoint, count } = await start();
    const id = hold(await asks(holdpoint.login, remove('1')));
    await holdpoint.approve(id);
    const seen = await asks(holdpoint.login, remove('2'));
    assert.match(error(seen), /^E ERROR ZH001 /);
    assert.notEqual(hold(seen), id);
    assert.equal(await count('held_t'), 3);
    assert.ok((await asks(holdpoint.login, remove('1'))).includes('C "DELETE 1\\u0000"'));
    assert.equal(await count('held_t'), 2);
  });

  test('is of what the names meant: another search_path is another statement', async () => {
    const { holdpoint, count, behind } = await start();
    const sql = 'delete from held_t where id = 1 and true';
    const id = await approved(sql);
    const client = await RawClient.login(holdpoint.login);
    client.send(query('set search_path = other'));
    await client.replies();
    client.send(query(sql));
    const seen = await client.replies();
    assert.match(error(seen), /^E ERROR ZH001 /);
    assert.notEqual(hold(seen), id);
    await client.end();
    assert.equal(await count('held_t'), 3);
    assert.equal((await behind.query('select count(*)::int as n from other.held_t')).rows[0].n, 1);
  });

  test('is void when the table is another by then', async () => {
    const { holdpoint, count, behind } = await start();
    const sql = 'delete from held_t where id = 2 and true';
    const id = await approved(sql);
    await behind.query('alter table held_t rename to held_old; create table held_t (id int)');
    await behind.query('insert into held_t select generate_series(1, 3)');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const seen = await asks(holdpoint.login, query(sql));
    assert.match(error(seen), /^E ERROR ZH00[18] /);
    if (error(seen).includes('ZH001')) assert.notEqual(hold(seen), id);
    assert.equal(await count('held_t'), 3);
    await behind.query('drop table held_t; alter table held_old rename to held_t');
  });
});

describe('a receipt that somebody on the bus', () => {
  afterEach(async () => {
    bus.tamper = null;
    const { reset } = await start();
    await reset();
  });

  const segment = (jws: string, at: number, change: (text: string) => string) =>
    jws
      .split('.')
      .map((part, i) => {
        if (i !== at) return part;
        const text = Buffer.from(part, 'base64url').toString('utf8');
        return Buffer.from(change(text)).toString('base64url');
      })
      .join('.');
  let earlier = '';
  test('is taken where it belongs', async () => {
    const { holdpoint, count } = await start();
    const sql = "delete from held_t where id = 3 and 'real' = 'real'";
    await approved(sql);
    assert.ok((await asks(holdpoint.login, query(sql))).includes('C "DELETE 1\\u0000"'));
    assert.equal(await count('held_t'), 2);
    earlier = bus.receipts.at(-1) ?? '';
    assert.notEqual(earlier, '');
  });

  const cases: readonly (readonly [string, (own: string) => string])[] = [
    ["puts in another statement's place", () => earlier],
    ['changes in its claims', (own) => segment(own, 1, (t) => t.replace('"shop"', '"prod"'))],
    ['gives another key', (own) => segment(own, 0, (t) => t.replace(/"kid":"./, '"kid":"!'))],
    ['strips of its signature', (own) => own.replace(/[^.]*$/, '')],
    [
      'declares unsigned',
      (own) => segment(own, 0, () => '{"alg":"none","typ":"holdpoint-receipt+jwt"}'),
    ],
    ['makes up', () => 'e30.e30.e30'],
    ['leaves empty', () => ''],
  ];
  for (const [i, [name, forge]] of cases.entries()) {
    test(`${name} is refused`, async () => {
      const { holdpoint, count } = await start();
      const sql = `delete from held_t where id = ${i + 1} and 'forged' = 'forged'`;
      await approved(sql);
      bus.tamper = (answer) => ({ ...answer, receipt: forge(answer.receipt) });
      assert.match(error(await asks(holdpoint.login, query(sql))), /^E ERROR ZH008 /);
      assert.equal(await count('held_t'), 3);
    });
  }
});
