// The ledger's disk is full, or fails: changes stop with a clear error, reads go on, and nothing
// was lost when it is back.
// Invariant: a change that was not recorded was not made.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { DiskFiles, type DurableFile, type Files } from '../../ledger/files.ts';
import { RawClient } from '../peers/client.ts';
import { query } from '../peers/messages.ts';
import { marked } from '../setup/marked.ts';

type Trouble = 'ENOSPC' | 'EIO';

/** A real disk whose writes and syncs fail while there is trouble. */
class FailingDisk extends DiskFiles implements Files {
  trouble: Trouble | null = null;
  /** What fails: everything that needs room, or only making it durable. */
  only: 'all' | 'sync' = 'all';

  #fail(): void {
    if (this.trouble === null) return;
    throw Object.assign(new Error(`${this.trouble}: injected`), { code: this.trouble });
  }

  override async write(path: string, bytes: Uint8Array, mode?: number): Promise<void> {
    if (this.only === 'all') this.#fail();
    await super.write(path, bytes, mode);
  }

  override async sync(path: string): Promise<void> {
    this.#fail();
    await super.sync(path);
  }

  override openDurable(path: string): DurableFile {
    const file = super.openDurable(path);
    return {
      write: async (bytes, from, length, position) => {
        // A failed sync may well leave the bytes behind.
        if (this.only === 'sync') await file.write(bytes, from, length, position);
        this.#fail();
        return await file.write(bytes, from, length, position);
      },
      close: () => file.close(),
    };
  }
}

const disk = new FailingDisk();
const start = marked({ parts: { files: disk }, wait: '120s' });

async function until(done: () => Promise<boolean>, patienceMs = 60_000): Promise<void> {
  for (const deadline = Date.now() + patienceMs; Date.now() < deadline; ) {
    if (await done()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail(`not within ${patienceMs} ms`);
}

async function answer(client: RawClient, sql: string): Promise<string> {
  client.send(query(sql));
  const lines = await client.replies();
  return lines.find((line) => line.startsWith('E ')) ?? lines.find((l) => l.startsWith('C ')) ?? '';
}

describe('the ledger', () => {
  afterEach(async () => {
    disk.trouble = null;
    const { reset } = await start();
    await reset();
  });

  for (const [name, trouble, only] of [
    ['whose disk is full', 'ENOSPC', 'all'],
    ['whose disk fails to sync', 'EIO', 'sync'],
    ['whose disk fails', 'EIO', 'all'],
  ] as const) {
    test(`${name}: changes are refused, reads go on, both work again afterwards`, async () => {
      const { holdpoint, count } = await start();
      const client = await RawClient.login(holdpoint.login);
      assert.match(await answer(client, 'insert into open_t values (4)'), /^C "INSERT 0 1/);
      disk.only = only;
      disk.trouble = trouble;
      for (let i = 0; i < 5; i++) {
        const refused = await answer(client, `insert into open_t values (${i + 10})`);
        assert.match(refused, /^E ERROR ZH005 /);
        assert.match(await answer(client, 'select count(*) from open_t'), /^C "SELECT 1/);
      }
      assert.equal(await count('open_t'), 4);
      disk.trouble = null;
      await until(async () =>
        (await answer(client, 'insert into open_t values (5)')).startsWith('C'),
      );
      assert.equal(await count('open_t'), 5);
      await client.end();
    });
  }

  test('a change in an open transaction is refused and the transaction fails with it', async () => {
    const { holdpoint, count } = await start();
    const client = await RawClient.login(holdpoint.login);
    await answer(client, 'begin');
    await answer(client, 'insert into open_t values (4)');
    disk.only = 'all';
    disk.trouble = 'ENOSPC';
    assert.match(await answer(client, 'insert into open_t values (5)'), /^E ERROR ZH005 /);
    assert.match(await answer(client, 'commit'), /^C "ROLLBACK/);
    assert.equal(await count('open_t'), 3);
    await client.end();
  });

  test('a held statement is not run when its redemption can not be recorded', async () => {
    const { holdpoint, count } = await start();
    const client = await RawClient.login(holdpoint.login);
    await until(async () =>
      (await answer(client, 'insert into open_t values (9)')).startsWith('C'),
    );
    client.send(query('delete from held_t where id = 1'));
    const id = await holdpoint.held('id = 1');
    disk.only = 'all';
    disk.trouble = 'ENOSPC';
    await assert.rejects(holdpoint.approve(id), 'a signature was taken that is not on record');
    disk.trouble = null;
    // A signature that was kept is recorded by itself; one that was not taken is given again.
    const ann = await holdpoint.signer();
    await until(async () => {
      if ((await ann.show(id)).state === 'pending') await holdpoint.approve(id).catch(() => {});
      return (await ann.show(id)).state !== 'pending';
    });
    const seen = await client.replies();
    assert.ok(
      seen.some((line) => line.startsWith('C "DELETE 1')),
      seen.join('\n'),
    );
    assert.equal(await count('held_t'), 2);
    await client.end();
  });

  test('afterwards it verifies, and has every change that was made', async () => {
    const { holdpoint } = await start();
    await holdpoint.stop();
    const verified = await holdpoint.verifyLedger();
    assert.deepEqual([verified.ok, verified.findings], [true, []]);
    const changes = (await holdpoint.entries()).filter(
      (entry) => entry.kind === 'decision' && entry.disposition === 'forward',
    );
    const texts = changes.map((entry) => ('statement' in entry ? entry.statement.text : ''));
    assert.equal(
      texts.filter((text) => text === 'insert into open_t values (5)').length >= 3,
      true,
    );
  });
});
