// SCRAM against the RFC's own example, PostgreSQL's stored verifiers, and tampered exchanges.
import assert from 'node:assert/strict';
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { after, test } from 'node:test';
import { makeVerifier } from '../../proxy/agents.ts';
import {
  mockVerifier,
  parseVerifier,
  SCRAM,
  SCRAM_PLUS,
  type ServerFirst,
  serverFinal,
  serverFirst,
  type Verifier,
} from '../../proxy/postgres/scram.ts';
import { sharedPostgres } from '../setup/postgres.ts';

const server = await sharedPostgres();
after(() => server.stop());

function verifierOf(password: string, salt?: Buffer): Verifier {
  const verifier = parseVerifier(makeVerifier(password, salt));
  assert.ok(verifier);
  return verifier;
}

const first = (
  message: string,
  verifier: Verifier,
  binding: Buffer | null = null,
  mechanism = SCRAM,
) => serverFirst(mechanism, message, verifier, binding);

/** The client's side, written from RFC 5802 and not from our code. */
function clientFinal(password: string, gs2: string, bare: string, reply: string, bound: Buffer) {
  const [, nonce = '', salt = '', iterations = ''] = /^r=(.*),s=(.*),i=(\d+)$/.exec(reply) ?? [];
  const hmac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest();
  const salted = pbkdf2Sync(
    password,
    Buffer.from(salt, 'base64'),
    Number(iterations),
    32,
    'sha256',
  );
  const key = hmac(salted, 'Client Key');
  const channel = Buffer.concat([Buffer.from(gs2), bound]).toString('base64');
  const without = `c=${channel},r=${nonce}`;
  const stored = createHash('sha256').update(key).digest();
  const signature = hmac(stored, `${bare},${reply},${without}`);
  const proof = Buffer.from(key.map((byte, at) => byte ^ (signature[at] ?? 0)));
  return `${without},p=${proof.toString('base64')}`;
}

