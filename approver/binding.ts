// What people sign: the digest of a binding, and the bytes of one decision about it.
// Invariant: both are RFC 8785 canonical JSON, so that anybody can compute them again from the same
// facts.

import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import type { ReceiptClaims } from '../proxy/contract.ts';
import type { Binding } from './contract.ts';

export type Choice = 'approve' | 'deny' | 'withdraw';

/** One person's word on one hold, as signed. */
export interface SignedDecision {
  readonly v: 1;
  readonly kind: 'holdpoint-decision';
  readonly hold: string;
  /** base64url SHA-256 of the canonical binding. */
  readonly binding: string;
  readonly decision: Choice;
  readonly reason: string | null;
  readonly signer: string;
  /** RFC 3339: the signer's clock. */
  readonly signed: string;
}

/** The approval that a receipt says one of its signers gave: what their signature in it is over. */
export function approvalIn(
  claims: ReceiptClaims,
  signer: ReceiptClaims['signers'][number],
): SignedDecision {
  return {
    v: 1,
    kind: 'holdpoint-decision',
    hold: claims.jti,
    binding: claims.binding,
    decision: 'approve',
    reason: signer.reason,
    signer: signer.name,
    signed: signer.signed,
  };
}

export function canonical(value: unknown): string {
  const text = canonicalize(value);
  if (text === undefined) throw new Error('not a JSON value');
  return text;
}

export function digestOf(binding: Binding): string {
  return createHash('sha256').update(canonical(binding)).digest('base64url');
}

/** The exact bytes that a signer's key signs; a passkey signs their SHA-256 as its challenge. */
export function decisionBytes(decision: SignedDecision): Uint8Array {
  return Buffer.from(`holdpoint decision v1\n${canonical(decision)}`);
}

/**
 * What the approver signs where a person has no key of their own: the decision, and on whose word.
 * Never the same bytes as a person's.
 */
export function attestationBytes(
  decision: SignedDecision,
  channel: string,
  evidence: { readonly account: string; readonly request: string },
): Uint8Array {
  const { account, request } = evidence;
  const attested = canonical({ decision, channel, account, request });
  return Buffer.from(`holdpoint attestation v1\n${attested}`);
}

/** base64url, as WebAuthn carries challenges. */
export function challengeOf(decision: SignedDecision): string {
  return createHash('sha256').update(decisionBytes(decision)).digest('base64url');
}
