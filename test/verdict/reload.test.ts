// A policy that changes while it is in force: its files, its data, the clock.
// Invariant: there is always one whole policy in force.
import assert from 'node:assert/strict';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openPolicy, type PolicyChange } from '../../proxy/verdict/policy.ts';
import { effect, object, operation, scopedDelete } from './example.ts';
import { ALLOW, directory, policyOf, ROOT, rego, test } from './opened.ts';

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!condition()) {
    if (performance.now() > deadline) assert.fail(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test('a changed file is swapped in, a broken one is not, and both are told', async () => {
  const policy = await policyOf(ALLOW, { watch: true });
  const changes: PolicyChange[] = [];
  policy.onChange((change) => changes.push(change));
  const first = policy.digest;
  const reading = operation([effect()]);
  assert.equal(policy.decide(reading, 'normal').verdict.kind, 'allow');
  // An editor writes beside and renames.
  await writeFile(`${policy.files.rego}~`, rego('deny contains {"rule": "shut", "reason": "now"}'));
  await rename(`${policy.files.rego}~`, policy.files.rego);
  await until(() => policy.version === 2, 'the first change');
  assert.equal(policy.decide(reading, 'normal').verdict.rule, 'shut');
  assert.deepEqual(changes, [{ digest: policy.digest, previous: first, version: 2 }]);
  // Half a file, and then the whole one.
  await writeFile(policy.files.rego, ALLOW.slice(0, 40));
  await until(() => policy.rejected.length === 1, 'the rejection');
  assert.match(policy.rejected[0] ?? '', /stays in force[\s\S]*does not parse/);
  assert.equal(policy.decide(reading, 'normal').verdict.rule, 'shut');
  await writeFile(policy.files.rego, ALLOW);
  await until(() => policy.version === 3, 'the second change');
  assert.equal(policy.digest, first);
  assert.equal(policy.decide(reading, 'normal').verdict.kind, 'allow');
});

test('two changes in quick succession end with the last', async () => {
  const policy = await policyOf(ALLOW, { watch: true });
  const naming = (rule: string): string =>
    rego(`allow contains {"rule": "${rule}", "reason": "why"}`);
  const one = policy.reload();
  await writeFile(policy.files.rego, naming('second'));
  const two = policy.reload();
  await writeFile(policy.files.rego, naming('third'));
  const three = policy.reload();
  await Promise.all([one, two, three]);
  await policy.reload();
  assert.equal(policy.decide(operation([effect()]), 'normal').verdict.rule, 'third');
  assert.deepEqual(policy.rejected, []);
});

test("data alone can change without opa, policy text can't", async (t) => {
  const data = (word: string): string => JSON.stringify({ word });
  const policy = await policyOf(rego('allow contains {"rule": data.word, "reason": "why"}'), {
    data: data('one'),
  });
  process.env.HOLDPOINT_OPA = 'none';
  t.after(() => delete process.env.HOLDPOINT_OPA);
  await writeFile(policy.files.data, data('two'));
  await policy.reload();
  assert.deepEqual(policy.rejected, []);
  assert.equal(policy.decide(operation([effect()]), 'normal').verdict.rule, 'two');
  await writeFile(policy.files.rego, ALLOW);
  await policy.reload();
  assert.match(policy.rejected[0] ?? '', /opa is not at hand[\s\S]*go install/);
  assert.equal(policy.decide(operation([effect()]), 'normal').verdict.rule, 'two');
  const committed = await openPolicy({
    rego: join(ROOT, 'policies.rego'),
    data: policy.files.data,
    tests: join(ROOT, 'policies_test.rego'),
    stateDirectory: join(directory, 'no-opa'),
    watch: false,
  });
  assert.equal(committed.decide(operation([effect()]), 'normal').verdict.rule, 'reads');
});

test('a freeze window makes normal a freeze for what it names, and is told', async () => {
  let now = Date.parse('2026-12-24T17:59:59.950Z');
  const window = {
    from: '2026-12-24T18:00:00Z',
    to: '2026-12-27T06:00:00+01:00',
    environments: ['production'],
    targets: ['till'],
    reason: 'Christmas',
  };
  const policy = await policyOf(
    rego(
      `deny contains {"rule": "frozen", "reason": "why"} if input.mode == "freeze"
      allow contains {"rule": "open", "reason": "why"}`,
    ),
    { data: JSON.stringify({ freeze: [window] }), now: () => now },
  );
  const inProduction = operation([scopedDelete]);
  const elsewhere = { ...inProduction, target: { ...inProduction.target, environment: 'staging' } };
  const till = { ...elsewhere, target: { ...elsewhere.target, name: 'till' } };
  const rules = (): string[] =>
    [inProduction, elsewhere, till].map((o) => policy.decide(o, 'normal').verdict.rule);
  assert.deepEqual(rules(), ['open', 'open', 'open']);
  now = Date.parse(window.from);
  assert.deepEqual(rules(), ['frozen', 'open', 'frozen']);
  assert.equal(policy.freezeReason(till.target), 'Christmas');
  assert.equal(policy.effectiveMode(till.target, 'killed'), 'killed');
  await until(() => policy.version === 2, 'the boundary');
  now = Date.parse(window.to);
  assert.deepEqual(rules(), ['open', 'open', 'open']);
  for (const odd of [
    { ...window, to: '2026-12-24T17:00:00Z' },
    { ...window, from: '2026-12-24 18:00' },
    { ...window, from: '2026-02-30T18:00:00Z' },
    { ...window, target: 'till' },
    { ...window, targets: 'till' },
    { ...window, reason: '' },
  ]) {
    const data = JSON.stringify({ freeze: [odd] });
    await assert.rejects(policyOf(ALLOW, { data }), /freeze\[0\]/);
  }
});

test('tags of the data are on the objects that the policy sees', async () => {
  const policy = await policyOf(
    rego('allow contains {"rule": concat(",", sort(input.effect.objects[0].tags)), "reason": "w"}'),
    { data: JSON.stringify({ tags: { 'public.users.email': ['pii'], '*.users': ['people'] } }) },
  );
  const tags = (columns: string[]): string => {
    const users = object({ name: 'users', columns });
    return policy.decide(operation([effect({ objects: [users] })]), 'normal').verdict.rule;
  };
  assert.equal(tags(['id', 'email']), 'people,pii');
  assert.equal(tags(['id']), 'people');
  assert.equal(tags([]), 'people,pii');
});
