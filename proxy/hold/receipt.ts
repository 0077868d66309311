// What the flow asks before it forwards a held operation: is this receipt good for exactly this
// operation?
// Invariant: every claim is compared with the proxy's own binding; the bus and the approver's words
// count for nothing.
import { createLocalJWKSet, errors, type JSONWebKeySet, jwtVerify } from 'jose';
import { approvalIn, digestOf } from '../../approver/binding.ts';
import type { HoldRequest } from '../../approver/contract.ts';
import { checkSignature, thumbprint } from '../../approver/sign.ts';
import type { ReceiptClaims } from '../contract.ts';
import { channelsOf, type HoldDemand, KEY_CHANNELS } from '../verdict/verdict.ts';
import { foldSigner, groupsBy, type Pinned, unpinned } from './signers.ts';

/**
 * The approver's public keys now; asked again when a receipt names a key that is not among them.
 */
export type ApproverKeys = (again: boolean) => Promise<JSONWebKeySet>;

/** What the proxy itself knows of the operation it is about to forward. */
export type Expected = Pick<HoldRequest, 'binding' | 'digest' | 'agent' | 'demands'>;

export type CheckedReceipt =
  | { readonly ok: true; readonly claims: ReceiptClaims }
  | { readonly ok: false; readonly why: string };

const TYPE = 'holdpoint-receipt+jwt';

export async function checkReceipt(
  jws: string,
  expected: Expected,
  keys: ApproverKeys,
  now: number,
  signers: (() => Promise<Pinned>) | null = null,
): Promise<CheckedReceipt> {
  let pinned: Pinned | null;
  try {
    pinned = (await signers?.()) ?? null;
  } catch (e) {
    return { ok: false, why: reasonOf(e) };
  }
  let claims: ReceiptClaims;
  try {
    claims = (await verified(jws, keys, now)) as unknown as ReceiptClaims;
  } catch (e) {
    return { ok: false, why: `the receipt's own signature or dates are bad: ${reasonOf(e)}` };
  }
  const why =
    mismatch(claims, expected) ??
    (await badSigner(claims, keys, pinned)) ??
    unmet(claims, expected, pinned);
  return why === null ? { ok: true, claims } : { ok: false, why };
}

async function verified(jws: string, keys: ApproverKeys, now: number): Promise<unknown> {
  const options = {
    algorithms: ['EdDSA', 'Ed25519'],
    issuer: 'holdpoint-approver',
    typ: TYPE,
    requiredClaims: ['sub', 'jti', 'iat', 'exp'],
    currentDate: new Date(now),
  };
  try {
    return (await jwtVerify(jws, createLocalJWKSet(await keys(false)), options)).payload;
  } catch (e) {
    if (!(e instanceof errors.JWKSNoMatchingKey)) throw e;
    return (await jwtVerify(jws, createLocalJWKSet(await keys(true)), options)).payload;
  }
}

function mismatch(claims: ReceiptClaims, expected: Expected): string | null {
  const { binding } = expected;
  if (digestOf(binding) !== expected.digest) return 'the expected digest is not of its binding';
  const wanted: readonly (readonly [string, unknown, string])[] = [
    ['binding', claims.binding, expected.digest],
    ['agent', claims.sub, binding.agent],
    ['target', claims.target, binding.target],
    ['environment', claims.environment, binding.environment],
    ['database', claims.database, binding.database],
    ['policy', claims.policy, binding.policy],
  ];
  for (const [what, given, own] of wanted) {
    if (given !== own) return `the receipt is for another ${what}`;
  }
  return null;
}

/**
 * The people's signatures themselves, each over this binding, with the key that the receipt names.
 * One without a key of the person's own has to be attested by a key of the approver's.
 */
async function badSigner(
  claims: ReceiptClaims,
  keys: ApproverKeys,
  pinned: Pinned | null,
): Promise<string | null> {
  if (!Array.isArray(claims.signers) || claims.signers.length === 0) return 'nobody signed';
  for (const s of claims.signers) {
    if ((await thumbprint(s.jwk).catch(() => null)) !== s.key) {
      return `the key of ${s.name} is not the one the receipt names`;
    }
    const attested = s.method === 'attested';
    if (attested === KEY_CHANNELS.includes(s.channel)) {
      return `${s.name} can't have signed by ${s.method} on channel ${s.channel}`;
    }
    if (attested && !(await keys(false)).keys.some((k) => k.kid === s.key)) {
      return `no approver attests that ${s.name} decided on channel ${s.channel}`;
    }
    const foreign = pinned === null ? null : unpinned(s, pinned);
    if (foreign !== null) return foreign;
    const fault = checkSignature(approvalIn(claims, s), s.jwk, s, pinned?.passkeys ?? null);
    if (fault !== null) return `the signature of ${s.name} is bad: ${fault}`;
  }
  return null;
}

/**
 * Enough different people, of the groups and on the channels that the proxy's own policy demanded,
 * none of them the agent.
 */
function unmet(claims: ReceiptClaims, expected: Expected, pinned: Pinned | null): string | null {
  const agent = foldSigner(expected.binding.agent);
  if (claims.signers.some((s) => foldSigner(s.name) === agent)) {
    return 'the agent itself is among the signers';
  }
  for (const demand of expected.demands) {
    const groups = demand.group.split('|').map((g) => g.trim());
    const channels = channelsOf(demand);
    const people = claims.signers.filter(
      (s) => channels.includes(s.channel) && groupsBy(s, pinned).some((g) => groups.includes(g)),
    );
    const proofs = new Set(people.map(proofOf));
    const names = new Set(people.map((s) => foldSigner(s.name)));
    if (Math.min(proofs.size, names.size) < demand.signatures) return short(demand);
  }
  return null;
}

/** What is one person's alone: their key, or their account where the approver attests. */
function proofOf(s: ReceiptClaims['signers'][number]): string {
  return s.evidence && 'account' in s.evidence ? s.evidence.account : s.key;
}

function short(demand: HoldDemand): string {
  const { signatures, group } = demand;
  const by = channelsOf(demand).join(', ');
  return `the receipt lacks signatures: ${signatures} of ${group} by ${by} are demanded`;
}

/** The approver's published keys over HTTP, kept until a receipt names one that is not there. */
export function keysFrom(url: string, keepMs = 300_000): ApproverKeys {
  let kept: JSONWebKeySet | null = null;
  let at = 0;
  return async (again) => {
    if (kept && !again && Date.now() - at < keepMs) return kept;
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(5000), redirect: 'error' });
      if (!response.ok) throw new Error(`it answered ${response.status}`);
      kept = (await response.json()) as JSONWebKeySet;
      at = Date.now();
      return kept;
    } catch (cause) {
      if (kept) return kept;
      throw new Error(`the approver's public keys can't be had from ${url}`, { cause });
    }
  };
}

function reasonOf(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}
