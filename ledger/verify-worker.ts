// One thread of a verification: a range of bundles.
// Invariant: says nothing but how far it is and what it found.
import { parentPort, workerData } from 'node:worker_threads';
import { PublishedLog } from './log.ts';
import { checkRange } from './verify-range.ts';

const { directory, note, from, to }: { directory: string; note: string; from: number; to: number } =
  workerData;
const log = new PublishedLog(directory, null, undefined, note);
let entries = 0;
const result = checkRange(log, from, to, (width) => {
  entries += width;
  if (entries < 8192) return;
  parentPort?.postMessage({ progress: entries });
  entries = 0;
});
parentPort?.postMessage({ progress: entries });
parentPort?.postMessage({ result });
