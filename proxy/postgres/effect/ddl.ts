// CREATE in its many forms: what is made, what runs while it is made, and what the session must
// remember of it.
// Invariant: an object that can run code later is remembered with what that code does, until the
// catalog shows it.
import type {
  CreateFunctionStmt,
  CreateSchemaStmt,
  CreateStmt,
  CreateTableAsStmt,
  CreateTrigStmt,
  DefElem,
  IndexStmt,
  IntoClause,
  Node,
  RangeVar,
  RuleStmt,
  ViewStmt,
} from '@pgsql/types';
import type { Effect } from '../../effect/effect.ts';
import { fireEventTriggers } from './event-trigger.ts';
import { walk } from './expression.ts';
import { absorb, type Findings, type Judge, noFindings } from './judge.ts';
import { altered, alteredEverything, remember } from './local.ts';
import { creationSchema, findFunctions, findRelation, parts } from './names.ts';
import { blockStatement, judgePlpgsql } from './plpgsql.ts';
import { readMeaning } from './relation.ts';
import { absorbFunction, apart, routineFindings, sqlBody, takeIn } from './routine.ts';
import { select } from './select.ts';
import { judgeStatement } from './statements.ts';
import { meetType } from './type.ts';
import { indexExpressions, writeRelation } from './write.ts';

function isTemporary(range: RangeVar | undefined): boolean {
  return range?.relpersistence === 't' || range?.schemaname === 'pg_temp';
}

/** What some work finds, kept apart from the statement that is being judged. */
function foundBy(judge: Judge, work: (inner: Judge) => void): Findings {
  const findings = noFindings();
  const inner = apart(judge, findings, judge.path);
  inner.scope = null;
  work(inner);
  return findings;
}

function worth(findings: Findings): readonly Effect[] {
  return findings.effects.filter((effect) => effect.class !== 'read' || effect.objects.length > 0);
}

function madeRelation(
  judge: Judge,
  range: RangeVar | undefined,
  kind: 'table' | 'view' | 'materialized-view' | 'sequence',
  reads: readonly Effect[],
  writes: readonly Effect[],
): void {
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
}

/** CREATE TABLE AS and SELECT INTO. */
export function createdRelation(judge: Judge, into: IntoClause): void {
  judge.worsen(judge.draft, judge.planning ? 'read' : isTemporary(into.rel) ? 'session' : 'ddl');
  madeRelation(judge, into.rel, 'table', [], []);
  fireEventTriggers(judge, 'CreateTableAsStmt');
}

export function createTableAs(judge: Judge, node: CreateTableAsStmt): void {
  const into = node.into;
  const materialized = node.objtype === 'OBJECT_MATVIEW';
  const draft = judge.open(
    'create',
    judge.planning ? 'read' : isTemporary(into?.rel) ? 'session' : 'ddl',
  );
  madeRelation(judge, into?.rel, materialized ? 'materialized-view' : 'table', [], []);
  // WITH NO DATA plans the query but does not run it.
  const inner = into?.skipData === true ? judge.inside({ planning: true }) : judge;
  if (node.query !== undefined && 'SelectStmt' in node.query) select(inner, node.query.SelectStmt);
  else if (node.query !== undefined) judgeStatement(inner, node.query);
  judge.draft = draft;
  judge.findings.needs_read_write = true;
}

export function createTable(judge: Judge, node: CreateStmt): void {
  const draft = judge.open('create', isTemporary(node.relation) ? 'session' : 'ddl');
  // Defaults and checks run when rows come; a partition bound runs now.
  const writes = foundBy(judge, (inner) => {
    walk(inner, node.tableElts);
    walk(inner, node.constraints);
    walk(inner, node.partspec);
  });
  walk(judge, node.partbound);
  if (node.partbound !== undefined) boundsCompared(judge, node.inhRelations);
  madeRelation(judge, node.relation, 'table', [], worth(writes));
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
      altered(judge, relation.schema, relation.name);
    }
    if (meaning.relations.length === 0)
      judge.object('table', meaning.schema, meaning.name, 'alter');
  }
  references(judge, node.tableElts);
  references(judge, node.constraints);
  judge.draft = draft;
}

/** A new partition's bounds are compared with those that are there. */
function boundsCompared(judge: Judge, parents: readonly Node[] | undefined): void {
  for (const parent of parents ?? []) {
    if (!('RangeVar' in parent)) continue;
    const { schemaname = null, relname = '' } = parent.RangeVar;
    readMeaning(judge, findRelation(judge, schemaname, relname), 'read');
  }
}

