// How much of a table a condition lets through: nothing narrowed, a tautology, a key, a filter.
// Invariant: a condition is selective only when some row of the table is sure to be told from
// another by equality; what is not sure counts as no narrowing at all.
import type { A_Expr, Node, SelectStmt } from '@pgsql/types';
import { type Bound, Bounds, type Narrowing, narrowingOf, plain } from './bound.ts';
import { type Constant, constant, isBoolish } from './fold.ts';
import type { Judge } from './judge.ts';
import { findRelation, findTypes, isRedefined, isShadowed, parts } from './names.ts';
import { baseType, isExact, isSteady, SHADOWING, splitsByComma } from './operand.ts';
import { withGiven } from './partial.ts';
import {
  cteNamed,
  makesRows,
  queriesIn,
  queryOf,
  References,
  relationsIn,
  SYSTEM_COLUMNS,
  shows,
  type Target,
  variesByRow,
} from './reference.ts';
import { rowsOf, sameRows } from './times.ts';

export type { Narrowing } from './bound.ts';
export type { Target } from './reference.ts';

export function narrowing(judge: Judge, where: Node | undefined, target: Target): Narrowing {
  if (where === undefined)
    return { predicate: 'none', scoped: false, rows_max: null, joined: false };
  if ('CurrentOfExpr' in where)
    return { predicate: 'key', scoped: true, rows_max: 1, joined: false };
  // Any name may mean a variable.
  if (judge.variables.has(SHADOWING)) return narrowingOf(plain('open'));
  return narrowingOf(new Conditions(judge, withGiven(judge, where, target)).reach(where));
}

class Conditions {
  readonly #judge: Judge;
  readonly #target: Target;
  readonly #names: References;
  readonly #bounds: Bounds;
  /** CTEs that may give any row of the target's. */
  readonly #known = new Map<Node, boolean>();
  /** A function stands in the FROM list. */
  #series: boolean | null = null;
  constructor(judge: Judge, target: Target) {
    this.#judge = judge;
    this.#target = target;
    this.#names = new References(judge, target);
    this.#bounds = new Bounds(judge, target, this.#names);
  }

  reach(node: Node): Bound {
    const value = constant(node);
    const found = this.#reached(node, value);
    // What binds a column names one.
    const named = value === null && (found.columns.size > 0 || variesByRow(node));
    if (!named) this.#judge.root.literal = true;
    return found;
  }

  #reached(node: Node, value: Constant | null): Bound {
    if (value !== null && !isShadowed(this.#judge, node)) {
      if (value.kind === 'boolean') return plain(value.value ? 'all' : 'none');
      return plain(value.kind === 'null' ? 'none' : 'open');
    }
    if ('BoolExpr' in node) {
      const args = node.BoolExpr.args ?? [];
      const { boolop } = node.BoolExpr;
      if (boolop === 'NOT_EXPR') return this.#not(args[0]);
      const all = args.map((arg) => this.reach(arg));
      return boolop === 'AND_EXPR' ? this.#bounds.and(all) : this.#bounds.or(all);
    }
    if ('A_Expr' in node) return this.#expression(node.A_Expr);
    if ('NullTest' in node)
      return this.#nullTest(node.NullTest.arg, node.NullTest.nulltesttype === 'IS_NULL');
    if ('BooleanTest' in node) {
      const { arg, booltesttype } = node.BooleanTest;
      if (arg === undefined) return plain('open');
      if (booltesttype === 'IS_TRUE') return this.reach(arg);
      return booltesttype === 'IS_FALSE' ? this.#not(arg) : plain('open');
    }
    if ('SubLink' in node) {
      const { subLinkType, testexpr, subselect, operName } = node.SubLink;
      if (subLinkType !== 'ANY_SUBLINK') return plain('open');
      const operator = parts(operName);
      if (operator.length > 0 && operator[operator.length - 1] !== '=') return plain('open');
      return this.#in(testexpr, subselect);
    }
    // A boolean column by itself is equality with true.
    const column = this.#names.column(node);
    return column === null ? plain('open') : this.#key(column, 1, { boolish: true });
  }

