// One immutable picture of a database's catalog, indexed for name resolution.
// Invariant: nothing here is guessed; what the catalog did not say is null or absent.

export type RelationKind = 'r' | 'v' | 'm' | 'f' | 'p' | 'S' | 'c';

export interface Column {
  readonly number: number;
  readonly name: string;
  readonly type: string;
  readonly typmod: number;
  readonly not_null: boolean;
  readonly generated: '' | 's' | 'v';
  readonly identity: string;
  /** Default or generation expression. */
  readonly expression: string | null;
}

export interface Trigger {
  readonly name: string;
  readonly enabled: string;
  readonly type: number;
  readonly function: string;
  readonly columns: readonly number[];
  readonly definition: string | null;
}

export interface Rule {
  readonly name: string;
  readonly event: string;
  readonly enabled: string;
  readonly instead: boolean;
  readonly definition: string;
}

export interface Index {
  readonly is_unique: boolean;
  readonly immediate: boolean;
  readonly valid: boolean;
  readonly keys: number;
  readonly columns: readonly number[];
  readonly computed: boolean;
  readonly classes: readonly string[];
  readonly definition: string | null;
}

export interface ForeignKey {
  readonly name: string;
  readonly relation: string;
  readonly referenced: string;
  readonly on_delete: string;
  readonly on_update: string;
  readonly columns: readonly number[];
  readonly referenced_columns: readonly number[];
}

export interface Policy {
  readonly name: string;
  readonly command: string;
  readonly reads: string | null;
  readonly writes: string | null;
}

export interface Relation {
  readonly oid: string;
  /** Differs when its rules, which are a view's query too, are replaced. */
  readonly identity: string;
  readonly schema: string;
  readonly name: string;
  readonly kind: RelationKind;
  readonly temporary: boolean;
  readonly owner: string;
  readonly row_security: boolean;
  readonly is_partition: boolean;
  readonly server: string | null;
  readonly wrapper: string | null;
  /** `name=value` of a foreign table's server, and of the table itself. */
  readonly server_options: readonly string[] | null;
  readonly table_options: readonly string[] | null;
  readonly definition: string | null;
  readonly partition_key: string | null;
  /** Operator classes that rows are sorted to partitions by. */
  readonly partition_classes: readonly string[] | null;
  readonly columns: Column[];
  readonly checks: { readonly name: string; readonly definition: string }[];
  readonly triggers: Trigger[];
  readonly rules: Rule[];
  readonly indexes: Index[];
  readonly statistics: string[];
  readonly policies: Policy[];
  /** Keys of this table, and keys of other tables that refer to it. */
  readonly keys_out: ForeignKey[];
  readonly keys_in: ForeignKey[];
  readonly children: string[];
  readonly parents: string[];
}

export interface Routine {
  readonly oid: string;
  /** Differs when its body is replaced, which leaves the OID as it is. */
  readonly identity: string;
  readonly schema: string;
  readonly name: string;
  /** f function, p procedure, a aggregate, w window function. */
  readonly kind: string;
  readonly language: string;
  readonly source: string;
  readonly library: string | null;
  readonly body: string | null;
  /** The CREATE FUNCTION statement, of PL/pgSQL only. */
  readonly definition: string | null;
  readonly volatility: string;
  readonly definer: boolean;
  readonly owner: string;
  readonly settings: readonly string[] | null;
  readonly arguments: readonly string[];
  readonly all_arguments: readonly string[] | null;
  readonly modes: readonly string[] | null;
  readonly names: readonly string[] | null;
  readonly defaults: number;
  readonly variadic: string;
  readonly result: string;
  readonly result_text: string | null;
  readonly support: string;
  readonly default_expressions: string | null;
  readonly parts: readonly (string | null)[] | null;
  readonly extension: string | null;
}

/** A built-in function that shares its name with a user's. */
export interface Namesake {
  readonly oid: string;
  readonly name: string;
  readonly arguments: readonly string[];
  readonly defaults: number;
  readonly variadic: string;
  readonly result: string;
}

export interface Operator {
  readonly oid: string;
  readonly schema: string;
  readonly name: string;
  readonly left: string;
  readonly right: string;
  readonly code: string;
  readonly with: readonly (string | null)[];
  readonly support: readonly string[] | null;
}

