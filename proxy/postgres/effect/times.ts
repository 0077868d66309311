// How often something runs, and how many rows a query gives, where the text settles it.
// Invariant: a number is never less than what can happen; what is not sure is null.
import type { CommonTableExpr, FuncCall, Node, RangeVar, SelectStmt } from '@pgsql/types';
import { builtinNamed } from './builtins.ts';
import { multiplied } from './count.ts';
import { constant } from './fold.ts';
import type { Draft, Judge } from './judge.ts';
import { findRelation, localNamed, parts } from './names.ts';
import { narrowing } from './predicate.ts';
import { hasNode, queryOf, relationsIn, type Target } from './reference.ts';

/** How often a call is evaluated for each run of the statement that it stands in. */
export function callTimes(judge: Judge, call: FuncCall | undefined): number | null {
  const { scope, times } = judge;
  const query = scope?.query;
  if (call === undefined || scope == null || query === undefined || times === null) return null;
  const { parent } = scope;
  const outermost = parent === null || (parent.feeds === query && parent.parent === null);
  if (!outermost || query.larg !== undefined) return null;
  return places(judge, query).some((place) => isOnce(place, call)) ? times : null;
}

/** What is evaluated once when the query runs. */
function places(judge: Judge, query: SelectStmt): readonly unknown[] {
  if (query.valuesLists !== undefined) return isFixed(judge, query) ? query.valuesLists : [];
  const from = query.fromClause;
  if (from === undefined) return multiplies(judge, query) ? [] : (query.targetList ?? []);
  // A function that is all there is in FROM is called once, whatever is done with its rows.
  const [only] = from;
  return from.length === 1 && only !== undefined && 'RangeFunction' in only
    ? (only.RangeFunction.functions ?? [])
    : [];
}

/**
 * Parts of an expression that are evaluated once when it is. Others may be copied before it runs:
 * `f() BETWEEN 1 AND 2` calls twice, `(f()).*` once for each column.
 */
const ONCE = new Set([
  'FuncCall',
  'TypeCast',
  'ResTarget',
  'List',
  'A_ArrayExpr',
  'CoalesceExpr',
  'NamedArgExpr',
  'CollateClause',
  'BoolExpr',
  'NullTest',
]);

function isOnce(value: unknown, call: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value)) return value.some((item) => isOnce(item, call));
  for (const kind in value) {
    const node: unknown = (value as { readonly [kind: string]: unknown })[kind];
    if (node === call) return true;
    if (typeof node !== 'object' || node === null) continue;
    const plain = kind === 'A_Expr' && 'kind' in node && node.kind === 'AEXPR_OP';
    if ((plain || ONCE.has(kind)) && Object.values(node).some((part) => isOnce(part, call)))
      return true;
  }
  return false;
}

/** Something in it may give several rows for one: then all beside it is evaluated for each. */
export function makesRows(judge: Judge, value: unknown): boolean {
  return hasNode(value, (kind, node) => {
    // `(value).f` may be a call, and an operator of a user's may stand for one.
    if (kind === 'A_Indirection') return true;
    // So may `row.f`.
    if (kind === 'ColumnRef' && 'fields' in node) {
      const [, ...rest] = parts(node.fields as Node[]);
      const name = rest.at(-1);
      return name !== undefined && (judge.catalog?.routines_named.has(name) ?? false);
    }
    if (kind === 'FuncCall' && 'funcname' in node) return isSet(judge, node.funcname as Node[]);
    if (kind !== 'A_Expr' || !('name' in node)) return false;
    const name = parts(node.name as Node[]).at(-1) ?? '';
    return judge.catalog === null || judge.catalog.operators_named.has(name);
  });
}

/** VALUES gives as many rows as are written: a single one may stand for what a function gives. */
function isFixed(judge: Judge, { valuesLists = [], sortClause }: SelectStmt): boolean {
  if (makesRows(judge, sortClause)) return false;
  return valuesLists.length > 1 || !makesRows(judge, valuesLists);
}

function isSet(judge: Judge, funcname: readonly Node[]): boolean {
  const name = parts(funcname).at(-1) ?? '';
  const builtin = builtinNamed(name);
  if (builtin?.result === 'set') return true;
  if (localNamed(judge, 'function', name) !== null) return true;
  const routines = judge.catalog?.routines_named.get(name) ?? [];
  if (routines.length === 0) return builtin === undefined;
  // A procedure has no result.
  return routines.some(
    ({ kind, result_text: text }) => kind !== 'p' && /^(SETOF|TABLE)\b/i.test(text ?? 'SETOF'),
  );
}

