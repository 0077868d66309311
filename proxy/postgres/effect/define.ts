// Operators, aggregates, casts, operator classes: code that runs where no call of it is written.
// Invariant: until the catalog shows what is made here, whatever may run it is taken to do so.
import type { CreateCastStmt, CreateOpClassStmt, DefineStmt, Node } from '@pgsql/types';
import { callOperator } from './call.ts';
import { callByName, option, runBy } from './ddl.ts';
import { DROPS, nameParts } from './drop.ts';
import { walk } from './expression.ts';
import type { Judge } from './judge.ts';
import { alteredCode, alteredEverything, CASTS } from './local.ts';
import { parts } from './names.ts';

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
  const effects = runBy(judge, (inner) => {
    for (const name of FUNCTIONS) byName(inner, option(node.definition, name)?.arg);
    for (const names of others) operatorNamed(inner, names);
  });
  // An aggregate's first value is converted to its type.
  if (node.kind === 'OBJECT_AGGREGATE') walk(judge, option(node.definition, 'stype')?.arg);
  if (node.kind === 'OBJECT_AGGREGATE') return alteredCode(judge, 'function', last, effects);
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
  const effects = runBy(judge, (inner) => {
    for (const item of node.items ?? []) {
      if (!('CreateOpClassItem' in item) || item.CreateOpClassItem.name === undefined) continue;
      const { name, itemtype } = item.CreateOpClassItem;
      if (itemtype === 2) callByName(inner, name.objname);
      else operatorNamed(inner, parts(name.objname));
    }
  });
  alteredEverything(judge, 'an operator class', effects);
}
