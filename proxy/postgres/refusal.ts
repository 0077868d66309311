// A refusal in PostgreSQL's words: ErrorResponse with Holdpoint's own SQLSTATE, DETAIL and HINT.
// Invariant: the words name the thing, the reason and the next step; no secret and no row data.
import { REFUSALS } from '../errors.ts';
import type { Refusal } from '../session/flow.ts';
import { encodeReport } from './encode.ts';

export function encodeRefusal(refusal: Refusal, severity: 'ERROR' | 'FATAL' = 'ERROR'): Buffer {
  const words = REFUSALS[refusal.code];
  return encodeReport({
    severity,
    code: words.sqlstate,
    message: refusal.message ?? words.message,
    detail: refusal.detail,
    hint: refusal.hint ?? words.hint,
  });
}

/** The notice a waiting client gets: the same facts as the error it would get after the wait. */
export function encodeWaitNotice(words: { message: string; detail: string; hint: string }): Buffer {
  return encodeReport({ severity: 'NOTICE', code: REFUSALS.held.sqlstate, ...words });
}
