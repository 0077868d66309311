// Properties that hold for every statement: spelling never changes an effect, wrapping never makes
// it milder, what is remembered is what would be judged.
//
// HOLDPOINT_SECONDS=60 tries random statements for a minute, HOLDPOINT_SEED=… others than these.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type EffectClass, severity } from '../../proxy/effect/effect.ts';
import { type CatalogReader, openCatalog } from '../../proxy/postgres/catalog.ts';
import { analyze, initialContext, loadParser } from '../../proxy/postgres/effect/analyze.ts';
import { shapeOf } from '../../proxy/postgres/effect/shape.ts';
import type { Parsed, SessionContext } from '../../proxy/postgres/statement.ts';
import { FAMILIES } from '../oracle/postgres/statements.ts';
import { dice } from '../peers/cutter.ts';
import { type PostgresServer, startPostgres } from '../setup/postgres.ts';
import { plain, Random, relabelled, SCHEMA, respelt as spelt } from './random.ts';

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

test('a comment is white space, wherever it stands', () => {
  for (const [text, other] of [
    ['select 1 from t where a not in (1)', 'select 1 from t where a not/* x */in (1)'],
    ['delete from t where a not like $1', 'delete from t where a not -- x\n like $1'],
    ['select a from t order by a nulls last', 'select a from t order by a nulls /*é*/ last'],
    ['select a::timestamp with time zone', 'select a::timestamp with --\n time zone'],
    ["select U&'d!0061' uescape '!'", "select U&'d!0061' /*c*/ uescape '!'"],
    ["select '/*' where a not in ('--')", "select '/*' where a not /**/ in ('--')"],
  ] as const) {
    const parsed = analyze(other, fresh(), null);
    assert.equal(parsed.complete, true, other);
    assert.deepEqual(parsed.effects, analyze(text, fresh(), null).effects, other);
    assert.equal(parsed.statements[0]?.text, other);
  }
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
      if (shapeOf(other)?.text !== shapeOf(text)?.text) continue;
      assert.equal(shapeOf(other)?.hash, shapeOf(text)?.hash);
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
    assert.ok(shapeOf(a) === null || shapeOf(a)?.text !== shapeOf(b)?.text, `${a} | ${b}`);
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

describe('random statements', () => {
  const SECONDS = Number(process.env.HOLDPOINT_SECONDS ?? 0);
  const SEED = Number(process.env.HOLDPOINT_SEED ?? 5);
  const LEAST = 800;
  let server: PostgresServer;
  let reader: CatalogReader;
  before(async () => {
    server = await startPostgres();
    reader = await openCatalog(server.url(await server.createDatabase(SCHEMA)));
  });
  after(async () => {
    await reader?.close();
    await server?.stop();
  });

  const own = (): SessionContext =>
    initialContext({ user: `user_${users++}`, search_path: ['public'] });
  const judge = (text: string, context = own()) => analyze(text, context, reader.current());

  /** All that a verdict may rest on. */
  const said = (parsed: Parsed) => ({
    class: parsed.class,
    effects: parsed.effects,
    statements: parsed.statements.map(({ node, needs_read_write, own_transaction, changes }) => [
      node,
      needs_read_write,
      own_transaction,
      changes.map((change) => change.kind),
    ]),
  });

  /** Tries new statements: the same ones on a quick machine and on a slow one. */
  function tried(salt: number, check: (random: Random, roll: (bound: number) => number) => void) {
    const end = performance.now() + (SECONDS * 1000) / 3;
    let count = 0;
    while (count < LEAST || performance.now() < end) {
      const seed = SEED * 1_000_003 + salt * 100_000_007 + count;
      const roll = dice(seed);
      for (let i = 0; i < 5; i++) roll(2);
      check(new Random(roll), roll);
      count += 1;
    }
    return count;
  }

  test('spelling changes nothing', (t) => {
    const kinds = new Map<string, number>();
    const count = tried(1, (random, roll) => {
      const tokens = random.statement();
      const text = plain(tokens);
      const parsed = judge(text);
      for (const { opaque } of parsed.effects) assert.doesNotMatch(opaque ?? '', /parse/, text);
      for (const { node } of parsed.statements) kinds.set(node, (kinds.get(node) ?? 0) + 1);
      const other = spelt(tokens, roll);
      assert.deepEqual(said(judge(other)), said(parsed), `${text}\n${other}`);
    });
    t.diagnostic(
      `${count} statements: ${[...kinds].map(([kind, n]) => `${n} ${kind}`).join(', ')}`,
    );
    assert.ok(kinds.size >= 15, [...kinds.keys()].join(' '));
  });

  test('what is remembered is what would be judged', (t) => {
    const context = own();
    let shapes = 0;
    const count = tried(2, (random, roll) => {
      const tokens = random.statement();
      const text = plain(tokens);
      const first = judge(text, context);
      const other = relabelled(tokens, roll);
      const remembered = judge(other, context);
      assert.deepEqual(said(remembered), said(judge(other)), `${text}\n${other}`);
      assert.deepEqual(said(judge(text, context)), said(first), text);
      assert.deepEqual(said(judge(text)), said(first), text);
      if (remembered.effects === first.effects) shapes += 1;
    });
    t.diagnostic(`${count} statements, ${shapes} of them answered by their shape`);
    assert.ok(shapes > 0);
  });

  test('a wrapper never makes a change milder', (t) => {
    const count = tried(3, (random) => {
      const text = plain(random.change());
      const before = judge(text);
      for (const wrap of WRAPPERS) {
        const after = judge(wrap(text));
        const milder = severity(after.class) < severity(before.class);
        assert.ok(!milder, `${after.class} is milder than ${before.class}: ${wrap(text)}`);
        assert.ok(after.unscoped || !before.unscoped, `said to be scoped: ${wrap(text)}`);
      }
    });
    t.diagnostic(`${count} changes, each in ${WRAPPERS.length} wrappers`);
  });
});
