// The type of an expression, where the text and the catalog settle it; and which overloads a call
// can reach.
// Invariant: an overload is left out only when PostgreSQL's own rules could not choose it.
import type { ColumnRef, Node } from '@pgsql/types';
import type { CatalogSnapshot, Namesake, Routine } from '../catalog/snapshot.ts';
import { builtinNamed } from './builtins.ts';
import type { Judge, Scope, Source } from './judge.ts';
import { CASTS } from './local.ts';
import {
  type FunctionMeaning,
  findTypes,
  isOpen,
  localNamed,
  namesakesOf,
  parts,
} from './names.ts';

/** A quoted literal or NULL: PostgreSQL gives it whatever type fits. */
export const LITERAL = 'literal';

function named(judge: Judge, name: string): string | null {
  return findTypes(judge, ['pg_catalog', name])[0]?.oid ?? null;
}

/** The FROM entry that a qualifier means. */
export function sourceNamed(scope: Scope | null, alias: string): Source | null {
  for (let at = scope; at !== null; at = at.parent) {
    const found = at.sources.find((source) => source.alias === alias);
    if (found !== undefined) return found;
  }
  return null;
}

function columnType(judge: Judge, ref: ColumnRef): string | null {
  const names = parts(ref.fields);
  if (names.length === 0 || names.length !== (ref.fields ?? []).length) return null;
  const column = names[names.length - 1] ?? '';
  if (names.length >= 2) {
    const source = sourceNamed(judge.scope, names[names.length - 2] ?? '');
    return source?.relation?.columns.find((c) => c.name === column)?.type ?? null;
  }
  for (let at = judge.scope; at !== null; at = at.parent) {
    // USING makes one column of two, of a type that both convert to.
    const types = new Set<string | null>();
    for (const { relation, columns } of at.sources) {
      const found = relation?.columns.find((c) => c.name === column);
      if (found !== undefined) types.add(found.type);
      else if (columns === null) types.add(null);
    }
    const [only = null] = types;
    if (types.size > 0) return types.size === 1 ? only : null;
  }
  const row = sourceNamed(judge.scope, column)?.relation;
  return row == null ? null : rowType(judge, row.oid);
}

export function rowType({ catalog }: Judge, relation: string): string | null {
  if (catalog === null) return null;
  let types = rowTypes.get(catalog);
  if (types === undefined) {
    types = new Map();
    for (const type of catalog.types.values())
      if (type.relation !== '0') types.set(type.relation, type.oid);
    rowTypes.set(catalog, types);
  }
  return types.get(relation) ?? null;
}
const rowTypes = new WeakMap<CatalogSnapshot, Map<string, string>>();

/** OID of the expression's type; {@link LITERAL}; or null when it is not known. */
export function typeOf(judge: Judge, node: Node | undefined): string | null {
  if (node === undefined || judge.catalog === null) return null;
  if ('A_Const' in node) {
    const constant = node.A_Const;
    if (constant.ival !== undefined) return named(judge, 'int4');
    if (constant.boolval !== undefined) return named(judge, 'bool');
    return constant.sval !== undefined || constant.isnull === true ? LITERAL : null;
  }
  if ('TypeCast' in node) {
    const { typeName } = node.TypeCast;
    const names = parts(typeName?.names);
    const last = names[names.length - 1] ?? '';
    const array = (typeName?.arrayBounds?.length ?? 0) > 0;
    const found = findTypes(judge, array ? [...names.slice(0, -1), `_${last}`] : names);
    return found.length === 1 ? (found[0]?.oid ?? null) : null;
  }
  if ('ColumnRef' in node) return columnType(judge, node.ColumnRef);
  if ('FuncCall' in node) {
    const names = parts(node.FuncCall.funcname);
    const name = names[names.length - 1] ?? '';
    if (judge.catalog.routines_named.has(name)) return null;
    const result = builtinNamed(name)?.result ?? null;
    return result === null || result.startsWith('any') ? null : named(judge, result);
  }
  return null;
}

