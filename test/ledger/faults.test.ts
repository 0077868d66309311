// Every call that touches the disk failed, in every way, then reloaded: nothing that was answered
// is lost or moved.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLedger } from '../../ledger/ledger.ts';
import { appendOf } from './entries.ts';
import { FAULTS, FaultyDisk } from './faulty-disk.ts';
import { directory, origin, run } from './faulty-run.ts';

const CALLS = await run(null, 0, null);

test(`a run without a fault has a fair number of calls (${CALLS})`, () => {
  assert.ok(CALLS > 100 && CALLS < 1000, String(CALLS));
});

for (const fault of FAULTS) {
  test(`${fault} at each of ${CALLS} calls, reloaded`, async () => {
    for (let at = 0; at < CALLS; at++) await run(fault, at, null);
  });
}

test('a ledger recovers by itself when the disk takes writes again', async () => {
  const files = new FaultyDisk();
  const warnings: string[] = [];
  const warn = (message: string): number => warnings.push(message);
  const ledger = await openLedger({ directory, origin, files, warn });
  await ledger.append([appendOf(1)]);
  await ledger.publish();
  files.plan = { at: files.calls, fault: 'EIO' };
  await assert.rejects(ledger.append([appendOf(2)]), { code: 'unavailable' });
  assert.match(ledger.unavailable ?? '', /EIO/);
  await assert.rejects(ledger.append([appendOf(2)]), { code: 'unavailable' });
  const until = performance.now() + 60_000;
  while (ledger.unavailable !== null && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const [again] = await ledger.append([appendOf(2)]);
  assert.equal(again?.index, 1);
  assert.match(warnings.join('\n'), /stopped[\s\S]*recovered with 1 entries/);
  await ledger.close();
});
