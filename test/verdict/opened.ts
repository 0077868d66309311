// Policies opened for tests, each in a folder of its own; closed and gone when the file is done.
// Invariant: the real openPolicy with the real opa.
import { mkdtempSync, rmSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test as nodeTest } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openPolicy, type Policy } from '../../proxy/verdict/policy.ts';
import { opa } from '../setup/opa.ts';

/** Where opa can't be had these tests are skipped; `npm test` says so, and fails for it in CI. */
export const test: typeof nodeTest.skip = await opa().then(
  () => nodeTest,
  () => nodeTest.skip,
);

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const directory = mkdtempSync(join(tmpdir(), 'holdpoint-verdict-'));
const opened: Policy[] = [];
after(() => {
  for (const policy of opened) policy.close();
  rmSync(directory, { recursive: true, force: true });
});

export function rego(body: string): string {
  return `package holdpoint.policy\n\n${body}\n`;
}

export const ALLOW = rego('allow contains {"rule": "all", "reason": "why not"}');

export interface Options {
  readonly data?: string;
  readonly tests?: string;
  readonly watch?: boolean;
  readonly now?: () => number;
}

export type Opened = Policy & {
  readonly files: { readonly rego: string; readonly data: string };
  readonly rejected: string[];
};

/** A policy of this text. */
export async function policyOf(text: string, options: Options = {}): Promise<Opened> {
  const folder = await mkdtemp(join(directory, 'p-'));
  const files = { rego: join(folder, 'policies.rego'), data: join(folder, 'policies.json') };
  await writeFile(files.rego, text);
  await writeFile(files.data, options.data ?? '{}');
  const tests = join(folder, 'policies_test.rego');
  if (options.tests !== undefined) await writeFile(tests, options.tests);
  const rejected: string[] = [];
  const policy = await openPolicy({
    ...files,
    ...(options.tests === undefined ? {} : { tests }),
    stateDirectory: join(folder, 'state'),
    watch: options.watch ?? false,
    onRejected: (message) => rejected.push(message),
    ...(options.now === undefined ? {} : { now: options.now }),
  });
  opened.push(policy);
  return Object.assign(policy, { files, rejected });
}

/** The committed policy with its data. */
export async function defaultPolicy(): Promise<Policy> {
  const policy = await openPolicy({
    rego: join(ROOT, 'policies.rego'),
    data: join(ROOT, 'policies.json'),
    tests: join(ROOT, 'policies_test.rego'),
    stateDirectory: join(directory, 'default'),
    watch: false,
  });
  opened.push(policy);
  return policy;
}
