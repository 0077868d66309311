// What a function's body does: SQL, PL/pgSQL, C and internal functions, aggregates.
// Invariant: a body that can't be read through is `unknown`; one that calls itself adds nothing to
// itself.

import { EFFECT_LIMITS } from '../../limits.ts';
import type { CatalogSnapshot, Routine } from '../catalog/snapshot.ts';
import { ParseFailure, parse } from '../parser.ts';
import { type BuiltinEffect, builtinBehind, builtinNamed } from './builtins.ts';
import { applyBuiltin } from './call.ts';
import { splitNames } from './context.ts';
import { asEscaped } from './escapes.ts';
import { walk } from './expression.ts';
import { absorb, Budget, type Findings, type Judge, newDraft, noFindings } from './judge.ts';
import { libraryEffect } from './libraries.ts';
import { counts, DEPARSED_PATH, localNamed, searchPath } from './names.ts';
import { judgePlpgsql } from './plpgsql.ts';
import { STRINGS } from './settings.ts';
import { judgeStatement } from './statements.ts';
import { meetAgain, meetType } from './type.ts';

/** Parsing two characters costs about as much as judging a node, as a power of two. */
const CHARACTERS_A_NODE = 1;

const memos = new WeakMap<CatalogSnapshot, Map<string, Findings>>();

const paths = new WeakMap<readonly string[], string>();

/** A search path as part of a key. */
export function pathKey(path: readonly string[] | null): string {
  if (path === null) return '*';
  let key = paths.get(path);
  if (key === undefined) {
    // Names may hold any sign that would keep them apart.
    key = JSON.stringify(path);
    paths.set(path, key);
  }
  return key;
}

/** Remembers findings that depend on the catalog and the path alone. */
export function remembered(
  judge: Judge,
  key: string,
  find: (findings: Findings) => void,
): Findings {
  const { root } = judge;
  // With things of the session's own about, names may mean something else for others.
  const memo = root.catalog !== null && isShared(judge) ? memoOf(root.catalog) : null;
  if (root.progress?.open.has(key)) {
    root.progress.cut.add(key);
    return noFindings();
  }
  const known = memo?.get(key);
  if (known !== undefined) return known;
  const progress = (root.progress ??= { open: new Set(), cut: new Set(), found: new Map() });
  const part = progress.found.get(key);
  if (part !== undefined && [...part.cut].every((open) => progress.open.has(open))) {
    for (const open of part.cut) progress.cut.add(open);
    return part.findings;
  }
  if (root.depth >= EFFECT_LIMITS.depth)
    throw new Budget('functions, views and triggers are nested too deeply');
  const findings = noFindings();
  const outer = progress.cut;
  const cut = new Set<string>();
  progress.cut = cut;
  progress.open.add(key);
  root.depth += 1;
  const nodes = root.nodes;
  try {
    find(findings);
  } finally {
    progress.open.delete(key);
    root.depth -= 1;
    progress.cut = outer;
  }
  // What reaches itself may run any number of times.
  if (cut.delete(key)) for (const draft of findings.effects) draft.rows_max = null;
  // What was found inside a cycle lacks what the cycle's outer part does: whole answers are kept
  // for others, such a part for this judgement only.
  if (cut.size === 0 && memo !== null) {
    if (memo.size >= EFFECT_LIMITS.cache_found) memo.clear();
    memo.set(key, findings);
  }
  progress.found.set(key, { findings, cut });
  for (const open of cut) outer.add(open);
  root.nodes = Math.min(root.nodes, nodes + 1000);
  return findings;
}

/** The session has nothing of its own that names could mean. */
function isShared(judge: Judge): boolean {
  const { local, temporary } = judge.root.session;
  if (!readsAlike(judge)) return false;
  if (local.size === 0) return temporary.size === 0;
  return temporary.size === 0 && ![...local.values()].some((object) => counts(judge, object));
}

function memoOf(catalog: CatalogSnapshot): Map<string, Findings> {
  let memo = memos.get(catalog);
  if (memo === undefined) memos.set(catalog, (memo = new Map()));
  return memo;
}

/**
 * A judge for something reached: its own findings and draft, so that they can be remembered apart
 * from who asks.
 */
