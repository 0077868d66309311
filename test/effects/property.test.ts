// Properties that hold for every statement: spelling never changes an effect, wrapping never makes
// it milder, shapes agree.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { type EffectClass, severity } from '../../proxy/effect/effect.ts';
import { analyze, initialContext, loadParser } from '../../proxy/postgres/effect/analyze.ts';
import { shapeOf } from '../../proxy/postgres/effect/shape.ts';
import type { SessionContext } from '../../proxy/postgres/statement.ts';
import { FAMILIES } from '../oracle/postgres/statements.ts';

before(loadParser);

let users = 0;
/** A context of its own, so that nothing is remembered from another case. */
const fresh = (): SessionContext => initialContext({ user: `user_${users++}` });

const classOf = (text: string, context = fresh()): EffectClass =>
  analyze(text, context, null).class;

/** The same numbers in every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const ALL = FAMILIES.flatMap((family) =>
  family.tried.filter((t) => t.prior === undefined).map((t) => t.statement),
);

/** Tokens of a plain text: words, quoted runs, signs. Texts with more than that are left alone. */
function tokens(text: string): string[] | null {
  if (/\$|--|\/\*|\\|E'|'\s*\n\s*'/.test(text)) return null;
  return text.match(
    /'(?:[^']|'')*'|"(?:[^"]|"")*"|[A-Za-z_][A-Za-z0-9_]*|\d+(?:\.\d+)?|\s+|::|[^\sA-Za-z0-9_'"]+/g,
  );
}

function respelt(text: string, next: () => number): string | null {
  const found = tokens(text);
  if (found === null) return null;
  return found
    .map((token) => {
      if (/^\s+$/.test(token))
        return (
          [' ', '\n', '\t', ' /* ; DROP TABLE x; */ ', ' -- x\n'][Math.floor(next() * 5)] ?? ' '
        );
      if (!/^[A-Za-z_]/.test(token)) return token;
      return next() < 0.5 ? token.toUpperCase() : token.toLowerCase();
    })
    .join('');
}

test('case, white space and comments change nothing', () => {
  const next = random(7);
  let tried = 0;
  for (const text of ALL) {
    if (/EXECUTE|_xml|ts_|"/i.test(text)) continue;
    const other = respelt(text, next);
    if (other === null) continue;
    tried += 1;
    const a = analyze(text, fresh(), null);
    const b = analyze(other, fresh(), null);
    assert.equal(b.class, a.class, `${text}\n${other}`);
    assert.equal(b.unscoped, a.unscoped, `${text}\n${other}`);
  }
  assert.ok(tried > 200, `only ${tried} statements were tried`);
});

const WRAPPERS: readonly ((text: string) => string)[] = [
  (text) => `EXPLAIN ANALYZE ${text}`,
  (text) => `DO $wrapped$ BEGIN ${text}; END $wrapped$`,
  (text) => `DO $wrapped$ BEGIN EXECUTE $inner$${text}$inner$; END $wrapped$`,
  (text) => `PREPARE wrapped AS ${text}; EXECUTE wrapped`,
  (text) =>
    `CREATE FUNCTION wrapped() RETURNS void LANGUAGE sql AS $wrapped$ ${text} $wrapped$; ` +
    'SELECT wrapped()',
  (text) => `BEGIN; ${text}; ROLLBACK`,
  (text) => `SELECT 1; ${text}; SELECT 2`,
];

test('a wrapper never makes a statement milder', () => {
  const changes = ALL.filter(
    (text) => /^(DELETE|UPDATE|INSERT|TRUNCATE|MERGE|DROP)/.test(text) && !text.includes(';'),
  );
  assert.ok(changes.length > 60);
  for (const text of changes) {
    const plain = classOf(text);
    for (const wrap of WRAPPERS) {
      const wrapped = classOf(wrap(text));
      assert.ok(
        severity(wrapped) >= severity(plain),
        `${wrapped} is milder than ${plain}: ${wrap(text)}`,
      );
    }
  }
});

test('the answer for a shape is the answer for the text', () => {
  const next = random(11);
  let shaped = 0;
  for (const text of ALL) {
    if (shapeOf(text) === null) continue;
    const context = fresh();
    analyze(text, context, null);
    for (let i = 0; i < 3; i++) {
      const other = text
        .replace(/\b\d{1,9}\b/g, () => String(Math.floor(next() * 3)))
        .replace(
          /'[a-z]*'/g,
          () => ["'t'", "'f'", "''", "'users'"][Math.floor(next() * 4)] ?? "''",
        );
      if (shapeOf(other) !== shapeOf(text)) continue;
      shaped += 1;
      const remembered = analyze(other, context, null);
      const judged = analyze(other, fresh(), null);
      assert.deepEqual(remembered.effects, judged.effects, `${text}\n${other}`);
      assert.equal(remembered.statements[0]?.text, other);
    }
  }
  assert.ok(shaped > 300, `only ${shaped} texts had a shape`);
});

test('what differs in more than plain literals has another shape, or none', () => {
  const pairs: readonly (readonly [string, string])[] = [
    ['select 1', "select '1'"],
    ['select 1', 'select 1.0'],
    ['select a', 'select b'],
    ['select 1', 'select 12345678901'],
    ["select 'a'", "select E'a'"],
    ["select 'a'", "select U&'a'"],
    ['select $1', 'select $2'],
    ["select 'a' 'b'", "select 'a b'"],
    ["select '' from t", "select '''' from t where ''=''"],
    ['select "1"', 'select "2"'],
    ['select x1', 'select x2'],
  ];
  for (const [a, b] of pairs) {
    assert.ok(shapeOf(a) === null || shapeOf(a) !== shapeOf(b), `${a} | ${b}`);
  }
  for (const none of [
    'select 1 -- x',
    'select /* */ 1',
    'select $$a$$',
    "select 'a\\'",
    'select 1; select 2',
    "select 'é'",
  ]) {
    assert.equal(shapeOf(none), null, none);
  }
});
