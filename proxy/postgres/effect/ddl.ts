// CREATE in its many forms: what is made, what runs while it is made, and what the session must
// remember of it.
// Invariant: an object that can run code later is remembered with what that code does, until the
// catalog shows it.
import type {
  CreateForeignTableStmt,
  CreateSchemaStmt,
  CreateStmt,
  CreateTableAsStmt,
  DefElem,
  IndexStmt,
  IntoClause,
  Node,
  RangeVar,
  ViewStmt,
} from '@pgsql/types';
import { type Effect, unknownEffect } from '../../effect/effect.ts';
import type { Consequence, Place, WriteEvent } from '../statement.ts';
import { untilSettled } from './again.ts';
import { indexExpressions } from './computed.ts';
import { fireEventTriggers } from './event-trigger.ts';
import { walk } from './expression.ts';
import { absorb, type Findings, Judge, noFindings } from './judge.ts';
import { altered, alteredEverything, always, goesOn, remember, willChange } from './local.ts';
import { creationSchema, findRelation, parts, type RelationMeaning } from './names.ts';
import { foreignClass } from './naming.ts';
import { readMeaning } from './relation.ts';
import { absorbFunction, apart } from './routine.ts';
import { select } from './select.ts';
import { judgeStatement } from './statements.ts';
import { meetType, meetTypeName } from './type.ts';
import { expressionsOf } from './write.ts';

function isTemporary(range: RangeVar | undefined): boolean {
  return range?.relpersistence === 't' || range?.schemaname === 'pg_temp';
}

/** What some work finds, kept apart from the statement that is being judged. */
function foundBy(judge: Judge, work: (inner: Judge) => void): Findings {
  const { via, planning, body, times, draft, path } = judge;
  const { findings, root } = untilSettled(judge.root, (by) => {
    const frame = {
      findings: noFindings(),
      path,
      runtime: null,
      via,
      planning,
      body,
      times,
      draft,
    };
    // When it runs, names in bodies may mean something else.
    const inner = apart(new Judge(by, frame), noFindings(), path).inside({ runtime: null });
    work(inner);
    return inner;
  });
  judge.root.nodes = root.nodes;
  // What is not understood is so wherever it runs.
  const opaque = new Set(findings.effects.map((effect) => effect.opaque));
  const sure = findings.changes.filter((c) => c.kind !== 'unsettled' || !opaque.has(c.why));
  willChange(judge, sure);
  return findings;
}

function worth(findings: Findings): readonly Effect[] {
  return findings.effects.filter((effect) => effect.class !== 'read' || effect.objects.length > 0);
}

/** What something that is made here will run once it is used. */
export function runBy(judge: Judge, work: (inner: Judge) => void): readonly Effect[] {
  const found = foundBy(judge, work);
  const effects = worth(found);
  if (found.on_parse) absorb(judge, effects, []);
  return effects;
}

function madeRelation(
  judge: Judge,
  range: RangeVar | undefined,
  kind: 'table' | 'view' | 'materialized-view' | 'foreign-table',
  reads: readonly Effect[],
  writes: readonly Consequence[],
): Place {
  const name = range?.relname ?? '';
  const temporary = isTemporary(range);
  const schema = temporary ? 'pg_temp' : (range?.schemaname ?? creationSchema(judge));
  judge.object(kind, schema, name, 'create');
  if (temporary) judge.change({ kind: 'temporary', name });
  remember(judge, {
    kind: 'relation',
    schema,
    name,
    on_read: reads,
    on_write: writes,
    fresh: true,
  });
  return { schema, name };
}

/** CREATE TABLE AS and SELECT INTO. */
export function createdRelation(judge: Judge, into: IntoClause): void {
  judge.worsen(judge.draft, judge.planning ? 'read' : isTemporary(into.rel) ? 'session' : 'ddl');
  const { length } = judge.findings.changes;
  madeRelation(judge, into.rel, 'table', [], typesMade(judge));
  fireEventTriggers(judge, 'CreateTableAsStmt', length);
}

