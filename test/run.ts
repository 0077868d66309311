// `npm test`: sets up what the tests need, then runs them with node's own test runner.
// Invariant: what could not be had is said with the way to get it, and under CI=true it is a
// failure.
//
//   npm test                        all of test/**/*.test.ts
//   npm test -- clients wire/split  only the files whose path contains one of the words
//   npm test -- --test-name-pattern='copy'   options beginning with -- go to node --test
import { spawn } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import {
  findBinaries,
  howToGetPostgres,
  type PostgresServer,
  sharedVariable,
  startPostgres,
  VERSIONS,
} from './setup/postgres.ts';
import { findProgram, howToGet, IN_CI, installMissing, type Program } from './setup/programs.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = dirname(HERE);
const PROGRAMS: readonly Program[] = [
  'psql',
  'pgbench',
  'pgbouncer',
  'chromium',
  'psycopg',
  'sqlalchemy',
  'django',
  'extensions',
];
/** The longest a test, or a file of them, may take before it counts as hanging. */
const TEST_TIMEOUT_MS = 600_000;

interface Need {
  readonly name: string;
  /** What was found, or null. */
  readonly found: string | null;
  readonly how: string;
}

function filesToRun(words: readonly string[]): string[] {
  const all = globSync('**/*.test.ts', { cwd: HERE })
    .map((file) => join(HERE, file))
    .sort();
  if (words.length === 0) return all;
  return all.filter((file) => words.some((word) => relative(ROOT, file).includes(word)));
}

async function setUpPostgres(started: PostgresServer[]): Promise<Need[]> {
  const needs: Need[] = [];
  for (const version of VERSIONS) {
    const name = `PostgreSQL ${version}`;
    const how = howToGetPostgres(version);
    if (findBinaries(version) === null) {
      needs.push({ name, found: null, how });
      continue;
    }
    try {
      const server = await startPostgres({ version, settings: { max_connections: '200' } });
      started.push(server);
      process.env[sharedVariable(version)] = server.url('postgres');
      needs.push({ name, found: `port ${server.port}`, how });
    } catch (cause) {
      needs.push({ name, found: null, how: `it does not start: ${String(cause)}` });
    }
  }
  return needs;
}

/**
 * A setup file of one outside server says by itself where it found, or how it made, the server's
 * program.
 */
async function setUpBinary(name: string, file: string, finder: string): Promise<Need> {
  const path = join(HERE, 'setup', file);
  const how = `see test/setup/${file}`;
  if (!existsSync(path)) return { name, found: null, how };
  try {
    const module: { [exported: string]: unknown } = await import(pathToFileURL(path).href);
    const find = module[finder];
    if (typeof find !== 'function') throw new Error(`test/setup/${file} exports no ${finder}()`);
    return { name, found: String(await find()), how };
  } catch (cause) {
    return { name, found: null, how: cause instanceof Error ? cause.message : String(cause) };
  }
}

/** Prints what is there and what is not; answers the names of what is missing. */
function report(needs: readonly Need[]): string[] {
  for (const need of needs) {
    const state = need.found ?? `NOT HERE. ${need.how}`;
    process.stdout.write(`  ${need.name.padEnd(14)} ${state}\n`);
  }
  return needs.filter((need) => need.found === null).map((need) => need.name);
}

function runTests(files: readonly string[], options: readonly string[]): Promise<number> {
  const args = [
    '--disable-warning=ExperimentalWarning',
    '--test',
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    `--test-concurrency=${Math.max(2, availableParallelism())}`,
    '--test-reporter=spec',
    ...options,
    ...files,
  ];
  // NODE_TEST_CONTEXT of an outer runner would make the inner one report to it instead of printing.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: 'inherit' });
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  process.on('SIGINT', forward).on('SIGTERM', forward);
  return new Promise((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
}

async function main(): Promise<number> {
  const given = process.argv.slice(2);
  const files = filesToRun(given.filter((word) => !word.startsWith('--')));
  if (files.length === 0) {
    process.stderr.write(`no test file's path contains ${given.join(' or ')}\n`);
    return 1;
  }
  process.stdout.write('Setting up what the tests need:\n');
  const done = await installMissing(PROGRAMS);
  if (done !== null) process.stdout.write(`  ${done}\n`);
  const started: PostgresServer[] = [];
  try {
    const missing = report([
      ...(await setUpPostgres(started)),
      await setUpBinary('nats-server', 'nats.ts', 'findNatsServer'),
      await setUpBinary('opa', 'opa.ts', 'findOpa'),
      ...PROGRAMS.map((name) => ({ name, found: findProgram(name), how: howToGet(name) })),
    ]);
    if (missing.length > 0) {
      process.stdout.write(`Without ${missing.join(', ')} the tests that need it are skipped.\n`);
    }
    const code = await runTests(
      files,
      given.filter((word) => word.startsWith('--')),
    );
    if (missing.length === 0 || !IN_CI) return code;
    process.stdout.write(`CI=true and not here: ${missing.join(', ')}. That is a failure.\n`);
    return 1;
  } finally {
    for (const server of started) await server.stop();
  }
}

process.exitCode = await main();
