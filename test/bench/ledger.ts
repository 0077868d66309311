// `npm run bench:ledger`: what durable and provable costs beside a bare fdatasync, in one run.
// Invariant: arms take turns in every round, so that a busy machine slows all alike; the bytes of
// the bare writes are those of the ledger's entry; every measured append was answered.
//
//   npm run bench:ledger                       about a minute
//   npm run bench:ledger -- --growth=10000000  also the cost per append as the log grows (long)
import {
  close,
  constants,
  fdatasync,
  mkdtempSync,
  openSync,
  rmSync,
  write,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeEntry } from '../../ledger/canonical.ts';
import { type Ledger, openLedger } from '../../ledger/ledger.ts';
import { parseVkey } from '../../ledger/note.ts';
import { verifyLog } from '../../ledger/verify.ts';
import { appendOf } from '../ledger/entries.ts';

const growthTo = Number(process.argv.find((word) => word.startsWith('--growth='))?.slice(9) ?? 0);
const ROUNDS = 7;
const PER_ROUND = 150;
const WRITERS = [1, 16, 256] as const;
const ENTRIES = { 1: 3_000, 16: 20_000, 256: 60_000 } as const;

const directory = mkdtempSync(
  join(process.env.HOLDPOINT_BENCH_DIR ?? tmpdir(), 'holdpoint-bench-'),
);
const say = (text: string): boolean => process.stdout.write(`${text}\n`);
let number = 0;

function quantile(times: number[], q: number): number {
  const sorted = times.sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;
}

function ms(value: number): string {
  return `${value.toFixed(3)} ms`;
}

const bytes = encodeEntry(appendOf(1)).subarray(2);

/** Appends to a growing file, then fdatasync: what a careful program does at first. */
function bareAppend(): { step: () => Promise<void>; end: () => void } {
  const fd = openSync(join(directory, 'bare-append'), 'w');
  const step = (): Promise<void> =>
    new Promise((resolve, reject) => {
      writeSync(fd, bytes);
      fdatasync(fd, (error) => (error === null ? resolve() : reject(error)));
    });
  return { step, end: () => close(fd) };
}

/** Overwrites a file that has its blocks already, with O_DSYNC: the least this disk can do. */
function bareOverwrite(): { step: () => Promise<void>; end: () => void } {
  const path = join(directory, 'bare-overwrite');
  const size = 16 * 1024 * 1024;
  const made = openSync(path, 'w');
  writeSync(made, Buffer.alloc(size));
  const fd = openSync(path, constants.O_RDWR | constants.O_DSYNC);
  close(made);
  let at = 0;
  const step = (): Promise<void> =>
    new Promise((resolve, reject) => {
      write(fd, bytes, 0, bytes.length, at, (error) =>
        error === null ? resolve() : reject(error),
      );
      at = (at + 4096) % size;
    });
  return { step, end: () => close(fd) };
}

async function timed(step: () => Promise<unknown>, into: number[], count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const started = performance.now();
    await step();
    into.push(performance.now() - started);
  }
}

async function latency(ledger: Ledger): Promise<void> {
  const append = bareAppend();
  const overwrite = bareOverwrite();
  const arms = [
    { name: 'bare append + fdatasync', step: append.step, times: [] as number[] },
    { name: 'bare overwrite, O_DSYNC', step: overwrite.step, times: [] as number[] },
    {
      name: 'ledger, to proof',
      step: () => ledger.append([appendOf(number++)]),
      times: [] as number[],
    },
  ];
  for (const arm of arms) await timed(arm.step, [], 50);
  for (let round = 0; round < ROUNDS; round++) {
    for (const arm of arms) await timed(arm.step, arm.times, PER_ROUND);
  }
  append.end();
  overwrite.end();
  const bare = quantile(arms[0]?.times ?? [], 0.5);
  say(`\nOne writer, ${bytes.length} bytes an entry, ${ROUNDS * PER_ROUND} each, arms in turn:`);
  for (const { name, times } of arms) {
    const [p50, p99] = [quantile(times, 0.5), quantile(times, 0.99)];
    const ratio = (p50 / bare).toFixed(2);
    say(`  ${name.padEnd(26)} p50 ${ms(p50)}  p99 ${ms(p99)}  ${ratio} × bare append`);
  }
}

