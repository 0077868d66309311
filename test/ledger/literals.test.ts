// A target whose literals stay out of the record: no value of a statement, parameter, error or
// stated reason is in any file of ledger and spool, nor in what is logged; the private key opens
// what is sealed, nothing else does.
// Invariant: what is looked through is every byte under the state directory but the approver's
// store, which shows held statements to people.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import pg from 'pg';
import type { Operation } from '../../proxy/operation.ts';
import { redacted } from '../../proxy/record/redact.ts';
import type { Decision } from '../../proxy/verdict/verdict.ts';
import type { Holdpoint } from '../setup/holdpoint.ts';
import { marked } from '../setup/marked.ts';

const ROOT = join(import.meta.dirname, '../..');
const MAIN = ['--disable-warning=ExperimentalWarning', join(ROOT, 'cli/main.ts'), 'ledger'];
const keys = mkdtempSync(join(tmpdir(), 'holdpoint-sealing-'));
after(() => rmSync(keys, { recursive: true, force: true }));
const KEY = join(keys, 'private.jwk');
const SETUP = `
  create table people (email text unique, age int check (age < 900000));
  insert into people values ('taken-zq81@example.com', 1);`;
const start = marked({ child: true, setup: SETUP });

/** Every value is unlike any other text, so that finding it anywhere is a leak. */
const VALUES = {
  literal: 'lit-zq10',
  number: 7_654_321,
  dollar: 'dollar-zq11',
  comment: 'comment-zq12',
  parameter: 'param-zq13',
  duplicate: 'taken-zq81@example.com',
  reason: 'reason-zq14',
  setting: 'setting_zq15',
  broken: 'broken-zq16',
  denied: 'denied-zq17',
  read: 'read-zq18',
  path: '/tmp/path-zq19',
  role: 'role-zq20',
  notified: 'notified-zq21',
  block: 'block-zq22',
  held: 'held-zq23',
};

const CONTROL = 'control-zq99';

const STATEMENTS: readonly [string, unknown[]?][] = [
  [`set holdpoint.reason = '${VALUES.reason}'`],
  [`set application_name to ${VALUES.setting}`],
  [`insert into people values ('${VALUES.literal}', ${VALUES.number} % 10) /*${VALUES.comment}*/`],
  [`update people set email = $$${VALUES.dollar}$$ where email = '${VALUES.literal}'`],
  ['insert into people values ($1, 5)', [VALUES.parameter]],
  ['insert into people values ($1, 5)', [VALUES.duplicate]],
  [`insert into people values ('${VALUES.duplicate}', 5)`],
  [`selct * frm people where email = ${VALUES.broken} '`],
  [`delete from denied_t where id::text = '${VALUES.denied}'`],
  [`select * from people where email = '${VALUES.read}'`],
  [`copy people from '${VALUES.path}'`],
  [`comment on table people is '${VALUES.role}'`],
  [`notify news, '${VALUES.notified}'`],
  [`do $x$ begin perform '${VALUES.block}'; end $x$`],
  [`delete from held_t where id::text = '${VALUES.held}'`],
];

async function run(login: pg.ClientConfig, statements: typeof STATEMENTS): Promise<void> {
  const client = new pg.Client(login);
  client.on('error', () => {});
  await client.connect();
  for (const [text, values] of statements) {
    await client.query(text, values ?? []).catch(() => undefined);
    await client.query('rollback').catch(() => undefined);
  }
  await client.end();
}

function leaks(state: string, said: string, values: object = VALUES): string[] {
  const found: string[] = [];
  const files = globSync('**/*', { cwd: state }).filter((file) => !file.startsWith('approver'));
  for (const file of files) {
    const path = join(state, file);
    if (!statSync(path).isFile()) continue;
    const bytes = readFileSync(path);
    for (const [what, value] of Object.entries(values))
      if (bytes.includes(String(value))) found.push(`${what} in ${file}`);
  }
  for (const [what, value] of Object.entries(values))
    if (said.includes(String(value))) found.push(`${what} in the log`);
  return found;
}

/** One database under three names, each with its own treatment of literals. */
async function withTargets(): Promise<Holdpoint> {
  const { holdpoint } = await start();
  await holdpoint.stop();
  const settings = JSON.parse(readFileSync(holdpoint.file, 'utf8'));
  const [target] = settings.targets;
  const jwk = execFileSync(process.execPath, [...MAIN, 'sealing-key', '--out', KEY]);
  writeFileSync(join(holdpoint.state, 'seal.jwk'), jwk);
  const hold = { ...target.hold, wait: '0s' };
  settings.targets = ['full', 'none', 'sealed'].map((name) => {
    const seal_to = name === 'sealed' ? 'seal.jwk' : null;
    return { ...target, name, hold, record: { ...target.record, literals: name, seal_to } };
  });
  writeFileSync(holdpoint.file, JSON.stringify(settings));
  await holdpoint.start();
  return holdpoint;
}

