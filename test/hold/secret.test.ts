// A password in a statement: neither it nor any of its literals reaches the ledger's files.
// Invariant: what is looked through is every byte that the ledger wrote.
import assert from 'node:assert/strict';
import { globSync, readFileSync, statSync } from 'node:fs';
import { test } from 'node:test';
import pg from 'pg';
import { marked } from '../setup/marked.ts';

const start = marked();
const SECRET = 'correct-horse-4711';

test('a password given to a role is not in the ledger', async () => {
  const { holdpoint } = await start();
  const client = new pg.Client(holdpoint.login);
  await client.connect();
  await client.query(`create role somebody_${process.pid} login password '${SECRET}'`);
  await client.query(`drop role somebody_${process.pid}`);
  await client.end();
  await holdpoint.stop();
  const files = globSync('**/*', { cwd: holdpoint.state }).map((f) => `${holdpoint.state}/${f}`);
  const whole = files.filter((file) => statSync(file).isFile());
  const told = whole.filter((file) => readFileSync(file).includes('create role somebody'));
  assert.ok(told.length > 0, 'the statement is not in the record at all');
  for (const file of whole) assert.ok(!readFileSync(file).includes(SECRET), file);
});
