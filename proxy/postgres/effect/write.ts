// What writing to a relation runs besides: triggers, rules, foreign keys, partitions, checks,
// defaults, index expressions.
// Invariant: everything that hangs on a relation and runs when its rows change is either judged or
// `unknown`.
import type { Column, Relation, Trigger } from '../catalog/snapshot.ts';
import { ParseFailure, parse } from '../parser.ts';
import type { Lead, LocalObject, WriteEvent } from '../statement.ts';
import { movesRows } from './changed.ts';
import { conditionOf, indexExpressions, partitionKey } from './computed.ts';
import { walk } from './expression.ts';
import { followKeys } from './foreign-key.ts';
import { absorb, type Findings, type Judge, noFindings } from './judge.ts';
import {
  DEPARSED_PATH,
  findRelation,
  hungOn,
  isOwnTable,
  isSystemSchema,
  localNamed,
  type RelationMeaning,
} from './names.ts';
import { descendants, foreign, label, loopback, readFindings, texts } from './relation.ts';
import { absorbFunction, apart, pathKey, remembered, takeIn } from './routine.ts';
import { meetType } from './type.ts';
import { behindView } from './unique.ts';
import { writeKey } from './write-key.ts';

/** How a change reaches a relation. */
export interface Write {
  readonly event: WriteEvent;
  /** Columns set by an UPDATE; null when they can't be known. */
  readonly columns: ReadonlySet<string> | null;
  readonly via: readonly string[];
  /** Written with ONLY. */
  readonly only: boolean;
  /** The most rows that are changed; null: any number. */
  readonly rows: number | null;
  /** Columns that an UPDATE puts back to their defaults; null: any of them. */
  readonly defaults?: ReadonlySet<string> | null | undefined;
}

/**
 * A change of rows of whatever a name turned out to mean, with all that it sets off. A system
 * catalogue is an administrator's.
 */
export function writeMeaning(judge: Judge, meaning: RelationMeaning, write: Write): void {
  const { relations, locals, schema, name } = meaning;
  if (meaning.unclear !== null) judge.opaque(meaning.unclear);
  if (meaning.system || isSystemSchema(schema))
    judge.worsen(judge.draft, judge.planning ? 'read' : 'admin');
  for (const relation of relations) writeRelation(judge, relation, write);
  if (relations.length === 0) {
    const columns = write.columns === null ? [] : [...write.columns];
    judge.object('table', schema, name, write.event, { columns, via: write.via });
  }
  for (const local of locals)
    if (!relations.some((relation) => isOf(local, relation))) setOff(judge, local, write);
}

function isOf({ schema }: LocalObject, relation: Relation): boolean {
  return schema === null || schema === (relation.temporary ? 'pg_temp' : relation.schema);
}

/** What this session has hung on a relation, and the catalog may not show yet. */
function setOff(judge: Judge, local: LocalObject, write: Write): void {
  if (judge.planning) return;
  for (const { on, effects, lead } of local.on_write) {
    if (!on.includes(write.event)) continue;
    absorb(judge, effects, [...write.via, `table ${local.name}`]);
    if (lead !== null) leadOn(judge, lead, write);
  }
}

function setOffBy(judge: Judge, relation: Relation, write: Write): void {
  if (judge.root.session.local.size === 0) return;
  for (const local of hungOn(judge, relation)) setOff(judge, local, write);
  // What hangs on a table hangs on its partitions; its other rows are not theirs.
  for (const ancestor of ancestors(judge, relation)) {
    for (const above of hungOn(judge, ancestor)) {
      const on_write = above.on_write.filter(({ lead }) => lead === null);
      setOff(judge, { ...above, on_write }, write);
    }
  }
}

function ancestors(judge: Judge, relation: Relation): ReadonlySet<Relation> {
  const found = new Set<Relation>();
  const wait = [...relation.parents];
  for (let oid = wait.pop(); oid !== undefined; oid = wait.pop()) {
    const parent = judge.catalog?.relations.get(oid);
    if (parent === undefined || found.has(parent)) continue;
    found.add(parent);
    wait.push(...parent.parents);
  }
  return found;
}

