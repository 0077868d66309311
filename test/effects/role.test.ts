// SET ROLE: to whom the session acts as already, as migrators do when they are done, and to others.
// Invariant: only what leaves the role as it is counts as the session's own.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import pg from 'pg';
import {
  analyze,
  applyChange,
  initialContext,
  loadParser,
} from '../../proxy/postgres/effect/analyze.ts';
import { marked } from '../setup/marked.ts';

const READS = join(import.meta.dirname, '..', 'setup', 'policies', 'reads.rego');
const start = marked({ policy: READS, reads: 'each' });

before(loadParser);

/** The class of each message's worst effect, one message after another. */
function classes(messages: readonly string[], role: string | null = null): readonly string[] {
  let context = initialContext({ user: 'me', role });
  return messages.map((message) => {
    const parsed = analyze(message, context, null);
    for (const statement of parsed.statements)
      for (const change of statement.changes) context = applyChange(context, change);
    return parsed.class;
  });
}

test('the role in force is set again: the session’s own', () => {
  assert.deepEqual(classes(["SET ROLE 'me'"]), ['session']);
  assert.deepEqual(classes(['SET LOCAL ROLE me', 'set session role me']), ['session', 'session']);
  assert.deepEqual(classes(['SET ROLE other'], 'other'), ['session']);
});

test('any other role is an administrator’s to set', () => {
  assert.deepEqual(classes(['SET ROLE other', 'SET ROLE me']), ['admin', 'admin']);
  assert.deepEqual(classes(['SET ROLE me', 'SET ROLE NONE', 'RESET ROLE'], 'other'), [
    'admin',
    'admin',
    'admin',
  ]);
  assert.deepEqual(classes(['SET ROLE "Me"', "DO 'begin set role me; end'"]), ['admin', 'admin']);
  assert.deepEqual(classes(['SET ROLE other; SET ROLE me']), ['admin']);
  assert.deepEqual(classes(['SET SESSION AUTHORIZATION you', 'SET ROLE me']), ['admin', 'admin']);
});

test('who that is, the server says', async () => {
  const { holdpoint, server } = await start();
  const client = new pg.Client({ connectionString: holdpoint.url });
  await client.connect();
  try {
    const { rows } = await client.query('select current_user as me');
    assert.equal(rows[0].me, server.user);
    await client.query(`set role '${rows[0].me}'`);
    await client.query(`begin; set local role ${rows[0].me}; commit`);
    await assert.rejects(client.query('set role pg_monitor'), { code: 'ZH002' });
    await assert.rejects(client.query('reset role'), { code: 'ZH002' });
  } finally {
    await client.end();
  }
});
