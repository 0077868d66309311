// Puts a catalog together from the rows that its queries gave.
// Invariant: the same rows give the same snapshot, in one go or in steps; rows of what went away
// between two queries are left out.
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

export type FactRows = { readonly [name: string]: readonly Row[] };
type Row = { readonly [column: string]: unknown };

// The driver hands rows over untyped; each query in facts.ts names its columns as the interface
// does.
function rows<T>(facts: FactRows, name: string): readonly T[] {
  return (facts[name] ?? []) as unknown as readonly T[];
}

/** Putting a catalog together, with pauses in which others may go on. */
type Steps<T> = Generator<void, T, void>;

const ROWS_A_STEP = 500;

function* each<T>(items: Iterable<T>, work: (item: T) => void): Steps<void> {
  let count = 0;
  for (const item of items) {
    work(item);
    if (++count % ROWS_A_STEP === 0) yield;
  }
}

function* group<T>(items: Iterable<T>, key: (item: T) => string): Steps<Map<string, T[]>> {
  const grouped = new Map<string, T[]>();
  yield* each(items, (item) => {
    const name = key(item);
    const list = grouped.get(name);
    if (list === undefined) grouped.set(name, [item]);
    else list.push(item);
  });
  return grouped;
}

type Of<T> = T & { readonly relation: string };
type RawRelation = Omit<Relation, 'temporary'> & { readonly persistence: string };
type RawConstraint = Omit<ForeignKey, never> & {
  kind: string;
  type: string;
  definition: string | null;
};

function* relationsOf(facts: FactRows): Steps<Map<string, Relation>> {
  const relations = new Map<string, Relation>();
  yield* each(rows<RawRelation>(facts, 'relations'), (raw) => {
    relations.set(raw.oid, {
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
    });
  });
  for (const part of ['columns', 'triggers', 'rules', 'indexes', 'policies'] as const)
    yield* each(rows<Of<Column & Trigger & Rule & Index & Policy>>(facts, part), (row) =>
      relations.get(row.relation)?.[part].push(row),
    );
  yield* each(rows<Of<{ expressions: string[] | null }>>(facts, 'statistics'), (row) =>
    relations.get(row.relation)?.statistics.push(...(row.expressions ?? [])),
  );
  yield* each(rows<{ child: string; parent: string }>(facts, 'inherits'), (row) => {
    relations.get(row.parent)?.children.push(row.child);
    relations.get(row.child)?.parents.push(row.parent);
  });
  yield* each(rows<RawConstraint>(facts, 'constraints'), (row) => {
    if (row.kind === 'f') {
      relations.get(row.relation)?.keys_out.push(row);
      relations.get(row.referenced)?.keys_in.push(row);
    } else if (row.definition !== null) {
      relations.get(row.relation)?.checks.push({ name: row.name, definition: row.definition });
    }
  });
  return relations;
}

function* typesOf(facts: FactRows): Steps<Map<string, Type>> {
  const types = new Map<string, Type>();
  yield* each(rows<Type>(facts, 'types'), (raw) => types.set(raw.oid, { ...raw, checks: [] }));
  yield* each(rows<RawConstraint>(facts, 'constraints'), (row) => {
    if (row.type === '0' || row.definition === null) return;
    types.get(row.type)?.checks.push({ name: row.name, definition: row.definition });
  });
  return types;
}

function* routinesOf(facts: FactRows): Steps<Map<string, Routine>> {
  const extensions = new Map(
    rows<{ oid: string; extension: string }>(facts, 'extension_members').map((m) => [
      m.oid,
      m.extension,
    ]),
  );
  const routines = new Map<string, Routine>();
  yield* each(rows<Routine>(facts, 'routines'), (raw) =>
    routines.set(raw.oid, { ...raw, extension: extensions.get(raw.oid) ?? null }),
  );
  return routines;
}

function* schemasByName(facts: FactRows): Steps<Map<string, string[]>> {
  const found = rows<{ schema: string; name: string }>(facts, 'system_relations');
  const grouped = yield* group(found, (r) => r.name);
  return new Map([...grouped].map(([name, list]) => [name, list.map((r) => r.schema)]));
}

type RawDependency = Dependency & { on_class: string; on_oid: string; on_sub: number };

type Server = Pick<CatalogSnapshot, 'database' | 'port' | 'folds'> & { version: number };

/** Puts the rows of all fact queries together. */
export function buildSnapshot(facts: FactRows, version: number): CatalogSnapshot {
  const steps = buildSnapshotInSteps(facts, version);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** The same, in steps of well below a millisecond. */
export function* buildSnapshotInSteps(facts: FactRows, version: number): Steps<CatalogSnapshot> {
  const server = rows<Server>(facts, 'server')[0];
  if (server === undefined) throw new Error('the catalog did not answer: no server row');
  const relations = yield* relationsOf(facts);
  const routines = yield* routinesOf(facts);
  const types = yield* typesOf(facts);
  const casts = rows<Cast>(facts, 'casts');
  const snapshot: CatalogSnapshot = Object.freeze({
    version,
    server_version: server.version,
    database: server.database,
    port: server.port,
    folds: server.folds,
    schemas: new Map(
      rows<{ oid: string; name: string }>(facts, 'schemas').map((s) => [s.name, s.oid]),
    ),
    closed_schemas: new Set(
      rows<{ name: string; usable: boolean }>(facts, 'schemas')
        .filter((s) => !s.usable)
        .map((s) => s.name),
    ),
    relations,
    relations_named: yield* group(relations.values(), (r) => r.name),
    system_relations: yield* schemasByName(facts),
    routines,
    routines_named: yield* group(routines.values(), (r) => r.name),
    namesakes: yield* group(rows<Namesake>(facts, 'namesakes'), (r) => r.name),
    builtins: new Map(
      rows<{ oid: string; name: string }>(facts, 'builtins').map((b) => [b.oid, b.name]),
    ),
    operators_named: yield* group(rows<Operator>(facts, 'operators'), (o) => o.name),
    types,
    types_named: yield* group(types.values(), (t) => t.name),
    classes: new Map(rows<OperatorClass>(facts, 'classes').map((c) => [c.oid, c])),
    casts,
    implicit_casts: new Set(
      casts.filter((c) => c.context === 'i').map((c) => `${c.source}>${c.target}`),
    ),
    event_triggers: rows<EventTrigger>(facts, 'event_triggers'),
    dependents: yield* group(
      rows<RawDependency>(facts, 'dependencies'),
      (d) => `${d.on_class} ${d.on_oid}`,
    ),
    extensions: new Map(
      rows<{ oid: string; name: string }>(facts, 'extensions').map((e) => [e.name, e.oid]),
    ),
    servers: new Map(
      rows<{ name: string; wrapper: string }>(facts, 'servers').map((s) => [s.name, s.wrapper]),
    ),
    rule_owners: new Map(
      rows<{ oid: string; owner: string }>(facts, 'rule_owners').map((r) => [r.oid, r.owner]),
    ),
    role_settings: rows<CatalogSnapshot['role_settings'][number]>(facts, 'role_settings'),
  });
  behind.set(snapshot, facts);
  return snapshot;
}

const behind = new WeakMap<CatalogSnapshot, FactRows>();

/** The rows that a snapshot was built of: another thread builds its own of them. */
export function factsOf(snapshot: CatalogSnapshot): FactRows {
  return behind.get(snapshot) ?? {};
}
