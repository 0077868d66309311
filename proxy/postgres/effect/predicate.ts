// How much of a table a condition lets through: nothing narrowed, a tautology, a key, a filter.
// Invariant: a condition is selective only when some row of the table is sure to be told from
// another by equality; what is not sure counts as no narrowing at all.
import type { A_Expr, Node, SelectStmt } from '@pgsql/types';
import type { Predicate } from '../../effect/effect.ts';
import type { Relation } from '../catalog/snapshot.ts';
import { constant } from './fold.ts';
import type { Judge } from './judge.ts';
import { findOperators, findRelation, parts } from './names.ts';
import {
  makesRows,
  queriesIn,
  References,
  relationsIn,
  SYSTEM_COLUMNS,
  type Target,
} from './reference.ts';

export type { Target } from './reference.ts';

export interface Narrowing {
  readonly predicate: Predicate;
  readonly scoped: boolean;
  readonly rows_max: number | null;
  /** Narrowed by a join alone. */
  readonly joined: boolean;
}

/**
 * `all`: true for every row. `none`: true for no row. `open`: may be true for all. `key`: equality
 * on a column.
 * `join`: equality with another relation's column.
 */
type Reach = 'all' | 'none' | 'open' | 'key' | 'join';

interface Bound {
  readonly reach: Reach;
  /** Column → how many values it is bound to; null: bound, but to an unknown number. */
  readonly columns: ReadonlyMap<string, number | null>;
  /** A value that a boolean column could have: two of them may cover every row. */
  readonly boolish: boolean;
}

const NO_COLUMNS: ReadonlyMap<string, number | null> = new Map<string, number | null>();
const bound = (reach: Reach, columns = NO_COLUMNS, boolish = false): Bound => ({
  reach,
  columns,
  boolish,
});

function isBoolish(node: Node): boolean {
  const value = constant(node);
  if (value?.kind === 'boolean') return true;
  return (
    value?.kind === 'text' &&
    /^\s*(t|f|y|n|tr?u?e?|fa?l?s?e?|ye?s?|no?|on|off?|[01])\s*$/i.test(value.value)
  );
}

export function narrowing(judge: Judge, where: Node | undefined, target: Target): Narrowing {
  if (where === undefined)
    return { predicate: 'none', scoped: false, rows_max: null, joined: false };
  if ('CurrentOfExpr' in where)
    return { predicate: 'key', scoped: true, rows_max: 1, joined: false };
  const found = new Conditions(judge, target).reach(where);
  switch (found.reach) {
    case 'all':
      return { predicate: 'tautology', scoped: false, rows_max: null, joined: false };
    case 'open':
      return { predicate: 'filter', scoped: false, rows_max: null, joined: false };
    case 'none':
      return { predicate: 'filter', scoped: true, rows_max: 0, joined: false };
    case 'join':
      return { predicate: 'filter', scoped: false, rows_max: null, joined: true };
    case 'key': {
      const rows = uniqueRows(target.relation, found.columns);
      return {
        predicate: rows === null ? 'filter' : 'key',
        scoped: true,
        rows_max: rows,
        joined: false,
      };
    }
  }
}

/** The most rows that a unique index lets these bindings reach. */
function uniqueRows(
  relation: Relation | null,
  columns: ReadonlyMap<string, number | null>,
): number | null {
  if (columns.has('ctid')) return columns.get('ctid') ?? null;
  if (relation === null || (relation.children.length > 0 && relation.kind !== 'p')) return null;
  let best: number | null = null;
  for (const index of relation.indexes) {
    if (!index.is_unique || !index.immediate || !index.valid || index.computed) continue;
    let rows: number | null = 1;
    for (let key = 0; key < index.keys; key++) {
      const number = index.columns[key];
      const name = relation.columns.find((column) => column.number === number)?.name;
      const values: number | null | undefined = name === undefined ? undefined : columns.get(name);
      rows = values == null || rows === null ? null : rows * values;
    }
    if (rows !== null && (best === null || rows < best)) best = rows;
  }
  return best;
}

class Conditions {
  readonly #judge: Judge;
  readonly #target: Target;
  readonly #names: References;
  /** A function stands in the FROM list. */
  #series: boolean | null = null;
  constructor(judge: Judge, target: Target) {
    this.#judge = judge;
    this.#target = target;
    this.#names = new References(judge, target);
  }