/** Tables that new foreign keys point to: deleting there does more from now on. */
export function references(judge: Judge, elements: readonly Node[] | undefined): void {
  for (const element of elements ?? []) {
    if ('ColumnDef' in element) references(judge, element.ColumnDef.constraints);
    if (!('Constraint' in element) || element.Constraint.pktable === undefined) continue;
    const { pktable, fk_del_action, fk_upd_action } = element.Constraint;
    const meaning = findRelation(judge, pktable.schemaname ?? null, pktable.relname ?? '');
    for (const relation of meaning.relations) judge.relation(relation, 'read');
    if (meaning.relations.length === 0) judge.object('table', meaning.schema, meaning.name, 'read');
    const acts = [fk_del_action, fk_upd_action].some(
      (action) => action !== undefined && /[cnd]/.test(action),
    );
    if (acts) altered(judge, meaning.schema, meaning.name);
  }
}

/** A type that the catalog does not show yet: values made of it may run what its parts run. */
export function createType(judge: Judge, what: string, name = '', node?: unknown): void {
  judge.open('create', 'ddl');
  judge.object('type', null, name, 'create');
  const found = foundBy(judge, (inner) => walk(inner, node));
  if (worth(found).length > 0) alteredEverything(judge, what);
}

export function createView(judge: Judge, node: ViewStmt): void {
  const temporary = isTemporary(node.view);
  const draft = judge.open('create', temporary ? 'session' : 'ddl');
  const found = foundBy(judge, (inner) => walk(inner, node.query));
  const writes = foundBy(judge, (inner) => throughView(inner, node.query));
  madeRelation(judge, node.view, 'view', worth(found), [...worth(found), ...worth(writes)]);
  judge.draft = draft;
}