export interface Type {
  readonly oid: string;
  readonly schema: string;
  readonly name: string;
  /** b base, c composite, d domain, e enum, p pseudo, r range, m multirange. */
  readonly kind: string;
  readonly category: string;
  readonly base: string;
  readonly relation: string;
  /** What an array or range is made of. */
  readonly element: string;
  /** Operator class by which a range compares its bounds. */
  readonly class: string;
  /** Default of a domain. */
  readonly preset: string | null;
  /** Values of an enum; null for any other type. */
  readonly labels: readonly string[] | null;
  /** Check constraints of a domain. */
  readonly checks: { readonly name: string; readonly definition: string }[];
}

export interface OperatorClass {
  readonly oid: string;
  readonly type: string;
  readonly is_default: boolean;
  readonly functions: readonly string[];
}

export interface Cast {
  readonly source: string;
  readonly target: string;
  readonly function: string;
  /** e explicit, a assignment, i implicit. */
  readonly context: string;
}

export interface EventTrigger {
  readonly name: string;
  readonly event: string;
  readonly function: string;
  readonly tags: readonly string[] | null;
}

export interface Dependency {
  readonly class: string;
  readonly oid: string;
  readonly sub: number;
  readonly kind: string;
}

export interface CatalogSnapshot {
  readonly version: number;
  readonly server_version: number;
  readonly database: string;
  readonly port: string;
  readonly schemas: ReadonlyMap<string, string>;
  readonly relations: ReadonlyMap<string, Relation>;
  readonly relations_named: ReadonlyMap<string, readonly Relation[]>;
  /** Schemas of the system's relations of a name. */
  readonly system_relations: ReadonlyMap<string, readonly string[]>;
  readonly routines: ReadonlyMap<string, Routine>;
  readonly routines_named: ReadonlyMap<string, readonly Routine[]>;
  readonly namesakes: ReadonlyMap<string, readonly Namesake[]>;
  /** Names of built-in functions that are not immutable, by OID. */
  readonly builtins: ReadonlyMap<string, string>;
  readonly operators_named: ReadonlyMap<string, readonly Operator[]>;
  readonly types: ReadonlyMap<string, Type>;
  readonly types_named: ReadonlyMap<string, readonly Type[]>;
  readonly classes: ReadonlyMap<string, OperatorClass>;
  readonly casts: readonly Cast[];
  /** `source>target` of casts that PostgreSQL applies by itself. */
  readonly implicit_casts: ReadonlySet<string>;
  readonly event_triggers: readonly EventTrigger[];
  /** What depends on an object, by `pg_class 16385`. */
  readonly dependents: ReadonlyMap<string, readonly (Dependency & { readonly on_sub: number })[]>;
  readonly extensions: ReadonlyMap<string, string>;
  /** There is a collation under which texts that differ may be equal. */
  readonly folds: boolean;
  /** Foreign servers and the wrapper of each. */
  readonly servers: ReadonlyMap<string, string>;
  /** Views by the rule that makes them one. */
  readonly rule_owners: ReadonlyMap<string, string>;
  readonly role_settings: readonly {
    readonly role: string;
    readonly database: string;
    readonly settings: readonly string[] | null;
  }[];
}

export type FactRows = { readonly [name: string]: readonly Row[] };
type Row = { readonly [column: string]: unknown };

// The driver hands rows over untyped; each query in facts.ts names its columns as the interface
// does.
function rows<T>(facts: FactRows, name: string): readonly T[] {
  return (facts[name] ?? []) as unknown as readonly T[];
}

function group<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const grouped = new Map<string, T[]>();
  for (const item of items) {
    const name = key(item);
    const list = grouped.get(name);
    if (list === undefined) grouped.set(name, [item]);
    else list.push(item);
  }
  return grouped;
}

type Of<T> = T & { readonly relation: string };
type RawRelation = Omit<Relation, 'temporary'> & { readonly persistence: string };
type RawConstraint = Omit<ForeignKey, never> & {
  kind: string;
  type: string;
  definition: string | null;
};

