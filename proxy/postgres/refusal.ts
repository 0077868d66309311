// A refusal in PostgreSQL's words, with Holdpoint's own SQLSTATE.
// Invariant: the words name the thing, the reason and the next step, and all stand in MESSAGE: most
// drivers, and the tools that models use, hand on nothing else. No secret and no row data.
import { REFUSALS } from '../errors.ts';
import type { Refusal } from '../session/flow.ts';
import { encodeReport } from './encode.ts';

export function encodeRefusal(refusal: Refusal, severity: 'ERROR' | 'FATAL' = 'ERROR'): Buffer {
  const words = REFUSALS[refusal.code];
  const { message = words.message, detail, hint = words.hint } = refusal;
  return encodeReport({ severity, code: words.sqlstate, message: whole(message, detail, hint) });
}

/** The notice a waiting client gets: the same facts as the error it would get after the wait. */
export function encodeWaitNotice(words: { message: string; detail: string; hint: string }): Buffer {
  const message = whole(words.message, words.detail, words.hint);
  return encodeReport({ severity: 'NOTICE', code: REFUSALS.held.sqlstate, message });
}

function whole(message: string, detail: string | undefined, hint: string): string {
  const told = detail === undefined ? message : `${message}. ${detail.replace(/\.$/, '')}`;
  return `${told}. ${hint}`;
}
