// What is measured of an arm: pgbench's rate and latencies, CPU of the relay's process, its memory.
// Invariant: CPU and memory are the kernel's own figures of that one process.
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { RawClient } from '../peers/client.ts';
import { query } from '../peers/messages.ts';
import { program } from '../setup/programs.ts';
import type { Arm } from './arms.ts';

const run = promisify(execFile);
const TICKS = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

export interface Rate {
  readonly tps: number;
  /** Median of one transaction in microseconds. */
  readonly median: number;
  /** CPU of the relay, microseconds a transaction; null without one. */
  readonly cpu: number | null;
}

export type Protocol = 'simple' | 'prepared';

/** User and system time so far, in microseconds. */
export function cpuOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) / TICKS) * 1e6;
}

/** Resident memory in bytes. */
export function memoryOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}

export async function selectOnly(
  arm: Arm,
  protocol: Protocol,
  clients: number,
  seconds: number,
): Promise<Rate> {
  const { host, port, user, password, database } = arm.login;
  const folder = await mkdtemp(join(tmpdir(), 'holdpoint-bench-'));
  // Every latency of one client; a sample of many, so that writing them down costs little.
  const log = ['-l', `--log-prefix=${join(folder, 'log')}`];
  const sample = clients > 1 ? ['--sampling-rate=0.1'] : [];
  const load = ['-n', '-S', '-M', protocol, '-c', String(clients), '-j', clients > 1 ? '2' : '1'];
  const to = ['-T', String(seconds), '-h', host, '-p', String(port), '-U', user, database];
  const before = arm.pid === null ? 0 : cpuOf(arm.pid);
  try {
    const env = { ...process.env, PGPASSWORD: password, PGSSLMODE: 'disable' };
    const args = [...load, ...log, ...sample, ...to];
    const { stdout } = await run(program('pgbench'), args, { env });
    const cpu = arm.pid === null ? null : cpuOf(arm.pid) - before;
    const done = Number(/actually processed: (\d+)/.exec(stdout)?.[1]);
    const tps = Number(/^tps = ([\d.]+)/m.exec(stdout)?.[1]);
    if (!/failed transactions: 0 /.test(stdout)) throw new Error(`${arm.name}: ${stdout}`);
    const latencies: number[] = [];
    for (const file of await readdir(folder)) {
      const text = await readFile(join(folder, file), 'latin1');
      for (const line of text.split('\n'))
        if (line !== '') latencies.push(Number(line.split(' ')[2]));
    }
    return { tps, median: median(latencies), cpu: cpu === null ? null : cpu / done };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export interface Stream {
  readonly bytes: number;
  readonly seconds: number;
  /** How much the relay's memory grew at its worst; null without one. */
  readonly growth: number | null;
}

/** Reads a large result and throws it away as it comes. */
export async function largeResult(arm: Arm, megabytes: number): Promise<Stream> {
  const client = await RawClient.login(arm.login);
  client.send(query('select 1'));
  await client.replies();
  const { socket } = client;
  socket.removeAllListeners('data');
  const before = arm.pid === null ? 0 : memoryOf(arm.pid);
  let worst = before;
  const watch = setInterval(() => {
    if (arm.pid !== null) worst = Math.max(worst, memoryOf(arm.pid));
  }, 20);
  const began = performance.now();
  let bytes = 0;
  const done = new Promise<void>((resolve, reject) => {
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (chunk.length >= 6 && chunk.readUInt8(chunk.length - 6) === 0x5a) resolve();
    });
    socket.once('close', () => reject(new Error(`${arm.name}: the connection ended`)));
  });
  client.send(query(`select repeat('x', 1000) from generate_series(1, ${megabytes * 1000})`));
  await done;
  const seconds = (performance.now() - began) / 1000;
  clearInterval(watch);
  await client.end();
  return { bytes, seconds, growth: arm.pid === null ? null : worst - before };
}

/** Resident bytes that one more idle, logged-in connection costs the relay. */
export async function idleConnection(arm: Arm, first: number, more: number): Promise<number> {
  if (arm.pid === null) return 0;
  const open: RawClient[] = [];
  const grow = async (count: number) => {
    for (let i = 0; i < count; i += 20) {
      const batch = Array.from({ length: 20 }, () => RawClient.login(arm.login));
      open.push(...(await Promise.all(batch)));
    }
    await new Promise((resolve) => setTimeout(resolve, 1500));
  };
  await grow(first);
  const before = memoryOf(arm.pid);
  await grow(more);
  const grown = memoryOf(arm.pid) - before;
  await Promise.all(open.map((client) => client.end()));
  return grown / more;
}
