// SELECT and everything that stands where a SELECT may: CTEs, set operations, VALUES, SELECT INTO,
// row locks.
// Invariant: FROM is read before the rest, so that names in the rest can be told; every field is
// walked.
import type {
  JoinExpr,
  JsonTable,
  LockingClause,
  Node,
  RangeFunction,
  RangeSubselect,
  RangeTableFunc,
  SelectStmt,
  WithClause,
} from '@pgsql/types';
import { callOperator } from './call.ts';
import { createdRelation } from './ddl.ts';
import { walk, walkFields } from './expression.ts';
import type { Cte, Judge, Scope } from './judge.ts';
import { parts } from './names.ts';
import { judgeStatement } from './statements.ts';
import { keptRows } from './times.ts';
import { ambientCasts } from './type.ts';

/** Only a WITH clause adds to a scope's names. */
const NO_CTES: Map<string, Cte> = new Map();

/** Runs `work` in a scope of its own, with the CTEs of `clause` in it. */
export function scoped(judge: Judge, clause: WithClause | undefined, work: () => void): void {
  const outer = judge.scope;
  const ctes = clause === undefined ? NO_CTES : new Map<string, Cte>();
  const scope: Scope = { parent: outer, ctes, sources: [] };
  judge.scope = scope;
  try {
    if (clause !== undefined) withClause(judge, scope, clause);
    work();
  } finally {
    judge.scope = outer;
  }
}

function withClause(judge: Judge, scope: Scope, clause: WithClause): void {
  const expressions = (clause.ctes ?? []).flatMap((node) =>
    'CommonTableExpr' in node ? [node.CommonTableExpr] : [],
  );
  if (clause.recursive === true)
    for (const cte of expressions)
      scope.ctes.set(cte.ctename ?? '', { query: cte.ctequery, rows: null });
  for (const cte of expressions) {
    const before = judge.draft;
    const { effects } = judge.findings;
    const from = effects.length;
    if (cte.ctequery !== undefined) judgeStatement(judge, cte.ctequery);
    judge.draft = before;
    walk(judge, cte.cycle_clause);
    const rows = clause.recursive === true ? null : keptRows(judge, cte, effects[from]);
    scope.ctes.set(cte.ctename ?? '', { query: cte.ctequery, rows });
  }
}

/** A SELECT at any depth; its reads go to the effect that is being put together. */
export function select(judge: Judge, node: SelectStmt): void {
  judge.visit();
  if (judge.catalog !== null) ambientCasts(judge, judge.catalog);
  scoped(judge, node.withClause, () => {
    if (judge.scope !== null) judge.scope.query = node;
    walk(judge, node.fromClause);
    walk(judge, node.targetList);
    walk(judge, node.whereClause);
    walk(judge, node.groupClause);
    walk(judge, node.havingClause);
    walk(judge, node.windowClause);
    walk(judge, node.valuesLists);
    walk(judge, node.sortClause);
    walk(judge, node.distinctClause);
    walk(judge, node.limitCount);
    walk(judge, node.limitOffset);
    // A set operation's arms are left-deep: a loop, so that a long chain does not use up the stack.
    if (node.larg !== undefined) arms(judge, node);
    for (const lock of node.lockingClause ?? []) {
      if ('LockingClause' in lock) locking(judge, lock.LockingClause);
    }
  });
  if (node.intoClause !== undefined) createdRelation(judge, node.intoClause);
}

/** An expression that a statement consists of, as if it were selected. */
export function alone(judge: Judge, expression: Node | undefined): void {
  scoped(judge, undefined, () => {
    if (judge.scope !== null && expression !== undefined)
      judge.scope.query = { targetList: [{ ResTarget: { val: expression } }] };
    walk(judge, expression);
  });
}

function arms(judge: Judge, node: SelectStmt): void {
  const rights: SelectStmt[] = [];
  let at: SelectStmt = node;
  while (at.larg !== undefined && (at === node || isPlainUnion(at))) {
    if (at.rarg !== undefined) rights.push(at.rarg);
    at = at.larg;
  }
  select(judge, at);
  for (const right of rights.reverse()) select(judge, right);
}

/** A set operation with nothing of its own besides its arms. */
function isPlainUnion(node: SelectStmt): boolean {
  return (
    node.withClause === undefined &&
    node.sortClause === undefined &&
    node.limitCount === undefined &&
    node.limitOffset === undefined &&
    node.lockingClause === undefined &&
    node.intoClause === undefined
  );
}

function locking(judge: Judge, clause: LockingClause): void {
  judge.findings.needs_read_write = true;
  const named = (clause.lockedRels ?? []).flatMap((n) =>
    'RangeVar' in n ? [n.RangeVar.relname ?? ''] : [],
  );
  for (const source of judge.scope?.sources ?? []) {
    if (source.relation === null || (named.length > 0 && !named.includes(source.alias))) continue;
    judge.relation(source.relation, 'lock');
  }
}

/** A SELECT as a statement. */
export function selectStatement(judge: Judge, node: SelectStmt): void {
  const verb = node.intoClause === undefined ? 'select' : 'create';
  judge.open(verb, 'read');
  select(judge, node);
}

/** An entry of FROM that is no relation: names mean it before they mean those outside. */
export function rows(
  judge: Judge,
  node: RangeSubselect | RangeFunction | RangeTableFunc | JsonTable,
): void {
  walkFields(judge, node);
  const alias = node.alias?.aliasname ?? ('functions' in node ? calledFirst(node) : '');
  judge.scope?.sources.push({ alias, relation: null, columns: null, target: false });
}

const EMPTY: Pick<Scope, 'sources'> = { sources: [] };

/** What a function in FROM is called where nothing else is said. */
function calledFirst({ functions = [] }: RangeFunction): string {
  const [first] = functions;
  const call = first !== undefined && 'List' in first ? first.List.items?.[0] : undefined;
  return call !== undefined && 'FuncCall' in call
    ? (parts(call.FuncCall.funcname).at(-1) ?? '')
    : '';
}

export function joinExpr(judge: Judge, node: JoinExpr): void {
  if (node.usingClause !== undefined || node.isNatural === true) callOperator(judge, null, '=');
  const { sources } = judge.scope ?? EMPTY;
  const from = sources.length;
  walk(judge, node.larg);
  walk(judge, node.rarg);
  walk(judge, node.quals);
  const alias = node.alias?.aliasname ?? node.join_using_alias?.aliasname;
  if (alias === undefined) return;
  // The name of a join hides those in it.
  if (node.alias !== undefined)
    for (const source of sources.splice(from)) sources.push({ ...source, alias: '' });
  sources.push({ alias, relation: null, columns: null, target: false });
}