/** The query may give more rows than those of its FROM: by grouping sets, or by a set somewhere. */
export function multiplies(judge: Judge, query: SelectStmt): boolean {
  const { targetList, sortClause, groupClause, distinctClause, windowClause } = query;
  if (groupClause?.some((item) => 'GroupingSet' in item)) return true;
  return makesRows(judge, [targetList, sortClause, groupClause, distinctClause, windowClause]);
}

/** The most rows that one evaluation of the query gives. */
export function rowsOf(judge: Judge, query: SelectStmt): number | null {
  const rows = query.withClause === undefined ? unlimited(judge, query) : null;
  if (query.limitCount === undefined || query.limitOption === 'LIMIT_OPTION_WITH_TIES') return rows;
  const limit = constant(query.limitCount);
  judge.root.literal = true;
  if (limit?.kind !== 'number' || limit.decimal) return rows;
  return rows === null ? limit.value : Math.min(rows, limit.value);
}

function unlimited(judge: Judge, query: SelectStmt): number | null {
  if (query.valuesLists !== undefined)
    return isFixed(judge, query) ? query.valuesLists.length : null;
  if (query.larg !== undefined && query.rarg !== undefined) {
    const left = rowsOf(judge, query.larg);
    const right = left === null ? null : rowsOf(judge, query.rarg);
    return left === null || right === null ? null : left + right;
  }
  if (multiplies(judge, query)) return null;
  const rows = fromRows(judge, query.fromClause, query.whereClause);
  // An aggregate gives a row even for none.
  return rows === null ? null : Math.max(rows, 1);
}

/** The most rows of a FROM list; the condition counts where the list is one table. */
export function fromRows(
  judge: Judge,
  from: readonly Node[] | undefined,
  where?: Node,
): number | null {
  let rows: number | null = 1;
  for (const item of from ?? []) {
    if (rows === null) return null;
    rows = multiplied(rows, itemRows(judge, item, from?.length === 1 ? where : undefined));
  }
  return rows;
}

function itemRows(judge: Judge, item: Node, where: Node | undefined): number | null {
  if ('RangeSubselect' in item) {
    const { subquery } = item.RangeSubselect;
    return subquery !== undefined && 'SelectStmt' in subquery
      ? rowsOf(judge, subquery.SelectStmt)
      : null;
  }
  // A function in FROM that gives no set gives one row.
  if ('RangeFunction' in item) return makesRows(judge, item) ? null : 1;
  if (!('RangeVar' in item)) return null;
  const { schemaname, relname: name = '', alias } = item.RangeVar;
  if (schemaname === undefined)
    for (let scope = judge.scope; scope !== null; scope = scope.parent)
      if (scope.ctes.has(name)) return scope.ctes.get(name)?.rows ?? null;
  if (where === undefined || (judge.body && isTransition(judge, name))) return null;
  const target = alone(judge, item.RangeVar);
  if (target.relation === null || alias?.colnames !== undefined) return null;
  return narrowing(judge, where, target).rows_max;
}

/** A table with nothing beside it. */
function alone(judge: Judge, { schemaname, relname: name = '', alias }: RangeVar): Target {
  const { relations, locals } = findRelation(judge, schemaname ?? null, name);
  const relation = relations.length === 1 && locals.length === 0 ? (relations[0] ?? null) : null;
  return { alias: alias?.aliasname ?? name, name, relation, others: [] };
}

/** In a trigger the rows of its statement may stand under a name that hides a table's. */
function isTransition(judge: Judge, name: string): boolean {
  for (const { triggers } of judge.catalog?.relations.values() ?? [])
    if (triggers.some(({ tables }) => tables.includes(name))) return true;
  return false;
}