export function createTableAs(judge: Judge, node: CreateTableAsStmt): void {
  const into = node.into;
  const materialized = node.objtype === 'OBJECT_MATVIEW';
  const draft = judge.open(
    'create',
    judge.planning ? 'read' : isTemporary(into?.rel) ? 'session' : 'ddl',
  );
  // WITH NO DATA plans the query but does not run it.
  const inner = into?.skipData === true ? judge.inside({ planning: true }) : judge;
  if (node.query !== undefined && 'SelectStmt' in node.query) select(inner, node.query.SelectStmt);
  else if (node.query !== undefined) judgeStatement(inner, node.query);
  judge.draft = draft;
  // REFRESH runs the query again.
  const writes = materialized
    ? always(runBy(judge, (again) => walk(again, node.query)))
    : typesMade(judge);
  madeRelation(judge, into?.rel, materialized ? 'materialized-view' : 'table', [], writes);
  judge.findings.needs_read_write = true;
}

/** Columns of the types met so far: rows of the new table are converted to them. */
function typesMade(judge: Judge): readonly Consequence[] {
  const types = [...judge.findings.types].map((type) => type.split(' ')[0] ?? '');
  return always(
    runBy(judge, (inner) => {
      for (const type of types) meetType(inner, type, 'made');
    }),
  );
}

/** What runs at its server can't be seen. */
export function createForeignTable(judge: Judge, node: CreateForeignTableStmt): void {
  const { servername: server = '' } = node;
  judge.open('create', server === '' ? 'ddl' : foreignClass(judge, server));
  const range = node.base?.relation;
  const why = `${range?.relname} is a table of server ${server}: what runs there can't be seen`;
  const reads = [unknownEffect(why)];
  const table = madeRelation(judge, range, 'foreign-table', reads, always(reads));
  judge.object('server', null, server, 'use');
  for (const parent of node.base?.inhRelations ?? []) {
    if (!('RangeVar' in parent)) continue;
    const { schemaname = null, relname = '' } = parent.RangeVar;
    joined(judge, findRelation(judge, schemaname, relname), table, reads);
  }
}

export function createTable(judge: Judge, node: CreateStmt): void {
  const draft = judge.open('create', isTemporary(node.relation) ? 'session' : 'ddl');
  // Defaults and checks run when rows come; a partition bound runs now.
  const writes = runBy(judge, (inner) => {
    meetTypeName(inner, node.ofTypename);
    walk(inner, node.tableElts);
    walk(inner, node.constraints);
    walk(inner, node.partspec);
    meetTypeName(inner, node.ofTypename);
    for (const element of node.tableElts ?? [])
      if ('TableLikeClause' in element) copied(inner, element.TableLikeClause.relation);
  });
  walk(judge, node.partbound);
  if (node.partbound !== undefined)
    for (const parent of node.inhRelations ?? []) {
      if (!('RangeVar' in parent)) continue;
      const { schemaname = null, relname = '' } = parent.RangeVar;
      boundsCompared(judge, findRelation(judge, schemaname, relname));
    }
  const table = madeRelation(judge, node.relation, 'table', [], always(writes));
  for (const parent of node.inhRelations ?? []) {
    if (!('RangeVar' in parent)) continue;
    const meaning = findRelation(
      judge,
      parent.RangeVar.schemaname ?? null,
      parent.RangeVar.relname ?? '',
    );
    for (const relation of meaning.relations) {
      judge.relation(relation, 'alter');
      if (!relation.temporary) judge.worsen(draft, 'ddl');
    }
    if (meaning.relations.length === 0)
      judge.object('table', meaning.schema, meaning.name, 'alter');
    joined(judge, meaning, table);
  }
  references(judge, table, node.tableElts);
  references(judge, table, node.constraints);
  judge.draft = draft;
}

