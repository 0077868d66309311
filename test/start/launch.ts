// Starts Holdpoint as a stranger does, from the launcher and in a directory of the test file's own.
// Invariant: processes and directory are gone when the test file is through, whatever it did.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { ROOT } from '../tidy/files.ts';

export const directory = mkdtempSync(join(tmpdir(), 'holdpoint-start-'));
// Searchable: under root the database runs as a plain user, and is to lie here and not in /var/lib.
chmodSync(directory, 0o711);
export const state = join(directory, '.holdpoint');
const children = new Set<ChildProcess>();
after(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

/** The Node that a stranger has: the one on PATH, which is older than the one that runs this. */
function olderNode(): string {
  for (const folder of (process.env.PATH ?? '').split(':')) {
    const file = join(folder, 'node');
    if (!existsSync(file)) continue;
    const version = execFileSync(file, ['--version'], { encoding: 'utf8' });
    if (/^v2[0-5]\./.test(version)) return file;
  }
  return process.execPath;
}
export const NODE = olderNode();
const LAUNCHER = join(ROOT, 'holdpoint.mjs');

export interface Started {
  readonly child: ChildProcess;
  readonly said: () => string;
  readonly line: (name: string) => string;
  readonly port: number;
  readonly seconds: number;
  readonly ended: Promise<number | null>;
}

export function launch(
  args: readonly string[],
  node = NODE,
): Omit<Started, 'line' | 'port' | 'seconds'> {
  const env = { PATH: process.env.PATH, HOME: directory, LANG: 'C' };
  const child = spawn(node, [LAUNCHER, ...args], { cwd: directory, env, stdio: 'pipe' });
  children.add(child);
  let said = '';
  child.stdout.on('data', (chunk) => (said += chunk));
  child.stderr.on('data', (chunk) => (said += chunk));
  const ended = new Promise<number | null>((resolve) => {
    child.once('close', (code) => {
      children.delete(child);
      resolve(code);
    });
  });
  return { child, said: () => said, ended };
}

/** Starts the demo on free ports and waits until it has said so. */
export async function start(node = NODE, ...more: string[]): Promise<Started> {
  const started = launch(['start', '--port', '0', '--page-port', '0', ...more], node);
  const late = Date.now() + 120_000;
  while (!started.said().includes('  verify ')) {
    assert.ok(Date.now() < late && started.child.exitCode === null, started.said());
    await sleep(20);
  }
  const line = (name: string): string =>
    new RegExp(`^ {2}${name} +(.*)$`, 'm').exec(started.said())?.[1] ?? '';
  const port = Number(/port=(\d+)/.exec(line('agent'))?.[1]);
  const seconds = Number(/ready \(([\d.]+) s\)/.exec(started.said())?.[1]);
  return { ...started, line, port, seconds };
}

/** Processes whose command line names our directory: the database, its guard, Holdpoint itself. */
function alive(): string[] {
  const found: string[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      const at = readlinkSync(`/proc/${pid}/cwd`);
      const ours = at.startsWith(directory) && Number(pid) !== process.pid;
      if (command.includes(directory) || ours) found.push(`${pid} ${command}`);
    } catch {
      // Gone between two looks, or not ours to see.
    }
  }
  return found;
}

/** Waits until it is so, and says what still lives. */
export async function nothingLeft(): Promise<void> {
  for (let tries = 0; tries < 1200; tries++) {
    if (alive().length === 0) return;
    await sleep(50);
  }
  assert.deepEqual(alive(), []);
}

/** The first agent, logged in. */
export async function connect({ port }: Started): Promise<pg.Client> {
  const passfile = readFileSync(join(state, 'keys', 'demo-agent.pgpass'), 'utf8');
  const password = passfile.trim().split(':')[4] ?? '';
  const where = { host: '127.0.0.1', port, user: 'demo-agent', password, database: 'shop' };
  const client = new pg.Client(where);
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** A command's output, both streams. */
export function holdpoint(...args: string[]): Promise<string> {
  const { said, ended } = launch(args);
  return ended.then(() => said());
}

/** The command as it was printed, with more behind its first words. */
export function printed(line: string): string[] {
  const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map((found) => found[1] ?? found[2] ?? '');
  assert.deepEqual(words.slice(0, 2), ['node', 'holdpoint.mjs'], line);
  return words.slice(2);
}
