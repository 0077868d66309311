// The server's bytes cut anywhere on their way: the client gets each of them once and in order.
// Invariant: the expected bytes are the server's own, taken in the same run past Holdpoint.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, describe, test } from 'node:test';
import { RawClient } from '../peers/client.ts';
import { type Cutter, dice, startCutter } from '../peers/cutter.ts';
import { query } from '../peers/messages.ts';
import { type Holdpoint, MARKED_POLICY, startHoldpoint } from '../setup/holdpoint.ts';
import { type PostgresServer, sharedPostgres } from '../setup/postgres.ts';
import { FIXTURES, SETUP } from './fixtures.ts';

const SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 11, 13, 64];
const SEEDS = 40;
const LARGE = 'copy (select i, md5(i::text) from generate_series(1, 20000) i) to stdout';

let server: PostgresServer;
let cutter: Cutter;
let holdpoint: Holdpoint;
const expected = new Map<string, string[]>();

after(async () => {
  await holdpoint?.close();
  await cutter?.close();
  await server?.stop();
});

function digest(lines: readonly string[]): string {
  return createHash('sha256').update(lines.join('\n')).digest('hex');
}

async function answered(client: RawClient, next: (() => number) | null): Promise<void> {
  for (const { name, stream, ready } of FIXTURES) {
    cutter.next = next;
    client.send(stream);
    assert.deepEqual(await client.replies(ready), expected.get(name), name);
  }
  cutter.next = null;
}

describe("the server's bytes", () => {
  test('are expected as the server sends them', async () => {
    server = await sharedPostgres(18);
    const database = await server.createDatabase(SETUP);
    cutter = await startCutter(server);
    const target = { ...server, host: cutter.host, port: cutter.port, database };
    holdpoint = await startHoldpoint({ target, policy: MARKED_POLICY });
    const direct = await RawClient.login({ ...server, database });
    for (const { name, stream, ready } of FIXTURES) {
      direct.send(stream);
      expected.set(name, await direct.replies(ready));
    }
    direct.send(query(LARGE));
    expected.set('large', [digest(await direct.replies())]);
    await direct.end();
  });

  for (const size of SIZES) {
    test(`in pieces of ${size}`, async () => {
      const client = await RawClient.login(holdpoint.login);
      await answered(client, () => size);
      await client.end();
    });
  }

  test('in pieces of any size', async () => {
    const client = await RawClient.login(holdpoint.login);
    for (let seed = 1; seed <= SEEDS; seed++) {
      const roll = dice(seed);
      await answered(client, () => 1 + roll(30));
    }
    await client.end();
  });

  test('of a large COPY, in pieces of any size', async () => {
    const client = await RawClient.login(holdpoint.login);
    for (let seed = 1; seed <= 5; seed++) {
      const roll = dice(seed);
      cutter.next = () => 1 + roll(4000);
      client.send(query(LARGE));
      assert.deepEqual(digest(await client.replies(1)), expected.get('large')?.[0]);
      cutter.next = null;
    }
    await client.end();
  });
});
