// Calls: of functions by name, of operators, of functions written as columns.
// Invariant: a call that may run something unknown is `unknown`; every overload it could reach
// counts.
import type { FuncCall, Node, SelectStmt } from '@pgsql/types';
import type { Operator, Routine } from '../catalog/snapshot.ts';
import { type BuiltinEffect, builtinBehind, builtinNamed } from './builtins.ts';
import { type Constant, constant } from './fold.ts';
import { overloads, rowType, sourceNamed, typeOf } from './infer.ts';
import { absorb, type Judge, type Scope } from './judge.ts';
import { libraryEffect } from './libraries.ts';
import {
  findFunctions,
  findOperators,
  findRelation,
  findTypes,
  localNamed,
  parts,
} from './names.ts';
import { isLooped } from './operand.ts';
import { absorbFunction, labelOf, routineFindings, takeIn, typesOf } from './routine.ts';
import { rangeVar, runText } from './sql-text.ts';
import { callTimes, makesRows, tellsApart } from './times.ts';
import { meetType } from './type.ts';

function isFlexible(args: readonly Node[], node: FuncCall): boolean {
  return node.func_variadic === true || args.some((arg) => 'NamedArgExpr' in arg);
}

export function callFunction(judge: Judge, node: FuncCall): void {
  const names = parts(node.funcname);
  const name = names[names.length - 1] ?? '';
  const schema = names.length > 1 ? (names[names.length - 2] ?? null) : null;
  const meaning = findFunctions(judge, schema, name);
  const args = node.args ?? [];
  const converts = args.length === 1 && convert(judge, schema === null ? [name] : [schema, name]);
  if (meaning.routines.length === 0 && meaning.local === null) {
    // The usual case: a built-in function that no user function shares its name with.
    const builtin = meaning.builtin;
    if (builtin !== null) {
      if (builtin.effect !== null && builtinRuns(judge, builtin.volatility)) {
        applyBuiltin(judge, name, builtin.effect, args, node);
      }
      return;
    }
    if (schema === 'information_schema' || converts) return;
    missing(judge, schema, name, args);
    return;
  }
  // WITHIN GROUP (ORDER BY …) holds arguments too.
  const ordered = node.agg_within_group === true ? (node.agg_order ?? []) : [];
  const given = [...args.map((arg) => typeOf(judge, arg)), ...ordered.map(() => null)];
  const flexible =
    isFlexible(args, node) || node.agg_within_group === true || node.agg_star === true;
  const reached = overloads(judge, meaning, given, flexible);
  if (meaning.local !== null) absorb(judge, meaning.local.on_read, [`function ${name}`]);
  if (
    reached.builtin &&
    meaning.builtin?.effect != null &&
    builtinRuns(judge, meaning.builtin.volatility)
  ) {
    applyBuiltin(judge, name, meaning.builtin.effect, args, node);
  }
  for (const routine of reached.routines) callRoutine(judge, routine, args, node);
  const none = reached.routines.length === 0 && !reached.builtin && meaning.local === null;
  // `typename(x)` is a cast, `column(row)` a field: neither calls a function of that name.
  if (none && !converts) missing(judge, schema, name, args);
}

/**
 * Planning folds what is labelled immutable and estimates with what is labelled stable; volatile
 * calls wait.
 */
function builtinRuns(judge: Judge, volatility: string): boolean {
  return !judge.planning || volatility !== 'v';
}

function missing(judge: Judge, schema: string | null, name: string, args: readonly Node[]): void {
  if (args.length === 1 && schema === null && isField(judge, args[0], name)) return;
  const told = schema === null ? name : `${schema}.${name}`;
  judge.object('function', schema, name, 'execute');
  judge.opaque(
    judge.catalog === null
      ? `function ${told} can't be looked up without the catalog`
      : `function ${told} is not in the catalog`,
    'call',
  );
}

/** A call that is only planned: what it would touch is told, and nothing of it happens. */
function named(judge: Judge, routine: Routine): void {
  for (const effect of routineFindings(judge, routine).effects) {
    for (const object of effect.objects) {
      const via = [`function ${labelOf(routine)}`, ...object.via];
      judge.object(object.kind, object.schema, object.name, 'read', { via });
    }
  }
}

/** A user's function runs. */
export function callRoutine(
  judge: Judge,
  routine: Routine,
  args: readonly Node[],
  call?: FuncCall,
): void {
  judge.object('function', routine.schema, routine.name, 'execute', { identity: routine.identity });
  if (judge.planning && routine.volatility === 'v' && routine.language !== 'sql') {
    named(judge, routine);
    return;
  }
  const before = judge.findings.effects.length;
  runRoutine(judge, routine, args, call);
  if (args.some(namesRow) || makesRows(judge, args)) onceForEachRow(judge, before, args);
}

