// The default policy through the whole verdict stage, and the ways a policy can go wrong.
// Invariant: whatever a policy answers, the verdict is a verdict.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { verdictOf } from '../../proxy/verdict/answer.ts';
import { opa } from '../setup/opa.ts';
import { effect, object, operation, scopedDelete } from './example.ts';
import { ALLOW, defaultPolicy, policyOf, ROOT, rego, test } from './opened.ts';

test('the default policy: reads pass, a production delete is held, admin is denied', async () => {
  const policy = await defaultPolicy();
  assert.equal(policy.decide(operation([effect()]), 'normal').verdict.kind, 'allow');
  assert.deepEqual(policy.decide(operation([scopedDelete]), 'normal'), {
    verdict: {
      kind: 'hold',
      rule: 'production-losses',
      reason: 'it loses data in production',
      demands: [{ rule: 'production-losses', group: 'db-owners', signatures: 1 }],
      expires_ms: 1_800_000,
      wait_ms: 45_000,
    },
    policy: policy.digest,
  });
  const admin = effect({ class: 'admin', verb: 'grant' });
  assert.equal(policy.decide(operation([admin]), 'normal').verdict.rule, 'admin');
  assert.equal(policy.decide(operation([scopedDelete]), 'killed').verdict.rule, 'mode-killed');
});

test('the worst effect decides, and all its demands count', async () => {
  const policy = await defaultPolicy();
  const drop = effect({
    class: 'destructive',
    verb: 'drop',
    scoped: false,
    objects: [object({ access: 'drop' })],
  });
  const both = policy.decide(operation([effect(), scopedDelete, drop]), 'normal').verdict;
  assert.equal(both.kind, 'hold');
  assert.deepEqual(both.kind === 'hold' && both.demands.map((d) => [d.group, d.signatures]), [
    ['db-owners', 2],
  ]);
  const denied = operation([effect(), drop, effect({ class: 'admin' })]);
  assert.equal(policy.decide(denied, 'normal').verdict.kind, 'deny');
});

test('an analysis worse than its effects is judged as a whole', async () => {
  const policy = await defaultPolicy();
  const reading = operation([effect()]);
  const { analysis } = reading;
  const incomplete = { ...reading, analysis: { ...analysis, complete: false } };
  assert.equal(policy.decide(incomplete, 'normal').verdict.rule, 'not-understood');
  const worse = { ...reading, analysis: { ...analysis, class: 'admin' as const } };
  assert.equal(policy.decide(worse, 'normal').verdict.rule, 'admin');
  assert.equal(policy.decide(operation([]), 'normal').verdict.rule, 'reads');
});

test('the committed module is what opa makes of the committed policy', async () => {
  const { compile } = await import('../../proxy/verdict/compile.ts');
  const { manifestText, readSources } = await import('../../proxy/verdict/load.ts');
  const sources = await readSources({
    rego: join(ROOT, 'policies.rego'),
    data: join(ROOT, 'policies.json'),
  });
  const made = await compile(await opa(), sources.policy, sources.library);
  const folder = join(ROOT, 'proxy/verdict/default');
  assert.ok(Buffer.from(made.wasm).equals(await readFile(join(folder, 'policies.wasm'))));
  assert.equal(
    manifestText(made.manifest),
    await readFile(join(folder, 'policies.wasm.json'), 'utf8'),
    'run `holdpoint policy build` and commit what it writes',
  );
});

/** Objects that no set may hold. */
const ODD: readonly [name: string, set: string, value: string][] = [
  ['a number', 'deny', '7'],
  ['a text', 'deny', '"no"'],
  ['null', 'allow', 'null'],
  ['a list', 'allow', '["r", "why"]'],
  ['a hold without group', 'hold', '{"rule": "r", "reason": "why"}'],
  ['an empty group', 'hold', '{"rule": "r", "reason": "why", "group": "a|"}'],
  ['no signature', 'hold', '{"rule": "r", "reason": "w", "group": "g", "signatures": 0}'],
  ['half a signature', 'hold', '{"rule": "r", "reason": "w", "group": "g", "signatures": 1.5}'],
  ['a misspelt field', 'hold', '{"rule": "r", "reason": "w", "group": "g", "signature": 2}'],
  ['no duration', 'hold', '{"rule": "r", "reason": "w", "group": "g", "wait": "soon"}'],
  ['a negative duration', 'hold', '{"rule": "r", "reason": "w", "group": "g", "wait": "-5s"}'],
  ['no time to sign', 'hold', '{"rule": "r", "reason": "w", "group": "g", "expires": "0s"}'],
  ['no channel', 'hold', '{"rule": "r", "reason": "w", "group": "g", "channels": []}'],
  ['an unknown channel', 'hold', '{"rule": "r", "reason": "w", "group": "g", "channels": ["fax"]}'],
  ['a channel alone', 'hold', '{"rule": "r", "reason": "w", "group": "g", "channels": "page"}'],
  ['an allow without reason', 'allow', '{"rule": "r"}'],
  ['an empty rule', 'allow', '{"rule": "", "reason": "why"}'],
  ['a rule that is no text', 'allow', '{"rule": ["r"], "reason": "why"}'],
];