/** LIKE may copy defaults, checks and indexes; which, is not told apart. */
function copied(judge: Judge, range: RangeVar | undefined): void {
  const meaning = findRelation(judge, range?.schemaname ?? null, range?.relname ?? '');
  for (const relation of meaning.relations) expressionsOf(judge, relation, 'insert');
  for (const local of meaning.locals)
    for (const { effects } of local.on_write) absorb(judge, effects, [`table ${local.name}`]);
}

/**
 * A table became a partition or child of another: a change of the parent's rows is one of its rows,
 * and what hangs on the parent may hang on it.
 */
export function joined(
  judge: Judge,
  parent: Place,
  child: Place,
  reads: readonly Effect[] = [],
): void {
  const { schema, name } = parent;
  const to = { schema: child.schema, name: child.name, via: `child of ${name}` };
  altered(judge, parent, [goesOn(to)], reads);
  altered(judge, child, [goesOn({ schema, name, via: `parent of ${child.name}` })]);
}

/** A new partition's bounds are made of the key's type, and compared with those that are there. */
export function boundsCompared(judge: Judge, parent: RelationMeaning): void {
  readMeaning(judge, parent, 'read');
  for (const { columns, partition_key } of parent.relations)
    for (const { name, type } of columns)
      if (partition_key?.includes(name)) meetType(judge, type, 'made');
}

/** Tables that new foreign keys point to: deleting there does more from now on. */
export function references(
  judge: Judge,
  table: Place,
  elements: readonly Node[] | undefined,
): void {
  for (const element of elements ?? []) {
    if ('ColumnDef' in element) references(judge, table, element.ColumnDef.constraints);
    if (!('Constraint' in element) || element.Constraint.pktable === undefined) continue;
    const { pktable, fk_del_action, fk_upd_action } = element.Constraint;
    const meaning = findRelation(judge, pktable.schemaname ?? null, pktable.relname ?? '');
    for (const relation of meaning.relations) judge.relation(relation, 'read');
    if (meaning.relations.length === 0) judge.object('table', meaning.schema, meaning.name, 'read');
    const follows = (on: WriteEvent, event: WriteEvent): Consequence => {
      const via = `foreign key of ${table.name} on ${on}`;
      return { on: [on], effects: [], lead: { ...table, event, via } };
    };
    const writes = [follows('truncate', 'truncate')];
    if (fk_del_action === 'c') writes.push(follows('delete', 'delete'));
    else if (/[nd]/.test(fk_del_action ?? '')) writes.push(follows('delete', 'update'));
    if (/[cnd]/.test(fk_upd_action ?? '')) writes.push(follows('update', 'update'));
    altered(judge, meaning, writes);
  }
}

/** A type that the catalog does not show yet: values made of it may run what its parts run. */
export function createType(judge: Judge, what: string, name = '', node?: unknown): void {
  judge.open('create', 'ddl');
  judge.object('type', null, name, 'create');
  alteredEverything(
    judge,
    what,
    runBy(judge, (inner) => walk(inner, node)),
  );
}

export function createView(judge: Judge, node: ViewStmt): void {
  const temporary = isTemporary(node.view);
  const draft = judge.open('create', temporary ? 'session' : 'ddl');
  const reads = runBy(judge, (inner) => walk(inner, node.query));
  madeRelation(judge, node.view, 'view', reads, [
    ...always(reads),
    ...throughView(judge, node.query),
  ]);
  judge.draft = draft;
}

/** A change through a view is one of its base. */
function throughView(judge: Judge, query: Node | undefined): readonly Consequence[] {
  const from = query !== undefined && 'SelectStmt' in query ? query.SelectStmt.fromClause : [];
  const [base] = from?.length === 1 ? from : [];
  if (base === undefined || !('RangeVar' in base)) return [];
  const { schemaname = null, relname = '' } = base.RangeVar;
  const { schema, name } = findRelation(judge, schemaname, relname);
  return [goesOn({ schema, name, via: `view of ${relname}` })];
}

