// Secrets and PEM files that the configuration names.
// Invariant: what is missing stops the start, named by line; no secret is kept but by who asked.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { JWK } from 'jose';
import { UserError } from './errors.ts';

/** Where a setting stands in its file: `path:line`. */
export type Place = (keys: readonly PropertyKey[]) => string;

/** Asked at each use; undefined where none is configured. */
export type Secret = () => string | undefined;

type SecretSetting = { env: string } | { file: string } | null;

/** Looked up once now, so that a missing secret stops the start, and again at each use. */
export function secret(
  from: SecretSetting,
  base: string,
  place: () => string,
): () => string | undefined {
  if (from === null) return () => undefined;
  const look =
    'env' in from
      ? (): string | undefined => process.env[from.env]
      : (): string | undefined => {
          try {
            return readFileSync(resolve(base, from.file), 'utf8').replace(/\r?\n$/, '');
          } catch {
            return undefined;
          }
        };
  if (!look()) {
    const what =
      'env' in from
        ? `the environment variable ${from.env} is not set: set it before the start`
        : `the file ${resolve(base, from.file)} is missing, unreadable or empty: ` +
          'put the secret there';
    throw new UserError(`${place()}: ${what}`);
  }
  return look;
}

export function pem(from: string, base: string, place: () => string): string {
  try {
    return readFileSync(resolve(base, from), 'utf8');
  } catch {
    throw new UserError(`${place()}: can't read ${resolve(base, from)}: name a PEM file`);
  }
}

/** A public key as JWK, for encrypting to it. null where none is named. */
export function publicKey(from: string | null, base: string, place: () => string): JWK | null {
  if (from === null) return null;
  const file = resolve(base, from);
  let jwk: unknown;
  try {
    jwk = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    throw new UserError(`${place()}: can't read ${file}: name a file with a public JWK`);
  }
  if (!isJwk(jwk)) throw new UserError(`${place()}: ${file} holds no JWK of kty EC, OKP or RSA`);
  if ('d' in jwk) {
    throw new UserError(
      `${place()}: ${file} holds a private key: keep it elsewhere, and name its public part here`,
    );
  }
  return jwk;
}

function isJwk(value: unknown): value is JWK {
  if (typeof value !== 'object' || value === null || !('kty' in value)) return false;
  return value.kty === 'EC' || value.kty === 'OKP' || value.kty === 'RSA';
}
