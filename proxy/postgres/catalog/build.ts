// Puts a catalog together from the rows that its queries gave, and from the snapshot before.
// Invariant: the same rows give the same snapshot, whatever was there before, in one go or in
// steps; the one before stays what it was. Rows of what went away between two queries are left out.
import type { ObjectFact, SmallFact } from './facts.ts';
import { rangeOf } from './ranges.ts';
import { type Facts, NO_FACTS, rangesBetween } from './rows.ts';
import type {
  Cast,
  CatalogSnapshot,
  Column,
  Dependency,
  EventTrigger,
  ForeignKey,
  Index,
  Namesake,
  Operator,
  OperatorClass,
  Policy,
  Relation,
  Routine,
  Rule,
  Trigger,
  Type,
} from './snapshot.ts';
import { atOnce, each, type Steps } from './steps.ts';

// The driver hands rows over untyped; each query in facts.ts names its columns as the interface
// does.
function small<T>(facts: Facts, name: SmallFact): readonly T[] {
  return (facts.small[name] ?? []) as unknown as readonly T[];
}

/** What went and what came between two states, in the order of their OIDs. */
class Difference {
  readonly before: Facts;
  readonly now: Facts;
  readonly #ranges: readonly number[];
  readonly #changed: ReadonlySet<number>;

  constructor(before: Facts, now: Facts) {
    this.before = before;
    this.now = now;
    this.#ranges = rangesBetween(before, now);
    this.#changed = new Set(this.#ranges);
  }

  gone<T>(name: ObjectFact): T[] {
    return this.#rows(this.before, name);
  }

  come<T>(name: ObjectFact): T[] {
    return this.#rows(this.now, name);
  }

  /** What belongs to this OID is all read again. */
  has(oid: string): boolean {
    return this.#changed.has(rangeOf(oid));
  }

  #rows<T>({ ranges }: Facts, name: ObjectFact): T[] {
    const found = this.#ranges.map((at) => ranges.get(at)?.[name] ?? []);
    return found.flat() as unknown as T[];
  }
}

/** What is there now, by its key. */
function* keyed<T>(
  before: ReadonlyMap<string, T> | undefined,
  gone: readonly string[],
  come: Iterable<readonly [string, T]>,
): Steps<ReadonlyMap<string, T>> {
  const now = new Map<string, T>();
  yield* each(before ?? [], ([key, item]) => now.set(key, item));
  yield* each(gone, (key) => now.delete(key));
  yield* each(come, ([key, item]) => now.set(key, item));
  return now;
}

/** What came, by what things have in common; an empty list where something only went. */
function* touched<T>(
  gone: readonly T[],
  come: readonly T[],
  key: (item: T) => string,
): Steps<Map<string, T[]>> {
  const lists = new Map<string, T[]>();
  yield* each(gone, (item) => lists.set(key(item), []));
  yield* each(come, (item) => {
    const list = lists.get(key(item));
    if (list === undefined) lists.set(key(item), [item]);
    else list.push(item);
  });
  return lists;
}

/** Lists of what is there now, by what things have in common, in the order of OIDs. */
function* grouped<T>(
  before: ReadonlyMap<string, readonly T[]> | undefined,
  gone: readonly T[],
  come: readonly T[],
  key: (item: T) => string,
  oid: (item: T) => string,
): Steps<ReadonlyMap<string, readonly T[]>> {
  const away = new Set(gone);
  const empty: string[] = [];
  const lists = new Map<string, readonly T[]>();
  yield* each(yield* touched(gone, come, key), ([name, list]) => {
    const all = inOrder(before?.get(name) ?? [], away, list, oid);
    if (all.length === 0) empty.push(name);
    else lists.set(name, all);
  });
  return yield* keyed(before, empty, lists);
}

/** What stays, and what came. Things of one OID keep the order in which they were read. */
function inOrder<T>(
  before: readonly T[],
  away: ReadonlySet<T>,
  come: readonly T[],
  oid: (item: T) => string,
): T[] {
  const kept = away.size === 0 ? before : before.filter((item) => !away.has(item));
  const all = [...kept, ...come];
  const last = kept.at(-1);
  const next = come[0];
  if (last === undefined || next === undefined) return all;
  // What is made has a higher OID than what was there.
  if (Number(oid(last)) < Number(oid(next))) return all;
  return all.sort((a, b) => Number(oid(a)) - Number(oid(b)));
}

type Of<T> = T & { readonly relation: string };
type Draft = { -readonly [Key in keyof Relation]: Relation[Key] };
type RawRelation = Omit<Relation, 'temporary'> & { readonly persistence: string };
type RawConstraint = ForeignKey & { kind: string; type: string; definition: string | null };
type Inherits = { readonly child: string; readonly parent: string };

