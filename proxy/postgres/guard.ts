// The database as second judge: what is judged a read runs where PostgreSQL itself refuses writes.
// The session's default_transaction_read_only is `on`, and switched off only in front of a unit
// that may write.
// Invariant: outside a transaction no unit judged `read` starts unless the last switch was to `on`.
import type { Parsed, Statement } from './statement.ts';

export type Need = 'read-only' | 'read-write' | 'any';

/**
 * Session statements that run in either mode; other session statements (CREATE TEMP TABLE, …) may
 * need to write.
 */
const EITHER = new Set([
  'VariableSetStmt',
  'VariableShowStmt',
  'DeallocateStmt',
  'PrepareStmt',
  'DiscardStmt',
  'ListenStmt',
  'UnlistenStmt',
  'ClosePortalStmt',
  'FetchStmt',
  'ConstraintsSetStmt',
]);

const WORST: { readonly [N in Need]: number } = { any: 0, 'read-only': 1, 'read-write': 2 };

export function worseNeed(a: Need, b: Need): Need {
  return WORST[a] >= WORST[b] ? a : b;
}

/**
 * What a message needs; an agent without any right to write gets read-only transactions from BEGIN
 * too.
 */
export function needOf(parsed: Parsed, mayWrite: boolean): Need {
  let need: Need = 'any';
  for (const statement of parsed.statements)
    need = worseNeed(need, statementNeed(statement, mayWrite));
  return parsed.statements.length === 0 && !parsed.complete ? 'read-write' : need;
}

function statementNeed(statement: Statement, mayWrite: boolean): Need {
  if (statement.node === 'TransactionStmt') {
    const begins = statement.changes.some((change) => change.kind === 'begin');
    if (!begins) return 'any';
    return mayWrite ? 'read-write' : 'read-only';
  }
  if (EITHER.has(statement.node)) return 'any';
  if (statement.needs_read_write) return 'read-write';
  return statement.effects.every((effect) => effect.class === 'read') ? 'read-only' : 'read-write';
}

export const SWITCH_ON = 'SET default_transaction_read_only = on';
export const SWITCH_OFF = 'SET default_transaction_read_only = off';

export class Guard {
  /** What the upstream session has now, as far as the messages sent to it say. */
  #upstream: 'on' | 'off' | 'unknown' = 'on';
  /** The agent asked for read-only sessions itself: nothing is switched off then. */
  #agentReadOnly = false;

  /** The statement to send in front of a unit with this need, or null. */
  switchFor(need: Need): string | null {
    if (need === 'any') return null;
    if (need === 'read-only') return this.#upstream === 'on' ? null : SWITCH_ON;
    return this.#upstream === 'off' || this.#agentReadOnly ? null : SWITCH_OFF;
  }

  switched(statement: string): void {
    this.#upstream = statement === SWITCH_ON ? 'on' : 'off';
  }

  /** Something may have changed the setting behind our back: the next unit switches again. */
  unsettle(): void {
    this.#upstream = 'unknown';
  }

  agentAsked(readOnly: boolean): void {
    this.#agentReadOnly = readOnly;
    this.#upstream = 'unknown';
  }
}