/** The most rows that a CTE gives, where it gives the same ones whenever it is read. */
export function keptRows(
  judge: Judge,
  { ctequery: query, ctematerialized }: CommonTableExpr,
  draft: Draft | undefined,
): number | null {
  if (query === undefined) return null;
  // Any other may be put in the place where it is read, and computed anew with each row there.
  if ('SelectStmt' in query) {
    const { lockingClause, valuesLists } = query.SelectStmt;
    const kept = ctematerialized === 'CTEMaterializeAlways' || lockingClause !== undefined;
    return kept || valuesLists !== undefined ? rowsOf(judge, query.SelectStmt) : null;
  }
  // What a rule puts in its place may give other rows.
  const { relation } = Object.values(query)[0] as { readonly relation?: RangeVar };
  const { relations } = findRelation(judge, relation?.schemaname ?? null, relation?.relname ?? '');
  const diverted = relations.some(({ rules }) => rules.some((rule) => rule.instead));
  return diverted ? null : (draft?.rows_max ?? null);
}

/** The most rows of a query that gives the same ones each time that it is evaluated. */
export function sameRows(judge: Judge, query: SelectStmt): number | null {
  const { fromClause: from, valuesLists, limitCount, whereClause: _, ...whole } = query;
  if (valuesLists !== undefined) return rowsOf(judge, query);
  if (limitCount !== undefined || steadyRows(judge, from) === null) return null;
  return rowsOf(judge, { ...whole, ...(from === undefined ? {} : { fromClause: from }) });
}

/** The most rows of a FROM list whose parts give the same ones each time. */
export function steadyRows(judge: Judge, from: readonly Node[] | undefined): number | null {
  let rows: number | null = 1;
  for (const item of from ?? []) {
    const query = 'RangeSubselect' in item ? item.RangeSubselect.subquery : undefined;
    const steady =
      query !== undefined && 'SelectStmt' in query
        ? sameRows(judge, query.SelectStmt)
        : itemRows(judge, item, undefined);
    rows = multiplied(rows, steady);
  }
  return rows;
}

/** Of more tables it is not looked for: each is held against the others. */
const MOST_TABLES = 12;

/**
 * Its condition tells rows of a table apart by equality, and those of all others by that, or by a
 * join.
 */
export function tellsApart(judge: Judge, query: SelectStmt): boolean {
  const ranges: RangeVar[] = [];
  const conditions = query.whereClause === undefined ? [] : [query.whereClause];
  const wait = [...(query.fromClause ?? [])];
  for (let item = wait.pop(); item !== undefined; item = wait.pop()) {
    if ('JoinExpr' in item && item.JoinExpr.alias === undefined) {
      const { jointype, larg, rarg, quals } = item.JoinExpr;
      for (const side of [larg, rarg]) if (side !== undefined) wait.push(side);
      if (jointype === 'JOIN_INNER' && quals !== undefined) conditions.push(quals);
    } else if ('RangeVar' in item && queryOf(judge, item) === undefined) ranges.push(item.RangeVar);
    else return false;
  }
  const few = ranges.length <= MOST_TABLES;
  if (query.larg !== undefined || conditions.length === 0 || !few) return false;
  const where: Node = { BoolExpr: { boolop: 'AND_EXPR', args: conditions } };
  const all = ranges.map((range) => alone(judge, range));
  const found = all.map((target) => {
    if (all.length === 1) return narrowing(judge, where, target);
    const others = all
      .filter((other) => other !== target)
      .map(({ alias, relation }) => ({ alias, relation, columns: null, target: false }));
    return narrowing(judge, where, { ...target, others, from: query.fromClause });
  });
  return found.some(({ scoped }) => scoped) && found.every((one) => one.scoped || one.joined);
}

function reads(judge: Judge, from: readonly Node[], name: string, seen = new Set<Node>()): boolean {
  return from.some((item) => {
    const query = queryOf(judge, item);
    if (query !== undefined && seen.has(query)) return false;
    if (query !== undefined) seen.add(query);
    return relationsIn(query ?? item).some(
      (range) =>
        range.relname === name ||
        (query !== undefined && reads(judge, [{ RangeVar: range }], name, seen)),
    );
  });
}

/** Rows that come from a whole table, with nothing to narrow them. */
export function isWhole(judge: Judge, select: SelectStmt | undefined, name: string): boolean {
  if (select?.fromClause === undefined) return select?.larg !== undefined;
  if (select.limitCount !== undefined) return false;
  const [first] = select.fromClause;
  // Its own rows, told apart by less than equality, may be all of them.
  const again = reads(judge, select.fromClause, name);
  if (select.whereClause === undefined || first === undefined || !('RangeVar' in first)) {
    return again || select.whereClause === undefined;
  }
  const found = narrowing(judge, select.whereClause, alone(judge, first.RangeVar));
  return again ? !found.scoped : found.predicate === 'tautology';
}
