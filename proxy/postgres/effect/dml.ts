// INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY: changes of rows, and how many rows they can reach.
// Invariant: a change is scoped only when its condition is shown to narrow it.
import type {
  CopyStmt,
  DeleteStmt,
  InsertStmt,
  MergeStmt,
  Node,
  RangeVar,
  TruncateStmt,
  UpdateStmt,
  WithClause,
} from '@pgsql/types';
import type { EffectClass } from '../../effect/effect.ts';
import type { Relation } from '../catalog/snapshot.ts';
import type { WriteEvent } from '../statement.ts';
import { setColumns, setDefaults } from './changed.ts';
import { multiplied, predicateOf } from './count.ts';
import { walk } from './expression.ts';
import type { Draft, Judge, Source } from './judge.ts';
import { findRelation, isOwnTable, type RelationMeaning } from './names.ts';
import { isLooped } from './operand.ts';
import { type Narrowing, narrowing, type Target } from './predicate.ts';
import { queryOf } from './reference.ts';
import { columnNames, descendants } from './relation.ts';
import { scoped } from './select.ts';
import { judgeStatement } from './statements.ts';
import { fromRows, isWhole, rowsOf } from './times.ts';
import { writeMeaning, writeRelation } from './write.ts';

interface Changed {
  readonly meaning: RelationMeaning;
  readonly relation: Relation | null;
  readonly alias: string;
}

/** The relation to be changed: never a CTE, whatever its name. */
function target(judge: Judge, range: RangeVar | undefined): Changed {
  const name = range?.relname ?? '';
  const meaning = findRelation(judge, range?.schemaname ?? null, name);
  const relation =
    meaning.relations.length === 1 && meaning.locals.length === 0
      ? (meaning.relations[0] ?? null)
      : null;
  return { meaning, relation, alias: range?.alias?.aliasname ?? name };
}

function addTarget(judge: Judge, changed: Changed): void {
  const columns = changed.relation === null ? null : columnNames(changed.relation);
  judge.scope?.sources.push({
    alias: changed.alias,
    relation: changed.relation,
    columns,
    target: true,
  });
}

const NOTHING: readonly string[] = [];

/** Writes to whatever the name means. */
function write(
  judge: Judge,
  draft: Draft,
  changed: Changed,
  event: WriteEvent,
  columns: ReadonlySet<string> | null,
  only: boolean,
  defaults?: ReadonlySet<string>,
): void {
  const { meaning } = changed;
  const before = judge.draft;
  judge.draft = draft;
  const rows = draft.rows_max;
  writeMeaning(judge, meaning, { event, columns, via: NOTHING, only, rows, defaults });
  if (event !== 'truncate') ownRows(judge, draft, meaning);
  judge.draft = before;
}

/** Rows of a temporary table are the session's own; what its triggers do has effects beside. */
function ownRows(judge: Judge, draft: Draft, meaning: RelationMeaning): void {
  if (draft.class !== 'write' && draft.class !== 'destructive') return;
  if (!isOwnTable(judge, meaning)) return;
  const all = draft.objects.every((o) => o.access === 'read' || o.schema === 'pg_temp');
  if (!all || judge.body) return;
  draft.class = 'session';
}

function others(judge: Judge): readonly Source[] {
  return (judge.scope?.sources ?? []).filter((source) => !source.target);
}

function targetOf(
  judge: Judge,
  changed: Changed,
  from: readonly Node[] | undefined,
  only: boolean,
): Target {
  return {
    alias: changed.alias,
    name: changed.meaning.name,
    relation: changed.relation,
    others: others(judge),
    from,
    only,
  };
}

function begin(judge: Judge, verb: string, effect: EffectClass): Draft {
  const draft = judge.open(verb, judge.planning ? 'read' : effect);
  return draft;
}

/** The relations that a change is joined with. */
function usedBy(node: UpdateStmt | DeleteStmt): readonly Node[] | undefined {
  return 'usingClause' in node
    ? node.usingClause
    : 'fromClause' in node
      ? node.fromClause
      : undefined;
}

/** The rest of a change is walked with reads going to the same effect. */
function rest(judge: Judge, draft: Draft, ...nodes: readonly unknown[]): void {
  judge.draft = draft;
  for (const node of nodes) walk(judge, node);
  judge.draft = draft;
}

/**
 * A change of rows, in a scope of its own. What is computed for each row may follow a setting, and
 * a statement that changes settings as it goes meets any number of rows so.
 */
function changing(judge: Judge, clause: WithClause | undefined, work: () => void): void {
  const { changes, effects } = judge.findings;
  const before = changes.length;
  judge.computed = false;
  scoped(judge, clause, work);
  if (!judge.computed) return;
  const sets = changes.slice(before).some(({ kind }) => /^(set|reset|unsettled)/.test(kind));
  if (sets) for (const effect of effects) effect.rows_max = null;
}

