// Triggers, rules, operators, aggregates, casts, operator classes: code that runs where no call of
// it is written.
// Invariant: until the catalog shows what is made here, whatever may run it is taken to do so.
import type {
  AlterOperatorStmt,
  AlterOpFamilyStmt,
  AlterPolicyStmt,
  CreateCastStmt,
  CreateOpClassStmt,
  CreatePolicyStmt,
  CreateTrigStmt,
  DefineStmt,
  Node,
  RuleStmt,
} from '@pgsql/types';
import type { WriteEvent } from '../statement.ts';
import { applyBuiltin, callOperator } from './call.ts';
import { option, runBy } from './ddl.ts';
import { DROPS, nameParts } from './drop.ts';
import { walk } from './expression.ts';
import { absorb, type Judge } from './judge.ts';
import {
  altered,
  alteredCode,
  alteredEverything,
  always,
  CASTS,
  EVENTS,
  placeOf,
} from './local.ts';
import { findFunctions, findRelation, parts } from './names.ts';
import { about } from './naming.ts';
import { routineFindings, takeIn } from './routine.ts';
import { EVENT_BIT } from './write.ts';

/** What an operator or aggregate is made of: functions, and other operators. */
const FUNCTIONS =
  `procedure function restrict join sfunc sfunc1 finalfunc combinefunc serialfunc deserialfunc
  msfunc minvfunc mfinalfunc`
    .trim()
    .split(/\s+/);
const OPERATORS = ['commutator', 'negator', 'sortop'];

/** Runs what an option names; some are written as a string. */
function byName(judge: Judge, arg: Node | undefined): void {
  if (arg === undefined) return;
  if ('TypeName' in arg) callByName(judge, arg.TypeName.names);
  else if ('String' in arg) callByName(judge, [arg]);
}

function operatorNamed(judge: Judge, names: readonly string[]): void {
  callOperator(judge, names.length > 1 ? (names[0] ?? null) : null, names.at(-1) ?? '');
}

export function define(judge: Judge, node: DefineStmt): void {
  const [kind] = DROPS[node.kind ?? 'OBJECT_TYPE'];
  const words = parts(node.defnames);
  const last = words.at(-1) ?? '';
  judge.open('create', 'ddl');
  judge.object(kind, words.length > 1 ? (words[0] ?? null) : null, last, 'create');
  if (node.kind !== 'OBJECT_OPERATOR' && node.kind !== 'OBJECT_AGGREGATE') return;
  const others = OPERATORS.flatMap((name) => {
    const arg = option(node.definition, name)?.arg;
    return arg === undefined ? [] : [nameParts(arg)];
  });
  const made = option(node.definition, 'stype')?.arg;
  const effects = runBy(judge, (inner) => {
    walk(inner, made);
    for (const name of FUNCTIONS) byName(inner, option(node.definition, name)?.arg);
    for (const names of others) operatorNamed(inner, names);
  });
  // An aggregate's first value is converted to its type, here and whenever it is used.
  if (node.kind === 'OBJECT_AGGREGATE') {
    walk(judge, made);
    return alteredCode(judge, 'function', last, effects);
  }
  // Planning may put an operator in the place of the one that it is the negator or commutator of.
  for (const name of [last, ...others.map((names) => names.at(-1) ?? '')])
    alteredCode(judge, 'operator', name, effects);
}

export function createCast(judge: Judge, node: CreateCastStmt): void {
  judge.open('create', 'ddl');
  const effects = runBy(judge, (inner) => {
    if (node.func !== undefined) callByName(inner, node.func.objname);
  });
  alteredEverything(judge, 'a cast', effects);
  // Calls may reach overloads that they could not reach before.
  alteredCode(judge, 'operator', CASTS, []);
}

export function createOperatorClass(judge: Judge, node: CreateOpClassStmt): void {
  judge.open('create', 'ddl');
  judge.object('operator', null, parts(node.opclassname).at(-1) ?? '', 'create');
  sortedBy(judge, node.items);
}

export function alterOperatorFamily(judge: Judge, node: AlterOpFamilyStmt): void {
  judge.open('alter', 'ddl');
  judge.object('operator', null, parts(node.opfamilyname).at(-1) ?? '', 'alter');
  sortedBy(judge, node.items);
}

