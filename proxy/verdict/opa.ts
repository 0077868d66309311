// The real `opa`: where it is, how it is got, and one way to run it.
// Invariant: nothing is downloaded unless `installOpa` is called, and then by Go, which checks what
// it gets.
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MAX_OPA_OUTPUT, OPA_INSTALL_TIMEOUT_MS, OPA_TIMEOUT_MS } from './limits.ts';

export const OPA_VERSION = '1.22.0';
const GO_PACKAGE = `github.com/open-policy-agent/opa@v${OPA_VERSION}`;
export const HOW_TO_GET_OPA =
  `put opa ${OPA_VERSION} on PATH, or run \`go install ${GO_PACKAGE}\`, ` +
  'or download it from https://github.com/open-policy-agent/opa/releases';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CACHE_BIN = join(ROOT, '.cache', 'bin');

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * On PATH, in ~/go/bin, in .cache/bin; null when it is in none. `HOLDPOINT_OPA=none` says there is
 * none.
 */
export async function findOpa(): Promise<string | null> {
  const given = process.env.HOLDPOINT_OPA;
  if (given === 'none') return null;
  if (given !== undefined && given !== '') return (await isExecutable(given)) ? given : null;
  const places = (process.env.PATH ?? '').split(delimiter).filter((p) => p !== '');
  for (const place of [...places, join(homedir(), 'go', 'bin'), CACHE_BIN]) {
    const path = join(place, process.platform === 'win32' ? 'opa.exe' : 'opa');
    if (await isExecutable(path)) return path;
  }
  return null;
}

/**
 * Finds opa, or gets it with `go install` into .cache/bin; Go's checksum database vouches for it.
 */
export async function installOpa(): Promise<string> {
  const found = await findOpa();
  if (found !== null) return found;
  await mkdir(CACHE_BIN, { recursive: true });
  const path = join(CACHE_BIN, 'opa');
  const go = await run('go', ['install', GO_PACKAGE], {
    timeout: OPA_INSTALL_TIMEOUT_MS,
    env: { ...process.env, GOBIN: CACHE_BIN },
  });
  if (go.code === 0) return path;
  throw new Error(`opa can't be installed with go: ${go.stderr.trim()}\n${HOW_TO_GET_OPA}`);
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly timeout?: number;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Runs a command to its end; a time-out, a missing program or a signal is a code other than 0 with
 * the reason in stderr.
 */
export function run(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ran> {
  const timeout = options.timeout ?? OPA_TIMEOUT_MS;
  return new Promise((resolve) => {
    execFile(
      program,
      [...args],
      {
        timeout,
        maxBuffer: MAX_OPA_OUTPUT,
        killSignal: 'SIGKILL',
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
        ...(options.env === undefined ? {} : { env: options.env }),
      },
      (error, stdout, stderr) => {
        if (error === null) return resolve({ code: 0, stdout, stderr });
        const code = typeof error.code === 'number' ? error.code : 1;
        const why = error.killed === true ? `${program} was stopped after ${timeout} ms` : '';
        const said = stderr !== '' || stdout !== '' ? stderr : error.message;
        resolve({ code, stdout, stderr: [why, said].filter((s) => s !== '').join('\n') });
      },
    );
  });
}