function relationOf(raw: RawRelation): Draft {
  return {
    ...raw,
    temporary: raw.persistence === 't' || /^pg_temp_/.test(raw.schema),
    columns: [],
    checks: [],
    triggers: [],
    rules: [],
    indexes: [],
    statistics: [],
    policies: [],
    keys_out: [],
    keys_in: [],
    children: [],
    parents: [],
  };
}

/** Relations that have been read again, with all that belongs to them. */
function* relationsRead(read: Difference): Steps<Map<string, Draft>> {
  const relations = new Map<string, Draft>();
  yield* each(read.come<RawRelation>('relations'), (raw) =>
    relations.set(raw.oid, relationOf(raw)),
  );
  for (const part of ['columns', 'triggers', 'rules', 'indexes', 'policies'] as const)
    yield* each(read.come<Of<Column & Trigger & Rule & Index & Policy>>(part), (row) =>
      relations.get(row.relation)?.[part].push(row),
    );
  yield* each(read.come<Of<{ expressions: string[] | null }>>('statistics'), (row) =>
    relations.get(row.relation)?.statistics.push(...(row.expressions ?? [])),
  );
  yield* each(read.come<Inherits>('inherits'), (row) =>
    relations.get(row.child)?.parents.push(row.parent),
  );
  yield* each(read.come<RawConstraint>('constraints'), (row) => {
    const relation = relations.get(row.relation);
    if (row.kind === 'f') relation?.keys_out.push(row);
    else if (row.definition !== null)
      relation?.checks.push({ name: row.name, definition: row.definition });
  });
  return relations;
}

/**
 * Relations that are others than before: they have been read again, or others that refer to them.
 */
function* relationsOf(
  read: Difference,
  before: CatalogSnapshot | null,
): Steps<Map<string, Relation>> {
  const relations = yield* relationsRead(read);
  const was = (oid: string) => before?.relations.get(oid);
  const referred = (oid: string): Draft | undefined => {
    const known = relations.get(oid);
    const old = read.has(oid) ? undefined : was(oid);
    if (known !== undefined || old === undefined) return known;
    const copy = { ...old };
    relations.set(oid, copy);
    return copy;
  };
  const isKey = (row: RawConstraint) => row.kind === 'f';
  const keysGone = read.gone<RawConstraint>('constraints').filter(isKey);
  const keysCome = read.come<RawConstraint>('constraints').filter(isKey);
  const away = new Set<ForeignKey>(keysGone);
  const keys = yield* touched(keysGone, keysCome, (row) => row.referenced);
  for (const oid of relations.keys()) if (!keys.has(oid)) keys.set(oid, []);
  yield* each(keys, ([oid, come]) => {
    const relation = referred(oid);
    if (relation !== undefined)
      relation.keys_in = inOrder(was(oid)?.keys_in ?? [], away, come, (row) => row.relation);
  });
  const heirs = yield* touched(
    read.gone<Inherits>('inherits'),
    read.come<Inherits>('inherits'),
    (row) => row.parent,
  );
  for (const oid of relations.keys()) if (!heirs.has(oid)) heirs.set(oid, []);
  yield* each(heirs, ([oid, come]) => {
    const relation = referred(oid);
    if (relation === undefined) return;
    const kept = (was(oid)?.children ?? []).filter((child) => !read.has(child));
    const children = [...kept, ...come.map((row) => row.child)];
    relation.children = children.sort((a, b) => Number(a) - Number(b));
  });
  return relations;
}

function* typesOf(read: Difference): Steps<Map<string, Type>> {
  const types = new Map<string, Type>();
  yield* each(read.come<Type>('types'), (raw) => types.set(raw.oid, { ...raw, checks: [] }));
  yield* each(read.come<RawConstraint>('constraints'), (row) => {
    if (row.type === '0' || row.definition === null) return;
    types.get(row.type)?.checks.push({ name: row.name, definition: row.definition });
  });
  return types;
}

function* routinesOf(read: Difference): Steps<Map<string, Routine>> {
  const members = read.come<{ oid: string; extension: string }>('extension_members');
  const extensions = new Map(members.map((member) => [member.oid, member.extension]));
  const routines = new Map<string, Routine>();
  yield* each(read.come<Routine>('routines'), (raw) =>
    routines.set(raw.oid, { ...raw, extension: extensions.get(raw.oid) ?? null }),
  );
  return routines;
}

type Named = { readonly oid: string; readonly name: string };