test('the example of RFC 7677 comes out as printed there', () => {
  const verifier = verifierOf('pencil', Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'));
  const nonce = '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0';
  const hello = 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO';
  const one = serverFirst(SCRAM, hello, verifier, null, nonce);
  assert.ok(one.ok);
  const both = `rOprNGfwEbeRWgbNEkqO${nonce}`;
  assert.equal(one.message, `r=${both},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`);
  const proof = 'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=';
  const two = serverFinal(one, `c=biws,r=${both},p=${proof}`, verifier, null);
  assert.ok(two.ok);
  assert.equal(two.message, 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
});

test('a verifier is the one PostgreSQL stores for the same password and salt', async () => {
  const role = `scram_${randomBytes(4).toString('hex')}`;
  const client = await server.connect('postgres');
  try {
    for (const password of ['pencil', 'with space', 'Ⅸ\u00ad ﬁ é e\u0301', '密码', 'a\u0007b']) {
      await client.query(`CREATE ROLE ${role} PASSWORD ${client.escapeLiteral(password)}`);
      const sql = 'SELECT rolpassword FROM pg_authid WHERE rolname = $1';
      const { rows } = await client.query(sql, [role]);
      const theirs = String(rows[0]?.rolpassword);
      const parsed = parseVerifier(theirs);
      assert.ok(parsed, theirs);
      assert.equal(makeVerifier(password, parsed.salt, parsed.iterations), theirs, password);
      await client.query(`DROP ROLE ${role}`);
    }
  } finally {
    await client.query(`DROP ROLE IF EXISTS ${role}`);
    await client.end();
  }
});

test('a right proof passes, bound to the channel or not; a wrong one is a wrong password', () => {
  const verifier = verifierOf('pencil');
  const bound = randomBytes(32);
  for (const [mechanism, gs2, data, binding] of [
    [SCRAM, 'n,,', Buffer.alloc(0), null],
    [SCRAM, 'n,,', Buffer.alloc(0), bound],
    [SCRAM, 'y,,', Buffer.alloc(0), null],
    [SCRAM_PLUS, 'p=tls-server-end-point,,', bound, bound],
  ] as const) {
    const bare = 'n=,r=abc';
    const one = first(gs2 + bare, verifier, binding, mechanism);
    assert.ok(one.ok, gs2);
    const right = clientFinal('pencil', gs2, bare, one.message, data);
    assert.ok(serverFinal(one, right, verifier, binding).ok, gs2);
    const wrong = clientFinal('pencils', gs2, bare, one.message, data);
    const refused = serverFinal(one, wrong, verifier, binding);
    assert.equal(refused.ok ? '' : refused.sqlstate, '28P01');
  }
});

test('downgrade, another channel, another nonce and odd messages are refused', () => {
  const verifier = verifierOf('pencil');
  const bound = randomBytes(32);
  const refusal = (result: { ok: boolean; sqlstate?: string }) =>
    result.ok ? 'ok' : result.sqlstate;
  assert.equal(refusal(first('y,,n=,r=abc', verifier, bound)), '28000', 'downgrade');
  assert.equal(refusal(first('p=tls-unique,,n=,r=abc', verifier, bound, SCRAM_PLUS)), '08P01');
  assert.equal(refusal(first('n,,n=,r=abc', verifier, bound, SCRAM_PLUS)), '08P01');
  assert.equal(refusal(first('p=tls-server-end-point,,n=,r=a', verifier, bound)), '08P01');
  assert.equal(
    refusal(first('p=tls-server-end-point,,n=,r=a', verifier, null, SCRAM_PLUS)),
    '08P01',
  );
  assert.equal(refusal(first('n,a=bob,n=,r=abc', verifier)), '0A000', 'authzid');
  assert.equal(refusal(first('n,,m=x,n=,r=abc', verifier)), '0A000', 'extension');
  for (const odd of [
    '',
    'n',
    'n,,',
    'x,,n=,r=a',
    'n,,n=',
    'n,,r=a',
    'n,,n=,r=',
    'n,,n=,r=a\x07b',
  ]) {
    assert.equal(refusal(first(odd, verifier)), '08P01', JSON.stringify(odd));
  }
  const gs2 = 'p=tls-server-end-point,,';
  const one = first(`${gs2}n=,r=abc`, verifier, bound, SCRAM_PLUS) as ServerFirst;
  const elsewhere = clientFinal('pencil', gs2, 'n=,r=abc', one.message, randomBytes(32));
  assert.equal(refusal(serverFinal(one, elsewhere, verifier, bound)), '28000', 'man in the middle');
  const right = clientFinal('pencil', gs2, 'n=,r=abc', one.message, bound);
  for (const odd of [
    '',
    'c=',
    right.slice(0, -1),
    right.replace(/r=[^,]*/, 'r=abc'),
    `${right},x=y`,
  ]) {
    assert.equal(refusal(serverFinal(one, odd, verifier, bound)), '08P01', odd);
  }
});

test('a name that does not exist is answered like one that does, and always the same', () => {
  const secret = randomBytes(32);
  const real = verifierOf('pencil');
  const one = mockVerifier('nobody', secret);
  assert.deepEqual(mockVerifier('nobody', secret).salt, one.salt);
  assert.notDeepEqual(mockVerifier('nobody2', secret).salt, one.salt);
  assert.notDeepEqual(mockVerifier('nobody', randomBytes(32)).salt, one.salt);
  assert.equal(one.salt.length, real.salt.length);
  assert.equal(one.iterations, real.iterations);
});

test('what is not a verifier is not taken for one', () => {
  const good = makeVerifier('x');
  assert.ok(parseVerifier(good));
  for (const bad of [
    '',
    'x',
    'md5d41d8cd98f00b204e9800998ecf8427e',
    good.slice(0, -1),
    `${good}A`,
    good.replace('4096', '0'),
    good.replace('4096', '4000000000'),
    good.replace('SHA-256', 'SHA-1'),
  ]) {
    assert.equal(parseVerifier(bad), null, bad);
  }
});
