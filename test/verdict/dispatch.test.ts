// A dispatched policy answers as the plain one does: random policies, random operations, both ways.
// Invariant: the seed names the policy and the stream, so that a failure can be run again.
import assert from 'node:assert/strict';
import { CLASSES } from '../../proxy/effect/effect.ts';
import type { Operation } from '../../proxy/operation.ts';
import { compile } from '../../proxy/verdict/compile.ts';
import { opa } from '../setup/opa.ts';
import { effect, object, operation, random } from './example.ts';
import { policyOf, test } from './opened.ts';

const TABLES = ['orders', 'users', 'odd "name"', 'ünï', '__proto__', 'constructor', 'x'];
const ENVIRONMENTS = ['production', 'staging', 'development', ''];

const WORDS = `
important if input.target.environment == "production"
important if input.target.environment in {"staging", "eu"}
nested if important
default usual := true
usual := false if input.effect.verb == "drop"
`;

/**
 * Ways to say a condition: indexable ones, ones that only look so, and others. `§` keeps names
 * apart.
 */
function conditionOf(pick: <T>(values: readonly T[]) => T): string {
  const table = JSON.stringify(pick(TABLES));
  const name = JSON.stringify(pick(CLASSES));
  return pick([
    `input.effect.class == ${name}`,
    `${name} == input.effect.class`,
    `input.effect.class in {${name}, "write"}`,
    `input.effect.class in [${name}]`,
    `not input.effect.class == ${name}`,
    `input.effect.class != ${name}`,
    `some o§ in input.effect.objects\n\to§.name == ${table}`,
    `some i§, o§ in input.effect.objects\n\to§.name == ${table}\n\ti§ < 2`,
    `input.effect.objects[_].name == ${table}`,
    `some o§ in input.effect.objects\n\tnot o§.name == ${table}`,
    `every o in input.effect.objects { o.name == ${table} }`,
    `e§ := input.effect\n\te§.class == ${name}`,
    `some o§ in input.effect.objects\n\tn§ := o§.name\n\tn§ == ${table}`,
    `c§ := input.effect.class\n\tc§ == ${name}\n\tinput.target.environment == "staging"`,
    'important',
    'nested',
    'not nested',
    'usual',
    'not usual',
    'input.effect.rows_max == 3',
    'input.effect.rows_max > 3',
    'input.effect.nothing == "x"',
    'x§ := "read"\n\tinput.effect.class == x§',
    `count({o | some o in input.effect.objects; o.name == ${table}}) == 0`,
    `input.agent.name == "bot"\n\tinput.target.environment == "${pick(ENVIRONMENTS)}"`,
  ]);
}

function policyText(seed: number, rules: number): string {
  const next = random(seed);
  const pick = <T>(values: readonly T[]): T => values[Math.floor(next() * values.length)] as T;
  const texts = Array.from({ length: rules }, (_, at) => {
    // In half of the policies nothing is denied, so that a hold that is missed is seen.
    const worst = seed % 2 === 0 ? 'hold' : 'deny';
    const set = pick(['allow', 'allow', 'hold', worst] as const);
    const group = set === 'hold' ? `, "group": "g${at % 3}", "signatures": ${1 + (at % 4)}` : '';
    const conditions = [conditionOf(pick), ...(next() < 0.5 ? [conditionOf(pick)] : [])];
    const body = conditions.map((text, n) => text.replaceAll('§', String(n))).join('\n\t');
    const said = `{"rule": "r${at}", "reason": "hold contains"${group}}`;
    return `${set}  contains ${said} if {\n\t${body}\n}`;
  });
  return `package holdpoint.policy\n${WORDS}\n# hold contains nothing\n${texts.join('\n\n')}\n`;
}

function someOperation(next: () => number): Operation {
  const pick = <T>(values: readonly T[]): T => values[Math.floor(next() * values.length)] as T;
  const effects = Array.from({ length: pick([1, 1, 2]) }, () =>
    effect({
      class: pick(CLASSES),
      verb: pick(['select', 'drop']),
      rows_max: pick([null, 3, 4]),
      objects: Array.from({ length: pick([0, 1, 2, 3]) }, () => object({ name: pick(TABLES) })),
    }),
  );
  const plain = operation(effects);
  return { ...plain, target: { ...plain.target, environment: pick(ENVIRONMENTS) } };
}

for (let seed = 1; seed <= 8; seed++) {
  test(`dispatched as plain, seed ${seed}`, async () => {
    const text = policyText(seed, 90);
    const policy = await policyOf(text);
    const plain = await policyOf(`${text}\nword if input.mode == "x" with input.mode as "x"\n`);
    const next = random(seed * 1000);
    const rules = new Set<string>();
    for (let at = 0; at < 200; at++) {
      const asked = someOperation(next);
      const told = policy.decide(asked, 'normal').verdict;
      assert.deepEqual(told, policy.decideFresh(asked, 'normal').verdict, `operation ${at}`);
      assert.deepEqual(told, plain.decide(asked, 'normal').verdict, `operation ${at}, plain`);
      rules.add(told.rule);
    }
    assert.ok(rules.size > 3);
  });
}

async function indexOf(text: string): Promise<number | null> {
  const library =
    'package holdpoint.verdict\nimport data.holdpoint.policy\nanswer := policy.deny\nsaid := 1';
  const { manifest } = await compile(await opa(), text, library);
  return manifest.dispatch === null ? null : manifest.dispatch.buckets;
}

test('what is indexed, and what is not', async () => {
  const rules = (condition: (at: number) => string, more = ''): string =>
    [
      `package holdpoint.policy\n${more}`,
      ...Array.from(
        { length: 50 },
        (_, at) => `deny contains {"rule": "r${at}", "reason": "w"} if {\n\t${condition(at)}\n}`,
      ),
    ].join('\n');
  const names = (at: number): string => `input.target.name == "t${at}"`;
  assert.equal(await indexOf(rules(names)), 50);
  assert.equal(await indexOf(rules((at) => `input.effect.class == "read"\n\t${names(at)}`)), 50);
  assert.equal(await indexOf(rules(() => 'word', 'word if input.mode == "x"')), 1);
  assert.equal(await indexOf(rules((at) => `input.effect.rows_max > ${at}`)), null);
  // Where an index could change the meaning there is none.
  assert.equal(await indexOf(rules(names, 'word if json.marshal(input) == "x"')), null);
  assert.equal(await indexOf(rules(names, 'word if input.dispatch == "x"')), null);
  assert.equal(await indexOf(rules(names, 'word if count(deny) > 1 with input.mode as "x"')), null);
  assert.equal(await indexOf(rules(names, 'dispatch_word := 1')), null);
  assert.equal(
    await indexOf(
      rules(names)
        .split('\n')
        .slice(0, 2 + 3 * 9)
        .join('\n'),
    ),
    null,
  );
});

test('a rule may look at the sets, dispatched or not', async () => {
  const many = Array.from(
    { length: 60 },
    (_, at) => `allow contains {"rule": "r${at}", "reason": "w"} if input.target.name == "t${at}"`,
  ).join('\n');
  const policy = await policyOf(
    `package holdpoint.policy
    ${many}
    deny contains {"rule": "too-open", "reason": "w"} if count(allow) > 0`,
  );
  const plain = operation([effect()]);
  const named = (name: string): Operation => ({ ...plain, target: { ...plain.target, name } });
  assert.equal(policy.decide(named('t5'), 'normal').verdict.rule, 'too-open');
  assert.equal(policy.decide(named('other'), 'normal').verdict.rule, 'nothing-said');
});
