// A person's word that came by an account of theirs: who it is, and the approver's own signature
// for it.
// Invariant: the approver signs only that this account said this; whether it counts is decided
// where every decision is (decide.ts).
import { createHash, sign } from 'node:crypto';
import { attestationBytes, type Choice } from '../binding.ts';
import type { GivenDecision } from '../decide.ts';
import { ApproverError } from '../errors.ts';
import type { ApproverKey } from '../receipt.ts';
import type { SignerStore } from '../store/signers.ts';

/** What an account said, once the channel has proved that it did. */
export interface Said {
  readonly hold: string;
  /** The digest of the binding that was shown. */
  readonly binding: string;
  readonly decision: Choice;
  readonly reason: string | null;
  readonly channel: string;
  /** `slack:U123`: the channel, and its own name of the person. */
  readonly account: string;
  /** The exact bytes that the channel had signed. */
  readonly request: Uint8Array;
}

export async function attest(
  key: ApproverKey,
  signers: SignerStore,
  said: Said,
  now: number,
): Promise<GivenDecision> {
  const { channel, account } = said;
  const person = await signers.byIdentity(account);
  if (!person?.active) {
    const [place] = channel.split(':');
    throw new ApproverError(
      'not-a-signer',
      `${account} is linked to nobody who signs here: an operator links it under Settings, or by ` +
        `holdpoint signer link NAME ${place} ${account.slice(channel.length + 1)}`,
    );
  }
  const decision = {
    v: 1,
    kind: 'holdpoint-decision',
    hold: said.hold,
    binding: said.binding,
    decision: said.decision,
    reason: said.reason,
    signer: person.name,
    signed: new Date(now).toISOString(),
  } as const;
  const request = createHash('sha256').update(said.request).digest('base64url');
  const evidence = { account, request };
  const bytes = attestationBytes(decision, channel, evidence);
  const signature = sign(null, bytes, key.private).toString('base64url');
  return { decision, key: key.kid, signature, evidence, channel };
}
