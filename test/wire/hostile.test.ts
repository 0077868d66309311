// Statements made to keep the proxy busy: what one session sends must not make the others wait.
// Invariant: the time between two turns of the event loop stays far below what a person notices.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RawClient } from '../peers/client.ts';
import { query } from '../peers/messages.ts';
import { marked } from '../setup/marked.ts';

const start = marked();
/** Much more than it takes, so that a slow machine does not matter: it took seconds. */
const MOST_MS = 1_000;

/**
 * The most that the event loop's thread computed without a turn for anything else until the answer
 * came: what it waited for a processor that others had is not counted.
 */
async function longestPause(sql: string): Promise<number> {
  const { holdpoint } = await start();
  const client = await RawClient.login(holdpoint.login);
  let longest = 0;
  let last = process.threadCpuUsage();
  const turn = (): void => {
    const { user, system } = process.threadCpuUsage(last);
    longest = Math.max(longest, (user + system) / 1000);
    last = process.threadCpuUsage();
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
