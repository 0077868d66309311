// What stands on the other side of `=`: whether comparing with it leaves a column as it is.
// Invariant: where a value's type is not sure, it may be one that converts the column.
import type {
  A_Expr,
  ColumnRef,
  FuncCall,
  Node,
  ParamRef,
  RangeVar,
  SelectStmt,
} from '@pgsql/types';
import { type Column, FIRST_USER_OID, type Routine, type Type } from '../catalog/snapshot.ts';
import { ParseFailure, parse } from '../parser.ts';
import { builtinNamed } from './builtins.ts';
import type { Judge } from './judge.ts';
import { isRedefined, localNamed, parts } from './names.ts';
import { expressionNode } from './plpgsql-constants.ts';
import { hasNode } from './reference.ts';
import { isConverted } from './type.ts';

/** The type that a domain stands for. */
export function baseType(judge: Judge, oid: string): Type | null {
  let type = judge.catalog?.types.get(oid);
  for (let hops = 0; type?.kind === 'd' && hops < 32; hops++)
    type = judge.catalog?.types.get(type.base);
  return type ?? null;
}

/**
 * Types of a value that make `=` convert the column, so that different values of it may become
 * equal. A type that is not here is compared as it is, whatever the other side: `bigint = float8`
 * compares as float8, `varchar = char(n)` without trailing blanks.
 */
const CONVERTING: { readonly [column: string]: readonly string[] } = {
  int8: ['float4', 'float8'],
  numeric: ['float4', 'float8'],
  timestamp: ['timestamptz'],
  date: ['timestamptz'],
  varchar: ['bpchar'],
};

/** Types of users may keep the elements of an array apart by another sign. */
export function splitsByComma(type: Type | null): boolean {
  return type !== null && (Number(type.oid) < FIRST_USER_OID || type.kind === 'e');
}

/** Every value of the column stays apart from its others when it is compared with this one. */
export function isExact(
  judge: Judge,
  column: Column | null,
  value: Node,
  from: readonly Node[] | undefined,
): boolean {
  const type = column === null ? null : baseType(judge, column.type);
  if (type === null) return false;
  const { catalog } = judge;
  // By a cast of a user's, `=` may compare anything.
  if (catalog !== null && isConverted(catalog, type.oid)) return false;
  const converting = CONVERTING[type.name];
  return converting === undefined || !new Operand(judge, converting, from).mayBe(value);
}

/**
 * The same value for every row that it is compared with, although it may be computed for each. That
 * a function is labelled stable does not make it so.
 */
export function isSteady(judge: Judge, value: Node): boolean {
  const node = 'TypeCast' in value ? (value.TypeCast.arg ?? value) : value;
  if ('A_Const' in node || 'ParamRef' in node || 'ColumnRef' in node) return true;
  // A query that does not look at the row is run once.
  if ('SubLink' in node) return true;
  judge.computed = true;
  return !hasNode(node, (kind, body) => {
    if (kind === 'A_Expr') return isRedefined(judge, parts((body as A_Expr).name).at(-1) ?? '');
    if (kind === 'A_Indirection') return true;
    return kind === 'FuncCall' && !isTrusted(judge, (body as FuncCall).funcname);
  });
}

function isTrusted(judge: Judge, funcname: readonly Node[] | undefined): boolean {
  const named = judge.catalog?.routines_named.get(parts(funcname).at(-1) ?? '') ?? [];
  return named.every((routine) => {
    if (routine.volatility === 'v') return false;
    return routine.extension !== null || isPlainSql(judge, routine);
  });
}

/** One that consists of built-in functions, none of them volatile. */
function isPlainSql(judge: Judge, { language, body, source }: Routine): boolean {
  if (language !== 'sql' || body !== null) return false;
  try {
    return !hasNode(parse(source).stmts, (kind, node) => {
      const name = kind === 'FuncCall' ? (parts((node as FuncCall).funcname).at(-1) ?? '') : null;
      if (name === null) return /^(Insert|Update|Delete|Merge)Stmt$|^A_Indirection$/.test(kind);
      const known = judge.catalog?.routines_named.has(name) ? undefined : builtinNamed(name);
      return known === undefined || known.volatility === 'v';
    });
  } catch (error) {
    if (error instanceof ParseFailure) return false;
    throw error;
  }
}

