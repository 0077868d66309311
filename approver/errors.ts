// Every error code of the approver, one table: the status it has over HTTP and its title.
// Invariant: a code is stable; the detail names the thing, the reason and the next step, and never
// a secret.

export const CODES = {
  'bad-request': { status: 400, title: 'The request is not understood' },
  'sign-in-needed': { status: 401, title: 'Sign in first' },
  'step-up-needed': { status: 401, title: 'Sign in again for this' },
  forbidden: { status: 403, title: 'Not allowed' },
  'not-found': { status: 404, title: 'Not found' },
  'not-a-signer': { status: 403, title: 'Not a signer of this hold' },
  'wrong-channel': { status: 403, title: 'This way of deciding does not count here' },
  'self-approval': { status: 403, title: 'Nobody approves what was asked on their own behalf' },
  'bad-signature': { status: 403, title: 'The signature does not fit' },
  'stale-card': { status: 409, title: 'The hold has changed since it was shown' },
  decided: { status: 409, title: 'The hold is already decided' },
  'already-signed': { status: 409, title: 'You have already signed this hold' },
  'reason-needed': { status: 422, title: 'A reason is needed' },
  'key-reused': { status: 422, title: 'This Idempotency-Key is of another request' },
  replayed: { status: 409, title: 'This was taken before' },
  conflict: { status: 409, title: 'Somebody else changed it at the same time' },
  'too-many': { status: 429, title: 'Too many requests' },
  'too-large': { status: 413, title: 'Too large' },
  'ledger-unavailable': { status: 503, title: 'The ledger can not record this' },
  internal: { status: 500, title: 'Internal error' },
} as const satisfies { readonly [code: string]: { status: number; title: string } };

export type Code = keyof typeof CODES;

export class ApproverError extends Error {
  override name = 'ApproverError';
  readonly code: Code;

  constructor(code: Code, detail: string, options?: ErrorOptions) {
    super(detail, options);
    this.code = code;
  }
}
