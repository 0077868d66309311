// Signing in: by a one-time invitation, by passkey; enrolling passkeys; who am I; signing out.
// Invariant: a new key is only added by somebody who has just proved who they are.
import {
  generateAuthenticationOptions,
  generateRegistrationOptions,
  verifyAuthenticationResponse,
  verifyRegistrationResponse,
} from '@simplewebauthn/server';
import { decodeCredentialPublicKey, isoBase64URL } from '@simplewebauthn/server/helpers';
import { z } from 'zod';
import type { LedgerWriter } from '../../ledger/contract.ts';
import { ApproverError } from '../errors.ts';
import * as limits from '../limits.ts';
import { type PasskeyRules, type PublicJwk, thumbprint } from '../sign.ts';
import type { Signer, SignerKey } from '../store/signers.ts';
import { COOKIE, type Door, personOf, setSession } from './principal.ts';
import { type AnyRoute, route } from './route.ts';

export interface SessionParts extends Door {
  readonly passkeys: PasskeyRules;
  readonly ledger: LedgerWriter;
  readonly instance: string;
  readonly secure: boolean;
}

const me = z.object({
  name: z.string(),
  groups: z.array(z.string()),
  roles: z.array(z.string()),
  keys: z.array(
    z.object({
      thumbprint: z.string(),
      method: z.enum(['ed25519', 'passkey']),
      credential: z.string().nullable(),
      label: z.string(),
      created: z.string(),
    }),
  ),
  now: z.string(),
});

const base64url = z
  .string()
  .regex(/^[A-Za-z0-9_-]*$/)
  .max(16_000);
const registration = z.object({
  label: z.string().min(1).max(60),
  response: z.looseObject({
    id: base64url,
    rawId: base64url,
    type: z.literal('public-key'),
    response: z.looseObject({ clientDataJSON: base64url, attestationObject: base64url }),
    clientExtensionResults: z.looseObject({}),
  }),
});
const assertion = z.object({
  response: z.looseObject({
    id: base64url,
    rawId: base64url,
    type: z.literal('public-key'),
    response: z.looseObject({
      clientDataJSON: base64url,
      authenticatorData: base64url,
      signature: base64url,
    }),
    clientExtensionResults: z.looseObject({}),
  }),
});

export function sessionRoutes(p: SessionParts): readonly AnyRoute[] {
  return [
    route({
      method: 'GET',
      path: '/api/me',
      summary: 'Who you are here, your groups, roles and keys.',
      answer: me,
      handle: async (_call, who) => await aboutMe(p, personOf(who)),
    }),
    route({
      method: 'DELETE',
      path: '/api/session',
      summary: 'Sign out of this browser.',
      access: 'anyone',
      handle: async ({ request, reply }) => {
        const token = request.cookies[COOKIE];
        if (token) await p.store.signers.takeSecret('session', token, p.now());
        reply.clearCookie(COOKIE, { path: '/' });
      },
    }),
    route({
      method: 'POST',
      path: '/api/session/invite',
      summary: 'Sign in with a one-time invitation.',
      access: 'anyone',
      strict: true,
      body: z.strictObject({ token: z.string().min(20).max(100) }),
      handle: async ({ body, reply }) => {
        const invite = await p.store.signers.takeSecret('invite', body.token, p.now());
        if (!invite?.signer) {
          throw new ApproverError(
            'sign-in-needed',
            'this invitation is used, expired or not ours: ask an operator for a new one',
          );
        }
        await setSession(p, reply, invite.signer, p.secure);
      },
    }),
    ...passkeyRoutes(p),
  ];
}

function passkeyRoutes(p: SessionParts): readonly AnyRoute[] {
  return [
    route({
      method: 'POST',
      path: '/api/session/passkey/options',
      summary: 'A challenge to sign in with a passkey.',
      access: 'anyone',
      strict: true,
      handle: async () => {
        const options = await generateAuthenticationOptions({
          rpID: p.passkeys.rpId,
          userVerification: 'required',
        });
        await keepChallenge(p, options.challenge, null, 'sign-in');
        return options;
      },
    }),
    route({
      method: 'POST',
      path: '/api/session/passkey',
      summary: 'Sign in with a passkey.',
      access: 'anyone',
      strict: true,
      body: assertion,
      handle: async ({ body, reply }) =>
        await setSession(p, reply, await passkeySignIn(p, body), p.secure),
    }),
    route({
      method: 'POST',
      path: '/api/me/passkeys/options',
      summary: 'A challenge to enrol a new passkey.',
      stepUp: true,
      handle: async (_call, who) => {
        const person = personOf(who);
        const keys = await p.store.signers.keys(person.name);
        const options = await generateRegistrationOptions({
          rpName: 'Holdpoint',
          rpID: p.passkeys.rpId,
          userName: person.name,
          userID: new Uint8Array(Buffer.from(person.name)),
          attestationType: 'none',
          supportedAlgorithmIDs: [-8, -7, -257],
          authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
          excludeCredentials: keys.flatMap((k) => (k.credential ? [{ id: k.credential }] : [])),
        });
        await keepChallenge(p, options.challenge, person.name, 'enrol');
        return options;
      },
    }),
    route({
      method: 'POST',
      path: '/api/me/passkeys',
      summary: 'Enrol a new passkey.',
      stepUp: true,
      body: registration,
      answer: me,
      handle: async ({ body }, who) => {
        const person = personOf(who);
        await enrol(p, person, body);
        return await aboutMe(p, person);
      },
    }),
  ];
}

