// One immutable picture of a database's catalog, indexed for name resolution.
// Invariant: nothing here is guessed; what the catalog did not say is null or absent.

/** Objects from this OID on were made by users (FirstNormalObjectId). */
export const FIRST_USER_OID = 16384;

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
  readonly deferrable: boolean;
  readonly function: string;
  readonly columns: readonly number[];
  readonly definition: string | null;
  /** Names of its transition tables. */
  readonly tables: readonly string[];
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
  /** By which a range is put in its usual form and measured. */
  readonly functions: readonly string[];
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
  readonly on_class: string;
  readonly on_oid: string;
  readonly on_sub: number;
  readonly kind: string;
}

export interface CatalogSnapshot {
  readonly version: number;
  readonly server_version: number;
  readonly database: string;
  readonly port: string;
  readonly schemas: ReadonlyMap<string, string>;
  /** Schemas that the target's role may not use: the server looks past them. */
  readonly closed_schemas: ReadonlySet<string>;
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
  readonly dependents: ReadonlyMap<string, readonly Dependency[]>;
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
