// Types met in a statement: domains with checks, casts and operator classes made by users.
// Invariant: user code that PostgreSQL runs because of a value's type is found by the type,
// wherever the value comes from.
import type { TypeName } from '@pgsql/types';
import { type Cast, type CatalogSnapshot, FIRST_USER_OID, type Type } from '../catalog/snapshot.ts';
import { absorb, type Judge } from './judge.ts';
import { DEPARSED_PATH, findRelation, findTypes, localNamed, parts } from './names.ts';
import { absorbFunction, apart, expressionText, pathKey, remembered, takeIn } from './routine.ts';

/**
 * How a type is met. `seen`: values of it are there, to be compared and sorted. `made`: something
 * is converted to it, so that a domain's checks and explicit casts run.
 */
export type Meeting = 'seen' | 'made';

/** A type is named: something is converted to it. */
export function meetTypeName(judge: Judge, node: TypeName | undefined): void {
  const { catalog } = judge;
  if (node === undefined) return;
  // A row of a table made a moment ago: what is put in it is what an INSERT would check.
  const own = localNamed(judge, 'relation', parts(node.names).at(-1) ?? '');
  const locals = own === null ? [] : findRelation(judge, own.schema, own.name).locals;
  for (const { on, effects } of locals.flatMap(({ on_write }) => on_write))
    if (on.includes('insert')) absorb(judge, effects, ['type of a new table']);
  if (catalog === null || eventful(catalog).size === 0) return;
  ambientCasts(judge, catalog);
  for (const type of findTypes(judge, parts(node.names))) meetType(judge, type.oid, 'made');
}

/** Types that user code hangs on; most databases have none. */
function eventful(catalog: CatalogSnapshot): Set<string> {
  let types = eventfulTypes.get(catalog);
  if (types !== undefined) return types;
  types = new Set();
  const code = (oid: string) => catalog.routines.has(oid) || catalog.builtins.has(oid);
  for (const type of catalog.types.values()) {
    const own = catalog.classes.get(type.class)?.functions ?? [];
    const compares = own.some(code) || type.functions.some(code);
    if (type.checks.length > 0 || type.preset !== null || compares) types.add(type.oid);
  }
  for (const opclass of catalog.classes.values()) {
    if (opclass.functions.some(code)) types.add(opclass.type);
  }
  for (const cast of catalog.casts) {
    if (!code(cast.function) || (isBuiltin(cast.source) && isBuiltin(cast.function))) continue;
    types.add(cast.source);
    types.add(cast.target);
  }
  eventfulTypes.set(catalog, types);
  return types;
}
const eventfulTypes = new WeakMap<CatalogSnapshot, Set<string>>();

/** User code hangs on a type of this name, whichever one is meant but the one that is gone. */
export function isEventful(judge: Judge, names: readonly string[], gone: Type | null): boolean {
  const { catalog } = judge;
  if (catalog === null) return true;
  const named = catalog.types_named.get(names.at(-1) ?? '') ?? [];
  return named.some((type) => type !== gone && madeOf(catalog, type.oid).length > 0);
}

function isBuiltin(oid: string): boolean {
  return Number(oid) < FIRST_USER_OID;
}

const made = (oid: string) => `${oid} made`;

/** Finds what runs because of a type, and of the types that it is made of. */
export function meetType(judge: Judge, oid: string, met: Meeting): void {
  const { catalog } = judge;
  if (catalog === null) return;
  const { types } = judge.findings;
  const meeting = isWhole(catalog, oid) ? 'made' : met;
  for (const at of madeOf(catalog, oid)) {
    if (types.has(meeting === 'made' ? made(at) : at)) continue;
    const first = !types.has(at);
    types.add(at);
    if (meeting === 'made') types.add(made(at));
    runType(judge, catalog, at, first, meeting);
  }
}

/** The type and those that it is made of, as far as user code hangs on them: mostly none. */
function madeOf(catalog: CatalogSnapshot, oid: string): readonly string[] {
  let known = partsOf.get(catalog);
  if (known === undefined) partsOf.set(catalog, (known = new Map()));
  let found = known.get(oid);
  if (found === undefined) {
    const all = new Set<string>();
    gather(catalog, oid, all);
    found = [...all].filter((at) => eventful(catalog).has(at));
    known.set(oid, found);
  }
  return found;
}
/** A function of a user's converts values of the type wherever they meet those of another. */
export function isConverted(catalog: CatalogSnapshot, oid: string): boolean {
  let sources = converted.get(catalog);
  if (sources === undefined) {
    const own = catalog.casts.filter(({ context, function: code }) => {
      return context === 'i' && catalog.routines.get(code)?.extension === null;
    });
    converted.set(catalog, (sources = new Set(own.map(({ source }) => source))));
  }
  return sources.has(oid);
}
const converted = new WeakMap<CatalogSnapshot, ReadonlySet<string>>();

/** A literal beside an array, a row or a range is made one, with the domains in it. */
function isWhole(catalog: CatalogSnapshot, oid: string): boolean {
  const type = catalog.types.get(oid);
  return type !== undefined && (type.category === 'A' || /^[crm]$/.test(type.kind));
}

const partsOf = new WeakMap<CatalogSnapshot, Map<string, readonly string[]>>();

