// Settings in a real Chromium: who may decide from outside, and whose account is whose.
// Invariant: a secret is on the page once, and the page is as good on a phone.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { findChromium, openChromium, type Somebody, somebody } from '../setup/chromium.ts';
import { type Room, room } from '../setup/holds.ts';

const chromium = await findChromium();
const shots = process.env.HOLDPOINT_SHOTS;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

describe('settings', { skip: chromium === null ? 'no Chromium on this machine' : false }, () => {
  let r: Room;
  let browser: Browser;
  let olga: Somebody;
  before(async () => {
    r = await room();
    browser = await openChromium(chromium ?? '');
    for (const name of ['Ann', 'Bob']) await r.person(name);
    await r.person('Olga', [], ['operator']);
    olga = await somebody(browser, r.approver.url);
    await olga.page.goto(await r.approver.invite('Olga'));
    await olga.page.getByRole('link', { name: 'Settings' }).click();
    await olga.page.getByText('Decisions from outside').waitFor();
  });
  after(async () => {
    await browser?.close();
    await r.close();
  });

  async function good(page: Page, name: string): Promise<void> {
    if (shots) await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
    await page.evaluate(axe);
    const found = await page.evaluate(async () => {
      const { axe: runner } = globalThis as unknown as {
        axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
      };
      return (await runner.run()).violations.map((v) => `${v.id}: ${v.nodes[0]?.html}`);
    });
    assert.deepEqual(found, []);
    const wide = Number(await page.evaluate('document.documentElement.scrollWidth'));
    const size = page.viewportSize()?.width ?? 0;
    assert.ok(wide <= size, `${name} is ${wide} px wide on ${size}`);
  }

  it('connect Slack, Teams and a program; link accounts; take all away', async () => {
    const { page } = olga;
    await page.getByText('Connect Slack').first().click();
    await page.getByLabel('Signing secret').fill('a-signing-secret-of-slack');
    await page.getByLabel('Bot token').fill('xoxb-a-token-of-the-bot');
    await page.getByLabel('Workspace id').fill('T0SHOP');
    await page.getByLabel('Channel id').fill('C0HOLDS');
    await page.getByRole('button', { name: 'Connect Slack' }).click();
    await page.getByText('(T0SHOP, posts to C0HOLDS)').waitFor();
    await page.getByText('Connect Teams').first().click();
    await page.getByLabel('Security token').fill(Buffer.alloc(32).toString('base64'));
    await page.getByRole('button', { name: 'Connect Teams' }).click();
    await page.getByRole('button', { name: 'Disconnect teams' }).waitFor();
    await page.getByText('Add a program').click();
    await page.getByLabel('Its name').fill('jira');
    await page.getByRole('button', { name: 'Add program' }).click();
    await page.getByText('whsec_').waitFor();
    await page.getByLabel('Person').selectOption('Bob');
    await page.getByLabel('Account on').selectOption('slack');
    await page.getByLabel('Their id there').fill('U123');
    await page.getByRole('button', { name: 'Link account' }).click();
    await page.getByRole('button', { name: 'Unlink slack:U123' }).waitFor();
    assert.equal((await r.store.signers.byIdentity('slack:U123'))?.name, 'Bob');
    await good(page, 'settings-outside');
    await page.setViewportSize({ width: 375, height: 800 });
    await good(page, 'settings-outside-375');
    await page.getByLabel('Their id there').fill('nonsense');
    await page.getByRole('button', { name: 'Link account' }).click();
    await page.getByRole('alert').getByText('an account is slack:U…').waitFor();
    await page.getByRole('button', { name: 'Unlink slack:U123' }).click();
    await page.getByText('decides as').waitFor({ state: 'detached' });
    await page.reload();
    await page.getByRole('button', { name: 'Disconnect jira' }).waitFor();
    assert.ok(!(await page.content()).includes('whsec_'), 'a secret is shown again');
    for (const name of ['jira', 'teams', 'slack']) {
      await page.getByRole('button', { name: `Disconnect ${name}` }).click();
      await page.getByRole('button', { name: `Disconnect ${name}` }).waitFor({ state: 'detached' });
    }
    assert.deepEqual(await r.store.integrations.list(), []);
    const refused = /400 \(Bad Request\)/;
    assert.deepEqual(
      olga.complaints.filter((c) => !refused.test(c)),
      [],
    );
    assert.deepEqual(olga.foreign, []);
  });
});
