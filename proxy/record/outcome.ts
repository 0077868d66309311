// What the engine said it did, as a ledger entry.
// Invariant: no row data; the engine's own word is cut, never interpreted.
import type { OutcomeEntry } from '../../ledger/contract.ts';
import type { Operation } from '../operation.ts';
import { asked, cut } from './decision.ts';
import { ANSWER_CHARS } from './limits.ts';

export interface OutcomeDetail {
  readonly outcome: OutcomeEntry['outcome'];
  /** A command tag, a result's summary, an SQLSTATE. */
  readonly answer: string | null;
  readonly rows: number | null;
  readonly duration_ms: number | null;
  readonly by: string;
  readonly now?: Date;
}

export function outcomeEntry(operation: Operation, detail: OutcomeDetail): OutcomeEntry {
  return {
    v: 1,
    time: (detail.now ?? new Date()).toISOString(),
    by: detail.by,
    kind: 'outcome',
    ...asked(operation),
    outcome: detail.outcome,
    answer: detail.answer === null ? null : cut(detail.answer, ANSWER_CHARS),
    rows: detail.rows,
    duration_ms: detail.duration_ms,
  };
}

export function outcomeKey(entry: OutcomeEntry): string {
  return `${entry.operation}/outcome`;
}