/** Built-in functions that give back one of their arguments. */
const GIVES_BACK = /^(max|min|abs|lag|lead|first_value|last_value|any_value)$/;

/** What the server calls a type, however it is written; '' where it is not clear. */
function typeName(text: string): string {
  const node = expressionNode(`null::${text}`);
  return node !== null && 'TypeCast' in node
    ? (parts(node.TypeCast.typeName?.names).at(-1) ?? '')
    : '';
}

/** Whether `=` converts a column of the one type for a value of the other. */
export function converts(judge: Judge, column: Column, value: Column): boolean {
  const [own, other] = [column, value].map(({ type }) => baseType(judge, type)?.name ?? '');
  return CONVERTING[own ?? '']?.includes(other ?? '') ?? false;
}

/** Whether an expression may be of one of these types. */
class Operand {
  readonly #judge: Judge;
  readonly #types: readonly string[];
  readonly #from: readonly Node[] | undefined;
  /** Queries looked into: CTEs read one another, and themselves. */
  readonly #seen = new Set<Node>();
  /** Variables whose types are those of others. */
  readonly #copied = new Set<string>();

  constructor(judge: Judge, types: readonly string[], from: readonly Node[] | undefined) {
    this.#judge = judge;
    this.#types = types;
    this.#from = from;
  }

  mayBe(node: Node | undefined): boolean {
    if (node === undefined) return true;
    if ('A_Const' in node) return false;
    if ('TypeCast' in node) return this.#named(parts(node.TypeCast.typeName?.names).at(-1) ?? '');
    if ('ParamRef' in node) return this.#parameter(node.ParamRef.number ?? 0);
    if ('ColumnRef' in node) return this.#reference(parts(node.ColumnRef.fields));
    if ('ResTarget' in node) return this.mayBe(node.ResTarget.val);
    if ('CoalesceExpr' in node) return this.#any(node.CoalesceExpr.args);
    if ('List' in node) return this.#any(node.List.items);
    if ('A_ArrayExpr' in node) return this.#any(node.A_ArrayExpr.elements);
    if ('A_Expr' in node) {
      const { name, lexpr, rexpr } = node.A_Expr;
      if (!/^[-+*%]$/.test(parts(name).join('.'))) return true;
      return (lexpr !== undefined && this.mayBe(lexpr)) || this.mayBe(rexpr);
    }
    if ('FuncCall' in node) {
      const name = parts(node.FuncCall.funcname).at(-1) ?? '';
      return GIVES_BACK.test(name) ? this.#any(node.FuncCall.args) : this.#result(name);
    }
    return !('SubLink' in node) || this.#query(node.SubLink.subselect);
  }

  /** What a function of this name gives, whichever it is. */
  #result(name: string): boolean {
    const routines = this.#judge.catalog?.routines_named.get(name) ?? [];
    const builtin = builtinNamed(name);
    if (routines.length === 0 && builtin === undefined) return true;
    const given = builtin === undefined ? '' : (builtin.result ?? 'any');
    // A polymorphic one may be of any type.
    if (given.startsWith('any') || this.#types.includes(given)) return true;
    const { types } = this.#judge.catalog ?? {};
    return routines.some(({ result }) => types?.get(result)?.kind === 'p' || this.#isType(result));
  }

  #any(nodes: readonly Node[] | undefined): boolean {
    return nodes?.some((node) => this.mayBe(node)) ?? true;
  }

  /** Any of the columns that a query gives. */
  #query(node: Node | undefined): boolean {
    if (node === undefined) return true;
    if (this.#seen.has(node)) return false;
    this.#seen.add(node);
    if ('SelectStmt' in node) return this.#select(node.SelectStmt);
    const statement = Object.values(node)[0] as
      | { returningClause?: { exprs?: Node[] } }
      | undefined;
    return this.#any(statement?.returningClause?.exprs);
  }

