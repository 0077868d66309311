// A random script, the same in every run: what it changes is in the effects. random.ts plays more.
// Invariant: a script that changes little, or that the server mostly refuses, proves nothing and
// fails.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startPostgres } from '../../setup/postgres.ts';
import { Ground } from './random.ts';

test('a random script does no more than was said of it', async () => {
  // Of its own: what all databases share is counted too, and others make roles and databases.
  const server = await startPostgres();
  const ground = await Ground.on(server);
  try {
    const under = await ground.play(1);
    const told = under.map(({ ran, misses }) => [ran.text, ran.parsed.class, misses]);
    assert.deepEqual(told, []);
    const { statements, failed, changed } = ground.tally;
    assert.ok(failed < statements / 2, `${failed} of ${statements} failed`);
    assert.ok(changed > statements / 4, `${changed} of ${statements} changed something`);
  } finally {
    await ground.close();
    await server.stop();
  }
});
