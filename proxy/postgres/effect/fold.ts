// Constants worked out from syntax alone: the text a dynamic statement runs, and the truth of a
// condition.
// Invariant: an answer is given only where every server would give the same.
import type { A_Const, Node } from '@pgsql/types';
import { parts } from './names.ts';

export type Constant =
  /** `decimal`: written with a point, which its text has too. */
  | { readonly kind: 'number'; readonly value: number; readonly decimal?: true }
  /** `made`: by a function, good to run; the server may spell it otherwise. */
  | { readonly kind: 'text'; readonly value: string; readonly made?: true }
  /** Of a type such as regclass: several spellings are one name. */
  | { readonly kind: 'name'; readonly value: string }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'null' };

function ofConst(node: A_Const): Constant | null {
  if (node.isnull === true) return { kind: 'null' };
  if (node.ival !== undefined) return { kind: 'number', value: node.ival.ival ?? 0 };
  if (node.fval !== undefined) return ofDigits(node.fval.fval ?? '');
  if (node.boolval !== undefined) return { kind: 'boolean', value: node.boolval.boolval ?? false };
  if (node.sval !== undefined) return { kind: 'text', value: node.sval.sval ?? '' };
  return null;
}

/** So many digits a number of ours keeps apart, as the server does. */
function ofDigits(text: string): Constant | null {
  if (!/^\d*\.?\d*$/.test(text) || text.length > 15) return null;
  const value = Number(text);
  return text.includes('.') ? { kind: 'number', value, decimal: true } : { kind: 'number', value };
}

const NAMES = new Set(['regclass', 'regproc', 'regprocedure']);
const NUMBERS = /^(int[248]|numeric|oid|float8)$/;

/** What the server cuts off a name. */
const NAME_BYTES = 63;

function cast(value: Constant, type: string): Constant | null {
  const isText = type === 'text' || type === 'varchar' || type === 'name';
  if (value.kind === 'null')
    return isText || NAMES.has(type) || NUMBERS.test(type) || type === 'bool' ? value : null;
  if (value.kind === 'text' && NAMES.has(type)) return { kind: 'name', value: value.value };
  if (value.kind === 'text' && isText) {
    return type === 'name' && Buffer.byteLength(value.value) > NAME_BYTES ? null : value;
  }
  if (value.kind === 'text' && value.made) return null;
  if (value.kind === 'number' && value.decimal) return type === 'numeric' ? value : null;
  if (value.kind === 'text' && type === 'bool') {
    if (/^\s*(t|tr|tru|true|y|ye|yes|on|1)\s*$/i.test(value.value))
      return { kind: 'boolean', value: true };
    if (/^\s*(f|fa|fal|fals|false|n|no|of|off|0)\s*$/i.test(value.value))
      return { kind: 'boolean', value: false };
    return null;
  }
  if (value.kind === 'text' && /^(int[248]|numeric|oid)$/.test(type)) {
    const number = Number(value.value);
    const plain = type === 'oid' ? /^\d{1,9}$/ : /^ *-?\d{1,15} *$/;
    return plain.test(value.value) ? { kind: 'number', value: number } : null;
  }
  if (value.kind === 'number' && NUMBERS.test(type) && type !== 'int2')
    return type === 'oid' && value.value < 0 ? null : value;
  if (value.kind === 'number' && type === 'bool')
    return { kind: 'boolean', value: value.value !== 0 };
  if (value.kind === 'number' && type === 'text') {
    return { kind: 'text', value: String(value.value) };
  }
  return value.kind === 'boolean' && type === 'bool' ? value : null;
}

const STRICT = new Set(['=', '<>', '!=', '<', '>', '<=', '>=', '+', '-', '*']);

