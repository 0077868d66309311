// Unique indexes over some of a table's rows: such a one bounds a change whose condition says what
// the index's own does.
// Invariant: what an index asks for counts as given only where it stands in the condition, joined
// to the rest by AND, in the same words.
import type { Node } from '@pgsql/types';
import type { Index, Relation } from '../catalog/snapshot.ts';
import { ParseFailure, parse } from '../parser.ts';
import { constant } from './fold.ts';
import type { Judge } from './judge.ts';
import { isRedefined, parts } from './names.ts';
import { References, type Target } from './reference.ts';

type ColumnOf = (node: Node) => string | null;

/** The target, with what the condition says of each row that it lets through. */
export function withGiven(judge: Judge, where: Node, target: Target): Target {
  const partial = target.relation?.indexes.some((index) => index.is_unique && index.computed);
  if (partial !== true || isRedefined(judge, '=')) return target;
  const names = new References(judge, target);
  judge.root.literal = true;
  return {
    ...target,
    given: said(where, (node) => ('ColumnRef' in node ? names.column(node) : null)),
  };
}

const asked = new WeakMap<Index, ReadonlySet<string> | null>();

/** Every row that is meant is one of the index's. */
export function covers(
  judge: Judge,
  relation: Relation,
  index: Index,
  given: ReadonlySet<string> | undefined,
): boolean {
  let asks = asked.get(index);
  if (asks === undefined) asked.set(index, (asks = askedBy(judge, relation, index)));
  return asks !== null && [...asks].every((each) => given?.has(each));
}

function askedBy(
  judge: Judge,
  relation: Relation,
  { definition }: Index,
): ReadonlySet<string> | null {
  try {
    const statement = parse(definition ?? '').stmts?.[0]?.stmt;
    if (statement === undefined || !('IndexStmt' in statement)) return null;
    const { whereClause } = statement.IndexStmt;
    if (whereClause === undefined) return new Set();
    const found = said(whereClause, (node) => {
      if ('ColumnRef' in node) return parts(node.ColumnRef.fields).at(-1) ?? null;
      // The server writes `(c)::text = 'x'` where c is a varchar.
      const cast = 'TypeCast' in node ? node.TypeCast : null;
      if (parts(cast?.typeName?.names).at(-1) !== 'text') return null;
      const arg = cast?.arg;
      const name =
        arg !== undefined && 'ColumnRef' in arg ? parts(arg.ColumnRef.fields).at(-1) : null;
      const type = relation.columns.find((column) => column.name === name)?.type;
      return judge.catalog?.types.get(type ?? '')?.name === 'varchar' ? (name ?? null) : null;
    });
    return found.has(SOMETHING) ? null : found;
  } catch (error) {
    if (error instanceof ParseFailure) return null;
    throw error;
  }
}

/** A condition that is not put in words. */
const SOMETHING = '?';

/** What holds for every row, in words that two conditions share. */
function said(where: Node, columnOf: ColumnOf): ReadonlySet<string> {
  const words = new Set<string>();
  const conditions = [where];
  for (let node = conditions.pop(); node !== undefined; node = conditions.pop()) {
    if ('BoolExpr' in node && node.BoolExpr.boolop === 'AND_EXPR')
      conditions.push(...(node.BoolExpr.args ?? []));
    else words.add(word(node, columnOf) ?? SOMETHING);
  }
  return words;
}

function word(node: Node, columnOf: ColumnOf): string | null {
  const about = (arg: Node | undefined, rest: string) => {
    const column = arg === undefined ? null : columnOf(arg);
    return column === null ? null : `${column} ${rest}`;
  };
  if ('NullTest' in node)
    return about(node.NullTest.arg, node.NullTest.nulltesttype === 'IS_NULL' ? 'null' : 'not null');
  if ('BoolExpr' in node && node.BoolExpr.boolop === 'NOT_EXPR')
    return about(node.BoolExpr.args?.[0], '= false');
  if ('BooleanTest' in node && /^IS_(TRUE|FALSE)$/.test(node.BooleanTest.booltesttype ?? ''))
    return about(
      node.BooleanTest.arg,
      node.BooleanTest.booltesttype === 'IS_TRUE' ? '= true' : '= false',
    );
  if ('A_Expr' in node && node.A_Expr.kind === 'AEXPR_OP') {
    const { name, lexpr, rexpr } = node.A_Expr;
    const value = parts(name).join('.') === '=' ? constant(rexpr) : null;
    if (value === null || value.kind === 'null') return null;
    return about(
      lexpr,
      `= ${value.kind === 'text' ? JSON.stringify(value.value) : String(value.value)}`,
    );
  }
  return about(node, '= true');
}