  reach(node: Node): Bound {
    const value = constant(node);
    if (value !== null) {
      this.#judge.root.literal = true;
      if (value.kind === 'boolean') return bound(value.value ? 'all' : 'none');
      return bound(value.kind === 'null' ? 'none' : 'open');
    }
    if ('BoolExpr' in node) {
      const args = node.BoolExpr.args ?? [];
      if (node.BoolExpr.boolop === 'AND_EXPR') return this.#and(args);
      if (node.BoolExpr.boolop === 'OR_EXPR') return this.#or(args);
      return this.#not(args[0]);
    }
    if ('A_Expr' in node) return this.#expression(node.A_Expr);
    if ('NullTest' in node)
      return this.#nullTest(node.NullTest.arg, node.NullTest.nulltesttype === 'IS_NULL');
    if ('BooleanTest' in node) {
      const { arg, booltesttype } = node.BooleanTest;
      if (arg === undefined) return bound('open');
      if (booltesttype === 'IS_TRUE') return this.reach(arg);
      return booltesttype === 'IS_FALSE' ? this.#not(arg) : bound('open');
    }
    if ('SubLink' in node) {
      const { subLinkType, testexpr, subselect, operName } = node.SubLink;
      if (subLinkType !== 'ANY_SUBLINK') return bound('open');
      const operator = parts(operName);
      if (operator.length > 0 && operator[operator.length - 1] !== '=') return bound('open');
      return this.#in(testexpr, subselect);
    }
    // A boolean column by itself is equality with true.
    const column = this.#names.column(node);
    return column === null ? bound('open') : bound('key', new Map([[column, null]]), true);
  }