for (const [name, set, value] of ODD) {
  test(`an odd object is seen in the text, and when it is answered: ${name}`, async () => {
    await rejects(rego(`x := 1\n${set} contains ${value} if x == 1`), /^policies\.rego:4: /);
    // The same where the text does not show it.
    await policyError(`${set} contains x if x := ${value}`);
  });
}

test('what is no set is seen in the text, and when it is answered', async () => {
  for (const value of ['true', 'false', 'null', '7', '{}', '[]', '{"rule": "r", "reason": "w"}']) {
    await rejects(rego(`deny := ${value}`), /^policies\.rego:3: .*`deny` is a set/);
    for (const kind of ['deny', 'hold', 'allow']) {
      const said: unknown = JSON.parse(value);
      assert.equal(verdictOf({ kind, said }).rule, 'policy-error');
    }
  }
  for (const odd of [undefined, null, 7, [], {}, { kind: 'allow' }, { kind: 'maybe', said: [1] }]) {
    assert.equal(verdictOf(odd).rule, 'policy-error');
    assert.equal(verdictOf(odd).kind, 'deny');
  }
});

/** Policies that go wrong while they are asked. */
const FAILING: readonly [name: string, body: string][] = [
  [
    'conflicting values',
    'allow contains {"rule": x, "reason": "why"}\nx := input.effect.class\nx := "other"',
  ],
  [
    'huge output',
    `allow contains {"rule": sprintf("%d", [n]), "reason": "w"} if {
      some n in numbers.range(1, 20000)
    }`,
  ],
  [
    'too much memory',
    `allow contains {"rule": "r", "reason": "w"} if {
      many := numbers.range(1, 9999)
      count({[a, b] | some a in many; some b in many}) > 0
    }`,
  ],
  [
    'a loop without end in sight',
    `allow contains {"rule": "r", "reason": "w"} if {
      many := numbers.range(1, 3000)
      some a in many
      some b in many
      some c in many
      a == b
      b == c
      c == 0
    }
    allow contains {"rule": "s", "reason": "w"}`,
  ],
];

async function policyError(body: string): Promise<void> {
  const policy = await policyOf(rego(body));
  const started = performance.now();
  const { verdict } = policy.decide(operation([effect()]), 'normal');
  assert.equal(verdict.kind, 'deny');
  assert.equal(verdict.rule, 'policy-error', JSON.stringify(verdict));
  assert.ok(performance.now() - started < 30_000, 'bounded in time');
  const fresh = policy.decideFresh(operation([effect()]), 'normal');
  assert.equal(fresh.verdict.rule, 'policy-error');
}

for (const [name, body] of FAILING) {
  test(`a policy that fails is a policy error: ${name}`, () => policyError(body));
}

test('a policy that says nothing denies', async () => {
  const policy = await policyOf(rego('word := 1'));
  assert.deepEqual(policy.decide(operation([effect()]), 'normal').verdict, {
    kind: 'deny',
    rule: 'nothing-said',
    reason: 'no rule allows this',
  });
});

test('after a trap the next question is answered by a fresh instance', async () => {
  const policy = await policyOf(
    rego('allow contains {"rule": "r", "reason": "why"} if x\nx := input.effect.scoped\nx := true'),
  );
  const fine = operation([effect()]);
  const trapping = operation([effect({ scoped: false })]);
  for (let round = 0; round < 3; round++) {
    assert.equal(policy.decideFresh(fine, 'normal').verdict.kind, 'allow');
    assert.equal(policy.decideFresh(trapping, 'normal').verdict.rule, 'policy-error');
  }
});

