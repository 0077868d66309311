// Who calls: a person signed in by cookie, or one whose key signed this very call.
// Invariant: a cookie alone changes nothing from another site's page, and a call's signature counts
// once.
import { randomBytes } from 'node:crypto';
import type {} from '@fastify/cookie';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { decodeProtectedHeader, importJWK, jwtVerify } from 'jose';
import { ApproverError } from '../errors.ts';
import * as limits from '../limits.ts';
import type { Role, Signer } from '../store/signers.ts';
import type { Store } from '../store.ts';
import type { AnyRoute, Identify } from './route.ts';

export const COOKIE = 'holdpoint_session';
export const CALL_TYPE = 'holdpoint-call+jwt';

export interface Principal {
  /** null only on routes that are for anyone. */
  readonly signer: Signer | null;
  /** How they came: the channel in a signature's entry. */
  readonly channel: 'page' | 'cli';
  /** When they last proved who they are. */
  readonly proved: number;
}

export interface Door {
  readonly store: Store;
  /** Addresses this approver is reached at: scheme, host and port. */
  readonly origins: readonly string[];
  readonly now: () => number;
}

/** A person who is signed in; the route's access made sure of it. */
export function personOf(who: Principal): Signer {
  if (who.signer) return who.signer;
  throw new ApproverError('sign-in-needed', 'sign in with a passkey, or use an invitation');
}

export function hasRole(signer: Signer, ...roles: readonly Role[]): boolean {
  return roles.some((r) => signer.roles.includes(r));
}

export function identifier(door: Door): Identify {
  return async (request, route) => {
    sameSite(door, request);
    const who = await callerOf(door, request);
    if (route.access === 'anyone') return who;
    const person = personOf(who);
    if (!mayEnter(person, route)) {
      throw new ApproverError('forbidden', `${person.name} has not the role for this`);
    }
    if (route.stepUp && door.now() - who.proved > limits.STEP_UP_MS) {
      throw new ApproverError('step-up-needed', 'sign in again: settings need a fresh sign-in');
    }
    return who;
  };
}

function mayEnter(person: Signer, route: AnyRoute): boolean {
  if (route.access === 'operator') return hasRole(person, 'operator');
  if (route.access === 'auditor') return hasRole(person, 'auditor', 'operator');
  return true;
}

/**
 * Rebinding and cross-site calls end here: the host must be ours, and a change must come from our
 * own page.
 */
function sameSite(door: Door, request: FastifyRequest): void {
  const hosts = door.origins.map((o) => new URL(o).host);
  if (!hosts.includes(request.headers.host ?? '')) {
    throw new ApproverError(
      'forbidden',
      `this approver is reached at ${door.origins.join(' or ')}`,
    );
  }
  if (request.method === 'GET' || request.method === 'HEAD') return;
  const { origin } = request.headers;
  const site = request.headers['sec-fetch-site'];
  if (origin !== undefined && !door.origins.includes(origin)) {
    throw new ApproverError('forbidden', 'a change has to come from the approver’s own page');
  }
  if (site !== undefined && site !== 'same-origin' && site !== 'none') {
    throw new ApproverError('forbidden', 'a change has to come from the approver’s own page');
  }
  const browser = origin !== undefined || site !== undefined;
  if (!browser && request.cookies[COOKIE] !== undefined) {
    throw new ApproverError('forbidden', 'a change by cookie has to name the page it comes from');
  }
}

async function callerOf(door: Door, request: FastifyRequest): Promise<Principal> {
  const authorization = request.headers.authorization;
  if (authorization?.startsWith('Holdpoint ')) {
    return await signedCall(door, request, authorization.slice('Holdpoint '.length));
  }
  const cookie = request.cookies[COOKIE];
  const session = cookie ? await door.store.signers.secret('session', cookie, door.now()) : null;
  const signer = session?.signer ? await door.store.signers.get(session.signer) : null;
  if (!session || !signer?.active) return { signer: null, channel: 'page', proved: 0 };
  return { signer, channel: 'page', proved: Number(session.detail) };
}

/**
 * A command-line call: a short-lived JWS by the person's Ed25519 key over method, address and body.
 */
async function signedCall(door: Door, request: FastifyRequest, jws: string): Promise<Principal> {
  const refuse = (why: string) => new ApproverError('sign-in-needed', `the call's key: ${why}`);
  let kid: string | undefined;
  try {
    kid = decodeProtectedHeader(jws).kid;
  } catch (cause) {
    throw new ApproverError('sign-in-needed', 'the call’s token is malformed', { cause });
  }
  const key = kid === undefined ? null : await door.store.signers.key(kid);
  const signer = key && (await door.store.signers.get(key.signer));
  if (!key || key.revoked !== null || key.method !== 'ed25519' || !signer?.active) {
    throw refuse('it is not a current key of a signer here');
  }
  let claims: { readonly [name: string]: unknown };
  try {
    const { payload } = await jwtVerify(jws, await importJWK({ ...key.jwk }, 'EdDSA'), {
      algorithms: ['EdDSA', 'Ed25519'],
      typ: CALL_TYPE,
      audience: [...door.origins],
      issuer: signer.name,
      maxTokenAge: limits.CALL_TOKEN_MS / 1000,
      clockTolerance: 30,
      currentDate: new Date(door.now()),
      requiredClaims: ['jti', 'iat', 'method', 'path'],
    });
    claims = payload;
  } catch (cause) {
    throw new ApproverError('sign-in-needed', 'the call’s token does not fit or is too old', {
      cause,
    });
  }
  if (claims.method !== request.method || claims.path !== request.url) {
    throw refuse('the token is for another call');
  }
  const kept = {
    kind: 'call',
    signer: signer.name,
    detail: '',
    created: door.now(),
    expires: door.now() + 3 * limits.CALL_TOKEN_MS,
  } as const;
  if (!(await door.store.signers.keepSecret(String(claims.jti), kept))) {
    throw refuse('the token was used before');
  }
  return { signer, channel: 'cli', proved: door.now() };
}

export async function startSession(door: Door, signer: string): Promise<string> {
  const token = randomBytes(32).toString('base64url');
  const now = door.now();
  await door.store.signers.keepSecret(token, {
    kind: 'session',
    signer,
    detail: String(now),
    created: now,
    expires: now + limits.SESSION_MS,
  });
  return token;
}

/** Signs a browser in. */
export async function setSession(
  door: Door,
  reply: FastifyReply,
  signer: string,
  secure: boolean,
): Promise<void> {
  reply.setCookie(COOKIE, await startSession(door, signer), {
    path: '/',
    httpOnly: true,
    sameSite: 'strict',
    secure,
    maxAge: limits.SESSION_MS / 1000,
  });
}
