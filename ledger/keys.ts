// Idempotence: which key stands at which index. Recent keys in memory, older ones in the index
// file.
// Invariant: every key in the log is found before the first append is taken; memory holds only what
// the index has not.
import { Worker } from 'node:worker_threads';
import type { Keys } from './append.ts';
import { reasonOf } from './errors.ts';
import { IndexFile } from './index-file.ts';
import {
  INDEX_EVERY_MS,
  KEYS_LAG_MAX,
  KEYS_PACE,
  KEYS_PACE_MS,
  KEYS_RECENT_MAX,
} from './limits.ts';

/** All keys in memory: for tests and for logs without an index. */
export class MemoryKeys implements Keys {
  readonly #map = new Map<string, number>();

  get(key: string): number | undefined {
    return this.#map.get(key);
  }

  add(key: string, index: number): void {
    this.#map.set(key, index);
  }

  pace(): null {
    return null;
  }

  /** Forgets all; returns the first index whose key is to be added. */
  reset(_size: number): number {
    this.#map.clear();
    return 0;
  }
}

export interface IndexedKeysOptions {
  readonly path: string;
  readonly publicKey: string;
  /** The log's size; an index that has more is of another history and begun anew. */
  readonly size: number;
  /** The ledger's directory. */
  readonly directory: string;
  /**
   * The identity of the entry at an index, from the log: one found in the index counts only when it
   * stands there; undefined where retention removed the entry.
   */
  readonly keyAt: (index: number) => string | null | undefined;
  readonly warn: (message: string) => void;
}

export class IndexedKeys implements Keys {
  readonly #options: IndexedKeysOptions;
  readonly #recent = new Map<string, number>();
  readonly #index: IndexFile;
  readonly #worker: Worker;
  #indexed: number;
  #timer: NodeJS.Timeout | null = null;
  #busy = false;
  #again = false;
  #waiting: (() => void)[] = [];
  #failed: string | null = null;
  #unreadable = false;
  #stuck = false;

  constructor(options: IndexedKeysOptions) {
    this.#options = options;
    this.#index = new IndexFile(options.path, options.publicKey, options.size);
    this.#indexed = this.#index.size;
    this.#worker = new Worker(new URL('./index-worker.ts', import.meta.url), {
      workerData: { path: options.path, publicKey: options.publicKey, log: options.directory },
    });
    this.#worker.unref();
    this.#worker.on('message', (message: { size: number } | { failed: string }) =>
      this.#told(message),
    );
    this.#worker.on('error', (error) => this.#fail(reasonOf(error)));
    this.#worker.on('exit', () => this.#fail('its thread ended'));
  }

  /** For searching; the same file that the worker writes. */
  get index(): IndexFile {
    return this.#index;
  }

  /** Entries indexed so far. */
  get indexed(): number {
    return this.#indexed;
  }

  get failed(): string | null {
    return this.#failed;
  }

  get(key: string): number | undefined {
    const recent = this.#recent.get(key);
    if (recent !== undefined) return recent;
    const index = this.#find(key);
    if (index === undefined || this.#stands(key, index)) return index;
    this.#options.warn(
      `The index names entry ${index} for a key that does not stand there; rebuild it: ` +
        'holdpoint ledger reindex.',
    );
    return undefined;
  }

  #stands(key: string, index: number): boolean {
    try {
      const there = this.#options.keyAt(index);
      return there === undefined || there === key;
    } catch {
      return false;
    }
  }

  /** A damaged index must not stop an append: what it can't tell is taken as new. */
  #find(key: string): number | undefined {
    if (this.#unreadable) return undefined;
    try {
      return this.#index.find(key);
    } catch (error) {
      this.#unreadable = true;
      this.#options.warn(
        `The index can't be read (${reasonOf(error)}): an older entry that is sent again is ` +
          'written twice. Stop the ledger and rebuild it: holdpoint ledger reindex.',
      );
      return undefined;
    }
  }

  add(key: string, index: number): void {
    this.#recent.set(key, index);
    if (this.#recent.size <= KEYS_RECENT_MAX) return;
    for (const oldest of this.#recent.keys()) {
      this.#recent.delete(oldest);
      break;
    }
  }

  pace(): Promise<void> | null {
    // Waiting helps only while the index moves; when it can't be written, appends go on without it.
    if (this.#recent.size < KEYS_PACE || this.#failed !== null || this.#stuck) return null;
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, KEYS_PACE_MS);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /**
   * Forgets what is only in memory; returns the first index whose key is to be added, for a log of
   * `size`.
   */
  reset(size: number): number {
    this.#recent.clear();
    return Math.min(this.#indexed, size);
  }

  /** Tells the worker that more is published. */
  catchUp(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#ask();
    }, INDEX_EVERY_MS);
  }

  #ask(): void {
    if (this.#failed !== null) return;
    if (this.#busy) {
      this.#again = true;
      return;
    }
    this.#busy = true;
    this.#worker.postMessage('catch-up');
  }

  #told(message: { size: number } | { failed: string }): void {
    const before = this.#stuck;
    this.#stuck = 'failed' in message;
    if ('failed' in message) {
      const why = `The index can't be kept up (${message.failed})`;
      if (!before) this.#options.warn(`${why}; searches miss the newest entries until it can.`);
      this.#busy = false;
    } else {
      if (message.size === this.#indexed) this.#busy = false;
      this.#indexed = message.size;
      for (const [key, index] of this.#recent) {
        if (index >= message.size) break;
        this.#recent.delete(key);
      }
    }
    for (const done of this.#waiting.splice(0)) done();
    if (!this.#busy && this.#again) {
      this.#again = false;
      this.#ask();
    }
  }

  #fail(why: string): void {
    if (this.#failed !== null) return;
    this.#failed = why;
    for (const done of this.#waiting.splice(0)) done();
  }

  /**
   * Resolves when at most `lag` of `size` published entries are not indexed; rejects when that
   * can't be.
   */
  async until(size: number, lag: number = KEYS_LAG_MAX): Promise<void> {
    while (size - this.#indexed > lag) {
      if (this.#failed !== null) throw new Error(`The index can't be written: ${this.#failed}.`);
      const told = new Promise<void>((resolve) => this.#waiting.push(resolve));
      this.#ask();
      await told;
      if (this.#stuck) throw new Error('The index can not be written now.');
    }
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#failed ??= 'closed';
    const ended = new Promise<void>((resolve) => this.#worker.once('exit', () => resolve()));
    this.#worker.ref();
    this.#worker.postMessage('close');
    await ended;
    this.#index.close();
  }
}
