// DROP and its reach: what is lost with an object, and with everything that hangs on it.
// Invariant: without the catalog a CASCADE is taken to reach data.
import type { DropStmt, Node, ObjectType } from '@pgsql/types';
import type { EffectClass, ObjectKind } from '../../effect/effect.ts';
import type { CatalogSnapshot, Dependency, Routine } from '../catalog/snapshot.ts';
import { type Draft, type Judge, objectKind } from './judge.ts';
import { altered, alteredCode, alteredEverything, alteredKeys, CASTS, remember } from './local.ts';
import { findFunctions, findRelation, findTypes, isOwnTable, parts } from './names.ts';
import { isEventful } from './type.ts';

type Line = readonly [kind: ObjectKind, effect: EffectClass];

const OTHER: Line = ['other', 'ddl'];

/** What DROP of each kind of object means, before CASCADE is looked at. */
export const DROPS: { readonly [T in ObjectType]: Line } = {
  OBJECT_TABLE: ['table', 'destructive'],
  OBJECT_MATVIEW: ['materialized-view', 'destructive'],
  OBJECT_SEQUENCE: ['sequence', 'destructive'],
  OBJECT_FOREIGN_TABLE: ['foreign-table', 'ddl'],
  OBJECT_VIEW: ['view', 'ddl'],
  OBJECT_INDEX: ['index', 'ddl'],
  OBJECT_SCHEMA: ['schema', 'ddl'],
  OBJECT_TYPE: ['type', 'ddl'],
  OBJECT_DOMAIN: ['type', 'ddl'],
  OBJECT_FUNCTION: ['function', 'ddl'],
  OBJECT_PROCEDURE: ['function', 'ddl'],
  OBJECT_ROUTINE: ['function', 'ddl'],
  OBJECT_AGGREGATE: ['function', 'ddl'],
  OBJECT_TRIGGER: ['trigger', 'ddl'],
  OBJECT_RULE: ['rule', 'ddl'],
  OBJECT_POLICY: ['policy', 'admin'],
  OBJECT_OPERATOR: ['operator', 'ddl'],
  OBJECT_OPCLASS: OTHER,
  OBJECT_OPFAMILY: OTHER,
  OBJECT_CAST: OTHER,
  OBJECT_COLLATION: ['collation', 'ddl'],
  OBJECT_CONVERSION: OTHER,
  OBJECT_STATISTIC_EXT: ['statistics', 'ddl'],
  OBJECT_TRANSFORM: OTHER,
  OBJECT_TSCONFIGURATION: ['text-search', 'ddl'],
  OBJECT_TSDICTIONARY: ['text-search', 'ddl'],
  OBJECT_TSPARSER: ['text-search', 'ddl'],
  OBJECT_TSTEMPLATE: ['text-search', 'ddl'],
  OBJECT_ACCESS_METHOD: ['access-method', 'admin'],
  OBJECT_EVENT_TRIGGER: ['event-trigger', 'admin'],
  OBJECT_EXTENSION: ['extension', 'admin'],
  OBJECT_FDW: ['server', 'admin'],
  OBJECT_FOREIGN_SERVER: ['server', 'admin'],
  OBJECT_USER_MAPPING: ['server', 'admin'],
  OBJECT_LANGUAGE: ['language', 'admin'],
  OBJECT_PUBLICATION: ['publication', 'admin'],
  OBJECT_PUBLICATION_NAMESPACE: ['publication', 'admin'],
  OBJECT_PUBLICATION_REL: ['publication', 'admin'],
  OBJECT_SUBSCRIPTION: ['subscription', 'admin'],
  OBJECT_ROLE: ['role', 'admin'],
  OBJECT_TABLESPACE: ['tablespace', 'admin'],
  OBJECT_DATABASE: ['database', 'destructive'],
  OBJECT_PARAMETER_ACL: ['setting', 'admin'],
  OBJECT_LARGEOBJECT: ['large-object', 'destructive'],
  OBJECT_COLUMN: ['column', 'destructive'],
  OBJECT_ATTRIBUTE: ['column', 'destructive'],
  OBJECT_DEFAULT: ['column', 'ddl'],
  OBJECT_DEFACL: OTHER,
  OBJECT_DOMCONSTRAINT: ['constraint', 'ddl'],
  OBJECT_TABCONSTRAINT: ['constraint', 'ddl'],
  OBJECT_AMOP: OTHER,
  OBJECT_AMPROC: OTHER,
};

