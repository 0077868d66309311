// Holdpoint's own refusals: one table of codes. PostgreSQL's own conditions (28P01, 3D000, …) keep
// its codes and words.
// Invariant: a code never changes its meaning; no message holds a secret or row data.

export interface RefusalWords {
  /** Class `ZH`: PostgreSQL leaves classes that start with I to Z to applications. */
  readonly sqlstate: string;
  readonly message: string;
  readonly hint: string;
}

export const REFUSALS = {
  held: {
    sqlstate: 'ZH001',
    message: 'this statement is held until it is signed',
    hint: 'Send exactly the same statement again once it has been approved.',
  },
  denied: {
    sqlstate: 'ZH002',
    message: 'policy denies this statement',
    hint: 'Sending it again gives the same answer; ask for less, or ask the owners of the policy.',
  },
  hold_denied: {
    sqlstate: 'ZH003',
    message: 'a signer denied this statement',
    hint: 'Read the signer’s reason before asking for anything similar.',
  },
  hold_expired: {
    sqlstate: 'ZH004',
    message: 'the hold on this statement expired before it was signed',
    hint: 'Send the statement again to open a new hold.',
  },
  record_unavailable: {
    sqlstate: 'ZH005',
    message: 'this change can’t be recorded, so it is not made',
    hint: 'Reads go on. Try the change again when the ledger is back.',
  },
  not_understood: {
    sqlstate: 'ZH006',
    message: 'this statement, or the session settings it depends on, can’t be understood safely',
    hint: 'Write it in a plainer way, or set the settings named back to their defaults.',
  },
  approver_unavailable: {
    sqlstate: 'ZH007',
    message: 'this statement needs signatures, and the approver can’t be reached',
    hint: 'Reads go on. Try again when the approver is back.',
  },
  receipt_refused: {
    sqlstate: 'ZH008',
    message: 'the approval does not fit this statement',
    hint: 'Send the statement again to open a new hold.',
  },
  stopped: {
    sqlstate: 'ZH009',
    message: 'changes are stopped by an operator',
    hint: 'Reads go on where the mode allows them. Wait until changes are resumed.',
  },
  protocol: {
    sqlstate: 'ZH010',
    message: 'this message is not part of what Holdpoint speaks',
    hint: 'Use an ordinary PostgreSQL driver with protocol 3.0 or 3.2.',
  },
  function_call: {
    sqlstate: 'ZH011',
    message: 'the function call message is refused: it carries no text that could be judged',
    hint: 'Call the function in a SELECT.',
  },
  replication: {
    sqlstate: 'ZH012',
    message: 'replication connections are refused',
    hint: 'Connect without the replication parameter.',
  },
  limit: {
    sqlstate: 'ZH013',
    message: 'a limit of Holdpoint is reached',
    hint: 'Send less at once, or split the work.',
  },
  too_many_rows: {
    sqlstate: 'ZH014',
    message: 'the change touched more rows than were approved, and was rolled back',
    hint: 'Narrow the statement, or ask for an approval that covers it.',
  },
  internal: {
    sqlstate: 'ZH999',
    message: 'Holdpoint failed while it judged this statement, so it was not sent',
    hint: 'Tell the operators of Holdpoint; its log has the details.',
  },
} as const satisfies { readonly [code: string]: RefusalWords };

export type RefusalCode = keyof typeof REFUSALS;

/**
 * A mistake of the person who starts or configures Holdpoint: shown without a stack, with the next
 * step.
 */
export class UserError extends Error {
  override name = 'UserError';
}
