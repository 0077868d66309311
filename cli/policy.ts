// `holdpoint policy test|explain|build|replay`: what security does with its own file before others
// meet
// it.
// Invariant: judged and compiled exactly as the proxy does; nothing is changed but what `build`
// writes.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { UserError } from '../proxy/errors.ts';
import { compile, PolicyRejected, sha256 } from '../proxy/verdict/compile.ts';
import { parseData } from '../proxy/verdict/data.ts';
import { type Explanation, explain, type Said } from '../proxy/verdict/explain.ts';
import {
  DEFAULT_DIRECTORY,
  digestOf,
  keep,
  load,
  manifestText,
  readSources,
  type Sources,
} from '../proxy/verdict/load.ts';
import { findOpa, HOW_TO_GET_OPA } from '../proxy/verdict/opa.ts';
import { type Circumstances, operationOf } from '../proxy/verdict/question.ts';
import { testPolicy } from '../proxy/verdict/tested.ts';
import { channelsOf, type Mode, type Verdict } from '../proxy/verdict/verdict.ts';
import type { ReplayOptions } from './replay.ts';

interface Files {
  readonly policy: string;
  readonly data: string;
  readonly tests: string;
  readonly state: string;
}

interface Asked extends Circumstances {
  readonly mode: Mode;
  readonly catalog?: string;
  readonly json?: boolean;
}

const ROOT = fileURLToPath(new URL('..', import.meta.url));

export function policyCommand(): Command {
  const policy = new Command('policy').description('test, explain and compile the policy');
  onFiles(policy.command('test')).description("run the policy's own tests with opa").action(test);
  onFiles(policy.command('explain'))
    .description('judge operations and say which rules answered, from which facts')
    .argument('[statement]', 'a statement; without one, lines of JSON that `classify` wrote')
    .addOption(choice('--engine <engine>', ['postgres', 'mysql', 'mongodb'], 'postgres'))
    .option('--catalog <url>', "the database in which the statement's names are looked up")
    .option('--target <name>', "the target's name", 'example')
    .option('--environment <name>', "the target's environment", 'production')
    .option('--agent <name>', "the agent's name", 'example')
    .option('--groups <list>', "the agent's groups", list, [])
    .option('--capabilities <list>', 'what the agent may do', list, ['read', 'write', 'ddl'])
    .option('--scopes <list>', "the agent's scopes", list, [])
    .addOption(choice('--mode <mode>', ['normal', 'freeze', 'read-only', 'killed'], 'normal'))
    .option('--json', 'the explanation as JSON')
    .action(explainAll);
  onFiles(policy.command('build'))
    .description('compile the default policy that is committed')
    .option('--check', 'write nothing; fail when what is committed differs')
    .action(build);
  onFiles(policy.command('replay'))
    .description('judge what the ledger holds again, and show what would come out differently')
    .option('--ledger <directory>', "the ledger's directory", join('.holdpoint', 'ledger'))
    .option('--agents <directory>', 'where agents.json says what agents may do', '.holdpoint')
    .option('--since <time>', 'only what was asked since')
    .option('--agent <name>', 'only what this agent asked')
    .option('--target <name>', 'only what was asked of this target')
    .option('--json', 'the differences as lines of JSON')
    .action(async (options: Files & ReplayOptions) => {
      await (await import('./replay.ts')).replay(await sourcesOf(options), options);
    });
  return policy;
}

function onFiles(command: Command): Command {
  return command
    .option('--policy <file>', 'the policy', join(ROOT, 'policies.rego'))
    .option('--data <file>', 'its data', join(ROOT, 'policies.json'))
    .option('--tests <file>', 'its tests', join(ROOT, 'policies_test.rego'))
    .option(
      '--state <directory>',
      'where compiled policies are kept',
      join('.holdpoint', 'policy'),
    );
}

function choice(flags: string, values: readonly string[], otherwise: string): Option {
  return new Option(flags).choices([...values]).default(otherwise);
}

function list(value: string): readonly string[] {
  return value.split(',').filter((part) => part !== '');
}

function sourcesOf(files: Files): Promise<Sources> {
  return readSources({ rego: files.policy, data: files.data, tests: files.tests });
}

async function requireOpa(): Promise<string> {
  const opa = await findOpa();
  if (opa === null) throw new UserError(`this needs opa: ${HOW_TO_GET_OPA}`);
  return opa;
}

async function test(files: Files): Promise<void> {
  const opa = await requireOpa();
  const sources = await sourcesOf(files);
  const { manifest, warnings } = await compile(opa, sources.policy, sources.library);
  parseData(sources.data);
  const report = await testPolicy(opa, { ...sources, tests: sources.tests ?? '' });
  print(report.opa);
  if (report.compiled !== null) print(`PASS: ${report.compiled} in the compiled module too\n`);
  for (const warning of warnings) print(`warning: ${warning}\n`);
  print(`compiles with opa ${manifest.opa}: ${manifest.rules.length} rules and words\n`);
}

