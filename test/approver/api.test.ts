// The API as an attacker finds it: no session, another's session, another site, replays, floods,
// odd bodies.
// Invariant: a refusal is problem+json with a stable code, and tells nobody what they may not know.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { importPKCS8, SignJWT } from 'jose';
import { startSession } from '../../approver/api/principal.ts';
import { ApproverClient, checkCard } from '../../approver/client.ts';
import { held, operation, type Person, type Room, room, signed, until } from '../setup/holds.ts';

describe('the API', () => {
  let r: Room;
  let ann: Person;
  let url: string;
  before(async () => {
    r = await room();
    ann = await r.person('Ann');
    url = r.approver.url;
  });
  after(async () => {
    await r.close();
  });

  const session = (name: string) =>
    startSession({ store: r.store, origins: [url], now: Date.now }, name);
  const cookie = async (name: string) => `holdpoint_session=${await session(name)}`;
  const code = async (response: Response) => ((await response.json()) as { code?: string }).code;
  const open = async (over: Parameters<typeof operation>[0] = {}) => {
    const unique = { statement: `DELETE FROM t -- ${randomUUID()}`, ...over };
    const request = r.holds.request(operation(unique), held());
    await r.approver.desk.receive(request);
    return request;
  };
  const client = (p: Person) =>
    new ApproverClient(url, { name: p.name, key: p.key, thumbprint: p.thumbprint });

  it('answers nobody without a session but what is public', async () => {
    for (const path of ['/api/holds', '/api/holds/h-aaaaaaaaaaaaaaaa', '/api/me', '/api/events']) {
      const response = await fetch(url + path);
      assert.equal(response.status, 401, path);
      assert.match(response.headers.get('content-type') ?? '', /^application\/problem\+json/);
      assert.equal(await code(response), 'sign-in-needed');
    }
    for (const path of ['/', '/.well-known/jwks.json', '/healthz', '/openapi.json', '/app.js']) {
      const response = await fetch(url + path);
      assert.equal(response.status, 200, path);
      const policy = response.headers.get('content-security-policy') ?? '';
      assert.match(policy, /default-src 'none'.*script-src 'self'.*frame-ancestors 'none'/);
      assert.ok(!/unsafe|\*|https?:/.test(policy));
      assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
    }
    const keys = JSON.stringify(await (await fetch(`${url}/.well-known/jwks.json`)).json());
    assert.ok(!keys.includes('"d"'), 'a private key is published');
    for (const path of [
      '/../approver.pem',
      '/%2e%2e/main.ts',
      '/vendor/webauthn/../../package.json',
    ]) {
      assert.ok([400, 404].includes((await fetch(url + path)).status), path);
    }
  });

  it('hides what does not concern you: no hold and another’s hold look the same', async () => {
    const request = await open();
    const out = await r.person('Outsider', ['others']);
    const aud = await r.person('Auditor', [], ['auditor']);
    const there = await fetch(`${url}/api/holds/${request.id}`, {
      headers: { cookie: await cookie(out.name) },
    });
    const nowhere = await fetch(`${url}/api/holds/h-${'z'.repeat(16)}`, {
      headers: { cookie: await cookie(out.name) },
    });
    assert.equal(there.status, 404);
    const strip = (t: string, id: string) => t.replaceAll(id, 'ID');
    assert.equal(
      strip(await there.text(), request.id),
      strip(await nowhere.text(), `h-${'z'.repeat(16)}`),
    );
    assert.equal((await client(out).list({})).holds.length, 0);
    assert.ok((await client(aud).list({})).holds.some((h) => h.id === request.id));
    const card = await client(aud).show(request.id);
    assert.equal(card.you.can_approve, false);
    await assert.rejects(client(aud).decide(card, 'approve', null), /not a signer|Not a signer/i);
    const decision = await fetch(`${url}/api/holds/${request.id}/decisions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', cookie: await cookie(out.name), origin: url },
      body: JSON.stringify(body(signed(ann, request, 'approve'))),
    });
    assert.equal(decision.status, 404, 'a stranger handed in Ann’s signature');
  });

  it('lets no other site act with your session', async () => {
    const request = await open();
    const post = (headers: { [name: string]: string }) =>
      fetch(`${url}/api/holds/${request.id}/decisions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body(signed(ann, request, 'approve'))),
      });
    const mine = { cookie: await cookie('Ann') };
    const evil = [
      { ...mine, origin: 'https://evil.example' },
      { ...mine, origin: 'null' },
      { ...mine, 'sec-fetch-site': 'cross-site' },
      { ...mine, 'sec-fetch-site': 'same-site' },
      mine,
      { ...mine, origin: url.replace('http:', 'https:') },
    ];
    for (const headers of evil) {
      const response = await post(headers);
      assert.equal(response.status, 403, JSON.stringify(Object.keys(headers)));
    }
    const form = await fetch(`${url}/api/holds/${request.id}/decisions`, {
      method: 'POST',
      headers: { ...mine, origin: url, 'content-type': 'text/plain' },
      body: JSON.stringify(body(signed(ann, request, 'approve'))),
    });
    assert.ok(form.status >= 400 && form.status < 500);
    const rebound = await get(url, '/api/me', { ...mine, host: 'evil.example' });
    assert.equal(rebound, 403);
    assert.equal((await r.store.holds.get(request.id))?.state, 'pending');
    assert.equal((await post({ ...mine, origin: url })).status, 200);
    const set = await fetch(`${url}/api/session/invite`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token: (await r.approver.invite('Ann')).split('=')[1] }),
    });
    assert.match(set.headers.get('set-cookie') ?? '', /HttpOnly; SameSite=Strict/);
  });

  it('takes an invitation once, and no forged, old or re-used call', async () => {
    const token = (await r.approver.invite('Ann')).split('=')[1];
    const invite = () =>
      fetch(`${url}/api/session/invite`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ token }),
      });
    assert.equal((await invite()).status, 200);
    assert.equal((await invite()).status, 401);
    const jws = async (over: { [claim: string]: unknown } = {}, key = ann.pem) =>
      await new SignJWT({
        method: 'GET',
        path: '/api/me',
        iss: 'Ann',
        aud: url,
        jti: randomUUID(),
        ...over,
      })
        .setProtectedHeader({ alg: 'EdDSA', kid: ann.thumbprint, typ: 'holdpoint-call+jwt' })
        .setIssuedAt((over.iat as number | undefined) ?? undefined)
        .sign(await importPKCS8(key, 'EdDSA'));
    const me = async (token: string) =>
      (await fetch(`${url}/api/me`, { headers: { authorization: `Holdpoint ${token}` } })).status;
    const good = await jws();
    assert.equal(await me(good), 200);
    assert.equal(await me(good), 401, 'a call was replayed');
    const mallory = await r.person('Mallory');
    const bad = [
      await jws({ path: '/api/holds' }),
      await jws({ method: 'POST' }),
      await jws({ aud: 'https://other.example' }),
      await jws({ iss: 'Mallory' }),
      await jws({ iat: Math.floor(Date.now() / 1000) - 600 }),
      await jws({}, mallory.pem),
      'x.y.z',
      '',
    ];
    for (const token of bad) assert.equal(await me(token), 401);
  });

  it('refuses odd and oversize bodies in words', async () => {
    const headers = {
      'content-type': 'application/json',
      cookie: await cookie('Ann'),
      origin: url,
    };
    const request = await open();
    const post = (text: string) =>
      fetch(`${url}/api/holds/${request.id}/decisions`, { method: 'POST', headers, body: text });
    const big = await post(JSON.stringify({ x: 'y'.repeat(70_000) }));
    assert.equal(big.status, 413);
    assert.equal(await code(big), 'too-large');
    for (const text of ['', '{', '[]', 'null', '{"decision":{}}', '{"__proto__":{"a":1}}']) {
      const response = await post(text);
      assert.equal(response.status, 400, text);
      assert.equal(await code(response), 'bad-request');
    }
    const extra = { ...body(signed(ann, request, 'approve')), channel: 'slack' };
    assert.equal((await post(JSON.stringify(extra))).status, 400);
    for (const query of ['limit=0', 'limit=1e9', 'cursor=x', 'state=gone', 'from=yesterday']) {
      const response = await fetch(`${url}/api/holds?${query}`, { headers });
      assert.equal(response.status, 400, query);
    }
    const odd = ["'; DROP TABLE holds; --", '%', '_', '\\', '\u0000'];
    for (const search of odd) {
      const query = new URLSearchParams({ search });
      assert.equal((await fetch(`${url}/api/holds?${query}`, { headers })).status, 200, search);
    }
  });

  it('pages through a list without gaps or repeats, and finds by text', async () => {
    const mark = randomUUID();
    for (let i = 0; i < 7; i++) await open({ statement: `DELETE FROM p${i} -- ${mark}` });
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const page = await client(ann).list({
        search: mark,
        limit: '3',
        ...(cursor ? { cursor } : {}),
      });
      seen.push(...page.holds.map((h) => h.id));
      cursor = page.cursor;
    } while (cursor);
    assert.equal(seen.length, 7);
    assert.equal(new Set(seen).size, 7);
  });

  it('gives a card whose facts are those of its binding, and a changed one shows', async () => {
    const request = await open({ statement: Buffer.from([0x2d, 0x2d, 0xff, 0x0a, 0x53]) });
    const card = await client(ann).show(request.id);
    assert.deepEqual(
      card.pieces.map((p) => p.mark),
      [null, 'byte 0xFF', null],
    );
    const lies = [
      { ...card, agent: 'x' },
      { ...card, target: 'x' },
      { ...card, environment: 'x' },
      { ...card, statement_base64: 'eA==' },
      { ...card, parameters: [] },
      { ...card, binding: { ...card.binding, database: 'x' } },
    ];
    for (const lie of lies) assert.notEqual(checkCard(lie), null);
  });

  it('tells live of your holds only', async () => {
    const out = await r.person('Outsider 2', ['others']);
    const stop = new AbortController();
    const listen = async (name: string, into: string[]) => {
      const response = await fetch(`${url}/api/events`, {
        headers: { cookie: await cookie(name) },
        signal: stop.signal,
      });
      assert.equal(response.status, 200);
      void (async () => {
        for await (const chunk of response.body ?? []) into.push(Buffer.from(chunk).toString());
      })().catch(() => {});
    };
    const mine: string[] = [];
    const theirs: string[] = [];
    await listen('Ann', mine);
    await listen(out.name, theirs);
    const request = await open();
    await until('heard', () => mine.join('').includes(request.id));
    await r.approver.desk.decide(signed(ann, request, 'deny'));
    await until('heard the end', () => mine.join('').includes('"denied"'));
    assert.ok(!theirs.join('').includes(request.id));
    stop.abort();
  });

  it('keeps settings to operators who have just signed in, and notes them', async () => {
    const op = await r.person('Op', [], ['operator']);
    const call = async (method: string, path: string, as: string, body: unknown = {}) => {
      const headers = { 'content-type': 'application/json', cookie: as, origin: url };
      const response = await fetch(url + path, {
        method,
        headers,
        ...(method === 'GET' ? {} : { body: JSON.stringify(body) }),
      });
      return { status: response.status, code: await code(response) };
    };
    const old = `old-${randomUUID()}`;
    const hours = Date.now() - 3 * 3_600_000;
    const kept = { signer: 'Op', detail: String(hours), created: hours, expires: Date.now() + 1e6 };
    await r.store.signers.keepSecret(old, { kind: 'session', ...kept });
    const hook = { name: 'h', url: 'https://example.com/', events: ['*'] };
    const settings: readonly [string, string, unknown][] = [
      ['PUT', '/api/signers/Mallory', { groups: ['db-owners'], roles: ['signer'] }],
      ['POST', '/api/signers/Ann/invite', {}],
      ['POST', '/api/webhooks', hook],
      ['POST', '/api/webhooks/h/secret', {}],
      ['DELETE', '/api/webhooks/h', {}],
    ];
    const auditor = await r.person('Audrey', [], ['auditor']);
    for (const [method, path, body] of settings) {
      for (const who of ['Ann', auditor.name]) {
        const tried = await call(method, path, await cookie(who), body);
        assert.equal(tried.status, 403, `${who} ${method} ${path}`);
      }
      const stale = await call(method, path, `holdpoint_session=${old}`, body);
      assert.equal(stale.code, 'step-up-needed', path);
    }
    for (const path of ['/api/signers', '/api/figures', '/api/webhooks', '/api/deliveries']) {
      assert.equal((await call('GET', path, await cookie('Ann'))).status, 403, path);
      assert.equal((await call('GET', path, await cookie(auditor.name))).status, 200, path);
    }
    const fresh = await cookie(op.name);
    const before = r.ledger.size;
    for (const [method, path, body] of settings) {
      assert.ok((await call(method, path, fresh, body)).status < 300, path);
    }
    assert.equal(r.ledger.size, before + settings.length);
    const own = { groups: [], roles: ['signer'] };
    assert.equal((await call('PUT', '/api/signers/Op', fresh, own)).status, 409);
    const mallory = await cookie('Mallory');
    const gone = { groups: [], roles: [], active: false };
    await call('PUT', '/api/signers/Mallory', fresh, gone);
    assert.equal((await call('GET', '/api/me', mallory)).status, 401);
    const key = (await r.store.signers.keys('Ann'))[0]?.thumbprint ?? '';
    const theirs = await call('DELETE', `/api/keys/${key}`, await cookie(auditor.name));
    assert.equal(theirs.status, 404);
  });

  it('describes every route it serves, and closes with a session taken away', async () => {
    const api = (await (await fetch(`${url}/openapi.json`)).json()) as {
      openapi: string;
      paths: { [path: string]: { [method: string]: { responses: object } } };
    };
    assert.equal(api.openapi, '3.1.0');
    assert.ok(api.paths['/api/holds/{id}/decisions']?.post);
    assert.ok(api.paths['/api/events']?.get);
    const mine = await cookie('Ann');
    assert.equal((await fetch(`${url}/api/me`, { headers: { cookie: mine } })).status, 200);
    await fetch(`${url}/api/session`, { method: 'DELETE', headers: { cookie: mine, origin: url } });
    assert.equal((await fetch(`${url}/api/me`, { headers: { cookie: mine } })).status, 401);
  });

  it('slows down who guesses', async () => {
    let last = 0;
    for (let i = 0; i < 40 && last !== 429; i++) {
      const response = await fetch(`${url}/api/session/invite`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ token: randomUUID() }),
      });
      last = response.status;
    }
    assert.equal(last, 429);
  });
});

function body(given: ReturnType<typeof signed>) {
  const { decision, key, signature, evidence } = given;
  return { decision, key, signature, evidence };
}

/** fetch sets the Host header itself; a rebinding browser does not. */
async function get(
  url: string,
  path: string,
  headers: { [name: string]: string },
): Promise<number> {
  const { request } = await import('node:http');
  return await new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const req = request({ hostname, port, path, headers, family: 4 }, (res) => {
      res.resume();
      resolve(res.statusCode ?? 0);
    });
    req.on('error', reject);
    req.end();
  });
}
