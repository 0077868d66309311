// Input made to hurt: too long, too deep, not text at all. Each is refused in bounded time, and the
// next statement is judged.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { analyze, initialContext, loadParser } from '../../proxy/postgres/effect/analyze.ts';

before(loadParser);

/** Wide, since a test machine may be busy; the room itself aims at 50 ms. */
const LONGEST_MS = 1500;

const CASES: readonly (readonly [what: string, text: string])[] = [
  ['64,000 terms', `select ${'1+'.repeat(64_000)}1`],
  ['8,000 terms', `select ${'1+'.repeat(8_000)}1`],
  ['10,000 parentheses', `select ${'('.repeat(10_000)}1${')'.repeat(10_000)}`],
  ['10,000 brackets', `select ${'array['.repeat(10_000)}1${']'.repeat(10_000)}`],
  ['10,000 nots', `select ${'not '.repeat(10_000)}true`],
  ['10,000 cases', `select ${'case when '.repeat(10_000)}true${' then 1 end'.repeat(10_000)}`],
  ['1 MB of string', `select '${'x'.repeat(1_048_576)}'`],
  ['1 MB of list', `select 1 where 1 in (${'1,'.repeat(524_288)}1)`],
  ['1 MB of statements', 'select 1;'.repeat(116_508)],
  ['a NUL', 'select 1\0; delete from users'],
  [
    'bytes that are not UTF-8',
    Buffer.from([0x73, 0x65, 0x6c, 0x65, 0x63, 0x74, 0x20, 0x27, 0xff, 0xfe, 0x27]).toString(
      'utf8',
    ),
  ],
  ['an open string', "select 'abc"],
  ['an open comment', 'select 1 /* /* */'],
  ['an open dollar quote', 'select $a$ b'],
  ['nonsense', '\u0001\u0002)(*&^%'],
];

for (const [what, text] of CASES) {
  test(`${what}: unknown, in time, and the next is judged`, () => {
    const context = initialContext({ user: 'postgres' });
    const began = performance.now();
    const parsed = analyze(text, context, null);
    const took = performance.now() - began;
    assert.equal(parsed.class, 'unknown');
    assert.equal(parsed.complete, false);
    assert.ok(
      parsed.effects.every((effect) => effect.opaque === null || effect.opaque.length < 1000),
    );
    assert.ok(took < LONGEST_MS, `took ${took.toFixed(0)} ms`);
    assert.equal(typeof parsed.normalized, 'string');
    assert.equal(typeof parsed.fingerprint, 'string');
  });
}

test('a grammar that trapped is replaced, and statements after it are judged', async () => {
  const context = initialContext({ user: 'postgres' });
  for (let i = 0; i < 8; i++) {
    assert.equal(analyze(`select ${'1+'.repeat(20_000 + i)}1`, context, null).class, 'unknown');
    // A spare takes over at once; when all are used up, one is ready in a moment.
    for (let tries = 0; tries < 100; tries++) {
      if (
        analyze(`delete from users where id = ${i} and x = ${tries}`, context, null).class ===
        'destructive'
      )
        break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.equal(
      analyze(`delete from users where id = ${i} and y = 1`, context, null).class,
      'destructive',
    );
  }
});

test('a body that never ends and a view of itself are cut off', () => {
  const context = initialContext({ user: 'postgres' });
  const nested = (depth: number): string =>
    depth === 0 ? 'delete from t' : `do ${quote(`begin ${nested(depth - 1)}; end`)}`;
  const quote = (text: string) => `'${text.replaceAll("'", "''")}'`;
  for (const depth of [1, 5, 12]) {
    const parsed = analyze(nested(depth), context, null);
    assert.ok(
      parsed.class === 'destructive' || parsed.class === 'unknown',
      `${depth}: ${parsed.class}`,
    );
  }
});
