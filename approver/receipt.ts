// Receipts: the approver's own key, the signed proof it gives, and checking such a proof offline.
// Invariant: a receipt names one operation's binding and its signers, and every signature in it can
// be checked again.
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { chmod, mkdir, open, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createLocalJWKSet, type JSONWebKeySet, type JWK, jwtVerify, SignJWT } from 'jose';
import type { ReceiptClaims } from '../proxy/contract.ts';
import type { Effect } from '../proxy/effect/effect.ts';
import { approvalIn } from './binding.ts';
import { RECEIPT_EFFECTS, RECEIPT_OBJECTS } from './limits.ts';
import { checkSignature, type PasskeyRules, type PublicJwk, thumbprint } from './sign.ts';
import type { Hold, Signature } from './store/holds.ts';

export const RECEIPT_TYPE = 'holdpoint-receipt+jwt';

export interface ApproverKey {
  readonly kid: string;
  readonly jwk: JWK;
  readonly private: KeyObject;
}

/** The approver's key from its file; made on the first start, readable by its owner only. */
export async function approverKey(file: string): Promise<ApproverKey> {
  const pem = await privateKeyAt(file);
  await chmod(file, 0o600);
  return await keyFromPem(pem, file);
}

/** The private key in a file, as PEM; made where there is none, for its owner alone. */
export async function privateKeyAt(file: string): Promise<string> {
  const there = await readFile(file, 'utf8').catch((e: NodeJS.ErrnoException) => {
    if (e.code === 'ENOENT') return null;
    throw e;
  });
  if (there !== null) return there;
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const { privateKey } = generateKeyPairSync('ed25519');
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.writeFile(pem);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return pem;
}

export async function keyFromPem(pem: string, where: string): Promise<ApproverKey> {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new Error(
      `${where} holds no private key in PEM: restore it, or remove it for a new one`,
      {
        cause,
      },
    );
  }
  if (key.asymmetricKeyType !== 'ed25519') throw new Error(`${where} holds no Ed25519 key`);
  const jwk = publicJwk(key);
  return { kid: await thumbprint(jwk), jwk: { ...jwk }, private: key };
}

/** The approver's own public key, as it stands in receipts. */
export function ownJwk(key: ApproverKey): PublicJwk {
  return publicJwk(key.private);
}

/** The public part alone, as a JWK of strings. */
export function publicJwk(key: KeyObject): PublicJwk {
  const { kty, crv, x, y } = key.export({ format: 'jwk' });
  const all = { kty, crv, x, y };
  const given = Object.entries(all).filter((e): e is [string, string] => typeof e[1] === 'string');
  return Object.fromEntries(given);
}

export interface Approved {
  readonly hold: Hold;
  readonly signatures: readonly Signature[];
  readonly jwks: ReadonlyMap<string, PublicJwk>;
  readonly issued: number;
  readonly expires: number;
}

export async function issueReceipt(key: ApproverKey, approved: Approved): Promise<string> {
  const { request } = approved.hold;
  const claims: Omit<ReceiptClaims, 'iat' | 'exp'> = {
    iss: 'holdpoint-approver',
    sub: request.agent.name,
    jti: approved.hold.id,
    target: request.binding.target,
    environment: request.binding.environment,
    database: request.binding.database,
    binding: request.digest,
    effects: effectsOf(request.effects),
    policy: request.binding.policy,
    operation: request.operation,
    signers: approved.signatures.map((s) => ({
      name: s.signer,
      groups: [...s.groups],
      method: s.method,
      channel: s.channel,
      key: s.key,
      signature: s.signature,
      signed: s.signed,
      reason: s.reason,
      jwk: approved.jwks.get(s.key) ?? {},
      evidence: s.evidence,
    })),
  };
  return await new SignJWT({ ...claims })
    .setProtectedHeader({ alg: 'EdDSA', kid: key.kid, typ: RECEIPT_TYPE })
    .setIssuedAt(Math.floor(approved.issued / 1000))
    .setExpirationTime(Math.floor(approved.expires / 1000))
    .sign(key.private);
}

/**
 * The effects in short. The binding holds all of it; a receipt has to stay small enough to be
 * recorded.
 */
function effectsOf(effects: readonly Effect[]): ReceiptClaims['effects'] {
  let room = RECEIPT_OBJECTS;
  const some = effects.slice(0, RECEIPT_EFFECTS).map((e) => {
    const names = e.objects.slice(0, room).map((o) => {
      const name = [o.database, o.schema, o.name].filter((p) => p !== null).join('.');
      return `${o.kind} ${name}`.slice(0, 200);
    });
    room -= names.length;
    const left = e.objects.length - names.length;
    const objects = left > 0 ? [...names, `and ${left} more`] : names;
    return { class: e.class, verb: e.verb, objects };
  });
  const left = effects.length - some.length;
  return left > 0 ? [...some, { class: 'more', verb: `${left} more effects`, objects: [] }] : some;
}

export interface RecheckedReceipt {
  readonly claims: ReceiptClaims;
  readonly expired: boolean;
  readonly signers: readonly {
    readonly name: string;
    readonly method: string;
    readonly channel: string;
    /** Where the approver attests: whose account it took the word of. */
    readonly account: string | null;
    readonly key: string;
    /** null: the signature is good; else why not. */
    readonly fault: string | null;
    /** Is the key in the list of keys that the checker trusts? null when they gave no list. */
    readonly known: boolean | null;
  }[];
}

/**
 * Offline: the approver's signature with its public keys, then each person's over the binding.
 * Throws when the JWS is bad.
 */
export async function recheckReceipt(
  jws: string,
  keys: JSONWebKeySet,
  options: {
    readonly now: number;
    /** Is this the key of that person, by the checker's own list? */
    readonly trusted?: (signer: { readonly name: string; readonly key: string }) => boolean;
    readonly passkeys?: PasskeyRules;
  },
): Promise<RecheckedReceipt> {
  const { payload } = await jwtVerify(jws, createLocalJWKSet(keys), {
    algorithms: ['EdDSA', 'Ed25519'],
    issuer: 'holdpoint-approver',
    typ: RECEIPT_TYPE,
    currentDate: new Date(0),
    clockTolerance: Number.MAX_SAFE_INTEGER,
  });
  const claims = payload as unknown as ReceiptClaims;
  const signers = [];
  for (const s of claims.signers) {
    signers.push({
      name: s.name,
      method: s.method,
      key: s.key,
      channel: s.channel,
      account: s.evidence && 'account' in s.evidence ? s.evidence.account : null,
      fault: await recheckSigner(claims, s, keys, options.passkeys ?? null),
      known: options.trusted ? options.trusted(s) : null,
    });
  }
  return { claims, expired: claims.exp * 1000 <= options.now, signers };
}

async function recheckSigner(
  claims: ReceiptClaims,
  s: ReceiptClaims['signers'][number],
  keys: JSONWebKeySet,
  rules: PasskeyRules | null,
): Promise<string | null> {
  const attested = s.method === 'attested';
  if (attested && !keys.keys.some((k) => k.kid === s.key)) return 'no approver attests this';
  const of = await thumbprint(s.jwk).catch(() => null);
  if (of !== s.key) return 'the key in the receipt is not the one it names';
  return checkSignature(approvalIn(claims, s), s.jwk, s, rules);
}
