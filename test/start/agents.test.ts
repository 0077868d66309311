// The store of agents: what is kept, how it changes under a running proxy, and the command line for
// it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Agents, addAgent, removeAgent, resetAgent } from '../../proxy/agents.ts';
import { UserError } from '../../proxy/errors.ts';
import { makeVerifier, parseVerifier } from '../../proxy/postgres/scram.ts';
import { RawClient } from '../peers/client.ts';
import { query } from '../peers/messages.ts';
import { marked } from '../setup/marked.ts';
import { ROOT } from '../tidy/files.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-agents-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const started = marked();
let count = 0;
const fresh = (): string => join(directory, `state-${count++}`);
const agent = (name: string) => ({
  name,
  groups: ['ai'],
  capabilities: ['read'],
  scopes: ['s'],
  targets: ['shop'],
});

/** A command of Holdpoint's under this Node: standard output, standard error and exit code. */
function holdpoint(args: readonly string[], input = ''): Promise<[string, string, number | null]> {
  const child = spawn(process.execPath, [join(ROOT, 'cli', 'main.ts'), ...args]);
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk) => (out += chunk));
  child.stderr.on('data', (chunk) => (err += chunk));
  child.stdin.end(input);
  return new Promise((resolve) => child.once('close', (code) => resolve([out, err, code])));
}

/**
 * The salted keys of a password, compared: makeVerifier with the stored salt must give the stored
 * text.
 */
function fits(verifier: string, password: string): boolean {
  const parsed = parseVerifier(verifier);
  return parsed !== null && makeVerifier(password, parsed.salt, parsed.iterations) === verifier;
}

test('an agent is kept as a verifier in a private file, and its password nowhere', () => {
  const state = fresh();
  const password = addAgent(state, agent('bot-1'));
  assert.ok(password.length >= 32);
  const file = join(state, 'agents.json');
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.ok(!readFileSync(file, 'utf8').includes(password));
  const { verifier, ...rest } = new Agents(state).find('bot-1') ?? { verifier: '' };
  assert.deepEqual(rest, agent('bot-1'));
  assert.ok(fits(verifier, password));
  assert.throws(() => addAgent(state, agent('bot-1')), /is there already/);
  for (const name of ['', 'a b', '-x', 'x'.repeat(64), 'ä', 'a/b', 'a\nb']) {
    assert.throws(() => addAgent(state, agent(name)), UserError, name);
  }
});

test('a running proxy sees agents added, changed and removed', () => {
  const state = fresh();
  const agents = new Agents(state);
  assert.equal(agents.find('bot'), null);
  const first = addAgent(state, agent('bot'));
  const before = agents.find('bot')?.verifier ?? '';
  assert.ok(fits(before, first));
  const second = resetAgent(state, 'bot');
  const now = agents.find('bot')?.verifier ?? '';
  assert.ok(fits(now, second) && !fits(now, first));
  removeAgent(state, 'bot');
  assert.equal(agents.find('bot'), null);
  assert.throws(() => removeAgent(state, 'bot'), /there is no agent bot/);
  assert.throws(() => resetAgent(state, 'bot'), /there is no agent bot/);
});

test('a broken file changes nothing in a running proxy and stops a new one', () => {
  const state = fresh();
  addAgent(state, agent('bot'));
  const agents = new Agents(state);
  const file = join(state, 'agents.json');
  const good = readFileSync(file, 'utf8');
  for (const bad of [
    '{',
    '[]',
    good.replace('"version": 1', '"version": 2'),
    good.replace('SCRAM-SHA-256$4096', 'SCRAM-SHA-256$x'),
    good.replace('"groups"', '"group"'),
  ]) {
    writeFileSync(file, bad);
    utimesSync(file, count, count++);
    assert.ok(agents.find('bot'), bad);
    assert.match(agents.problem ?? '', /agents\.json/);
    assert.throws(() => new Agents(state), UserError);
    assert.throws(() => addAgent(state, agent('other')), UserError);
  }
  writeFileSync(file, good);
  assert.ok(agents.find('bot'));
  assert.equal(agents.problem, null);
});

test('answers about unknown names stay the same over restarts', () => {
  const state = fresh();
  addAgent(state, agent('bot'));
  const salt = (name: string) => new Agents(state).verifier(name).salt.toString('hex');
  assert.equal(salt('ghost'), salt('ghost'));
  assert.notEqual(salt('ghost'), salt('ghost2'));
});

test('its sessions end with an agent: another password, or removed', async () => {
  const { holdpoint: running, count } = await started();
  const [one, held, other] = await Promise.all(
    [running.login, running.login, running.other].map((login) => RawClient.login(login)),
  );
  assert.ok(one && held && other);
  held.send(query('delete from held_t'));
  await held.until((m) => m.type === 'N');
  const password = resetAgent(running.state, 'agent');
  const words = /E FATAL 57P01 .*agent agent was removed, or has another password/;
  assert.match((await one.closed()).join('\n'), words);
  assert.match((await held.closed()).join('\n'), words);
  assert.equal(await count('held_t'), 3);
  await assert.rejects(RawClient.login(running.login), /password authentication failed/);
  const again = await RawClient.login({ ...running.login, password });
  // Whoever else was there has noticed nothing.
  other.send(query('select 1'));
  assert.match((await other.replies()).join('\n'), /"I"$/);
  removeAgent(running.state, 'other');
  assert.match((await other.closed()).join('\n'), /agent other was removed/);
  again.send(query('select 1'));
  assert.match((await again.replies()).join('\n'), /"I"$/);
  await again.end();
});

test('configured agents stand beside stored ones and win over them', () => {
  const state = fresh();
  addAgent(state, agent('both'));
  const configured = { ...agent('both'), groups: ['configured'], verifier: makeVerifier('x') };
  const agents = new Agents(state, [configured, { ...configured, name: 'only' }]);
  assert.deepEqual(agents.find('both')?.groups, ['configured']);
  assert.deepEqual(
    agents.list().map((one) => one.name),
    ['both', 'only'],
  );
});

test('the command: add prints the password once, several at the same time all count', async () => {
  const state = fresh();
  const add = (name: string, ...more: string[]) =>
    holdpoint(['agent', 'add', name, '--state', state, ...more]);
  const more = ['--group', 'a', '--group', 'b', '--capability', 'read', '--target', 'shop'];
  const results = await Promise.all(['one', 'two', 'three'].map((name) => add(name, ...more)));
  for (const [index, [out, , code]] of results.entries()) {
    assert.equal(code, 0);
    const name = ['one', 'two', 'three'][index] ?? '';
    assert.ok(fits(new Agents(state).find(name)?.verifier ?? '', out.trim()), name);
  }
  const [out, err, code] = await add('one');
  assert.equal(out, '');
  assert.match(err, /^holdpoint: agent one is there already/);
  assert.equal(code, 1);
  const [list] = await holdpoint(['agent', 'list', '--state', state]);
  assert.match(list, /^one: groups a b, capabilities read, scopes -, targets shop$/m);
});

test('the command: a verifier from a password on standard input', async () => {
  const [out, , code] = await holdpoint(['agent', 'verifier'], 'pencil\n');
  assert.equal(code, 0);
  assert.ok(fits(out.trim(), 'pencil'));
  const [, err, failed] = await holdpoint(['agent', 'verifier'], '\n');
  assert.equal(failed, 1);
  assert.match(err, /no password/);
});
