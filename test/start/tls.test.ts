// The certificate that agents see: made once and kept, replaced in time, or the operator's own.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { generate } from 'selfsigned';
import { UserError } from '../../proxy/errors.ts';
import { openTls } from '../../proxy/tls.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-tls-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const ALLOW = { mode: 'allow', cert: null, key: null } as const;

test('a self-signed one is made for localhost, kept, and its key is private', async () => {
  const state = join(directory, 'one');
  const first = await openTls(ALLOW, state);
  assert.ok(first?.self_signed);
  const certificate = new X509Certificate(first.cert);
  assert.equal(certificate.checkHost('localhost'), 'localhost');
  assert.equal(certificate.checkIP('127.0.0.1'), '127.0.0.1');
  assert.equal(statSync(join(state, 'tls', 'server.key')).mode & 0o077, 0);
  assert.equal((await openTls(ALLOW, state))?.cert, first.cert);
  assert.equal(await openTls({ ...ALLOW, mode: 'off' }, state), null);
});

test('one that ends soon, or is no certificate, is replaced', async () => {
  const state = join(directory, 'two');
  await openTls(ALLOW, state);
  const file = join(state, 'tls', 'server.crt');
  const soon = await generate([{ name: 'commonName', value: 'localhost' }], {
    notAfterDate: new Date(Date.now() + 86_400_000),
  });
  for (const old of [soon.cert, 'nonsense']) {
    writeFileSync(file, old);
    const now = await openTls(ALLOW, state);
    assert.notEqual(now?.cert, old);
    assert.equal(readFileSync(file, 'utf8'), now?.cert);
  }
});

test('the operator’s own is shown; a key that does not fit stops the start', async () => {
  const pairs = await Promise.all(
    ['one', 'two'].map(async (name) => {
      const made = await generate([{ name: 'commonName', value: name }]);
      writeFileSync(join(directory, `${name}.crt`), made.cert);
      writeFileSync(join(directory, `${name}.key`), made.private);
      return { cert: join(directory, `${name}.crt`), key: join(directory, `${name}.key`) };
    }),
  );
  const [one, two] = pairs;
  assert.ok(one && two);
  const opened = await openTls({ mode: 'require', ...one }, directory);
  assert.equal(opened?.self_signed, null);
  assert.match(new X509Certificate(opened?.cert ?? '').subject, /CN=one/);
  const mixed = { mode: 'allow', cert: one.cert, key: two.key } as const;
  await assert.rejects(openTls(mixed, directory), UserError);
  const missing = { mode: 'allow', cert: one.cert, key: join(directory, 'none.key') } as const;
  await assert.rejects(openTls(missing, directory), /none\.key/);
});
