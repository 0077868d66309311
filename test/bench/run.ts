// `npm run bench`: what Holdpoint costs beside the other ways to the same database, in one run.
// Invariant: arms take turns in every round, so that a busy machine slows all of them alike;
// medians count.
//
//   npm run bench              about six minutes
//   npm run bench -- --quick   less than one

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type PostgresServer, startPostgres } from '../setup/postgres.ts';
import { installMissing, program } from '../setup/programs.ts';
import { type Arm, direct, holdpoint, pgbouncer, pipe } from './arms.ts';
import {
  idleConnection,
  largeResult,
  median,
  type Protocol,
  type Rate,
  type Stream,
  selectOnly,
} from './measure.ts';

const QUICK = process.argv.includes('--quick');
const ONLY = process.argv.find((word) => word.startsWith('--only='))?.slice(7);
const PLAN = QUICK
  ? { rounds: 2, seconds: 1, scale: 5, megabytes: 200, streams: 1, idle: [50, 100] as const }
  : { rounds: 5, seconds: 2, scale: 10, megabytes: 1000, streams: 3, idle: [100, 300] as const };
const LOADS: readonly { readonly protocol: Protocol; readonly clients: number }[] = [
  { protocol: 'simple', clients: 1 },
  { protocol: 'simple', clients: 16 },
  { protocol: 'prepared', clients: 1 },
  { protocol: 'prepared', clients: 16 },
];

const say = (text: string): boolean => process.stdout.write(`${text}\n`);

function table(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((name, i) =>
    Math.max(name.length, ...rows.map((row) => (row[i] ?? '').length)),
  );
  const print = (row: readonly string[]) =>
    say(
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
        .join('  '),
    );
  print(head);
  for (const row of rows) print(row);
  say('');
}

/** Every arm once a round, each round beginning with another. */
async function interleaved<T>(
  arms: readonly Arm[],
  rounds: number,
  measure: (arm: Arm) => Promise<T>,
): Promise<Map<Arm, T[]>> {
  const found = new Map<Arm, T[]>(arms.map((arm) => [arm, []]));
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < arms.length; i++) {
      const arm = arms[(i + round) % arms.length];
      if (arm !== undefined) found.get(arm)?.push(await measure(arm));
    }
  }
  return found;
}

function fixed(value: number, digits = 2): string {
  return Number.isFinite(value) ? value.toFixed(digits) : '-';
}

async function throughput(arms: readonly Arm[]): Promise<void> {
  // Compilers, caches and buffers: every arm has served a while before anything is measured.
  for (const arm of arms) await selectOnly(arm, 'simple', 4, PLAN.seconds + 1);
  for (const { protocol, clients } of LOADS) {
    const rates = await interleaved(arms, PLAN.rounds, (arm) =>
      selectOnly(arm, protocol, clients, PLAN.seconds),
    );
    const of = (arm: Arm | undefined, read: (rate: Rate) => number) =>
      arm === undefined ? Number.NaN : median((rates.get(arm) ?? []).map(read));
    const bouncer = arms.find((arm) => arm.name === 'pgbouncer');
    const bare = arms.find((arm) => arm.name === 'node pipe');
    const straight = of(arms[0], (r) => r.median);
    const added = (arm: Arm | undefined) => of(arm, (r) => r.median) - straight;
    say(`pgbench select-only, ${protocol}, ${clients} client${clients === 1 ? '' : 's'}`);
    table(
      ['arm', 'tps', 'of pgbouncer', 'median µs', 'added µs', 'of pipe’s', 'CPU µs/stmt'],
      arms.map((arm) => [
        arm.name,
        fixed(
          of(arm, (r) => r.tps),
          0,
        ),
        fixed(of(arm, (r) => r.tps) / of(bouncer, (r) => r.tps)),
        fixed(
          of(arm, (r) => r.median),
          0,
        ),
        fixed(added(arm), 0),
        fixed(added(arm) / added(bare)),
        fixed(
          of(arm, (r) => r.cpu ?? Number.NaN),
          1,
        ),
      ]),
    );
  }
}

