// What a name stands for: relations, functions, operators and types, by search_path, temporary
// objects and the catalog.
// Invariant: when several things could be meant, all of them are answered; nothing is picked by
// luck.
import type { Node } from '@pgsql/types';
import type { Namesake, Operator, Relation, Routine, Type } from '../catalog/snapshot.ts';
import { type LocalObject, localKey, type SessionContext } from '../statement.ts';
import { type Builtin, builtinNamed } from './builtins.ts';
import type { Judge } from './judge.ts';

/**
 * Schemas that unqualified names are looked up in, in order, for a session; null when that can't be
 * known.
 */
export function searchPath(
  context: SessionContext,
  setting: readonly string[] | null,
): readonly string[] | null {
  if (setting === null) return null;
  const schemas = setting.map((name) => (name === '$user' ? (context.role ?? context.user) : name));
  return schemas.includes('pg_catalog') ? schemas : ['pg_catalog', ...schemas];
}

/** The parts of a possibly qualified name. */
export function parts(list: readonly Node[] | undefined): string[] {
  const names: string[] = [];
  for (const node of list ?? []) {
    if ('String' in node) names.push(node.String.sval ?? '');
  }
  return names;
}

export interface RelationMeaning {
  readonly relations: readonly Relation[];
  readonly locals: readonly LocalObject[];
  /** A system catalogue or view. */
  readonly system: boolean;
  readonly schema: string | null;
  readonly name: string;
  /** Why it may mean something that can't be seen; null otherwise. */
  readonly unclear: string | null;
}

/** The catalog does not show it yet. */
export function counts(judge: Judge, object: LocalObject): boolean {
  if (!object.committed || judge.catalog === null) return true;
  return judge.catalog.version <= object.catalog_version;
}

export function localNamed(
  judge: Judge,
  kind: LocalObject['kind'],
  name: string,
): LocalObject | null {
  const { local } = judge.root.session;
  if (local.size === 0) return null;
  const object = local.get(localKey(kind, name));
  return object !== undefined && counts(judge, object) ? object : null;
}

function plain(
  schema: string | null,
  name: string,
  relations: readonly Relation[],
): RelationMeaning {
  return { relations, locals: [], system: false, schema, name, unclear: null };
}

function temporaryMeaning(judge: Judge, name: string): RelationMeaning {
  const local = localNamed(judge, 'relation', name);
  if (local !== null) return { ...plain('pg_temp', name, []), locals: [local] };
  const seen = (judge.catalog?.relations_named.get(name) ?? []).filter((r) => r.temporary);
  const unclear =
    seen.length === 0 && judge.catalog !== null && !judge.root.session.temporary.has(name)
      ? `temporary relation ${name} is not known`
      : null;
  return { ...plain('pg_temp', name, seen), unclear };
}

/** It is known which temporary relations there are, and nothing on the path stands before them. */
function temporaryFirst(judge: Judge): boolean {
  const { path } = judge;
  if (judge.root.session.temporary.has('*') || path === null) return false;
  return path.indexOf('pg_temp', 1) < 0;
}

/** What it means is known, and is no table of the session's own. */
export function isSettled(judge: Judge, given: string | null, meaning: RelationMeaning): boolean {
  const { relations, locals, schema, system, unclear } = meaning;
  return (
    schema !== null &&
    schema !== 'pg_temp' &&
    !system &&
    unclear === null &&
    relations.length + locals.length > 0 &&
    relations.every((relation) => !relation.temporary && relation.schema === schema) &&
    (given !== null || temporaryFirst(judge))
  );
}

/** Surely a table of this session's own, that nobody else can see. */
export function isOwnTable(judge: Judge, meaning: RelationMeaning): boolean {
  return (
    meaning.schema === 'pg_temp' &&
    meaning.unclear === null &&
    temporaryFirst(judge) &&
    judge.root.session.temporary.has(meaning.name) &&
    meaning.relations.length + meaning.locals.length > 0 &&
    meaning.relations.every(({ temporary, kind }) => temporary && kind === 'r') &&
    // A view made just now reads something.
    meaning.locals.every(({ fresh, on_read }) => fresh && on_read.length === 0)
  );
}

export function isSystemSchema(schema: string | null): boolean {
  return schema === 'pg_catalog' || schema === 'information_schema' || schema === 'pg_toast';
}

/** What a relation's name means in this session. */
export function findRelation(judge: Judge, schema: string | null, name: string): RelationMeaning {
  const meaning = underName(judge, schema, name);
  return meaning.locals.some(({ also }) => also !== undefined)
    ? withOtherNames(judge, meaning)
    : meaning;
}