function accepts(judge: Judge, wanted: string, given: string | null): boolean {
  if (given === null || given === LITERAL || wanted === given) return true;
  if (localNamed(judge, 'operator', CASTS) !== null) return true;
  const types = judge.catalog?.types;
  const want = types?.get(wanted);
  const have = types?.get(given);
  if (want === undefined || have === undefined) return true;
  if (want.kind === 'p' || have.kind === 'p') return true;
  // Domains, row types, arrays and ranges convert in ways that are not looked into here.
  if (want.kind !== 'b' || have.kind !== 'b') return true;
  if (want.category === 'A' || have.category === 'A') return want.category === have.category;
  return judge.catalog?.implicit_casts.has(`${given}>${wanted}`) ?? true;
}

interface Candidate {
  readonly arguments: readonly string[];
  readonly defaults: number;
  readonly variadic: string;
}

function fits(
  judge: Judge,
  candidate: Candidate,
  given: readonly (string | null)[],
  flexible: boolean,
): boolean {
  const declared = candidate.arguments.length;
  if (candidate.variadic !== '0') {
    if (given.length < declared - 1 - candidate.defaults) return false;
  } else if (given.length > declared || given.length < declared - candidate.defaults) return false;
  if (flexible) return true;
  return given.every((type, index) => {
    const wanted = candidate.arguments[index];
    if (wanted === undefined || (candidate.variadic !== '0' && index >= declared - 1)) return true;
    return accepts(judge, wanted, type);
  });
}

function same(a: readonly string[], b: readonly (string | null)[]): boolean {
  return a.length === b.length && a.every((type, index) => type === b[index]);
}

export interface Reached {
  readonly routines: readonly Routine[];
  /** The built-in function of this name can be the one that runs. */
  readonly builtin: boolean;
}

/** CALL gives a procedure's output arguments too. */
function called(routine: Routine): Candidate {
  return routine.kind === 'p' && routine.all_arguments != null
    ? { ...routine, arguments: routine.all_arguments }
    : routine;
}

/** Which of the functions of a name a call with these arguments can run. */
export function overloads(
  judge: Judge,
  meaning: FunctionMeaning,
  given: readonly (string | null)[],
  flexible: boolean,
): Reached {
  const twins: readonly Namesake[] =
    meaning.builtin === null ? [] : namesakesOf(judge, meaning.name);
  const path = meaning.schema === null ? judge.path : null;
  const rank = (schema: string) => (path === null ? 0 : path.indexOf(schema));
  const hidden = (routine: Routine) =>
    routine.schema !== 'pg_catalog' &&
    path !== null &&
    rank('pg_catalog') < rank(routine.schema) &&
    twins.some((twin) => same(twin.arguments, routine.arguments));
  const routines = meaning.routines.filter(
    (r) => !hidden(r) && fits(judge, called(r), given, flexible),
  );
  const builtin =
    meaning.builtin !== null &&
    (twins.length === 0 || twins.some((t) => fits(judge, t, given, flexible)));
  // A function or a cast that was there may be gone, or a new cast may be there.
  const sure = localNamed(judge, 'operator', CASTS) === null;
  if (!sure || flexible || given.length === 0 || given.some((type) => type === null))
    return { routines, builtin };
  // Of several types that a literal could take, text is the one that is preferred.
  const text = given.includes(LITERAL) ? named(judge, 'text') : null;
  const wanted = given.map((type) => (type === LITERAL ? text : type));
  const exact = routines.filter((r) => same(r.arguments, wanted));
  const twin = twins.some((t) => same(t.arguments, wanted));
  if (!twin && !exact.some((r) => isOpen(judge, r.schema))) return { routines, builtin };
  // One that takes just these by VARIADIC or defaults wins where its schema comes sooner.
  const first = Math.min(...exact.map((r) => rank(r.schema)), twin ? rank('pg_catalog') : Infinity);
  const anywhere = meaning.schema === null && path === null;
  const sooner = (candidate: Candidate, schema: string) =>
    (candidate.variadic !== '0' || candidate.arguments.length > given.length) &&
    (anywhere || rank(schema) < first);
  const others = routines.filter((r) => sooner(r, r.schema));
  const native = twin || twins.some((t) => sooner(t, 'pg_catalog') && fits(judge, t, given, false));
  if (twin && path !== null && exact.every((r) => rank('pg_catalog') <= rank(r.schema)))
    return { routines: others, builtin: true };
  return { routines: [...exact, ...others], builtin: native };
}