function leadOn(judge: Judge, lead: Lead, write: Write): void {
  const event = lead.event ?? write.event;
  const key = `l${JSON.stringify([lead.schema, lead.name])} ${event}`;
  const progress = (judge.root.progress ??= { open: new Set(), cut: new Set(), found: new Map() });
  if (progress.open.has(key)) {
    progress.cut.add(key);
    return;
  }
  judge.visit();
  progress.open.add(key);
  const before = judge.draft;
  const meaning = findRelation(judge, lead.schema, lead.name);
  if (lead.event !== null) {
    judge.open(event, isOwnTable(judge, meaning) ? 'session' : 'destructive').predicate = 'filter';
  }
  const via = [...write.via, lead.via];
  const rows = lead.event === null ? write.rows : null;
  writeMeaning(judge, meaning, { event, columns: null, via, only: false, rows });
  judge.draft = before;
  progress.open.delete(key);
  progress.cut.delete(key);
}

const NO_COLUMNS: readonly string[] = [];

/**
 * A change of a relation's rows, with all that it sets off. The object goes to the current effect.
 */
export function writeRelation(judge: Judge, relation: Relation, write: Write): void {
  const columns = write.columns === null ? NO_COLUMNS : [...write.columns];
  judge.relation(relation, write.event, { columns, via: write.via });
  if (judge.planning) {
    takeIn(judge, plannedFindings(judge, relation, write), write.via);
    return;
  }
  if (write.defaults !== undefined)
    takeIn(judge, defaultFindings(judge, relation, write.defaults), write.via, write.rows);
  if (relation.triggers.some((trigger) => !isForEachRow(trigger)))
    takeIn(judge, statementFindings(judge, relation, write), write.via, judge.times);
  setOffBy(judge, relation, write);
  if (relation.kind === 'p') {
    partitioned(judge, relation, write);
    return;
  }
  takeIn(judge, writeFindings(judge, relation, write), write.via, write.rows);
  if (relation.kind === 'v') {
    viewWrite(judge, relation, write);
    return;
  }
  if (relation.kind === 'f') foreignWrite(judge, relation, write);
  if (write.only) return;
  for (const child of descendants(judge, relation)) {
    const via = part(judge, child, relation, write);
    takeIn(judge, writeFindings(judge, child, write), via, write.rows);
  }
}

/** A part of what is written to: its triggers for whole statements are not fired. */
function part(judge: Judge, child: Relation, relation: Relation, write: Write): readonly string[] {
  const kind = child.is_partition ? 'partition of' : 'child of';
  const via = [...write.via, `${kind} ${label(relation)}`];
  const columns = write.columns === null ? [] : [...write.columns];
  judge.relation(child, write.event, { columns, via });
  setOffBy(judge, child, { ...write, via });
  if (child.kind === 'f') foreignWrite(judge, child, write);
  // TRUNCATE fires those of every table that it empties.
  if (write.event === 'truncate')
    takeIn(judge, statementFindings(judge, child, write), via, judge.times);
  return via;
}

/**
 * A row is in one partition: what it sets off there counts once, in whichever that is. One that
 * leaves its partition is deleted there and inserted elsewhere.
 */
function partitioned(judge: Judge, relation: Relation, write: Write): void {
  const children = descendants(judge, relation);
  const all = [relation, ...children];
  const moves = write.event === 'update' && movesRows(judge, all, write.columns);
  const [rows, gone, come] = [noFindings(), noFindings(), noFindings()];
  const into = (findings: Findings, found: Findings, via: readonly string[]) =>
    takeIn(judge.inside({ findings }), found, via, write.rows, Math.max);
  into(rows, writeFindings(judge, relation, write), write.via);
  for (const child of children) {
    const via = part(judge, child, relation, write);
    into(rows, writeFindings(judge, child, write), via);
    if (!moves) continue;
    into(gone, triggersOnly(judge, child, 'delete'), via);
    into(come, triggersOnly(judge, child, 'insert'), via);
  }
  const bare = judge.inside({ via: [] });
  for (const found of [rows, gone, come]) takeIn(bare, found, [], 1);
}

