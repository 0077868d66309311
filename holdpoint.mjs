#!/usr/bin/env node
// The way in for any Node from 20 on: installs what is missing, then goes on under the Node that
// package.json names.
// Invariant: signals, exit code and the three streams are those of the real process; nothing else
// happens here but the size of its thread pool.
//
//   holdpoint.mjs COMMAND …            runs cli/main.ts
//   holdpoint.mjs --script FILE …      runs a TypeScript file of the repository
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const OLDEST = [20, 0];
/** TypeScript without flags, node:sqlite and what else the code takes for granted. */
const WANTED = [26, 0];

const root = dirname(fileURLToPath(import.meta.url));
const windows = process.platform === 'win32';
const node = join(root, 'node_modules', 'node', 'bin', windows ? 'node.exe' : 'node');

function isAtLeast([major, minor]) {
  const [ours = 0, oursMinor = 0] = process.versions.node.split('.').map(Number);
  return ours > major || (ours === major && oursMinor >= minor);
}

function leave(message) {
  process.stderr.write(`holdpoint: ${message}\n`);
  process.exit(1);
}

function packagesOf(file) {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).packages : null;
}

/**
 * Every package that the lock names is there in its version; what only development or another
 * platform wants may lack.
 */
function isInstalled() {
  const wanted = packagesOf(join(root, 'package-lock.json'));
  const there = packagesOf(join(root, 'node_modules', '.package-lock.json'));
  if (!there || (!isAtLeast(WANTED) && !existsSync(node))) return false;
  return Object.entries(wanted ?? {}).every(([path, { version, dev, optional, devOptional }]) => {
    if (path === '' || dev || optional || devOptional) return true;
    return there[path]?.version === version;
  });
}

function install() {
  process.stderr.write('holdpoint: installing packages (npm ci), once …\n');
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
  const options = { cwd: root, stdio: ['ignore', 2, 2], shell: windows };
  const { status, error } = spawnSync('npm', args, options);
  if (error) leave(`can't run npm (${error.message}): install npm, then try again`);
  if (status !== 0) leave(`npm ci failed with ${status}: see above, then try again`);
  if (!isAtLeast(WANTED) && !existsSync(node)) {
    leave('the package "node" brought no program: allow its install script (npm rebuild node)');
  }
}

function script() {
  const [first, file, ...rest] = process.argv.slice(2);
  if (first !== '--script') return [join(root, 'cli', 'main.ts'), ...process.argv.slice(2)];
  if (file === undefined) leave('--script wants a file');
  return [existsSync(resolve(file)) ? resolve(file) : join(root, file), ...rest];
}

// Syncs of store and ledger take threads of this pool for as long as the disk likes; signatures and
// name look-ups, which take them for a moment, should not stand behind those.
process.env.UV_THREADPOOL_SIZE ??= '16';

if (!isAtLeast(OLDEST)) leave(`Node ${OLDEST[0]} or newer is needed, this is ${process.version}`);
if (!isInstalled()) install();

const [file, ...args] = script();
if (isAtLeast(WANTED)) {
  process.argv = [process.execPath, file, ...args];
  await import(pathToFileURL(file).href);
} else {
  // The channel tells the real process when this one is gone, even by SIGKILL: see cli/start.ts.
  const options = { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] };
  const flags = ['--disable-warning=ExperimentalWarning'];
  const child = spawn(node, [...flags, file, ...args], options);
  child.on('error', (error) => leave(`can't run ${node}: ${error.message}`));
  // A terminal sends Ctrl-C to the whole group, so the child may have it twice: cli/start.ts takes
  // that for once.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => {
    process.exit(signal === null ? (code ?? 1) : 128 + (constants.signals[signal] ?? 0));
  });
}
