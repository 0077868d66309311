// The ways that `npm run bench` compares: straight, PgBouncer, a bare pipe, Holdpoint that observes
// and that enforces.
// Invariant: every arm reaches the same database of the same server, each relay in a process of its
// own.
import { type ChildProcess, spawn } from 'node:child_process';
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Login } from '../peers/client.ts';
import { type HoldpointOptions, startHoldpoint } from '../setup/holdpoint.ts';
import { freePort } from '../setup/port.ts';
import { type PostgresServer, serverUser } from '../setup/postgres.ts';
import { findProgram } from '../setup/programs.ts';

export interface Arm {
  readonly name: string;
  readonly login: Login;
  /** The relay's process; null for none. */
  readonly pid: number | null;
  close(): Promise<void>;
}

export function direct(server: PostgresServer, database: string): Arm {
  return { name: 'direct', login: { ...server, database }, pid: null, close: async () => {} };
}

async function listening(port: number, child: ChildProcess, name: string): Promise<void> {
  for (let tries = 0; tries < 200 && child.exitCode === null; tries++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = createConnection(port, '127.0.0.1');
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`${name} does not listen on ${port}`);
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exit;
}

/**
 * One connection upstream for each client, as Holdpoint has it. null when PgBouncer is not on this
 * machine.
 */
export async function pgbouncer(server: PostgresServer, database: string): Promise<Arm | null> {
  const program = findProgram('pgbouncer');
  if (program === null) return null;
  const folder = await mkdtemp(join(tmpdir(), 'holdpoint-pgbouncer-'));
  const port = await freePort();
  await writeFile(join(folder, 'users'), `"${server.user}" "${server.password}"\n`);
  const settings = [
    '[databases]',
    `* = host=${server.host} port=${server.port}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'pool_mode = session',
    'auth_type = trust',
    `auth_file = ${join(folder, 'users')}`,
    'max_client_conn = 1000',
    'default_pool_size = 500',
    'ignore_startup_parameters = extra_float_digits',
    'log_connections = 0',
    'log_disconnections = 0',
  ];
  await writeFile(join(folder, 'pgbouncer.ini'), `${settings.join('\n')}\n`);
  const user = serverUser();
  if (user !== null) {
    for (const path of [folder, join(folder, 'users'), join(folder, 'pgbouncer.ini')]) {
      await chown(path, user.uid, user.gid);
    }
  }
  const child = spawn(program, ['-q', join(folder, 'pgbouncer.ini')], {
    stdio: 'ignore',
    cwd: folder,
    ...user,
  });
  await listening(port, child, 'PgBouncer');
  return {
    name: 'pgbouncer',
    login: { ...server, port, database },
    pid: child.pid ?? null,
    close: async () => {
      await ended(child);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** What Node costs when it only moves bytes. */
export async function pipe(server: PostgresServer, database: string): Promise<Arm> {
  const port = await freePort();
  const script = `
    const { createServer, createConnection } = require('node:net');
    createServer({ noDelay: true }, (client) => {
      const to = { port: ${server.port}, host: '${server.host}', noDelay: true };
      const upstream = createConnection(to);
      client.pipe(upstream);
      upstream.pipe(client);
      for (const socket of [client, upstream]) socket.on('error', () => socket.destroy());
    }).listen(${port}, '127.0.0.1');
    process.on('disconnect', () => process.exit());`;
  const child = spawn(process.execPath, ['-e', script], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  await listening(port, child, 'the pipe');
  const login = { ...server, port, database };
  return { name: 'node pipe', login, pid: child.pid ?? null, close: () => ended(child) };
}

export async function holdpoint(
  name: string,
  server: PostgresServer,
  database: string,
  options: Partial<HoldpointOptions> = {},
): Promise<Arm> {
  const target = { ...server, database };
  const started = await startHoldpoint({ target, child: true, tls: 'off', ...options });
  return {
    name,
    login: started.login,
    pid: started.child?.pid ?? null,
    close: async () => {
      const complaints = started.complaints.trim();
      if (complaints !== '') process.stderr.write(`${name}: ${complaints}\n`);
      await started.close();
    },
  };
}
