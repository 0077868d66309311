// How many rows a unique key lets equality reach.
// Invariant: a bound is given only where two different keys can never equal one value: the index
// is in force at all times, compares as `=` does, and the comparison leaves the column as it is.
import type { SelectStmt } from '@pgsql/types';
import { type Column, FIRST_USER_OID, type Index, type Relation } from '../catalog/snapshot.ts';
import { ParseFailure, parse } from '../parser.ts';
import type { Judge } from './judge.ts';
import { keysStand } from './local.ts';
import { findRelation, parts, type RelationMeaning } from './names.ts';
import { baseType } from './operand.ts';
import { covers } from './partial.ts';
import { multiplies } from './times.ts';

/** What a column equals. */
export interface Binding {
  /** How many values; null: an unknown number. */
  readonly values: number | null;
  /** Compared as it is: a unique index on it holds. */
  readonly exact: boolean;
}

export type Bindings = ReadonlyMap<string, Binding>;

/** The most rows that a unique index lets these bindings reach. */
export function uniqueRows(
  judge: Judge,
  relation: Relation | null,
  columns: Bindings,
  only = false,
  given?: ReadonlySet<string>,
): number | null {
  if (relation === null || !keysStand(judge, relation.name)) return null;
  if (relation.kind === 'v') return rowsBehind(judge, relation, columns);
  // Children have keys of their own; a partitioned table's indexes span its partitions.
  const alone = relation.children.length === 0 || only;
  const place = columns.get('ctid');
  if (place !== undefined && alone && relation.kind === 'r') return countOf(place);
  if (!alone && relation.kind !== 'p') return null;
  let best: number | null = null;
  for (const index of relation.indexes) {
    if (!index.is_unique || !index.immediate || !index.valid) continue;
    if (index.computed && !covers(judge, relation, index, given)) continue;
    const rows = indexRows(judge, relation, index, columns);
    if (rows !== null && (best === null || rows < best)) best = rows;
  }
  return best;
}

function indexRows(
  judge: Judge,
  relation: Relation,
  index: Index,
  columns: Bindings,
): number | null {
  let rows = 1;
  for (let key = 0; key < index.keys; key++) {
    const number = index.columns[key];
    const column = relation.columns.find((c) => c.number === number);
    const values = column === undefined ? null : countOf(columns.get(column.name));
    if (column === undefined || values === null) return null;
    if (!comparesAlike(judge, column, index.classes[key] ?? '0')) return null;
    rows *= values;
  }
  return rows;
}

function countOf(binding: Binding | undefined): number | null {
  return binding?.exact === true ? binding.values : null;
}

/** The index holds two values for the same wherever the type's own `=` does. */
function comparesAlike(judge: Judge, column: Column, opclass: string): boolean {
  const type = baseType(judge, column.type);
  const { catalog } = judge;
  if (type === null || catalog === null) return false;
  // Under a collation that folds, more may be equal than the index holds apart.
  if (type.category === 'S' && catalog.folds) return false;
  const own = Number(type.oid) >= FIRST_USER_OID && type.kind !== 'e';
  if (Number(opclass) < FIRST_USER_OID) return !own && type.kind !== 'c';
  const named = catalog.classes.get(opclass);
  return named?.is_default === true && named.type === type.oid;
}

/** An updatable view gives the rows of its one table, under other names. */
function rowsBehind(judge: Judge, view: Relation, columns: Bindings): number | null {
  const behind = behindView(judge, view);
  if (behind === null) return null;
  const { targetList = [], larg, groupClause, valuesLists, withClause } = behind.query;
  const plain = [larg, groupClause, valuesLists, withClause].every((part) => part === undefined);
  if (!plain || multiplies(judge, behind.query)) return null;
  const named = new Map<string, Binding>();
  for (const item of targetList) {
    if (!('ResTarget' in item) || item.ResTarget.val === undefined) continue;
    const { name, val } = item.ResTarget;
    const base = 'ColumnRef' in val ? parts(val.ColumnRef.fields).at(-1) : undefined;
    const binding = columns.get(name ?? base ?? '');
    if (base !== undefined && binding !== undefined) named.set(base, binding);
  }
  const { relations, locals } = behind.meaning;
  const relation = relations.length === 1 && locals.length === 0 ? (relations[0] ?? null) : null;
  return uniqueRows(judge, relation, named, behind.only);
}

/** What stands alone in a view's FROM; null where several do. */
export function behindView(
  judge: Judge,
  view: Relation,
): {
  readonly meaning: RelationMeaning;
  readonly only: boolean;
  readonly query: SelectStmt;
} | null {
  try {
    const statement = parse(view.definition ?? '').stmts?.[0]?.stmt;
    if (statement === undefined || !('SelectStmt' in statement)) return null;
    const query = statement.SelectStmt;
    const [from] = query.fromClause ?? [];
    if (query.fromClause?.length !== 1 || from === undefined || !('RangeVar' in from)) return null;
    const { schemaname = null, relname = '', inh } = from.RangeVar;
    return { meaning: findRelation(judge, schemaname, relname), only: inh !== true, query };
  } catch (error) {
    if (error instanceof ParseFailure) return null;
    throw error;
  }
}