/** How the condition narrows the change, and how often it is made. */
function narrowed(judge: Judge, draft: Draft, where: Node | undefined, target: Target): Narrowing {
  const once = narrowing(judge, where, target);
  const found = once.scoped && isLooped(judge, where) ? { ...once, scoped: false } : once;
  const rows = multiplied(found.rows_max, judge.times);
  predicateOf(draft, found.predicate, found.scoped, rows);
  return found;
}

export function deleteStatement(judge: Judge, node: DeleteStmt): void {
  const changed = target(judge, node.relation);
  const draft = begin(judge, 'delete', 'destructive');
  changing(judge, node.withClause, () => {
    judge.draft = draft;
    addTarget(judge, changed);
    rest(judge, draft, node.usingClause, node.whereClause, node.returningClause);
    const only = node.relation?.inh !== true;
    narrowed(judge, draft, node.whereClause, targetOf(judge, changed, usedBy(node), only));
    write(judge, draft, changed, 'delete', null, only);
  });
}

/**
 * An UPDATE is a scoped write only when it is narrowed; a join narrows it, though to how many rows
 * is not said.
 */
function updateClass(found: Narrowing): EffectClass {
  return found.scoped || found.joined ? 'write' : 'destructive';
}

export function updateStatement(judge: Judge, node: UpdateStmt): void {
  const changed = target(judge, node.relation);
  const draft = begin(judge, 'update', 'write');
  changing(judge, node.withClause, () => {
    judge.draft = draft;
    addTarget(judge, changed);
    rest(judge, draft, node.fromClause, node.targetList, node.whereClause, node.returningClause);
    const only = node.relation?.inh !== true;
    const target = targetOf(judge, changed, usedBy(node), only);
    const found = narrowed(judge, draft, node.whereClause, target);
    if (!judge.planning) judge.worsen(draft, updateClass(found));
    const columns = setColumns(node.targetList);
    write(judge, draft, changed, 'update', columns, only, setDefaults(node.targetList));
  });
}

export function insertStatement(judge: Judge, node: InsertStmt): void {
  const changed = target(judge, node.relation);
  const draft = begin(judge, 'insert', 'write');
  const source =
    node.selectStmt !== undefined && 'SelectStmt' in node.selectStmt
      ? node.selectStmt.SelectStmt
      : undefined;
  changing(judge, node.withClause, () => {
    judge.draft = draft;
    // What a rule puts beside it may compute its values again.
    const alone = changed.meaning.relations.every((r) => r.kind !== 'v' && r.rules.length === 0);
    if (judge.scope !== null && alone) judge.scope.feeds = source;
    rest(judge, draft, node.selectStmt);
    const rows = source === undefined ? 1 : rowsOf(judge, source);
    draft.rows_max = multiplied(rows, judge.times);
    addTarget(judge, changed);
    rest(judge, draft, node.onConflictClause, node.returningClause, node.cols);
    const conflict = node.onConflictClause?.action === 'ONCONFLICT_UPDATE';
    if (
      conflict &&
      rows === null &&
      isWhole(judge, source, changed.meaning.name) &&
      !judge.planning
    ) {
      judge.worsen(draft, 'destructive');
      predicateOf(draft, 'none', false, null);
    }
    write(judge, draft, changed, 'insert', null, false);
    const set = node.onConflictClause?.targetList;
    if (conflict) write(judge, draft, changed, 'update', setColumns(set), false, setDefaults(set));
  });
}

export function mergeStatement(judge: Judge, node: MergeStmt): void {
  const changed = target(judge, node.relation);
  const draft = begin(judge, 'merge', 'write');
  changing(judge, node.withClause, () => {
    judge.draft = draft;
    rest(judge, draft, node.sourceRelation);
    const source = node.sourceRelation;
    addTarget(judge, changed);
    rest(judge, draft, node.joinCondition, node.returningClause);
    const from = source === undefined ? [] : [source];
    const target = targetOf(judge, changed, from, false);
    const found = narrowing(judge, node.joinCondition, target);
    const query = source === undefined ? undefined : queryOf(judge, source);
    const whole =
      query === undefined
        ? source !== undefined && 'RangeVar' in source
        : 'SelectStmt' in query && isWhole(judge, query.SelectStmt, changed.meaning.name);
    const rows = multiplied(mergedRows(judge, node, found, target), judge.times);
    predicateOf(draft, found.predicate, found.scoped || (found.joined && !whole), rows);
    for (const clause of node.mergeWhenClauses ?? []) {
      if (!('MergeWhenClause' in clause)) continue;
      const when = clause.MergeWhenClause;
      rest(judge, draft, when.condition, when.targetList, when.values);
      const orphan = when.matchKind === 'MERGE_WHEN_NOT_MATCHED_BY_SOURCE';
      mergeAction(
        judge,
        draft,
        changed,
        when.commandType ?? 'CMD_NOTHING',
        when.targetList,
        found,
        orphan,
      );
    }
  });
}