function relationsOf(facts: FactRows): Map<string, Relation> {
  const relations = new Map<string, Relation>();
  for (const raw of rows<RawRelation>(facts, 'relations')) {
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
  }
  for (const part of ['columns', 'triggers', 'rules', 'indexes', 'policies'] as const)
    for (const row of rows<Of<Column & Trigger & Rule & Index & Policy>>(facts, part))
      relations.get(row.relation)?.[part].push(row);
  for (const row of rows<Of<{ expressions: string[] | null }>>(facts, 'statistics')) {
    relations.get(row.relation)?.statistics.push(...(row.expressions ?? []));
  }
  for (const row of rows<{ child: string; parent: string }>(facts, 'inherits')) {
    relations.get(row.parent)?.children.push(row.child);
    relations.get(row.child)?.parents.push(row.parent);
  }
  for (const row of rows<RawConstraint>(facts, 'constraints')) {
    if (row.kind === 'f') {
      relations.get(row.relation)?.keys_out.push(row);
      relations.get(row.referenced)?.keys_in.push(row);
    } else if (row.definition !== null) {
      relations.get(row.relation)?.checks.push({ name: row.name, definition: row.definition });
    }
  }
  return relations;
}

function typesOf(facts: FactRows): Map<string, Type> {
  const types = new Map<string, Type>();
  for (const raw of rows<Type>(facts, 'types')) types.set(raw.oid, { ...raw, checks: [] });
  for (const row of rows<RawConstraint>(facts, 'constraints')) {
    if (row.type === '0' || row.definition === null) continue;
    types.get(row.type)?.checks.push({ name: row.name, definition: row.definition });
  }
  return types;
}

function routinesOf(facts: FactRows): Map<string, Routine> {
  const extensions = new Map(
    rows<{ oid: string; extension: string }>(facts, 'extension_members').map((m) => [
      m.oid,
      m.extension,
    ]),
  );
  const routines = new Map<string, Routine>();
  for (const raw of rows<Routine>(facts, 'routines')) {
    routines.set(raw.oid, { ...raw, extension: extensions.get(raw.oid) ?? null });
  }
  return routines;
}

function schemasByName(facts: FactRows): Map<string, string[]> {
  const found = rows<{ schema: string; name: string }>(facts, 'system_relations');
  const grouped = group(found, (r) => r.name);
  return new Map([...grouped].map(([name, list]) => [name, list.map((r) => r.schema)]));
}

type RawDependency = Dependency & { on_class: string; on_oid: string; on_sub: number };

type Server = Pick<CatalogSnapshot, 'database' | 'port' | 'folds'> & { version: number };

/** Puts the rows of all fact queries together. */
export function buildSnapshot(facts: FactRows, version: number): CatalogSnapshot {
  const server = rows<Server>(facts, 'server')[0];
  if (server === undefined) throw new Error('the catalog did not answer: no server row');
  const relations = relationsOf(facts);
  const routines = routinesOf(facts);
  const types = typesOf(facts);
  const casts = rows<Cast>(facts, 'casts');
  const snapshot: CatalogSnapshot = Object.freeze({
    version,
    server_version: server.version,
    database: server.database,
    port: server.port,
    schemas: new Map(
      rows<{ oid: string; name: string }>(facts, 'schemas').map((s) => [s.name, s.oid]),
    ),
    relations,
    relations_named: group([...relations.values()], (r) => r.name),
    system_relations: schemasByName(facts),
    routines,
    routines_named: group([...routines.values()], (r) => r.name),
    namesakes: group(rows<Namesake>(facts, 'namesakes'), (r) => r.name),
    builtins: new Map(
      rows<{ oid: string; name: string }>(facts, 'builtins').map((b) => [b.oid, b.name]),
    ),
    operators_named: group(rows<Operator>(facts, 'operators'), (o) => o.name),
    types,
    types_named: group([...types.values()], (t) => t.name),
    classes: new Map(rows<OperatorClass>(facts, 'classes').map((c) => [c.oid, c])),
    casts,
    implicit_casts: new Set(
      casts.filter((c) => c.context === 'i').map((c) => `${c.source}>${c.target}`),
    ),
    event_triggers: rows<EventTrigger>(facts, 'event_triggers'),
    dependents: group(
      rows<RawDependency>(facts, 'dependencies'),
      (d) => `${d.on_class} ${d.on_oid}`,
    ),
    extensions: new Map(
      rows<{ oid: string; name: string }>(facts, 'extensions').map((e) => [e.name, e.oid]),
    ),
    folds: server.folds,
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
