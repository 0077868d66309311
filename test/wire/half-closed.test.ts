// A client that closes its side behind its last message, as `printf … | nc -N` does.
// Invariant: what it sent is answered in full, nobody is waited for, and then the session ends.
import assert from 'node:assert/strict';
import { after, beforeEach, describe, test } from 'node:test';
import { RawClient } from '../peers/client.ts';
import { copyData, copyDone, extended, query, sync } from '../peers/messages.ts';
import { marked } from '../setup/marked.ts';

const start = marked();

/** Sends all of it and the end of the connection; answers what came until that was over. */
async function last(...messages: readonly Buffer[]): Promise<string> {
  const { holdpoint } = await start();
  const client = await RawClient.login(holdpoint.login);
  client.socket.end(Buffer.concat(messages));
  return (await client.closed()).join('\n');
}

describe('behind the end of what a client sends', () => {
  beforeEach(async () => (await start()).reset());
  after(async () => (await start()).reset());

  test('nothing owed: the session ends', async () => {
    assert.equal(await last(), '');
  });

  test('a query and a pipeline, one of them slow, are answered', async () => {
    const seen = await last(
      query("select 'first', pg_sleep(0.2)"),
      ...[extended('select 2'), extended("select 'third'"), sync()],
      query("select 'last'"),
    );
    assert.match(
      seen,
      /first[\s\S]*\nZ "I"\n1\n[\s\S]*third[\s\S]*\nZ "I"\n[\s\S]*last[\s\S]*\nZ "I"$/,
    );
  });

  test('more rows than sockets hold come to their end', async () => {
    const seen = await last(query("select repeat('x', 1000) from generate_series(1, 3000)"));
    assert.equal(seen.match(/^D/gm)?.length, 3000);
    assert.match(seen, /C "SELECT 3000\\u0000"\nZ "I"$/);
  });

  test('a change is recorded, run and answered', async () => {
    const { count } = await start();
    assert.match(await last(query('insert into open_t values (4)')), /INSERT 0 1[\s\S]*Z "I"$/);
    assert.equal(await count('open_t'), 4);
  });

  test('a held statement is answered with its hold at once', async () => {
    const { count, holdpoint } = await start();
    assert.match(await last(query('delete from held_t')), /E ERROR ZH001[\s\S]*Z "I"$/);
    await holdpoint.held('delete from held_t');
    assert.equal(await count('held_t'), 3);
  });

  test('while it waits for people: the same', async () => {
    const { count, holdpoint } = await start();
    const client = await RawClient.login(holdpoint.login);
    client.send(query('delete from held_t where id = 2'));
    await client.until((m) => m.type === 'N');
    client.socket.end();
    assert.match((await client.closed()).join('\n'), /E ERROR ZH001[\s\S]*Z "I"$/);
    assert.equal(await count('held_t'), 3);
  });

  test('half a message: what stood before it is answered', async () => {
    const seen = await last(query("select 'whole'"), query('select 2').subarray(0, 9));
    assert.match(seen, /whole[\s\S]*Z "I"$/);
  });

  test('a unit without its Sync: nothing of it remains', async () => {
    const { count } = await start();
    await last(extended('insert into open_t values (5)'));
    assert.equal(await count('open_t'), 3);
  });

  test('a whole COPY behind its statement', async () => {
    const { count } = await start();
    const data = [copyData('7\n'), copyData('8\n'), copyDone()];
    assert.match(await last(query('copy open_t from stdin'), ...data), /COPY 2[\s\S]*Z "I"$/);
    assert.equal(await count('open_t'), 5);
  });

  test('half a COPY behind its statement: nothing of it remains', async () => {
    const { count } = await start();
    await last(query('copy open_t from stdin'), copyData('7\n'));
    assert.equal(await count('open_t'), 3);
  });

  test('in the middle of COPY: nothing of it remains', async () => {
    const { count, holdpoint } = await start();
    const client = await RawClient.login(holdpoint.login);
    client.send(query('copy open_t from stdin'));
    await client.until((m) => m.type === 'G');
    client.socket.end(copyData('7\n'));
    await client.closed();
    assert.equal(await count('open_t'), 3);
  });
});
