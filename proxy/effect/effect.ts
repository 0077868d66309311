// The one effect schema (version 1): what an operation would do, whatever the engine.
// Invariant: a closed union; what is not understood is class `unknown` with `opaque` saying why,
// never a guess.

export const EFFECT_SCHEMA_VERSION = 1;

/** From harmless to worst. The order is the severity: see {@link worst}. */
export const CLASSES = [
  'read',
  'session',
  'write',
  'ddl',
  'destructive',
  'admin',
  'unknown',
] as const;
export type EffectClass = (typeof CLASSES)[number];

export type Access =
  | 'read'
  | 'insert'
  | 'update'
  | 'delete'
  | 'truncate'
  | 'create'
  | 'alter'
  | 'drop'
  | 'lock'
  | 'execute'
  | 'grant'
  | 'set'
  | 'use';

export type ObjectKind =
  | 'table'
  | 'view'
  | 'materialized-view'
  | 'foreign-table'
  | 'sequence'
  | 'index'
  | 'collection'
  | 'column'
  | 'constraint'
  | 'trigger'
  | 'rule'
  | 'policy'
  | 'function'
  | 'type'
  | 'schema'
  | 'database'
  | 'role'
  | 'setting'
  | 'file'
  | 'program'
  | 'slot'
  | 'server'
  | 'extension'
  | 'large-object'
  | 'publication'
  | 'subscription'
  | 'event-trigger'
  | 'tablespace'
  | 'language'
  | 'operator'
  | 'collation'
  | 'statistics'
  | 'text-search'
  | 'access-method'
  | 'cursor'
  | 'prepared-statement'
  | 'channel'
  | 'process'
  | 'other';

/** One thing in the database that an operation touches, and how. */
export interface EffectObject {
  readonly kind: ObjectKind;
  readonly database: string | null;
  readonly schema: string | null;
  readonly name: string;
  /** Columns named, where they are known; empty means all or not applicable. */
  readonly columns: readonly string[];
  readonly access: Access;
  /**
   * How it is reached when it is not named: `view public.v`, `trigger t on public.x`, `foreign key
   * f on delete cascade`.
   */
  readonly via: readonly string[];
  /** Filled from policy data (`pii`, …) when the policy input is made. */
  readonly tags: readonly string[];
  /**
   * The engine's own identity (PostgreSQL OID, collection UUID) when the catalog gave it; approvals
   * are void when it changes.
   */
  readonly identity: string | null;
}

export type Predicate = 'none' | 'tautology' | 'key' | 'filter' | 'not-applicable';

export interface Effect {
  readonly class: EffectClass;
  /**
   * `select`, `insert`, `update`, `delete`, `merge`, `truncate`, `drop`, `alter`, `create`,
   * `grant`, `set`, `begin`, `commit`, `copy`, `call`, …
   */
  readonly verb: string;
  readonly objects: readonly EffectObject[];
  readonly predicate: Predicate;
  /** false: nothing narrows a change: no predicate, a tautology, a truncate, a drop of data. */
  readonly scoped: boolean;
  /**
   * The most rows that it changes, each as often as it is changed: proven by a unique key, literal
   * rows, and how often what sets it off runs. null: no number is proven.
   */
  readonly rows_max: number | null;
  readonly reversible: boolean;
  /** Why the class is `unknown`; null otherwise. */
  readonly opaque: string | null;
}

/** What the effect stage knows of one operation (a whole message: one or more statements). */
export interface Analysis {
  /** The worst class of all effects. */
  readonly class: EffectClass;
  /** false when anything in it could not be understood. */
  readonly complete: boolean;
  /** true when any change in it is not scoped. */
  readonly unscoped: boolean;
  readonly effects: readonly Effect[];
  /**
   * The statement with literals replaced by placeholders; for search and grouping, never for
   * judging.
   */
  readonly normalized: string;
  /** Short hex identity of the shape; the same for statements that differ in literals only. */
  readonly fingerprint: string;
}

const SEVERITY: { readonly [C in EffectClass]: number } = {
  read: 0,
  session: 1,
  write: 2,
  ddl: 3,
  destructive: 4,
  admin: 5,
  unknown: 6,
};

export function severity(c: EffectClass): number {
  return SEVERITY[c];
}

/** The worst of the classes given; `read` for none. */
export function worst(classes: Iterable<EffectClass>): EffectClass {
  let found: EffectClass = 'read';
  for (const c of classes) if (SEVERITY[c] > SEVERITY[found]) found = c;
  return found;
}

/** true for every class that needs its decision on record before it may run. */
export function isChange(c: EffectClass): boolean {
  return SEVERITY[c] >= SEVERITY.write;
}

/** What could not be understood, and why: nothing of it is known to be safe. */
export function unknownEffect(reason: string): Effect {
  return {
    class: 'unknown',
    verb: 'unknown',
    objects: [],
    predicate: 'not-applicable',
    scoped: false,
    rows_max: null,
    reversible: false,
    opaque: reason,
  };
}
