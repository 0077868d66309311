// Signing in by the company's own login (OpenID Connect, code flow with PKCE); its groups become
// ours by a map.
// Invariant: a login names a person by the issuer's subject; a mail address counts only verified, a
// name never.
import type { FastifyReply } from 'fastify';
import * as oidc from 'openid-client';
import { z } from 'zod';
import { ApproverError } from '../errors.ts';
import * as limits from '../limits.ts';
import type { Role, Signer } from '../store/signers.ts';
import { type Door, setSession } from './principal.ts';
import { type AnyRoute, route } from './route.ts';

export interface OidcSettings {
  readonly issuer: string;
  readonly clientId: string;
  /** Never logged. */
  readonly clientSecret?: string;
  /** The claim that lists the person's groups there; `groups` when not given. */
  readonly groupsClaim?: string;
  /** Their group's name to our groups. */
  readonly groups?: { readonly [theirs: string]: readonly string[] };
  /** Their group's name to our roles. */
  readonly roles?: { readonly [theirs: string]: readonly Role[] };
  /** People that are not here yet are added when they sign in and the map gives them something. */
  readonly create?: boolean;
  /** Plain http to the issuer; for tests on one machine. */
  readonly insecure?: boolean;
}

const STATE_COOKIE = 'holdpoint_oidc';

interface Parts extends Door {
  readonly oidc: OidcSettings | null;
  readonly secure: boolean;
  /** Where people come back to: the public address. */
  readonly page: () => string;
}

export function oidcRoutes(p: Parts): readonly AnyRoute[] {
  const ways = route({
    method: 'GET',
    path: '/api/session/ways',
    summary: 'The ways to sign in here.',
    access: 'anyone',
    answer: z.object({ passkey: z.boolean(), oidc: z.boolean() }),
    handle: async () => ({ passkey: true, oidc: p.oidc !== null }),
  });
  const settings = p.oidc;
  if (settings === null) return [ways];
  let discovered: Promise<oidc.Configuration> | null = null;
  const configuration = () => {
    discovered ??= discover(settings).catch((e: unknown) => {
      discovered = null;
      throw e;
    });
    return discovered;
  };
  return [
    ways,
    route({
      method: 'GET',
      path: '/api/session/oidc',
      summary: 'Go to the company’s own login.',
      access: 'anyone',
      strict: true,
      handle: async ({ reply }) => await goThere(p, await configuration(), reply),
    }),
    route({
      method: 'GET',
      path: '/api/session/oidc/callback',
      summary: 'Come back from the company’s own login.',
      access: 'anyone',
      strict: true,
      query: z.looseObject({ state: z.string().max(200) }),
      handle: async ({ query, request, reply }) => {
        if (request.cookies[STATE_COOKIE] !== query.state) {
          throw new ApproverError('sign-in-needed', 'this login was begun in another browser');
        }
        const kept = await p.store.signers.takeSecret('oidc', query.state, p.now());
        if (!kept) throw new ApproverError('sign-in-needed', 'this login took too long: try again');
        const begun = JSON.parse(kept.detail) as { verifier: string; nonce: string };
        const claims = await comeBack(await configuration(), `${p.page()}${request.url}`, {
          ...begun,
          state: query.state,
        });
        const signer = await personOfClaims(p, settings, claims);
        reply.clearCookie(STATE_COOKIE, { path: '/api/session/oidc' });
        await setSession(p, reply, signer.name, p.secure);
        return reply.redirect('/', 303);
      },
    }),
  ];
}

async function discover(s: OidcSettings): Promise<oidc.Configuration> {
  // Without this the ID token's own signature is not looked at: TLS alone would vouch for it.
  const execute = [oidc.enableNonRepudiationChecks];
  if (s.insecure === true) execute.push(oidc.allowInsecureRequests);
  const client = s.clientSecret === undefined ? oidc.None() : undefined;
  return await oidc.discovery(new URL(s.issuer), s.clientId, s.clientSecret, client, { execute });
}