/** With all that is known under the names that it had before, or got since. */
function withOtherNames(judge: Judge, meaning: RelationMeaning): RelationMeaning {
  const relations = new Map(meaning.relations.map((relation) => [relation.oid, relation]));
  const locals = new Set(meaning.locals);
  for (const local of locals) {
    for (const place of local.also ?? []) {
      const other = underName(judge, place.schema, place.name);
      for (const relation of other.relations)
        if (!relations.has(relation.oid)) relations.set(relation.oid, called(relation, meaning));
      for (const known of other.locals) locals.add(known);
    }
  }
  return { ...meaning, relations: [...relations.values()], locals: [...locals] };
}

/** What is remembered of a relation, by all its names. */
export function hungOn(judge: Judge, relation: Relation): readonly LocalObject[] {
  const { temporary, schema, name } = relation;
  return findRelation(judge, temporary ? 'pg_temp' : schema, name).locals;
}

function called(relation: Relation, { schema, name }: RelationMeaning): Relation {
  return { ...relation, schema: schema ?? relation.schema, name };
}

function underName(judge: Judge, schema: string | null, name: string): RelationMeaning {
  const { session, catalog } = judge.root;
  if (schema !== null) {
    if (schema === 'pg_temp' || schema.startsWith('pg_temp_')) return temporaryMeaning(judge, name);
    const found = (catalog?.relations_named.get(name) ?? []).filter((r) => r.schema === schema);
    if (isSystemSchema(schema) && found.length === 0)
      return { ...plain(schema, name, []), system: true };
    return withLocal(judge, plain(schema, name, found));
  }
  // Temporary relations come first, before pg_catalog, unless pg_temp stands in the path itself.
  // Where it is not known whether they are still there, what they hide is meant as well.
  const path = judge.path;
  const sure = temporaryFirst(judge);
  if (sure && session.temporary.has(name)) return temporaryMeaning(judge, name);
  if (path === null) return anywhere(judge, name);
  const found = onPath(judge, path, name);
  if (sure) return found;
  const hidden = temporaryMeaning(judge, name);
  return {
    ...found,
    relations: [...hidden.relations, ...found.relations],
    locals: [...new Set([...hidden.locals, ...found.locals])],
  };
}

function onPath(judge: Judge, path: readonly string[], name: string): RelationMeaning {
  const { catalog } = judge.root;
  const systems = catalog?.system_relations.get(name);
  const named = catalog?.relations_named.get(name) ?? [];
  if (systems !== undefined || named.length > 0) {
    const found: Relation[] = [];
    for (const schema of path) {
      if (systems?.includes(schema)) return { ...plain(schema, name, found), system: true };
      const here = named.filter((r) => r.schema === schema && !r.temporary);
      found.push(...here);
      if (here.length > 0 && isOpen(judge, schema)) break;
    }
    const [first] = found;
    if (first !== undefined) return withLocal(judge, plain(first.schema, name, found), path);
  }
  if (catalog === null && /^(pg_[a-z_]+)$/.test(name))
    return { ...plain('pg_catalog', name, []), system: true };
  const first = path.find((schema) => !isSystemSchema(schema)) ?? null;
  return withLocal(
    judge,
    plain(catalog === null ? null : (existing(judge, path) ?? first), name, []),
    path,
  );
}

/** What is found in the schema surely hides what comes later: the server looks past others. */
export function isOpen(judge: Judge, schema: string): boolean {
  const { session, catalog } = judge.root;
  // Which schemas another role may use is not asked.
  if (session.role !== null) return isSystemSchema(schema);
  return catalog?.closed_schemas.has(schema) !== true;
}

/** The schema that a new unqualified object goes to. */
export function existing(judge: Judge, path: readonly string[]): string | null {
  const { catalog } = judge.root;
  const there = (s: string) =>
    catalog === null || (catalog.schemas.has(s) && !catalog.closed_schemas.has(s));
  return path.find((s) => !isSystemSchema(s) && there(s)) ?? null;
}

export function creationSchema(judge: Judge): string | null {
  return judge.path === null || judge.catalog === null ? null : existing(judge, judge.path);
}

/**
 * The meaning, and what this session has made or changed of that name: in the same schema, or where
 * the path finds it sooner.
 */
function withLocal(
  judge: Judge,
  meaning: RelationMeaning,
  path: readonly string[] = [],
): RelationMeaning {
  const local = localNamed(judge, 'relation', meaning.name);
  if (local === null) return meaning;
  const { schema } = meaning;
  const counted =
    local.schema === null ||
    schema === null ||
    local.schema === schema ||
    (path.includes(local.schema) &&
      (meaning.relations.length === 0 || path.indexOf(local.schema) < path.indexOf(schema)));
  return counted ? { ...meaning, schema: schema ?? local.schema, locals: [local] } : meaning;
}

/** The path is unknown: every relation of that name is meant. */
function anywhere(judge: Judge, name: string): RelationMeaning {
  const { catalog } = judge.root;
  const found = catalog?.relations_named.get(name) ?? [];
  const system = catalog?.system_relations.get(name)?.includes('pg_catalog') ?? false;
  const meaning = withLocal(judge, plain(null, name, found));
  return {
    ...meaning,
    schema: found[0]?.schema ?? meaning.schema,
    system: system && found.length === 0,
  };
}

