// What is computed of a row to keep it: by indexes, statistics and partition keys.
// Invariant: an expression that can't be read is `unknown`; what compares values counts as well.
import type { Relation } from '../catalog/snapshot.ts';
import { ParseFailure, parse } from '../parser.ts';
import { walk } from './expression.ts';
import type { Judge } from './judge.ts';
import { DEPARSED_PATH } from './names.ts';
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
