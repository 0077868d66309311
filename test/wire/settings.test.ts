// Settings that a transaction's end takes back: each way to have a name judged by the setting that
// was.
// Invariant: a change of a denied table never runs, whatever search_path it was hoped to be judged
// by.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { RawClient } from '../peers/client.ts';
import { extended, query, sync } from '../peers/messages.ts';
import { marked } from '../setup/marked.ts';

const start = marked({
  setup: `
    create schema harmless;
    create table harmless.named (id int);
    create view public.named as select id from denied_t;`,
});
const DELETE = 'delete from named';

/** Steps are sent one after another, each in one piece; the denied table must stay whole. */
async function attack(...steps: readonly (readonly [number, ...(readonly Buffer[])])[]) {
  const { holdpoint, count } = await start();
  const client = await RawClient.login(holdpoint.login);
  const seen: string[] = [];
  for (const [ready, ...messages] of steps) {
    client.send(...messages);
    seen.push(...(await client.replies(ready)));
  }
  await client.end();
  assert.equal(await count('denied_t'), 3, 'the denied statement ran');
  assert.match(seen.join('\n'), /ZH002/, 'it was refused by the policy');
}

const HARMLESS = 'set search_path = harmless';
const one = (sql: string): [number, Buffer] => [1, query(sql)];

describe('a search_path is not what the proxy last read', () => {
  afterEach(async () => {
    const { reset } = await start();
    await reset();
  });

  test('control: judged by the path in force', async () => {
    await attack(one(DELETE));
    await attack(one(HARMLESS), one(DELETE), one('set search_path = public'), one(DELETE));
  });

  test('COMMIT AND CHAIN ends a SET LOCAL', async () => {
    const local = one('set local search_path = harmless');
    await attack(one('begin'), local, one('commit and chain'), one(DELETE), one('commit'));
  });

  test('ROLLBACK AND CHAIN ends a SET', async () => {
    await attack(one('begin'), one(HARMLESS), one('rollback and chain'), one(DELETE));
  });

  test('ROLLBACK in the middle of a unit', async () => {
    const end = [extended('rollback'), extended(DELETE), sync()] as const;
    await attack(one('begin'), one(HARMLESS), [1, ...end]);
  });

  test('COMMIT in the middle of a unit', async () => {
    const end = [extended('commit'), extended(DELETE), sync()] as const;
    await attack(one('begin'), one('set local search_path = harmless'), [1, ...end]);
  });

  test('an error takes back what a unit had set', async () => {
    const unit = [extended(HARMLESS), extended('select 1'), extended('select 1/0'), sync()];
    await attack([1, ...unit], one(DELETE));
  });

  test('… and what follows was sent before the error was known', async () => {
    const unit = [extended(HARMLESS), extended('select 1'), extended('select 1/0'), sync()];
    await attack([2, ...unit, extended(DELETE), sync()]);
    await attack([2, ...unit, query(DELETE)]);
  });
});