/** Everything that the change of one of this table's rows sets off, but for its partitions. */
function writeFindings(
  judge: Judge,
  relation: Relation,
  write: Write,
): ReturnType<typeof remembered> {
  return remembered(judge, writeKey(judge, 'w', relation, write), (findings) => {
    const inner = apart(judge, findings, judge.runtime, 1);
    fireTriggers(inner, relation, write, true);
    applyRules(inner, relation, write.event);
    if (write.event === 'delete' || write.event === 'update') followKeys(inner, relation, write);
    if (write.event === 'truncate') return;
    expressionsOf(inner, relation, write.event);
  });
}

function statementFindings(
  judge: Judge,
  relation: Relation,
  write: Write,
): ReturnType<typeof remembered> {
  return remembered(judge, writeKey(judge, 'q', relation, write), (findings) => {
    fireTriggers(apart(judge, findings, judge.runtime, 1), relation, write, false);
  });
}

/** The triggers of a row that comes to a partition, or leaves it. */
function triggersOnly(
  judge: Judge,
  relation: Relation,
  event: WriteEvent,
): ReturnType<typeof remembered> {
  return remembered(judge, `g${relation.oid} ${event} ${pathKey(judge.runtime)}`, (findings) => {
    const write = { event, columns: null, via: [], only: false, rows: 1 };
    const inner = apart(judge, findings, judge.runtime, 1);
    fireTriggers(inner, relation, write, true);
    // Before 15 a row that moved was gone to the rows that refer to it.
    if (event === 'delete' && (judge.catalog?.server_version ?? 0) < 150_000)
      followKeys(inner, relation, write);
  });
}

/** What planning a change computes of what is constant in defaults, policies, rules and views. */
function plannedFindings(
  judge: Judge,
  relation: Relation,
  write: Write,
): ReturnType<typeof remembered> {
  const key = `x${relation.oid} ${write.event} ${pathKey(judge.runtime)}`;
  return remembered(judge, key, (findings) => {
    const inner = apart(judge, findings, judge.runtime).inside({ planning: true });
    applyRules(inner, relation, write.event);
    if (write.event !== 'truncate')
      expressionsOf(inner, relation, write.event === 'delete' ? 'delete' : 'insert');
    if (relation.kind === 'v') viewWrite(inner, relation, { ...write, via: [] });
  });
}

function defaultFindings(
  judge: Judge,
  relation: Relation,
  names: ReadonlySet<string> | null,
): Findings {
  const findings = noFindings();
  const inner = apart(judge, findings, judge.runtime, 1);
  for (const column of relation.columns)
    if (names?.has(column.name) ?? true) defaultOf(inner, relation, column);
  return findings;
}

/** Bits of pg_trigger.tgtype, and of the grammar's events. */
export const EVENT_BIT: { readonly [E in WriteEvent]: number } = {
  insert: 4,
  delete: 8,
  update: 16,
  truncate: 32,
};

function fires(relation: Relation, trigger: Trigger, write: Write): boolean {
  if (trigger.enabled === 'D' || (trigger.type & EVENT_BIT[write.event]) === 0) return false;
  if (write.event !== 'update' || trigger.columns.length === 0 || write.columns === null)
    return true;
  // A generated column may follow one that is set.
  return relation.columns.some(
    (c) => trigger.columns.includes(c.number) && (c.generated !== '' || write.columns?.has(c.name)),
  );
}

/** TRIGGER_TYPE_ROW of the server's pg_trigger.h; without it, once for a statement. */
function isForEachRow(trigger: Trigger): boolean {
  return (trigger.type & 1) !== 0;
}

function fireTriggers(judge: Judge, relation: Relation, write: Write, each: boolean): void {
  for (const trigger of relation.triggers) {
    if (isForEachRow(trigger) !== each || !fires(relation, trigger, write)) continue;
    const via = `trigger ${trigger.name} on ${label(relation)}`;
    // One that is deferred runs when names in its body may mean something else.
    const runner = trigger.deferrable ? judge.inside({ runtime: null }) : judge;
    absorbFunction(runner, trigger.function, [via], write.event.toUpperCase(), 1);
    if (trigger.definition !== null) whenClause(judge, trigger.definition, via);
  }
}

function whenClause(judge: Judge, definition: string, via: string): void {
  const inner = judge.inside({ path: DEPARSED_PATH, via: [...judge.via, via] });
  try {
    const statement = parse(definition).stmts?.[0]?.stmt;
    if (statement !== undefined && 'CreateTrigStmt' in statement)
      walk(inner, statement.CreateTrigStmt.whenClause);
  } catch (error) {
    if (!(error instanceof ParseFailure)) throw error;
    inner.opaque(`the condition of ${via} can't be parsed`);
  }
}

