// The memory of unfinished messages, of all sessions together.
// Invariant: whoever asks for more than there is left is sent away with words; ordinary messages of
// others go on meanwhile, and what is let go of can be used again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '../../proxy/limits.ts';
import { RawClient } from '../peers/client.ts';
import { parse, query, sync } from '../peers/messages.ts';
import { marked } from '../setup/marked.ts';

const start = marked();
const HALF = LIMITS.unfinished_bytes / 2;

/** A Bind that lacks its last byte. */
function unfinished(bytes: number): Buffer {
  const frame = Buffer.alloc(bytes - 1);
  frame.write('B', 'latin1');
  frame.writeInt32BE(bytes - 1, 1);
  return frame;
}

test('too much together: the last to ask is told, the others go on', async () => {
  const { holdpoint } = await start();
  const login = () => RawClient.login(holdpoint.login);
  const [first, second, third, other] = await Promise.all([login(), login(), login(), login()]);
  const greedy = [first, second, third];
  const taken = (client: RawClient) =>
    new Promise<void>((resolve) => client.socket.write(unfinished(HALF - 4096), () => resolve()));
  await Promise.all([taken(first), taken(second)]);
  // What a socket has taken may not be in the proxy yet: one of the three is too much.
  third.socket.on('error', () => {});
  third.send(unfinished(LIMITS.client_message_bytes));
  const refused = await Promise.race(greedy.map((one) => one.closed()));
  assert.match(refused.join('\n'), /E FATAL ZH013 .*unfinished messages of all sessions/);
  const split = query('select 41 + 1');
  await other.sendCut(split, [1, 5, 9]);
  assert.match((await other.replies()).join('\n'), /42/);
  other.send(parse(`select 1 -- ${'x'.repeat(30_000)}`), sync());
  assert.match((await other.replies()).join('\n'), /^1\nZ "I"$/);
  for (const client of greedy) client.socket.destroy();
  const again = await login();
  await taken(again);
  assert.equal(again.ended, null);
  again.socket.destroy();
  await other.end();
});