async function goThere(p: Parts, config: oidc.Configuration, reply: FastifyReply) {
  const verifier = oidc.randomPKCECodeVerifier();
  const state = oidc.randomState();
  const nonce = oidc.randomNonce();
  const now = p.now();
  await p.store.signers.keepSecret(state, {
    kind: 'oidc',
    signer: null,
    detail: JSON.stringify({ verifier, nonce }),
    created: now,
    expires: now + limits.CHALLENGE_MS,
  });
  reply.setCookie(STATE_COOKIE, state, {
    path: '/api/session/oidc',
    httpOnly: true,
    // Lax: the way back is a navigation that another site begins.
    sameSite: 'lax',
    secure: p.secure,
    maxAge: limits.CHALLENGE_MS / 1000,
  });
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: `${p.page()}/api/session/oidc/callback`,
    scope: 'openid profile email',
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
  });
  return reply.redirect(url.href, 303);
}

type Claims = { readonly [name: string]: unknown } & { readonly sub: string; readonly iss: string };

async function comeBack(
  config: oidc.Configuration,
  url: string,
  begun: { readonly verifier: string; readonly nonce: string; readonly state: string },
): Promise<Claims> {
  try {
    const tokens = await oidc.authorizationCodeGrant(config, new URL(url), {
      pkceCodeVerifier: begun.verifier,
      expectedNonce: begun.nonce,
      expectedState: begun.state,
      idTokenExpected: true,
    });
    const claims = tokens.claims();
    if (claims) return claims as unknown as Claims;
  } catch (cause) {
    throw new ApproverError('sign-in-needed', 'the login was not accepted: try again', { cause });
  }
  throw new ApproverError('sign-in-needed', 'the login named nobody');
}

async function personOfClaims(p: Parts, s: OidcSettings, claims: Claims): Promise<Signer> {
  const { signers } = p.store;
  const identity = `${claims.iss}#${claims.sub}`;
  const mail = claims.email_verified === true ? claims.email : null;
  const theirs = groupsIn(claims[s.groupsClaim ?? 'groups']);
  const groups = mapped(theirs, s.groups);
  const roles = mapped(theirs, s.roles);
  let person = await signers.byIdentity(identity);
  if (!person && typeof mail === 'string') person = await signers.byIdentity(mail);
  if (!person && s.create === true && groups.length + roles.length > 0) {
    const name = String(claims.preferred_username ?? mail ?? claims.sub);
    // A name is no proof: whoever has it here already is somebody else until an operator says not.
    if (await signers.get(name)) {
      throw new ApproverError('forbidden', `there is a ${name} here already: ask an operator`);
    }
    person = await signers.put(name, { roles: [] }, p.now());
  }
  if (!person?.active) {
    throw new ApproverError('forbidden', 'you are no signer here: ask an operator to add you');
  }
  const mails = typeof mail === 'string' ? [mail] : [];
  await signers.put(person.name, { roles: [], identities: [identity, ...mails] }, p.now());
  // Groups and roles that the map knows are the login's to give and to take; others stay.
  const known = new Set(Object.values(s.groups ?? {}).flat());
  const knownRoles = new Set(Object.values(s.roles ?? {}).flat());
  await signers.set(person.name, {
    groups: [...new Set([...person.groups.filter((g) => !known.has(g)), ...groups])],
    roles: [...new Set([...person.roles.filter((r) => !knownRoles.has(r)), ...roles])],
    active: true,
  });
  return person;
}

function groupsIn(claim: unknown): readonly string[] {
  return Array.isArray(claim) ? claim.filter((g): g is string => typeof g === 'string') : [];
}

function mapped<T>(
  theirs: readonly string[],
  map: { readonly [name: string]: readonly T[] } = {},
): readonly T[] {
  return theirs.flatMap((g) => (Object.hasOwn(map, g) ? (map[g] ?? []) : []));
}
