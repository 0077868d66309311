// The demo's real PostgreSQL: made once in the state directory, started with us, gone with us.
// Invariant: it never outlives this process, even one that is killed: a guard holds a pipe from us
// and stops it at EOF.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { UserError } from '../../proxy/errors.ts';
import { type Home, openHome } from './home.ts';
import { run } from './run.ts';

export interface DemoPostgres {
  readonly host: string;
  readonly port: number;
  /** The superuser's password, for seeding. Holdpoint logs in with another role. */
  readonly superuser: { readonly user: string; readonly password: string };
  /** true when this start made the data directory. */
  readonly fresh: boolean;
  /** Resolves when the server has ended, asked or not. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

const READY_MS = 30_000;
const STOP_MS = 10_000;
const POLL_MS = 10;

/**
 * Quick, small, local, and durable all the same: it is the demo's data, and a second start keeps
 * it.
 */
const SETTINGS: { readonly [name: string]: string } = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '60',
  shared_buffers: '32MB',
  wal_level: 'minimal',
  max_wal_senders: '0',
  log_line_prefix: '%m [%p] ',
};

/**
 * Runs the command in $@ and waits for it; a second process reads descriptor 3 and interrupts the
 * command (a fast shutdown) when it ends, which it does when we close it or die.
 */
const GUARD =
  '"$@" 3<&- </dev/null & pid=$!; (read -r _ <&3; kill -INT $pid 2>/dev/null) & ' +
  'exec 3<&-; wait $pid';

export async function startPostgres(stateDirectory: string): Promise<DemoPostgres> {
  const directory = join(stateDirectory, 'demo');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const home = openHome(directory);
  const password = keep(join(directory, 'superuser.password'), () =>
    randomBytes(24).toString('base64url'),
  );
  const fresh = !existsSync(join(home.data, 'PG_VERSION'));
  if (fresh) await initialise(home, directory, password);
  else await endPredecessor(home);
  for (let attempt = 1; ; attempt++) {
    const port = Number(keep(join(directory, 'port'), () => ''));
    const chosen = attempt === 1 && (await isFree(port)) ? port : await freePort();
    writeFileSync(join(directory, 'port'), `${chosen}\n`, { mode: 0o600 });
    const log = join(directory, 'postgres.log');
    const child = launch(home, chosen, log);
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    if (await isReady(home, chosen, child)) {
      return {
        host: '127.0.0.1',
        port: chosen,
        superuser: { user: 'postgres', password },
        fresh,
        ended,
        stop: () => stop(home, child, ended),
      };
    }
    await stop(home, child, ended);
    if (attempt === 3 || !readFileSync(log, 'utf8').includes('Address already in use')) {
      const last = readFileSync(log, 'utf8').trim().split('\n').slice(-5).join('\n');
      throw new UserError(`the demo's PostgreSQL does not start; ${log} ends with:\n${last}`);
    }
  }
}

/**
 * initdb into a directory beside, renamed when it is whole: a start that was cut short leaves
 * nothing half made.
 */
async function initialise(home: Home, directory: string, password: string): Promise<void> {
  const beside = `${home.data}.new`;
  rmSync(beside, { recursive: true, force: true });
  mkdirSync(beside, { recursive: true, mode: 0o700 });
  const file = `${home.data}.password`;
  writeFileSync(file, `${password}\n`, { mode: 0o600 });
  if (home.user) {
    chownSync(beside, home.user.uid, home.user.gid);
    chownSync(file, home.user.uid, home.user.gid);
  }
  const args = ['-D', beside, '-U', 'postgres', `--pwfile=${file}`, '--auth=scram-sha-256'];
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin'];
  const quick = ['--builtin-locale=C.UTF-8', '--no-sync', '--no-instructions'];
  try {
    await run(join(home.bin, 'initdb'), [...args, ...locale, ...quick], home);
    renameSync(beside, home.data);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const unknown = reason.includes('effective user ID');
    const next = unknown ? '; start as a user that /etc/passwd knows' : '';
    throw new UserError(`initdb failed in ${directory}: ${reason}${next}`);
  } finally {
    rmSync(file, { force: true });
  }
}