function runRoutine(
  judge: Judge,
  routine: Routine,
  args: readonly Node[],
  call: FuncCall | undefined,
): void {
  // An aggregate is its parts: all of them name the same internal function.
  if (routine.kind !== 'a' && (routine.language === 'c' || routine.language === 'internal')) {
    const effects = routineFindings(judge, routine);
    // With the arguments at hand, the file or slot that it names can be told.
    const known = judge.inside({ via: [...judge.via, `function ${labelOf(routine)}`] });
    if (args.length === 0 || !describeForeign(known, routine, args))
      takeIn(judge, effects, [`function ${labelOf(routine)}`]);
    typesOf(judge, routine);
    return;
  }
  // Planning may call what is not volatile, any number of times.
  const times = routine.volatility === 'v' ? callTimes(judge, call) : null;
  takeIn(judge, routineFindings(judge, routine), [`function ${labelOf(routine)}`], times);
}

/** Called with what differs from row to row of a whole table, its changes add up to all rows. */
function onceForEachRow(judge: Judge, from: number, args: readonly Node[]): void {
  const { scope } = judge;
  const drafts = judge.findings.effects
    .slice(from)
    .filter(({ verb }) => verb === 'delete' || verb === 'update');
  if (scope === null || drafts.length === 0) return;
  const several = makesRows(judge, args) || isLooped(judge, args);
  if (!several && isTold(judge, scope)) return;
  for (const draft of drafts) {
    draft.scoped = false;
    draft.rows_max = null;
    judge.worsen(draft, 'destructive');
  }
}

/** Neither the query that a call stands in nor one around it goes through a whole table. */
function isTold(judge: Judge, { query, sources, parent }: Scope): boolean {
  if (sources.length > 0 && (query === undefined || !isApart(judge, query))) return false;
  return parent?.query === undefined || isTold(judge, parent);
}

const apart = new WeakMap<SelectStmt, { readonly root: Judge['root']; readonly told: boolean }>();

/** Asked once for all calls of a query. */
function isApart(judge: Judge, query: SelectStmt): boolean {
  const { root } = judge;
  let known = apart.get(query);
  if (known?.root !== root) apart.set(query, (known = { root, told: tellsApart(judge, query) }));
  return known.told;
}

function namesRow(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return 'ColumnRef' in value || Object.values(value).some(namesRow);
}

function describeForeign(judge: Judge, routine: Routine, args: readonly Node[]): boolean {
  const effect = foreignEffect(routine);
  if (effect == null) return false;
  applyBuiltin(judge, routine.name, effect, args);
  return true;
}

/** Runs a built-in (or C) function whose effect is known. */
export function applyBuiltin(
  judge: Judge,
  name: string,
  effect: BuiltinEffect,
  args: readonly Node[],
  call?: FuncCall,
): void {
  if (effect.runs !== null) runText(judge, name, effect.runs, args);
  if (effect.class === 'unknown') {
    judge.opaque(`function ${name} is not understood`, 'call');
    return;
  }
  if (effect.class === 'read') return;
  judge.findings.needs_read_write ||= effect.class !== 'session';
  const draft = judge.aside(effect.verb, effect.class);
  if (effect.verb === 'nextval') draft.rows_max = callTimes(judge, call);
  if (effect.verb === 'notify') draft.rows_max = 0;
  const target = effect.argument < 0 ? null : argumentName(judge, args[effect.argument]);
  const before = judge.draft;
  judge.draft = draft;
  if (target !== null && (effect.kind === 'table' || effect.kind === 'sequence')) {
    relationNamed(judge, effect, target);
  } else if (target !== null) judge.object(effect.kind, null, target, effect.access);
  else if (effect.kind === 'sequence') anySequence(judge, effect);
  else judge.object('function', 'pg_catalog', name, 'execute');
  judge.draft = before;
  if (effect.verb === 'delete' || effect.kind === 'sequence') draft.scoped = target !== null;
}

/** Which one is computed: it may be any. */
function anySequence(judge: Judge, effect: BuiltinEffect): void {
  for (const relation of judge.catalog?.relations.values() ?? [])
    if (relation.kind === 'S') judge.relation(relation, effect.access);
}

/** An argument of type regclass names a relation as SQL would. */
function relationNamed(judge: Judge, effect: BuiltinEffect, text: string): void {
  const named = rangeVar(text);
  const meaning = named === null ? null : findRelation(judge, named.schema, named.name);
  for (const relation of meaning?.relations ?? []) judge.relation(relation, effect.access);
  if (meaning === null || meaning.relations.length === 0) {
    judge.object(effect.kind, meaning?.schema ?? null, meaning?.name ?? text, effect.access);
  }
}

function argumentName(judge: Judge, node: Node | undefined): string | null {
  const value: Constant | null = constant(node);
  if (value === null || value.kind === 'null') return null;
  judge.root.literal = true;
  return String(value.value);
}

