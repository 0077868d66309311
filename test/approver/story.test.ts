// An operation's whole story on the page: the proxy's entries, the people's, the outcome, each
// proof checked in the browser; with the ledger in this process and apart, behind a token that may
// read.
// Invariant: what is shown as checked was checked against the ledger's own key.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import pg from 'pg';
import { startSession } from '../../approver/api/principal.ts';
import { openStore } from '../../approver/store.ts';
import type { HoldStory } from '../../approver/story.ts';
import { tokenDigest } from '../../ledger/access.ts';
import { RemoteLedger } from '../../ledger/client.ts';
import type { DecisionEntry, OutcomeEntry } from '../../ledger/contract.ts';
import { serveLedger } from '../../ledger/serve.ts';
import { decisionEntry } from '../../proxy/record/decision.ts';
import { outcomeEntry } from '../../proxy/record/outcome.ts';
import { findChromium, openChromium, somebody } from '../setup/chromium.ts';
import { held, operation, room, signed, until } from '../setup/holds.ts';
import { marked } from '../setup/marked.ts';

const chromium = await findChromium();
const shots = process.env.HOLDPOINT_SHOTS;

describe('embedded', { skip: chromium === null ? 'no Chromium on this machine' : false }, () => {
  const start = marked();

  it('shows what the proxy judged, who signed and what ran, all proved', async () => {
    const { holdpoint } = await start();
    const browser = await openChromium(chromium ?? '');
    const client = new pg.Client(holdpoint.login);
    try {
      await client.connect();
      await client.query('select * from open_t where id = 1');
      const runs = client.query('delete from held_t where id = 1');
      const id = await holdpoint.held('held_t where id = 1');
      await holdpoint.approve(id);
      await runs;
      const store = await openStore(join(holdpoint.state, 'approver.db'));
      const origin = holdpoint.page.replace('127.0.0.1', 'localhost');
      const session = await startSession({ store, origins: [origin], now: Date.now }, 'ann');
      await until('the outcome is kept', async () => (await store.holds.get(id))?.outcome !== null);
      await store.close();
      const { page, context, complaints } = await somebody(browser, origin);
      await context.addCookies([{ name: 'holdpoint_session', value: session, url: origin }]);
      await page.goto(`${origin}/#/hold/${id}`);
      const story = page.locator('.story li');
      // The ledger finds an entry a moment after it has it.
      await until('all six entries', async () => {
        if ((await story.count()) === 6) return true;
        await page.reload();
        await story.first().waitFor();
        await page.waitForTimeout(200);
        return false;
      });
      const told = (await story.allInnerTexts()).map((t) => t.split('\n')[0]);
      assert.deepEqual(told, [
        'Judged held, class destructive, rule marked-held',
        'Approved by ann (ed25519, cli): “looks right”',
        'Hold is approved',
        'Hold approval used, by one operation',
        'Judged released with the approval, class destructive, rule marked-held',
        told[5],
      ]);
      assert.match(told[5] ?? '', /^It ran DELETE 1, 1 row, \d+ ms$/);
      assert.equal(await page.locator('.story .state-approved').count(), 6);
      assert.equal(await page.locator('.story .state-denied').count(), 0);
      await page.getByText('This session before').waitFor();
      await page.locator('.so-far tbody tr').first().waitFor();
      if (shots) await page.screenshot({ path: join(shots, 'story.png'), fullPage: true });
      // An entry of the proxy's that was altered on its way is found out as well.
      await page.route('**/records', async (route) => {
        const answer = await route.fetch();
        const body = await answer.json();
        body.records[0].entry.agent = 'somebody-else';
        body.records[4].place.proof[0] = body.records[4].place.leaf;
        await route.fulfill({ response: answer, json: body });
      });
      await page.reload();
      await page.getByText('2 of 6 did not check out').waitFor();
      await page.getByText('the entry is not the leaf that was proved').waitFor();
      await page.getByText('the proof does not lead to the checkpoint').waitFor();
      assert.deepEqual(complaints, []);
    } finally {
      await client.end();
      await browser.close();
    }
  });
});

describe('apart', () => {
  const ends: (() => Promise<void>)[] = [];
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  it('reads the proxy’s entries with a token that may, and says so where it may not', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'holdpoint-story-'));
    ends.push(() => rm(directory, { recursive: true, force: true }));
    const may = (name: string, rights: readonly ('append' | 'read')[]) => ({
      name,
      rights,
      kinds: null,
      writes_as: ['proxy/', 'approver/'],
      token_sha256: tokenDigest(`token-of-the-${name}`),
      certificate_sha256: null,
    });
    const serving = await serveLedger({
      directory,
      origin: 'example.com/apart',
      host: '127.0.0.1',
      port: 0,
      principals: [may('reader', ['append', 'read']), may('writer', ['append'])],
    });
    ends.push(() => serving.close());
    const urls = [`http://127.0.0.1:${serving.port}`];
    const [reader, writer] = ['reader', 'writer'].map((name) => {
      const ledger = new RemoteLedger({ urls, token: `token-of-the-${name}` });
      ends.push(() => ledger.close());
      return ledger;
    });
    assert.ok(reader && writer && serving.ledger);
    const r = await room({ ledger: reader, ledgerKey: serving.ledger.publicKey });
    ends.push(() => r.close());
    const ann = await r.person('Ann');
    const op = operation();
    const request = r.holds.request(op, held());
    const verdict = held().verdict;
    const decision = { verdict, policy: request.binding.policy };
    const by = 'proxy/apart';
    const how = { mode: 'normal', by, hold: request.id, binding: request.digest } as const;
    const judged: DecisionEntry = decisionEntry(op, decision as never, {
      disposition: 'hold',
      ...how,
    }).entry;
    await reader.append([{ key: `${op.id}/decision/hold`, entry: judged }]);
    await r.approver.desk.receive(request);
    await r.approver.desk.decide(signed(ann, request, 'approve'));
    const outcome = { outcome: 'done', answer: 'DELETE 1', rows: 1, duration_ms: 2, by } as const;
    const ran: OutcomeEntry = outcomeEntry(op, outcome);
    await reader.append([{ key: `${op.id}/outcome`, entry: ran }]);
    const ask = async (): Promise<HoldStory> => {
      const door = { store: r.store, origins: [r.approver.url], now: Date.now };
      const cookie = `holdpoint_session=${await startSession(door, 'Ann')}`;
      const at = `${r.approver.url}/api/holds/${request.id}/records`;
      const answer = await fetch(at, { headers: { cookie } });
      return (await answer.json()) as HoldStory;
    };
    await until('all is found', async () => (await ask()).records.length === 4);
    const { records, missing } = await ask();
    assert.equal(missing, null);
    assert.deepEqual(
      records.map(({ entry }) => entry.kind),
      ['decision', 'signature', 'hold', 'outcome'],
    );
    await r.restart({ ledger: writer });
    const less = await ask();
    assert.match(less.missing ?? '', /403/);
    assert.deepEqual(
      less.records.map(({ entry }) => entry.kind),
      ['signature', 'hold'],
    );
    // A ledger that is away costs the others' entries, not the page.
    await serving.close();
    assert.match((await ask()).missing ?? '', /can’t be read/);
  });
});
