// Carries SQLite's log over into the database file, in a thread of its own: a checkpoint syncs
// twice and nobody who decides should wait for it.
// Invariant: if the thread fails, its log only grows; nothing that was committed depends on it.
import { statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { CHECKPOINT_BYTES, CHECKPOINT_COMMITS, CHECKPOINT_MS } from '../limits.ts';

export class Checkpoints {
  readonly #file: string;
  #commits = 0;
  #worker: Worker | null = null;
  #ended: Promise<void> = Promise.resolve();

  constructor(file: string) {
    this.#file = file;
  }

  /** One more commit is in the log; a command that writes little never needs the thread. */
  grown(): void {
    this.#commits++;
    if (this.#commits === CHECKPOINT_COMMITS) this.#start();
  }

  async close(): Promise<void> {
    this.#commits = CHECKPOINT_COMMITS;
    this.#worker?.ref();
    this.#worker?.postMessage('close');
    await this.#ended;
  }

  #start(): void {
    const worker = new Worker(new URL(import.meta.url), {
      workerData: { checkpoints: this.#file },
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
    });
    worker.unref();
    this.#ended = new Promise((resolve) => {
      worker.once('exit', () => resolve());
      // Without it the log grows until the next start; the store itself is sound.
      worker.once('error', () => resolve());
    });
    this.#worker = worker;
  }
}

/** In the thread: looks at the log every so often, and carries it over when it is long enough. */
function work(file: string): void {
  const database = new DatabaseSync(file, { timeout: 0 });
  let done = 0;
  const timer = setInterval(() => {
    try {
      const { size, mtimeMs } = statSync(`${file}-wal`);
      if (size < CHECKPOINT_BYTES || mtimeMs === done) return;
      // PASSIVE waits for nobody and stops nobody; what it leaves, the next turn takes.
      database.exec('PRAGMA wal_checkpoint(PASSIVE)');
      done = mtimeMs;
    } catch {
      // Busy, or the disk is full: the next turn tries again.
    }
  }, CHECKPOINT_MS);
  parentPort?.once('message', () => {
    clearInterval(timer);
    database.close();
    parentPort?.close();
  });
}

if (!isMainThread && typeof workerData?.checkpoints === 'string') work(workerData.checkpoints);
