// From Rego text to a WASM module and what is known of it, by the real opa.
// Invariant: the same texts and the same opa give the same bytes; nothing of the file system gets
// into them.
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { UserError } from '../errors.ts';
import { type DispatchIndex, dispatch } from './dispatch.ts';
import { requiredBuiltins, SUPPORTED_BUILTINS } from './evaluate.ts';
import { oddLiterals } from './literal.ts';
import { OPA_VERSION, run } from './opa.ts';
import { type Path, references } from './references.ts';
import { type RuleFacts, rulesOf, silentNegations, variables } from './rules.ts';

export const MANIFEST_FORMAT = 1;
export const ENTRYPOINTS = ['holdpoint/verdict/answer', 'holdpoint/verdict/said'] as const;

/** What is stored beside a compiled policy. Digests are SHA-256 in hex. */
export interface Manifest {
  readonly format: typeof MANIFEST_FORMAT;
  readonly opa: string;
  readonly policy: string;
  readonly library: string;
  readonly wasm: string;
  /**
   * The parts of `input` that policy and library can read: the verdict cache's key, and all the
   * policy is shown.
   */
  readonly references: readonly Path[];
  readonly rules: readonly RuleFacts[];
  /**
   * It calls a built-in whose work is not bounded by its input's size: every evaluation is watched.
   */
  readonly unbounded: boolean;
  /** Which rules can answer which inputs; null when all are asked. */
  readonly dispatch: DispatchIndex | null;
}

export interface Compiled {
  readonly wasm: Uint8Array;
  readonly manifest: Manifest;
}

export interface Made extends Compiled {
  /** What its author should look at: it compiles, but may not mean what it seems to. */
  readonly warnings: readonly string[];
}

/**
 * First names of built-ins that make much from little: numbers.range, net.cidr_expand,
 * graph.reachable_paths, bits.lsh.
 */
const UNBOUNDED: ReadonlySet<string> = new Set(['numbers', 'net', 'graph', 'bits']);

/**
 * The policy can't be used: it doesn't compile, fails its tests, or asks for what the proxy can't
 * give.
 */
export class PolicyRejected extends UserError {
  override name = 'PolicyRejected';
}

export function sha256(bytes: string | Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** A directory with the given files for opa to work on; gone afterwards. */
export async function inDirectory<T>(
  files: { readonly [name: string]: string },
  work: (directory: string) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'holdpoint-policy-'));
  try {
    for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export async function opaOrReject(
  opa: string,
  args: readonly string[],
  cwd: string,
  what: string,
): Promise<string> {
  const ran = await run(opa, args, { cwd });
  if (ran.code === 0) return ran.stdout;
  throw new PolicyRejected(`${what}:\n${(ran.stderr + ran.stdout).trim()}`);
}

export async function compile(opa: string, policy: string, library: string): Promise<Made> {
  const files = { 'policies.rego': policy, 'library.rego': library };
  return inDirectory(files, async (cwd) => {
    const version = /^Version: (\S+)/m.exec((await run(opa, ['version'])).stdout)?.[1] ?? 'unknown';
    const parse = (file: string) =>
      opaOrReject(
        opa,
        ['parse', '--format', 'json', '--json-include', 'locations', file],
        cwd,
        'the policy does not parse',
      ).then((text): unknown => JSON.parse(text));
    const tree = await parse('policies.rego');
    requirePackage(tree);
    refuseOddLiterals(tree);
    const libraryTree = await parse('library.rego');
    const dispatched = dispatch(policy, tree);
    if (dispatched !== null) await writeFile(join(cwd, 'policies.rego'), dispatched.text);
    const entrypoints = ENTRYPOINTS.flatMap((e) => ['-e', e]);
    const args = ['build', '-t', 'wasm', ...entrypoints, '-o', 'bundle.tar.gz'];
    await opaOrReject(
      opa,
      [...args, 'policies.rego', 'library.rego'],
      cwd,
      'the policy does not compile',
    );
    const wasm = await moduleOf(join(cwd, 'bundle.tar.gz'));
    refuseMissingBuiltins(wasm);
    const manifest: Manifest = {
      format: MANIFEST_FORMAT,
      opa: version,
      policy: sha256(policy),
      library: sha256(library),
      wasm: sha256(wasm),
      references: references([withoutLocations(tree), withoutLocations(libraryTree)]),
      rules: rulesOf(tree),
      dispatch: dispatched?.index ?? null,
      unbounded: [...variables(tree)].some((name) => UNBOUNDED.has(name)),
    };
    return { wasm, manifest, warnings: warningsOf(tree) };
  });
}

function warningsOf(tree: unknown): readonly string[] {
  return silentNegations(tree).map(
    (row) =>
      `policies.rego:${row}: \`not\` before a call or an \`in\`: when what it reads is ` +
      'undefined, the rule says nothing. Give the condition a name and write `not` before that.',
  );
}

function refuseOddLiterals(tree: unknown): void {
  const odd = oddLiterals(tree);
  if (odd.length > 0) throw new PolicyRejected(odd.join('\n'));
}

function requirePackage(tree: unknown): void {
  const path = (tree as { package?: { path?: { value?: unknown }[] } }).package?.path ?? [];
  const name = path.map((part) => String(part.value)).join('.');
  if (name !== 'data.holdpoint.policy') {
    throw new PolicyRejected(
      `the policy's package is \`${name.replace(/^data\./, '')}\`: it must be \`holdpoint.policy\``,
    );
  }
}

/**
 * A built-in that nothing here implements would be an error at the first use: say so before the
 * policy is in force.
 */
function refuseMissingBuiltins(wasm: Uint8Array): void {
  const missing = requiredBuiltins(wasm).filter((name) => !SUPPORTED_BUILTINS.has(name));
  if (missing.length === 0) return;
  throw new PolicyRejected(
    `the policy calls ${missing.map((name) => `\`${name}\``).join(', ')}, which a verdict can't: ` +
      'it must follow from input and data alone, and from built-ins that OPA compiles to WASM',
  );
}

function withoutLocations(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(withoutLocations);
  if (typeof node !== 'object' || node === null) return node;
  return Object.fromEntries(
    Object.entries(node)
      .filter(([key]) => key !== 'location')
      .map(([key, value]) => [key, withoutLocations(value)]),
  );
}

/** The WASM module in a bundle that opa built. */
export async function moduleOf(bundle: string): Promise<Uint8Array> {
  return fileOfTar(gunzipSync(await readFile(bundle)), '/policy.wasm');
}

/**
 * One file of a tar archive. A header is 512 bytes: name 100, mode 8, uid 8, gid 8, size 12
 * (octal), …; the file follows, padded to 512.
 */
function fileOfTar(tar: Uint8Array, wanted: string): Uint8Array {
  const text = (from: number, length: number): string =>
    new TextDecoder().decode(tar.subarray(from, from + length)).replace(/\0.*$/s, '');
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12).trim(), 8);
    if (!Number.isSafeInteger(size)) break;
    if (text(at, 100) === wanted) return tar.slice(at + 512, at + 512 + size);
    at += 512 + Math.ceil(size / 512) * 512;
  }
  throw new PolicyRejected(`opa's bundle has no ${wanted}: is this opa ${OPA_VERSION}?`);
}
