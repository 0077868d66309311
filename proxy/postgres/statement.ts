// A parsed message of PostgreSQL statements: what each would do, and what it would change in the
// session.
// Invariant: judged with the session's own settings and a catalog snapshot; what they can't settle
// is `unknown`.
import type { Node } from '@pgsql/types';
import type { Analysis, Effect } from '../effect/effect.ts';

/**
 * What the proxy knows of a session that changes what statement text means. Kept by state.ts from
 * SessionChange.
 */
export interface SessionContext {
  /**
   * Current schemas in order as names; `$user` kept as written. null when it can't be known (set
   * from a computed value).
   */
  readonly search_path: readonly string[] | null;
  /** session_user as the upstream sees it, and the role in force (SET ROLE); null when unknown. */
  readonly user: string;
  readonly role: string | null;
  /** null: not known at the moment. */
  readonly standard_conforming_strings: boolean | null;
  /** It has been off in this session: the server keeps what it read of bodies then. */
  readonly escaped_bodies: boolean;
  /** null: not known at the moment. */
  readonly client_encoding: string | null;
  /**
   * Names of temporary relations and functions made in this session, lower-cased as resolved, plus
   * `*` when unknown.
   */
  readonly temporary: ReadonlySet<string>;
  /** SQL-level prepared statements (PREPARE) and protocol-level named ones, by name. */
  readonly prepared: ReadonlyMap<string, Statement>;
  /** Open cursors and portals by name, with what running them would do. */
  readonly cursors: ReadonlyMap<string, Statement>;
  /**
   * Objects this session made or changed that the catalog snapshot may not show yet, by {@link
   * localKey}.
   */
  readonly local: ReadonlyMap<string, LocalObject>;
  /**
   * A setting or a temporary object was changed since the transaction began: when the transaction
   * ends, or goes back to a savepoint, it may be as before.
   */
  readonly revertible: boolean;
  /** The search path that RESET and DISCARD ALL bring back. */
  readonly default_search_path: readonly string[] | null;
}

/**
 * An object made or changed in this session: temporary, or made in a transaction that other
 * connections can't see.
 * A committed one counts only until a newer snapshot than `catalog_version` is used.
 */
export interface LocalObject {
  readonly kind: 'relation' | 'function' | 'operator';
  readonly schema: string | null;
  readonly name: string;
  /** What reading (or calling) it runs, and what writing to it sets off besides. */
  readonly on_read: readonly Effect[];
  readonly on_write: readonly Consequence[];
  /**
   * true: it stands alone (a new table); false: it adds to what the catalog says of the same name.
   */
  readonly fresh: boolean;
  /** What it may change in the session whenever it runs. */
  readonly changes?: readonly SessionChange[];
  /** Names that it had, or has: what is known under one of them is known of it. */
  readonly also?: readonly Place[];
  /** Judged again when other things have changed: by then it may do more. */
  readonly said: readonly SaidBy[];
  readonly committed: boolean;
  readonly catalog_version: number;
}

/** A relation by name; its schema is null where it is not known. */
export interface Place {
  readonly schema: string | null;
  readonly name: string;
}

/** A statement that made or changed something, and the schemas in force then. */
export interface SaidBy {
  readonly node: Node;
  readonly path: readonly string[] | null;
}

export type WriteEvent = 'insert' | 'update' | 'delete' | 'truncate';

/** What changes of a relation's rows set off: effects, or changes of another relation's rows. */
export interface Consequence {
  readonly on: readonly WriteEvent[];
  readonly effects: readonly Effect[];
  readonly lead: Lead | null;
}

/** Another relation whose rows change too. What that sets off is looked up when it happens. */
export interface Lead {
  readonly schema: string | null;
  readonly name: string;
  /** null: the same change goes on there, as in partitions and behind views. */
  readonly event: WriteEvent | null;
  readonly via: string;
}

export function localKey(kind: LocalObject['kind'], name: string): string {
  return `${kind} ${name}`;
}

/**
 * What a statement does to the session, known before it runs; applied when the engine reports
 * success.
 */
export type SessionChange =
  | {
      readonly kind: 'set';
      readonly name: string;
      readonly value: string | null;
      readonly local: boolean;
    }
  | { readonly kind: 'reset'; readonly name: string }
  | { readonly kind: 'reset-all' }
  | { readonly kind: 'begin'; readonly read_only: boolean | null }
  | {
      readonly kind: 'commit' | 'rollback';
      readonly chain: boolean;
      readonly catalog_version: number;
    }
  | { readonly kind: 'savepoint' | 'release' | 'rollback-to'; readonly name: string }
  | { readonly kind: 'prepare'; readonly name: string; readonly statement: Statement }
  | { readonly kind: 'deallocate'; readonly name: string | null }
  | {
      readonly kind: 'declare';
      readonly name: string;
      readonly statement: Statement;
      readonly hold: boolean;
      /** It may not have come to it: one of that name from before is meant as well. */
      readonly perhaps?: boolean;
    }
  | { readonly kind: 'close'; readonly name: string | null }
  | { readonly kind: 'temporary'; readonly name: string }
  | { readonly kind: 'object'; readonly object: LocalObject }
  | { readonly kind: 'discard'; readonly what: 'all' | 'plans' | 'temporary' | 'sequences' }
  /** A setting may have changed in a way that can't be read off the text. */
  | { readonly kind: 'unsettled'; readonly why: string };

export interface Statement {
  /** Of what is prepared or declared: the query itself, judged again when it is run. */
  readonly query?: Node;
  /** Types that PREPARE gives its parameters. */
  readonly types?: readonly Node[];
  /** This statement's own text, a slice of the message. */
  readonly text: string;
  /** The grammar's node name: `SelectStmt`, `DeleteStmt`, … */
  readonly node: string;
  readonly effects: readonly Effect[];
  readonly changes: readonly SessionChange[];
  /**
   * It can't share a transaction with anything (VACUUM, CREATE DATABASE, …) or ends and starts
   * transactions itself (CALL, DO).
   */
  readonly own_transaction: boolean;
  /**
   * It takes row locks or advances state that a read-only transaction refuses, although its class
   * is `read` (SELECT FOR UPDATE).
   */
  readonly needs_read_write: boolean;
  /**
   * Parse analysis and Describe of it can run no user code. Planning may: see Bind in README.md.
   */
  readonly highest_parameter: number;
  /** A literal in it is converted, and checked by users' code, as soon as it is parsed. */
  readonly on_parse?: boolean;
  /** Parameters that a bound on rows rests on: it does not hold for all types of them. */
  readonly compared?: readonly number[];
}

export interface Parsed extends Analysis {
  readonly statements: readonly Statement[];
  /**
   * Facts from the catalog were used; it must be judged again when the snapshot's version differs.
   */
  readonly catalog_version: number;
}