function unseal(holdpoint: Holdpoint, index: number, file: string) {
  const from = ['--directory', holdpoint.ledgerDirectory, '--key-file', file];
  const words = [...MAIN, 'unseal', `${index}`, ...from];
  return spawnSync(process.execPath, words, { encoding: 'utf8' });
}

test('no value is in ledger, spool or log; what is sealed opens with its key', async () => {
  const holdpoint = await withTargets();
  const login = (database: string) => ({ ...holdpoint.login, database });
  await run(login('full'), [[`insert into people values ('${CONTROL}', 1)`]]);
  await run(login('none'), STATEMENTS);
  await run(login('sealed'), STATEMENTS);
  await holdpoint.stop();
  assert.deepEqual(leaks(holdpoint.state, holdpoint.complaints), []);
  // With full literals the same look finds what is there.
  assert.notDeepEqual(leaks(holdpoint.state, '', { control: CONTROL }), []);
  const entries = await holdpoint.entries();
  const failed = entries.filter((e) => e.kind === 'outcome' && /23505/.test(e.answer ?? ''));
  assert.ok(failed.length >= 4, `${failed.length} outcomes name the code`);
  const decisions = entries.flatMap((entry, index) =>
    entry.kind === 'decision' && entry.target !== 'full' ? [{ index, entry }] : [],
  );
  for (const target of ['none', 'sealed']) {
    const own = decisions.filter(({ entry }) => entry.target === target);
    assert.ok(own.length >= 8, `${own.length} decisions on ${target}`);
    for (const { entry } of own) {
      assert.equal(entry.statement.literals, target);
      assert.equal(entry.statement.sha256 === null, target === 'none');
      assert.equal(entry.stated.reason, null);
    }
    const insert = own.find(({ entry }) => /^insert/.test(entry.statement.normalized));
    assert.match(insert?.entry.statement.normalized ?? '', /^insert into people values \(\$1/);
  }
  const bound = decisions.find(
    ({ entry }) => entry.target === 'sealed' && entry.statement.parameters.length > 0,
  );
  const opened = unseal(holdpoint, bound?.index ?? -1, KEY);
  assert.equal(opened.status, 0, opened.stderr);
  const { statement, parameters, stated } = JSON.parse(opened.stdout);
  assert.equal(statement, 'insert into people values ($1, 5)');
  assert.equal(parameters[0].text, VALUES.parameter);
  assert.equal(stated.reason, VALUES.reason);
  const stranger = join(keys, 'stranger.jwk');
  execFileSync(process.execPath, [...MAIN, 'sealing-key', '--out', stranger]);
  const other = unseal(holdpoint, bound?.index ?? -1, stranger);
  assert.deepEqual([other.status, /sealed to another key/.test(other.stderr)], [1, true]);
});

/** What is said of a statement once its values are out; an engine's own words are given. */
function said(normalized: string, statement = normalized, opaque: string | null = null) {
  const effect = { opaque, objects: [] };
  const operation = {
    bytes: Buffer.from(statement),
    parameters: [],
    analysis: { normalized, effects: opaque === null ? [] : [effect] },
    session: { stated: { reason: 'because', task: null, on_behalf_of: 'bob' } },
  } as unknown as Operation;
  const decision = {
    verdict: { kind: 'deny', rule: 'r', reason: `no: ${statement}` },
  } as unknown as Decision;
  const [shown, judged] = redacted(operation, decision);
  return { text: shown.analysis.normalized, reason: judged.verdict.reason };
}

test('normalized text loses what normalizing left, or is left out', () => {
  for (const [given, wanted] of [
    ['update t1 set a = $1 where b2 = $22', 'update t1 set a = $1 where b2 = $22'],
    ["create role x password 'a''b'", 'create role x password ?'],
    ['create table t (a numeric(10,2) default 5.5e3)', 'create table t (a numeric(?,?) default ?)'],
    ['do $a$ x $b$ y $a$', '(left out)'],
    ['do $a$ x y $a$', 'do ?'],
    ["select E'a\\'b'", '(left out)'],
    ["select U&'\\0041'", '(left out)'],
    ["select 'a", '(left out)'],
    ['select a /* x */ -- y\n, "B 2"', 'select a , "B 2"'],
    ['set a.b to c', 'set a.b to ?'],
    ['alter system set x = y', 'alter system set x = ?'],
    ["set time zone 'x'", 'set time zone ?'],
    ['select `a`', '(left out)'],
  ] as const) {
    assert.equal(said(given).text, wanted, given);
  }
  assert.equal(said('selct a', 'selct a', "can't be parsed (syntax error)").text, '(left out)');
});

test('what a policy or a parser says has no values in it', () => {
  const { reason } = said(
    'delete from t',
    "delete from t where mail = 'bob@example.com' or n = 4711",
  );
  assert.doesNotMatch(reason, /bob@|4711/);
});
