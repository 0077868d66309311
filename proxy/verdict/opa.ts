// The real `opa`: where it is, how it is got, and one way to run it.
// Invariant: nothing is downloaded unless `installOpa` is called, and a download counts only with its pinned digest.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, chmod, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MAX_OPA_OUTPUT, OPA_INSTALL_TIMEOUT_MS, OPA_TIMEOUT_MS } from './limits.ts';

export const OPA_VERSION = '1.22.0';
export const HOW_TO_GET_OPA =
  `put opa ${OPA_VERSION} on PATH, or run \`go install github.com/open-policy-agent/opa@v${OPA_VERSION}\`, ` +
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

/** On PATH, in ~/go/bin, in .cache/bin; null when it is in none. `HOLDPOINT_OPA=none` says there is none. */
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

/** Finds opa, or gets it: `go install` into .cache/bin, else the official release. */
export async function installOpa(): Promise<string> {
  const found = await findOpa();
  if (found !== null) return found;
  await mkdir(CACHE_BIN, { recursive: true });
  const path = join(CACHE_BIN, 'opa');
  const go = await run('go', ['install', `github.com/open-policy-agent/opa@v${OPA_VERSION}`], {
    timeout: OPA_INSTALL_TIMEOUT_MS,
    env: { ...process.env, GOBIN: CACHE_BIN },
  });
  if (go.code === 0) return path;
  await download(path);
  return path;
}

/** SHA-256 of the official static binaries, from the release's own .sha256 files. */
const RELEASES: {
  readonly [platform: string]: { readonly file: string; readonly sha256: string };
} = {};

async function download(path: string): Promise<void> {
  const release = RELEASES[`${process.platform}-${process.arch}`];
  if (release === undefined) {
    throw new Error(
      `opa can't be downloaded for ${process.platform}-${process.arch}: ${HOW_TO_GET_OPA}`,
    );
  }
  const url = `https://github.com/open-policy-agent/opa/releases/download/v${OPA_VERSION}/${release.file}`;
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`opa can't be downloaded: ${url} answers ${answer.status}`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  if (sha256 !== release.sha256) {
    throw new Error(`opa from ${url} has SHA-256 ${sha256}, expected ${release.sha256}: not used`);
  }
  const part = `${path}.${process.pid}.part`;
  try {
    await writeFile(part, bytes);
    await chmod(part, 0o755);
    await rename(part, path);
  } finally {
    await rm(part, { force: true });
  }
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

/** Runs a command to its end; a time-out, a missing program or a signal is a code other than 0 with the reason in stderr. */
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