test('many slow effects together are stopped', async () => {
  const policy = await policyOf(
    rego(`allow contains {"rule": "r", "reason": "w"} if {
      many := numbers.range(1, 300)
      count([1 | some a in many; some b in many; a + b == input.effect.rows_max]) >= 0
    }`),
  );
  const effects = Array.from({ length: 200 }, (_, at) => effect({ rows_max: at }));
  // Time on the processor: a busy machine takes longer by the clock.
  const timed = (...asked: Parameters<typeof operation>[0]) => {
    const started = process.threadCpuUsage();
    const { verdict } = policy.decide(operation(asked), 'normal');
    const { user, system } = process.threadCpuUsage(started);
    return { verdict, ms: (user + system) / 1000 };
  };
  const alone = timed(effect({ rows_max: 1000 }));
  const { verdict, ms } = timed(...effects);
  assert.ok(ms < 150 * alone.ms, `${ms} ms for 200, ${alone.ms} ms for one`);
  assert.equal(verdict.rule, 'policy-error');
  assert.match(verdict.reason, /took more than|too long/);
});

test('text of any kind passes through the policy unharmed', async () => {
  const policy = await policyOf(
    rego('allow contains {"rule": input.effect.objects[0].name, "reason": "why"}'),
  );
  for (const name of ['a"b\\', 'ünï — 数', '\u{1F600}', 'line\nline', 'nul\u0000nul', 'a\u2028b']) {
    const decided = policy.decideFresh(
      operation([effect({ objects: [object({ name })] })]),
      'normal',
    );
    assert.equal(decided.verdict.rule, name);
  }
});

async function rejects(body: string, expected: RegExp): Promise<void> {
  await assert.rejects(policyOf(body), (error: Error) => {
    assert.equal(error.name, 'PolicyRejected');
    assert.match(error.message, expected);
    return true;
  });
}

test("a policy that can't be used is rejected before it is in force", async () => {
  await rejects(rego('allow contains {'), /does not parse/);
  await rejects(rego('allow contains x if y'), /does not (compile|parse)/);
  await rejects('package other\nallow contains 1', /must be `holdpoint.policy`/);
  await rejects(
    rego('allow contains {"rule": "t", "reason": "t"} if time.now_ns() > 0'),
    /time.now_ns/,
  );
  await rejects(
    rego('allow contains {"rule": "t", "reason": "t"} if http.send({"url": "http://x"})'),
    /http.send/,
  );
  await assert.rejects(policyOf(ALLOW, { data: '{"a": ' }), /not JSON/);
  const much = JSON.stringify({ much: Array.from({ length: 400_000 }, (_, at) => ({ at })) });
  await assert.rejects(policyOf(ALLOW, { data: much }), /policies\.json can't be loaded/);
  await assert.rejects(policyOf(ALLOW, { data: '[]' }), /must be an object/);
  await assert.rejects(policyOf(ALLOW, { data: '{"holdpoint": {}}' }), /key `holdpoint`/);
  await assert.rejects(
    policyOf(ALLOW, { tests: 'package t\ntest_it if false' }),
    /fails its tests[\s\S]*test_it/,
  );
  await assert.rejects(policyOf(ALLOW, { tests: 'package t' }), /fails its tests/);
});

test('a policy is tested as it will run, not only as opa runs it', async () => {
  // Go's sprintf writes a list as JSON, the one beside WASM does not.
  const body = 'word := sprintf("%v", [["a"]])\nallow contains {"rule": word, "reason": "w"}';
  const tests = `package t
    import data.holdpoint.policy
    test_word if policy.word == "[\\"a\\"]"
    test_other if true`;
  await assert.rejects(policyOf(rego(body), { tests }), /fails them when compiled: test_word$/);
  await assert.rejects(policyOf(ALLOW, { tests: 'package t\ntest_x := "yes" if 1 > 2' }), /test_x/);
});

test('a `not` that may be silent is warned of', async () => {
  const { compile } = await import('../../proxy/verdict/compile.ts');
  const { readSources } = await import('../../proxy/verdict/load.ts');
  const files = { rego: join(ROOT, 'policies.rego'), data: join(ROOT, 'policies.json') };
  const { policy, library } = await readSources(files);
  const warned = async (text: string): Promise<readonly string[]> =>
    (await compile(await opa(), text, library)).warnings;
  assert.deepEqual(await warned(policy), []);
  const odd = `a if not input.mode in data.modes
b if not startswith(input.mode, "x")
c if not input.mode == "x"
d if not a
e if not input.effect.scoped`;
  assert.deepEqual(
    (await warned(rego(odd))).map((warning) => warning.split(':')[1]),
    ['3', '4'],
  );
});
