// The API as programs use it: calls sent twice, long lists, proxies in front, errors, and its own
// description.
// Invariant: the description is checked by the OpenAPI project's own schema, and answers by what it
// says of them.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { startSession } from '../../approver/api/principal.ts';
import { SIGN_INS_A_MINUTE } from '../../approver/limits.ts';
import { opened, type Room, room, until as settled, signed } from '../setup/holds.ts';

interface Operation {
  readonly parameters: readonly { readonly name: string; readonly in: string }[];
  readonly responses: {
    readonly [status: string]: {
      readonly content: { readonly [type: string]: { schema: object } };
    };
  };
}
interface Described {
  readonly paths: { readonly [path: string]: { readonly [method: string]: Operation } };
  readonly components: { readonly schemas: { readonly Problem: object } };
}

describe('calls', () => {
  let r: Room;
  let url: string;
  let ahead = 0;
  const described: { value: Described | null } = { value: null };
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  before(async () => {
    r = await room({ now: () => Date.now() + ahead });
    url = r.approver.url;
    await r.person('Op', ['db-owners'], ['operator', 'signer']);
    described.value = (await (await fetch(`${url}/openapi.json`)).json()) as Described;
  });
  after(async () => {
    await r.close();
  });

  const session = async (name: string) => {
    const door = { store: r.store, origins: [url], now: () => Date.now() + ahead };
    return `holdpoint_session=${await startSession(door, name)}`;
  };
  const call = async (
    method: string,
    path: string,
    body?: unknown,
    headers: { readonly [name: string]: string } = {},
    who = 'Op',
  ) => {
    const answer = await fetch(url + path, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        cookie: await session(who),
        origin: url,
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    const json = text === '' ? null : (JSON.parse(text) as { readonly [name: string]: unknown });
    return { status: answer.status, json, headers: answer.headers };
  };
  const hook = () => ({
    name: `h-${randomUUID()}`,
    url: 'https://holdpoint.invalid/',
    events: ['*'],
  });

  it('does what came twice under one key once, and answers the same', async () => {
    const [body, key] = [hook(), { 'idempotency-key': randomUUID() }];
    const [first, second] = [
      await call('POST', '/api/webhooks', body, key),
      await call('POST', '/api/webhooks', body, key),
    ];
    assert.equal(first.status, 201);
    assert.deepEqual(second.json, first.json);
    assert.equal(second.status, 201);
    assert.equal(second.headers.get('idempotent-replayed'), 'true');
    const kept = JSON.stringify(await r.store.db.all('SELECT * FROM answers'));
    assert.ok(!kept.includes('whsec_'), 'a secret lies open among the kept answers');
    const other = await call('POST', '/api/webhooks', hook(), key);
    assert.deepEqual([other.status, other.json?.code], [422, 'key-reused']);
    // Another's key, another call's key: not this one's.
    await r.person('Op 2', [], ['operator']);
    assert.equal((await call('POST', '/api/webhooks', body, key, 'Op 2')).status, 409);
    const turned = await call('POST', `/api/webhooks/${body.name}/secret`, {}, key);
    assert.equal(turned.status, 200);
    for (const bad of ['', 'x y', 'x'.repeat(256)]) {
      const odd = await call('POST', '/api/webhooks', hook(), { 'idempotency-key': bad });
      assert.equal(odd.status, 400, bad);
    }
    ahead += 25 * 3_600_000;
    const late = await call('POST', '/api/webhooks', hook(), key);
    assert.equal(late.status, 201, 'a key lives a day');
  });

  it('of many at once one is done; what failed may be tried again', async () => {
    const [body, key] = [hook(), { 'idempotency-key': randomUUID() }];
    const all = await Promise.all(
      Array.from({ length: 8 }, () => call('POST', '/api/webhooks', body, key)),
    );
    assert.ok(all.every((a) => a.status === 201 || a.json?.code === 'conflict'));
    assert.equal(new Set(all.filter((a) => a.status === 201).map((a) => a.json?.secret)).size, 1);
    const ledger = r.ledger as { append: typeof r.ledger.append };
    const { append } = ledger;
    ledger.append = async () => {
      throw new Error('the disk is full');
    };
    const [next, again] = [hook(), { 'idempotency-key': randomUUID() }];
    const failed = await call('POST', '/api/webhooks', next, again);
    assert.equal(failed.status, 503);
    ledger.append = append;
    assert.equal((await call('POST', '/api/webhooks', next, again)).status, 201);
    const asked = new Date(Date.now() + ahead).toISOString();
    const hold = await opened(r, { asked });
    const ann = await r.person('Ann');
    const given = signed(ann, hold, 'approve', null, { signed: asked });
    const { decision, key: print, signature, evidence } = given;
    const signing = { decision, key: print, signature, evidence };
    const path = `/api/holds/${hold.id}/decisions`;
    const once = await call('POST', path, signing, again, 'Ann');
    assert.equal(once.status, 200);
    assert.deepEqual((await call('POST', path, signing, again, 'Ann')).json, once.json);
  });

  it('gives every list in pages, without gaps or repeats', async () => {
    for (let i = 0; i < 5; i++) await call('POST', '/api/webhooks', hook());
    for (let i = 0; i < 5; i++) await call('POST', '/api/integrations', { name: `i${i}` });
    const until = Date.now() + ahead + 3_600_000;
    const off = { name: 'off', url: 'https://holdpoint.invalid/', events: ['alert'], secrets: [] };
    const kept = { allowPrivate: false, active: false, created: 0, format: 'standard' } as const;
    await r.store.webhooks.put({ ...off, ...kept });
    for (let i = 0; i < 5; i++) {
      await r.store.signers.put(`Person ${i}`, {}, 0);
      await r.store.signers.delegate({ id: randomUUID(), from: 'Op', to: `Person ${i}`, until });
      const at = { event: 'alert', hold: null, body: '{}', created: 1000 + (i % 2) };
      await r.store.webhooks.enqueue({ id: `d${i}`, webhook: 'off', ...at });
    }
    // What is for a webhook that is switched off is given up.
    const dead = async () => (await r.store.webhooks.deliveries('dead', 10)).length >= 5;
    await settled('given up', dead);
    const lists = [
      ['/api/signers', 'signers', 'name'],
      ['/api/webhooks', 'webhooks', 'name'],
      ['/api/integrations', 'integrations', 'name'],
      ['/api/me/delegations', 'delegations', 'id'],
      ['/api/deliveries', 'deliveries', 'id'],
    ] as const;
    for (const [path, name, id] of lists) {
      const whole = (await call('GET', path)).json?.[name] as { [n: string]: string }[];
      const seen: (string | undefined)[] = [];
      let cursor = '';
      let pages = 0;
      do {
        const { json } = await call('GET', `${path}?limit=2${cursor && `&cursor=${cursor}`}`);
        const part = json?.[name] as { [n: string]: string }[];
        assert.ok(part.length <= 2, path);
        seen.push(...part.map((item) => item[id]));
        cursor = String(json?.cursor ?? '');
        pages += 1;
      } while (cursor !== '' && pages < 100);
      assert.ok(whole.length >= 5, path);
      assert.deepEqual(seen.toSorted(), whole.map((item) => item[id]).toSorted(), path);
      for (const bad of ['limit=0', 'limit=1000', 'cursor=%00', 'cursor=!', 'cursor=']) {
        assert.equal((await call('GET', `${path}?${bad}`)).status, 400, `${path}?${bad}`);
      }
    }
  });

  it('is described by a valid document, which says what is served and nothing else', async () => {
    const api = described.value;
    assert.ok(api);
    const result = await new Validator().validate(structuredClone(api) as never);
    assert.ok(result.valid, JSON.stringify(result.errors)?.slice(0, 1000));
    const ids = Object.values(api.paths).flatMap((p) =>
      Object.values(p).map((o) => (o as unknown as { operationId: string }).operationId),
    );
    assert.equal(new Set(ids).size, ids.length, 'an operationId stands twice');
    for (const [path, methods] of Object.entries(api.paths)) {
      const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const filled = path.replaceAll(/\{\w+\}/g, 'x');
      for (const method of ['get', 'post', 'put', 'delete']) {
        const said = methods[method];
        if (said) {
          const inPath = said.parameters.filter((p) => p.in === 'path').map((p) => p.name);
          assert.deepEqual(inPath, names, `${method} ${path}`);
        }
        if (path === '/api/events') continue;
        const answer = await fetch(url + filled, {
          method: method.toUpperCase(),
          redirect: 'manual',
        });
        const text = await answer.text();
        const served = !text.includes(`there is no ${method.toUpperCase()} `);
        assert.equal(
          served,
          isDescribed(api, method, filled),
          `${method} ${path}: ${text.slice(0, 200)}`,
        );
      }
    }
  });

  it('answers as it says it does', async () => {
    const api = described.value;
    const asked = new Date(Date.now() + ahead).toISOString();
    const { id } = await opened(r, { asked });
    const known = [
      ['/api/me', '/api/me'],
      ['/api/signers', '/api/signers'],
      ['/api/webhooks', '/api/webhooks'],
      ['/api/integrations', '/api/integrations'],
      ['/api/deliveries', '/api/deliveries'],
      ['/api/me/delegations', '/api/me/delegations'],
      ['/api/figures', '/api/figures'],
      ['/api/holds', '/api/holds'],
      ['/api/holds/{id}', `/api/holds/${id}`],
      ['/api/holds/{id}/records', `/api/holds/${id}/records`],
      ['/api/session/ways', '/api/session/ways'],
    ] as const;
    for (const [path, real] of known) {
      const said = api?.paths[path]?.get?.responses['200']?.content['application/json']?.schema;
      assert.ok(said, path);
      const { status, json } = await call('GET', real);
      assert.equal(status, 200, path);
      const fits = ajv.validate(said, json);
      assert.ok(fits, `${path}: ${ajv.errorsText()}`);
    }
  });

  it('says every error as problem+json', async () => {
    const problem = described.value?.components.schemas.Problem ?? {};
    const big = 'x'.repeat(100_000);
    const post = (body: string, type = 'application/json') =>
      fetch(`${url}/api/session/invite`, {
        method: 'POST',
        headers: { 'content-type': type },
        body,
      });
    const answers = [
      await fetch(`${url}/api/nowhere`),
      await fetch(`${url}/api/holds/%E0%A4%A`),
      await fetch(`${url}/api/holds/${'x'.repeat(300)}`),
      await fetch(`${url}/api/holds`, { method: 'PUT' }),
      await fetch(`${url}/api/holds`, { method: 'OPTIONS' }),
      await post('{'),
      await post('{}', 'text/plain'),
      await post(JSON.stringify({ token: big })),
    ];
    for (const answer of answers) {
      assert.ok(answer.status >= 400 && answer.status < 500, `${answer.url} ${answer.status}`);
      assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/);
      assert.ok(ajv.validate(problem, await answer.json()), ajv.errorsText());
    }
    const raw = [
      ['GET / HTTP/1.1\r\nhost: x\r\nlong: '.concat(big, '\r\n\r\n'), /^HTTP\/1.1 431 /],
      ['nonsense\r\n\r\n', /^HTTP\/1.1 400 /],
    ] as const;
    for (const [bytes, status] of raw) {
      const text = await said(Number(new URL(url).port), bytes);
      assert.match(text, status);
      assert.match(text, /content-type: application\/problem\+json/i);
      assert.ok(ajv.validate(problem, JSON.parse(text.split('\r\n\r\n')[1] ?? '')));
    }
  });
});