  /** A column equal to so many values. */
  #key(
    column: string,
    values: number | null,
    more?: { readonly exact?: boolean; readonly boolish?: boolean; readonly fed?: boolean },
  ): Bound {
    const { exact = true } = more ?? {};
    return this.#bounds.key(new Map([[column, { values, exact }]]), more);
  }

  #not(arg: Node | undefined): Bound {
    if (arg === undefined) return plain('open');
    const inner = this.reach(arg);
    // `NOT active` is equality with false; NOT of any other equality is an inequality.
    if (inner.reach === 'key' && this.#names.column(arg) !== null) return inner;
    if (inner.reach === 'all') return plain('none');
    return plain('none' === inner.reach && !this.#mayBeNull(arg) ? 'all' : 'open');
  }

  #mayBeNull(node: Node): boolean {
    return constant(node)?.kind !== 'boolean';
  }

  /** `IS NULL` of what is never null. */
  #nullTest(arg: Node | undefined, isNull: boolean): Bound {
    const name = arg === undefined ? null : this.#names.column(arg);
    if (name === null || (!SYSTEM_COLUMNS.has(name) && !this.#names.isNotNull(name)))
      return plain('open');
    return plain(isNull ? 'none' : 'all');
  }

  #expression(node: A_Expr): Bound {
    const names = parts(node.name);
    const name = names[names.length - 1] ?? '';
    const known = names.length === 1 || names[0] === 'pg_catalog';
    if (!known || isRedefined(this.#judge, name)) return plain('open');
    switch (node.kind) {
      case 'AEXPR_OP':
        return name === '=' ? this.#equality(node.lexpr, node.rexpr) : plain('open');
      case 'AEXPR_NOT_DISTINCT':
        return this.#notDistinct(node.lexpr, node.rexpr);
      case 'AEXPR_OP_ANY':
      case 'AEXPR_IN':
        return name === '=' ? this.#in(node.lexpr, node.rexpr) : plain('open');
      default:
        return plain('open');
    }
  }

  /** NULLs are alike here, and a unique index may hold many of them. */
  #notDistinct(left: Node | undefined, right: Node | undefined): Bound {
    if (left !== undefined && 'RowExpr' in left) {
      const others = right !== undefined && 'RowExpr' in right ? (right.RowExpr.args ?? []) : [];
      const pairs = left.RowExpr.args ?? [];
      return this.#bounds.and(pairs.map((node, index) => this.#notDistinct(node, others[index])));
    }
    const [a, b] = [left, right].map((side) => (side === undefined ? null : constant(side)));
    if (a?.kind === 'null') return this.#nullTest(right, true);
    if (b?.kind === 'null') return this.#nullTest(left, true);
    const found = this.#equality(left, right);
    const [name] = found.columns.keys();
    const certain = a != null || b != null || (name !== undefined && this.#names.isNotNull(name));
    if (found.reach !== 'key' || certain || name === undefined) return found;
    return this.#key(name, 1, { ...found, exact: false });
  }

  #equality(left: Node | undefined, right: Node | undefined): Bound {
    if (left === undefined || right === undefined) return plain('open');
    if ('RowExpr' in left && 'RowExpr' in right)
      return this.#rows(left.RowExpr.args ?? [], right.RowExpr.args ?? []);
    const a = this.#names.column(left);
    const b = this.#names.column(right);
    if (a !== null && b !== null)
      return plain(a === b && this.#names.isNotNull(a) ? 'all' : 'open');
    if (a !== null) return this.#with(a, left, right);
    return b === null ? plain('open') : this.#with(b, right, left);
  }

  /** Whether a unique index on the column holds for its comparison with the other side. */
  #isExact(column: string, side: Node, other: Node): boolean {
    if (!isSteady(this.#judge, other)) return false;
    if (column === 'ctid') return true;
    const fact = this.#names.columnFact(column);
    return this.#names.isPlain(side) && isExact(this.#judge, fact, other, this.#target.from);
  }

  #rows(left: readonly Node[], right: readonly Node[]): Bound {
    const pairs = left.map((node, index) => this.#equality(node, right[index]));
    return this.#bounds.and(pairs);
  }

  /** The target's column equals this: `= NULL` is IS NULL, as transform_null_equals makes of it. */
  #with(column: string, side: Node, other: Node): Bound {
    const value = constant(other);
    if (value?.kind === 'null') return this.#nullTest(side, true);
    if (SYSTEM_COLUMNS.has(column) && column !== 'ctid') return plain('open');
    const dependence = value !== null ? 'none' : this.#names.dependence(other);
    if (dependence === 'target') return plain('open');
    if (this.#bounds.size(column, false) === 1) return plain('open');
    const fed = dependence === 'others';
    // Where the others are known to be few, each of their rows is as good as a value.
    if (fed && this.#bounds.feeding === null) return plain(this.#joins(other) ? 'join' : 'open');
    const exact = this.#isExact(column, side, other);
    return this.#key(column, 1, { exact, fed, boolish: !fed && isBoolish(value) });
  }

  /** A join narrows only with a relation other than the target itself. */
  #joins(other: Node): boolean {
    if (!('ColumnRef' in other)) return false;
    // A series can be made to meet every row.
    this.#series ??= JSON.stringify(this.#target.from ?? []).includes('"RangeFunction"');
    if (this.#series) return false;
    const names = parts(other.ColumnRef.fields);
    const qualifier = names.length > 1 ? names[names.length - 2] : undefined;
    const source = this.#target.others.find((s) => s.alias === qualifier) ?? this.#target.others[0];
    const { relation, from } = this.#target;
    if (source?.relation == null) return from?.every((item) => !this.#isAgain(item)) ?? false;
    return source.relation !== relation && !shows(this.#judge, source.relation, relation);
  }

  /** An entry of FROM may give any row of the target's. */
  #isAgain(item: Node): boolean {
    const query = queryOf(this.#judge, item);
    if (query === undefined || !('SelectStmt' in query))
      return relationsIn(query ?? item).some((range) => range.relname === this.#target.name);
    const { limitCount } = query.SelectStmt;
    const limited = limitCount !== undefined && constant(limitCount)?.kind !== 'null';
    return !limited && this.#subselect(query.SelectStmt) === 'open';
  }

  #in(left: Node | undefined, right: Node | undefined): Bound {
    if (left === undefined || right === undefined) return plain('open');
    if ('RowExpr' in left) return this.#rowIn(left.RowExpr.args ?? [], right);
    const column = this.#names.column(left);
    if (column === null) return plain('open');
    if (SYSTEM_COLUMNS.has(column) && column !== 'ctid') return plain('open');
    const items = this.#elements(right);
    if (items !== null) return this.#among(column, left, items);
    if (this.#names.dependence(right) === 'none') {
      const listed = this.#listed(right, column, left);
      if (listed.values !== null) return this.#bounds.several(column, [listed], {});
    }
    const query = 'SelectStmt' in right ? right.SelectStmt : null;
    const reach = query !== null ? this.#subselect(query) : this.#list(right) ? 'key' : 'open';
    if (reach !== 'key') return plain(reach);
    return this.#bounds.several(column, [{ values: null, exact: false }], {});
  }

  /** One of these values. */
  #among(column: string, side: Node, items: readonly Node[]): Bound {
    if (items.some((item) => this.#names.dependence(item) !== 'none')) return plain('open');
    if (this.#isWhole(column, side, items)) return plain('all');
    const exact = items.every((item) => this.#isExact(column, side, item));
    const boolish = items.some((item) => isBoolish(constant(item)));
    return this.#bounds.several(
      column,
      items.map(() => ({ values: 1, exact })),
      { boolish },
    );
  }

  /** Every value that the column's type has stands there. */
  #isWhole(column: string, side: Node, items: readonly Node[]): boolean {
    const type = baseType(this.#judge, this.#names.columnFact(column)?.type ?? '0');
    const all = type?.name === 'bool' ? ['true', 'false'] : type?.labels;
    if (all == null || !this.#names.isPlain(side)) return false;
    const there = new Set<string>();
    for (const item of items) {
      const value = constant(item);
      if (value?.kind === 'text' || value?.kind === 'boolean') there.add(String(value.value));
    }
    this.#judge.root.literal = true;
    return all.every((value) => there.has(value));
  }

  /** How many values a list has that is not written out: a text, an array of a query, a query. */
  #listed(list: Node, column: string, side: Node): { values: number | null; exact: boolean } {
    const node = 'TypeCast' in list ? (list.TypeCast.arg ?? list) : list;
    const value = constant(node);
    const array = 'SubLink' in node && node.SubLink.subLinkType === 'ARRAY_SUBLINK';
    const query = array ? node.SubLink.subselect : node;
    let values: number | null = null;
    const type = baseType(this.#judge, this.#names.columnFact(column)?.type ?? '0');
    if (value?.kind === 'text' && splitsByComma(type)) {
      this.#judge.root.literal = true;
      // At least as many as there are.
      values = value.value.split(',').length;
    } else if (query !== undefined && 'SelectStmt' in query) {
      // An array is made once; what IN compares with may be computed again for each row.
      const rows = array ? rowsOf : sameRows;
      values = rows(this.#judge, query.SelectStmt);
    }
    // The list's type, where it is named, is that of its elements.
    const typed = 'TypeCast' in list ? list : { SubLink: { subselect: query ?? list } };
    const exact = values !== null && this.#isExact(column, side, value === null ? typed : list);
    return { values, exact };
  }

  /** What is written out as a list; null for anything else. */
  #elements(node: Node): readonly Node[] | null {
    if ('List' in node) return node.List.items ?? [];
    const cast = 'TypeCast' in node ? node.TypeCast : null;
    const array = cast?.arg ?? node;
    if (!('A_ArrayExpr' in array)) return null;
    // An array of arrays has the elements of all of them.
    const items = (array.A_ArrayExpr.elements ?? []).flatMap((item) =>
      'A_ArrayExpr' in item ? (this.#elements(item) ?? [item]) : [item],
    );
    if (!items.every((item) => this.#isScalar(item))) return null;
    const { arrayBounds: _, ...typeName } = cast?.typeName ?? {};
    return cast === null ? items : items.map((arg) => ({ TypeCast: { arg, typeName } }));
  }

  /** Surely no array; the type of a parameter is looked at when it is known. */
  #isScalar(node: Node): boolean {
    if ('A_Const' in node) return true;
    if ('ParamRef' in node) {
      const { body, findings } = this.#judge;
      if (!body) (findings.compared ??= new Set()).add(node.ParamRef.number ?? 0);
      return !body;
    }
    if (!('TypeCast' in node)) return false;
    const { typeName } = node.TypeCast;
    if (typeName?.arrayBounds !== undefined) return false;
    const types = findTypes(this.#judge, parts(typeName?.names));
    return types.every((type) => baseType(this.#judge, type.oid)?.category !== 'A');
  }

  #rowIn(left: readonly Node[], right: Node): Bound {
    const items = this.#elements(right);
    const rows = items?.flatMap((item) => ('RowExpr' in item ? [item.RowExpr.args ?? []] : []));
    if (rows !== undefined && rows.length === items?.length)
      return this.#bounds.or(rows.map((row) => this.#rows(left, row)));
    const columns = left.flatMap((arg) => {
      const name = this.#names.column(arg);
      return name === null || this.#bounds.size(name, false) !== null ? [] : [name];
    });
    if (columns.length === 0 || !this.#fixed(right)) return plain('open');
    return this.#bounds.key(new Map(columns.map((name) => [name, { values: null, exact: false }])));
  }

  #fixed(node: Node): boolean {
    return 'SelectStmt' in node ? this.#subselect(node.SelectStmt) !== 'open' : this.#list(node);
  }

  /** A list made by an expression: fixed, unless a query in it could list the whole target. */
  #list(node: Node): boolean {
    if (this.#names.dependence(node) !== 'none') return false;
    return queriesIn(node).every((query) => this.#subselect(query) === 'key');
  }

  /**
   * What a sub-select leaves: a key, a join, or (the target again, a series, a look at the row)
   * nothing.
   */
  #subselect(node: SelectStmt): 'key' | 'join' | 'open' {
    if (makesRows(node)) return 'open';
    const relations = relationsIn(node.fromClause);
    const again = relations.some((r) => r.relname === this.#target.name);
    const views = relations.some((r) =>
      findRelation(this.#judge, r.schemaname ?? null, r.relname ?? '').relations.some(
        (f) => f.kind === 'v',
      ),
    );
    const [only, more] = node.fromClause ?? [];
    if (again || views) {
      if (node.whereClause === undefined || views) return 'open';
      // Columns of anything else may have any name.
      if (only === undefined || more !== undefined || !('RangeVar' in only)) return 'open';
      const alias = only.RangeVar.alias?.aliasname ?? this.#target.name;
      const around = [...(this.#target.outer ?? []), this.#target.alias];
      const outer = around.filter((name) => name !== alias);
      const inner: Target = { ...this.#target, alias, others: [], from: undefined, outer };
      const found = new Conditions(this.#judge, inner).reach(node.whereClause);
      return found.reach === 'key' || found.reach === 'none' ? 'key' : 'open';
    }
    if (this.#names.dependence({ SelectStmt: node }) === 'target') return 'open';
    const queries = relations.map((range) => cteNamed(this.#judge, range)?.query);
    if (queries.some((query) => query !== undefined && this.#isOpen(query))) return 'open';
    const tables = queries.some((query) => query === undefined);
    return tables && node.limitCount === undefined && this.#isWholeTable(node) ? 'join' : 'key';
  }

  /** Its condition lets every row through. */
  #isWholeTable({ whereClause, fromClause = [] }: SelectStmt): boolean {
    if (whereClause === undefined) return true;
    const [only, more] = fromClause;
    const range =
      only !== undefined && 'RangeVar' in only && more === undefined ? only.RangeVar : {};
    const { schemaname = null, relname = '', alias } = range;
    const [relation = null] = findRelation(this.#judge, schemaname, relname).relations;
    const target = { alias: alias?.aliasname ?? relname, name: relname, relation, others: [] };
    return new Conditions(this.#judge, target).reach(whereClause).reach === 'all';
  }

  /** A CTE may give any row of the target's. */
  #isOpen(query: Node): boolean {
    // One that reads itself may.
    if (!this.#known.has(query)) {
      this.#known.set(query, true);
      this.#known.set(query, this.#isAgain({ RangeSubselect: { subquery: query } }));
    }
    return this.#known.get(query) === true;
  }
}
