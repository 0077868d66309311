// `holdpoint classify`: one answer a line, in order, whatever the line; nothing is run, no secret
// comes back.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { classifyPostgres } from '../../cli/classify.ts';
import { sharedPostgres, skipWithoutPostgres } from '../setup/postgres.ts';

interface Answer {
  readonly id: unknown;
  readonly class: string;
  readonly complete: boolean;
  readonly unscoped: boolean;
  readonly effects: readonly { readonly opaque: string | null }[];
}

async function classified(lines: readonly string[], catalog?: string): Promise<Answer[]> {
  const input = new PassThrough();
  const output = new PassThrough();
  const chunks: Buffer[] = [];
  output.on('data', (chunk: Buffer) => chunks.push(chunk));
  input.end(`${lines.join('\n')}\n`);
  await classifyPostgres({ engine: 'postgres', catalog, input, output });
  const text = Buffer.concat(chunks).toString('utf8').trimEnd();
  return text.split('\n').map((line) => JSON.parse(line) as Answer);
}

const line = (id: string, statement: string, more: object = {}) =>
  JSON.stringify({ id, statement, ...more });

test('lines are answered in order, and a bad one is unknown', async () => {
  const answers = await classified([
    line('a', 'select 1'),
    'not json',
    line('b', 'delete from users'),
    '',
    JSON.stringify({ id: 'c' }),
    line('d', 'select f()'),
  ]);
  assert.deepEqual(
    answers.map((a) => [a.id, a.class, a.complete]),
    [
      ['a', 'read', true],
      [null, 'unknown', false],
      ['b', 'destructive', true],
      ['c', 'unknown', false],
      ['d', 'unknown', false],
    ],
  );
  assert.equal(answers[2]?.unscoped, true);
});

test('prior statements and settings count', async () => {
  const answers = await classified([
    line('a', 'EXECUTE p', { session: { prior: ['PREPARE p AS DELETE FROM users'] } }),
    line('b', 'EXECUTE p'),
    line('c', "SELECT 'a\\'; DELETE FROM users; --'", {
      session: { standard_conforming_strings: 'off' },
    }),
    line('d', "SELECT '\\''; DELETE FROM users; --'", {
      session: { standard_conforming_strings: 'off' },
    }),
  ]);
  assert.deepEqual(
    answers.map((a) => a.class),
    ['destructive', 'unknown', 'read', 'destructive'],
  );
});

test('a catalog that cannot be read says so, without its password', async () => {
  const url = 'postgres://someone:hunter2@127.0.0.1:1/nowhere';
  const [answer] = await classified([line('a', 'select 1', { catalog: url })]);
  assert.equal(answer?.class, 'unknown');
  assert.ok(!JSON.stringify(answer).includes('hunter2'));
});

test('the catalog is looked up, and the statement is not run', {
  skip: skipWithoutPostgres(18),
}, async () => {
  const server = await sharedPostgres(18);
  try {
    const database = await server.createDatabase(
      `create table t (id int); insert into t values (1);
       create function f() returns int language plpgsql
         as $$ begin delete from t; return 1; end $$`,
    );
    const [answer] = await classified([line('a', 'select f()')], server.url(database));
    assert.equal(answer?.class, 'destructive');
    const client = await server.connect(database);
    const { rows } = await client.query<{ n: number }>('select count(*)::int as n from t');
    await client.end();
    assert.equal(rows[0]?.n, 1);
  } finally {
    await server.stop();
  }
});