describe('callers behind a proxy', () => {
  const guess = async (r: Room, from: string) => {
    const answer = await fetch(`${r.approver.url}/api/session/invite`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-forwarded-for': from },
      body: JSON.stringify({ token: randomUUID() }),
    });
    assert.match(answer.headers.get('content-type') ?? '', /problem\+json/);
    if (answer.status === 429) assert.ok(Number(answer.headers.get('retry-after')) > 0);
    return answer.status;
  };
  const spend = async (r: Room, from: (i: number) => string) => {
    let last = 0;
    for (let i = 0; i <= SIGN_INS_A_MINUTE; i++) last = await guess(r, from(i));
    return last;
  };

  it('are told apart where the proxy is trusted, and only there', async () => {
    const trusting = await room({ trustProxy: ['127.0.0.1', '::1'] });
    const doubting = await room();
    try {
      assert.equal(await spend(trusting, () => '203.0.113.1'), 429);
      assert.equal(await guess(trusting, '203.0.113.2'), 401);
      // What a caller writes in front of what the proxy saw is no address of theirs.
      assert.equal(await guess(trusting, '203.0.113.99, 203.0.113.1'), 429);
      assert.equal(await spend(doubting, (i) => `203.0.113.${i}`), 429);
    } finally {
      await trusting.close();
      await doubting.close();
    }
  });
});

/** By this path or by another whose parameters it fits. */
function isDescribed(api: Described, method: string, filled: string): boolean {
  return Object.entries(api.paths).some(([path, methods]) => {
    const pattern = new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`);
    return methods[method] !== undefined && pattern.test(filled);
  });
}

/** Everything that a socket answers to these bytes. */
function said(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' });
    let text = '';
    socket.on('data', (d) => {
      text += d.toString();
    });
    socket.on('close', () => resolve(text));
    socket.on('error', (e: NodeJS.ErrnoException) => {
      if (e.code !== 'ECONNRESET' && e.code !== 'EPIPE') reject(e);
    });
    socket.write(bytes);
  });
}
