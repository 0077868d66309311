// Constants worked out from syntax alone: the text a dynamic statement runs, and the truth of a
// condition.
// Invariant: an answer is given only where every server would give the same.
import type { A_Const, Node } from '@pgsql/types';
import { parts } from './names.ts';

export type Constant =
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'null' };

function ofConst(node: A_Const): Constant | null {
  if (node.isnull === true) return { kind: 'null' };
  if (node.ival !== undefined) return { kind: 'number', value: node.ival.ival ?? 0 };
  if (node.fval !== undefined) {
    const value = Number(node.fval.fval ?? '');
    return Number.isFinite(value) && Math.abs(value) < 2 ** 52 ? { kind: 'number', value } : null;
  }
  if (node.boolval !== undefined) return { kind: 'boolean', value: node.boolval.boolval ?? false };
  if (node.sval !== undefined) return { kind: 'text', value: node.sval.sval ?? '' };
  return null;
}

const TEXT_TYPES = new Set(['text', 'varchar', 'name', 'regclass', 'regproc', 'regprocedure']);

function cast(value: Constant, type: string): Constant | null {
  if (value.kind === 'null') return value;
  if (value.kind === 'text' && TEXT_TYPES.has(type)) return value;
  if (value.kind === 'text' && type === 'bool') {
    if (/^\s*(t|tr|tru|true|y|ye|yes|on|1)\s*$/i.test(value.value))
      return { kind: 'boolean', value: true };
    if (/^\s*(f|fa|fal|fals|false|n|no|of|off|0)\s*$/i.test(value.value))
      return { kind: 'boolean', value: false };
    return null;
  }
  if (value.kind === 'text' && /^(int[248]|numeric|oid)$/.test(type)) {
    const number = Number(value.value);
    return /^\s*-?\d{1,15}\s*$/.test(value.value) ? { kind: 'number', value: number } : null;
  }
  if (
    value.kind === 'number' &&
    /^(int[48]|numeric|oid|float8)$/.test(type) &&
    Number.isInteger(value.value)
  )
    return value;
  if (value.kind === 'number' && type === 'bool')
    return { kind: 'boolean', value: value.value !== 0 };
  if (value.kind === 'number' && type === 'text' && Number.isInteger(value.value)) {
    return { kind: 'text', value: String(value.value) };
  }
  return value.kind === 'boolean' && type === 'bool' ? value : null;
}

function compare(operator: string, a: Constant, b: Constant): Constant | null {
  if (a.kind === 'null' || b.kind === 'null') return { kind: 'null' };
  if (a.kind !== b.kind) return null;
  if (a.kind === 'text' && b.kind === 'text') {
    // Order depends on collation; equality of plain literals does not.
    if (operator === '=') return { kind: 'boolean', value: a.value === b.value };
    if (operator === '<>' || operator === '!=')
      return { kind: 'boolean', value: a.value !== b.value };
    return null;
  }
  const x = Number(a.value);
  const y = Number(b.value);
  const answers: { readonly [operator: string]: boolean } = {
    '=': x === y,
    '<>': x !== y,
    '!=': x !== y,
    '<': x < y,
    '>': x > y,
    '<=': x <= y,
    '>=': x >= y,
  };
  const value = Object.hasOwn(answers, operator) ? answers[operator] : undefined;
  return value === undefined ? null : { kind: 'boolean', value };
}

function arithmetic(operator: string, a: Constant, b: Constant): Constant | null {
  if (a.kind === 'null' || b.kind === 'null') return { kind: 'null' };
  if (operator === '||' && a.kind !== 'boolean' && b.kind !== 'boolean') {
    if (a.kind !== 'text' && b.kind !== 'text') return null;
    return { kind: 'text', value: `${a.value}${b.value}` };
  }
  if (a.kind !== 'number' || b.kind !== 'number') return null;
  if (!Number.isInteger(a.value) || !Number.isInteger(b.value)) return null;
  const value =
    operator === '+'
      ? a.value + b.value
      : operator === '-'
        ? a.value - b.value
        : operator === '*'
          ? a.value * b.value
          : null;
  return value === null || Math.abs(value) > 2 ** 31 ? null : { kind: 'number', value };
}