function launch(home: Home, port: number, log: string): ChildProcess {
  const settings = Object.entries(SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const command = [join(home.bin, 'postgres'), '-D', home.data, '-p', String(port), ...settings];
  const output = openSync(log, 'w', 0o600);
  // A session of its own: Ctrl-C in a terminal reaches us, and we end it in order.
  const child = spawn('/bin/sh', ['-c', GUARD, 'holdpoint-guard', ...command], {
    cwd: '/',
    env: { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
    stdio: ['ignore', output, output, 'pipe'],
    detached: true,
    ...(home.user ?? {}),
  });
  closeSync(output);
  child.on('error', () => {});
  child.stdio[3]?.on('error', () => {});
  child.unref();
  return child;
}

/** postmaster.pid's eighth line says `ready`; pg_ctl looks at the same. */
async function isReady(home: Home, port: number, child: ChildProcess): Promise<boolean> {
  for (const end = Date.now() + READY_MS; Date.now() < end; await sleep(POLL_MS)) {
    if (child.exitCode !== null || child.signalCode !== null) return false;
    const lines = postmaster(home);
    if (lines[3] === String(port) && lines[7]?.startsWith('ready')) return true;
  }
  return false;
}

async function stop(home: Home, child: ChildProcess, ended: Promise<void>): Promise<void> {
  child.stdio[3]?.destroy();
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  const slow = AbortSignal.timeout(STOP_MS);
  slow.addEventListener('abort', () => signal(Number(postmaster(home)[0]), 'SIGQUIT'));
  await ended;
}

/**
 * A server of a start that was killed may still be on its way out, or its pid may be somebody
 * else's by now.
 */
async function endPredecessor(home: Home): Promise<void> {
  const pid = Number(postmaster(home)[0]);
  if (!(pid > 0)) return;
  for (const end = Date.now() + STOP_MS; Date.now() < end; await sleep(POLL_MS)) {
    if (!(await isServer(pid, home))) {
      rmSync(join(home.data, 'postmaster.pid'), { force: true });
      return;
    }
    signal(pid, 'SIGINT');
  }
  signal(pid, 'SIGQUIT');
}

async function isServer(pid: number, home: Home): Promise<boolean> {
  try {
    const file = `/proc/${pid}/cmdline`;
    const command = existsSync('/proc/self/cmdline')
      ? readFileSync(file, 'utf8')
      : await run('/bin/ps', ['-o', 'command=', '-p', String(pid)], { user: null });
    return command.includes(home.data);
  } catch {
    return false;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    if (pid > 1) process.kill(pid, name);
  } catch {
    // It is gone already.
  }
}

function postmaster(home: Home): string[] {
  try {
    return readFileSync(join(home.data, 'postmaster.pid'), 'utf8').split('\n');
  } catch {
    return [];
  }
}

/** The content of a private file, made by `make` when it is not there. */
export function keep(path: string, make: () => string): string {
  if (!existsSync(path)) {
    writeFileSync(`${path}.new`, `${make()}\n`, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }
  return readFileSync(path, 'utf8').trim();
}

async function isFree(port: number): Promise<boolean> {
  return port > 0 && (await listenOnce(port)) === port;
}

async function freePort(): Promise<number> {
  const port = await listenOnce(0);
  if (port === null) throw new UserError('no free port on 127.0.0.1 for the demo’s PostgreSQL');
  return port;
}

function listenOnce(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.on('error', () => resolve(null));
    probe.listen(port, '127.0.0.1', () => {
      const at = probe.address();
      probe.close(() => resolve(typeof at === 'object' && at ? at.port : null));
    });
  });
}
