// What judging costs beside parsing: first sight, exact repeat, and a known shape with other
// literals, as ratios to the grammar's own time.
// Invariant: all arms run in one process, turn by turn, on the same texts.
//
//   node test/bench/effect.ts
import { buildSnapshot } from '../../proxy/postgres/catalog/snapshot.ts';
import { analyze, initialContext, loadParser } from '../../proxy/postgres/effect/analyze.ts';
import { parse } from '../../proxy/postgres/parser.ts';

const SHAPES: readonly (readonly [string, (i: number) => string])[] = [
  ['point select', (i) => `SELECT abalance FROM pgbench_accounts WHERE aid = ${i}`],
  [
    'join',
    (i) =>
      `select u.id, count(*) from users u join orders o on o.user_id = u.id where u.id = ${i} ` +
      `and o.status = 'x${i}' group by 1 order by 2 desc limit 10`,
  ],
  ['update', (i) => `UPDATE users SET name = 'a${i}' WHERE id = ${i}`],
  ['insert', (i) => `insert into orders (id, user_id, total) values (${i}, 3, 4.5)`],
];
const ROUNDS = 15;
const TEXTS = 400;

function timed(work: () => void): number {
  const began = performance.now();
  work();
  return ((performance.now() - began) * 1000) / TEXTS;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

await loadParser();
const catalog = buildSnapshot(
  { server: [{ version: 180000, database: 'bench', port: '5432' }] },
  1,
);
console.log('statement       parse µs   first    repeat   shape   (ratios to parse)');
for (const [name, textOf] of SHAPES) {
  const arms = { parse: [], first: [], repeat: [], shape: [] } as { [arm: string]: number[] };
  for (let round = 0; round < ROUNDS; round++) {
    const texts = Array.from({ length: TEXTS }, (_, i) => textOf(round * TEXTS + i));
    arms.parse?.push(timed(() => texts.forEach((text) => void parse(text))));
    const context = initialContext({ user: `s${round}` });
    // A comment has no shape: such texts are judged from the grammar up.
    const unseen = texts.map((text) => `${text} --`);
    arms.first?.push(timed(() => unseen.forEach((text) => void analyze(text, context, catalog))));
    analyze(textOf(-1 - round), context, catalog);
    analyze(textOf(1_000_000 + round), context, catalog);
    arms.shape?.push(timed(() => texts.forEach((text) => void analyze(text, context, catalog))));
    arms.repeat?.push(timed(() => texts.forEach((text) => void analyze(text, context, catalog))));
  }
  const base = median(arms.parse ?? []);
  const ratio = (arm: string) => (median(arms[arm] ?? []) / base).toFixed(3).padStart(8);
  const row = [ratio('first'), ratio('repeat'), ratio('shape')].join(' ');
  console.log(`${name.padEnd(14)} ${base.toFixed(1).padStart(8)} ${row}`);
}