/** Option of a CREATE statement by name. */
export function option(options: readonly Node[] | undefined, name: string): DefElem | null {
  let found: DefElem | null = null;
  for (const node of options ?? [])
    if ('DefElem' in node && node.DefElem.defname === name) found = node.DefElem;
  return found;
}

export function optionText(element: DefElem | null): string {
  const arg = element?.arg;
  if (arg === undefined) return '';
  if ('String' in arg) return arg.String.sval ?? '';
  if ('Integer' in arg) return String(arg.Integer.ival ?? 0);
  if ('Boolean' in arg) return arg.Boolean.boolval === true ? 'true' : 'false';
  if ('Float' in arg) return arg.Float.fval ?? '';
  if ('TypeName' in arg) return parts(arg.TypeName.names).join('.');
  if ('List' in arg) return parts(arg.List.items)[0] ?? '';
  return '';
}

/** CREATE INDEX computes its expressions for every row there is. */
export function createIndex(judge: Judge, node: IndexStmt): void {
  const draft = judge.open('create', 'ddl');
  judge.findings.own_transaction = node.concurrent === true;
  const meaning = findRelation(
    judge,
    node.relation?.schemaname ?? null,
    node.relation?.relname ?? '',
  );
  judge.object('index', meaning.schema, node.idxname ?? `on ${meaning.name}`, 'create');
  if (meaning.relations.length === 0) judge.object('table', meaning.schema, meaning.name, 'alter');
  for (const relation of meaning.relations) judge.relation(relation, 'alter');
  const compute = (inner: Judge) => {
    walk(inner, node.indexParams);
    walk(inner, node.whereClause);
    for (const element of node.indexParams ?? []) {
      if (!('IndexElem' in element) || element.IndexElem.opclass === undefined) continue;
      // An operator class of a user's: which of a name is not told apart.
      for (const opclass of judge.catalog?.classes.values() ?? []) {
        for (const code of opclass.functions) absorbFunction(inner, code, ['operator class']);
      }
    }
  };
  compute(judge);
  // So does every new row, and looking for one compares.
  const later = runBy(judge, compute);
  altered(judge, meaning, always(later), later);
  for (const relation of meaning.relations) {
    // Sorting into the index compares by the functions of the columns' types.
    for (const column of relation.columns) meetType(judge, column.type, 'seen');
    indexExpressions(judge, relation);
  }
  judge.draft = draft;
}

export function createSchema(judge: Judge, node: CreateSchemaStmt): void {
  const draft = judge.open('create', 'ddl');
  judge.object('schema', null, node.schemaname ?? node.authrole?.rolename ?? '', 'create');
  if (node.authrole?.rolename !== undefined)
    judge.object('role', null, node.authrole.rolename, 'use');
  const name = node.schemaname;
  const inner =
    name === undefined || judge.path === null
      ? judge
      : judge.inside({ path: [name, ...judge.path] });
  for (const element of node.schemaElts ?? []) {
    judgeStatement(inner, name === undefined ? element : placed(element, name));
  }
  judge.draft = draft;
}

/** An element of CREATE SCHEMA, its new object named in full. */
function placed(element: Node, schemaname: string): Node {
  const inSchema = (range: RangeVar | undefined) => ({ schemaname, ...range });
  if ('CreateStmt' in element) {
    return {
      CreateStmt: { ...element.CreateStmt, relation: inSchema(element.CreateStmt.relation) },
    };
  }
  if ('ViewStmt' in element) {
    return { ViewStmt: { ...element.ViewStmt, view: inSchema(element.ViewStmt.view) } };
  }
  if ('CreateSeqStmt' in element) {
    return {
      CreateSeqStmt: {
        ...element.CreateSeqStmt,
        sequence: inSchema(element.CreateSeqStmt.sequence),
      },
    };
  }
  return element;
}