async function keepChallenge(p: SessionParts, challenge: string, who: string | null, use: string) {
  const now = p.now();
  await p.store.signers.keepSecret(challenge, {
    kind: 'challenge',
    signer: who,
    detail: use,
    created: now,
    expires: now + limits.CHALLENGE_MS,
  });
}

async function passkeySignIn(
  p: SessionParts,
  { response }: z.infer<typeof assertion>,
): Promise<string> {
  const refused = () => new ApproverError('sign-in-needed', 'this passkey does not sign in here');
  const key = await p.store.signers.keyByCredential(response.id);
  const signer = key && (await p.store.signers.get(key.signer));
  if (!key || key.revoked !== null || !signer?.active) throw refused();
  const detail = JSON.parse(key.detail) as { cose: string };
  const verified = await verifyAuthenticationResponse({
    response: response as unknown as Parameters<typeof verifyAuthenticationResponse>[0]['response'],
    expectedChallenge: async (challenge) => {
      const kept = await p.store.signers.takeSecret('challenge', challenge, p.now());
      return kept?.detail === 'sign-in';
    },
    expectedOrigin: [...p.passkeys.origins],
    expectedRPID: p.passkeys.rpId,
    requireUserVerification: true,
    credential: {
      id: key.credential ?? '',
      publicKey: isoBase64URL.toBuffer(detail.cose),
      counter: key.counter,
    },
  }).catch(() => null);
  if (!verified?.verified) throw refused();
  const counter = verified.authenticationInfo.newCounter;
  if (counter > 0 && !(await p.store.signers.raiseCounter(key.thumbprint, counter))) {
    throw refused();
  }
  return signer.name;
}

async function enrol(p: SessionParts, person: Signer, body: z.infer<typeof registration>) {
  const verified = await verifyRegistrationResponse({
    response: body.response as unknown as Parameters<
      typeof verifyRegistrationResponse
    >[0]['response'],
    expectedChallenge: async (challenge) => {
      const kept = await p.store.signers.takeSecret('challenge', challenge, p.now());
      return kept?.detail === 'enrol' && kept.signer === person.name;
    },
    expectedOrigin: [...p.passkeys.origins],
    expectedRPID: p.passkeys.rpId,
    requireUserVerification: true,
  }).catch((e: unknown) => {
    const why = e instanceof Error ? e.message : String(e);
    throw new ApproverError('bad-request', `the passkey could not be enrolled: ${why}`);
  });
  if (!verified.verified) throw new ApproverError('bad-request', 'the passkey is not verified');
  const { credential } = verified.registrationInfo;
  const jwk = jwkOfCose(credential.publicKey);
  const key: Omit<SignerKey, 'revoked'> = {
    thumbprint: await thumbprint(jwk),
    signer: person.name,
    method: 'passkey',
    jwk,
    credential: credential.id,
    detail: JSON.stringify({
      cose: isoBase64URL.fromBuffer(credential.publicKey),
      transports: credential.transports ?? [],
    }),
    counter: credential.counter,
    label: body.label,
    created: p.now(),
  };
  await p.ledger.append([
    {
      key: `administration/passkey/${key.thumbprint}`,
      entry: {
        kind: 'administration',
        v: 1,
        time: new Date(p.now()).toISOString(),
        by: p.instance,
        act: 'passkey enrolled',
        who: person.name,
        what: key.thumbprint,
        detail: { label: key.label },
      },
    },
  ]);
  await p.store.signers.addKey(key);
}

/** COSE (RFC 9053) to JWK: the three kinds that passkeys have. */
export function jwkOfCose(cose: Uint8Array): PublicJwk {
  const key = decodeCredentialPublicKey(new Uint8Array(cose)) as unknown as Map<number, unknown>;
  const bytes = (label: number): string => {
    const value = key.get(label);
    if (value instanceof Uint8Array) return Buffer.from(value).toString('base64url');
    throw new ApproverError('bad-request', 'the passkey’s public key is incomplete');
  };
  const kind = key.get(1);
  if (kind === 1 && key.get(-1) === 6) return { kty: 'OKP', crv: 'Ed25519', x: bytes(-2) };
  if (kind === 2 && key.get(-1) === 1) {
    return { kty: 'EC', crv: 'P-256', x: bytes(-2), y: bytes(-3) };
  }
  if (kind === 3) return { kty: 'RSA', n: bytes(-1), e: bytes(-2) };
  throw new ApproverError('bad-request', 'this kind of passkey is not supported: use another one');
}

async function aboutMe(p: SessionParts, person: Signer): Promise<z.infer<typeof me>> {
  const keys = await p.store.signers.keys(person.name);
  return {
    name: person.name,
    groups: [...person.groups],
    roles: [...person.roles],
    keys: keys
      .filter((k) => k.revoked === null)
      .map((k) => ({
        thumbprint: k.thumbprint,
        method: k.method,
        credential: k.credential,
        label: k.label,
        created: new Date(k.created).toISOString(),
      })),
    now: new Date(p.now()).toISOString(),
  };
}