const RULE_EVENT: { readonly [event: string]: WriteEvent } = {
  2: 'update',
  3: 'insert',
  4: 'delete',
};

function applyRules(judge: Judge, relation: Relation, event: WriteEvent): void {
  for (const rule of relation.rules) {
    if (rule.enabled === 'D' || RULE_EVENT[rule.event] !== event) continue;
    const via = `rule ${rule.name} on ${label(relation)}`;
    const inner = judge.inside({ path: DEPARSED_PATH, via: [...judge.via, via] });
    try {
      const statement = parse(rule.definition).stmts?.[0]?.stmt;
      if (statement === undefined || !('RuleStmt' in statement)) continue;
      walk(inner, statement.RuleStmt.whereClause);
      walk(inner, statement.RuleStmt.actions);
    } catch (error) {
      if (!(error instanceof ParseFailure)) throw error;
      inner.opaque(`${via} can't be parsed`);
    }
  }
}

/** Expressions that a new or changed row is put through. */
export function expressionsOf(
  judge: Judge,
  relation: Relation,
  event: 'insert' | 'update' | 'delete',
): void {
  const on = label(relation);
  for (const policy of relation.row_security ? relation.policies : []) {
    const found = [policy.reads, policy.writes].filter((text) => text !== null);
    texts(judge, found, `policy ${policy.name} on ${on}`);
  }
  // The rows are looked up first: what reading runs, runs.
  const read =
    relation.kind === 'v' || relation.kind === 'f' ? null : readFindings(judge, relation);
  if (read !== null) takeIn(judge, read, []);
  if (event === 'delete') return;
  for (const check of relation.checks) {
    texts(judge, [conditionOf(check.definition)], `check ${check.name} on ${on}`);
  }
  for (const column of relation.columns) {
    meetType(judge, column.type, 'made');
    if (column.generated === '') {
      if (event === 'insert') defaultOf(judge, relation, column);
    } else if (column.expression !== null)
      texts(judge, [column.expression], `generated column ${on}.${column.name}`);
  }
  indexExpressions(judge, relation);
  if (relation.partition_key !== null) partitionKey(judge, relation);
}

function defaultOf(judge: Judge, relation: Relation, { name, expression }: Column): void {
  if (expression === null) return;
  const via = `default ${label(relation)}.${name}`;
  // What a rule puts beside the change computes it again.
  texts(judge, [expression], via, relation.rules.length > 0 ? null : 1);
}

/** An updatable view hands the change on to its table, unless a trigger or a rule takes it. */
function viewWrite(judge: Judge, view: Relation, write: Write): void {
  const instead = view.triggers.some((t) => (t.type & 64) !== 0 && fires(view, t, write));
  const ruled = view.rules.some(
    (r) => r.instead && r.enabled !== 'D' && RULE_EVENT[r.event] === write.event,
  );
  const via = [...write.via, `view ${label(view)}`];
  const inner = judge.inside({ path: DEPARSED_PATH });
  const found = readFindings(judge, view);
  if (found !== null) takeIn(judge, found, write.via);
  // Unless it was taken away just now.
  if ((instead || ruled) && localNamed(judge, 'relation', view.name) === null) return;
  const base = behindView(inner, view);
  if (base === null) return;
  // ONLY is said of the view; its own FROM says whether the base's children are meant.
  const defaults = write.defaults === undefined ? undefined : null;
  const through = { ...write, defaults, columns: null, via, only: base.only };
  writeMeaning(judge, base.meaning, through);
}

/**
 * A change of a foreign table: of the table behind it where that is known. A lost row is the worst
 * that is not told.
 */
function foreignWrite(judge: Judge, relation: Relation, write: Write): void {
  const behind = loopback(judge, relation);
  const via = [
    ...write.via,
    `foreign table ${label(relation)} of server ${relation.server ?? '?'}`,
  ];
  if (behind !== null) writeRelation(judge, behind, { ...write, via });
  else if (write.event === 'insert' || write.event === 'update') foreign(judge, relation);
}
