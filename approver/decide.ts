// One person's decision: whether it counts, and what it does to the hold.
// Invariant: every channel (page, command line, chat) comes through here; there is no other way to
// sign.
import { KEY_CHANNELS } from '../proxy/verdict/verdict.ts';
import type { SignedDecision } from './binding.ts';
import { ApproverError } from './errors.ts';
import { approved, channelFault, concerns, demandStates, ownHold, wanted } from './hold.ts';
import * as limits from './limits.ts';
import { type ApproverKey, issueReceipt, ownJwk } from './receipt.ts';
import { loadRoster, type Routing } from './routing.ts';
import { checkSignature, isAttestation, type PasskeyRules, type PublicJwk } from './sign.ts';
import type { Hold, HoldChange, Signature } from './store/holds.ts';
import type { Signer, SignerStore } from './store/signers.ts';
import type { Store } from './store.ts';

/** One person's decision as it arrives from any channel. */
export interface GivenDecision {
  readonly decision: SignedDecision;
  /** JWK thumbprint of the key that signed: the person's, or ours where we attest their word. */
  readonly key: string;
  readonly signature: string;
  readonly evidence: Signature['evidence'];
  readonly channel: string;
}

interface Parts {
  readonly store: Store;
  readonly key: ApproverKey;
  readonly passkeys: PasskeyRules;
  readonly now: () => number;
  readonly routing: () => Routing;
}

/** Throws what is wrong with it; a decision that comes back is good, and not yet recorded. */
export async function checkDecision(
  parts: Parts,
  hold: Hold,
  given: GivenDecision,
): Promise<{ readonly signer: Signer; readonly signature: Signature }> {
  const d = given.decision;
  const open = d.decision === 'withdraw' ? ['pending', 'approved'] : ['pending'];
  if (!open.includes(hold.state)) {
    throw new ApproverError('decided', `hold ${hold.id} is already ${hold.state}`);
  }
  if (d.hold !== hold.id || d.binding !== hold.request.digest) {
    throw new ApproverError('stale-card', `what was signed is not hold ${hold.id}: load it again`);
  }
  const age = Math.abs(Date.parse(d.signed) - parts.now());
  if (!(age <= limits.SIGNED_SKEW_MS) || d.signed.length > 40) {
    throw new ApproverError('bad-signature', 'the signature is too old, or a clock is wrong');
  }
  const byKey = KEY_CHANNELS.includes(given.channel);
  const { signer, method } = byKey ? await byOwnKey(parts, given) : await byAccount(parts, given);
  const roster = await loadRoster(parts.store.signers, parts.routing(), parts.now());
  const standing = roster.who(hold, signer);
  mayDecide(hold, standing, d, given.channel);
  return {
    signer,
    signature: {
      hold: hold.id,
      signer: signer.name,
      decision: d.decision,
      method,
      channel: given.channel,
      key: given.key,
      signature: given.signature,
      evidence: given.evidence,
      reason: d.reason,
      groups: standing.groups,
      signed: d.signed,
    },
  };
}

interface Proven {
  readonly signer: Signer;
  readonly method: Signature['method'];
}

/** The person's own passkey or Ed25519 key signed it. */
async function byOwnKey(parts: Parts, given: GivenDecision): Promise<Proven> {
  const { decision: d, evidence } = given;
  const key = await parts.store.signers.key(given.key);
  const signer = key && (await parts.store.signers.get(key.signer));
  if (!key || !signer || key.revoked !== null || !signer.active || signer.name !== d.signer) {
    throw new ApproverError('not-a-signer', `the key is not a current key of signer ${d.signer}`);
  }
  const fault = checkSignature(d, key.jwk, { ...given, method: key.method }, parts.passkeys);
  if (fault !== null) throw new ApproverError('bad-signature', fault);
  const counter = counterOf(evidence);
  if (key.method === 'passkey' && (counter > 0 || key.counter > 0) && counter <= key.counter) {
    throw new ApproverError('bad-signature', 'this passkey was used before or copied: revoke it');
  }
  return { signer, method: key.method };
}

