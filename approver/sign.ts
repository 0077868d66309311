// Checking one person's signature on one decision, by whichever key they used.
// Invariant: what is verified is made here from the hold and the decision, never taken from the
// caller.
import { createHash, createPublicKey, verify } from 'node:crypto';
import { calculateJwkThumbprint } from 'jose';
import { attestationBytes, decisionBytes, type SignedDecision } from './binding.ts';
import type { Method } from './store/holds.ts';

export type PublicJwk = { readonly [name: string]: string };

/** What a passkey has to say besides the challenge. */
export interface PasskeyRules {
  readonly origins: readonly string[];
  readonly rpId: string;
}

/** What a passkey signed around the challenge. */
export interface PasskeyEvidence {
  readonly authenticator_data: string;
  readonly client_data: string;
}

/** What the approver attests where a person has no key of their own. */
export interface Attestation {
  /** The channel's own name of whoever decided: `slack:U123`. */
  readonly account: string;
  /** base64url SHA-256 of the request that the channel had signed. */
  readonly request: string;
}

export type Evidence = PasskeyEvidence | Attestation;

export interface GivenSignature {
  readonly method: Method;
  readonly channel: string;
  /** base64url. */
  readonly signature: string;
  readonly evidence: Evidence | null;
}

/** null when the signature is this key's over exactly this decision, else why not. */
export function checkSignature(
  decision: SignedDecision,
  jwk: PublicJwk,
  given: GivenSignature,
  rules: PasskeyRules | null,
): string | null {
  try {
    const { method, signature, evidence } = given;
    if (method === 'ed25519') return checkEd25519(decisionBytes(decision), jwk, signature);
    if (method === 'passkey') return checkPasskey(decision, jwk, given, rules);
    if (!isAttestation(evidence)) return 'an attested decision says whose account it came from';
    const bytes = attestationBytes(decision, given.channel, evidence);
    return checkEd25519(bytes, jwk, signature);
  } catch {
    return 'the signature, or the key it is checked with, is malformed';
  }
}

export function isAttestation(evidence: Evidence | null): evidence is Attestation {
  return evidence !== null && 'account' in evidence;
}

function isPasskey(evidence: Evidence | null): evidence is PasskeyEvidence {
  return evidence !== null && 'client_data' in evidence;
}

function checkEd25519(signed: Uint8Array, jwk: PublicJwk, signature: string): string | null {
  if (jwk.kty !== 'OKP' || jwk.crv !== 'Ed25519') return 'the key is not an Ed25519 key';
  const bytes = Buffer.from(signature, 'base64url');
  if (bytes.length !== 64) return 'an Ed25519 signature has 64 bytes';
  const key = createPublicKey({ key: { ...jwk }, format: 'jwk' });
  if (verify(null, signed, key, bytes)) return null;
  return 'the signature is not of this key over this hold, decision, reason and time';
}

function checkPasskey(
  decision: SignedDecision,
  jwk: PublicJwk,
  given: GivenSignature,
  rules: PasskeyRules | null,
): string | null {
  if (!isPasskey(given.evidence))
    return 'a passkey signature comes with what the authenticator signed';
  const clientData = Buffer.from(given.evidence.client_data, 'base64url');
  const authenticator = Buffer.from(given.evidence.authenticator_data, 'base64url');
  const client: unknown = JSON.parse(clientData.toString('utf8'));
  if (typeof client !== 'object' || client === null) return 'the client data is not an object';
  const get = (name: string): unknown => (client as { [n: string]: unknown })[name];
  if (get('type') !== 'webauthn.get') return 'the client data is not of a passkey assertion';
  const challenge = createHash('sha256').update(decisionBytes(decision)).digest('base64url');
  if (get('challenge') !== challenge) {
    return 'the passkey signed another challenge than this hold, decision, reason and time';
  }
  if (get('crossOrigin') === true) return 'the passkey was used inside a foreign page';
  if (authenticator.length < 37) return 'the authenticator data is too short';
  if (rules) {
    const origin = get('origin');
    if (typeof origin !== 'string' || !rules.origins.includes(origin)) {
      return 'the passkey was used at another address than this approver';
    }
    const wanted = createHash('sha256').update(rules.rpId).digest();
    if (!authenticator.subarray(0, 32).equals(wanted)) return 'the passkey is of another site';
  }
  const flags = authenticator[32] ?? 0;
  if ((flags & 0x01) === 0) return 'nobody touched the authenticator';
  if ((flags & 0x04) === 0)
    return 'the authenticator did not verify the person (PIN, finger, face)';
  const signed = Buffer.concat([authenticator, createHash('sha256').update(clientData).digest()]);
  const key = createPublicKey({ key: { ...jwk }, format: 'jwk' });
  const hash = jwk.kty === 'OKP' ? null : 'sha256';
  if (verify(hash, signed, key, Buffer.from(given.signature, 'base64url'))) return null;
  return 'the signature is not of this passkey';
}

/** RFC 7638, base64url SHA-256. */
export async function thumbprint(jwk: PublicJwk): Promise<string> {
  return await calculateJwkThumbprint({ ...jwk } as Parameters<typeof calculateJwkThumbprint>[0]);
}
