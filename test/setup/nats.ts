// Finds (or builds) a real nats-server and runs it with JetStream on a random port.
// Invariant: what it starts it stops, and its folder goes with it.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { access, constants, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './port.ts';

/** The version built when the machine has none. */
export const NATS_SERVER = 'github.com/nats-io/nats-server/v2@v2.14.0';

const CACHE = join(import.meta.dirname, '..', '..', '.cache', 'bin');
let found: Promise<string> | null = null;

/**
 * Path of a nats-server: PATH, ~/go/bin, .cache/bin, Debian's; else built with Go from the module
 * proxy.
 */
export function findNatsServer(): Promise<string> {
  found ??= find();
  return found;
}

async function find(): Promise<string> {
  const folders = [
    ...(process.env.PATH ?? '').split(delimiter),
    join(homedir(), 'go', 'bin'),
    CACHE,
    '/usr/sbin',
  ];
  for (const folder of folders) {
    const file = join(folder, 'nats-server');
    if (folder !== '' && (await runnable(file))) return file;
  }
  await mkdir(CACHE, { recursive: true });
  try {
    await promisify(execFile)('go', ['install', NATS_SERVER], {
      env: { ...process.env, GOBIN: CACHE },
    });
  } catch (cause) {
    throw new Error(
      `no nats-server on PATH, in ~/go/bin or .cache/bin, and Go could not build ${NATS_SERVER}: ` +
        'install one (Debian: apt-get install nats-server) and run again',
      { cause },
    );
  }
  return join(CACHE, 'nats-server');
}

async function runnable(file: string): Promise<boolean> {
  return await access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

export interface RunningNats {
  readonly url: string;
  readonly port: number;
  /** kill -9, as a bad night does it. */
  kill(): Promise<void>;
  /** The same port and folder again; nothing to do where it runs. */
  start(): Promise<void>;
  restart(): Promise<void>;
  close(): Promise<void>;
}

export async function startNats(): Promise<RunningNats> {
  const binary = await findNatsServer();
  const folder = await mkdtemp(join(tmpdir(), 'holdpoint-nats-'));
  const port = await freePort();
  let child: ChildProcess | null = null;
  const start = async () => {
    if (child !== null) return;
    const args = ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', folder];
    child = spawn(binary, args, { stdio: 'ignore' });
    await answering(port);
  };
  const kill = async () => {
    const running = child;
    child = null;
    if (!running || running.exitCode !== null || running.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => running.once('exit', () => resolve()));
    running.kill('SIGKILL');
    await gone;
  };
  await start();
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    kill,
    start,
    restart: async () => {
      await kill();
      await start();
    },
    close: async () => {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function answering(port: number): Promise<void> {
  for (let i = 0; i < 2400; i++) {
    const ok = await new Promise<boolean>((resolve) => {
      const socket = createConnection({ host: '127.0.0.1', port });
      socket.once('data', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
    if (ok) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`nats-server did not answer on port ${port} within a minute`);
}
