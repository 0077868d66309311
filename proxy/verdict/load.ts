// Where a compiled policy comes from: the committed default, the state directory, or opa.
// Invariant: a module is used only when its manifest names this policy text, this library and these
// bytes.
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Compiled,
  compile,
  MANIFEST_FORMAT,
  type Manifest,
  PolicyRejected,
  sha256,
} from './compile.ts';
import type { PolicyData } from './data.ts';
import { Judge } from './decide.ts';
import { Evaluator, messageOf } from './evaluate.ts';
import { MAX_SOURCE_BYTES } from './limits.ts';
import { findOpa, HOW_TO_GET_OPA } from './opa.ts';
import { testPolicy } from './tested.ts';

export const LIBRARY = new URL('library.rego', import.meta.url);
export const DEFAULT_DIRECTORY = new URL('default/', import.meta.url);

/** The texts that make a policy, read together. */
export interface Sources {
  readonly policy: string;
  readonly data: string;
  /** null: the policy has no tests. */
  readonly tests: string | null;
  readonly library: string;
}

export interface PolicyFiles {
  readonly rego: string;
  /**
   * Without one (null or empty) `data` is empty, which the default policy takes as: all is
   * production.
   */
  readonly data: string | null;
  readonly tests?: string;
}

export async function readSources(files: PolicyFiles): Promise<Sources> {
  const text = async (path: string | URL): Promise<string> => {
    const bytes = await readFile(path);
    if (bytes.length > MAX_SOURCE_BYTES) {
      throw new PolicyRejected(`${String(path)} is larger than ${MAX_SOURCE_BYTES} bytes`);
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  };
  return {
    policy: await text(files.rego),
    data: files.data ? await text(files.data) : '{}',
    tests: files.tests === undefined ? null : await text(files.tests),
    library: await text(LIBRARY),
  };
}

/** Names the policy that decides: policy text, data and shipped library. */
export function digestOf(sources: Sources): string {
  const { policy, data, library } = sources;
  return sha256(
    ['holdpoint policy 1', sha256(policy), sha256(data), sha256(library), ''].join('\n'),
  );
}

/**
 * A module for the sources, tested when it has tests and opa is at hand; rejects with
 * `PolicyRejected`.
 */
export async function load(sources: Sources, stateDirectory: string): Promise<Compiled> {
  const opa = await findOpa();
  const ready =
    (await stored(DEFAULT_DIRECTORY, sources)) ?? (await stored(stateDirectory, sources));
  if (opa === null) {
    if (ready !== null) return ready;
    throw new PolicyRejected(
      'the policy differs from the compiled one and opa is not at hand to compile it: ' +
        HOW_TO_GET_OPA,
    );
  }
  const compiled = ready ?? (await compile(opa, sources.policy, sources.library));
  if (sources.tests !== null) await testOnce(opa, sources, sources.tests, stateDirectory);
  if (ready === null) await keep(stateDirectory, compiled);
  return compiled;
}

/** The module kept in a directory when it is this policy's; null otherwise. */
export async function stored(directory: string | URL, sources: Sources): Promise<Compiled | null> {
  const path = (name: string): string | URL =>
    directory instanceof URL ? new URL(name, directory) : join(directory, name);
  try {
    const manifest = JSON.parse(await readFile(path('policies.wasm.json'), 'utf8')) as Manifest;
    if (manifest.format !== MANIFEST_FORMAT) return null;
    if (manifest.policy !== sha256(sources.policy)) return null;
    if (manifest.library !== sha256(sources.library)) return null;
    const wasm = new Uint8Array(await readFile(path('policies.wasm')));
    return manifest.wasm === sha256(wasm) ? { wasm, manifest } : null;
  } catch {
    // Missing, torn or not ours: it is compiled again.
    return null;
  }
}

/**
 * Keeps a module for the next start. The manifest comes last, so that a torn write is no module.
 */
export async function keep(directory: string, { wasm, manifest }: Compiled): Promise<void> {
  await mkdir(directory, { recursive: true });
  await replace(join(directory, 'policies.wasm'), wasm);
  await replace(join(directory, 'policies.wasm.json'), manifestText(manifest));
}

/** A line a field and a line a rule, so that a difference can be read. */
export function manifestText(manifest: Manifest): string {
  const fields = Object.entries(manifest).map(([name, value]: [string, unknown]) => {
    const text = Array.isArray(value)
      ? `[\n${value.map((item) => `  ${JSON.stringify(item)}`).join(',\n')}\n ]`
      : JSON.stringify(value);
    return ` ${JSON.stringify(name)}: ${text}`;
  });
  return `{\n${fields.join(',\n')}\n}\n`;
}

/**
 * The tests' result is kept by the digest of all that goes into it, so that a restart need not
 * repeat them.
 */
async function testOnce(
  opa: string,
  sources: Sources,
  tests: string,
  store: string,
): Promise<void> {
  const passed = sha256(JSON.stringify([sources.policy, sources.data, sources.library, tests]));
  const note = join(store, 'tested');
  const before = await readFile(note, 'utf8').catch(() => '');
  if (before === passed) return;
  await testPolicy(opa, { ...sources, tests });
  await mkdir(store, { recursive: true });
  await replace(note, passed);
}

async function replace(path: string, content: string | Uint8Array): Promise<void> {
  const part = `${path}.${process.pid}.${performance.now()}.part`;
  try {
    await writeFile(part, content);
    await rename(part, path);
  } finally {
    await rm(part, { force: true });
  }
}

/** A module with its data, ready to judge. */
export function judgeOf({ wasm, manifest }: Compiled, data: PolicyData, sources: Sources): Judge {
  let evaluator: Evaluator;
  try {
    evaluator = new Evaluator(wasm, data.document, manifest.unbounded);
  } catch (cause) {
    throw new PolicyRejected(`policies.json can't be loaded: ${messageOf(cause)}`, { cause });
  }
  return new Judge({ ...manifest, evaluator, data, digest: digestOf(sources) });
}
