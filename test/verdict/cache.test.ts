// A cached verdict equals a fresh one: a random stream of operations judged both ways.
// Invariant: the stream comes from a seed that a failure names, so that it can be run again.
import assert from 'node:assert/strict';
import { CLASSES, type Effect } from '../../proxy/effect/effect.ts';
import type { AgentView, Operation, TargetView } from '../../proxy/operation.ts';
import type { Policy } from '../../proxy/verdict/policy.ts';
import { MODES, type Mode } from '../../proxy/verdict/verdict.ts';
import { effect, object, operation, random } from './example.ts';
import { defaultPolicy, policyOf, rego, test } from './opened.ts';

class Stream {
  readonly #next: () => number;
  readonly #analyses: Operation['analysis'][] = [];
  readonly #targets: TargetView[] = [];
  readonly #agents: AgentView[] = [];

  constructor(seed: number) {
    this.#next = random(seed);
    const plain = operation([effect()]);
    for (const environment of ['production', 'staging', 'development', 'prod']) {
      this.#targets.push({ ...plain.target, name: `t-${environment}`, environment });
    }
    for (const capabilities of [['read'], ['read', 'write'], ['read', 'write', 'ddl'], []]) {
      this.#agents.push({ ...plain.agent, name: capabilities.join('-'), capabilities });
    }
    for (let made = 0; made < 60; made++) this.#analyses.push(this.#analysis());
  }

  #pick<T>(values: readonly T[]): T {
    const value = values[Math.floor(this.#next() * values.length)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  }

  #effect(): Effect {
    const access = this.#pick([
      'read',
      'insert',
      'update',
      'delete',
      'truncate',
      'drop',
      'alter',
    ] as const);
    return effect({
      class: this.#pick(CLASSES),
      verb: this.#pick(['select', 'insert', 'update', 'delete', 'truncate', 'drop', 'merge']),
      objects: [object({ access, name: this.#pick(['orders', 'audit_log', 'users', 'listed']) })],
      scoped: this.#next() < 0.6,
      rows_max: this.#pick([null, 1, 100, 101]),
    });
  }

  #analysis(): Operation['analysis'] {
    const effects = Array.from({ length: this.#pick([0, 1, 1, 1, 2, 3]) }, () => this.#effect());
    const { analysis } = operation(effects);
    return { ...analysis, complete: this.#next() < 0.95, class: this.#pick(CLASSES) };
  }

  next(): { operation: Operation; mode: Mode } {
    const analysis = this.#next() < 0.8 ? this.#pick(this.#analyses) : this.#analysis();
    const plain = operation([]);
    const stated = {
      reason: this.#pick([null, 'clean-up', 'report']),
      task: null,
      on_behalf_of: null,
    };
    const parameter = this.#pick([null, '1', '2']);
    return {
      mode: this.#pick([...MODES, 'normal', 'normal', 'normal']),
      operation: {
        ...plain,
        id: String(this.#next()),
        bytes: new TextEncoder().encode(this.#pick(['DELETE 1', 'DELETE 2'])),
        analysis,
        target: this.#pick(this.#targets),
        agent: this.#pick(this.#agents),
        in_transaction: this.#next() < 0.5,
        parameters: [{ type: 'int4', format: 'text', bytes: null, text: parameter }],
        session: { ...plain.session, stated, settings: { role: this.#pick(['a', 'b']) } },
        asked: `2026-01-01T00:00:0${this.#pick([1, 2, 3])}Z`,
      },
    };
  }
}

async function compare(policy: Policy, seed: number, length: number): Promise<number> {
  const stream = new Stream(seed);
  const rules = new Set<string>();
  for (let at = 0; at < length; at++) {
    const { operation: asked, mode } = stream.next();
    const kept = policy.decide(asked, mode);
    assert.deepEqual(kept, policy.decideFresh(asked, mode), `seed ${seed}, operation ${at}`);
    rules.add(kept.verdict.rule);
  }
  return rules.size;
}

test('the default policy answers the same from its caches', async () => {
  const policy = await defaultPolicy();
  assert.equal(policy.keeps, true);
  assert.ok((await compare(policy, Number(process.env.SEED ?? 20260101), 2500)) > 12);
});

const TAGS = '{"tags": {"*.users": ["pii"]}}';

/** A policy for each thing that may vary, whose rule's name tells it. */
const READERS: readonly [name: string, body: string, keeps: boolean][] = [
  ['parameters', 'allow contains {"rule": input.operation.parameters[0], "reason": "w"}', false],
  ['time', 'allow contains {"rule": input.time, "reason": "w"}', false],
  ['id', 'allow contains {"rule": input.operation.id, "reason": "w"}', false],
  ['statement', 'allow contains {"rule": input.operation.statement, "reason": "w"}', true],
  ['digest', 'allow contains {"rule": input.operation.sha256, "reason": "w"}', true],
  ['stated', 'allow contains {"rule": input.session.stated.reason, "reason": "w"}', false],
  ['setting', 'allow contains {"rule": input.session.settings.role, "reason": "w"}', false],
  [
    'transaction',
    'allow contains {"rule": json.marshal(input.operation.in_transaction), "reason": "w"}',
    true,
  ],
  ['whole session', 'allow contains {"rule": json.marshal(input.session), "reason": "w"}', false],
  [
    'whole operation',
    'allow contains {"rule": x, "reason": "w"} if x := input.operation.id',
    false,
  ],
  [
    'whole input',
    `allow contains {"rule": f(input), "reason": "w"}
    f(x) := concat("", [x.time, x.operation.id])`,
    false,
  ],
  [
    'a computed path',
    'allow contains {"rule": input[k].stated.reason, "reason": "w"} if some k in ["session"]',
    false,
  ],
  ['tags', 'allow contains {"rule": json.marshal(input.effect), "reason": "w"}', true],
  [
    'an alias',
    'import input.session as s\nallow contains {"rule": s.settings.role, "reason": "w"}',
    false,
  ],
  [
    'through with',
    `says := input.effect.verb
    allow contains {"rule": x, "reason": "w"} if x := says with input.effect.verb as input.time`,
    false,
  ],
];

for (const [name, body, keeps] of READERS) {
  test(`what may vary is in the key: ${name}`, async () => {
    const policy = await policyOf(rego(body), { data: TAGS });
    assert.equal(policy.keeps, keeps);
    assert.ok((await compare(policy, 7, 200)) > 1, 'the rule follows from it');
  });
}