export function apart(
  judge: Judge,
  findings: Findings,
  path: readonly string[] | null,
  times: number | null = null,
): Judge {
  const draft = newDraft();
  findings.effects.push(draft);
  const inner = judge.inside({
    findings,
    draft,
    path,
    runtime: path,
    via: [],
    planning: false,
    body: true,
    times,
  });
  inner.variables = new Map();
  return inner;
}

export function labelOf(routine: Routine): string {
  return `${routine.schema}.${routine.name}`;
}

function bodyPath(judge: Judge, routine: Routine): readonly string[] | null {
  if (judge.root.moving) return null;
  const setting = routine.settings?.find((s) => s.startsWith('search_path='));
  const { session } = judge.root;
  const owner = routine.owner.replace(/^"(.*)"$/, '$1');
  const context = routine.definer ? { ...session, role: owner } : session;
  if (setting !== undefined)
    return searchPath(context, splitNames(setting.slice('search_path='.length)));
  if (routine.definer && session.search_path?.includes('$user'))
    return searchPath(context, session.search_path);
  return judge.runtime;
}

/** Everything running this function may do, its own name left to the caller. */
export function routineFindings(
  judge: Judge,
  routine: Routine,
  operation: string | null = null,
): Findings {
  const path = bodyPath(judge, routine);
  const key = `f${routine.oid} ${operation ?? ''} ${pathKey(path)}`;
  return remembered(judge, key, (findings) => {
    const inner = apart(judge, findings, path, 1);
    inner.operation = operation;
    inner.variables = parametersOf(judge, routine);
    judgeBody(inner, routine);
    // Those in C are what types are compared and converted by: theirs are looked at in calls alone.
    if (routine.language !== 'c' && routine.language !== 'internal') typesOf(inner, routine);
    const own = routine.settings ?? [];
    if (own.length > 0) dropOwnSettings(findings, own);
    if (routine.support !== '0') absorbFunction(inner, routine.support, []);
    const local = localNamed(inner, 'function', routine.name);
    if (local !== null) absorb(inner, local.on_read, []);
    if (routine.default_expressions !== null) {
      expressionText(inner.inside({ path: DEPARSED_PATH }), routine.default_expressions);
    }
  });
}

/** Parameters by number and by name, with their types. */
function parametersOf(judge: Judge, routine: Routine): ReadonlyMap<string, readonly string[]> {
  const typeNamed = (oid: string) => judge.catalog?.types.get(oid)?.name ?? 'record';
  const found = new Map<string, readonly string[]>();
  routine.arguments.forEach((oid, index) => {
    found.set(`$${index + 1}`, [typeNamed(oid)]);
  });
  const all = routine.all_arguments ?? routine.arguments;
  routine.names?.forEach((name, index) => {
    if (name !== '') found.set(name, [typeNamed(all[index] ?? '0')]);
  });
  return found;
}

/** Arguments and results are converted to their types: domains check them, ranges compare. */
export function typesOf(judge: Judge, routine: Routine): void {
  for (const type of [...(routine.all_arguments ?? routine.arguments), routine.result])
    meetType(judge, type, 'made');
}

/** Settings that the function itself declares are put back when it ends. */
function dropOwnSettings(findings: Findings, own: readonly string[]): void {
  const names = new Set(own.map((setting) => setting.split('=')[0]));
  const kept = findings.changes.filter(
    (change) => change.kind !== 'set' || !names.has(change.name),
  );
  findings.changes.splice(0, findings.changes.length, ...kept);
}

function judgeBody(judge: Judge, routine: Routine): void {
  for (const setting of routine.settings ?? []) {
    const [name = '', value] = setting.split('=');
    if (name === STRINGS && value !== 'on') judge.opaque(`${labelOf(routine)} sets ${name}`);
  }
  if (routine.kind === 'a') {
    for (const part of routine.parts ?? [])
      if (part !== null && part !== '0') absorbFunction(judge, part, []);
    return;
  }
  switch (routine.language) {
    case 'sql':
      return sqlBody(judge, routine.body, routine.source);
    case 'plpgsql':
      if (!isStandard(judge, routine.source)) return;
      return judgePlpgsql(judge, routine.definition ?? '', `function ${labelOf(routine)}`);
    default:
      return foreignBody(judge, routine.language, labelOf(routine), routine);
  }
}