async function streams(arms: readonly Arm[]): Promise<void> {
  for (const arm of arms) await largeResult(arm, 50);
  const found = await interleaved(arms, PLAN.streams, (arm) => largeResult(arm, PLAN.megabytes));
  const speed = (arm: Arm | undefined) =>
    arm === undefined
      ? Number.NaN
      : median((found.get(arm) ?? []).map((s: Stream) => s.bytes / s.seconds / 1e6));
  say(`one result of ${PLAN.megabytes} MB`);
  table(
    ['arm', 'MB/s', 'of direct', 'memory grew by MB'],
    arms.map((arm) => [
      arm.name,
      fixed(speed(arm), 0),
      fixed(speed(arm) / speed(arms[0])),
      fixed(Math.max(...(found.get(arm) ?? []).map((s) => s.growth ?? Number.NaN)) / 2 ** 20, 1),
    ]),
  );
}

async function idle(arms: readonly Arm[]): Promise<void> {
  const [first, more] = PLAN.idle;
  const rows: string[][] = [];
  for (const arm of arms) {
    rows.push([arm.name, fixed((await idleConnection(arm, first, more)) / 1024, 1)]);
  }
  say(`one more idle connection (of ${more}, after ${first})`);
  table(['arm', 'KB'], rows);
}

/** A policy of so many rules about as many tables, none of which the benchmark touches. */
function manyRules(count: number): string {
  const rules = Array.from(
    { length: count - 1 },
    (_, i) => `deny contains {"rule": "r${i}", "reason": "no"} if {
	input.effect.class != "read"
	some object in input.effect.objects
	object.name == "table_${i}"
}`,
  );
  return `package holdpoint.policy

allow contains {"rule": "all", "reason": "yes"} if input.effect.class == "read"

${rules.join('\n\n')}
`;
}

async function rules(server: PostgresServer, database: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'holdpoint-rules-'));
  const arms: Arm[] = [];
  try {
    for (const count of [10, 1000]) {
      const policy = join(folder, `${count}.rego`);
      await writeFile(policy, manyRules(count));
      arms.push(await holdpoint(`${count} rules`, server, database, { policy }));
    }
    for (const arm of arms) await selectOnly(arm, 'simple', 4, PLAN.seconds + 1);
    const found = await interleaved(arms, PLAN.rounds, (arm) =>
      selectOnly(arm, 'simple', 1, PLAN.seconds),
    );
    const of = (arm: Arm, read: (rate: Rate) => number) => median((found.get(arm) ?? []).map(read));
    say('rules in the policy, simple, 1 client');
    table(
      ['arm', 'tps', 'median µs', 'CPU µs/stmt'],
      arms.map((arm) => [
        arm.name,
        fixed(
          of(arm, (r) => r.tps),
          0,
        ),
        fixed(
          of(arm, (r) => r.median),
          0,
        ),
        fixed(
          of(arm, (r) => r.cpu ?? Number.NaN),
          1,
        ),
      ]),
    );
  } finally {
    for (const arm of arms) await arm.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function initialise(server: PostgresServer): Promise<string> {
  const database = await server.createDatabase();
  const env = { ...process.env, PGPASSWORD: server.password };
  const to = ['-h', server.host, '-p', String(server.port), '-U', server.user, database];
  await promisify(execFile)(program('pgbench'), ['-i', '-q', '-s', String(PLAN.scale), ...to], {
    env,
  });
  return database;
}

async function main(): Promise<void> {
  const done = await installMissing(['pgbench', 'pgbouncer']);
  if (done !== null) say(done);
  const server = await startPostgres({ version: 18, settings: { max_connections: '600' } });
  const arms: Arm[] = [];
  try {
    const database = await initialise(server);
    arms.push(direct(server, database));
    const bouncer = await pgbouncer(server, database);
    if (bouncer === null) say('PgBouncer is not on this machine: its ratios are missing');
    else arms.push(bouncer);
    arms.push(await pipe(server, database));
    arms.push(await holdpoint('observe', server, database, { enforce: false }));
    arms.push(await holdpoint('enforce', server, database));
    say(`${availableParallelism()} cores, scale ${PLAN.scale}, ${PLAN.rounds} rounds\n`);
    const parts: { readonly [name: string]: () => Promise<void> } = {
      throughput: () => throughput(arms),
      streams: () => streams(arms),
      idle: () => idle(arms.filter((arm) => arm.pid !== null && arm.name !== 'observe')),
      rules: () => rules(server, database),
      effect: async () => {
        say('judging beside parsing');
        await import('./effect.ts');
      },
      catalog: async () => {
        say('');
        await import('./catalog.ts');
      },
    };
    for (const [name, part] of Object.entries(parts)) {
      if (ONLY === undefined ? !(QUICK && name === 'rules') : ONLY.split(',').includes(name)) {
        await part();
      }
    }
  } finally {
    for (const arm of arms) await arm.close();
    await server.stop();
  }
}

await main();