/** The words of a name, in whatever node DROP keeps it. */
export function nameParts(node: Node): readonly string[] {
  if ('List' in node) return parts(node.List.items);
  if ('String' in node) return [node.String.sval ?? ''];
  if ('TypeName' in node) return parts(node.TypeName.names);
  if ('ObjectWithArgs' in node) return parts(node.ObjectWithArgs.objname);
  return [];
}

export const RELATIONS = new Set<ObjectType>([
  'OBJECT_TABLE',
  'OBJECT_MATVIEW',
  'OBJECT_SEQUENCE',
  'OBJECT_FOREIGN_TABLE',
  'OBJECT_VIEW',
  'OBJECT_INDEX',
]);
const ROUTINES = new Set<ObjectType>([
  'OBJECT_FUNCTION',
  'OBJECT_PROCEDURE',
  'OBJECT_ROUTINE',
  'OBJECT_AGGREGATE',
]);

export function dropStatement(judge: Judge, node: DropStmt): void {
  const type = node.removeType ?? 'OBJECT_TABLE';
  const [kind, effect] = DROPS[type];
  const draft = judge.open('drop', isOwn(judge, node) ? 'session' : effect);
  draft.reversible = false;
  judge.findings.needs_read_write = true;
  if (type === 'OBJECT_TABLE') draft.scoped = false;
  const cascades = node.behavior === 'DROP_CASCADE';
  if (cascades || type === 'OBJECT_INDEX') alteredKeys(judge);
  if (cascades || ROUTINES.has(type)) alteredCode(judge, 'operator', CASTS, []);
  for (const item of node.objects ?? []) {
    const names = nameParts(item);
    const name = names[names.length - 1] ?? '';
    const schema = names.length > 1 ? (names[names.length - 2] ?? null) : null;
    if (type === 'OBJECT_RULE' || type === 'OBJECT_TRIGGER') uncovered(judge, names);
    for (const found of resolve(judge, type, kind, schema, name, names)) {
      if (cascades) cascade(judge, draft, found, 0);
      else belongings(judge, draft, found);
    }
    const catalog = CATALOGS[type];
    if (cascades && catalog !== undefined) cascadeAny(judge, draft, catalog);
    if (cascades && judge.catalog === null && type !== 'OBJECT_TRIGGER' && type !== 'OBJECT_RULE') {
      judge.worsen(draft, 'destructive');
      draft.scoped = false;
    }
  }
}

/** Kinds that are not looked up by name: columns of a collation go with it, and the like. */
const CATALOGS: { readonly [T in ObjectType]?: string } = {
  OBJECT_OPERATOR: 'pg_operator',
  OBJECT_OPCLASS: 'pg_opclass',
  OBJECT_OPFAMILY: 'pg_opfamily',
  OBJECT_CAST: 'pg_cast',
  OBJECT_COLLATION: 'pg_collation',
  OBJECT_TSCONFIGURATION: 'pg_ts_config',
  OBJECT_TSDICTIONARY: 'pg_ts_dict',
  OBJECT_TSPARSER: 'pg_ts_parser',
  OBJECT_TSTEMPLATE: 'pg_ts_template',
};

/** What a rule or trigger took is done to its view from now on. */
function uncovered(judge: Judge, names: readonly string[]): void {
  const [name = '', schema = null] = names.slice(0, -1).reverse();
  remember(judge, { kind: 'relation', schema, name, on_read: [], on_write: [], fresh: false });
}

/** Temporary tables alone: they are the session's own, and so is all that hangs on them. */
function isOwn(judge: Judge, node: DropStmt): boolean {
  if (node.removeType !== 'OBJECT_TABLE' || node.behavior === 'DROP_CASCADE' || judge.body)
    return false;
  return (node.objects ?? []).every((item) => {
    const names = nameParts(item);
    const schema = names.length > 1 ? (names[names.length - 2] ?? null) : null;
    return isOwnTable(judge, findRelation(judge, schema, names[names.length - 1] ?? ''));
  });
}

