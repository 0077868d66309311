// Variables of a PL/pgSQL body that can only hold constant texts: a statement kept in one and
// executed can be judged.
// Invariant: a variable that anything but a plain assignment of a constant may write is not here.
import type { Node } from '@pgsql/types';
import { ParseFailure, parse } from '../parser.ts';
import { constantText } from './fold.ts';

type Tree = { readonly [key: string]: unknown };

/** Variable → every text it may hold. */
export type Candidates = ReadonlyMap<string, readonly string[]>;

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The one expression of a text; null when it is more than that. */
export function expressionNode(expression: string): Node | null {
  try {
    const statement = parse(`select ${expression}`).stmts?.[0]?.stmt;
    if (statement === undefined || !('SelectStmt' in statement)) return null;
    const { targetList, fromClause, whereClause } = statement.SelectStmt;
    const target = targetList?.[0];
    if (targetList?.length !== 1 || fromClause !== undefined || whereClause !== undefined)
      return null;
    return target !== undefined && 'ResTarget' in target ? (target.ResTarget.val ?? null) : null;
  } catch (error) {
    if (error instanceof ParseFailure) return null;
    throw error;
  }
}

function textOf(node: unknown): string {
  const expression = isTree(node) && isTree(node.PLpgSQL_expr) ? node.PLpgSQL_expr : null;
  return String(expression?.query ?? '');
}

function constantOf(expression: string): string | null {
  return constantText(expressionNode(expression) ?? undefined);
}

interface Writes {
  /** Variable number → texts assigned to it. */
  readonly assigned: Map<number, string[]>;
  /** Variables written in some other way, by number and by name. */
  readonly numbers: Set<number>;
  readonly names: Set<string>;
}

function collect(value: unknown, writes: Writes): void {
  if (Array.isArray(value)) {
    for (const item of value) collect(item, writes);
    return;
  }
  if (!isTree(value)) return;
  for (const [key, child] of Object.entries(value)) {
    if (key === 'PLpgSQL_stmt_assign' && isTree(child)) {
      const number = Number(child.varno ?? 0);
      const text = textOf(child.expr);
      const sign = text.search(/:?=/);
      const list = writes.assigned.get(number) ?? [];
      list.push(sign < 0 ? text : text.slice(sign).replace(/^:?=/, ''));
      writes.assigned.set(number, list);
      continue;
    }
    if (
      (key === 'varno' || key === 'target' || key === 'curvar' || key === 'dno') &&
      typeof child === 'number'
    ) {
      writes.numbers.add(child);
    }
    // What CALL writes back to INOUT arguments is settled only when it runs.
    if (key === 'PLpgSQL_stmt_call' && isTree(child)) {
      for (const word of textOf(child.expr).match(/\w+/g) ?? []) writes.names.add(word);
    }
    if (key === 'refname') writes.names.add(String(child));
    collect(child, writes);
  }
}

function bodyOf(tree: unknown): { datums: readonly unknown[]; action: unknown } | null {
  const list: unknown = isTree(tree) ? tree.plpgsql_funcs : undefined;
  const first: unknown = Array.isArray(list) ? list[0] : undefined;
  const body = isTree(first) && isTree(first.PLpgSQL_function) ? first.PLpgSQL_function : null;
  return body !== null && Array.isArray(body.datums)
    ? { datums: body.datums, action: body.action }
    : null;
}

/** Looks through a parsed body for variables that hold nothing but constants. */
export function constantVariables(tree: unknown): Candidates {
  const found = new Map<string, readonly string[]>();
  const body = bodyOf(tree);
  if (body === null) return found;
  const writes: Writes = { assigned: new Map(), numbers: new Set(), names: new Set() };
  collect(body.action, writes);
  const seen = new Set<string>();
  body.datums.forEach((datum, number) => {
    const variable = isTree(datum) && isTree(datum.PLpgSQL_var) ? datum.PLpgSQL_var : null;
    if (variable === null) return;
    const name = String(variable.refname ?? '');
    const twice = seen.has(name);
    seen.add(name);
    if (twice || writes.numbers.has(number) || writes.names.has(name)) {
      found.delete(name);
      return;
    }
    const texts = [...(writes.assigned.get(number) ?? [])];
    // A parameter has neither; what the caller gives is not a constant.
    if (variable.default_val !== undefined) texts.push(textOf(variable.default_val));
    else if (variable.lineno === undefined) return;
    const values = texts.map(constantOf);
    if (values.length > 0 && values.length <= 4 && values.every((v) => v !== null))
      found.set(name, values);
  });
  return found;
}

/** Variables that the body declares, with their types, besides those that it is given. */
export function declaredVariables(
  tree: unknown,
  given: ReadonlyMap<string, readonly string[]>,
): ReadonlyMap<string, readonly string[]> {
  const found = new Map(given);
  for (const datum of bodyOf(tree)?.datums ?? []) {
    const [variable] = isTree(datum) ? Object.values(datum) : [];
    if (!isTree(variable) || typeof variable.refname !== 'string') continue;
    const type = isTree(variable.datatype) ? variable.datatype.PLpgSQL_type : undefined;
    const name = isTree(type) ? String(type.typname ?? 'record') : 'record';
    // OLD and NEW are rows of the trigger's table.
    if (variable.lineno === undefined && /^(old|new)$/.test(variable.refname)) continue;
    found.set(variable.refname, [...(found.get(variable.refname) ?? []), name]);
  }
  return found;
}

/**
 * Whether the body may write to TG_OP, which it is allowed to, or has another variable of that
 * name.
 */
export function writesOperation(tree: unknown): boolean {
  const body = bodyOf(tree);
  if (body === null) return true;
  const writes: Writes = { assigned: new Map(), numbers: new Set(), names: new Set() };
  collect(body.action, writes);
  const numbers = body.datums.flatMap((datum, number) =>
    isTree(datum) && isTree(datum.PLpgSQL_var) && datum.PLpgSQL_var.refname === 'tg_op'
      ? [number]
      : [],
  );
  const [only] = numbers;
  if (only === undefined || numbers.length > 1 || writes.names.has('tg_op')) return true;
  return writes.numbers.has(only) || writes.assigned.has(only);
}
