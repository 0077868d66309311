// What a verdict costs with 10, 100 and 1,000 rules: `node test/bench/policy.ts`.
// Invariant: arms are interleaved and the quickest of many rounds counts, so that a busy machine
// slows all alike; nothing is left out of a cold verdict but the watch of a kind's first questions.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Operation } from '../../proxy/operation.ts';
import { openPolicy, type Policy } from '../../proxy/verdict/policy.ts';
import { opa } from '../setup/opa.ts';
import { effect, object, operation } from '../verdict/example.ts';

const SIZES = [10, 100, 1000] as const;
const ROUNDS = 15;
const COLD = 200;
const WARM = 20_000;

/** Kinds of policy, by what tells one rule from the next. */
const KINDS: { readonly [name: string]: (at: number) => string } = {
  'a target each': (at) => `input.target.name == "db-${at}"`,
  'a table each': (at) => `some o in input.effect.objects\n\to.name == "table_${at}"`,
  'an agent and a table each': (at) =>
    `input.agent.name == "agent-${at % 50}"
	some o in input.effect.objects
	o.name == "table_${at}"`,
  'a threshold each (no index helps)': (at) => `input.effect.rows_max > ${1_000_000 + at}`,
};

function policyText(size: number, condition: (at: number) => string): string {
  const rules = Array.from(
    { length: size - 1 },
    (_, at) => `hold contains {"rule": "rule-${at}", "reason": "why", "group": "g"} if {
	input.effect.class == "destructive"
	${condition(at)}
}`,
  );
  const reads = 'allow contains {"rule": "reads", "reason": "why"} if input.effect.class == "read"';
  return ['package holdpoint.policy', reads, ...rules, ''].join('\n\n');
}

let made = 0;
/** An operation that no cache has seen: another identity each time. */
function unseen(name: 'read' | 'destructive'): Operation {
  made++;
  const table = object({ name: `table_${made % 2000}`, identity: String(made) });
  const plain = operation([effect({ class: name, rows_max: made, objects: [table] })]);
  return {
    ...plain,
    target: { ...plain.target, name: `db-${made}` },
    agent: { ...plain.agent, name: `agent-${made % 100}` },
  };
}

function microseconds(count: number, work: () => void): number {
  const started = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - started) / 1000 / count;
}

interface Arm {
  readonly policy: Policy;
  readonly warm: Operation;
  cold: number;
  known: number;
}

function measure(arms: readonly Arm[], name: 'read' | 'destructive'): void {
  for (const arm of arms)
    for (let at = 0; at < 300; at++) arm.policy.decide(unseen(name), 'normal');
  for (let round = 0; round < ROUNDS; round++) {
    for (const arm of arms) {
      const operations = Array.from({ length: COLD }, () => unseen(name));
      const cold = microseconds(COLD, () => {
        for (const asked of operations) arm.policy.decide(asked, 'normal');
      });
      const known = microseconds(WARM, () => {
        for (let at = 0; at < WARM; at++) arm.policy.decide(arm.warm, 'normal');
      });
      arm.cold = Math.min(arm.cold, cold);
      arm.known = Math.min(arm.known, known);
    }
  }
}

async function armsOf(directory: string, condition: (at: number) => string): Promise<Arm[]> {
  const arms: Arm[] = [];
  for (const size of SIZES) {
    const folder = await mkdtemp(join(directory, `${size}-`));
    const files = { rego: join(folder, 'policies.rego'), data: join(folder, 'policies.json') };
    await writeFile(files.rego, policyText(size, condition));
    await writeFile(files.data, '{}');
    const policy = await openPolicy({ ...files, stateDirectory: folder, watch: false });
    const [cold, known] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    arms.push({ policy, warm: unseen('destructive'), cold, known });
  }
  return arms;
}

await opa();
const directory = await mkdtemp(join(tmpdir(), 'holdpoint-bench-'));
try {
  console.log('microseconds a verdict; ratio: 1,000 rules to 10');
  for (const [kind, condition] of Object.entries(KINDS)) {
    const arms = await armsOf(directory, condition);
    for (const name of ['read', 'destructive'] as const) {
      for (const arm of arms) arm.cold = arm.known = Number.POSITIVE_INFINITY;
      measure(arms, name);
      const row = (values: number[]): string => {
        const [least = 1, , most = 0] = values;
        const shown = values.map((value) => value.toFixed(2).padStart(8)).join('');
        return `${shown}  × ${(most / least).toFixed(2)}`;
      };
      const title = `${kind}, ${name}`.padEnd(48);
      console.log(`${title} cold ${row(arms.map((a) => a.cold))}`);
      console.log(`${''.padEnd(48)} known${row(arms.map((a) => a.known))}`);
    }
    for (const arm of arms) arm.policy.close();
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}
