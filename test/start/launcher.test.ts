// holdpoint.mjs alone, with packages of straw: when it installs, and what it passes on.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT } from '../tidy/files.ts';
import { NODE } from './launch.ts';

const home = mkdtempSync(join(tmpdir(), 'holdpoint-launcher-'));
after(() => rmSync(home, { recursive: true, force: true }));
const file = (...parts: string[]): string => join(home, ...parts);
const packages = (versions: object) => JSON.stringify({ packages: { '': {}, ...versions } });
const A = { 'node_modules/a': { version: '1.0.0' } };
const DEV = { 'node_modules/dev': { version: '1.0.0', dev: true } };
const OTHER = { 'node_modules/mac': { version: '1.0.0', optional: true } };

copyFileSync(join(ROOT, 'holdpoint.mjs'), file('holdpoint.mjs'));
for (const folder of ['cli', 'bin', 'straw']) mkdirSync(file(folder));
writeFileSync(
  file('cli', 'main.ts'),
  `const args: string[] = process.argv.slice(2);
  const old = Number(process.versions.node.split('.')[0]) < 26;
  process.on('SIGTERM', () => process.exit(5));
  process.stdout.write(JSON.stringify({ args, old }));
  if (args[0] === 'wait') { setInterval(() => {}, 1000); }
  else if (args[0] === 'die') process.kill(process.pid, 'SIGKILL');
  else process.exitCode = Number(args[0] ?? 0);`,
);
writeFileSync(file('cli', 'other.ts'), "process.stdout.write('other ' + process.argv.slice(2));");
// An npm that notes what it was asked and lays down what the lock names.
writeFileSync(
  file('bin', 'npm'),
  `#!/bin/sh
echo "$@" >> ${file('asked')}
test -e ${file('broken')} && exit 9
mkdir -p ${file('node_modules', 'node', 'bin')}
ln -sf ${process.execPath} ${file('node_modules', 'node', 'bin', 'node')}
cp ${file('package-lock.json')} ${file('node_modules', '.package-lock.json')}
`,
);
chmodSync(file('bin', 'npm'), 0o755);

interface Ended {
  readonly out: string;
  readonly err: string;
  readonly code: number | null;
}

function launch(...args: string[]): {
  ended: Promise<Ended>;
  kill(signal: NodeJS.Signals): void;
  out(): string;
} {
  const env = { PATH: `${file('bin')}:/usr/bin:/bin` };
  const child = spawn(NODE, [file('holdpoint.mjs'), ...args], { cwd: home, env });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk) => (out += chunk));
  child.stderr.on('data', (chunk) => (err += chunk));
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code) => resolve({ out, err, code }));
  });
  return { ended, kill: (signal) => child.kill(signal), out: () => out };
}

const installs = (): number =>
  existsSync(file('asked')) ? readFileSync(file('asked'), 'utf8').trim().split('\n').length : 0;

test('it installs what is missing or of another version, once, and nothing else', async () => {
  const lock = (versions: object) => writeFileSync(file('package-lock.json'), packages(versions));
  lock({ ...A, ...DEV, ...OTHER });
  assert.match((await launch('0').ended).err, /installing packages/);
  assert.equal(installs(), 1);
  assert.match(readFileSync(file('asked'), 'utf8'), /^ci /);
  assert.equal((await launch('0').ended).err, '');
  assert.equal(installs(), 1);
  // A clone and a checkout change times, not contents.
  writeFileSync(file('package-lock.json'), readFileSync(file('package-lock.json')));
  writeFileSync(file('node_modules', '.package-lock.json'), packages(A));
  await launch('0').ended;
  assert.equal(installs(), 1, 'what only development or another machine wants may be missing');
  lock({ 'node_modules/a': { version: '1.0.1' } });
  await launch('0').ended;
  assert.equal(installs(), 2);
  rmSync(file('node_modules'), { recursive: true });
  await launch('0').ended;
  assert.equal(installs(), 3);
});

test('the real process is a new Node; arguments, exit code and death come through', async () => {
  const args = ['7', '--flag', 'two words', ''];
  const { out, code } = await launch(...args).ended;
  assert.deepEqual(JSON.parse(out), { args, old: false });
  assert.equal(code, 7);
  assert.equal((await launch('die').ended).code, 128 + 9);
  assert.equal((await launch('--script', 'cli/other.ts', 'x', 'y').ended).out, 'other x,y');
  assert.equal((await launch('--script').ended).code, 1);
});

test('a signal is passed on, and the answer to it too', async () => {
  const waiting = launch('wait');
  while (!waiting.out().includes('wait')) await sleep(10);
  waiting.kill('SIGTERM');
  assert.equal((await waiting.ended).code, 5);
});

test('a failed installation says so and ends with 1', async () => {
  writeFileSync(file('broken'), '');
  rmSync(file('node_modules'), { recursive: true });
  const { err, code } = await launch('0').ended;
  assert.equal(code, 1);
  assert.match(err, /holdpoint: npm ci failed with 9: see above/);
});
