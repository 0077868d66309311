// Prepared statements and portals that mean one thing when they are made and another when they run.
// Invariant: a change of a denied table never runs, whichever of its meanings was the harmless one.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { RawClient } from '../peers/client.ts';
import {
  bind,
  describe as describeMessage,
  execute,
  parse,
  query,
  sync,
} from '../peers/messages.ts';
import { marked } from '../setup/marked.ts';

const start = marked({
  setup: `
    create schema harmless;
    create schema later;
    create schema soon;
    create table harmless.named (id int);
    create view public.named as select id from denied_t;
    create function public.empty_denied() returns int language sql
      as 'delete from denied_t returning 1';
    create function public.check_denied(i int) returns bool language plpgsql immutable
      as 'begin perform public.empty_denied(); return true; end';
    create domain public.checked as int check (public.check_denied(value));
    create type public.holder as (c checked);
    create table harmless.source (i int);
    create view public.source as select public.empty_denied() as i;
    create function public.read_source() returns bigint language plpgsql
      as 'declare n bigint; begin select count(i) into n from source; return n; end';`,
});
const DELETE = 'delete from named';
const one = (sql: string): [number, Buffer] => [1, query(sql)];
const onward = (name: string): [number, ...Buffer[]] => [
  1,
  bind([], { statement: name }),
  execute(),
  sync(),
];

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
  return seen.join('\n');
}

describe('what was prepared', () => {
  // What a test has made stays: that somebody else has dropped it is noticed only a second later.
  afterEach(async () => (await start()).reset());

  test('the server keeps its plan although a new table comes first now', async () => {
    const path = one('set search_path = later, public');
    const made = one('create table later.named (id int)');
    assert.match(await attack(path, [1, parse(DELETE, 'a'), sync()], made, onward('a')), /ZH002/);
  });

  test('a plan made again by Describe, and kept although a new table comes first', async () => {
    const made = one('create table soon.named (id int)');
    const again: [number, ...Buffer[]] = [1, describeMessage('statement', 'a'), sync()];
    const harmless = [one('set search_path = harmless'), [1, parse(DELETE, 'a'), sync()]] as const;
    const path = one('set search_path = soon, public');
    assert.match(await attack(...harmless, path, again, made, onward('a')), /ZH002/);
  });

  test('judged again under another search_path', async () => {
    const steps = [one('set search_path = harmless'), [1, parse(DELETE, 'a'), sync()]] as const;
    assert.match(await attack(...steps, one('set search_path = public'), onward('a')), /ZH002/);
  });

  test('a portal whose functions read the search_path as they run', async () => {
    const bound = [parse('select read_source()'), bind([], { portal: 'p' }), sync()];
    const seen = await attack(
      ...[one('begin'), one('set local search_path = harmless, public')],
      ...[[1, ...bound] as const, one('set local search_path = public')],
      ...[[1, execute('p'), sync()] as const, one('commit')],
    );
    assert.match(seen, /ZH010 portal "p" was judged before/);
  });

  test('a literal that is checked as it is parsed', async () => {
    const parsed: [number, Buffer, Buffer] = [1, parse("select '(1)'::holder"), sync()];
    assert.match(await attack(one('begin'), parsed, one('commit')), /ZH006/);
    const prepared = "prepare p as select '(1)'::holder";
    assert.match(await attack(one('begin'), one(prepared), one('commit')), /ZH002/);
  });

  test('a parameter whose type is checked as it is bound', async () => {
    const { behind } = await start();
    const { rows } = await behind.query("select 'checked'::regtype::oid::int as oid");
    const parsed = parse('select $1', '', [rows[0].oid]);
    const bound: [number, ...Buffer[]] = [1, parsed, bind(['1']), execute(), sync()];
    assert.match(await attack(one('begin'), bound, one('commit')), /ZH006/);
  });

  test('a portal of which nothing has changed goes on, whatever else was set', async () => {
    const bound = [parse('select 1'), bind([], { portal: 'p' }), sync()];
    const set = one("set local statement_timeout = '9s'");
    const seen = await attack(one('begin'), [1, ...bound], set, [1, execute('p'), sync()]);
    assert.doesNotMatch(seen, /^E/m);
  });
});
