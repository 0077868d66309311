// Acts of the command line: on record before they count, done once, and waiting where nobody is
// there to do them.
// Invariant: each command runs as a process of its own; what it did is read from the ledger.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { takeActs } from '../../approver/acts.ts';
import { openStore } from '../../approver/store.ts';
import type { AdministrationEntry } from '../../ledger/contract.ts';
import { type Room, room } from '../setup/holds.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'cli', 'main.ts');

function signer(cwd: string, ...args: readonly string[]): Promise<{ out: string; err: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, NODE_NO_WARNINGS: '1' };
    execFile(process.execPath, [MAIN, 'signer', ...args], { cwd, env }, (_e, out, err) =>
      resolve({ out, err }),
    );
  });
}

describe('acts of the command line', () => {
  let r: Room;
  let store: readonly string[];
  const entries: AdministrationEntry[] = [];
  before(async () => {
    r = await room();
    store = ['--store', r.place, '--wait', '60'];
    const { append } = r.ledger;
    r.ledger.append = async (appends) => {
      const places = await append.call(r.ledger, appends);
      for (const { entry } of appends) if (entry.kind === 'administration') entries.push(entry);
      return places;
    };
  });
  after(async () => {
    await r.close();
  });

  it('are entries as the page’s are, before they count', async () => {
    const added = await signer(r.folder, 'add', 'Ann', '--group', 'db-owners', ...store);
    assert.match(added.out, /Ann signs for db-owners/, added.err);
    const linked = await signer(r.folder, 'link', 'Ann', 'slack', 'U123', ...store);
    assert.equal(linked.out, 'slack:U123 decides as Ann\n', linked.err);
    assert.equal((await r.store.signers.byIdentity('slack:U123'))?.name, 'Ann');
    const invited = await signer(r.folder, 'invite', 'Ann', '--server', r.approver.url, ...store);
    const token = invited.out.split('#invite=')[1]?.trim();
    const [key] = await r.store.signers.keys('Ann');
    await signer(r.folder, 'unlink', 'Ann', 'slack', 'U123', ...store);
    const revoked = await signer(r.folder, 'revoke', key?.thumbprint ?? '', ...store);
    assert.match(revoked.out, /^revoked /);
    assert.deepEqual(
      entries.map((e) => [e.act, e.what.split(',')[0]]),
      [
        ['signer added', 'Ann: db-owners (signer)'],
        ['account linked', 'slack:U123 to Ann'],
        ['signer invited', 'Ann'],
        ['account unlinked', 'slack:U123 from Ann'],
        ['key revoked', key?.thumbprint],
      ],
    );
    assert.ok(
      entries.every((e) => e.who.endsWith('(command line)') && e.by.startsWith('approver/')),
    );
    assert.ok(!JSON.stringify(entries).includes(token ?? '?'), 'an invitation is in the ledger');
    const used = await fetch(`${r.approver.url}/api/session/invite`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token }),
    });
    assert.equal(used.status, 200);
    assert.equal(await r.store.signers.byIdentity('slack:U123'), null);
  });

  it('are refused in words, and what is refused is no entry', async () => {
    const before = entries.length;
    const nobody = await signer(r.folder, 'link', 'Nobody', 'slack', 'U9', ...store);
    assert.match(nobody.err, /there is no signer Nobody/);
    const odd = await signer(r.folder, 'link', 'Ann', 'irc', 'ann', ...store);
    assert.match(odd.err, /an account is slack:U…/);
    const unknown = await signer(r.folder, 'revoke', 'x'.repeat(43), ...store);
    assert.match(unknown.err, /no key x+: holdpoint signer list/);
    await r.store.signers.link('Ann', 'slack:U7');
    const taken = ['Mallory', '--group', 'db-owners', '--identity', 'slack:U7'];
    assert.match((await signer(r.folder, 'add', ...taken, ...store)).err, /already a name of Ann/);
    assert.equal(await r.store.signers.get('Mallory'), null);
    assert.equal(entries.length, before);
    assert.deepEqual(await r.store.db.all('SELECT * FROM acts'), []);
  });

  it('wait for an approver, and for its ledger', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdpoint-acts-'));
    const place = join(folder, 'approver.db');
    const added = await signer(
      folder,
      'add',
      'Bob',
      '--group',
      'sre',
      '--store',
      place,
      '--wait',
      '1',
    );
    assert.match(added.out, /Bob will sign for sre\nNo approver has taken it yet/);
    const listed = await signer(folder, 'list', '--store', place);
    assert.match(listed.out, /waits for the approver: signer added Bob, by /);
    const alone = await openStore(place);
    try {
      const append = async () => {
        throw new Error('the disk is full');
      };
      const parts = { store: alone, instance: 'approver/t', now: Date.now, log: () => {} };
      await takeActs({ ...parts, ledger: { append, unavailable: null, close: async () => {} } });
      assert.equal(await alone.signers.get('Bob'), null, 'it counted without its record');
      // Two replicas at once, and once more: one entry, one person.
      const mine = { ...parts, ledger: r.ledger };
      const before = r.ledger.size;
      await Promise.all([takeActs(mine), takeActs(mine)]);
      await takeActs(mine);
      assert.equal(r.ledger.size, before + 1);
      assert.deepEqual((await alone.signers.get('Bob'))?.groups, ['sre']);
      assert.equal((await alone.signers.keys('Bob')).length, 1);
    } finally {
      await alone.close();
      await rm(folder, { recursive: true, force: true });
    }
  });
});