function compare(operator: string, a: Constant, b: Constant): Constant | null {
  // `= NULL` is `IS NULL` where transform_null_equals is on.
  if (a.kind === 'null' || b.kind === 'null')
    return STRICT.has(operator) && operator !== '=' ? { kind: 'null' } : null;
  if (a.kind !== b.kind || a.kind === 'name') return null;
  if (a.kind === 'text' && b.kind === 'text') {
    if (a.made || b.made) return null;
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
  if (operator === '||') {
    if (a.kind !== 'text' && b.kind !== 'text') return null;
    const [left, right] = [spelt(a), spelt(b)];
    return left === null || right === null ? null : joined(`${left}${right}`, [a, b]);
  }
  if (a.kind !== 'number' || b.kind !== 'number' || a.decimal || b.decimal) return null;
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

/** A value as the server would write it in a text; null where that is not certain. */
function spelt(value: Constant | null): string | null {
  if (value?.kind === 'text') return value.value;
  return value?.kind === 'number' && !value.decimal ? String(value.value) : null;
}

function joined(value: string, of: readonly Constant[]): Constant {
  const made = of.some((part) => part.kind === 'text' && part.made);
  return made ? { kind: 'text', value, made } : { kind: 'text', value };
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
    const plain = (node.TypeCast.typeName?.arrayBounds?.length ?? 0) === 0 && isSystem(names);
    const typmods = (node.TypeCast.typeName?.typmods?.length ?? 0) > 0;
    return value === null || !plain || typmods ? null : cast(value, names[names.length - 1] ?? '');
  }
  if ('A_Expr' in node && node.A_Expr.kind === 'AEXPR_OP') {
    const { lexpr, rexpr, name } = node.A_Expr;
    const operator = parts(name);
    const sign = operator[operator.length - 1] ?? '';
    if (!isSystem(operator)) return null;
    const right = constant(rexpr, known);
    if (right === null) return null;
    if (lexpr === undefined) {
      return right.kind === 'number' && sign === '-' ? { ...right, value: -right.value } : null;
    }
    const left = constant(lexpr, known);
    return left === null ? null : (compare(sign, left, right) ?? arithmetic(sign, left, right));
  }
  if ('FuncCall' in node) {
    return call(node.FuncCall.funcname ?? [], node.FuncCall.args ?? [], known);
  }
  return null;
}

function isSystem(names: readonly string[]): boolean {
  return names.length === 1 || names[0] === 'pg_catalog';
}

/** Functions that put texts together. */
export const FOLDED: ReadonlySet<string> = new Set([
  'quote_ident',
  'quote_literal',
  'concat',
  'format',
]);

function call(name: readonly Node[], args: readonly Node[], known: Known): Constant | null {
  const names = parts(name);
  const called = names[names.length - 1] ?? '';
  if (!FOLDED.has(called) || !isSystem(names)) return null;
  const texts: string[] = [];
  for (const arg of args) {
    const text = spelt(constant(arg, known));
    if (text === null) return null;
    texts.push(text);
  }
  const value = calledText(called, texts);
  return value === null ? null : { kind: 'text', value, made: true };
}

function calledText(name: string, texts: readonly string[]): string | null {
  if (name === 'concat') return texts.join('');
  if (name === 'format') return formatted(texts);
  if (texts.length !== 1) return null;
  return name === 'quote_ident' ? quoteIdentifier(texts[0] ?? '') : quoteLiteral(texts[0] ?? '');
}

function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function quoteLiteral(text: string): string {
  return text.includes('\\')
    ? `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
    : `'${text.replaceAll("'", "''")}'`;
}

function formatted([pattern = '', ...values]: readonly string[]): string | null {
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
  return failed ? null : value;
}

/** The text that an expression is certain to give; null otherwise. */
export function constantText(node: Node | undefined, known: Known = NOTHING): string | null {
  const value = constant(node, known);
  return value?.kind === 'text' ? value.value : null;
}

/** A value that a boolean column could have. */
export function isBoolish(value: Constant | null): boolean {
  if (value?.kind === 'boolean') return true;
  return (
    value?.kind === 'text' &&
    /^\s*(t|f|y|n|tr?u?e?|fa?l?s?e?|ye?s?|no?|on|off?|[01])\s*$/i.test(value.value)
  );
}