/** Objects of a kind by OID and by name, with those that are others than before. */
function* objects<T extends Named>(
  before: readonly [ReadonlyMap<string, T>, ReadonlyMap<string, readonly T[]>] | null,
  gone: readonly Named[],
  come: ReadonlyMap<string, T>,
): Steps<[ReadonlyMap<string, T>, ReadonlyMap<string, readonly T[]>]> {
  if (before !== null && gone.length === 0 && come.size === 0) return [...before];
  const oids = [...gone.map(({ oid }) => oid), ...come.keys()];
  const away = new Set(oids.flatMap((oid) => before?.[0].get(oid) ?? []));
  return [
    yield* keyed(before?.[0], oids, come),
    yield* grouped(
      before?.[1],
      [...away],
      [...come.values()].sort((a, b) => Number(a.oid) - Number(b.oid)),
      (item) => item.name,
      (item) => item.oid,
    ),
  ];
}

type RuleOwner = { readonly oid: string; readonly owner: string };

/** Puts a snapshot together. What is as it was is taken from the one before. */
export function buildSnapshot(
  facts: Facts,
  version: number,
  before: CatalogSnapshot | null = null,
): CatalogSnapshot {
  return atOnce(buildSnapshotInSteps(facts, version, before));
}

type Server = Pick<CatalogSnapshot, 'database' | 'port' | 'folds'> & { version: number };

/** The same, in steps of well below a millisecond. */
export function* buildSnapshotInSteps(
  facts: Facts,
  version: number,
  before: CatalogSnapshot | null = null,
): Steps<CatalogSnapshot> {
  const server = small<Server>(facts, 'server')[0];
  if (server === undefined) throw new Error('the catalog did not answer: no server row');
  const snapshot: CatalogSnapshot = Object.freeze({
    version,
    server_version: server.version,
    database: server.database,
    port: server.port,
    folds: server.folds,
    ...(yield* ofObjects(
      new Difference(before === null ? NO_FACTS : factsOf(before), facts),
      before,
    )),
    ...(yield* ofSmall(facts)),
  });
  behind.set(snapshot, facts);
  return snapshot;
}

function* ofObjects(read: Difference, before: CatalogSnapshot | null) {
  const [relations, relations_named] = yield* objects(
    before && [before.relations, before.relations_named],
    read.gone<Named>('relations'),
    yield* relationsOf(read, before),
  );
  const [routines, routines_named] = yield* objects(
    before && [before.routines, before.routines_named],
    read.gone<Named>('routines'),
    yield* routinesOf(read),
  );
  const [types, types_named] = yield* objects(
    before && [before.types, before.types_named],
    read.gone<Named>('types'),
    yield* typesOf(read),
  );
  const dependents = yield* grouped(
    before?.dependents,
    read.gone<Dependency>('dependencies'),
    read.come<Dependency>('dependencies'),
    (row) => `${row.on_class} ${row.on_oid}`,
    (row) => row.oid,
  );
  const rule_owners = yield* keyed(
    before?.rule_owners,
    read.gone<RuleOwner>('rule_owners').map((rule) => rule.oid),
    read.come<RuleOwner>('rule_owners').map((rule) => [rule.oid, rule.owner]),
  );
  return {
    relations,
    relations_named,
    routines,
    routines_named,
    types,
    types_named,
    dependents,
    rule_owners,
  };
}

function* ofSmall(facts: Facts) {
  const casts = small<Cast>(facts, 'casts');
  const schemas = small<Named & { usable: boolean }>(facts, 'schemas');
  const system = yield* touched(
    [],
    small<{ schema: string; name: string }>(facts, 'system_relations'),
    (relation) => relation.name,
  );
  return {
    schemas: new Map(schemas.map((s) => [s.name, s.oid])),
    closed_schemas: new Set(schemas.filter((s) => !s.usable).map((s) => s.name)),
    system_relations: new Map([...system].map(([name, list]) => [name, list.map((r) => r.schema)])),
    namesakes: yield* touched([], small<Namesake>(facts, 'namesakes'), (r) => r.name),
    builtins: new Map(small<Named>(facts, 'builtins').map((b) => [b.oid, b.name])),
    operators_named: yield* touched([], small<Operator>(facts, 'operators'), (o) => o.name),
    classes: new Map(small<OperatorClass>(facts, 'classes').map((c) => [c.oid, c])),
    casts,
    implicit_casts: new Set(
      casts.filter((c) => c.context === 'i').map((c) => `${c.source}>${c.target}`),
    ),
    event_triggers: small<EventTrigger>(facts, 'event_triggers'),
    extensions: new Map(small<Named>(facts, 'extensions').map((e) => [e.name, e.oid])),
    servers: new Map(
      small<{ name: string; wrapper: string }>(facts, 'servers').map((s) => [s.name, s.wrapper]),
    ),
    role_settings: small<CatalogSnapshot['role_settings'][number]>(facts, 'role_settings'),
  };
}

const behind = new WeakMap<CatalogSnapshot, Facts>();

/** The rows that a snapshot was built of: another thread builds its own of them. */
export function factsOf(snapshot: CatalogSnapshot): Facts {
  return behind.get(snapshot) ?? NO_FACTS;
}
