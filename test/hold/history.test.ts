// A signature on words that mean what earlier statements made them mean: EXECUTE.
// Invariant: what runs is what was signed; when what stands behind the words has changed, the
// approval is void.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import pg from 'pg';
import { marked } from '../setup/marked.ts';

const start = marked();
const clients: pg.Client[] = [];

async function connect(): Promise<pg.Client> {
  const { holdpoint } = await start();
  const client = new pg.Client(holdpoint.login);
  await client.connect();
  clients.push(client);
  return client;
}

/** Asks in a transaction, where a hold answers at once; people approve; nothing has run yet. */
async function approved(client: pg.Client, sql: string): Promise<void> {
  const { holdpoint } = await start();
  await client.query('begin');
  const error = await client.query(sql).catch((e: Error) => e);
  await client.query('rollback');
  if (!(error instanceof Error)) assert.fail('it ran without a signature');
  const id = /h-[a-z2-7]{16}/.exec(error.message)?.[0] ?? assert.fail(error.message);
  await holdpoint.approve(id);
}

/** Sends in a transaction, so that what is held again answers at once. */
async function send(client: pg.Client, sql: string): Promise<string> {
  await client.query('begin');
  try {
    await client.query(sql);
    await client.query('commit');
    return 'done';
  } catch (error) {
    await client.query('rollback');
    return (error as pg.DatabaseError).code ?? '';
  }
}

describe('what was signed is what runs', () => {
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.end()));
    await (await start()).reset();
  });

  test('EXECUTE of the same statement, in this session and in another', async () => {
    const { count } = await start();
    for (const other of [false, true]) {
      const client = await connect();
      await client.query('prepare p as delete from held_t where id = 1');
      await approved(client, 'execute p');
      const again = other ? await connect() : client;
      if (other) await again.query('prepare p as delete from held_t where id = 1');
      assert.equal(await send(again, 'execute p'), 'done');
      assert.equal(await count('held_t'), 2);
      await (await start()).reset();
    }
  });

  test('EXECUTE of another statement of that name', async () => {
    const { count } = await start();
    for (const other of [false, true]) {
      const client = await connect();
      await client.query(`prepare p as delete from held_t where id = ${other ? 2 : 3}`);
      await approved(client, 'execute p');
      const again = other ? await connect() : client;
      if (!other) await again.query('deallocate p');
      await again.query('prepare p as delete from held_t where id in (2, 3)');
      assert.equal(await send(again, 'execute p'), 'ZH001', 'it is held anew');
      assert.equal(await count('held_t'), 3);
    }
  });
});