/** Variables whose values are known. */
export type Known = ReadonlyMap<string, string>;
const NOTHING: Known = new Map();

/**
 * The value of an expression that is constant by syntax; null when it is not, or not certainly so.
 */
export function constant(node: Node | undefined, known: Known = NOTHING): Constant | null {
  if (node === undefined) return null;
  if ('ColumnRef' in node) {
    const names = parts(node.ColumnRef.fields);
    const value = names.length === 1 ? known.get(names[0] ?? '') : undefined;
    return value === undefined ? null : { kind: 'text', value };
  }
  if ('A_Const' in node) return ofConst(node.A_Const);
  if ('TypeCast' in node) {
    const value = constant(node.TypeCast.arg, known);
    const names = parts(node.TypeCast.typeName?.names);
    const plain = (node.TypeCast.typeName?.arrayBounds?.length ?? 0) === 0;
    const typmods = (node.TypeCast.typeName?.typmods?.length ?? 0) > 0;
    return value === null || !plain || typmods ? null : cast(value, names[names.length - 1] ?? '');
  }
  if ('A_Expr' in node && node.A_Expr.kind === 'AEXPR_OP') {
    const { lexpr, rexpr, name } = node.A_Expr;
    const operator = parts(name);
    const sign = operator[operator.length - 1] ?? '';
    const right = constant(rexpr, known);
    if (right === null) return null;
    if (lexpr === undefined) {
      return right.kind === 'number' && sign === '-'
        ? { kind: 'number', value: -right.value }
        : null;
    }
    const left = constant(lexpr, known);
    return left === null ? null : (compare(sign, left, right) ?? arithmetic(sign, left, right));
  }
  if ('FuncCall' in node) {
    return call(node.FuncCall.funcname ?? [], node.FuncCall.args ?? [], known);
  }
  return null;
}

function call(name: readonly Node[], args: readonly Node[], known: Known): Constant | null {
  const names = parts(name);
  const values = args.map((arg) => constant(arg, known));
  if (values.some((v) => v === null || v.kind === 'null')) return null;
  const texts = values.map((v) => (v !== null && v.kind !== 'null' ? String(v.value) : ''));
  switch (names[names.length - 1]) {
    case 'quote_ident':
      return texts.length === 1 ? { kind: 'text', value: quoteIdentifier(texts[0] ?? '') } : null;
    case 'quote_literal':
      return texts.length === 1 ? { kind: 'text', value: quoteLiteral(texts[0] ?? '') } : null;
    case 'concat':
      return { kind: 'text', value: texts.join('') };
    case 'format':
      return formatted(texts);
    default:
      return null;
  }
}

function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function quoteLiteral(text: string): string {
  return text.includes('\\')
    ? `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
    : `'${text.replaceAll("'", "''")}'`;
}

function formatted([pattern = '', ...values]: readonly string[]): Constant | null {
  let next = 0;
  let failed = false;
  const value = pattern.replace(/%(.?)/g, (_, kind: string) => {
    if (kind === '%') return '%';
    const text = values[next++];
    if (text === undefined) failed = true;
    if (kind === 's') return text ?? '';
    if (kind === 'I') return quoteIdentifier(text ?? '');
    if (kind === 'L') return quoteLiteral(text ?? '');
    failed = true;
    return '';
  });
  return failed ? null : { kind: 'text', value };
}

/** The text that an expression is certain to give; null otherwise. */
export function constantText(node: Node | undefined, known: Known = NOTHING): string | null {
  const value = constant(node, known);
  return value?.kind === 'text' ? value.value : null;
}