/** Our own word that an account of theirs said so, on a channel that proved itself to us. */
async function byAccount(parts: Parts, given: GivenDecision): Promise<Proven> {
  const { decision: d, channel, evidence } = given;
  const account = isAttestation(evidence) ? evidence.account : '';
  const signer = await parts.store.signers.byIdentity(account);
  if (!account.startsWith(`${channel}:`) || !signer?.active || signer.name !== d.signer) {
    throw new ApproverError('not-a-signer', `${account} is no account of signer ${d.signer}`);
  }
  const jwk = given.key === parts.key.kid ? ownJwk(parts.key) : {};
  const fault = checkSignature(d, jwk, { ...given, method: 'attested' }, null);
  if (fault !== null) throw new ApproverError('bad-signature', fault);
  return { signer, method: 'attested' };
}

/** How often the passkey says it was used; 0 from those that do not count. */
export function counterOf(evidence: Signature['evidence']): number {
  if (!evidence || isAttestation(evidence)) return 0;
  const data = Buffer.from(evidence.authenticator_data, 'base64url');
  return data.length >= 37 ? data.readUInt32BE(33) : 0;
}

function mayDecide(hold: Hold, signer: Signer, d: SignedDecision, channel: string): void {
  if (!concerns(hold.request, signer)) {
    const wants = wanted(hold.request.demands);
    throw new ApproverError(
      'not-a-signer',
      `hold ${hold.id} wants ${wants}, and ${signer.name} is in no such group`,
    );
  }
  // To stop something by one's own key is always open, whatever may approve it.
  const stops = d.decision !== 'approve' && KEY_CHANNELS.includes(channel);
  const closed = stops ? null : channelFault(hold.request, signer, channel);
  if (closed !== null) throw new ApproverError('wrong-channel', closed);
  const own = d.decision === 'approve' ? ownHold(hold.request, signer) : null;
  if (own !== null) throw new ApproverError('self-approval', own);
  const reason = d.reason?.trim() ?? '';
  if (d.decision !== 'approve' && reason === '') {
    throw new ApproverError('reason-needed', 'say why: the agent and the ledger get your reason');
  }
  if (reason.length > limits.REASON_CHARACTERS) {
    const most = limits.REASON_CHARACTERS;
    throw new ApproverError('too-large', `a reason has at most ${most} characters`);
  }
}

/** What one more signature does to the hold; runs inside the transaction that adds it. */
export async function consequence(
  parts: Parts,
  hold: Hold,
  latest: Signature,
  all: readonly Signature[],
  people: SignerStore,
): Promise<HoldChange> {
  const now = parts.now();
  const open = { decided: now };
  if (latest.decision === 'deny') {
    return { ...open, state: 'denied', decided_by: latest.signer, reason: latest.reason };
  }
  if (latest.decision === 'withdraw') {
    const reason = `${latest.signer} withdrew it: ${latest.reason}`;
    return { ...open, state: 'withdrawn', decided_by: latest.signer, reason };
  }
  const roster = await loadRoster(people, parts.routing(), now);
  const states = demandStates(hold.request, all, roster.at(hold));
  if (!approved(states)) return {};
  const counted = new Set(states.flatMap((s) => s.signed));
  const signatures = all.filter((s) => s.decision === 'approve' && counted.has(s.signer));
  const jwks = new Map<string, PublicJwk>();
  for (const s of signatures) {
    const jwk = s.method === 'attested' ? await people.approverKey(s.key) : null;
    const key = jwk ?? (await people.key(s.key))?.jwk;
    if (key) jwks.set(s.key, key);
  }
  // An approval lives as long again as the hold did, counted from now.
  const expires = now + (hold.expires - hold.asked);
  const facts = { hold, signatures, jwks, issued: now, expires };
  const receipt = await issueReceipt(parts.key, facts);
  if (receipt.length > limits.RECEIPT_BYTES) {
    const most = limits.RECEIPT_BYTES;
    throw new ApproverError('too-large', `the receipt is over ${most} bytes: give shorter reasons`);
  }
  return { ...open, state: 'approved', receipt, expires, decided_by: [...counted].join(', ') };
}
