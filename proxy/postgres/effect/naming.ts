// How statements name what they are about, in whatever node the grammar keeps the name.
// Invariant: a name that the catalog knows is told by its identity; another is told as written.
import type { Node, RangeVar, RoleSpec } from '@pgsql/types';
import type { Access, EffectClass, ObjectKind } from '../../effect/effect.ts';
import type { Relation } from '../catalog/snapshot.ts';
import type { Place } from '../statement.ts';
import { runBy } from './ddl.ts';
import { callByName, movedOperator } from './define.ts';
import { DROPS, nameParts, RELATIONS } from './drop.ts';
import type { Judge } from './judge.ts';
import { alike, altered, alteredCode, alteredEverything, alteredKeys } from './local.ts';
import { findRelation, isSettled } from './names.ts';
import { isEventful } from './type.ts';

/** A statement that names one thing and does one thing to it. */
export function one<B>(
  verb: string,
  effect: EffectClass,
  kind: ObjectKind,
  access: Access,
  name: (node: B) => string | readonly string[] | undefined,
): (judge: Judge, node: B) => void {
  return (judge, node) => {
    judge.open(verb, effect);
    const found = name(node);
    const words = typeof found === 'string' ? [found] : (found ?? []);
    const last = words[words.length - 1];
    if (last !== undefined)
      judge.object(kind, words.length > 1 ? (words[words.length - 2] ?? null) : null, last, access);
  };
}

/** The same, and what it changes may be behind anything. */
export function changing<B>(
  what: string,
  ...line: Parameters<typeof one<B>>
): (judge: Judge, node: B) => void {
  const handler = one(...line);
  return (judge, node) => {
    handler(judge, node);
    alteredEverything(judge, what);
  };
}

/** A foreign table may stand for something else from now on. */
export function serverChange(
  verb: string,
): (judge: Judge, node: { readonly servername?: string }) => void {
  return changing('a foreign server', verb, 'admin', 'server', 'alter', (n) => n.servername);
}

/** A statement about a relation that is named as one. */
export function about(
  judge: Judge,
  range: { schemaname?: string; relname?: string } | undefined,
  access: Access,
): void {
  if (range === undefined) return;
  const meaning = findRelation(judge, range.schemaname ?? null, range.relname ?? '');
  for (const relation of meaning.relations) judge.relation(relation, access);
  if (meaning.relations.length === 0) judge.object('table', meaning.schema, meaning.name, access);
}

export const roleName = (role: RoleSpec | undefined) =>
  role?.rolename ?? role?.roletype?.replace('ROLESPEC_', '').toLowerCase();
export const roles = (nodes: readonly Node[] | undefined) =>
  (nodes ?? []).flatMap((n) => ('RoleSpec' in n ? [roleName(n.RoleSpec) ?? ''] : []));

/** A foreign table of files is an administrator's: its options name a file or a program. */
export function foreignClass(judge: Judge, server: string): EffectClass {
  if (judge.catalog === null) return 'admin';
  return judge.catalog.servers.get(server) === 'file_fdw' ? 'admin' : 'ddl';
}

type Ranged = { schemaname?: string; relname?: string } | undefined;

export function named(
  judge: Judge,
  type: keyof typeof DROPS | undefined,
  object: Node | undefined,
  access: Access,
): void {
  if (object === undefined || type === undefined) return;
  const [kind] = DROPS[type];
  const words = nameParts(object);
  const name = words[words.length - 1] ?? '';
  const schema = words.length > 1 ? (words[words.length - 2] ?? null) : null;
  if (kind === 'table' || kind === 'view')
    about(judge, { relname: name, ...(schema === null ? {} : { schemaname: schema }) }, access);
  else judge.object(kind, schema, name, access);
}

/** A relation gets another name or schema. */
function renamedRelation(judge: Judge, range: RangeVar, to: Partial<Place>): void {
  const given = range.schemaname ?? null;
  const meaning = findRelation(judge, given, range.relname ?? '');
  const { schema, name, relations } = meaning;
  const now = { schema, name, ...to };
  const known = relations.filter((relation) => relation.name === name).length;
  const others = (judge.catalog?.relations_named.get(name)?.length ?? 0) > known;
  const settled = isSettled(judge, given, meaning);
  // From here on its name may mean what it hid.
  if (others || !settled) altered(judge, { schema: null, name });
  if (settled) alike(judge, { schema, name }, now);
  else altered(judge, { schema: null, name: now.name });
}

/** Something gets another name or schema. */
export function renamed(
  judge: Judge,
  type: keyof typeof DROPS | undefined,
  { relation, object }: { readonly relation?: RangeVar; readonly object?: Node },
  to: Partial<Place>,
): void {
  if (type === undefined) return;
  const [kind] = DROPS[type];
  if (kind === 'column') alteredKeys(judge);
  // ALTER INDEX gives any relation another name.
  if (relation !== undefined && RELATIONS.has(type)) renamedRelation(judge, relation, to);
  if (object === undefined) return;
  const name = to.name ?? nameParts(object).at(-1) ?? '';
  if (kind === 'function') {
    const names = nameParts(object).map((sval) => ({ String: { sval } }));
    alteredCode(
      judge,
      'function',
      name,
      runBy(judge, (inner) => callByName(inner, names)),
    );
  } else if (type === 'OBJECT_OPERATOR') movedOperator(judge, nameParts(object));
  else if (
    kind === 'schema' ||
    kind === 'extension' ||
    (kind === 'type' && isEventful(judge, nameParts(object), null))
  )
    alteredEverything(judge, name);
}

/** The thing that gets another name, schema or owner. */
export function moved(
  judge: Judge,
  relation: Ranged,
  object: Node | undefined,
  type: keyof typeof DROPS | undefined,
): void {
  if (relation !== undefined) about(judge, relation, 'alter');
  else named(judge, type, object, 'alter');
}

/** Relations that a role owns. */
export function ownedBy(judge: Judge, role: string): readonly Relation[] {
  const { catalog, session } = judge.root;
  const name =
    role === 'current_user' || role === 'current_role' ? (session.role ?? session.user) : role;
  return [...(catalog?.relations.values() ?? [])].filter((relation) => relation.owner === name);
}
