// Functions that run text, or whatever an argument names: query_to_xml, ts_stat, table_to_xml,
// set_config, …
// Invariant: text or a name that is not a constant of the statement is `unknown`.
import type { Node } from '@pgsql/types';
import { ParseFailure, parse } from '../parser.ts';
import type { RunsText } from './builtins.ts';
import { indexExpressions } from './computed.ts';
import { walk } from './expression.ts';
import { constant } from './fold.ts';
import { absorb, type Judge } from './judge.ts';
import { findRelation, parts } from './names.ts';
import { readMeaning } from './relation.ts';
import { statementsText } from './routine.ts';
import { applySetting } from './settings.ts';
import { meetEveryType, meetJson, meetText } from './type.ts';

function text(judge: Judge, node: Node | undefined): string | null {
  const value = constant(node);
  if (value === null || value.kind === 'null') return null;
  judge.root.literal = true;
  return String(value.value);
}

function run(judge: Judge, name: string, sql: string | null): void {
  if (sql === null) {
    judge.opaque(`${name} runs text that is made as it runs`, 'run');
    return;
  }
  const inner = judge.inside({ via: [...judge.via, `text of ${name}`], body: true });
  statementsText(inner, sql);
}

export function runText(judge: Judge, name: string, runs: RunsText, args: readonly Node[]): void {
  switch (runs) {
    case 'query':
      return queries(judge, name, args);
    case 'tsquery': {
      // ts_rewrite(query, target, substitute) only computes; ts_rewrite(query, text) runs the text.
      if (args.length === 3) return;
      return run(judge, name, text(judge, args[1]));
    }
    case 'relation':
      return namedRelation(judge, name, text(judge, args[0]));
    case 'schema':
      return wholeSchema(judge, name, text(judge, args[0]));
    case 'database':
      return everything(judge);
    case 'cursor':
      return cursor(judge, name, text(judge, args[0]));
    case 'setting':
      return setConfig(judge, args);
    case 'xpath':
      return xpathTable(judge, name, args);
    case 'type':
      return typeNamed(judge, text(judge, args[1]));
    case 'types':
      return meetEveryType(judge);
    case 'json':
      return meetJson(judge);
    case 'text':
      return meetText(judge);
    case 'indexes':
      return everyIndex(judge);
    case 'connectby':
      return connectby(judge, name, args);
    case 'hypothetical':
      return hypothetical(judge, name, text(judge, args[0]));
    case 'spatial_ref_sys':
      // By this name alone, wherever the search path finds it.
      return namedRelation(judge, name, runs);
  }
}

/** A check that computes what indexes hold: which index is not told apart. */
function everyIndex(judge: Judge): void {
  for (const relation of judge.catalog?.relations.values() ?? []) indexExpressions(judge, relation);
}

/** A type's input function, with the type as an argument. */
function typeNamed(judge: Judge, name: string | null): void {
  const statement = name === null ? null : parsedCast(name);
  if (statement === null) meetEveryType(judge);
  else walk(judge, statement);
}

function parsedCast(type: string): Node | null {
  if (type.includes('\\')) return null;
  return parsedOrNothing(`select null::${type}`)?.stmts?.[0]?.stmt ?? null;
}

function parsedOrNothing(sql: string): ReturnType<typeof parse> | null {
  try {
    return parse(sql);
  } catch (error) {
    if (error instanceof ParseFailure) return null;
    throw error;
  }
}

/** The first argument is a query; of crosstab(text, text) the second one too. */
function queries(judge: Judge, name: string, args: readonly Node[]): void {
  run(judge, name, text(judge, args[0]));
  const second = constant(args[1]);
  if (name === 'crosstab' && args.length === 2 && second?.kind !== 'number')
    run(judge, name, text(judge, args[1]));
}

function namedRelation(judge: Judge, name: string, relation: string | null): void {
  const parsed = relation === null ? null : rangeVar(relation);
  if (parsed === null) {
    judge.opaque(`${name} reads a relation that is chosen as it runs`, 'run');
    return;
  }
  readMeaning(judge, findRelation(judge, parsed.schema, parsed.name), 'read');
}

/** A relation's name as text, the way regclass reads it; null when it is none. */
export function rangeVar(text: string): { schema: string | null; name: string } | null {
  if (/^\s*\d+\s*$/.test(text)) return null;
  const statement = parsedOrNothing(`table ${text}`)?.stmts?.[0]?.stmt;
  const from =
    statement !== undefined && 'SelectStmt' in statement
      ? statement.SelectStmt.fromClause?.[0]
      : undefined;
  if (from === undefined || !('RangeVar' in from)) return null;
  return { schema: from.RangeVar.schemaname ?? null, name: from.RangeVar.relname ?? '' };
}