function gather(catalog: CatalogSnapshot, oid: string, all: Set<string>): void {
  if (oid === '0' || all.has(oid)) return;
  all.add(oid);
  const type = catalog.types.get(oid);
  if (type === undefined) return;
  if (type.kind === 'c') {
    for (const column of catalog.relations.get(type.relation)?.columns ?? []) {
      gather(catalog, column.type, all);
    }
  }
  gather(catalog, type.base, all);
  gather(catalog, type.element, all);
}

/**
 * Types that something reached has met; what they run by themselves was found there. A cast is not:
 * its one type may have been met there, and its other one here.
 */
export function meetAgain(judge: Judge, types: ReadonlySet<string>): void {
  const { catalog } = judge;
  if (catalog === null) return;
  const known = judge.findings.types;
  const fresh = [...types].filter((entry) => !known.has(entry));
  for (const entry of fresh) known.add(entry);
  for (const entry of fresh) {
    const [oid = ''] = entry.split(' ');
    runCasts(judge, catalog, oid);
  }
}

function runType(
  judge: Judge,
  catalog: CatalogSnapshot,
  oid: string,
  first: boolean,
  meeting: Meeting,
): void {
  const type = catalog.types.get(oid);
  const label = `type ${type?.schema ?? '?'}.${type?.name ?? oid}`;
  if (first) takeIn(judge, comparing(judge, catalog, oid), [label]);
  if (meeting === 'made') {
    const made = making(judge, catalog, oid);
    // Literals of it, or of arrays and rows of it, are converted when their text is parsed.
    if (made.effects.some((effect) => effect.class !== 'read')) judge.findings.on_parse = true;
    takeIn(judge, made, [label]);
  }
  runCasts(judge, catalog, oid);
}

function runCasts(judge: Judge, catalog: CatalogSnapshot, oid: string): void {
  const type = catalog.types.get(oid);
  for (const cast of catalog.casts) {
    if ((cast.source !== oid && cast.target !== oid) || !mayRun(judge, cast)) continue;
    absorbFunction(judge, cast.function, [`type ${type?.schema ?? '?'}.${type?.name ?? oid}`]);
  }
}

/** A value of the type comes from outside: whatever it may be cast to is not looked at. */
export function meetGiven(judge: Judge, oid: string): void {
  meetType(judge, oid, 'made');
  for (const cast of judge.catalog?.casts ?? [])
    if (judge.findings.types.has(cast.source)) absorbFunction(judge, cast.function, []);
}

/** What sorting and comparing values of the type runs. */
function comparing(judge: Judge, catalog: CatalogSnapshot, oid: string) {
  return remembered(judge, `o${oid} ${pathKey(judge.runtime)}`, (findings) => {
    const inner = apart(judge, findings, judge.runtime);
    // A range compares by the class that it was made with, whether or not it is the default.
    const { class: own, functions = [] } = catalog.types.get(oid) ?? {};
    for (const code of functions) absorbFunction(inner, code, []);
    for (const opclass of catalog.classes.values()) {
      if (opclass.oid !== own && (opclass.type !== oid || !opclass.is_default)) continue;
      for (const code of opclass.functions) absorbFunction(inner, code, []);
    }
  });
}

/** What converting something to the type runs: a domain's checks, and its default. */
function making(judge: Judge, catalog: CatalogSnapshot, oid: string) {
  const type = catalog.types.get(oid);
  return remembered(judge, `t${oid} ${pathKey(judge.runtime)}`, (findings) => {
    const inner = apart(judge, findings, judge.runtime).inside({ path: DEPARSED_PATH });
    for (const check of type?.checks ?? []) {
      expressionText(inner, check.definition.replace(/^CHECK\s*|\s*NOT VALID$/g, ''));
    }
    if (type !== undefined && type.preset !== null) expressionText(inner, type.preset);
  });
}

/**
 * A cast needs values of its source; one that is not implicit needs something made of its target.
 */
function mayRun(judge: Judge, cast: Cast): boolean {
  const { types } = judge.findings;
  if (!isBuiltin(cast.source) && !types.has(cast.source)) return false;
  if (cast.context === 'i') return isBuiltin(cast.target) || types.has(cast.target);
  return types.has(made(cast.target));
}

/** Casts between built-in types that users have added: they may run wherever such values meet. */
export function ambientCasts(judge: Judge, catalog: CatalogSnapshot): void {
  let types = ambient.get(catalog);
  if (types === undefined) {
    types = catalog.casts
      .filter((cast) => catalog.routines.has(cast.function) && isBuiltin(cast.target))
      .map((cast) => cast.source)
      .filter(isBuiltin);
    ambient.set(catalog, types);
  }
  for (const type of types) meetType(judge, type, 'seen');
}
const ambient = new WeakMap<CatalogSnapshot, readonly string[]>();

/** JSON is made of values by the casts to json that their types have, explicit ones too. */
export function meetJson(judge: Judge): void {
  if (judge.catalog === null || eventful(judge.catalog).size === 0) return;
  for (const type of findTypes(judge, ['pg_catalog', 'json'])) meetType(judge, type.oid, 'made');
}

/** Something is converted to a type that is named as it runs: it may be any. */
export function meetEveryType(judge: Judge): void {
  if (judge.catalog === null) return;
  for (const oid of eventful(judge.catalog)) meetType(judge, oid, 'made');
}

/** `||` converts what stands beside a text to text, as an explicit cast does. */
export function meetText(judge: Judge): void {
  if (judge.catalog === null || eventful(judge.catalog).size === 0) return;
  for (const type of findTypes(judge, ['pg_catalog', 'text'])) meetType(judge, type.oid, 'made');
}
