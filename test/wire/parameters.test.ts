// Parameter types that a client declares: with some of them a unique key bounds nothing.
// Invariant: more rows than were judged are never changed, whatever type a value is said to have.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { RawClient } from '../peers/client.ts';
import { bind, execute, parse, sync } from '../peers/messages.ts';
import { marked } from '../setup/marked.ts';

const start = marked({
  policy: join(import.meta.dirname, '../setup/policies/counted.rego'),
  setup: `
    create table keyed (id bigint primary key, n int not null default 1);
    insert into keyed values (9007199254740992), (9007199254740993);`,
});

const [INT8, FLOAT8, NUMERIC, BPCHAR] = [20, 701, 1700, 1042];

async function changed(text: string, types: readonly number[], value: string): Promise<number> {
  const { holdpoint, behind } = await start();
  await behind.query('update keyed set n = 1');
  const client = await RawClient.login(holdpoint.login);
  client.send(parse(text, '', [...types]), bind([value]), execute(), sync());
  await client.replies(1);
  await client.end();
  const { rows } = await behind.query<{ n: number }>(
    'select count(*)::int as n from keyed where n = 0',
  );
  return rows[0]?.n ?? -1;
}

test('a float that stands for several keys bounds nothing', async () => {
  const text = 'update keyed set n = 0 where id = $1';
  assert.equal(await changed(text, [FLOAT8], '9007199254740992'), 0);
  assert.equal(await changed(text, [BPCHAR], '9007199254740992'), 0);
  assert.equal(await changed(text, [INT8], '9007199254740992'), 1);
  assert.equal(await changed(text, [NUMERIC], '9007199254740992'), 1);
  assert.equal(await changed(text, [], '9007199254740992'), 1);
});

test('a parameter that nothing is compared with may be of any type', async () => {
  const text = 'update keyed set n = 0 * $1 where id = 9007199254740992';
  assert.equal(await changed(text, [FLOAT8], '1.5'), 1);
});
