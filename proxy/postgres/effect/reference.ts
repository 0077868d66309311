// What the names in a condition refer to: the target of the change, another relation, or nothing
// that differs from row to row.
// Invariant: a name that may mean the target's row counts as meaning it.
import type { ColumnRef, FuncCall, Node, RangeVar, SelectStmt } from '@pgsql/types';
import type { Column, Relation } from '../catalog/snapshot.ts';
import { builtinNamed } from './builtins.ts';
import type { Cte, Judge, Source } from './judge.ts';
import { findRelation, isShadowed, parts } from './names.ts';
import { readFindings } from './relation.ts';

/** The target of the change, and the other sources of the statement. */
export interface Target {
  readonly alias: string;
  readonly name: string;
  readonly relation: Relation | null;
  readonly others: readonly Source[];
  /** The FROM or USING list besides the target. */
  readonly from?: readonly Node[] | undefined;
  /** Names of rows outside the query at hand. */
  readonly outer?: readonly string[];
  /** Asked of one row of the others'. */
  readonly single?: boolean;
  /** Written with ONLY. */
  readonly only?: boolean;
  /** What its condition says of every row, in the words of partial.ts. */
  readonly given?: ReadonlySet<string>;
}

export const SYSTEM_COLUMNS = new Set(['tableoid', 'xmin', 'cmin', 'xmax', 'cmax', 'ctid']);

const WHOLE = ['text', 'varchar', 'int4', 'int8', 'numeric'];
/** Casts by which different values stay different. */
const INJECTIVE: { readonly [type: string]: readonly string[] } = {
  int2: WHOLE,
  int4: WHOLE,
  int8: ['text', 'varchar', 'int8', 'numeric'],
  uuid: ['text', 'varchar', 'uuid'],
  text: ['text', 'varchar'],
  varchar: ['text', 'varchar'],
};

export class References {
  readonly #judge: Judge;
  readonly #target: Target;
  /** FROM lists of the sub-selects that are being looked into. */
  readonly #inner: { aliases: Set<string>; columns: Set<string> }[] = [];
  constructor(judge: Judge, target: Target) {
    this.#judge = judge;
    this.#target = target;
  }

  columnFact(name: string): Column | null {
    return this.#target.relation?.columns.find((column) => column.name === name) ?? null;
  }

  /** Of the target's children too: they may do without a constraint of its own. */
  isNotNull(name: string): boolean {
    const { relation, only = false } = this.#target;
    const alone = relation?.kind === 'p' || relation?.children.length === 0 || only;
    return alone && this.columnFact(name)?.not_null === true;
  }