async function build(files: Files & { readonly check?: boolean }): Promise<void> {
  const { policy, library } = await sourcesOf(files);
  const compiled = await compile(await requireOpa(), policy, library);
  const { wasm, opa } = compiled.manifest;
  const directory = fileURLToPath(DEFAULT_DIRECTORY);
  if (files.check !== true) {
    await keep(directory, compiled);
    return print(`${directory}policies.wasm ${wasm}\n`);
  }
  const [module, manifest] = await Promise.all([
    readFile(join(directory, 'policies.wasm')).catch(() => ''),
    readFile(join(directory, 'policies.wasm.json'), 'utf8').catch(() => ''),
  ]);
  if (sha256(module) !== wasm || manifest !== manifestText(compiled.manifest)) {
    throw new PolicyRejected(
      `${directory} is not what opa ${opa} makes of policies.rego: ` +
        'run `holdpoint policy build` and commit what it writes',
    );
  }
  print(`${directory} is what opa ${opa} makes of policies.rego\n`);
}

async function explainAll(statement: string | undefined, asked: Files & Asked): Promise<void> {
  const sources = await sourcesOf(asked);
  const data = parseData(sources.data);
  // Tests are `policy test`'s: a policy under work may be explained before it passes them.
  const compiled = await load({ ...sources, tests: null }, asked.state);
  const lines =
    statement === undefined ? await text(process.stdin) : await classified(statement, asked);
  for (const line of lines.split('\n').filter((l) => l.trim() !== '')) {
    const operation = readable(line, asked);
    const explanation = explain(compiled, data, digestOf(sources), operation, asked.mode);
    print(asked.json === true ? `${JSON.stringify(explanation)}\n` : explanationText(explanation));
  }
}

function readable(line: string, asked: Asked): ReturnType<typeof operationOf> {
  try {
    return operationOf(line, asked);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new UserError(`not an operation: ${why}`, { cause });
  }
}

/** The statement's effects, as `holdpoint classify` tells them: what it understands is judged. */
async function classified(statement: string, { engine, catalog }: Asked): Promise<string> {
  const { classify } = await import('./classify.ts');
  const input = Readable.from([`${JSON.stringify({ id: 'explain', statement })}\n`]);
  const output = new PassThrough();
  const lines = text(output);
  await classify({ engine, catalog, input, output }).catch((cause: unknown) => {
    throw new UserError(cause instanceof Error ? cause.message : String(cause), { cause });
  });
  output.end();
  // It answers without the statement's text, which a policy may read.
  return JSON.stringify({ ...(JSON.parse(await lines) as object), statement });
}

function explanationText({ decision, effects }: Explanation): string {
  const lines = [verdictText(decision.verdict)];
  for (const { effect, said, failure } of effects) {
    const objects = effect.objects
      .map((o) => `${o.access} ${[o.schema ?? o.database, o.name].filter(Boolean).join('.')}`)
      .join(', ');
    lines.push(`  ${effect.class}: ${effect.verb}${objects === '' ? '' : ` (${objects})`}`);
    if (failure !== null) lines.push(`    the policy could not be asked: ${failure}`);
    if (said.length === 0 && failure === null) lines.push('    no rule said anything');
    for (const answer of said) lines.push(...saidLines(answer));
  }
  lines.push(`  policy ${decision.policy.slice(0, 16)}…`, '');
  return lines.join('\n');
}

function saidLines({ set, object, row, facts }: Said): readonly string[] {
  const { rule, reason } = (object ?? {}) as { rule?: unknown; reason?: unknown };
  const where = row === null ? '' : ` (policies.rego:${row})`;
  return [
    `    ${set} ${String(rule)}${where}: ${String(reason)}`,
    ...facts.map(({ name, value }) => `      ${name} = ${shortened(JSON.stringify(value))}`),
  ];
}

function shortened(value: string | undefined): string {
  if (value === undefined) return 'undefined';
  return value.length > 200 ? `${value.slice(0, 200)}…` : value;
}

function verdictText(verdict: Verdict): string {
  const words = `${verdict.kind}: ${verdict.rule}: ${verdict.reason}`;
  if (verdict.kind !== 'hold') return words;
  const wanted = verdict.demands.map(
    (d) => `${d.signatures} of ${d.group.replaceAll('|', ' or ')} by ${channelsOf(d).join(' or ')}`,
  );
  const [wait, expires] = [verdict.wait_ms / 1000, verdict.expires_ms / 60_000];
  return `${words}\n  wants ${wanted.join(' and ')}; waits ${wait} s, expires after ${expires} min`;
}

function print(words: string): void {
  process.stdout.write(words);
}
