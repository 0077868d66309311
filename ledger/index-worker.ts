// The thread that keeps the index up with the published log.
// Invariant: it only reads the log and only writes the index; a failure of it never stops an
// append.
import { parentPort, workerData } from 'node:worker_threads';
import { reasonOf } from './errors.ts';
import { IndexFile } from './index-file.ts';
import { PublishedLog } from './log.ts';

const { path, publicKey, log }: { path: string; publicKey: string; log: string } = workerData;
const index = new IndexFile(path, publicKey);

parentPort?.on('message', (message: 'catch-up' | 'close') => {
  if (message === 'close') {
    index.close();
    parentPort?.close();
    return;
  }
  try {
    const published = new PublishedLog(log, null);
    index.add(published.entries(index.size), (size) => parentPort?.postMessage({ size }));
    parentPort?.postMessage({ size: index.size });
  } catch (error) {
    parentPort?.postMessage({ failed: reasonOf(error) });
  }
});
parentPort?.postMessage({ size: index.size });