  /** A column as it is, or under a cast that keeps different values different. */
  isPlain(node: Node): boolean {
    if ('ColumnRef' in node) return true;
    if (!('TypeCast' in node) || node.TypeCast.arg === undefined) return false;
    const { arg, typeName } = node.TypeCast;
    const name = this.column(arg);
    if (name === null || !('ColumnRef' in arg) || typeName?.typmods !== undefined) return false;
    const from = this.#judge.catalog?.types.get(this.columnFact(name)?.type ?? '')?.name ?? '';
    const to = parts(typeName?.names).at(-1) ?? '';
    // Texts may be compared under a collation that holds some of them for the same.
    if (this.#judge.catalog?.folds === true) return false;
    return INJECTIVE[from]?.includes(to) ?? false;
  }

  /**
   * Whether an expression's value can differ from row to row of the target, or of another relation.
   */
  dependence(node: unknown): 'none' | 'others' | 'target' {
    if (typeof node !== 'object' || node === null) return 'none';
    let worst: 'none' | 'others' | 'target' = 'none';
    for (const key in node) {
      const child: unknown = (node as { readonly [key: string]: unknown })[key];
      if (typeof child !== 'object') continue;
      // A volatile function gives another value for each row.
      if (key === 'FuncCall' && this.#isVolatile(parts((child as FuncCall).funcname), true))
        return 'target';
      // `(value).name` may be a call too.
      if (key === 'indirection' && this.#isVolatile(parts(child as readonly Node[]), false))
        return 'target';
      const found =
        key === 'SelectStmt'
          ? this.#dependenceOfQuery(child as SelectStmt)
          : key === 'ColumnRef'
            ? this.#owner(parts((child as ColumnRef).fields))
            : this.dependence(child);
      if (found === 'target') return 'target';
      if (found === 'others') worst = 'others';
    }
    return worst;
  }

  /** In a query of its own, names mean its FROM list before they mean the target. */
  #dependenceOfQuery(query: SelectStmt): 'none' | 'others' | 'target' {
    const aliases = new Set<string>();
    const columns = new Set<string>();
    for (const range of relationsIn(query.fromClause)) {
      aliases.add(range.alias?.aliasname ?? range.relname ?? '');
      for (const name of this.#givenBy(range)) columns.add(name);
      const { relations } = findRelation(
        this.#judge,
        range.schemaname ?? null,
        range.relname ?? '',
      );
      for (const relation of relations) for (const c of relation.columns) columns.add(c.name);
    }
    this.#inner.push({ aliases, columns });
    const found = this.dependence(query);
    this.#inner.pop();
    return found;
  }

  /** Columns of a CTE, where they are named. */
  #givenBy({ schemaname, relname = '' }: RangeVar): readonly string[] {
    if (schemaname !== undefined) return [];
    for (let scope = this.#judge.scope; scope !== null; scope = scope.parent) {
      const query = scope.ctes.get(relname)?.query;
      if (query === undefined) continue;
      return 'SelectStmt' in query ? (query.SelectStmt.targetList ?? []).flatMap(nameOf) : [];
    }
    return [];
  }

  #isVolatile(names: readonly string[], unknown: boolean): boolean {
    const name = names.at(-1) ?? '';
    const routines = this.#judge.catalog?.routines_named.get(name) ?? [];
    if (routines.length > 0) return routines.some((routine) => routine.volatility === 'v');
    const builtin = builtinNamed(name);
    return builtin === undefined ? unknown : builtin.volatility === 'v';
  }

  #owner(names: readonly string[]): 'none' | 'others' | 'target' {
    for (const { aliases, columns } of this.#inner) {
      if (
        names.length > 1 ? aliases.has(names[names.length - 2] ?? '') : columns.has(names[0] ?? '')
      ) {
        return 'none';
      }
    }
    const [first = ''] = names;
    const last = names[names.length - 1] ?? '';
    if (names.length > 1) {
      const qualifier = names[names.length - 2] ?? '';
      if (qualifier === this.#target.alias || first === this.#target.alias) return 'target';
      if (this.#target.outer?.includes(qualifier)) return 'target';
      if (this.#target.others.some((source) => source.alias === qualifier)) return 'others';
      if (this.#target.from !== undefined && !/^(old|new)$/i.test(qualifier)) return 'others';
      // OLD and NEW of a trigger or rule, a record of a function, an outer row: fixed for this
      // statement.
      return 'none';
    }
    if (last === this.#target.alias) return 'target';
    if (SYSTEM_COLUMNS.has(last)) return 'target';
    const { relation } = this.#target;
    if (relation === null) return 'target';
    if (this.columnFact(last) !== null) return 'target';
    if (this.#target.others.length > 0 || this.#target.from !== undefined) return 'others';
    return 'none';
  }

  /**
   * The target's column that the node is, possibly under a cast that keeps values apart; null
   * otherwise.
   */
  column(node: Node): string | null {
    if ('TypeCast' in node) {
      const names = parts(node.TypeCast.typeName?.names);
      const kept = /^(text|int[248]|numeric|uuid|date|varchar|timestamptz?|oid)$/.test(
        names[names.length - 1] ?? '',
      );
      const narrowed =
        node.TypeCast.typeName?.typmods !== undefined ||
        node.TypeCast.typeName?.arrayBounds !== undefined;
      return kept && !narrowed && node.TypeCast.arg !== undefined
        ? this.column(node.TypeCast.arg)
        : null;
    }
    if ('CollateClause' in node)
      return node.CollateClause.arg === undefined ? null : this.column(node.CollateClause.arg);
    if ('FuncCall' in node) {
      // Functions that fold spelling: different enough values stay different.
      const name = parts(node.FuncCall.funcname);
      const [arg] = node.FuncCall.args ?? [];
      const folds =
        /^(lower|upper|btrim|trim)$/.test(name[name.length - 1] ?? '') &&
        node.FuncCall.args?.length === 1 &&
        !isShadowed(this.#judge, node);
      const column = folds && arg !== undefined ? this.column(arg) : null;
      return column === null ? null : `${column}()`;
    }
    if (
      'A_Expr' in node &&
      node.A_Expr.lexpr !== undefined &&
      /^(->|->>|#>|#>>)$/.test(parts(node.A_Expr.name).join('.'))
    ) {
      const column = this.column(node.A_Expr.lexpr);
      return column === null ? null : `${column}()`;
    }
    if (!('ColumnRef' in node)) return null;
    const names = parts(node.ColumnRef.fields);
    if (names.length !== (node.ColumnRef.fields ?? []).length) return null;
    return this.#owner(names) === 'target' ? (names[names.length - 1] ?? null) : null;
  }
}

function nameOf(item: Node): readonly string[] {
  if (!('ResTarget' in item)) return [];
  const { name, val } = item.ResTarget;
  const column =
    val !== undefined && 'ColumnRef' in val ? parts(val.ColumnRef.fields).at(-1) : null;
  return name === undefined ? (column == null ? [] : [column]) : [name];
}

/** The query of the CTE that a name means; null where it means none. */
export function cteNamed(judge: Judge, { schemaname, relname = '' }: RangeVar): Cte | null {
  if (schemaname !== undefined) return null;
  for (let scope = judge.scope; scope !== null; scope = scope.parent) {
    const cte = scope.ctes.get(relname);
    if (cte !== undefined) return cte;
  }
  return null;
}

/** The query that an entry of FROM stands for: a sub-select, or a CTE. */
export function queryOf(judge: Judge, item: Node): Node | undefined {
  if ('RangeSubselect' in item) return item.RangeSubselect.subquery;
  return 'RangeVar' in item ? cteNamed(judge, item.RangeVar)?.query : undefined;
}

/** A view that shows rows of the relation. */
export function shows(judge: Judge, view: Relation, relation: Relation | null): boolean {
  if (view.kind !== 'v' || relation === null) return false;
  const objects = readFindings(judge, view)?.effects.flatMap((effect) => effect.objects) ?? [];
  return objects.some(({ identity }) => identity === relation.identity);
}

/** Tables of a FROM list, those in its sub-selects included. */
export function relationsIn(value: unknown): RangeVar[] {
  return gather(value, 'RangeVar') as RangeVar[];
}

export function queriesIn(value: unknown): SelectStmt[] {
  return gather(value, 'SelectStmt') as SelectStmt[];
}

/** The outermost nodes of a kind; of relations all of them. */
function gather(value: unknown, kind: string): unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, child]) =>
    key === kind ? [child as unknown] : gather(child, kind),
  );
}

const making = new WeakMap<object, boolean>();

/**
 * A function in FROM, a series or numbers of rows, or a set operation stands somewhere in it.
 * Looked for once in each part: queries may be nested deeply.
 */
export function makesRows(node: unknown): boolean {
  if (typeof node === 'string') return /^SETOP_(UNION|INTERSECT|EXCEPT)$/.test(node);
  if (typeof node !== 'object' || node === null) return false;
  let found = making.get(node);
  if (found === undefined) {
    found =
      'RangeFunction' in node ||
      ('FuncCall' in node && givesNumbers(node.FuncCall as FuncCall)) ||
      Object.values(node).some(makesRows);
    making.set(node, found);
  }
  return found;
}

function givesNumbers(call: FuncCall): boolean {
  const name = parts(call.funcname).at(-1) ?? '';
  return (
    call.over !== undefined || name.startsWith('generate_') || builtinNamed(name) === undefined
  );
}

/** A name stands in it: its value is not that of its literals alone. */
export function variesByRow(node: unknown): boolean {
  return hasNode(node, (kind) => kind === 'ColumnRef');
}

/** Such a node stands in it, at any depth. Constants have none in them and are not looked into. */
export function hasNode(value: unknown, isSuch: (kind: string, body: object) => boolean): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value)) {
    for (const item of value) if (hasNode(item, isSuch)) return true;
    return false;
  }
  for (const kind in value) {
    const body: unknown = (value as { readonly [kind: string]: unknown })[kind];
    if (typeof body !== 'object' || body === null || kind === 'A_Const') continue;
    if (isSuch(kind, body) || hasNode(body, isSuch)) return true;
  }
  return false;
}
