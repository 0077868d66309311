// Sealing: what the record leaves out of an entry, encrypted to a public key whose owner is
// elsewhere.
// Invariant: no part of Holdpoint that runs can open a sealed body; a private key is refused where
// the public one is wanted.
import { CompactEncrypt, calculateJwkThumbprint, importJWK, type JWK } from 'jose';
import type { Operation, Stated } from '../operation.ts';
import type { Decision } from '../verdict/verdict.ts';
import type { Literals } from './decision.ts';

/** What a sealed body holds, as JSON: what the entry would have said. */
export interface SealedStatement {
  readonly v: 1;
  readonly operation: string;
  /** base64 of the bytes as asked. */
  readonly statement: string;
  readonly parameters: readonly {
    readonly type: string;
    readonly format: string;
    readonly text: string | null;
    /** base64; null is SQL NULL. */
    readonly bytes: string | null;
  }[];
  readonly stated: Stated;
  readonly reason: string;
}

/** How a target's literals are treated. */
export interface Redaction {
  readonly literals: Literals;
  /** null unless literals are `sealed`. */
  readonly seal: ((operation: Operation, decision: Decision) => Promise<Uint8Array>) | null;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

function plainOf(operation: Operation, decision: Decision): SealedStatement {
  return {
    v: 1,
    operation: operation.id,
    statement: base64(operation.bytes),
    parameters: operation.parameters.map(({ type, format, bytes, text }) => ({
      type,
      format,
      text,
      bytes: bytes === null ? null : base64(bytes),
    })),
    stated: operation.session.stated,
    reason: decision.verdict.reason,
  };
}

/** Seals to this public key: ECDH-ES for an EC or X25519 key, RSA-OAEP-256 for an RSA key. */
async function sealTo(jwk: JWK): Promise<NonNullable<Redaction['seal']>> {
  const alg = jwk.kty === 'RSA' ? 'RSA-OAEP-256' : 'ECDH-ES';
  const key = await importJWK(jwk, alg);
  const kid = await calculateJwkThumbprint(jwk);
  return async (operation, decision) => {
    const plain = Buffer.from(JSON.stringify(plainOf(operation, decision)));
    const sealed = await new CompactEncrypt(plain)
      .setProtectedHeader({ alg, enc: 'A256GCM', kid, typ: 'holdpoint-sealed' })
      .encrypt(key);
    return Buffer.from(sealed);
  };
}

/** The targets that say how their literals are treated, by name. */
export async function redactionsOf(
  targets: readonly {
    readonly name: string;
    readonly record: { readonly literals: Literals; readonly seal_to: JWK | null };
  }[],
): Promise<ReadonlyMap<string, Redaction>> {
  const redactions = new Map<string, Redaction>();
  for (const { name, record } of targets) {
    const { literals, seal_to } = record;
    const seal = seal_to === null ? null : await sealTo(seal_to);
    redactions.set(name, { literals, seal: literals === 'sealed' ? seal : null });
  }
  return redactions;
}
