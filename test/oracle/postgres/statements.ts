// The oracle's own corpus: families of statements over world.sql, each meant to change something
// unseen, or to change nothing.
// Invariant: a family says only what its statements are about; what they do is measured, never
// written down here.

import { readFileSync } from 'node:fs';

export interface Tried {
  readonly statement: string;
  /** Sent before, on the same connection. */
  readonly prior?: readonly string[];
  /** It must be judged a read: tools and people send such things all day. */
  readonly read?: boolean;
  /** It must be understood: applications do such things. */
  readonly known?: boolean;
}

export interface Family {
  readonly name: string;
  readonly tried: readonly Tried[];
}

/** The families written down one by one: each line of statements.jsonl is a statement. */
function written(): Family[] {
  const families = new Map<string, Tried[]>();
  const text = readFileSync(new URL('./statements.jsonl', import.meta.url), 'utf8');
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const { family: name, ...tried } = JSON.parse(line) as Tried & { family: string };
    const list = families.get(name) ?? [];
    list.push(tried);
    families.set(name, list);
  }
  return [...families].map(([name, tried]) => ({ name, tried }));
}

type Given = string | { readonly statement: string; readonly prior: readonly string[] };

function family(name: string, given: readonly Given[]): Family {
  return { name, tried: given.map((g): Tried => (typeof g === 'string' ? { statement: g } : g)) };
}

const after = (prior: readonly string[], statement: string): Given => ({ prior, statement });

/** Calls that delete, each by another road. */
const CALLS =
  `purge() purge_sql() purge_atomic() purge_int(1) purge_imm(1) purge_stable(1) purge_set()
  purge_dynamic()
  purge_constant() purge_definer() purge_nested() purge_exception() purge_loop() purge_assign()
  purge_case(1)
  purge_cursor() purge_text('x') evil.lower('x')`
    .trim()
    .split(/\s+/);

/** Statements that change rows, as they stand. */
const CHANGES = [
  'DELETE FROM victims',
  'DELETE FROM victims WHERE v = 1',
  "UPDATE users SET name = 'x' WHERE id = 1",
  "UPDATE users SET name = 'x'",
  "INSERT INTO src VALUES (3, 'z')",
  "INSERT INTO users VALUES (1, 'q') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
  'MERGE INTO users u USING src s ON u.id = s.id WHEN MATCHED THEN UPDATE SET name = s.name',
  'WITH d AS (DELETE FROM victims RETURNING v) SELECT count(*) FROM d',
];

/** Ways to say a change through something else. */
function wrapped(): Given[] {
  return CHANGES.flatMap((change, i): Given[] => {
    const isQuery = change.startsWith('WITH');
    const inBlock = isQuery
      ? change.replace('SELECT count(*)', 'INSERT INTO inbox SELECT 1')
      : change;
    const quoted = change.replaceAll("'", "''");
    const cte =
      change.startsWith('WITH') || change.startsWith('MERGE')
        ? null
        : `WITH x AS (${change} RETURNING 1) SELECT * FROM x`;
    return [
      ...(cte === null ? [] : [cte, `COPY (${change} RETURNING 1) TO STDOUT`]),
      `EXPLAIN ANALYZE ${change}`,
      `EXPLAIN (VERBOSE, "analyze" 'on', COSTS off) ${change}`,
      `DO $body$ BEGIN ${inBlock}; END $body$`,
      `DO 'BEGIN ${isQuery ? '' : `EXECUTE ''${quoted.replaceAll("''", "''''")}'';`} END'`,
      after([`PREPARE w${i} AS ${change}`], `EXECUTE w${i}`),
      `/* select */ -- read only\n ${change} ; select 1`,
      `BEGIN; ${change}; COMMIT`,
      `SELECT 1; ${change}`,
    ];
  });
}

function calls(): Given[] {
  return CALLS.flatMap((call, i): Given[] => [
    `SELECT ${call}`,
    `SELECT * FROM ${call} AS x`,
    `SELECT 1 WHERE (SELECT count(*) FROM (SELECT ${call}) y) = 1`,
    ...(i % 4 === 0 ? [`CREATE TABLE made_${i} AS SELECT 1 AS one FROM (SELECT ${call}) x`] : []),
    after(['BEGIN', `DECLARE k CURSOR FOR SELECT ${call}`], 'FETCH ALL FROM k; COMMIT'),
  ]);
}

export const FAMILIES: readonly Family[] = [
  family('changes through something else', wrapped()),
  family('calls that delete', calls()),
  ...written(),
];