export interface FunctionMeaning {
  readonly routines: readonly Routine[];
  readonly builtin: Builtin | null;
  readonly local: LocalObject | null;
  readonly schema: string | null;
  readonly name: string;
}

/** Every function that a call by this name could reach, whatever its arguments. */
export function findFunctions(judge: Judge, schema: string | null, name: string): FunctionMeaning {
  const { catalog } = judge.root;
  const named = catalog?.routines_named.get(name) ?? [];
  const local = localNamed(judge, 'function', name);
  if (schema !== null) {
    const system = schema === 'pg_catalog';
    return {
      routines: named.filter((r) => isIn(r, schema)),
      builtin: system ? (builtinNamed(name) ?? null) : null,
      local,
      schema,
      name,
    };
  }
  const path = judge.path;
  const routines = path === null ? named : named.filter((r) => path.includes(r.schema));
  return { routines, builtin: builtinNamed(name) ?? null, local, schema: null, name };
}

/** User-made operators that this name could reach. */
export function findOperators(
  judge: Judge,
  schema: string | null,
  name: string,
): readonly Operator[] {
  const named = judge.catalog?.operators_named.get(name);
  if (named === undefined) return [];
  if (schema !== null) return named.filter((o) => isIn(o, schema));
  const path = judge.path;
  return path === null ? named : named.filter((o) => path.includes(o.schema));
}

/**
 * A user's function or operator may stand where folding takes PostgreSQL's own; those of
 * extensions mean what they say.
 */
export function isShadowed(judge: Judge, node: unknown): boolean {
  const { catalog } = judge;
  if (catalog === null || typeof node !== 'object' || node === null) return false;
  if (Array.isArray(node)) return node.some((item) => isShadowed(judge, item));
  return Object.entries(node).some(([kind, body]) => {
    const { name, funcname } = body as { name?: readonly Node[]; funcname?: readonly Node[] };
    if (kind === 'A_Expr' && isRedefined(judge, parts(name).at(-1) ?? '')) return true;
    if (kind === 'FuncCall' && catalog.routines_named.has(parts(funcname).at(-1) ?? ''))
      return true;
    return isShadowed(judge, body);
  });
}

/** A user made an operator of this name. */
export function isRedefined(judge: Judge, operator: string): boolean {
  return findOperators(judge, null, operator).some(
    ({ code }) => judge.catalog?.routines.get(code)?.extension == null,
  );
}

/** `pg_temp` is a schema of the session's own, by whatever number. */
function isIn(thing: { readonly schema: string }, schema: string): boolean {
  return thing.schema === schema || (schema === 'pg_temp' && thing.schema.startsWith('pg_temp_'));
}

const SPELLINGS: { readonly [name: string]: string } = {
  int: 'int4',
  integer: 'int4',
  bigint: 'int8',
  smallint: 'int2',
  boolean: 'bool',
  real: 'float4',
  decimal: 'numeric',
};

/** Types that a name could mean; built-in ones are found by name even without the path. */
export function findTypes(judge: Judge, names: readonly string[]): readonly Type[] {
  const found = typesNamed(judge, names);
  // A relation that got another name: so did the type of its rows.
  const local = localNamed(judge, 'relation', names.at(-1) ?? '');
  if (local?.also === undefined) return found;
  const { relations } = findRelation(judge, local.schema, local.name);
  const types = [...(judge.catalog?.types.values() ?? [])];
  return [...found, ...types.filter((type) => relations.some(({ oid }) => oid === type.relation))];
}

function typesNamed(judge: Judge, names: readonly string[]): readonly Type[] {
  const { catalog } = judge.root;
  if (catalog === null) return [];
  const last = names[names.length - 1] ?? '';
  const schema = names.length > 1 ? (names[names.length - 2] ?? null) : null;
  const named = catalog.types_named.get(SPELLINGS[last] ?? last) ?? [];
  if (schema !== null) return named.filter((t) => isIn(t, schema));
  const path = judge.path;
  if (path === null) return named;
  // A temporary table's row type comes first, if it is this session's.
  const own = named.filter((t) => isIn(t, 'pg_temp'));
  for (const wanted of path) {
    const found = named.find((t) => t.schema === wanted);
    if (found === undefined) continue;
    if (isOpen(judge, wanted)) return own.length === 0 ? [found] : [...own, found];
    own.push(found);
  }
  return own;
}

export function namesakesOf(judge: Judge, name: string): readonly Namesake[] {
  return judge.catalog?.namesakes.get(name) ?? [];
}

/**
 * What is known of the type of `judge`'s path: used where a definition was deparsed with an empty
 * path.
 */
export const DEPARSED_PATH: readonly string[] = ['pg_catalog'];