async function throughput(ledger: Ledger, writers: (typeof WRITERS)[number]): Promise<void> {
  let left: number = ENTRIES[writers];
  const times: number[] = [];
  const cpu = process.cpuUsage();
  const started = performance.now();
  const writer = async (): Promise<void> => {
    while (left-- > 0) {
      const begun = performance.now();
      await ledger.append([appendOf(number++)]);
      times.push(performance.now() - begun);
    }
  };
  await Promise.all(Array.from({ length: writers }, writer));
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const rate = Math.round(times.length / seconds);
  const each = ((user + system) / times.length).toFixed(0);
  const [p50, p99] = [quantile(times, 0.5), quantile(times, 0.99)];
  say(
    `  ${String(writers).padStart(3)} writers  ${String(rate).padStart(6)} entries/s  ` +
      `p50 ${ms(p50)}  p99 ${ms(p99)}  ${each} µs CPU an entry (index thread included)`,
  );
}

/**
 * Cost and memory as a log of its own grows: batches of 1,000, sampled at each power of ten. The
 * single appends are timed once the index has caught up, as in a log that is not being filled.
 */
async function growth(ledger: Ledger, to: number): Promise<void> {
  say(`\nGrowth to ${to} entries (batches of 1,000; single appends timed at the marks):`);
  for (let mark = 10_000; ledger.size < to; mark *= 10) {
    const next = Math.min(mark, to);
    const first = ledger.size;
    const [started, cpu] = [performance.now(), process.cpuUsage()];
    while (ledger.size < next) {
      const batch = Math.min(1000, next - ledger.size);
      await ledger.append(Array.from({ length: batch }, () => appendOf(number++)));
    }
    const written = Math.max(1, ledger.size - first);
    const each = ((performance.now() - started) * 1000) / written;
    await ledger.publish(true);
    const { user, system } = process.cpuUsage(cpu);
    const times: number[] = [];
    await timed(() => ledger.append([appendOf(number++)]), times, 300);
    const memory = Math.round(process.memoryUsage().rss / 1024 / 1024);
    say(
      `  at ${String(ledger.size).padStart(9)}: ${each.toFixed(1)} µs an entry in batches, ` +
        `${((user + system) / written).toFixed(1)} µs CPU (index thread included), ` +
        `single p50 ${ms(quantile(times, 0.5))} p99 ${ms(quantile(times, 0.99))}, ${memory} ` +
        'MiB resident',
    );
  }
}

async function verifying(ledger: Ledger): Promise<void> {
  await ledger.publish();
  const started = performance.now();
  const result = await verifyLog({
    directory: ledger.directory,
    verifier: parseVkey(ledger.publicKey),
  });
  const seconds = (performance.now() - started) / 1000;
  if (!result.ok) throw new Error(`the log does not verify: ${result.findings[0]?.what}`);
  say(
    `\nVerify: ${result.entries} entries in ${seconds.toFixed(2)} s, ` +
      `${Math.round(result.entries / seconds)} entries/s`,
  );
}

try {
  const ledger = await openLedger({
    directory: join(directory, 'ledger'),
    origin: 'example.com/bench',
  });
  await latency(ledger);
  say('\nDurable and provable, each writer one entry at a time:');
  for (const writers of WRITERS) await throughput(ledger, writers);
  await verifying(ledger);
  await ledger.close();
  if (growthTo > 0) {
    const growing = { directory: join(directory, 'growing'), origin: 'example.com/growing' };
    const large = await openLedger(growing);
    await growth(large, growthTo);
    await verifying(large);
    await large.close();
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
