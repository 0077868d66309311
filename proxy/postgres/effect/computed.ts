// What is computed of a row to keep it: by indexes, statistics and partition keys. What of that is
// constant is computed whenever a query of the table is planned.
// Invariant: an expression that can't be read is `unknown`; what compares values counts as well.
import type { FuncCall } from '@pgsql/types';
import type { Relation } from '../catalog/snapshot.ts';
import { ParseFailure, parse } from '../parser.ts';
import { walk } from './expression.ts';
import type { Judge } from './judge.ts';
import { DEPARSED_PATH, parts } from './names.ts';
import { variesByRow } from './reference.ts';
import { label } from './relation.ts';
import { absorbFunction, expressionText } from './routine.ts';

/** What ANALYZE, REINDEX and every new row compute. */
export function indexExpressions(judge: Judge, relation: Relation): void {
  const via = `index on ${label(relation)}`;
  const inner = judge.inside({ path: DEPARSED_PATH, via: [...judge.via, via] });
  for (const index of relation.indexes) {
    for (const opclass of index.classes) {
      for (const code of judge.catalog?.classes.get(opclass)?.functions ?? [])
        absorbFunction(judge, code, [via]);
    }
    if (index.definition === null) continue;
    try {
      const statement = parse(index.definition).stmts?.[0]?.stmt;
      if (statement === undefined || !('IndexStmt' in statement)) continue;
      walk(inner, statement.IndexStmt.indexParams);
      walk(inner, statement.IndexStmt.whereClause);
    } catch (error) {
      if (!(error instanceof ParseFailure)) throw error;
      inner.opaque(`an index on ${label(relation)} can't be parsed`);
    }
  }
  for (const expression of relation.statistics) expressionText(inner, expression);
}

export function partitionKey(judge: Judge, relation: Relation): void {
  const inner = judge.inside({
    path: DEPARSED_PATH,
    via: [...judge.via, `partition key of ${label(relation)}`],
  });
  try {
    const statement = parse(`create table t () partition by ${relation.partition_key ?? ''}`)
      .stmts?.[0]?.stmt;
    if (statement !== undefined && 'CreateStmt' in statement)
      walk(inner, statement.CreateStmt.partspec?.partParams);
  } catch (error) {
    if (!(error instanceof ParseFailure)) throw error;
    inner.opaque(`the partition key of ${label(relation)} can't be parsed`);
  }
}

/** The condition of a CHECK as the server writes it out. */
export function conditionOf(definition: string): string {
  return definition.replace(/^CHECK\s*/, '').replace(/\s+(NO INHERIT|NOT VALID|NOT ENFORCED)/g, '');
}

/**
 * What planning a query runs, by all that is known of the table: calls whose arguments are
 * constants, in conditions of its indexes, checks, statistics, and partition keys.
 */
export function planned(judge: Judge, relation: Relation): void {
  const texts = [
    ...relation.checks.map((check) => `select ${conditionOf(check.definition)}`),
    ...relation.statistics.map((expression) => `select ${expression}`),
    ...relation.indexes.flatMap((index) => index.definition ?? []),
  ];
  if (relation.partition_key !== null)
    texts.push(`create table t () partition by ${relation.partition_key}`);
  const via = `planning a query of ${label(relation)}`;
  const inner = judge.inside({ path: DEPARSED_PATH, planning: true, via: [...judge.via, via] });
  for (const text of texts) {
    try {
      folded(inner, parse(text).stmts);
    } catch (error) {
      if (!(error instanceof ParseFailure)) throw error;
      inner.opaque(`what is known of ${label(relation)} can't be parsed`);
    }
  }
}

const RUNS = new Set(['FuncCall', 'A_Expr', 'TypeCast']);

function folded(judge: Judge, value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  for (const [kind, body] of Object.entries(value)) {
    const whole = RUNS.has(kind) && (!variesByRow(body) || isInlined(judge, kind, body));
    if (whole) walk(judge, { [kind]: body });
    else folded(judge, body);
  }
}

/** A function in SQL is put in place of its call first: what is constant in it is computed too. */
function isInlined(judge: Judge, kind: string, body: unknown): boolean {
  if (kind !== 'FuncCall') return false;
  const name = parts((body as FuncCall).funcname).at(-1) ?? '';
  const routines = judge.catalog?.routines_named.get(name) ?? [];
  return routines.some(({ language }) => language === 'sql');
}
