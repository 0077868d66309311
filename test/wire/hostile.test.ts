// Statements made to keep the proxy busy: what one session sends must not make the others wait.
// Invariant: the time between two turns of the event loop stays far below what a person notices.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RawClient } from '../peers/client.ts';
import { query } from '../peers/messages.ts';
import { marked } from '../setup/marked.ts';

const start = marked();
/** Much more than it takes, so that a busy machine does not matter: it took seconds. */
const MOST_MS = 1_000;

/** The longest time for which nothing else got a turn until the answer came. */
async function longestPause(sql: string): Promise<number> {
  const { holdpoint } = await start();
  const client = await RawClient.login(holdpoint.login);
  let longest = 0;
  let last = performance.now();
  const turn = (): void => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  };
  const timer = setInterval(turn, 2);
  client.send(query(sql));
  await client.replies(1, 60_000);
  turn();
  clearInterval(timer);
  await client.end();
  return longest;
}

describe('one session does not keep the others waiting', () => {
  test('a comment that could state a reason at every letter', async () => {
    for (const filler of ['a', "a='", "a='\\", "reason='", '*/ /*']) {
      const comment = `/* ${filler.repeat(100_000 / filler.length)} */`;
      const pause = await longestPause(`insert into open_t values (1) ${comment}`);
      assert.ok(pause < MOST_MS, `${JSON.stringify(filler)}: ${pause.toFixed(0)} ms`);
    }
  });
});
