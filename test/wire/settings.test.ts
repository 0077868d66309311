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
    create view public.named as select id from denied_t;
    create function wipes() returns int language sql as 'delete from denied_t; select 1';`,
});
const DELETE = 'delete from named';

type Step = readonly [number, ...(readonly Buffer[])];

/** Steps are sent one after another, each in one piece; the denied table must stay whole. */
async function attack(...steps: readonly Step[]) {
  await attackWith({}, ...steps);
}

async function attackWith(parameters: Record<string, string>, ...steps: readonly Step[]) {
  const { holdpoint, count } = await start();
  const client = await RawClient.login({ ...holdpoint.login, parameters });
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

describe('how text is read is not what the proxy last heard', () => {
  const WIPES = "select '\\'', wipes() --'";
  const OFF = 'set standard_conforming_strings = off';

  afterEach(async () => {
    const { reset } = await start();
    await reset();
  });

  test('control: read by the setting in force', async () => {
    await attack(one(WIPES), one(OFF), one(WIPES));
  });

  test('set in the same unit, to a value that is computed', async () => {
    const set = "select set_config('standard_conforming_strings', lower('OFF'), false)";
    await attack([1, extended(set), extended(WIPES), sync()]);
    await attack([2, query(set), query(WIPES)]);
  });

  test('client_encoding, set in the same unit: a backslash is half of a sign', async () => {
    const set = "select set_config('client_encoding', lower('SJIS'), false)";
    const wipes = "select E'\u0081\\', wipes() --'";
    await attack([1, extended(set), extended(wipes), sync()]);
    await attack(one("set client_encoding = 'SJIS'"), one(wipes));
  });

  test('an error takes back what a unit had set, unsaid', async () => {
    const on = extended('set standard_conforming_strings = on');
    const off = { standard_conforming_strings: 'off' };
    await attackWith(off, [1, on, extended('select 1/0'), sync()], one(WIPES));
    await attackWith(off, [2, on, extended('select 1/0'), sync(), query(WIPES)]);
  });

  test('a transaction ends within a unit', async () => {
    const end = [extended('rollback'), extended(WIPES), sync()] as const;
    const off = { standard_conforming_strings: 'off' };
    await attackWith(off, one('begin'), one('set standard_conforming_strings = on'), [1, ...end]);
  });

  test('RESET and DISCARD bring back what the session began with', async () => {
    const off = { standard_conforming_strings: 'off' };
    for (const reset of ['reset standard_conforming_strings', 'reset all']) {
      const on = one('set standard_conforming_strings = on');
      await attackWith(off, on, [1, extended(reset), extended(WIPES), sync()]);
    }
    await attackWith(
      off,
      one('set standard_conforming_strings = on'),
      one('discard all'),
      one(WIPES),
    );
  });

  test('control: a literal with a backslash is read again after DISCARD ALL', async () => {
    const { holdpoint } = await start();
    const client = await RawClient.login(holdpoint.login);
    client.send(query('discard all'));
    await client.replies(1);
    client.send(query("select 'a\\b'"));
    assert.match((await client.replies(1)).join('\n'), /SELECT 1/);
    await client.end();
  });
});
