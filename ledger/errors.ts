// The ledger's errors: one class, one table of codes.
// Invariant: a message names the thing, the reason and the next step; never a secret or a
// statement.

export const LEDGER_ERRORS = {
  'entry-too-large': 'An entry is longer than 65,535 bytes in canonical form.',
  'entry-invalid': 'An entry is not JSON that RFC 8785 can write, or lacks a field.',
  'body-too-large': 'A statement body is larger than the ledger stores.',
  'append-too-large': 'One append call has too many entries.',
  'key-invalid': 'An idempotence key is empty, too long or has control characters.',
  busy: 'Too many entries wait for the disk already.',
  unavailable: 'The log stopped after a failed write and has not recovered yet.',
  closed: 'The ledger is closed.',
  locked: 'Another process has the log open for writing.',
  'journal-missing': 'There is a checkpoint but no journal.',
  'journal-corrupt': 'The journal is damaged before its end.',
  'rolled-back': 'The log is shorter than a checkpoint it has signed.',
  'key-mismatch': 'The log was signed with another key or has another name.',
  'not-found': 'No such entry.',
  removed: 'Retention removed the entry; its hash is still in the tree.',
  'note-invalid': 'A signed note or checkpoint is malformed or its signature is wrong.',
  'tile-invalid': 'A tile or bundle is missing or malformed.',
  'proof-invalid': 'A proof is malformed or does not lead to the root.',
  unauthorized: 'The token or certificate is missing or unknown.',
  forbidden: 'The token or certificate lacks the right.',
  remote: 'The ledger service answered with an error.',
} as const;

export type LedgerErrorCode = keyof typeof LEDGER_ERRORS;

export class LedgerError extends Error {
  override name = 'LedgerError';
  readonly code: LedgerErrorCode;

  constructor(code: LedgerErrorCode, message: string, options?: { cause: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** The reason of a caught value, for a message. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
