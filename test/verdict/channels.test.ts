// The channels that a hold rule names: read from real Rego, merged, and odd ones refused.
// Invariant: no way of merging makes a demand easier than a rule made it.
import assert from 'node:assert/strict';
import { verdictOf, worstOf } from '../../proxy/verdict/answer.ts';
import { effect, operation } from './example.ts';
import { policyOf, rego, test } from './opened.ts';

const hold = (over: object) => ({ rule: 'r', reason: 'x', group: 'a', ...over });
const said = (...all: object[]) => verdictOf({ kind: 'hold', said: all.map(hold) });

test('Rego says them as a list, as a set or computed', async () => {
  const written = [
    '["slack", "page"]',
    '{"page", "slack"}',
    '[c | some c in ["slack", "page", "fax"]; c != "fax"]',
    'data.channels',
  ];
  for (const value of written) {
    const rule = `{"rule": "r", "reason": "w", "group": "g", "channels": ${value}}`;
    const data = JSON.stringify({ channels: ['slack', 'page'] });
    const policy = await policyOf(rego(`hold contains ${rule}`), { data });
    const { verdict } = policy.decide(operation([effect()]), 'normal');
    assert.ok(verdict.kind === 'hold', verdict.reason);
    assert.deepEqual(verdict.demands, [
      { rule: 'r', group: 'g', signatures: 1, channels: ['page', 'slack'] },
    ]);
  }
});

test('are names of ways to sign, or the answer is odd', () => {
  const good = said({ channels: ['slack', 'page', 'callback:jira', 'page'] });
  assert.deepEqual(good.kind === 'hold' && good.demands[0]?.channels, [
    'callback:jira',
    'page',
    'slack',
  ]);
  const odd = [[], 'slack', ['smoke'], [1], ['callback:'], ['Slack'], [['page']], null, {}];
  for (const channels of odd) assert.equal(said({ channels }).kind, 'deny');
});

test('of two rules both have to be met', () => {
  const demands = (...all: object[]) => {
    const worst = worstOf([said(...all)]);
    assert.ok(worst.kind === 'hold');
    return worst.demands.map((d) => [d.group, d.signatures, d.channels ?? null]);
  };
  assert.deepEqual(demands({}, { channels: ['cli', 'page'], signatures: 2 }), [
    ['a', 2, ['cli', 'page']],
  ]);
  assert.deepEqual(demands({}, { channels: ['page', 'cli'] }).length, 1);
  assert.deepEqual(demands({ channels: ['page'] }, { channels: ['page', 'slack'] }), [
    ['a', 1, ['page']],
  ]);
  const both = demands({ channels: ['page'] }, { channels: ['page', 'slack'], signatures: 2 });
  assert.deepEqual(both.length, 2);
  assert.deepEqual(demands({ group: 'a|b', channels: ['slack'] }, { group: 'a' }).length, 2);
});
