// NATS is gone and comes back: holds are refused with the reason meanwhile, and none that was open
// is lost.
// Invariant: without the bus nothing that needs signatures runs; what needs none goes on.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { RawClient } from '../peers/client.ts';
import { query } from '../peers/messages.ts';
import { marked } from '../setup/marked.ts';
import { type RunningNats, startNats } from '../setup/nats.ts';

let nats: RunningNats;
const options: { nats?: string } = {};
const start = marked(options);

before(async () => {
  nats = await startNats();
  options.nats = nats.url;
});
after(() => nats?.close());

async function answer(client: RawClient, sql: string): Promise<string> {
  client.send(query(sql));
  const lines = await client.replies();
  return lines.find((line) => line.startsWith('E ')) ?? lines.find((l) => l.startsWith('C ')) ?? '';
}

/** Asks as an agent does: what is held or can't be carried is sent again. */
async function deleted(client: RawClient, where: string, sign: () => Promise<void>) {
  for (const deadline = Date.now() + 60_000; ; ) {
    const asked = answer(client, `delete from held_t where ${where}`);
    await sign();
    const got = await asked;
    if (got.startsWith('C "DELETE 1')) return;
    assert.match(got, /^E ERROR ZH00[17] /);
    assert.ok(Date.now() < deadline, got);
  }
}

describe('the bus', () => {
  test('carries a hold, its approval and its redemption', async () => {
    const { holdpoint, count } = await start();
    const client = await RawClient.login(holdpoint.login);
    const asked = answer(client, 'delete from held_t where id = 1');
    await holdpoint.approve(await holdpoint.held('id = 1'));
    assert.match(await asked, /^C "DELETE 1/);
    assert.equal(await count('held_t'), 2);
    await client.end();
  });

  test('is killed while a statement waits: its hold survives, others go on', async () => {
    const { holdpoint, count } = await start();
    const waiting = await RawClient.login(holdpoint.login);
    const asked = answer(waiting, 'delete from held_t where id = 2');
    const id = await holdpoint.held('id = 2');
    await nats.kill();
    const client = await RawClient.login(holdpoint.login);
    assert.match(await answer(client, 'select 1'), /^C /);
    assert.match(await answer(client, 'insert into open_t values (4)'), /^C /);
    const refused = await answer(client, 'delete from held_t where id = 3');
    assert.match(refused, /^E ERROR ZH00[17] /);
    assert.equal(await count('held_t'), 2);
    await nats.restart();
    const signer = await holdpoint.signer();
    assert.equal((await signer.show(id)).state, 'pending');
    await holdpoint.approve(id);
    const first = await asked;
    if (first.startsWith('E ')) {
      // Its wait ended meanwhile: sending it again resumes it, once the bus is found again.
      assert.match(first, /^E ERROR ZH00[17] /);
      await deleted(waiting, 'id = 2', async () => {});
    } else assert.match(first, /^C "DELETE 1/);
    assert.equal(await count('held_t'), 1);
    await waiting.end();
    await client.end();
  });

  test('is back: a new hold is carried again', async () => {
    const { holdpoint, count } = await start();
    const client = await RawClient.login(holdpoint.login);
    await deleted(client, 'id = 3', async () => {
      const id = await holdpoint.held('id = 3', 2000).catch(() => null);
      if (id !== null) await holdpoint.approve(id);
    });
    assert.equal(await count('held_t'), 0);
    await client.end();
  });
});