/** What a change through a view that the catalog does not show yet reaches: any, of its base. */
function throughView(judge: Judge, query: Node | undefined): void {
  const from = query !== undefined && 'SelectStmt' in query ? query.SelectStmt.fromClause : [];
  const [base] = from?.length === 1 ? from : [];
  if (base === undefined || !('RangeVar' in base)) return;
  const { schemaname = null, relname = '' } = base.RangeVar;
  const meaning = findRelation(judge, schemaname, relname);
  for (const local of meaning.locals) absorb(judge, local.on_write, [`view of ${relname}`]);
  for (const event of ['insert', 'update', 'delete'] as const) {
    const draft = judge.open(event, 'destructive');
    draft.scoped = false;
    for (const relation of meaning.relations)
      writeRelation(judge, relation, { event, columns: null, via: [], only: false });
    if (meaning.relations.length === 0) judge.object('table', meaning.schema, relname, event);
  }
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

export function createFunction(judge: Judge, node: CreateFunctionStmt): void {
  const names = parts(node.funcname);
  const name = names[names.length - 1] ?? '';
  const language = optionText(option(node.options, 'language')).toLowerCase() || 'sql';
  const draft = judge.open('create', language === 'c' || language === 'internal' ? 'admin' : 'ddl');
  const schema = names.length > 1 ? (names[0] ?? null) : creationSchema(judge);
  judge.object('function', schema, name, 'create');
  const body = optionText(option(node.options, 'as'));
  const effects = foundBy(judge, (inner) => {
    for (const parameter of node.parameters ?? []) {
      if ('FunctionParameter' in parameter) walk(inner, parameter.FunctionParameter.defexpr);
    }
    functionBody(inner, language, body, node, `function ${name}`);
  });
  judge.draft = draft;
  remember(judge, {
    kind: 'function',
    schema,
    name,
    on_read: worth(effects),
    on_write: [],
    fresh: false,
  });
}

function functionBody(
  judge: Judge,
  language: string,
  body: string,
  node: CreateFunctionStmt,
  what: string,
): void {
  if (node.sql_body !== undefined) walk(judge, node.sql_body);
  else if (language === 'sql') sqlBody(judge, null, body);
  else if (language === 'plpgsql') judgeLoose(judge, body, node, what);
  else judge.opaque(`${what} is in language ${language}`);
}

/** The statement's own text is not at hand; a header with the same names and result will do. */
function judgeLoose(judge: Judge, body: string, node: CreateFunctionStmt, what: string): void {
  const names = (node.parameters ?? []).flatMap((p) =>
    'FunctionParameter' in p && p.FunctionParameter.name !== undefined ? [p.FunctionParameter] : [],
  );
  const outputs = names.filter((p) => /OUT|TABLE/.test(p.mode ?? ''));
  const inputs = names.filter((p) => !/^FUNC_PARAM_(OUT|TABLE)$/.test(p.mode ?? ''));
  const quoted = (name: string | undefined) => `"${(name ?? '').replaceAll('"', '""')}"`;
  const returned = parts(node.returnType?.names);
  const last = returned[returned.length - 1] ?? 'void';
  const special =
    last === 'trigger' || last === 'event_trigger' || (last === 'void' && outputs.length === 0);
  const set = node.returnType?.setof === true ? 'setof ' : '';
  const table = outputs.map((p) => `${quoted(p.name)} record_of_someone`).join(', ');
  const args = inputs.map((p) => `${quoted(p.name)} record_of_someone`).join(', ');
  const result =
    outputs.length > 0 && set !== '' ? `table(${table})` : special ? last : `${set}record`;
  const declared = special
    ? ''
    : outputs.length > 0 && set === ''
      ? [args, outs(outputs.map((p) => quoted(p.name)))].filter((t) => t !== '').join(', ')
      : args;
  const procedure = node.is_procedure === true;
  const head = procedure
    ? `create procedure f(${declared})`
    : `create function f(${declared}) returns ${result}`;
  judgePlpgsql(judge, `${head} language plpgsql as '${body.replaceAll("'", "''")}'`, what);
}

function outs(names: readonly string[]): string {
  // Two outputs make the result a record, whatever their types.
  const all = names.length === 1 ? [...names, '"another output"'] : names;
  return all.map((name) => `out ${name} record_of_someone`).join(', ');
}

export function createTrigger(judge: Judge, node: CreateTrigStmt): void {
  const draft = judge.open('create', 'ddl');
  const range = node.relation;
  const meaning = findRelation(judge, range?.schemaname ?? null, range?.relname ?? '');
  judge.object('trigger', meaning.schema, node.trigname ?? '', 'create');
  judge.object('table', meaning.schema, meaning.name, 'alter');
  const effects = foundBy(judge, (inner) => callByName(inner, node.funcname));
  judge.draft = draft;
  altered(judge, meaning.schema, meaning.name, worth(effects));
}

/** A function that will be called by what is being made. */
export function callByName(judge: Judge, funcname: readonly Node[] | undefined): void {
  const names = parts(funcname);
  const name = names[names.length - 1] ?? '';
  const meaning = findFunctions(judge, names.length > 1 ? (names[0] ?? null) : null, name);
  for (const routine of meaning.routines)
    takeIn(judge, routineFindings(judge, routine), [`function ${name}`]);
  if (meaning.local !== null) absorb(judge, meaning.local.on_read, [`function ${name}`]);
  if (meaning.routines.length === 0 && meaning.local === null && meaning.builtin === null) {
    judge.opaque(`function ${names.join('.')} is not in the catalog`);
  }
}

export function createRule(judge: Judge, node: RuleStmt): void {
  const draft = judge.open('create', 'ddl');
  const meaning = findRelation(
    judge,
    node.relation?.schemaname ?? null,
    node.relation?.relname ?? '',
  );
  judge.object('rule', meaning.schema, node.rulename ?? '', 'create');
  judge.object('table', meaning.schema, meaning.name, 'alter');
  const effects = foundBy(judge, (inner) => {
    walk(inner, node.whereClause);
    walk(inner, node.actions);
  });
  judge.draft = draft;
  altered(judge, meaning.schema, meaning.name, worth(effects));
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
  walk(judge, node.indexParams);
  walk(judge, node.whereClause);
  for (const element of node.indexParams ?? []) {
    if (!('IndexElem' in element) || element.IndexElem.opclass === undefined) continue;
    // An operator class of a user's: which of a name is not told apart.
    for (const opclass of judge.catalog?.classes.values() ?? []) {
      for (const code of opclass.functions) absorbFunction(judge, code, ['operator class']);
    }
  }
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

/** DO: the block runs now. */
export function doBlock(judge: Judge, args: readonly Node[] | undefined): void {
  const language = optionText(option(args, 'language')).toLowerCase() || 'plpgsql';
  judge.open('do', 'read');
  judge.findings.own_transaction = true;
  const body = optionText(option(args, 'as'));
  if (language !== 'plpgsql') {
    judge.opaque(`a DO block in language ${language}`);
    return;
  }
  const inner = judge.inside({ via: [...judge.via, 'DO block'], body: true });
  judgePlpgsql(inner, blockStatement(body), 'a DO block');
}