/** Each row of the source meets rows of the target, or becomes one. */
function mergedRows(
  judge: Judge,
  node: MergeStmt,
  found: Narrowing,
  target: Target,
): number | null {
  const from = target.from ?? [];
  const orphans = node.mergeWhenClauses?.some(
    (clause) =>
      'MergeWhenClause' in clause &&
      clause.MergeWhenClause.matchKind === 'MERGE_WHEN_NOT_MATCHED_BY_SOURCE',
  );
  const rows = orphans === true ? null : fromRows(judge, from);
  if (rows === null || found.rows_max === null) return null;
  // A row of the source that meets none becomes one, beside all those that the others meet.
  const each =
    narrowing(judge, node.joinCondition, { ...target, single: true }).rows_max ?? Infinity;
  const beside = Math.max(rows, found.rows_max + rows - 1);
  return Math.min(rows * Math.max(each, 1), beside);
}

function mergeAction(
  judge: Judge,
  draft: Draft,
  changed: Changed,
  command: string,
  targets: readonly Node[] | undefined,
  found: Narrowing,
  orphan: boolean,
): void {
  switch (command) {
    case 'CMD_DELETE':
      if (!judge.planning) judge.worsen(draft, 'destructive');
      if (orphan) draft.scoped = false;
      return write(judge, draft, changed, 'delete', null, false);
    case 'CMD_UPDATE':
      if (!judge.planning && (orphan || updateClass(found) === 'destructive'))
        judge.worsen(draft, 'destructive');
      if (orphan) draft.scoped = false;
      return write(
        judge,
        draft,
        changed,
        'update',
        setColumns(targets),
        false,
        setDefaults(targets),
      );
    case 'CMD_INSERT':
      return write(judge, draft, changed, 'insert', null, false);
    default:
  }
}

export function truncateStatement(judge: Judge, node: TruncateStmt): void {
  const draft = judge.open('truncate', 'destructive');
  predicateOf(draft, 'none', false, null);
  let ownTables = !judge.body && node.behavior !== 'DROP_CASCADE';
  judge.findings.needs_read_write = true;
  const reached = new Set<string>();
  for (const item of node.relations ?? []) {
    if (!('RangeVar' in item)) continue;
    const changed = target(judge, item.RangeVar);
    ownTables &&= isOwnTable(judge, changed.meaning);
    write(judge, draft, changed, 'truncate', null, item.RangeVar.inh !== true);
    if (node.behavior !== 'DROP_CASCADE') continue;
    for (const relation of changed.meaning.relations)
      for (const emptied of [relation, ...descendants(judge, relation)])
        truncateReferring(judge, draft, emptied, reached);
  }
  if (ownTables) draft.class = 'session';
}

/** TRUNCATE … CASCADE empties every table whose keys refer to one that is emptied. */
function truncateReferring(
  judge: Judge,
  draft: Draft,
  relation: Relation,
  reached: Set<string>,
): void {
  if (reached.has(relation.oid)) return;
  reached.add(relation.oid);
  for (const key of relation.keys_in) {
    const child = judge.catalog?.relations.get(key.relation);
    if (child === undefined || reached.has(child.oid)) continue;
    judge.draft = draft;
    writeRelation(judge, child, {
      event: 'truncate',
      columns: null,
      via: [`foreign key ${key.name} on truncate cascade`],
      only: false,
      rows: null,
    });
    truncateReferring(judge, draft, child, reached);
  }
}

export function copyStatement(judge: Judge, node: CopyStmt): void {
  const incoming = node.is_from === true;
  const effect: EffectClass =
    node.filename !== undefined || node.is_program === true ? 'admin' : incoming ? 'write' : 'read';
  const draft = judge.open('copy', effect);
  if (node.filename !== undefined) {
    judge.object(
      node.is_program === true ? 'program' : 'file',
      null,
      node.filename,
      incoming ? 'read' : 'create',
    );
  }
  if (node.query !== undefined) {
    judgeStatement(judge, node.query);
    judge.draft = draft;
  }
  if (node.relation === undefined) return;
  scoped(judge, undefined, () => {
    const changed = target(judge, node.relation);
    if (incoming) {
      addTarget(judge, changed);
      rest(judge, draft, node.whereClause);
      write(judge, draft, changed, 'insert', null, false);
    } else {
      walk(judge, { RangeVar: node.relation });
    }
  });
}
