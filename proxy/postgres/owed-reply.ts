// What the proxy waits for after each message it sent to the server, in the words of
// session/owed.ts.
// Invariant: every message that the server answers has exactly one entry; the proxy's own are
// marked and never reach the client.

import type { Portal, Prepared } from './names.ts';
import type { PostgresOperation } from './operation.ts';
import type { SessionChange } from './statement.ts';

/** A running operation whose end matters: it is recorded, or it changes what the session means. */
export interface Run {
  readonly operation: PostgresOperation | null;
  readonly hold: string | null;
  /** Session changes of each statement, in order. */
  readonly changes: readonly (readonly SessionChange[])[];
  /** Each statement's text with its parameters, where it makes something that later text names. */
  readonly texts: readonly string[];
  /** Milliseconds of performance.now(). */
  readonly began: number;
  finished: number | null;
  completed: number;
  tag: string | null;
  rows: number | null;
  failure: string | null;
}

export type Reply =
  | { readonly kind: 'parse'; readonly prepared: Prepared }
  | Portal
  | { readonly kind: 'close'; readonly what: 'statement' | 'portal'; readonly name: string }
  | { readonly kind: 'describe'; readonly prepared: Prepared | null }
  | { readonly kind: 'execute'; readonly run: Run | null }
  | { readonly kind: 'query'; readonly run: Run | null }
  | { readonly kind: 'sync'; readonly own: boolean }
  /** Sure to fail: its error becomes the refusal. */
  | { readonly kind: 'failure'; readonly refusal: Buffer }
  /**
   * A statement of the proxy's own: all its replies are taken, up to ReadyForQuery or its last
   * CloseComplete.
   */
  | Own;

export interface Own {
  readonly kind: 'own';
  readonly synced: boolean;
  closes: number;
  failed: boolean;
  /** The server's ErrorResponse, whole. */
  error: Buffer | null;
  readonly row: ((columns: readonly (string | null)[]) => void) | null;
  readonly done: ((failed: boolean) => void) | null;
}

/** CloseCompletes that a statement of the proxy's own brings; see encodeOwnStatement. */
export const OWN_CLOSES = 3;

export const EXECUTE: Reply = { kind: 'execute', run: null };
export const QUERY: Reply = { kind: 'query', run: null };
export const SYNC_REPLY: Reply = { kind: 'sync', own: false };
export const OWN_SYNC: Reply = { kind: 'sync', own: true };
export const DESCRIBE: Reply = { kind: 'describe', prepared: null };
