// CREATE and ALTER FUNCTION, and DO: bodies of a user's own, when they are made and when they run
// at once.
// Invariant: a function is remembered with what its body does, until the catalog shows it.
import type { AlterFunctionStmt, CreateFunctionStmt, Node } from '@pgsql/types';
import { option, optionText, runBy } from './ddl.ts';
import { nameParts } from './drop.ts';
import { walk } from './expression.ts';
import type { Judge } from './judge.ts';
import { alteredCode } from './local.ts';
import { creationSchema, parts } from './names.ts';
import { blockStatement, judgePlpgsql } from './plpgsql.ts';
import { foreignBody, isStandard, sqlBody } from './routine.ts';
import { STRINGS } from './settings.ts';
import { meetTypeName } from './type.ts';

export function createFunction(judge: Judge, node: CreateFunctionStmt): void {
  const names = parts(node.funcname);
  const name = names[names.length - 1] ?? '';
  const language = optionText(option(node.options, 'language')).toLowerCase() || 'sql';
  const draft = judge.open('create', language === 'c' || language === 'internal' ? 'admin' : 'ddl');
  const schema = names.length > 1 ? (names[0] ?? null) : creationSchema(judge);
  judge.object('function', schema, name, 'create');
  const body = optionText(option(node.options, 'as'));
  const effects = runBy(judge, (inner) => {
    for (const parameter of node.parameters ?? []) {
      if (!('FunctionParameter' in parameter)) continue;
      const { defexpr, argType } = parameter.FunctionParameter;
      walk(inner, defexpr);
      if (defexpr !== undefined) meetTypeName(inner, argType);
    }
    functionBody(inner, language, body, node, name);
  });
  judge.draft = draft;
  alteredCode(judge, 'function', name, setsStrings(node.options) ? undefined : effects);
}

/** By another reading of literals its body may be another. */
function setsStrings(options: readonly Node[] | undefined): boolean {
  return JSON.stringify(options ?? []).includes(STRINGS);
}

function functionBody(
  judge: Judge,
  language: string,
  body: string,
  node: CreateFunctionStmt,
  name: string,
): void {
  // Its names are looked up when it runs.
  const later = judge.inside({ path: null });
  if (node.sql_body !== undefined) walk(judge, node.sql_body);
  else if (language === 'sql') sqlBody(later, null, body);
  else if (language === 'plpgsql') {
    if (isStandard(later, body)) judgeLoose(later, body, node, `function ${name}`);
  } else {
    // AS 'library', 'symbol'.
    const as = option(node.options, 'as')?.arg;
    const [library = null, symbol = name] = as === undefined ? [] : nameParts(as);
    const source = language === 'c' ? symbol : body;
    foreignBody(judge, language, name, { library, source });
  }
}

/** The statement's own text is not at hand; a header with the same names and result will do. */
function judgeLoose(judge: Judge, body: string, node: CreateFunctionStmt, what: string): void {
  const names = (node.parameters ?? []).flatMap((p) =>
    'FunctionParameter' in p && p.FunctionParameter.name !== undefined ? [p.FunctionParameter] : [],
  );
  const outputs = names.filter((p) => /OUT|TABLE/.test(p.mode ?? ''));
  const inputs = names.filter((p) => !/^FUNC_PARAM_(OUT|TABLE)$/.test(p.mode ?? ''));
  const quoted = (name: string | undefined) => `"${(name ?? '').replaceAll('"', '""')}"`;
  const returned = parts(node.returnType?.names);
  const last = returned[returned.length - 1] ?? 'void';
  const special =
    last === 'trigger' || last === 'event_trigger' || (last === 'void' && outputs.length === 0);
  const set = node.returnType?.setof === true ? 'setof ' : '';
  const table = outputs.map((p) => `${quoted(p.name)} record_of_someone`).join(', ');
  const args = inputs.map((p) => `${quoted(p.name)} record_of_someone`).join(', ');
  const result =
    outputs.length > 0 && set !== '' ? `table(${table})` : special ? last : `${set}record`;
  const declared = special
    ? ''
    : outputs.length > 0 && set === ''
      ? [args, outs(outputs.map((p) => quoted(p.name)))].filter((t) => t !== '').join(', ')
      : args;
  const procedure = node.is_procedure === true;
  const head = procedure
    ? `create procedure f(${declared})`
    : `create function f(${declared}) returns ${result}`;
  judgePlpgsql(judge, `${head} language plpgsql as '${body.replaceAll("'", "''")}'`, what);
}

function outs(names: readonly string[]): string {
  // Two outputs make the result a record, whatever their types.
  const all = names.length === 1 ? [...names, '"another output"'] : names;
  return all.map((name) => `out ${name} record_of_someone`).join(', ');
}

export function alterFunction(judge: Judge, node: AlterFunctionStmt): void {
  const names = parts(node.func?.objname);
  const name = names.at(-1) ?? '';
  judge.open('alter', 'ddl');
  judge.object('function', names.length > 1 ? (names[0] ?? null) : null, name, 'alter');
  // By another search path, or with another's rights, its names may mean something else.
  if (/"(set|security|support)"/.test(JSON.stringify(node.actions)))
    alteredCode(judge, 'function', name);
}

/** DO: the block runs now. */
export function doBlock(judge: Judge, args: readonly Node[] | undefined): void {
  const language = optionText(option(args, 'language')).toLowerCase() || 'plpgsql';
  judge.open('do', 'read');
  judge.findings.own_transaction = true;
  const body = optionText(option(args, 'as'));
  if (language !== 'plpgsql') {
    judge.opaque(`a DO block in language ${language}`);
    return;
  }
  const { times } = judge;
  const path = judge.root.moving ? null : judge.path;
  const inner = judge.inside({ via: [...judge.via, 'DO block'], body: true, times, path });
  if (isStandard(inner, body)) judgePlpgsql(inner, blockStatement(body), 'a DO block');
}
