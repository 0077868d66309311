// Hostile and clumsy clients: ten thousand mutated messages, a byte at a time, five hundred at
// once.
// Invariant: the process lives, a well-behaved client beside them is served, and nothing denied
// happened.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { RawClient } from '../peers/client.ts';
import { dice } from '../peers/cutter.ts';
import { extended, query, startup, sync } from '../peers/messages.ts';
import { type Holdpoint, MARKED_POLICY, startHoldpoint } from '../setup/holdpoint.ts';
import { until } from '../setup/holds.ts';
import { type PostgresServer, startPostgres } from '../setup/postgres.ts';
import { FIXTURES, SETUP } from '../wire/fixtures.ts';

const MESSAGES = 10_000;
const WORKERS = 8;
const CROWD = 500;

let server: PostgresServer;
let database: string;
let holdpoint: Holdpoint;

before(async () => {
  server = await startPostgres({ settings: { max_connections: '560' } });
  database = await server.createDatabase(`${SETUP}
    create table denied_t (id int); insert into denied_t values (1), (2), (3);`);
  const target = { ...server, database };
  holdpoint = await startHoldpoint({ target, policy: MARKED_POLICY, child: true, tls: 'off' });
});
after(async () => {
  await holdpoint?.close();
  await server?.stop();
});

async function served(client: RawClient): Promise<void> {
  client.send(query('select 1'), extended('select $1::text', ['x']), sync());
  const seen = await client.replies(2);
  assert.equal(seen.map((line) => line[0]).join(''), 'TDCZ12TDCZ');
}

/** The stream with some bytes changed, removed, doubled, or its end cut off. */
function mutated(stream: Buffer, roll: (bound: number) => number): Buffer {
  const bytes = Buffer.from(stream);
  const at = roll(bytes.length);
  switch (roll(6)) {
    case 0:
      return bytes.subarray(0, at);
    case 1:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + roll(4))]);
    case 2:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - roll(9)))]);
    case 3:
      // A length word: the second to fifth byte of some message.
      bytes.writeUInt8(roll(256), Math.min(bytes.length - 1, 1 + roll(4)));
      return bytes;
    default:
      for (let i = 1 + roll(4); i > 0; i--) bytes.writeUInt8(roll(256), roll(bytes.length));
      return bytes;
  }
}

async function mutate(seed: number, count: number): Promise<void> {
  const roll = dice(seed);
  let client: RawClient | null = null;
  for (let i = 0; i < count; i++) {
    if (client === null || client.ended !== null) client = await RawClient.login(holdpoint.login);
    const fixture = FIXTURES[roll(FIXTURES.length)];
    if (fixture === undefined) continue;
    client.send(mutated(fixture.stream, roll));
    client.received.length = 0;
    // Most mutations leave the stream in the middle of something: the connection is thrown away.
    if (roll(4) === 0) {
      await new Promise((resolve) => setTimeout(resolve, roll(10)));
      client.socket.destroy();
      client = null;
    }
  }
  client?.socket.destroy();
}

async function connectionsBehind(): Promise<number> {
  const behind = await server.connect(database);
  const { rows } = await behind.query(
    `select count(*)::int as n from pg_stat_activity
      where datname = $1 and pid <> pg_backend_pid()`,
    [database],
  );
  await behind.end();
  return rows[0].n;
}

describe('Holdpoint', () => {
  test(`lives through ${MESSAGES} mutated messages, and others are served meanwhile`, async () => {
    const witness = await RawClient.login(holdpoint.login);
    let over = false;
    const watch = (async () => {
      while (!over) {
        await served(witness);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    })();
    const share = MESSAGES / WORKERS;
    await Promise.all(Array.from({ length: WORKERS }, (_, seed) => mutate(seed + 1, share)));
    over = true;
    await watch;
    await witness.end();
    assert.equal(holdpoint.child?.exitCode, null);
    assert.ok(!/internal|TypeError|RangeError/.test(holdpoint.complaints), holdpoint.complaints);
    const behind = await server.connect(database);
    const { rows } = await behind.query('select count(*)::int as n from denied_t');
    assert.equal(rows[0].n, 3);
    await behind.end();
  });

  test('serves a client that sends a byte at a time, from its first byte on', async () => {
    const client = await RawClient.open(holdpoint.login);
    const { user, database: name } = holdpoint.login;
    await client.sendCut(
      startup({ user, database: name }),
      Array.from({ length: 40 }, (_, i) => i + 1),
      0,
    );
    await client.until((m) => m.type === 'R');
    client.socket.destroy();
    const patient = await RawClient.login(holdpoint.login);
    const stream = Buffer.concat([query('select 1'), extended('select $1::text', ['x']), sync()]);
    await patient.sendCut(stream, Array.from(stream.keys()).slice(1), 0);
    const seen = await patient.replies(2);
    assert.equal(seen.map((line) => line[0]).join(''), 'TDCZ12TDCZ');
    await patient.end();
  });

  test(`serves ${CROWD} connections that come at once, and forgets them when they go`, async () => {
    const idle = await connectionsBehind();
    const clients = await Promise.all(
      Array.from({ length: CROWD }, () => RawClient.login(holdpoint.login)),
    );
    await Promise.all(clients.map(served));
    await Promise.all(clients.map((client) => client.end()));
    await until('they are gone', async () => (await connectionsBehind()) <= idle + 2);
    const client = await RawClient.login(holdpoint.login);
    await served(client);
    await client.end();
  });
});
