// Every stream through Holdpoint is answered as the server answers it, wherever its bytes are cut
// on the way.
// Invariant: the expected transcript is the server's own, taken in the same run.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RawClient } from '../peers/client.ts';
import { type Door, pairs } from '../setup/routes.ts';
import { FIXTURES, type Fixture, SETUP } from './fixtures.ts';

const CONNECTIONS = 8;

async function transcript(client: RawClient, fixture: Fixture): Promise<string[]> {
  client.send(fixture.stream);
  return await client.replies(fixture.ready);
}

/**
 * Sends the stream cut at each place in turn, and complains about every transcript that differs.
 */
async function everyCut(door: Door, fixture: Fixture, expected: string[]): Promise<void> {
  const client = await RawClient.login(door);
  try {
    for (let cut = 1; cut < fixture.stream.length; cut++) {
      await client.sendCut(fixture.stream, [cut]);
      const got = await client.replies(fixture.ready).catch((error: Error) => [String(error)]);
      assert.deepEqual(got, expected, `${fixture.name}, cut at ${cut}`);
    }
  } finally {
    await client.end();
  }
}

for (const { version, direct, guarded, skip } of pairs()) {
  describe(`byte streams, PostgreSQL ${version}`, { skip }, () => {
    const expected = new Map<string, string[]>();

    test('each stream is answered as the server answers it', async (t) => {
      const there = await RawClient.login(await direct.open(SETUP));
      t.after(() => there.end());
      const here = await RawClient.login(await guarded.open(SETUP));
      t.after(() => here.end());
      for (const fixture of FIXTURES) {
        const wanted = await transcript(there, fixture);
        assert.deepEqual(
          await transcript(there, fixture),
          wanted,
          `${fixture.name} is not repeatable`,
        );
        expected.set(fixture.name, wanted);
        await t.test(fixture.name, async () => {
          assert.deepEqual(await transcript(here, fixture), wanted);
          assert.deepEqual(await transcript(here, fixture), wanted, 'the second time');
        });
      }
    });

    test('cut at every byte', async () => {
      const door = await guarded.open(SETUP);
      const queue = [...FIXTURES];
      const work = async () => {
        for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
          await everyCut(door, next, expected.get(next.name) ?? []);
        }
      };
      await Promise.all(Array.from({ length: CONNECTIONS }, work));
    });

    test('a byte at a time', async () => {
      const client = await RawClient.login(await guarded.open(SETUP));
      for (const fixture of FIXTURES) {
        const cuts = Array.from(fixture.stream.keys()).slice(1);
        await client.sendCut(fixture.stream, cuts, 0);
        assert.deepEqual(
          await client.replies(fixture.ready),
          expected.get(fixture.name),
          fixture.name,
        );
      }
      await client.end();
    });

    test('all streams in one piece', async () => {
      const client = await RawClient.login(await guarded.open(SETUP));
      // A COPY's data may not be sent before the server has asked for it; drivers wait, and so do
      // these.
      const many = FIXTURES.filter((f) => !f.name.startsWith('COPY in'));
      client.send(...many.map((f) => f.stream));
      for (const fixture of many) {
        assert.deepEqual(
          await client.replies(fixture.ready),
          expected.get(fixture.name),
          fixture.name,
        );
      }
      await client.end();
    });
  });
}
