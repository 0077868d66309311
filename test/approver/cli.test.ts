// The command line as people use it: keys, lists, cards, signatures, receipts.
// Invariant: each command runs as a process of its own, with nothing but its arguments and files.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { held, operation, type Room, room, until } from '../setup/holds.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'cli', 'main.ts');

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function run(cwd: string, ...args: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [MAIN, ...args],
      { cwd, env: { ...process.env, NODE_NO_WARNINGS: '1' } },
      (error, out, err) => {
        const code = error ? Number(error.code ?? 1) : 0;
        resolve({ code, out, err });
      },
    );
  });
}

describe('the command line', () => {
  let r: Room;
  let store: readonly string[];
  let server: readonly string[];
  before(async () => {
    r = await room();
    store = ['--store', join(r.folder, 'approver.db'), '--wait', '60'];
    server = ['--server', r.approver.url];
  });
  after(async () => {
    await r.close();
  });

  async function verifies(receipt: string): Promise<void> {
    await writeFile(join(r.folder, 'receipt.jws'), receipt);
    await writeFile(join(r.folder, 'keys.json'), JSON.stringify(await r.approver.jwks()));
    const verify = await run(r.folder, 'receipt', 'verify', 'receipt.jws', '--keys', 'keys.json');
    assert.equal(verify.code, 0, verify.err);
    assert.match(verify.out, /good {2}Ann Lee {2}ed25519/);
    const url = `${r.approver.url}/.well-known/jwks.json`;
    assert.equal((await run(r.folder, 'receipt', 'verify', receipt, '--keys', url)).code, 0);
    await writeFile(join(r.folder, 'trusted'), 'nobody\n');
    const untrusted = await run(
      r.folder,
      'receipt',
      'verify',
      receipt,
      '--keys',
      'keys.json',
      '--signers',
      'trusted',
    );
    assert.equal(untrusted.code, 1);
    const [h, p, s] = receipt.split('.');
    const claims = Buffer.from(p ?? '', 'base64url')
      .toString()
      .replace('billing-agent', 'billing-agenx');
    const forged = `${h}.${Buffer.from(claims).toString('base64url')}.${s}`;
    assert.equal((await run(r.folder, 'receipt', 'verify', forged, '--keys', 'keys.json')).code, 1);
  }

  it('makes a signer, shows a hold whole, signs it, and checks the receipt offline', async () => {
    const added = await run(r.folder, 'signer', 'add', 'Ann Lee', '--group', 'db-owners', ...store);
    assert.equal(added.code, 0, added.err);
    const file = join(r.folder, '.holdpoint', 'keys', 'ann-lee.pem');
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.match(added.out, /Ann Lee signs for db-owners/);
    const again = await run(r.folder, 'signer', 'add', 'Ann Lee', '--group', 'sre', ...store);
    assert.match(again.out, /db-owners, sre/);
    assert.ok(!JSON.stringify(await r.store.signers.keys('Ann Lee')).includes('PRIVATE'));

    const statement = 'DELETE FROM users\u202e\nWHERE id = $1 -- \x1b[2J\u0430dmin';
    const request = r.holds.request(
      operation({ statement, reason: 'cleanup\x1b]0;owned\x07' }),
      held(),
    );
    await r.holds.open(request);
    await until('arrived', async () => (await r.store.holds.get(request.id)) !== null);
    const list = await run(r.folder, 'holds', 'list', '--as', 'Ann Lee', ...server);
    assert.match(list.out, new RegExp(`${request.id} .*waits for a signature of db-owners.*← you`));
    const show = await run(r.folder, 'holds', 'show', request.id, '--as', 'Ann Lee', ...server);
    assert.match(show.out, /⟨U\+202E right-to-left override⟩/);
    assert.match(show.out, /а⟨U\+0430 Cyrillic letter⟩dmin/);
    assert.match(show.out, /\$1 int4 = 42/);
    assert.ok(!show.out.includes('\x1b'), 'an escape reached the terminal');
    const wrong = await run(
      r.folder,
      'holds',
      'approve',
      request.id,
      '--as',
      'Ann Lee',
      '--digest',
      'other',
      ...server,
    );
    assert.match(wrong.err, /is not what you saw/);
    const approved = await run(
      r.folder,
      'holds',
      'approve',
      request.id,
      '--as',
      'Ann Lee',
      '--digest',
      request.digest,
      ...server,
    );
    assert.match(approved.out, /Ann Lee signed \(approve\)\. h-\w+ is approved/, approved.err);
    await verifies((await r.store.holds.get(request.id))?.receipt ?? '');
  });

  it('says what is wrong and what to do', async () => {
    const nobody = await run(r.folder, 'holds', 'list', '--as', 'Nobody', ...server);
    assert.match(nobody.err, /holdpoint signer add "Nobody"/);
    await run(r.folder, 'signer', 'add', 'Bob', '--key', 'bob.pem', ...store);
    const bob = ['--as', 'Bob', '--key', 'bob.pem'];
    const away = await run(r.folder, 'holds', 'list', ...bob, '--server', 'http://127.0.0.1:1');
    assert.match(away.err, /no approver answers/);
    const none = await run(r.folder, 'holds', 'show', 'h-aaaaaaaaaaaaaaaa', ...bob, ...server);
    assert.match(none.err, /Not found: there is no hold/);
    const { chmod } = await import('node:fs/promises');
    await chmod(join(r.folder, 'bob.pem'), 0o644);
    const open = await run(r.folder, 'holds', 'list', ...bob, ...server);
    assert.match(open.err, /chmod 600/);
    await chmod(join(r.folder, 'bob.pem'), 0o600);
    const pem = await readFile(join(r.folder, 'bob.pem'), 'utf8');
    const taken = await run(r.folder, 'signer', 'add', 'Mallory', '--key', 'bob.pem', ...store);
    assert.match(taken.err, /already registered/);
    assert.ok(!taken.err.includes(pem.split('\n')[1] ?? '?'));
    const [key] = await r.store.signers.keys('Bob');
    await run(r.folder, 'signer', 'revoke', key?.thumbprint ?? '', ...store);
    const revoked = await run(r.folder, 'holds', 'list', ...bob, ...server);
    assert.match(revoked.err, /not a current key/);
  });
});