/** Names the objects in the effect, and gives their places in pg_depend. */
function resolve(
  judge: Judge,
  type: ObjectType,
  kind: ObjectKind,
  schema: string | null,
  name: string,
  names: readonly string[],
): readonly string[] {
  if (RELATIONS.has(type)) {
    const meaning = findRelation(judge, schema, name);
    for (const relation of meaning.relations) judge.relation(relation, 'drop');
    if (meaning.relations.length === 0) judge.object(kind, meaning.schema, name, 'drop');
    // From here on its name may mean what it hid.
    const known = meaning.relations.length;
    const others = (judge.catalog?.relations_named.get(name)?.length ?? 0) > known;
    if (others && known + meaning.locals.length > 0 && meaning.schema !== 'pg_temp')
      altered(judge, { schema: null, name });
    if (meaning.relations.some((relation) => relation.temporary) || meaning.schema === 'pg_temp')
      judge.change({ kind: 'temporary', name: '*' });
    return meaning.relations.map((relation) => `pg_class ${relation.oid}`);
  }
  if (ROUTINES.has(type)) {
    const meaning = findFunctions(judge, schema, name);
    const routines: readonly Routine[] = meaning.routines;
    for (const routine of routines)
      judge.object(kind, routine.schema, routine.name, 'drop', { identity: routine.identity });
    if (routines.length === 0) judge.object(kind, schema, name, 'drop');
    return routines.map((routine) => `pg_proc ${routine.oid}`);
  }
  if (type === 'OBJECT_TYPE' || type === 'OBJECT_DOMAIN') {
    const types = findTypes(judge, names);
    // What is made under its name later says so itself; what it hid does not.
    const [gone = null] = types.length === 1 ? types : [];
    if (isEventful(judge, names, gone)) alteredEverything(judge, name);
    judge.object('type', types[0]?.schema ?? schema, name, 'drop');
    return types.map((found) => `pg_type ${found.oid}`);
  }
  judge.object(
    kind,
    kind === 'trigger' || kind === 'rule' || kind === 'policy' ? (names[0] ?? null) : schema,
    name,
    'drop',
  );
  if (type === 'OBJECT_SCHEMA') {
    const oid = judge.catalog?.schemas.get(name);
    return oid === undefined ? [] : [`pg_namespace ${oid}`];
  }
  if (type === 'OBJECT_EXTENSION') return extensionPlaces(judge, name);
  return [];
}

function extensionPlaces(judge: Judge, name: string): readonly string[] {
  const oid = judge.catalog?.extensions.get(name);
  return oid === undefined ? [] : [`pg_extension ${oid}`];
}

/** What is a part of the object goes without CASCADE: partitions, the sequences of its columns. */
const PARTS = /^[aiePS]$/;

function belongings(judge: Judge, draft: Draft, start: string): void {
  follow(judge, draft, start, 0, (kind) => PARTS.test(kind));
}

/** Follows pg_depend from an object (or one column of it) and adds the data that goes with it. */
export function cascade(judge: Judge, draft: Draft, start: string, column: number): void {
  follow(judge, draft, start, column, () => true);
}

/** What depends on things of a kind; on which of them is not told apart. */
export function cascadeAny(judge: Judge, draft: Draft, kind: string): void {
  for (const place of judge.catalog?.dependents.keys() ?? [])
    if (place.startsWith(`${kind} `)) cascade(judge, draft, place, 0);
}

function follow(
  judge: Judge,
  draft: Draft,
  start: string,
  column: number,
  follows: (kind: string) => boolean,
): void {
  for (const dependent of reach(judge.catalog, start, column, follows)) {
    lose(judge, draft, dependent);
    if (dependent.class === 'pg_rewrite') loseView(judge, draft, dependent.oid);
  }
}

