// The page in a real Chromium: enrol a passkey, see the card, sign, deny; hostile text stays text.
// Invariant: no complaint of the browser is overlooked: content policy, script errors and foreign
// hosts fail the case.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import type { HoldRequest } from '../../approver/contract.ts';
import { recheckReceipt } from '../../approver/receipt.ts';
import type { HoldDemand } from '../../proxy/verdict/verdict.ts';
import { findChromium, openChromium, type Somebody, somebody } from '../setup/chromium.ts';
import { held, operation, type Room, room, until } from '../setup/holds.ts';

const chromium = await findChromium();
const shots = process.env.HOLDPOINT_SHOTS;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const NASTY =
  'DELETE FROM users\u202e WHERE id = $1 -- <img src=x onerror=alert(1)> \u0430dmin ' +
  '"\'</script><script>alert(2)</script>';

describe('the page', { skip: chromium === null ? 'no Chromium on this machine' : false }, () => {
  let r: Room;
  let browser: Browser;
  let ahead = 0;
  const people: Somebody[] = [];
  before(async () => {
    r = await room({ now: () => Date.now() + ahead });
    browser = await openChromium(chromium ?? '');
  });
  after(async () => {
    await browser?.close();
    await r.close();
  });

  async function open(
    over: Parameters<typeof operation>[0] = {},
    demands?: readonly HoldDemand[],
    times?: { readonly expires_ms?: number },
  ): Promise<HoldRequest> {
    const request = r.holds.request(operation(over), held(demands, times));
    await r.holds.open(request);
    await until('arrived', async () => (await r.store.holds.resolve(request.id)) !== null);
    return request;
  }

  async function enrolled(name: string, size?: { width: number; height: number }) {
    const person = await somebody(browser, r.approver.url, size);
    people.push(person);
    await r.store.signers.put(name, { groups: ['db-owners'] }, Date.now());
    await person.page.goto(await r.approver.invite(name));
    await person.page.getByRole('button', { name: 'Enrol a passkey' }).click();
    await person.page.getByText('Passkey enrolled').waitFor();
    return person;
  }

  async function shoot(page: Page, name: string): Promise<void> {
    if (shots) await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
  }

  async function accessible(page: Page): Promise<void> {
    // Run by the debugger, which the page's own content policy does not bind.
    await page.evaluate(axe);
    const found = await page.evaluate(async () => {
      const { axe: runner } = globalThis as unknown as {
        axe: {
          run(): Promise<{
            violations: { id: string; impact: string; nodes: { html: string }[] }[];
          }>;
        };
      };
      return (await runner.run()).violations.map((v) => `${v.impact} ${v.id}: ${v.nodes[0]?.html}`);
    });
    assert.deepEqual(found, []);
  }

  /** Copy gives the exact bytes, hidden characters too; and a phone can keep the page. */
  async function copiesAndInstalls(ann: Somebody): Promise<void> {
    await ann.context.grantPermissions(['clipboard-read', 'clipboard-write']);
    await ann.page.getByRole('button', { name: 'Copy' }).click();
    await ann.page.getByText('Copied.').waitFor();
    assert.equal(await ann.page.evaluate('navigator.clipboard.readText()'), NASTY);
    const cdp = await ann.context.newCDPSession(ann.page);
    const { installabilityErrors } = await cdp.send('Page.getInstallabilityErrors');
    // A test's own window is incognito; nothing else may stand against installing it.
    const against = installabilityErrors.map((e) => e.errorId).filter((e) => e !== 'in-incognito');
    assert.deepEqual(against, [], 'it can’t be installed on a phone');
  }

  it('two people enrol, sign in again by passkey, approve; the receipt holds both', async () => {
    const ann = await enrolled('Ann');
    const bob = await enrolled('Bob', { width: 375, height: 800 });
    await shoot(ann.page, 'you');
    await accessible(ann.page);
    await ann.page.getByRole('button', { name: 'Sign out' }).click();
    await shoot(ann.page, 'sign-in');
    await accessible(ann.page);
    await ann.page.getByRole('button', { name: 'Sign in with a passkey' }).click();
    await ann.page.getByText('Nothing waits').waitFor();
    const request = await open(
      {
        statement: NASTY,
        reason: '<b onmouseover=alert(3)>cleanup</b>',
        agentName: '<i>agent</i>\u202e',
        onBehalfOf: 'carol',
      },
      [{ rule: 'deletes', group: 'db-owners', signatures: 2 }],
    );
    // Live: it appears by itself.
    await ann.page.getByText('2 signatures of db-owners').first().waitFor();
    await shoot(ann.page, 'queue');
    await accessible(ann.page);
    await ann.page.keyboard.press('j');
    await ann.page.keyboard.press('Enter');
    const statement = ann.page.locator('pre.statement').first();
    await statement.waitFor();
    assert.match((await statement.textContent()) ?? '', /<img src=x onerror=alert\(1\)>/);
    assert.match((await statement.textContent()) ?? '', /U\+202E right-to-left override/);
    assert.match((await statement.textContent()) ?? '', /U\+0430 Cyrillic letter/);
    await shoot(ann.page, 'card');
    await accessible(ann.page);
    await copiesAndInstalls(ann);
    await ann.page.keyboard.press('a');
    await until('focus on approve', async () => {
      return (await ann.page.evaluate('document.activeElement?.id')) === 'approve';
    });
    await ann.page.keyboard.press('Enter');
    await ann.page.getByText('Ann approved (passkey, page)').waitFor();
    await bob.page.goto(`${r.approver.url}/holds/${request.id}`);
    await bob.page.getByRole('button', { name: 'Approve with passkey' }).click();
    await bob.page.getByText('Bob approved').waitFor();
    await ann.page.locator('.state-approved').first().waitFor();
    await bob.page.getByText('proof checked').nth(2).waitFor();
    await shoot(bob.page, 'card-375');
    await accessible(bob.page);
    const wide = await bob.page.evaluate('document.documentElement.scrollWidth');
    assert.ok(Number(wide) <= 375, `the card is ${wide} px wide on a phone`);
    const hold = await r.store.holds.get(request.id);
    const checked = await recheckReceipt(hold?.receipt ?? '', await r.approver.jwks(), {
      now: Date.now(),
      passkeys: { origins: [r.approver.url], rpId: 'localhost' },
    });
    assert.deepEqual(
      checked.signers.map((s) => [s.name, s.method, s.fault]),
      [
        ['Ann', 'passkey', null],
        ['Bob', 'passkey', null],
      ],
    );
    const flow = await r.holds.checkReceipt(hold?.receipt ?? '', request);
    assert.ok(flow.ok, flow.ok ? '' : flow.why);
  });

  it('denies with a reason only; an expired card says so', async () => {
    const dan = await enrolled('Dan');
    const request = await open();
    await dan.page.goto(`${r.approver.url}/#/hold/${request.id}`);
    await dan.page.getByRole('button', { name: 'Deny' }).click();
    await dan.page.getByText('Say why').waitFor();
    await dan.page.getByLabel('Reason').fill('wrong month');
    await dan.page.getByRole('button', { name: 'Deny' }).click();
    await dan.page.locator('.state-denied').first().waitFor();
    assert.equal((await r.store.holds.get(request.id))?.reason, 'wrong month');
    await shoot(dan.page, 'denied');
    const short = await open({ statement: 'DROP TABLE x' }, undefined, { expires_ms: 60_000 });
    await dan.page.goto(`${r.approver.url}/#/hold/${short.id}`);
    await dan.page.getByRole('button', { name: 'Approve' }).waitFor();
    ahead += 60_000;
    await dan.page.locator('.state-expired').waitFor();
    assert.equal(await dan.page.getByRole('button', { name: 'Approve' }).count(), 0);
    await dan.page.goto(`${r.approver.url}/#/history`);
    await dan.page.getByLabel('Search').fill('drop table');
    await dan.page.locator('.holds a').first().waitFor();
    await shoot(dan.page, 'history');
    await accessible(dan.page);
  });

  it('does not sign a card that was altered on its way', async () => {
    const eve = await enrolled('Eve');
    const request = await open({ statement: 'DELETE FROM users WHERE id = $1 -- real' });
    await eve.page.route('**/api/holds/*', async (route) => {
      const answer = await route.fetch();
      const card = await answer.json();
      card.pieces = [{ text: 'SELECT 1', mark: null }];
      await route.fulfill({ response: answer, json: card });
    });
    await eve.page.goto(`${r.approver.url}/#/hold/${request.id}`);
    await eve.page.getByText('Do not sign').waitFor();
    assert.equal(await eve.page.getByRole('button', { name: 'Approve' }).count(), 0);
    await shoot(eve.page, 'altered');
    await eve.page.unroute('**/api/holds/*');
    await eve.page.route('**/records', async (route) => {
      const answer = await route.fetch();
      const body = await answer.json();
      if (body.records[0]) body.records[0].entry.signer = 'Somebody else';
      await route.fulfill({ response: answer, json: body });
    });
    await eve.page.reload();
    await eve.page.getByLabel('Reason').fill('no');
    await eve.page.getByRole('button', { name: 'Deny' }).click();
    await eve.page.getByText('the entry is not the leaf that was proved').waitFor();
    await eve.page.getByText('proof checked').waitFor();
  });

  it('lends groups to another and takes them back', async () => {
    const lee = await enrolled('Lee');
    await lee.page.getByLabel('To', { exact: true }).fill('Ann');
    await lee.page.getByRole('button', { name: 'Lend' }).click();
    await lee.page.getByText('To Ann until').waitFor();
    assert.equal((await r.store.signers.delegations(Date.now())).length, 1);
    await shoot(lee.page, 'lend');
    await accessible(lee.page);
    await lee.page.getByRole('button', { name: 'Take back' }).click();
    await lee.page.getByText('To Ann until').waitFor({ state: 'detached' });
    await lee.page.getByLabel('To', { exact: true }).fill('Nobody');
    await lee.page.getByRole('button', { name: 'Lend' }).click();
    await lee.page.getByText('another person who is a signer').waitFor();
  });

  it('shows an operator figures and settings, and lets them add people and webhooks', async () => {
    await r.store.signers.put('Olga', { roles: ['operator'] }, Date.now());
    const olga = await enrolled('Olga');
    const { page } = olga;
    await page.getByRole('link', { name: 'Figures' }).click();
    await page.getByText('median wait').waitFor();
    await page.locator('.chart canvas').waitFor();
    await shoot(page, 'figures');
    await accessible(page);
    await page.getByRole('link', { name: 'Settings' }).click();
    await page.getByLabel('Name').first().fill('Nina');
    await page.getByLabel('Groups').fill('db-owners, sre');
    await page.getByRole('button', { name: 'Add or set' }).click();
    await page.getByRole('rowheader', { name: 'Nina' }).waitFor();
    assert.deepEqual((await r.store.signers.get('Nina'))?.groups, ['db-owners', 'sre']);
    await page.getByRole('button', { name: 'Invite Nina' }).click();
    await page.getByText('#invite=').waitFor();
    await page.getByLabel('Name').nth(1).fill('pager');
    await page.getByLabel('Address').fill('https://example.com/hook');
    await page.getByRole('button', { name: 'Add webhook' }).click();
    await page.getByText('whsec_').waitFor();
    await shoot(page, 'settings');
    await accessible(page);
    await page.setViewportSize({ width: 375, height: 800 });
    for (const place of ['figures', 'settings']) {
      await page.goto(`${r.approver.url}/#/${place}`);
      await page.locator('h1').waitFor();
      const wide = await page.evaluate('document.documentElement.scrollWidth');
      assert.ok(Number(wide) <= 375, `${place} is ${wide} px wide on a phone`);
    }
  });

  it('raised no complaint of the browser and asked no other host', () => {
    const wanted = /40[01] \((Unauthorized|Bad Request)\)/;
    const complaints = people.flatMap((p) => p.complaints).filter((c) => !wanted.test(c));
    assert.deepEqual(complaints, []);
    assert.deepEqual(
      people.flatMap((p) => p.foreign),
      [],
    );
  });
});
