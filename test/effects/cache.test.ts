// Judged texts that are remembered: an answer is given again only where it would be found again.
// Invariant: each case has an answer that would be wrong, so that giving it would be seen.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { EFFECT_LIMITS } from '../../proxy/limits.ts';
import {
  analyze,
  applyChange,
  initialContext,
  loadParser,
} from '../../proxy/postgres/effect/analyze.ts';
import { shapeOf } from '../../proxy/postgres/effect/shape.ts';
import type { Parsed } from '../../proxy/postgres/statement.ts';

before(loadParser);

const fresh = () => initialContext({ user: 'u', search_path: ['public'] });

function tableOf(parsed: Parsed): string | undefined {
  return parsed.effects[0]?.objects[0]?.name;
}

test('two shapes of one hash are two shapes', () => {
  const seen = new Map<number, string>();
  const pairs: [string, string][] = [];
  for (let n = 0; pairs.length < 3; n++) {
    const text = `select 1 from t${(Math.imul(n, 0x9e3779b1) >>> 0).toString(36)}_`;
    const hash = shapeOf(text)?.hash ?? 0;
    const other = seen.get(hash);
    if (other !== undefined && other !== text) pairs.push([other, text]);
    seen.set(hash, text);
    assert.ok(n < 5_000_000, 'no two hashes are alike');
  }
  const context = fresh();
  for (const pair of pairs) {
    for (const text of [...pair, ...pair]) {
      assert.equal(tableOf(analyze(text, context, null)), /from (\w+)/.exec(text)?.[1], text);
    }
  }
});

test('long texts that differ in a single character differ', () => {
  const context = fresh();
  const text = (name: string) => `select x from ${name} /* ${'as long as it takes '.repeat(60)} */`;
  for (const round of [1, 2]) {
    for (let place = 0; place < 12; place++) {
      const name = `${'_'.repeat(place)}a${'_'.repeat(12 - place)}`;
      assert.equal(tableOf(analyze(text(name), context, null)), name, `round ${round}`);
    }
  }
});

test('more texts than are kept, in many contexts: each has its own answer', () => {
  const contexts = [fresh(), initialContext({ user: 'u', search_path: ['other'] })];
  const count = EFFECT_LIMITS.cache_answers * 1.5;
  for (const round of [1, 2]) {
    for (let n = 0; n < count; n++) {
      const text = n % 2 === 0 ? `select * from t${n}` : `select * from t${n} where id = ${round}`;
      const parsed = analyze(text, contexts[n % 2] ?? fresh(), null);
      assert.equal(tableOf(parsed), `t${n}`);
      assert.equal(parsed.statements[0]?.text, text);
    }
  }
});

test('what rests on prepared statements or cursors is told to that session alone', () => {
  const prepared = (text: string) => {
    const context = fresh();
    let after = context;
    for (const { changes } of analyze(text, context, null).statements)
      for (const change of changes) after = applyChange(after, change);
    return after;
  };
  const deletes = prepared('prepare p as delete from users');
  const reads = prepared('prepare p as select 1 from users');
  const none = fresh();
  for (const round of [1, 2]) {
    assert.equal(analyze('execute p', deletes, null).class, 'destructive', `round ${round}`);
    assert.equal(analyze('execute p', reads, null).class, 'read', `round ${round}`);
    assert.equal(analyze('execute p', none, null).class, 'unknown', `round ${round}`);
  }
});

test('contexts that mean the same share answers; others do not', () => {
  const text = 'select * from shared_by_meaning where id = 1';
  const first = analyze(text, fresh(), null);
  assert.equal(analyze(text, fresh(), null), first);
  const elsewhere = initialContext({ user: 'u', search_path: ['elsewhere'] });
  assert.notEqual(analyze(text, elsewhere, null), first);
  const alike = analyze(text.replace('1', '2'), fresh(), null);
  assert.equal(alike.effects, first.effects);
});