  #select(query: SelectStmt): boolean {
    if (query.valuesLists !== undefined) return this.#any(query.valuesLists);
    if (query.larg !== undefined && query.rarg !== undefined)
      return this.#select(query.larg) || this.#select(query.rarg);
    const all = query.targetList?.some((item) => hasNode(item, (kind) => kind === 'A_Star'));
    return this.#sources(query.fromClause, all) || this.#any(query.targetList);
  }

  /** Columns of what stands in FROM, besides those that are found by their names. */
  #sources(from: readonly Node[] | undefined, all = false): boolean {
    return (from ?? []).some((item) => {
      if ('RangeVar' in item) return this.#table(item.RangeVar, all);
      return 'RangeSubselect' in item ? this.#query(item.RangeSubselect.subquery) : true;
    });
  }

  /** `all`: its columns are not named, but `*`. */
  #table({ schemaname, relname = '', alias }: RangeVar, all: boolean): boolean {
    for (let scope = this.#judge.scope; scope !== null; scope = scope.parent)
      if (schemaname === undefined && scope.ctes.has(relname)) return false;
    const { session, catalog } = this.#judge.root;
    const known = catalog?.relations_named.get(relname) ?? [];
    // The catalog tells nothing of the system's own and of what was made a moment ago.
    if (known.length === 0 || session.temporary.size > 0) return true;
    if (localNamed(this.#judge, 'relation', relname) !== null) return true;
    if (!all && alias?.colnames === undefined) return false;
    return known.some(({ columns }) => columns.some(({ type }) => this.#isType(type)));
  }

  /** Of any table, of a CTE, or a variable: which one is not told apart. */
  #reference(names: readonly string[]): boolean {
    const { variables } = this.#judge;
    const name = names[names.length - 1] ?? '';
    for (const part of names)
      if (variables.get(part)?.some((type) => type === 'record')) return true;
    if (variables.get(name)?.some((type) => this.#declared(type))) return true;
    if (this.#column(name) || this.#sources(this.#from)) return true;
    for (let scope = this.#judge.scope; scope !== null; scope = scope.parent)
      for (const { query } of scope.ctes.values()) if (this.#query(query)) return true;
    return false;
  }

  #column(name: string): boolean {
    for (const relation of this.#judge.catalog?.relations.values() ?? [])
      for (const column of relation.columns)
        if (column.name === name && this.#isType(column.type)) return true;
    return false;
  }

  /** Of an array, or a domain over one, its elements are compared. */
  #isType(oid: string): boolean {
    const type = baseType(this.#judge, oid);
    if (type?.category === 'A' && type.element !== '0') return this.#isType(type.element);
    // A polymorphic type may be any.
    return type === null || type.kind === 'p' || this.#types.includes(type.name);
  }

  #named(name: string): boolean {
    const named = this.#judge.catalog?.types_named.get(name) ?? [];
    return named.length === 0 || named.some((type) => this.#isType(type.oid));
  }

  /** A type as PL/pgSQL writes it. */
  #declared(type: string): boolean {
    const copied = /^(?:.*\.)?"?([^".]+)"?\s*%\s*type$/i.exec(type.trim());
    if (copied === null) return this.#named(typeName(type));
    const [, name = ''] = copied;
    if (this.#copied.has(name)) return true;
    this.#copied.add(name);
    // Of a column, or of another variable.
    const variable = this.#judge.variables.get(name) ?? [];
    const found = this.#column(name) || variable.some((own) => this.#declared(own));
    this.#copied.delete(name);
    return found;
  }

  /** `$1`: of a function, its declared type; of a statement, what the client says it is. */
  #parameter(number: number): boolean {
    const { variables, findings, body } = this.#judge;
    const declared = variables.get(`$${number}`);
    if (declared !== undefined) return declared.some((type) => this.#declared(type));
    if (!body) (findings.compared ??= new Set()).add(number);
    return body && !variables.has(INFERRED);
  }
}

/** Among variables: parameters that are not there are of the type that they are compared with. */
export const INFERRED = '$?';

/** Among variables: those that the loop at hand writes to. */
export const LOOPED = '#looped';

/** The value is another one each time that a loop comes by. */
export function isLooped(judge: Judge, value: unknown): boolean {
  const looped = judge.variables.get(LOOPED);
  if (looped === undefined) return false;
  return hasNode([value], (kind, body) => {
    if (kind === 'CurrentOfExpr') return true;
    if (kind === 'ParamRef') return !judge.variables.has(`$${(body as ParamRef).number ?? 0}`);
    const names = kind === 'ColumnRef' ? parts((body as ColumnRef).fields) : [];
    return names.some((name) => looped.includes(name));
  });
}

/** Among variables: a name that a column has means the variable. */
export const SHADOWING = '#use_variable';
