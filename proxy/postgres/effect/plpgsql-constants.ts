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

/**
 * `a[f()].b := g()` → what is written to, and the value, as expressions. Null when there is no
 * assignment sign, or a comment before it: that may hold one too.
 */
export function assignment(text: string): { target: string; value: string } | null {
  let depth = 0;
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    if (quote !== '') {
      if (c === quote) quote = '';
    } else if (c === '"' || c === "'") quote = c;
    else if (text.startsWith('--', i) || text.startsWith('/*', i)) return null;
    else if (c === '[' || c === '(') depth += 1;
    else if (c === ']' || c === ')') depth -= 1;
    else if (depth === 0 && (c === '=' || (c === ':' && text.charAt(i + 1) === '=')))
      return { target: text.slice(0, i), value: text.slice(i + (c === ':' ? 2 : 1)) };
  }
  return null;
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
      const list = writes.assigned.get(number) ?? [];
      list.push(assignment(text)?.value ?? '');
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

/** Names of a body's variables by their numbers; fields go by the name of their record. */
export function variableNames(tree: unknown): readonly string[] {
  const datums = bodyOf(tree)?.datums ?? [];
  const names = datums.map((datum) => {
    const [variable] = isTree(datum) ? Object.values(datum) : [];
    return isTree(variable) ? String(variable.refname ?? '') : '';
  });
  return datums.map((datum, number) => {
    const field = isTree(datum) && isTree(datum.PLpgSQL_recfield) ? datum.PLpgSQL_recfield : null;
    return names[field === null ? number : Number(field.recparentno ?? 0)] ?? '';
  });
}

/** Variables that a part of a body writes to. */
export function writtenIn(part: unknown, names: readonly string[]): readonly string[] {
  const writes: Writes = { assigned: new Map(), numbers: new Set(), names: new Set() };
  collect(part, writes);
  const numbers = [...writes.assigned.keys(), ...writes.numbers];
  return [...writes.names, ...numbers.map((number) => names[number] ?? '')];
}

/** Columns of NEW that a trigger's body may write to; null: any of them. */
export function rowWritten(tree: unknown): ReadonlySet<string> | null {
  const body = bodyOf(tree);
  if (body === null) return null;
  const rows = body.datums.map((datum) =>
    isTree(datum) && isTree(datum.PLpgSQL_rec) ? String(datum.PLpgSQL_rec.refname) : null,
  );
  const writes: Writes = { assigned: new Map(), numbers: new Set(), names: new Set() };
  collect(body.action, writes);
  const isWritten = (number: number) => writes.assigned.has(number) || writes.numbers.has(number);
  // A row that is not the trigger's own may be given back, or NEW be written as a whole.
  if (writes.names.has('new') || rows.some((name, at) => name === 'new' && isWritten(at)))
    return null;
  if (!returnsOwnRow(body.action, rows)) return null;
  const found = new Set<string>();
  body.datums.forEach((datum, number) => {
    const field = isTree(datum) && isTree(datum.PLpgSQL_recfield) ? datum.PLpgSQL_recfield : null;
    if (field !== null && isWritten(number)) found.add(String(field.fieldname));
  });
  return found;
}

/** Each RETURN gives NEW, OLD or NULL. */
function returnsOwnRow(value: unknown, rows: readonly (string | null)[]): boolean {
  if (Array.isArray(value)) return value.every((item) => returnsOwnRow(item, rows));
  if (!isTree(value)) return true;
  return Object.entries(value).every(([key, child]) => {
    if (key !== 'PLpgSQL_stmt_return' || !isTree(child)) return returnsOwnRow(child, rows);
    if (child.expr !== undefined) return /^\s*null\s*$/i.test(textOf(child.expr));
    return /^(new|old)$/.test(rows[Number(child.retvarno ?? 0)] ?? '');
  });
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
