// A policy's own tests, run twice: by opa on the text, and by the proxy on the compiled module.
// Invariant: what passed is what will run; a test that the module fails rejects the policy too.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { inDirectory, moduleOf, opaOrReject, PolicyRejected } from './compile.ts';
import { Evaluator, messageOf, requiredBuiltins, SUPPORTED_BUILTINS } from './evaluate.ts';
import { run } from './opa.ts';

export interface TestedSources {
  readonly policy: string;
  readonly data: string;
  readonly library: string;
  readonly tests: string;
}

export interface TestReport {
  /** What opa says. */
  readonly opa: string;
  /** Tests that passed in the compiled module too; null when they use what WASM has not. */
  readonly compiled: number | null;
}

const TESTED = 'holdpoint/tested/passed';

/** Rejects with the report of what failed. */
export async function testPolicy(opa: string, sources: TestedSources): Promise<TestReport> {
  const files = {
    'policies.rego': sources.policy,
    'policies_test.rego': sources.tests,
    'policies.json': sources.data,
    'library.rego': sources.library,
  };
  const args = ['test', '--fail-on-empty', ...Object.keys(files)];
  return inDirectory(files, async (cwd) => {
    const report = await opaOrReject(opa, args, cwd, 'the policy fails its tests');
    return { opa: report, compiled: await testCompiled(opa, sources, cwd) };
  });
}

/** opa's tests run on its interpreter; here the same tests run where verdicts will. */
async function testCompiled(
  opa: string,
  sources: TestedSources,
  cwd: string,
): Promise<number | null> {
  const parse = ['parse', '--format', 'json', 'policies_test.rego'];
  const tree: unknown = JSON.parse(await opaOrReject(opa, parse, cwd, 'the tests do not parse'));
  const { reference, names } = testsOf(tree);
  const cases = names.map((name) => `passed if { input.only == "${name}"; ${reference}.${name} }`);
  await writeFile(join(cwd, 'tested.rego'), ['package holdpoint.tested', ...cases, ''].join('\n'));
  const texts = ['policies.rego', 'policies_test.rego', 'library.rego', 'tested.rego'];
  const build = ['build', '-t', 'wasm', '-e', TESTED, '-o', 'tested.tar.gz', ...texts];
  const built = await run(opa, build, { cwd });
  // Tests may replace built-ins and functions, which only the interpreter can.
  if (built.code !== 0) return null;
  const wasm = await moduleOf(join(cwd, 'tested.tar.gz'));
  if (requiredBuiltins(wasm).some((name) => !SUPPORTED_BUILTINS.has(name))) return null;
  return passedIn(wasm, sources.data, names);
}

/** One test at a time, the event loop between them: a proxy that reloads goes on serving. */
async function passedIn(wasm: Uint8Array, data: string, names: readonly string[]): Promise<number> {
  const evaluator = new Evaluator(wasm, JSON.parse(data), true);
  const failed: string[] = [];
  for (const name of names) {
    try {
      const passed = evaluator.ask(TESTED, JSON.stringify({ only: name }), name);
      if (passed !== true) failed.push(name);
    } catch (error) {
      failed.push(`${name} (${messageOf(error)})`);
    }
    await setImmediate();
  }
  if (failed.length === 0) return names.length;
  throw new PolicyRejected(
    `the policy passes its tests in opa but fails them when compiled: ${failed.join(', ')}`,
  );
}

/** The package and the names of the tests, as opa finds them: rules that begin with `test_`. */
function testsOf(tree: unknown): { reference: string; names: readonly string[] } {
  const { package: place, rules } = tree as {
    package: { path: readonly { value: unknown }[] };
    rules?: readonly { head?: { name?: unknown } }[];
  };
  const [root, ...path] = place.path.map((part) => String(part.value));
  const named = (rules ?? []).map((rule) => String(rule.head?.name));
  const names = [...new Set(named.filter((name) => /^test_\w+$/.test(name)))].sort();
  return { reference: root + path.map((part) => `[${JSON.stringify(part)}]`).join(''), names };
}
