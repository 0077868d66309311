// Forgery at the ledger's door: what a token that may append can't make the log say.
// Invariant: each attack is one request with a valid token; the log's size shows that nothing was
// written.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { request } from 'undici';
import { type Principal, tokenDigest } from '../../ledger/access.ts';
import type { Append, Entry } from '../../ledger/contract.ts';
import { type Serving, serveLedger } from '../../ledger/serve.ts';
import { decision, outcome } from './entries.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-forgery-'));
const tokenOf = (name: string): string => `${name}-token-0123456789`;

function principal(name: string, over: Partial<Principal> = {}): Principal {
  return {
    name,
    rights: ['append'],
    kinds: null,
    writes_as: null,
    token_sha256: tokenDigest(tokenOf(name)),
    certificate_sha256: null,
    ...over,
  };
}

let serving: Serving;
before(async () => {
  serving = await serveLedger({
    directory,
    origin: 'example.com/forgery',
    host: '127.0.0.1',
    port: 0,
    principals: [
      principal('proxy'),
      principal('approver'),
      principal('one', { writes_as: ['proxy/one'] }),
      principal('wide', { kinds: ['signature', 'decision'], writes_as: ['proxy/', 'approver/'] }),
      principal('odd', { writes_as: ['gossip/'] }),
    ],
  });
});
after(async () => {
  await serving.close();
  rmSync(directory, { recursive: true, force: true });
});

const signature: Entry = {
  v: 1,
  time: '2026-01-01T00:00:00.000Z',
  by: 'approver/a',
  kind: 'signature',
  hold: 'h-1',
  operation: 'op-1',
  binding: 'b'.repeat(64),
  signer: 'ana',
  decision: 'approve',
  method: 'ed25519',
  channel: 'page',
  signature: 's',
  reason: null,
};

function act(name: string, by: string): Entry {
  const detail = { from: 0, to: 256, root: '' };
  const { time } = signature;
  return { v: 1, time, by, kind: 'administration', act: name, who: 'eve', what: 'x', detail };
}

async function post(name: string, ...appends: Append[]): Promise<{ status: number; code: string }> {
  const response = await request(`http://127.0.0.1:${serving.port}/v1/append`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${tokenOf(name)}` },
    body: JSON.stringify({ appends }),
  });
  const answer = (await response.body.json()) as { code?: string };
  return { status: response.statusCode, code: answer.code ?? '' };
}

test("an entry is its writer's own: service, instance, kind and act", async () => {
  const size = serving.ledger?.size;
  const forged: [string, Entry][] = [
    // Another service's entries, in its name or in one's own.
    ['proxy', signature],
    ['proxy', { ...signature, by: 'proxy/a' }],
    ['approver', decision(1)],
    ['approver', decision(1, { by: 'approver/a' })],
    // Kinds that were given by mistake are still not that service's.
    ['wide', { ...signature, by: 'proxy/a' }],
    ['wide', decision(1, { by: 'approver/a' })],
    // Another instance, or names that only look alike.
    ['one', decision(1, { by: 'proxy/two' })],
    ['one', decision(1, { by: 'proxy/one/more' })],
    ['proxy', decision(1, { by: 'proxy/' })],
    ['proxy', decision(1, { by: 'proxy-2/a' })],
    ['proxy', decision(1, { by: 'Proxy/a' })],
    // A service that is not known writes only kinds that were given to it.
    ['odd', decision(1, { by: 'gossip/a' })],
    // What only the ledger may say.
    ...['shard-removed', 'shard-sealed', 'legal-hold', 'legal-hold-released', 'journal-lost'].map(
      (name): [string, Entry] => ['approver', act(name, 'approver/a')],
    ),
    ['approver', act('shard-removed', 'ledger/service')],
  ];
  for (const [name, entry] of forged) {
    const answer = await post(name, { key: 'forged', entry });
    assert.deepEqual(answer, { status: 403, code: 'forbidden' }, `${name} ${entry.by}`);
  }
  // One good entry before the forged one does not carry it in, nor is it written itself.
  const mixed = await post(
    'proxy',
    { key: 'good', entry: decision(2) },
    { key: 's', entry: signature },
  );
  assert.equal(mixed.status, 403);
  assert.equal(serving.ledger?.size, size);
});

test("what is one's own passes", async () => {
  const good: [string, Entry][] = [
    ['proxy', decision(10)],
    ['one', decision(11, { by: 'proxy/one' })],
    ['approver', signature],
    ['approver', act('signer added', 'approver/a')],
    ['wide', { ...signature, hold: 'h-2' }],
  ];
  for (const [at, [name, entry]] of good.entries()) {
    assert.equal((await post(name, { key: `good-${at}`, entry })).status, 200, name);
  }
});

test('nobody can take a key that somebody else is going to use', async () => {
  const key = 'hold/h-9/denied';
  const stands = async (name: string, entry: Entry): Promise<string> => {
    const [index, answer] = [serving.ledger?.size ?? 0, await post(name, { key, entry })];
    assert.equal(answer.status, 200);
    const { kind, by } = (await serving.ledger?.read(index)) ?? entry;
    return `${by} ${kind}`;
  };
  // A proxy is first; what the approver writes under that key is written all the same.
  assert.equal(await stands('proxy', outcome(20)), 'proxy/test outcome');
  assert.equal(await stands('proxy', decision(20)), 'proxy/test decision');
  assert.equal(await stands('approver', signature), 'approver/a signature');
  // Sent again by the same service, with another time, as after a crash, it is the same entry.
  const size = serving.ledger?.size;
  const again = { ...signature, by: 'approver/b', time: '2026-02-01T00:00:00.000Z' };
  assert.equal((await post('approver', { key, entry: again })).status, 200);
  assert.equal(serving.ledger?.size, size);
});
