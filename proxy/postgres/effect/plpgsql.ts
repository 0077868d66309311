// A PL/pgSQL body: every expression and statement in it is judged; text that it makes and runs is
// `unknown`.
// Invariant: a statement kind that is not listed here is `unknown`.
import type { Node } from '@pgsql/types';
import { ParseFailure, parse, parsePlpgsql } from '../parser.ts';
import { OPENED } from './context.ts';
import { walk } from './expression.ts';
import { constantText } from './fold.ts';
import { type Draft, type Judge, noFindings } from './judge.ts';
import { findRelation, findTypes, isShadowed } from './names.ts';
import { LOOPED, SHADOWING } from './operand.ts';
import {
  assignment,
  type Candidates,
  constantVariables,
  declaredVariables,
  expressionNode,
  variableNames,
  writesOperation,
  writtenIn,
} from './plpgsql-constants.ts';
import { statementsText } from './routine.ts';
import { judgeStatement } from './statements.ts';
import { rowsOf, tellsApart } from './times.ts';
import { meetType } from './type.ts';

type Tree = { readonly [key: string]: unknown };

const KNOWN = new Set(
  `function alias var rec row recfield arrayelem promise type expr nsitem exception
  exception_block condition case_when
  if_elsif diag_item raise_option
  stmt_block stmt_assign stmt_if stmt_case stmt_loop stmt_while stmt_fori stmt_fors stmt_forc
  stmt_foreach_a
  stmt_exit stmt_return stmt_return_next stmt_return_query stmt_raise stmt_assert stmt_execsql
  stmt_dynexecute
  stmt_dynfors stmt_getdiag stmt_open stmt_fetch stmt_close stmt_perform stmt_call stmt_commit
  stmt_rollback stmt_set`
    .trim()
    .split(/\s+/)
    .map((name) => `PLpgSQL_${name}`),
);

/**
 * Loops, and variables: a default is computed whenever its block begins, a cursor's query whenever
 * it is opened.
 */
const REPEATED = new Set(
  `stmt_loop stmt_while stmt_fori stmt_fors stmt_forc stmt_foreach_a stmt_dynfors var`
    .split(' ')
    .map((name) => `PLpgSQL_${name}`),
);

/** Fields that hold the text to run, of the statements that run text. */
const DYNAMIC: { readonly [kind: string]: string } = {
  PLpgSQL_stmt_dynexecute: 'query',
  PLpgSQL_stmt_dynfors: 'query',
  PLpgSQL_stmt_return_query: 'dynquery',
  PLpgSQL_stmt_open: 'dynquery',
};

/** Among variables: the names of the body's own by their numbers. */
const NUMBERED = '#numbered';

/** Judges the body of a CREATE FUNCTION statement (or one made up around a DO block). */
export function judgePlpgsql(judge: Judge, definition: string, what: string): void {
  let body: ReturnType<typeof bodyOf>;
  // Parsing a body is work too.
  judge.visit(definition.length >> 3);
  try {
    body = bodyOf(definition);
  } catch (error) {
    if (!(error instanceof ParseFailure)) throw error;
    judge.opaque(`the body of ${what} can't be parsed (${error.message})`);
    return;
  }
  judge.constants = body.whole ? constantVariables(body.tree) : new Map();
  const given = new Map(judge.variables);
  if (shadows(judge, definition)) given.set(SHADOWING, []);
  given.set(NUMBERED, variableNames(body.tree));
  judge.variables = declaredVariables(body.tree, given);
  if (judge.operation !== null && (!body.whole || writesOperation(body.tree)))
    judge.operation = null;
  descend(judge, body.tree, what);
}

const NAME = '(?:"(?:[^"]|"")+"|[a-z_][\\w$]*)';
const NAMES = `${NAME}(?:\\.${NAME})*`;
const INTO_LIST = new RegExp(`(\\binto\\s+(?:strict\\s+)?${NAMES})(?:\\s*,\\s*${NAMES})+`, 'gi');

/**
 * The parser takes types that it does not know, such as enums, for rows, which can't stand in a
 * list: of each list the first variable is left then. It is not whole: which ones are written is
 * not known.
 */
function bodyOf(definition: string): { readonly tree: unknown; readonly whole: boolean } {
  try {
    return { tree: parsePlpgsql(definition), whole: true };
  } catch (error) {
    if (!(error instanceof ParseFailure) || !error.message.includes('INTO list')) throw error;
    return { tree: parsePlpgsql(definition.replace(INTO_LIST, '$1')), whole: false };
  }
}

/** A name that a variable and a column share means the variable: by default that is an error. */
function shadows(judge: Judge, definition: string): boolean {
  const sets = /variable_conflict\W+(?:to\W+)?use_variable/i;
  const settings = judge.catalog?.role_settings.flatMap((each) => each.settings ?? []) ?? [];
  return [definition, ...settings].some((text) => sets.test(text));
}

