// The proxy's contract: what other services send it over the bus.
// Invariant: an approval counts only with a receipt that the proxy itself checks against its own
// binding.
import type { Mode } from './verdict/verdict.ts';

/** Broadcast and durable (last value per scope): ModeChange. */
export const MODE_CHANGED = 'holdpoint.modes';

/** The approver's answer about a hold, on `holdpoint.holds.decided.<id>`. */
export type HoldAnswer =
  | {
      readonly hold: string;
      readonly state: 'approved';
      readonly receipt: string;
      readonly signers: readonly string[];
    }
  | {
      readonly hold: string;
      readonly state: 'denied';
      readonly by: string;
      readonly reason: string;
    }
  | { readonly hold: string; readonly state: 'expired' }
  | { readonly hold: string; readonly state: 'withdrawn'; readonly reason: string };

export interface ModeChange {
  readonly scope: 'all' | 'target' | 'agent';
  readonly name: string | null;
  readonly mode: Mode;
  readonly who: string;
  readonly reason: string | null;
  readonly time: string;
}

/**
 * Claims of a receipt (JWS, EdDSA; header `kid` names the approver's key). Times are seconds since
 * 1970 as RFC 7519 has them.
 */
export interface ReceiptClaims {
  readonly iss: 'holdpoint-approver';
  readonly sub: string; // agent
  readonly jti: string; // hold id
  readonly iat: number;
  readonly exp: number;
  readonly target: string;
  readonly environment: string;
  readonly database: string;
  /** base64url SHA-256 of the canonical binding. */
  readonly binding: string;
  readonly effects: readonly {
    readonly class: string;
    readonly verb: string;
    readonly objects: readonly string[];
  }[];
  readonly policy: string;
  readonly operation: string;
  readonly signers: readonly {
    readonly name: string;
    readonly groups: readonly string[];
    /** `attested`: no key of theirs, but the approver's word that the channel said so. Weaker. */
    readonly method: 'ed25519' | 'passkey' | 'attested';
    /** The way it came: `page`, `cli`, `slack`, `teams`, `callback:<name>`. */
    readonly channel: string;
    /** The public key's JWK thumbprint (RFC 7638); of an attested one, the approver's own. */
    readonly key: string;
    readonly signature: string;
    readonly signed: string;
    readonly reason: string | null;
    /**
     * The public key itself (JWK), so that the receipt can be re-checked with nothing else at hand.
     */
    readonly jwk: { readonly [name: string]: string };
    /**
     * What a passkey signed around the challenge (base64url), or what the approver attests: whose
     * account said so, in which request (SHA-256). null for a plain Ed25519 key.
     */
    readonly evidence:
      | { readonly authenticator_data: string; readonly client_data: string }
      | { readonly account: string; readonly request: string }
      | null;
  }[];
}
