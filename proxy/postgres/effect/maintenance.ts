// VACUUM, ANALYZE, CLUSTER, REINDEX, REFRESH: no rows change, but users' expressions may run.
// Invariant: every table they touch has its index expressions, statistics and (for REFRESH) its
// query judged.
import type {
  ClusterStmt,
  RangeVar,
  RefreshMatViewStmt,
  ReindexStmt,
  VacuumStmt,
} from '@pgsql/types';
import type { Relation } from '../catalog/snapshot.ts';
import { ParseFailure, parse } from '../parser.ts';
import type { LocalObject } from '../statement.ts';
import { indexExpressions } from './computed.ts';
import { option, optionText } from './ddl.ts';
import { walk } from './expression.ts';
import { absorb, type Judge } from './judge.ts';
import { counts, DEPARSED_PATH, findRelation } from './names.ts';
import { descendants, label } from './relation.ts';
import { meetType } from './type.ts';

function isOn(node: VacuumStmt, name: string): boolean {
  const found = option(node.options, name);
  return found !== null && !/^(off|false|no|0)$/i.test(optionText(found));
}

function touch(judge: Judge, range: RangeVar | undefined, computes = true): void {
  if (range === undefined) return;
  const meaning = findRelation(judge, range.schemaname ?? null, range.relname ?? '');
  for (const relation of meaning.relations) {
    judge.relation(relation, 'alter');
    if (!computes) continue;
    // With a partitioned table, its partitions; with a parent, its children.
    for (const each of [relation, ...descendants(judge, relation)]) compute(judge, each);
    if (relation.kind === 'm') query(judge, relation);
  }
  for (const local of meaning.locals) if (computes) computed(judge, local);
  if (meaning.relations.length === 0) judge.object('table', meaning.schema, meaning.name, 'alter');
}

/** What indexes and statistics hold; values are sorted for both. */
function compute(judge: Judge, relation: Relation): void {
  indexExpressions(judge, relation);
  for (const column of relation.columns) meetType(judge, column.type, 'seen');
}

/** Index expressions, or a query, that the catalog does not show yet. */
export function computed(judge: Judge, local: LocalObject): void {
  for (const { effects } of local.on_write) absorb(judge, effects, [`table ${local.name}`]);
}

function everyTable(judge: Judge, schema: string | null): void {
  for (const relation of judge.catalog?.relations.values() ?? []) {
    if (schema === null || relation.schema === schema) compute(judge, relation);
  }
  for (const local of judge.root.session.local.values())
    if (counts(judge, local)) computed(judge, local);
}

function query(judge: Judge, view: Relation): void {
  const inner = judge.inside({
    path: DEPARSED_PATH,
    via: [...judge.via, `materialized view ${label(view)}`],
  });
  try {
    for (const raw of parse(view.definition ?? '').stmts ?? []) walk(inner, raw.stmt);
  } catch (error) {
    if (!(error instanceof ParseFailure)) throw error;
    inner.opaque(`the definition of ${label(view)} can't be parsed`);
  }
}

export function maintainVacuum(judge: Judge, node: VacuumStmt): void {
  judge.open(node.is_vacuumcmd === true ? 'vacuum' : 'analyze', 'ddl');
  judge.findings.own_transaction = node.is_vacuumcmd === true;
  // A plain VACUUM computes nothing; FULL and ANALYZE do.
  const computes = node.is_vacuumcmd !== true || isOn(node, 'full') || isOn(node, 'analyze');
  const relations = (node.rels ?? []).flatMap((n) =>
    'VacuumRelation' in n ? [n.VacuumRelation.relation] : [],
  );
  for (const relation of relations) touch(judge, relation, computes);
  if (relations.length === 0 && computes) everyTable(judge, null);
}

export function maintainCluster(judge: Judge, node: ClusterStmt): void {
  judge.open('cluster', 'ddl');
  touch(judge, node.relation);
  if (node.relation === undefined) {
    judge.findings.own_transaction = true;
    everyTable(judge, null);
  }
}

export function maintainReindex(judge: Judge, node: ReindexStmt): void {
  judge.open('reindex', 'ddl');
  judge.findings.own_transaction = true;
  if (node.kind === 'REINDEX_OBJECT_TABLE') touch(judge, node.relation);
  else if (node.kind === 'REINDEX_OBJECT_INDEX') {
    judge.object('index', node.relation?.schemaname ?? null, node.relation?.relname ?? '', 'alter');
    // Which table the index is on is not looked up: every table's expressions may run.
    everyTable(judge, null);
  } else everyTable(judge, node.kind === 'REINDEX_OBJECT_SCHEMA' ? (node.name ?? null) : null);
}

export function refreshView(judge: Judge, node: RefreshMatViewStmt): void {
  const draft = judge.open('refresh', 'ddl');
  if (node.skipData === true) draft.class = 'destructive';
  touch(judge, node.relation);
}
