// The pinned list of signers: whoever has the approver's key, its store and its bus still can't
// make an approval.
// Invariant: the forger here uses the approver's own code and key; only the people's keys are not
// theirs.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import type { HoldRequest } from '../../approver/contract.ts';
import { approverKey, issueReceipt, publicJwk } from '../../approver/receipt.ts';
import { parsePinned, pinnedFrom } from '../../proxy/hold/signers.ts';
import { Holds, HoldUnavailable } from '../../proxy/hold/wait.ts';
import { held, opened, operation, type Person, type Room, room, signed } from '../setup/holds.ts';

const run = promisify(execFile);
const MAIN = join(import.meta.dirname, '..', '..', 'cli', 'main.ts');
const statement = () => `DELETE FROM t -- ${randomUUID()}`;

describe('a proxy with a pinned list', () => {
  let r: Room;
  let ann: Person;
  let list: string;
  let pinned: Holds;
  const check = async (holds: Holds, receipt: string, request: HoldRequest) => {
    const checked = await holds.checkReceipt(receipt, request);
    return checked.ok ? 'good' : checked.why;
  };
  const holdpoint = async (...args: readonly string[]) => {
    const given = ['--disable-warning=ExperimentalWarning', MAIN, ...args];
    return (await run(process.execPath, given, { cwd: r.folder })).stdout;
  };

  before(async () => {
    r = await room();
    ann = await r.person('Ann');
    await r.person('Bob', ['on-call']);
    list = join(r.folder, 'signers.yaml');
    await writeFile(list, await holdpoint('signer', 'export', '--store', r.place));
    const keys = () => r.approver.jwks();
    pinned = new Holds({ bus: r.bus, instance: 'pinned', keys, signers: pinnedFrom(list) });
  });
  after(() => r.close());

  it('takes what a listed person signed, and so does `receipt verify`', async () => {
    const request = await opened(r, { statement: statement() });
    const done = await r.approver.desk.decide(signed(ann, request, 'approve'));
    assert.equal(await check(pinned, done.receipt ?? '', request), 'good');
    await writeFile(join(r.folder, 'receipt'), done.receipt ?? '');
    await writeFile(join(r.folder, 'jwks'), JSON.stringify(await r.approver.jwks()));
    const out = await holdpoint(
      'receipt',
      'verify',
      'receipt',
      '--keys',
      'jwks',
      '--signers',
      list,
    );
    assert.match(out, /^good {2}Ann/m);
  });

  it('refuses what the approver alone can make', async () => {
    const key = await approverKey(join(r.folder, 'approver.pem'));
    const forged = async (name: string, by: Person, groups: readonly string[]) => {
      const request = await opened(r, { statement: statement() });
      const hold = await r.store.holds.get(request.id);
      assert.ok(hold);
      const given = signed({ ...by, name }, request, 'approve');
      const { decision, signature, key: print } = given;
      const signatures = [
        {
          hold: request.id,
          signer: name,
          decision: 'approve' as const,
          method: 'ed25519' as const,
          channel: 'cli',
          key: print,
          signature,
          evidence: null,
          reason: decision.reason,
          groups,
          signed: decision.signed,
        },
      ];
      const jwks = new Map([[print, publicJwk(by.key)]]);
      const times = { issued: Date.now(), expires: Date.now() + 60_000 };
      const receipt = await issueReceipt(key, { hold, signatures, jwks, ...times });
      return { request, receipt };
    };
    const { privateKey } = generateKeyPairSync('ed25519');
    const mallory: Person = { ...(await r.person(`M ${randomUUID()}`)), key: privateKey };
    const { thumbprint } = await import('../../approver/sign.ts');
    const own = { ...mallory, thumbprint: await thumbprint(publicJwk(privateKey)) };
    const as = await forged('Ann', own, ['db-owners']);
    assert.equal(
      await check(r.holds, as.receipt, as.request),
      'good',
      'the approver’s word counts',
    );
    assert.match(await check(pinned, as.receipt, as.request), /not in the pinned list/);
    const other = await forged('Bob', ann, ['db-owners']);
    assert.match(await check(pinned, other.receipt, other.request), /pinned as that of Ann/);
    const more = await forged('Ann', ann, ['security', 'db-owners']);
    const wanted = held([{ rule: 'x', group: 'security', signatures: 1 }]);
    const request = r.holds.request(
      { ...operation(), bytes: Buffer.from(more.request.statement), session: more.request.session },
      wanted,
    );
    assert.equal(request.digest, more.request.digest);
    assert.equal(await check(r.holds, more.receipt, request), 'good');
    assert.match(await check(pinned, more.receipt, request), /lacks signatures: 1 of security/);
    // One name under two keys is one person, however the list writes it.
    const wide = await forged('ＡＮＮ', ann, ['db-owners']);
    assert.equal(await check(pinned, wide.receipt, wide.request), 'good');
  });

  it('reads the list again when it changes, and lets nothing pass without it', async () => {
    const whole = await readFile(list, 'utf8');
    const request = await opened(r, { statement: statement() });
    const done = await r.approver.desk.decide(signed(ann, request, 'approve'));
    const receipt = done.receipt ?? '';
    await writeFile(list, 'signers: []\n');
    assert.match(await check(pinned, receipt, request), /not in the pinned list/);
    await writeFile(list, 'signers: {}\n');
    assert.match(await check(pinned, receipt, request), /signers\.yaml/);
    await rm(list);
    assert.match(await check(pinned, receipt, request), /can't be read/);
    // Nor is an approval used up that could not be checked.
    const ask = [request.id, request.digest, request.agent.name, 'o'] as const;
    await assert.rejects(pinned.redeem(...ask), HoldUnavailable);
    assert.equal((await r.store.holds.get(request.id))?.state, 'approved');
    await writeFile(list, whole);
    assert.equal(await check(pinned, receipt, request), 'good');
  });

  it('says what is wrong with a list', async () => {
    const { x } = publicJwk(ann.key);
    const jwk = { kty: 'OKP', crv: 'Ed25519', x };
    const bad: readonly (readonly [unknown, RegExp])[] = [
      [{ signers: [{ name: 'A', keys: [] }] }, /keys/],
      [{ signers: [{ name: 'A', keys: [{ kty: 'OKP' }] }] }, /no public key/],
      [{ signers: [{ name: 'A', keys: [{ ...jwk, d: 'secret' }] }] }, /private one: remove it/],
      [{ signers: [{ name: 'A', keys: [jwk], boss: true }] }, /boss/],
      [
        {
          signers: [
            { name: 'A', keys: [jwk] },
            { name: 'B', keys: [jwk] },
          ],
        },
        /the same key/,
      ],
    ];
    for (const [given, why] of bad) {
      await assert.rejects(parsePinned(JSON.stringify(given), 'list'), why);
    }
  });
});
