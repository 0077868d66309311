// pgbench in its three protocols, with its own scripts and with a pipelined one.
// Invariant: not one failed transaction and not one error, and the balance is what the history
// says.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { promisify } from 'node:util';
import pg from 'pg';
import { program, skipWithout } from '../setup/programs.ts';
import { type Door, routes } from '../setup/routes.ts';

const run = promisify(execFile);
const missing = skipWithout('pgbench');
const folder = mkdtempSync(join(tmpdir(), 'holdpoint-pgbench-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const PIPELINE = `\\set a random(1, 100000)
\\startpipeline
select abalance from pgbench_accounts where aid = :a;
update pgbench_accounts set abalance = abalance + 1 where aid = :a;
select count(*) from pgbench_branches;
\\endpipeline
`;

async function pgbench(door: Door, ...args: string[]): Promise<string> {
  const env = { ...process.env, PGPASSWORD: door.password, LC_ALL: 'C' };
  const to = ['-h', door.host, '-p', String(door.port), '-U', door.user, door.database];
  const { stdout, stderr } = await run(program('pgbench'), [...args, ...to], { env });
  const complaints = stderr.split('\n').filter((line) => /error|fatal|aborted/i.test(line));
  assert.deepEqual(complaints, []);
  return stdout;
}

function transactions(report: string): number {
  assert.match(report, /number of failed transactions: 0 /);
  return Number(/number of transactions actually processed: (\d+)/.exec(report)?.[1]);
}

for (const route of routes()) {
  describe(`pgbench to ${route.name}`, { skip: route.skip || missing }, () => {
    let door: Door;

    test('initialises through the same connection', async () => {
      door = await route.open();
      await pgbench(door, '-i', '-q', '-s', '1', '--foreign-keys');
    });

    for (const protocol of ['simple', 'extended', 'prepared']) {
      test(`tpcb-like and select-only, ${protocol}`, async () => {
        const args = ['-n', '-M', protocol, '-c', '4', '-j', '2', '-t', '25'];
        assert.equal(transactions(await pgbench(door, ...args, '-b', 'tpcb-like')), 100);
        assert.equal(transactions(await pgbench(door, ...args, '-b', 'select-only')), 100);
      });
    }

    for (const protocol of ['extended', 'prepared']) {
      test(`a pipelined script, ${protocol}`, async () => {
        const script = join(folder, 'pipeline.sql');
        writeFileSync(script, PIPELINE);
        const args = ['-n', '-M', protocol, '-c', '4', '-t', '25', '-f', script];
        assert.equal(transactions(await pgbench(door, ...args)), 100);
      });
    }

    test('the books balance', async () => {
      const client = new pg.Client({ connectionString: door.behind });
      await client.connect();
      const { rows } = await client.query(`select
        (select count(*) from pgbench_history) as history,
        (select sum(bbalance) from pgbench_branches) as branches,
        (select sum(delta) from pgbench_history) as deltas,
        (select sum(abalance) from pgbench_accounts) as accounts`);
      await client.end();
      const [{ history, branches, deltas, accounts }] = rows;
      assert.equal(history, '300');
      assert.equal(branches, deltas);
      assert.equal(BigInt(accounts), BigInt(deltas) + 200n);
    });
  });
}
