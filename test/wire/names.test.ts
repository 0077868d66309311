// Names that the server and the proxy could take for different things: each way to have one judged
// and another run.
// Invariant: a statement on a denied table never runs, whatever name it is reached by.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { RawClient } from '../peers/client.ts';
import { bind, close, execute, parse, query, sync } from '../peers/messages.ts';
import { marked } from '../setup/marked.ts';

const start = marked({
  setup: `
    create function denied_f() returns int language sql as 'delete from denied_t; select 1';
    create schema plain;
    create function plain.f() returns int language sql as 'select 1';
    create schema other;
    create function other.f() returns int language sql as 'select denied_f()';`,
});
const DELETE = 'delete from denied_t';

/**
 * Sends everything in one piece and wants the denied table whole; the answers are what came back.
 */
async function attack(ready: number, ...messages: readonly Buffer[]): Promise<readonly string[]> {
  const { holdpoint, count } = await start();
  const client = await RawClient.login(holdpoint.login);
  client.send(...messages);
  const seen = await client.replies(ready);
  await client.end();
  assert.equal(await count('denied_t'), 3, 'the denied statement ran');
  return seen;
}

describe('a name is not what the proxy was last told', () => {
  afterEach(async () => {
    const { reset } = await start();
    await reset();
  });

  test('the Parse that renamed it was skipped after an error', async () => {
    for (const failure of [
      execute('nowhere'),
      bind([], { statement: 'nowhere' }),
      parse('selct'),
    ]) {
      await attack(
        3,
        ...[parse(DELETE), sync()],
        ...[failure, parse('select 1'), sync()],
        ...[bind(), execute(), sync()],
      );
    }
  });

  test('the Parse that renamed it failed, since the name was taken', async () => {
    await attack(
      3,
      ...[parse(DELETE, 'a'), sync()],
      ...[parse('select 1', 'a'), sync()],
      ...[bind([], { statement: 'a' }), execute(), sync()],
    );
  });

  test('the Close in front of the Parse was skipped', async () => {
    await attack(
      3,
      ...[parse(DELETE, 'a'), sync()],
      ...[execute('nowhere'), close('statement', 'a'), sync()],
      ...[parse('select 1', 'a'), bind([], { statement: 'a' }), execute(), sync()],
    );
  });

  test('the server cuts long names, so that two are one', async () => {
    const [x, y, z] = ['x', 'y', 'z'].map((end) => `${'n'.repeat(63)}${end}`);
    const seen = await attack(
      4,
      ...[parse('select 1', x), sync()],
      ...[close('statement', y ?? ''), sync()],
      ...[parse(DELETE, z), sync()],
      ...[bind([], { statement: x ?? '' }), execute(), sync()],
    );
    assert.match(seen.join('\n'), /ZH013/);
  });

  test('PREPARE, Close and Parse share their names with EXECUTE', async () => {
    await attack(
      6,
      query('prepare p as select 1'),
      ...[close('statement', 'p'), parse(DELETE, 'p'), sync()],
      query('begin'),
      query('execute p'),
      query('rollback'),
      query('select 1'),
    );
  });

  test('DEALLOCATE and PREPARE behind a Parse', async () => {
    await attack(
      5,
      ...[parse('select 1', 'p'), sync()],
      query('deallocate p'),
      query(`prepare p as ${DELETE}`),
      query('begin'),
      ...[bind([], { statement: 'p' }), execute(), sync()],
    );
  });

  test('a DO block prepares it anew', async () => {
    await attack(
      5,
      query('prepare p as select 1'),
      query('begin'),
      query(`do $$ begin deallocate p; prepare p as ${DELETE}; end $$`),
      query('execute p'),
      query('commit'),
    );
  });

  test('EXECUTE under another search_path than PREPARE', async () => {
    await attack(
      6,
      query('set search_path = plain, public'),
      query('prepare p as select f()'),
      query('set search_path = other, public'),
      query('begin'),
      query('execute p'),
      query('commit'),
    );
  });

  test('a cursor of SQL read by an Execute message', async () => {
    await attack(
      5,
      query('begin'),
      ...[parse('select 1'), bind([], { portal: 'c' }), close('portal', 'c'), sync()],
      query('declare c cursor for select denied_f()'),
      ...[execute('c'), sync()],
      query('commit'),
    );
  });

  test('the read-only switch is not the agent’s to hold', async () => {
    await attack(
      4,
      query('set default_transaction_read_only = off'),
      query("select set_config('default_transaction_read_only', 'off', false)"),
      query('select denied_f()'),
      query('reset all; select denied_f()'),
    );
  });
});
