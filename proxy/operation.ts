// An operation: one thing an agent asked an engine to do, with all that a judge, a signer and the
// ledger need.
// Invariant: `bytes` are the statement's bytes exactly as the client sent them and as they will be
// forwarded.
import type { Analysis } from './effect/effect.ts';

export type EngineName = 'postgres' | 'mysql' | 'mongodb';

/** One bound parameter, decoded for people and kept as bytes for the binding. */
export interface Parameter {
  /** The type's name (`int4`, `text`, …) or its number when it has no known name. */
  readonly type: string;
  readonly format: 'text' | 'binary';
  /** The bytes on the wire; null is SQL NULL. */
  readonly bytes: Uint8Array | null;
  /**
   * The value as text, for the card and the policy; null is SQL NULL; undecodable bytes appear as
   * `\x…`.
   */
  readonly text: string | null;
}

/** The target as policy, card and ledger see it: never a credential. */
export interface TargetView {
  readonly name: string;
  readonly engine: EngineName;
  readonly environment: string;
  readonly database: string;
  /** false: judged and recorded but let pass (observe only). */
  readonly enforce: boolean;
  readonly tags: readonly string[];
}

export interface AgentView {
  readonly name: string;
  readonly groups: readonly string[];
  readonly capabilities: readonly string[];
  readonly scopes: readonly string[];
}

/** What the agent says of itself: shown and recorded as stated, never trusted. */
export interface Stated {
  readonly reason: string | null;
  readonly task: string | null;
  readonly on_behalf_of: string | null;
}

export interface SessionView {
  /** One client connection (UUID). */
  readonly id: string;
  readonly application: string | null;
  readonly client_address: string;
  readonly started: string;
  readonly stated: Stated;
  /**
   * Settings that change what text means: search_path, role, standard_conforming_strings, sql_mode,
   * … by name.
   */
  readonly settings: { readonly [name: string]: string };
}

export interface Operation {
  /** UUID; the ledger's idempotence key together with the phase. */
  readonly id: string;
  readonly engine: EngineName;
  readonly bytes: Uint8Array;
  readonly parameters: readonly Parameter[];
  readonly analysis: Analysis;
  readonly target: TargetView;
  readonly agent: AgentView;
  readonly session: SessionView;
  readonly in_transaction: boolean;
  /** Age of the open transaction in milliseconds; null outside one. */
  readonly transaction_age_ms: number | null;
  /** RFC 3339, UTC. */
  readonly asked: string;
}