/** An operator by name: the functions behind every user-made one it could mean. */
export function callOperator(
  judge: Judge,
  schema: string | null,
  name: string,
  left?: Node,
  right?: Node,
): void {
  if (judge.catalog === null) return;
  const local = localNamed(judge, 'operator', name);
  if (local !== null) absorb(judge, local.on_read, [`operator ${name}`]);
  const found = findOperators(judge, schema, name);
  if (found.length === 0) return;
  const types = [
    left === undefined ? null : typeOf(judge, left),
    right === undefined ? null : typeOf(judge, right),
  ];
  for (const operator of found) {
    if (possible(judge, operator, types)) runOperator(judge, operator);
  }
}

function possible(
  judge: Judge,
  operator: Operator,
  [left, right]: readonly (string | null)[],
): boolean {
  const wanted = [operator.left, operator.right].filter((type) => type !== '0');
  const given = [left ?? null, right ?? null].slice(2 - wanted.length);
  const meaning = { routines: [], builtin: null, local: null, schema: null, name: operator.name };
  const stand = { arguments: wanted, defaults: 0, variadic: '0' };
  return (
    overloads(judge, { ...meaning, routines: [stand as unknown as Routine] }, given, false).routines
      .length > 0
  );
}

function runOperator(judge: Judge, operator: Operator): void {
  const via = [`operator ${operator.schema}.${operator.name}`];
  for (const code of [operator.code, ...operator.with, ...(operator.support ?? [])]) {
    if (code !== null && code !== '0') absorbFunction(judge, code, via);
  }
}

/** `row.name`: a call, when `name` is not a column of the row; a row may be a single value. */
export function fieldCall(judge: Judge, qualifier: string | null, name: string): void {
  if (builtinNamed(name)?.effect == null && !isUsers(judge, name)) return;
  const source = qualifier === null ? null : sourceNamed(judge.scope, qualifier);
  if (source?.columns?.has(name)) return;
  const before = judge.findings.effects.length;
  callWith(judge, source?.relation == null ? null : rowType(judge, source.relation.oid), name, []);
  onceForEachRow(judge, before, []);
}

/** Users made a function or a type of this name. */
function isUsers({ catalog, root }: Judge, name: string): boolean {
  if (root.session.local.size > 0) return true;
  return catalog !== null && (catalog.routines_named.has(name) || catalog.types_named.has(name));
}

/** The value is surely a row with a column of that name. */
function isField(judge: Judge, value: Node | undefined, name: string): boolean {
  const type = judge.catalog?.types.get(typeOf(judge, value) ?? '');
  const row = judge.catalog?.relations.get(type?.relation ?? '');
  return row?.columns.some((column) => column.name === name) ?? false;
}

/**
 * `(value).name`: a field of the value, or a call with it. Any function of one argument can be
 * called so, those of PostgreSQL's own included.
 */
export function selectedCall(judge: Judge, value: Node | undefined, name: string): void {
  const type = value === undefined ? null : typeOf(judge, value);
  if (isField(judge, value, name)) return;
  callWith(judge, type, name, value === undefined ? [] : [value]);
}

/** Calls whatever has this name with one value of the type; null: of any. */
function callWith(judge: Judge, type: string | null, name: string, args: readonly Node[]): void {
  const meaning = findFunctions(judge, null, name);
  const { builtin, local } = meaning;
  convert(judge, [name]);
  if (local !== null) absorb(judge, local.on_read, [`function ${name}`]);
  if (builtin?.effect != null && builtinRuns(judge, builtin.volatility))
    applyBuiltin(judge, name, builtin.effect, args);
  if (meaning.routines.length === 0) return;
  for (const routine of overloads(judge, meaning, [type], false).routines)
    callRoutine(judge, routine, args);
}

/** `typename(x)` is a cast. */
function convert(judge: Judge, name: readonly string[]): boolean {
  if (judge.catalog?.types_named.has(name[name.length - 1] ?? '') !== true) return false;
  const types = findTypes(judge, name);
  for (const type of types) meetType(judge, type.oid, 'made');
  return types.length > 0;
}

/** What is syntax for newer servers only: `since` is a major version. */
export function formerCall(judge: Judge, since: number, names: readonly string[]): void {
  const { catalog } = judge;
  if (catalog === null || catalog.server_version >= since * 10_000) return;
  for (const name of names)
    for (const routine of catalog.routines_named.get(name) ?? []) callRoutine(judge, routine, []);
}

/** A function reached by name alone, such as a sampling method. */
export function callSupport(judge: Judge, names: readonly string[]): void {
  const name = names[names.length - 1] ?? '';
  const schema = names.length > 1 ? (names[0] ?? null) : null;
  const meaning = findFunctions(judge, schema, name);
  for (const routine of meaning.routines) callRoutine(judge, routine, []);
  if (meaning.routines.length === 0 && builtinNamed(name) === undefined)
    missing(judge, schema, name, []);
}

function foreignEffect(routine: Routine): BuiltinEffect | null | undefined {
  return routine.language === 'internal'
    ? builtinBehind(routine.source)?.effect
    : libraryEffect(routine.library, routine.source);
}
