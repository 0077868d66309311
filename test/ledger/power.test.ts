// The power cut at every call, with what was not synced torn or gone, and after failed writes.
import { test } from 'node:test';
import { run } from './faulty-run.ts';

const CALLS = await run(null, 0, null);

test('the power cut at each call, what was not synced torn or gone', async () => {
  for (let at = 0; at < CALLS; at++) {
    for (let seed = 0; seed < 3; seed++)
      await run(at % 2 === 0 ? 'crash-after' : 'crash-before', at, at * 31 + seed);
  }
});

test('a failed call, tried again, and then the power cut', async () => {
  for (let at = 0; at < CALLS; at++) {
    await run('EIO', at, at * 17);
    await run(at % 2 === 0 ? 'EIO-done' : 'EIO-half', at, at * 19);
  }
});