/** Code of the server's own, or of a library. */
export function foreignBody(
  judge: Judge,
  language: string,
  name: string,
  { library, source }: Pick<Routine, 'library' | 'source'>,
): void {
  const effect =
    language === 'internal'
      ? builtinBehind(source)?.effect
      : language === 'c'
        ? libraryEffect(library, source)
        : undefined;
  if (effect === null) return;
  if (effect !== undefined) applyBuiltin(judge, name, effect, []);
  else if (language === 'internal') judge.opaque(`internal function ${source} is not known`);
  else if (language === 'c')
    judge.opaque(`function ${name} is in C, from ${library ?? 'an unknown library'}`);
  else judge.opaque(`function ${name} is in language ${language}`);
}

/** A body in SQL: BEGIN ATOMIC or RETURN as deparsed, or a text of statements. */
export function sqlBody(judge: Judge, body: string | null, source: string): void {
  if (body === null || body === '') {
    statementsText(judge, source);
    return;
  }
  const text = `create function f() returns void language sql ${body}`;
  reading(judge, text, () => {
    const statement = parse(text).stmts?.[0]?.stmt;
    if (statement === undefined || !('CreateFunctionStmt' in statement))
      throw new Budget('a body without statements');
    const inner = judge.inside({ path: DEPARSED_PATH, times: judge.times });
    walk(inner, statement.CreateFunctionStmt.sql_body);
  });
}

/** Literals in bodies are surely read by the standard, now and when the server kept them. */
function readsAlike({ root: { session } }: Judge): boolean {
  return session.standard_conforming_strings === true && !session.escaped_bodies;
}

/** Otherwise text that is read as it runs is understood only where that makes no difference. */
export function isStandard(judge: Judge, text: string): boolean {
  if (readsAlike(judge) || !text.includes('\\')) return true;
  if (asEscaped(text)?.marks.length === 0) return true;
  judge.opaque(`a backslash in a string means something else: ${STRINGS}`);
  return false;
}

/** Text of whole statements. */
export function statementsText(judge: Judge, text: string): void {
  if (!isStandard(judge, text)) return;
  reading(judge, text, () => {
    for (const raw of parse(text).stmts ?? []) {
      if (raw.stmt !== undefined) judgeStatement(judge, raw.stmt);
    }
  });
}

/** Text of one or more expressions. */
export function expressionText(judge: Judge, text: string): void {
  reading(judge, text, () => {
    for (const raw of parse(`select ${text}`).stmts ?? []) walk(judge, raw.stmt);
  });
}

function reading(judge: Judge, text: string, work: () => void): void {
  judge.visit(text.length >> CHARACTERS_A_NODE);
  try {
    work();
  } catch (error) {
    if (!(error instanceof ParseFailure)) throw error;
    judge.opaque(`text that can't be parsed (${error.message})`);
  }
}

/**
 * Runs a function known by its OID on behalf of something else (an operator, a cast, a trigger).
 */
export function absorbFunction(
  judge: Judge,
  oid: string,
  via: readonly string[],
  operation: string | null = null,
  times: number | null = null,
): void {
  const routine = judge.catalog?.routines.get(oid);
  if (routine !== undefined) {
    const found = routineFindings(judge, routine, operation);
    takeIn(judge, found, [...via, `function ${labelOf(routine)}`], times);
    return;
  }
  const name = judge.catalog?.builtins.get(oid);
  const builtin = name === undefined ? undefined : builtinNamed(name);
  if (builtin?.effect == null) return;
  applyBuiltin(judge.inside({ via: [...judge.via, ...via] }), builtin.name, builtin.effect, []);
}

/** Takes findings made apart into those of the one who asked, at most so many times. */
export function takeIn(
  judge: Judge,
  findings: Findings,
  via: readonly string[],
  times: number | null = null,
  together?: (a: number, b: number) => number,
): void {
  absorb(judge, findings.effects, via, times, together);
  for (const change of findings.changes) {
    if (!judge.findings.changes.includes(change)) judge.findings.changes.push(change);
  }
  if (findings.types.size > 0) meetAgain(judge, findings.types);
  if (findings.needs_read_write) judge.findings.needs_read_write = true;
  if (findings.moves) judge.findings.moves = true;
  if (findings.makes) judge.findings.makes = true;
  if (findings.on_parse) judge.findings.on_parse = true;
  if (findings.own_transaction) judge.findings.own_transaction = true;
}

export type { BuiltinEffect };