/** All that goes with an object by pg_depend; a view goes with its rule. */
function* reach(
  catalog: CatalogSnapshot | null,
  start: string,
  column: number,
  follows: (kind: string) => boolean,
): Generator<Dependency> {
  const seen = new Set<string>([start]);
  const wait: { place: string; column: number }[] = [{ place: start, column }];
  for (let at = wait.pop(); at !== undefined; at = wait.pop()) {
    for (const dependent of catalog?.dependents.get(at.place) ?? []) {
      if (at.column !== 0 && dependent.on_sub !== at.column) continue;
      if (!follows(dependent.kind)) continue;
      const place = placeOf(dependent);
      const key = `${place} ${dependent.sub}`;
      if (seen.has(key) || place === start) continue;
      seen.add(key);
      yield dependent;
      const view = dependent.class === 'pg_rewrite' && catalog?.rule_owners.get(dependent.oid);
      if (view) wait.push({ place: `pg_class ${view}`, column: 0 });
      wait.push({ place, column: dependent.sub });
    }
  }
}

function placeOf({ class: catalogName, oid }: Dependency): string {
  return `${catalogName} ${oid}`;
}

function loseView(judge: Judge, draft: Draft, rule: string): void {
  const owner = judge.catalog?.rule_owners.get(rule);
  const relation = owner === undefined ? undefined : judge.catalog?.relations.get(owner);
  if (relation === undefined) return;
  judge.relation(relation, 'drop', { via: ['cascade'] });
  if (relation.kind === 'm') judge.worsen(draft, 'destructive');
}

function lose(judge: Judge, draft: Draft, dependent: Dependency): void {
  const { class: catalogName, oid, sub } = dependent;
  if (catalogName === 'pg_event_trigger') judge.worsen(draft, 'admin');
  if (catalogName !== 'pg_class') return;
  const relation = judge.catalog?.relations.get(oid);
  if (relation === undefined) return;
  const data =
    relation.kind === 'r' ||
    relation.kind === 'p' ||
    relation.kind === 'm' ||
    relation.kind === 'S';
  if (sub !== 0) {
    const column = relation.columns.find((c) => c.number === sub);
    if (relation.kind === 'v' || relation.kind === 'c') return;
    judge.object('column', relation.schema, `${relation.name}.${column?.name ?? sub}`, 'drop', {
      via: ['cascade'],
    });
    judge.relation(relation, 'alter', { via: ['cascade'] });
    judge.worsen(draft, 'destructive');
    return;
  }
  judge.object(objectKind(relation), relation.schema, relation.name, 'drop', { via: ['cascade'] });
  if (!data) return;
  judge.worsen(draft, 'destructive');
  if (relation.kind !== 'S') draft.scoped = false;
}

/**
 * Temporary objects go, whose session's they are is not told apart. What lasts and hangs on one
 * goes with it: a column of a temporary type, a policy by a temporary function.
 */
export function dropTemporary(judge: Judge): void {
  const { catalog } = judge;
  const reached: Dependency[] = [];
  for (const [schema, oid] of catalog?.schemas ?? [])
    if (TEMPORARY.test(schema))
      reached.push(...reach(catalog, `pg_namespace ${oid}`, 0, () => true));
  if (catalog === null || reached.length === 0) return;
  const owned = ownedByOthers(catalog, reached);
  const lasting = reached.filter((each) => {
    const schema = schemaOf(catalog, each);
    return schema === undefined ? owned.has(placeOf(each)) : !TEMPORARY.test(schema);
  });
  if (lasting.length === 0) return;
  const before = judge.draft;
  const draft = judge.open('drop', 'ddl');
  for (const each of lasting) lose(judge, draft, each);
  judge.draft = before;
}

/** Parts (indexes, rules, policies, defaults …) of what does not go itself. */
function ownedByOthers(catalog: CatalogSnapshot, going: readonly Dependency[]): Set<string> {
  const whole = new Set(going.flatMap((each) => (each.sub === 0 ? [placeOf(each)] : [])));
  const owned = new Set<string>();
  for (const [owner, dependents] of catalog.dependents)
    if (!whole.has(owner))
      for (const each of dependents) if (/^[ai]$/.test(each.kind)) owned.add(placeOf(each));
  return owned;
}

const TEMPORARY = /^pg_temp_\d+$/;

function schemaOf(catalog: CatalogSnapshot, { class: of, oid }: Dependency): string | undefined {
  if (of === 'pg_class') return catalog.relations.get(oid)?.schema;
  return (of === 'pg_proc' ? catalog.routines : catalog.types).get(oid)?.schema;
}
