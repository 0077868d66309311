// Signing in by OpenID Connect against a provider that really signs: groups mapped, forgeries
// refused.
// Invariant: nobody becomes a person of this approver by a name or an unverified mail address.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { type Room, room } from '../setup/holds.ts';

interface Provider {
  readonly issuer: string;
  readonly server: Server;
  /** What the next login says of the person. */
  claims: { [name: string]: unknown };
  /** Changes the ID token on its way, as a forger would. */
  forge: { nonce?: string; aud?: string; key?: 'other' };
}

async function startProvider(): Promise<Provider> {
  const keys = await generateKeyPair('ES256');
  const other = await generateKeyPair('ES256');
  const jwk = await exportJWK(keys.publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  const codes = new Map<string, { nonce: string; client: string; challenge: string }>();
  const server = createServer((request, response) => {
    void (async () => {
      const url = new URL(request.url ?? '', issuer);
      const json = (body: unknown) =>
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
      if (url.pathname === '/.well-known/openid-configuration') {
        return json({
          issuer,
          authorization_endpoint: `${issuer}/authorize`,
          token_endpoint: `${issuer}/token`,
          jwks_uri: `${issuer}/jwks`,
          response_types_supported: ['code'],
          subject_types_supported: ['public'],
          id_token_signing_alg_values_supported: ['ES256'],
        });
      }
      if (url.pathname === '/jwks') return json({ keys: [{ ...jwk, kid, alg: 'ES256' }] });
      if (url.pathname === '/authorize') {
        const code = randomUUID();
        const q = url.searchParams;
        codes.set(code, {
          nonce: q.get('nonce') ?? '',
          client: q.get('client_id') ?? '',
          challenge: q.get('code_challenge') ?? '',
        });
        const back = new URL(q.get('redirect_uri') ?? '');
        back.searchParams.set('code', code);
        back.searchParams.set('state', q.get('state') ?? '');
        return response.writeHead(302, { location: back.href }).end();
      }
      const parts: Buffer[] = [];
      for await (const part of request) parts.push(part as Buffer);
      const form = new URLSearchParams(Buffer.concat(parts).toString());
      const code = codes.get(form.get('code') ?? '');
      if (!code) return response.writeHead(400).end('{"error":"invalid_grant"}');
      const token = new SignJWT({ nonce: provider.forge.nonce ?? code.nonce, ...provider.claims })
        .setProtectedHeader({ alg: 'ES256', kid })
        .setIssuer(issuer)
        .setAudience(provider.forge.aud ?? code.client)
        .setIssuedAt()
        .setExpirationTime('5m');
      const key = provider.forge.key === 'other' ? other.privateKey : keys.privateKey;
      json({ access_token: 'x', token_type: 'bearer', id_token: await token.sign(key) });
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const provider: Provider = { issuer, server, claims: {}, forge: {} };
  return provider;
}

describe('signing in by the company’s login', () => {
  let provider: Provider;
  let r: Room;
  before(async () => {
    provider = await startProvider();
    r = await room({
      oidc: {
        issuer: provider.issuer,
        clientId: 'holdpoint',
        clientSecret: 'not-a-real-secret',
        insecure: true,
        create: true,
        groups: { 'db-admins': ['db-owners'], staff: [] },
        roles: { 'db-admins': ['signer'], audit: ['auditor'] },
      },
    });
  });
  after(async () => {
    await r.close();
    provider.server.closeAllConnections();
    provider.server.close();
  });

  /** Follows the redirects as a browser would; resolves with the session cookie or the refusal. */
  async function login(over: { readonly cookie?: string } = {}) {
    const manual = { redirect: 'manual' } as const;
    const away = await fetch(`${r.approver.url}/api/session/oidc`, manual);
    const state = /holdpoint_oidc=([^;]+)/.exec(away.headers.get('set-cookie') ?? '')?.[1] ?? '';
    const there = await fetch(away.headers.get('location') ?? '', manual);
    const back = there.headers.get('location') ?? '';
    const cookie = `holdpoint_oidc=${over.cookie ?? state}`;
    const done = await fetch(back, { ...manual, headers: { cookie } });
    const session = /holdpoint_session=([^;]+)/.exec(done.headers.get('set-cookie') ?? '')?.[1];
    const again = await fetch(back, { ...manual, headers: { cookie } });
    assert.notEqual(again.status, 303, 'a login was used twice');
    return { status: done.status, session, detail: session ? '' : await done.text() };
  }

  async function me(session: string | undefined) {
    const headers = { cookie: `holdpoint_session=${session}` };
    const answer = await fetch(`${r.approver.url}/api/me`, { headers });
    return (await answer.json()) as { name: string; groups: string[]; roles: string[] };
  }

  it('adds a person by the map, and takes away what the login no longer gives', async () => {
    provider.claims = { sub: 's1', preferred_username: 'grace', groups: ['db-admins'] };
    const first = await login();
    assert.equal(first.status, 303, first.detail);
    const { name, groups, roles } = await me(first.session);
    assert.deepEqual(
      { name, groups, roles },
      { name: 'grace', groups: ['db-owners'], roles: ['signer'] },
    );
    await r.store.signers.put('grace', { groups: ['by-hand'], roles: [] }, Date.now());
    provider.claims = { sub: 's1', preferred_username: 'renamed', groups: ['audit'] };
    const second = await me((await login()).session);
    assert.equal(second.name, 'grace');
    assert.deepEqual(second.groups, ['by-hand']);
    assert.deepEqual(second.roles, ['auditor']);
  });

  it('knows a person by a verified mail address only', async () => {
    await r.store.signers.put('Ada', { identities: ['ada@example.com'] }, Date.now());
    provider.claims = { sub: 's2', email: 'ada@example.com', email_verified: false, groups: [] };
    assert.equal((await login()).status, 403);
    provider.claims = { sub: 's3', email: 'ada@example.com', email_verified: true, groups: [] };
    assert.equal((await me((await login()).session)).name, 'Ada');
  });

  it('gives nobody another’s name, and strangers nothing', async () => {
    await r.person('Owner');
    provider.claims = { sub: 's4', preferred_username: 'OWNER', groups: ['db-admins'] };
    assert.equal((await login()).status, 403);
    provider.claims = { sub: 's5', preferred_username: 'stranger', groups: ['staff', '__proto__'] };
    assert.equal((await login()).status, 403);
    await r.store.signers.set('grace', { groups: [], roles: [], active: false });
    provider.claims = { sub: 's1', groups: ['db-admins'] };
    assert.equal((await login()).status, 403, 'a removed person came back by logging in');
  });

  it('refuses a login begun elsewhere, and tokens of another nonce, audience or key', async () => {
    provider.claims = { sub: 's3', email: 'ada@example.com', email_verified: true, groups: [] };
    assert.equal((await login({ cookie: 'other' })).status, 401);
    for (const forge of [{ nonce: 'x' }, { aud: 'other' }, { key: 'other' as const }]) {
      provider.forge = forge;
      assert.equal((await login()).status, 401, JSON.stringify(forge));
    }
    provider.forge = {};
    assert.equal((await login()).status, 303);
  });
});