/** Planning may put an operator in the place of the one that it is the negator or commutator of. */
export function alterOperator(judge: Judge, node: AlterOperatorStmt): void {
  const names = parts(node.opername?.objname);
  judge.open('alter', 'ddl');
  judge.object(
    'operator',
    names.length > 1 ? (names[0] ?? null) : null,
    names.at(-1) ?? '',
    'alter',
  );
  const others = OPERATORS.flatMap((name) => {
    const arg = option(node.options, name)?.arg;
    return arg === undefined ? [] : [nameParts(arg)];
  });
  const effects = runBy(judge, (inner) => {
    for (const other of [names, ...others]) operatorNamed(inner, other);
  });
  for (const other of others.length === 0 ? [] : [names, ...others])
    alteredCode(judge, 'operator', other.at(-1) ?? '', effects);
}

/** It is found under another schema from now on. */
export function movedOperator(judge: Judge, names: readonly string[]): void {
  const effects = runBy(judge, (inner) => operatorNamed(inner, names));
  alteredCode(judge, 'operator', names.at(-1) ?? '', effects);
}

function sortedBy(judge: Judge, items: readonly Node[] | undefined): void {
  const effects = runBy(judge, (inner) => {
    for (const item of items ?? []) {
      if (!('CreateOpClassItem' in item) || item.CreateOpClassItem.name === undefined) continue;
      const { name, itemtype } = item.CreateOpClassItem;
      if (itemtype === 2) callByName(inner, name.objname);
      else operatorNamed(inner, parts(name.objname));
    }
  });
  alteredEverything(judge, 'an operator class', effects);
}

export function createTrigger(judge: Judge, node: CreateTrigStmt): void {
  const draft = judge.open('create', 'ddl');
  const range = node.relation;
  const meaning = findRelation(judge, range?.schemaname ?? null, range?.relname ?? '');
  judge.object('trigger', meaning.schema, node.trigname ?? '', 'create');
  judge.object('table', meaning.schema, meaning.name, 'alter');
  const effects = runBy(judge, (inner) => {
    callByName(inner, node.funcname);
    walk(inner, node.whenClause);
  });
  judge.draft = draft;
  const events = EVENTS.filter((event) => ((node.events ?? 0) & EVENT_BIT[event]) !== 0);
  altered(judge, meaning, always(effects, events));
}

/** A function that will be called by what is being made. */
export function callByName(judge: Judge, funcname: readonly Node[] | undefined): void {
  const names = parts(funcname);
  const name = names[names.length - 1] ?? '';
  const schema = names.length > 1 ? (names[0] ?? null) : null;
  const meaning = findFunctions(judge, schema, name);
  if (meaning.builtin === null) judge.object('function', schema, name, 'execute');
  for (const routine of meaning.routines)
    takeIn(judge, routineFindings(judge, routine), [`function ${name}`]);
  if (meaning.local !== null) absorb(judge, meaning.local.on_read, [`function ${name}`]);
  if (meaning.builtin?.effect != null) applyBuiltin(judge, name, meaning.builtin.effect, []);
  if (meaning.routines.length === 0 && meaning.local === null && meaning.builtin === null) {
    judge.opaque(`function ${names.join('.')} is not in the catalog`);
  }
}

export function createRule(judge: Judge, node: RuleStmt): void {
  const draft = judge.open('create', 'ddl');
  const meaning = findRelation(
    judge,
    node.relation?.schemaname ?? null,
    node.relation?.relname ?? '',
  );
  judge.object('rule', meaning.schema, node.rulename ?? '', 'create');
  judge.object('table', meaning.schema, meaning.name, 'alter');
  const effects = runBy(judge, (inner) => {
    walk(inner, node.whereClause);
    walk(inner, node.actions);
  });
  judge.draft = draft;
  const event = RULE_EVENTS[node.event ?? 'CMD_SELECT'];
  // A rule on SELECT makes the table a view.
  altered(judge, meaning, event === undefined ? undefined : always(effects, [event]));
}

const RULE_EVENTS: { readonly [command: string]: WriteEvent } = {
  CMD_INSERT: 'insert',
  CMD_UPDATE: 'update',
  CMD_DELETE: 'delete',
};

/** Rows are looked at through its conditions from now on. */
export function policy(
  verb: 'create' | 'alter',
): (judge: Judge, node: CreatePolicyStmt | AlterPolicyStmt) => void {
  return (judge, { table, policy_name = '', qual, with_check }) => {
    judge.open(verb, 'admin');
    about(judge, table, 'alter');
    judge.object('policy', null, policy_name, verb);
    const effects = runBy(judge, (inner) => walk(inner, [qual, with_check]));
    altered(judge, placeOf(table), always(effects), effects);
  };
}