function wholeSchema(judge: Judge, name: string, schema: string | null): void {
  if (schema === null || judge.catalog === null) {
    judge.opaque(`${name} reads every relation of a schema`, 'run');
    return;
  }
  for (const relation of judge.catalog.relations.values()) {
    if (relation.schema === schema && relation.kind !== 'S' && relation.kind !== 'c') {
      readMeaning(judge, findRelation(judge, relation.schema, relation.name), 'read');
    }
  }
}

function everything(judge: Judge): void {
  if (judge.catalog === null) {
    judge.opaque('database_to_xml reads every relation of the database', 'run');
    return;
  }
  for (const relation of judge.catalog.relations.values()) {
    if (relation.kind === 'S' || relation.kind === 'c' || relation.temporary) continue;
    readMeaning(judge, findRelation(judge, relation.schema, relation.name), 'read');
  }
}

function cursor(judge: Judge, name: string, cursorName: string | null): void {
  judge.root.personal = true;
  const statement = cursorName === null ? undefined : judge.root.session.cursors.get(cursorName);
  if (statement === undefined) judge.opaque(`${name} runs a cursor that is not known`, 'run');
  else absorb(judge, statement.effects, [`cursor ${cursorName}`]);
}

function setConfig(judge: Judge, args: readonly Node[]): void {
  const setting = text(judge, args[0]) ?? onlyValue(judge, args[0]);
  const value = constant(args[1]);
  const local = constant(args[2]);
  if (setting === null) {
    judge.opaque('set_config of a setting that is chosen as it runs', 'set');
    return;
  }
  const given = value === null ? undefined : value.kind === 'null' ? null : String(value.value);
  const inTransaction = local?.kind === 'boolean' ? local.value : false;
  applySetting(judge, setting.toLowerCase(), given, inTransaction, true);
}

/** A column that the query's own condition holds to one text: `… WHERE name = 'x'`. */
function onlyValue(judge: Judge, node: Node | undefined): string | null {
  if (node === undefined || !('ColumnRef' in node)) return null;
  const wanted = parts(node.ColumnRef.fields).join('.');
  const where = judge.scope?.query?.whereClause;
  const all = where !== undefined && 'BoolExpr' in where && where.BoolExpr.boolop === 'AND_EXPR';
  const conditions = where === undefined ? [] : all ? (where.BoolExpr.args ?? []) : [where];
  for (const condition of conditions) {
    if (!('A_Expr' in condition) || condition.A_Expr.kind !== 'AEXPR_OP') continue;
    const { name, lexpr, rexpr } = condition.A_Expr;
    if (parts(name).at(-1) !== '=' || lexpr === undefined || !('ColumnRef' in lexpr)) continue;
    if (parts(lexpr.ColumnRef.fields).join('.') === wanted) return text(judge, rexpr);
  }
  return null;
}

/**
 * xpath_table(key, document, relation, paths, criteria) puts its arguments into one text, unquoted,
 * and runs that.
 */
function xpathTable(judge: Judge, name: string, args: readonly Node[]): void {
  const [key, document, relation, , criteria] = args.map((arg) => text(judge, arg));
  const whole = [key, document, relation, criteria];
  if (args.length !== 5 || whole.some((part) => part == null)) return run(judge, name, null);
  run(judge, name, `SELECT ${key}, ${document} FROM ${relation} WHERE ${criteria}`);
}

/**
 * An index that only the session's planner sees. Its text is taken in as CREATE INDEX would be,
 * without its parts being computed; those that could be computed count as if it were made.
 */
function hypothetical(judge: Judge, name: string, sql: string | null): void {
  const statements = sql === null ? [] : (parsedOrNothing(sql)?.stmts ?? []);
  const isPlain = statements.every(
    ({ stmt }) =>
      sql?.includes('\\') === false &&
      stmt !== undefined &&
      'IndexStmt' in stmt &&
      stmt.IndexStmt.whereClause === undefined &&
      (stmt.IndexStmt.indexParams ?? []).every(
        (param) => 'IndexElem' in param && param.IndexElem.expr === undefined,
      ),
  );
  if (statements.length === 0 || !isPlain) return run(judge, name, sql);
  const before = judge.draft;
  judge.draft = judge.aside('create', 'session');
  judge.object('index', null, 'hypothetical', 'create');
  judge.draft = before;
}

/**
 * connectby(relation, key, parent, [order,] start, depth, …): names are put into the text unquoted.
 */
function connectby(judge: Judge, name: string, args: readonly Node[]): void {
  const [relation, key, parent, order] = args.map((arg) => text(judge, arg));
  if (relation == null || key == null || parent == null) return run(judge, name, null);
  const names = [key, parent].join(', ');
  const sorted = args.length === 5 || args.length === 7 ? order : null;
  const tail = sorted == null ? '' : `ORDER BY ${sorted}`;
  run(judge, name, `SELECT ${names} FROM ${relation} WHERE ${parent} = '1' ${tail}`);
}
