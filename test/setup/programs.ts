// Finds the outside programs that tests drive (psql, pgbench, PgBouncer, Chromium, Debian's
// PostgreSQL).
// Invariant: a missing program is a skip with the way to get it; under CI=true it is a failure,
// never a skip.
import { execFile, spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const IN_CI = process.env.CI === 'true' || process.env.CI === '1';
export const IS_ROOT = process.getuid?.() === 0;

export type Program =
  | 'psql'
  | 'pgbench'
  | 'pgbouncer'
  | 'chromium'
  | 'psycopg'
  | 'sqlalchemy'
  | 'django'
  | 'extensions';

/** The Debian packages that carry each program, for the message and for the installation. */
const PACKAGES: { readonly [P in Program]: readonly string[] } = {
  psql: ['postgresql-client'],
  pgbench: ['postgresql', 'postgresql-contrib'],
  pgbouncer: ['pgbouncer'],
  chromium: ['chromium'],
  psycopg: ['python3-psycopg'],
  sqlalchemy: ['python3-sqlalchemy', 'python3-psycopg2'],
  django: ['python3-django', 'python3-psycopg2'],
  extensions: ['ip4r', 'hll', 'orafce', 'hypopg'].map((name) => `postgresql-15-${name}`),
};

const DEBIAN_POSTGRES = '/usr/lib/postgresql';

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Folders searched: PATH, then where Debian keeps servers and daemons that are not on PATH. */
function searched(): string[] {
  const folders = (process.env.PATH ?? '').split(delimiter);
  const newestFirst = debianVersions().map((v) => join(DEBIAN_POSTGRES, String(v), 'bin'));
  return [...folders, ...newestFirst, '/usr/sbin', '/usr/local/sbin'].filter((f) => f !== '');
}

export function findProgram(program: Program): string | null {
  if (program === 'psycopg') return pythonWith('psycopg');
  if (program === 'extensions') return extensionsFolder();
  if (program === 'sqlalchemy' || program === 'django') return pythonWith(`${program}, psycopg2`);
  const names =
    program === 'chromium' ? ['chromium', 'chromium-browser', 'google-chrome'] : [program];
  for (const folder of searched()) {
    for (const name of names) {
      if (executable(join(folder, name))) return join(folder, name);
    }
  }
  return null;
}

/**
 * A Python that can import the module; Debian's own first, since its packages are only for that
 * one.
 */
function pythonWith(module: string): string | null {
  const found = ['/usr/bin', ...searched()].map((folder) => join(folder, 'python3'));
  for (const python of new Set(found.filter(executable))) {
    const tried = spawnSync(python, ['-c', `import ${module}`], { stdio: 'ignore' });
    if (tried.status === 0) return python;
  }
  return null;
}

/** Where Debian's PostgreSQL 15 has its extensions, when all that tests want are there. */
function extensionsFolder(): string | null {
  const folder = '/usr/share/postgresql/15/extension';
  const names = PACKAGES.extensions.map((name) => name.replace('postgresql-15-', ''));
  return names.every((name) => existsSync(join(folder, `${name}.control`))) ? folder : null;
}

/** Major versions of Debian's PostgreSQL servers on this machine, newest first. */
export function debianVersions(): number[] {
  if (!existsSync(DEBIAN_POSTGRES)) return [];
  return readdirSync(DEBIAN_POSTGRES)
    .filter((name) => executable(join(DEBIAN_POSTGRES, name, 'bin', 'postgres')))
    .map(Number)
    .sort((a, b) => b - a);
}

export function howToGet(program: Program): string {
  return `apt-get install ${PACKAGES[program].join(' ')}`;
}

/**
 * For `{ skip: skipWithout('psql') }`: false when it is there; in CI a missing program throws
 * instead.
 */
export function skipWithout(...programs: readonly Program[]): string | false {
  for (const program of programs) {
    if (findProgram(program) !== null) continue;
    const message = `${program} is not on this machine: ${howToGet(program)}`;
    if (IN_CI) throw new Error(message);
    return message;
  }
  return false;
}

/** The program's path, or an error that says how to get it. */
export function program(name: Program): string {
  const found = findProgram(name);
  if (found === null) throw new Error(`${name} is not on this machine: ${howToGet(name)}`);
  return found;
}

/**
 * Installs what is missing through apt, as root only. Answers what it did, or why it could not;
 * null when all is there.
 */
export async function installMissing(programs: readonly Program[]): Promise<string | null> {
  const missing = programs.filter((p) => findProgram(p) === null);
  if (debianVersions().length === 0 && !missing.includes('pgbench')) missing.push('pgbench');
  if (missing.length === 0) return null;
  const packages = [...new Set(missing.flatMap((p) => PACKAGES[p]))];
  const command = `apt-get install ${packages.join(' ')}`;
  if (!IS_ROOT || !executable('/usr/bin/apt-get')) {
    return `missing: ${missing.join(', ')}. Get them with: ${command}`;
  }
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args: string[]) => run('/usr/bin/apt-get', args, { env, maxBuffer: 64 << 20 });
  try {
    await apt('update', '-q');
    await withoutServices(async () => {
      const how = ['-y', '-q', '--no-install-recommends', '-o', 'Dpkg::Options::=--force-confold'];
      await apt('install', ...how, ...packages).catch(async (cause: unknown) => {
        // What this system does not have keeps none of the others away.
        for (const one of missing) await apt('install', ...how, ...PACKAGES[one]).catch(() => {});
        if (missing.some((one) => findProgram(one) === null)) throw cause;
      });
    });
    return `installed ${packages.join(', ')}`;
  } catch (cause) {
    return `could not install ${packages.join(', ')} (${firstLine(cause)}). Try: ${command}`;
  }
}

/** Tests start their own servers: Debian's packages must not start theirs on 5432 and 6432. */
async function withoutServices(install: () => Promise<void>): Promise<void> {
  const policy = '/usr/sbin/policy-rc.d';
  const cluster = '/etc/postgresql-common/createcluster.conf';
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  if (!existsSync(cluster)) {
    mkdirSync(dirname(cluster), { recursive: true });
    writeFileSync(cluster, 'create_main_cluster = false\n');
  }
  try {
    await install();
  } finally {
    if (ours) rmSync(policy, { force: true });
  }
}

function firstLine(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  const lines = message.split('\n').filter((l) => l.startsWith('E:'));
  return lines[0] ?? message.split('\n')[0] ?? '';
}