/** A statement to parse a bare block with. */
export function blockStatement(body: string): string {
  return `create function f() returns void language plpgsql as '${body.replaceAll("'", "''")}'`;
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function descend(judge: Judge, value: unknown, what: string): void {
  if (Array.isArray(value)) {
    for (const item of value) descend(judge, item, what);
    return;
  }
  if (!isTree(value)) return;
  judge.visit();
  for (const [key, child] of Object.entries(value)) {
    if (!key.startsWith('PLpgSQL_')) {
      descend(judge, child, what);
      continue;
    }
    if (!KNOWN.has(key)) judge.opaque(`${key} in ${what} is not understood`);
    else if (key === 'PLpgSQL_expr') judgeExpression(judge, child, what);
    else if (key === 'PLpgSQL_type') noteType(judge, child);
    else if (!REPEATED.has(key)) judgeNode(judge, key, child, what);
    else {
      const { times, variables } = judge;
      judge.times = null;
      judge.variables = inLoop(judge, key, child);
      judgeNode(judge, key, child, what);
      judge.times = times;
      judge.variables = variables;
    }
  }
}

/**
 * With the variables that a loop writes to: what they pick adds up to all that it goes through,
 * unless that is a list, or what a condition tells apart.
 */
function inLoop(judge: Judge, kind: string, node: unknown): ReadonlyMap<string, readonly string[]> {
  const { variables } = judge;
  const single = kind === 'PLpgSQL_var' || kind === 'PLpgSQL_stmt_foreach_a';
  if (single || !isTree(node)) return variables;
  const query = kind === 'PLpgSQL_stmt_fors' && isTree(node.query) ? node.query.PLpgSQL_expr : null;
  if (isTree(query) && isNarrowText(judge, String(query.query ?? ''))) return variables;
  const written = writtenIn(node, variables.get(NUMBERED) ?? []);
  return new Map(variables).set(LOOPED, [...(variables.get(LOOPED) ?? []), ...written]);
}

function isNarrowText(judge: Judge, text: string): boolean {
  try {
    const statement = parse(text).stmts?.[0]?.stmt;
    const query =
      statement !== undefined && 'SelectStmt' in statement ? statement.SelectStmt : null;
    return query !== null && (rowsOf(judge, query) !== null || tellsApart(judge, query));
  } catch (error) {
    if (error instanceof ParseFailure) return false;
    throw error;
  }
}

/** IF TG_OP = '…': the branches that this trigger's event does not take are left out. */
function branches(judge: Judge, node: Tree, operation: string, what: string): void {
  const arms: { cond: unknown; body: unknown }[] = [{ cond: node.cond, body: node.then_body }];
  for (const item of Array.isArray(node.elsif_list) ? (node.elsif_list as unknown[]) : []) {
    const arm = isTree(item) && isTree(item.PLpgSQL_if_elsif) ? item.PLpgSQL_if_elsif : {};
    arms.push({ cond: arm.cond, body: arm.stmts });
  }
  for (const { cond, body } of arms) {
    descend(judge, cond, what);
    const taken = isTaken(cond, operation);
    if (taken !== false) descend(judge, body, what);
    if (taken === true) return;
  }
  descend(judge, node.else_body, what);
}

/** Whether a condition on TG_OP alone holds; null when it is not only that. */
function isTaken(cond: unknown, operation: string): boolean | null {
  const text =
    isTree(cond) && isTree(cond.PLpgSQL_expr) ? String(cond.PLpgSQL_expr.query ?? '') : '';
  const equals = /^\s*\(?\s*tg_op\s*=\s*'([A-Za-z]+)'\s*\)?\s*$/i.exec(text);
  if (equals !== null) return equals[1] === operation;
  const among = /^\s*\(?\s*tg_op\s+in\s*\(((?:\s*'[A-Za-z]+'\s*,?)+)\)\s*\)?\s*$/i.exec(text);
  if (among !== null) return (among[1] ?? '').includes(`'${operation}'`);
  const either = /^\s*\(?(\s*tg_op\s*=\s*'[A-Za-z]+'\s*(?:or\s+(?=tg_op)|\)?\s*$))+/i.exec(text);
  return either !== null && either[0] === text ? text.includes(`'${operation}'`) : null;
}

function judgeNode(judge: Judge, kind: string, node: unknown, what: string): void {
  if (!isTree(node)) return;
  if (kind === 'PLpgSQL_stmt_if' && judge.operation !== null) {
    branches(judge, node, judge.operation, what);
    return;
  }
  if (kind === 'PLpgSQL_stmt_open') opened(judge, node, what);
  if (kind === 'PLpgSQL_stmt_commit' || kind === 'PLpgSQL_stmt_rollback')
    judge.findings.own_transaction = true;
  const field = DYNAMIC[kind];
  const dynamic = field === undefined ? undefined : node[field];
  if (field === undefined || !isTree(dynamic) || !isTree(dynamic.PLpgSQL_expr)) {
    descend(judge, node, what);
    return;
  }
  const { [field]: _, ...rest } = node;
  descend(judge, rest, what);
  runText(judge, String(dynamic.PLpgSQL_expr.query ?? ''), what);
}

/** OPEN: what the cursor runs is judged here, and again when somebody fetches from it. */
function opened(judge: Judge, node: Tree, what: string): void {
  const findings = noFindings();
  const draft: Draft = { ...judge.draft, objects: [], class: 'read' };
  // It is fetched from later, when names in bodies may mean something else.
  const inner = judge.inside({ findings, draft, runtime: null });
  const query =
    isTree(node.query) && isTree(node.query.PLpgSQL_expr) ? node.query.PLpgSQL_expr : null;
  if (query === null) inner.opaque(`a cursor opened in ${what} whose query is not looked at`);
  else statementsText(inner, String(query.query ?? ''));
  if (findings.makes) judge.findings.makes = true;
  for (const change of findings.changes) judge.change(change);
  judge.change({
    kind: 'declare',
    name: OPENED,
    hold: false,
    statement: {
      text: '',
      node: 'SelectStmt',
      effects: findings.effects,
      changes: [],
      own_transaction: false,
      needs_read_write: findings.needs_read_write,
      highest_parameter: 0,
    },
  });
}

/** EXECUTE of an expression: judged when the expression is a constant, `unknown` otherwise. */
function runText(judge: Judge, expression: string, what: string): void {
  const node = expressionNode(expression);
  if (node === null) {
    judge.opaque(`dynamic SQL in ${what}`);
    return;
  }
  walk(judge, node);
  const texts = isShadowed(judge, node) ? [null] : possibleTexts(node, judge.constants);
  // In such a text, `$1` is what USING gives, of whatever type.
  const { variables } = judge;
  judge.variables = new Map([...variables].filter(([name]) => !name.startsWith('$')));
  for (const text of texts) {
    if (text === null) judge.opaque(`dynamic SQL in ${what}`);
    else statementsText(judge, text);
  }
  judge.variables = variables;
}

/** Every text that the expression may give; null among them when one is not known. */
function possibleTexts(node: Node, variables: Candidates): readonly (string | null)[] {
  const plain = constantText(node);
  if (plain !== null || variables.size === 0) return [plain];
  let choices: Map<string, string>[] = [new Map()];
  for (const [name, values] of variables) {
    choices = choices.flatMap((choice) => values.map((value) => new Map(choice).set(name, value)));
    if (choices.length > 16) return [null];
  }
  return [...new Set(choices.map((choice) => constantText(node, choice)))];
}

/** parseMode: 0 a statement, 2 an expression, 3 to 5 an assignment. */
function judgeExpression(judge: Judge, node: unknown, what: string): void {
  if (!isTree(node)) return;
  const query = String(node.query ?? '');
  const mode = typeof node.parseMode === 'number' ? node.parseMode : 0;
  if (mode === 0) {
    statementsText(judge, query);
    return;
  }
  const assigned = mode >= 3 ? assignment(query) : { target: '', value: query };
  if (assigned === null) {
    judge.opaque(`an assignment in ${what} is not understood`);
    return;
  }
  const { target, value } = assigned;
  // The target reads like an expression too, so its subscripts are judged with it.
  if (target.includes('[')) selectText(judge, target, what);
  if (value.trim() !== '') selectText(judge, value, what);
}

function selectText(judge: Judge, expression: string, what: string): void {
  try {
    for (const raw of parse(`select ${expression}`).stmts ?? []) {
      if (raw.stmt !== undefined) judgeStatement(judge, raw.stmt);
    }
  } catch (error) {
    if (!(error instanceof ParseFailure)) throw error;
    judge.opaque(`an expression in ${what} can't be parsed (${error.message})`);
  }
}

function noteType(judge: Judge, node: unknown): void {
  if (!isTree(node)) return;
  const name = String(node.typname ?? '').replace(/(\[\]|\(.*\))+$/, '');
  if (name === '') return;
  const copied = /^(.*)%\s*(type|rowtype)$/i.exec(name);
  const names = (copied?.[1] ?? name)
    .split('.')
    .map((part) => part.trim().replace(/^"(.*)"$/, '$1'));
  if (copied !== null) return noteColumns(judge, names, copied[2]?.toLowerCase() === 'type');
  for (const type of findTypes(judge, names)) meetType(judge, type.oid, 'made');
}

/** `t.c%TYPE`, `t%ROWTYPE`: of which column is not told apart. */
function noteColumns(judge: Judge, names: readonly string[], column: boolean): void {
  const table = column ? names.slice(0, -1) : names;
  const schema = table.length > 1 ? (table[table.length - 2] ?? null) : null;
  const { relations } = findRelation(judge, schema, table[table.length - 1] ?? '');
  for (const relation of relations)
    for (const { type } of relation.columns) meetType(judge, type, 'made');
}