  #and(args: readonly Node[]): Bound {
    const all = args.map((arg) => this.reach(arg));
    if (all.some((b) => b.reach === 'none')) return bound('none');
    const columns = new Map<string, number | null>();
    for (const b of all) {
      if (b.reach !== 'key') continue;
      for (const [name, count] of b.columns) {
        const known = columns.get(name);
        columns.set(name, known == null ? count : count === null ? known : Math.min(known, count));
      }
    }
    if (columns.size > 0) return bound('key', columns);
    if (all.some((b) => b.reach === 'join')) return bound('join');
    return bound(all.every((b) => b.reach === 'all') ? 'all' : 'open');
  }

  #or(args: readonly Node[]): Bound {
    const all = args.map((arg) => this.reach(arg)).filter((b) => b.reach !== 'none');
    if (all.length === 0) return bound('none');
    if (all.some((b) => b.reach === 'all')) return bound('all');
    if (all.length === 1 && all[0] !== undefined) return all[0];
    if (all.some((b) => b.reach !== 'key')) return bound('open');
    const [first] = all;
    const name =
      first === undefined || first.columns.size !== 1 ? undefined : [...first.columns.keys()][0];
    if (name !== undefined && all.every((b) => b.columns.size === 1 && b.columns.has(name))) {
      const boolish = all.some((b) => b.boolish);
      return this.#several(
        name,
        all.map((b) => b.columns.get(name) ?? null),
        boolish,
      );
    }
    // Arms on several columns: each narrows, unless a two-valued column lets everything through.
    const two = (b: Bound) =>
      [...b.columns.keys()].some((column) => this.#isBoolean(column, b.boolish));
    if (all.some(two)) return bound('open');
    return bound('key');
  }

  /** One column equal to any of several values. */
  #several(name: string, counts: readonly (number | null)[], boolish: boolean): Bound {
    if (this.#isBoolean(name, boolish) && counts.length > 1) return bound('open');
    const known = counts.every((count) => count !== null);
    const total = counts.reduce<number>((sum, count) => sum + (count ?? 0), 0);
    return bound('key', new Map([[name, known ? total : null]]));
  }

  #not(arg: Node | undefined): Bound {
    if (arg === undefined) return bound('open');
    const inner = this.reach(arg);
    // `NOT active` is equality with false; NOT of any other equality is an inequality.
    if (inner.reach === 'key' && this.#names.column(arg) !== null) return inner;
    if (inner.reach === 'all') return bound('none');
    return bound('none' === inner.reach && !this.#mayBeNull(arg) ? 'all' : 'open');
  }

  #mayBeNull(node: Node): boolean {
    return constant(node)?.kind !== 'boolean';
  }

  #isBoolean(name: string, boolish: boolean): boolean {
    const column = this.#names.columnFact(name);
    if (column === null) {
      this.#judge.root.literal = true;
      return boolish;
    }
    return this.#judge.catalog?.types.get(column.type)?.name === 'bool';
  }

  #nullTest(arg: Node | undefined, isNull: boolean): Bound {
    const name = arg === undefined ? null : this.#names.column(arg);
    if (name === null) return bound('open');
    const certain = SYSTEM_COLUMNS.has(name) || this.#names.columnFact(name)?.not_null === true;
    if (!certain) return bound('open');
    return bound(isNull ? 'none' : 'all');
  }

  #expression(node: A_Expr): Bound {
    const names = parts(node.name);
    const name = names[names.length - 1] ?? '';
    const plain = names.length === 1 || names[0] === 'pg_catalog';
    if (!plain || this.#redefined(name)) return bound('open');
    switch (node.kind) {
      case 'AEXPR_OP':
        return name === '=' ? this.#equality(node.lexpr, node.rexpr) : bound('open');
      case 'AEXPR_NOT_DISTINCT':
        return this.#equality(node.lexpr, node.rexpr);
      case 'AEXPR_OP_ANY':
      case 'AEXPR_IN':
        return name === '=' ? this.#in(node.lexpr, node.rexpr) : bound('open');
      default:
        return bound('open');
    }
  }

  /** A user made an operator of this name; those of extensions mean what they say. */
  #redefined(name: string): boolean {
    const { catalog } = this.#judge;
    return findOperators(this.#judge, null, name).some(
      (operator) => catalog?.routines.get(operator.code)?.extension == null,
    );
  }

  #equality(left: Node | undefined, right: Node | undefined): Bound {
    if (left === undefined || right === undefined) return bound('open');
    if ('RowExpr' in left && 'RowExpr' in right)
      return this.#rows(left.RowExpr.args ?? [], right.RowExpr.args ?? []);
    const a = this.#names.column(left);
    const b = this.#names.column(right);
    if (a !== null && b !== null) {
      const certain = a === b && this.#names.columnFact(a)?.not_null === true;
      return bound(certain ? 'all' : 'open');
    }
    if (a !== null) return this.#with(a, right);
    return b === null ? bound('open') : this.#with(b, left);
  }

  #rows(left: readonly Node[], right: readonly Node[]): Bound {
    const pairs = left.map((node, index) => this.#equality(node, right[index]));
    const columns = new Map<string, number | null>();
    for (const pair of pairs)
      if (pair.reach === 'key') for (const [name, count] of pair.columns) columns.set(name, count);
    return columns.size > 0 ? bound('key', columns) : bound('open');
  }

  /** The target's column equals this. */
  #with(column: string, other: Node): Bound {
    const value = constant(other);
    if (value?.kind === 'null') return bound('none');
    if (SYSTEM_COLUMNS.has(column) && column !== 'ctid') return bound('open');
    switch (value !== null ? 'none' : this.#names.dependence(other)) {
      case 'none':
        return bound('key', new Map<string, number>().set(column, 1), isBoolish(other));
      case 'others':
        return this.#joins(other) ? bound('join') : bound('open');
      case 'target':
        return bound('open');
    }
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
    if (source === undefined) return this.#target.from !== undefined;
    return source.relation === null || source.relation !== this.#target.relation;
  }

  #in(left: Node | undefined, right: Node | undefined): Bound {
    if (left === undefined || right === undefined) return bound('open');
    if ('RowExpr' in left) {
      const columns = (left.RowExpr.args ?? []).flatMap((arg) => {
        const name = this.#names.column(arg);
        return name === null || this.#isBoolean(name, false) ? [] : [name];
      });
      if (columns.length === 0 || !this.#fixed(right)) return bound('open');
      return bound('key', new Map(columns.map((name) => [name, null])));
    }
    const column = this.#names.column(left);
    if (column === null) return bound('open');
    if (SYSTEM_COLUMNS.has(column) && column !== 'ctid') return bound('open');
    // Both values of a boolean may stand in any list.
    if (!('List' in right) && this.#isBoolean(column, false)) return bound('open');
    if ('SelectStmt' in right) {
      const reach = this.#subselect(right.SelectStmt);
      return reach === 'key' ? bound('key', new Map([[column, null]])) : bound(reach);
    }
    const list =
      'List' in right
        ? right.List.items
        : 'A_ArrayExpr' in right
          ? right.A_ArrayExpr.elements
          : undefined;
    if (list === undefined) {
      return this.#list(right) ? bound('key', new Map([[column, null]])) : bound('open');
    }
    if (list.some((item) => this.#names.dependence(item) !== 'none')) return bound('open');
    return this.#several(
      column,
      list.map(() => 1),
      list.some(isBoolish),
    );
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
    if (again || views) {
      if (node.whereClause === undefined || views) return 'open';
      const alias = innerAlias(node, this.#target.name);
      const outer = [...(this.#target.outer ?? []), this.#target.alias].filter(
        (name) => name !== alias,
      );
      const inner: Target = { ...this.#target, alias, others: [], from: undefined, outer };
      const found = new Conditions(this.#judge, inner).reach(node.whereClause);
      return found.reach === 'key' || found.reach === 'none' ? 'key' : 'open';
    }
    if (this.#names.dependence({ SelectStmt: node }) === 'target') return 'open';
    const tables = relations.some((r) => !this.#isCte(r.relname ?? ''));
    return tables && node.whereClause === undefined && node.limitCount === undefined
      ? 'join'
      : 'key';
  }

  #isCte(name: string): boolean {
    for (let scope = this.#judge.scope; scope !== null; scope = scope.parent) {
      if (scope.ctes.has(name)) return true;
    }
    return false;
  }
}

function innerAlias(node: SelectStmt, name: string): string {
  for (const item of node.fromClause ?? []) {
    if ('RangeVar' in item && item.RangeVar.relname === name)
      return item.RangeVar.alias?.aliasname ?? name;
  }
  return name;
}
