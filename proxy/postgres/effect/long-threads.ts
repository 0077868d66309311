// Threads that judge long texts, started when they are first needed and again when one is gone.
// Invariant: every text gets an answer within a bound, or the reason why it has none; what happens
// to a thread concerns the one text that it was at.
import { Worker } from 'node:worker_threads';
import { factsOf } from '../catalog/build.ts';
import { slices } from '../catalog/hand-over.ts';
import { type Facts, NO_FACTS, rangesBetween } from '../catalog/rows.ts';
import type { CatalogSnapshot } from '../catalog/snapshot.ts';
import type { SessionContext } from '../statement.ts';
import type { Answer, Task } from './long-worker.ts';

/** As in EFFECT_LIMITS. */
export interface ThreadLimits {
  readonly threads: number;
  readonly thread_waiting: number;
  readonly thread_ms: number;
  readonly thread_start_ms: number;
  readonly thread_heap_mb: number;
  readonly thread_catalogs: number;
  readonly thread_rows: number;
}

interface Job {
  readonly text: string;
  readonly context: SessionContext;
  readonly catalog: CatalogSnapshot | null;
  readonly done: (answer: Answer | string) => void;
}

interface Known {
  readonly version: number;
  readonly facts: Facts;
}

/** The one that differs least, if any has something in common. */
function nearest(known: readonly Known[], facts: Facts): Known | null {
  let found: Known | null = null;
  let least = facts.ranges.size;
  for (const each of known) {
    const { length } = rangesBetween(each.facts, facts);
    if (length >= least) continue;
    least = length;
    found = each;
  }
  return found;
}

class Thread {
  busy = false;
  readonly #limits: ThreadLimits;
  #worker: Worker | null = null;
  /** Catalogs that it knows, oldest first, and the rows that they were built of. */
  readonly #known: Known[] = [];
  #heard: (answer: Answer | null | Error) => void = () => undefined;

  constructor(limits: ThreadLimits) {
    this.#limits = limits;
  }

  /** Never rejects: a string says why there is no answer. */
  async judge({ text, context, catalog }: Job): Promise<Answer | string> {
    this.busy = true;
    try {
      await this.#begin(catalog);
      const version = catalog?.version ?? null;
      const task: Task = { kind: 'text', text, context, version };
      const answer = await this.#ask(task, this.#limits.thread_ms, 'it takes too long to judge');
      return answer ?? 'its thread gave no answer';
    } catch (error) {
      this.#end();
      return error instanceof Error ? error.message : String(error);
    } finally {
      this.#worker?.unref();
      this.busy = false;
    }
  }

  async #begin(catalog: CatalogSnapshot | null): Promise<void> {
    const { thread_start_ms: most } = this.#limits;
    if (this.#worker === null) {
      this.#start();
      await this.#ask(null, most, 'its thread does not begin');
    }
    this.#worker?.ref();
    if (catalog === null || this.#known.some(({ version }) => version === catalog.version)) return;
    const facts = factsOf(catalog);
    const before = nearest(this.#known, facts);
    const known = before?.facts ?? NO_FACTS;
    // In slices, with the event loop between them: a large catalog holds nobody up either.
    for (const slice of slices(known, facts, this.#limits.thread_rows)) {
      this.#worker?.postMessage({ kind: 'rows', slice } satisfies Task);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { version } = catalog;
    const full = this.#known.length >= this.#limits.thread_catalogs;
    const forget = full ? (this.#known.shift()?.version ?? null) : null;
    const ranges = rangesBetween(known, facts);
    const task: Task = {
      kind: 'catalog',
      version,
      before: before?.version ?? null,
      ranges,
      forget,
    };
    await this.#ask(task, most, 'its thread does not take the catalog in');
    this.#known.push({ version, facts });
  }

  #start(): void {
    const worker = new Worker(new URL('./long-worker.ts', import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: this.#limits.thread_heap_mb },
    });
    this.#worker = worker;
    const gone = (why: string) => {
      // One that was given up has nothing more to say.
      if (this.#worker !== worker) return;
      this.#end();
      this.#heard(new Error(why));
    };
    worker.on('message', (answer: Answer | null) => {
      if (this.#worker === worker) this.#heard(answer);
    });
    worker.on('error', () => gone('its thread failed'));
    worker.on('exit', () => gone('its thread ended'));
  }

  #end(): void {
    const worker = this.#worker;
    this.#worker = null;
    this.#known.length = 0;
    void worker?.terminate();
  }

  /** Gives it a task, where there is one, and waits for what it says next. */
  #ask(task: Task | null, ms: number, late: string): Promise<Answer | null> {
    return new Promise((resolve, reject) => {
      const worker = this.#worker;
      if (worker === null) throw new Error('its thread ended');
      if (task !== null) worker.postMessage(task);
      const timer = setTimeout(() => this.#heard(new Error(late)), ms);
      this.#heard = (answer) => {
        clearTimeout(timer);
        this.#heard = () => undefined;
        if (answer instanceof Error) reject(answer);
        else resolve(answer);
      };
    });
  }
}

/** Threads, and the texts that wait for one. */
export class Threads {
  readonly #limits: ThreadLimits;
  readonly #threads: readonly Thread[];
  readonly #waiting: Job[] = [];

  constructor(limits: ThreadLimits) {
    this.#limits = limits;
    this.#threads = Array.from({ length: limits.threads }, () => new Thread(limits));
  }

  /** Never rejects: a string says why there is no answer. */
  judge(
    text: string,
    context: SessionContext,
    catalog: CatalogSnapshot | null,
  ): Promise<Answer | string> {
    if (this.#waiting.length >= this.#limits.thread_waiting) {
      return Promise.resolve('too many others wait to be judged');
    }
    return new Promise((done) => {
      this.#waiting.push({ text, context, catalog, done });
      this.#work();
    });
  }

  /** A free thread takes what has waited longest; the second begins when the first is busy. */
  #work(): void {
    const free = this.#threads.find((thread) => !thread.busy);
    const job = free === undefined ? undefined : this.#waiting.shift();
    if (free === undefined || job === undefined) return;
    void free.judge(job).then((answer) => {
      job.done(answer);
      this.#work();
    });
  }
}
