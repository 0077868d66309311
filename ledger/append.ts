// Append: the sequencer. Calls wait in a queue; one commit at a time takes many of them, writes one
// journal record, and answers. Invariant: nothing is answered before entries and the checkpoint
// containing them are durable, and after any failed write nothing more is written by this sequencer
// (poison): only recovery, from the disk, may go on.

import { signCheckpoint } from './checkpoint.ts';
import type { Appended } from './contract.ts';
import { LedgerError, reasonOf } from './errors.ts';
import type { Segment } from './journal.ts';
import {
  COMMIT_BYTES,
  COMMIT_ENTRIES,
  PUBLISH_EVERY_MS,
  PUBLISH_LAG_MAX,
  SEGMENTS_LIVE_MAX,
  WAITING_BYTES_MAX,
  WAITING_ENTRIES_MAX,
} from './limits.ts';
import { hashLeaf } from './merkle.ts';
import type { Signer } from './note.ts';
import { type Publisher, type Snapshot, snapshot } from './publish.ts';
import type { Segments } from './segments.ts';
import type { Tree } from './tree.ts';

/** What a second append of the same key finds. */
export interface Keys {
  get(key: string): number | undefined;
  add(key: string, index: number): void;
  /** null, or what to wait for because too many keys are in memory. */
  pace(): Promise<void> | null;
}

/** One entry of a call: encoded when it arrives, placed when its commit is made. */
export interface Item {
  readonly key: string;
  readonly framed: Buffer;
}

interface Call {
  readonly items: readonly Item[];
  readonly bytes: number;
  readonly resolve: (answers: readonly Appended[]) => void;
  readonly reject: (error: unknown) => void;
}

export interface SequencerParts {
  readonly signer: Signer;
  readonly tree: Tree;
  readonly publisher: Publisher;
  readonly segments: Segments;
  readonly segment: Segment;
  readonly keys: Keys;
  /** The entry that must come next, before any other: the seal of a shard that is full. */
  readonly seal: (tree: Tree) => Item | null;
  readonly checkpoint: string;
  /** Told after each commit how many entries it had and how long its write took. */
  readonly committed: (entries: number, milliseconds: number) => void;
  readonly published: () => void;
  readonly poisoned: (reason: string) => void;
}

export class Sequencer {
  readonly #parts: SequencerParts;
  readonly #tree: Tree;
  #segment: Segment;
  #checkpoint: string;
  #root: Buffer;
  /** Committed: what may be answered and published. */
  #size: number;
  #queue: Call[] = [];
  #waitingEntries = 0;
  #waitingBytes = 0;
  #running = false;
  #closing: (() => void) | null = null;
  #poison: LedgerError | null = null;
  #publishing: Promise<unknown> | null = null;
  #publishTimer: NodeJS.Timeout | null = null;
  #publishAt = 0;
  #wanted: { resolve: (state: Snapshot) => void; reject: (error: unknown) => void }[] = [];
  /**
   * Segments left behind whose files are not settled yet, oldest first, with the size they end at.
   */
  #behind: { segment: Segment; size: number }[] = [];

  constructor(parts: SequencerParts) {
    this.#parts = parts;
    this.#tree = parts.tree;
    this.#segment = parts.segment;
    this.#checkpoint = parts.checkpoint;
    this.#size = parts.tree.size;
    this.#root = parts.tree.root();
  }

  get size(): number {
    return this.#size;
  }

  get root(): Buffer {
    return this.#root;
  }

  get checkpoint(): string {
    return this.#checkpoint;
  }

  get waiting(): number {
    return this.#waitingEntries;
  }

  append(items: readonly Item[]): Promise<readonly Appended[]> {
    if (this.#poison !== null) return Promise.reject(this.#poison);
    if (this.#closing !== null) {
      return Promise.reject(
        new LedgerError('closed', 'The ledger is closing; append to the process that has it open.'),
      );
    }
    let bytes = 0;
    for (const item of items) bytes += item.framed.length;
    if (
      this.#waitingEntries + items.length > WAITING_ENTRIES_MAX ||
      this.#waitingBytes + bytes > WAITING_BYTES_MAX
    ) {
      return Promise.reject(
        new LedgerError(
          'busy',
          `${this.#waitingEntries} entries wait for the disk already; try again when some are ` +
            'answered.',
        ),
      );
    }
    this.#waitingEntries += items.length;
    this.#waitingBytes += bytes;
    return new Promise((resolve, reject) => {
      this.#queue.push({ items, bytes, resolve, reject });
      this.#start();
    });
  }

  #start(): void {
    if (this.#running) return;
    this.#running = true;
    // After the microtasks, so that writers answered together are committed together again.
    setImmediate(() => {
      this.#drain().catch((error) => this.#stop(error));
    });
  }

  async #drain(): Promise<void> {
    try {
      while (this.#queue.length > 0 && this.#poison === null) {
        await this.#pace();
        const calls = this.#take();
        try {
          await this.#commit(calls);
        } catch (error) {
          this.#stop(error);
          for (const call of calls) call.reject(this.#poison);
        }
        // Answered writers run now and may join the next commit.
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      this.#running = false;
      this.#closing?.();
    }
  }

  /** What follows the commits (files, index) must keep up, or memory would grow with the log. */
  async #pace(): Promise<void> {
    if (this.#size - this.#parts.publisher.size > PUBLISH_LAG_MAX) await this.publish();
    await this.#parts.keys.pace();
  }

  #take(): Call[] {
    let entries = 0;
    let bytes = 0;
    let count = 0;
    for (const call of this.#queue) {
      if (
        count > 0 &&
        (entries + call.items.length > COMMIT_ENTRIES || bytes + call.bytes > COMMIT_BYTES)
      )
        break;
      entries += call.items.length;
      bytes += call.bytes;
      count++;
    }
    const calls = count === this.#queue.length ? this.#queue : this.#queue.slice(0, count);
    this.#queue = count === this.#queue.length ? [] : this.#queue.slice(count);
    this.#waitingEntries -= entries;
    this.#waitingBytes -= bytes;
    return calls;
  }

  /** The story of a commit, with what a crash at each step leaves. */
  async #commit(calls: readonly Call[]): Promise<void> {
    const { keys, signer } = this.#parts;
    const first = this.#tree.size;
    const fresh: Buffer[] = [];
    const places: number[][] = [];
    // 1. Place: an index and a leaf for each entry whose key is new. In memory only; a crash leaves
    // nothing.
    for (const call of calls) {
      const indexes: number[] = [];
      for (const item of call.items) {
        let index = keys.get(item.key);
        if (index === undefined) {
          const seal = this.#parts.seal(this.#tree);
          if (seal !== null) this.#place(seal, fresh);
          index = this.#place(item, fresh);
        }
        indexes.push(index);
      }
      places.push(indexes);
    }
    if (fresh.length > 0) {
      // 2. Sign. The checkpoint has not left this process; a crash leaves nothing.
      const root = this.#tree.root();
      const checkpoint = signCheckpoint(
        { origin: signer.name, size: this.#tree.size, root },
        signer,
      );
      // 3. One durable write of entries and checkpoint. A crash before it is whole: recovery drops
      // the torn record,
      //    nobody was answered. A crash after: recovery appends the same entries; who asks again
      //    finds them by key.
      const started = performance.now();
      await this.#segment.commit({ first, entries: fresh, checkpoint });
      this.#root = root;
      this.#checkpoint = checkpoint;
      this.#size = this.#tree.size;
      this.#parts.committed(fresh.length, performance.now() - started);
    }
    // 4. Answer. From here on the entries are promised.
    this.#answer(calls, places);
    if (fresh.length === 0) return;
    // 5. Publish as files, soon; a crash before or within: recovery publishes from the journal.
    this.#giveSnapshot();
    this.#publishSoon();
    // 6. A full segment is left behind; once its files are synced it is used again.
    const bytes = fresh.reduce((sum, framed) => sum + framed.length, 0);
    if (this.#segment.full(bytes * 2)) await this.#rotate();
  }

  #place(item: Item, fresh: Buffer[]): number {
    const index = this.#tree.size;
    this.#parts.keys.add(item.key, index);
    this.#tree.append(hashLeaf(item.framed.subarray(2)), item.framed);
    fresh.push(item.framed);
    return index;
  }

  #answer(calls: readonly Call[], places: readonly number[][]): void {
    const proofs = this.#tree.proofs(this.#size);
    calls.forEach((call, at) => {
      const answers: Appended[] = [];
      for (const index of places[at] ?? []) {
        const { leaf, proof } = proofs(index);
        answers.push({ index, leaf, size: this.#size, proof, checkpoint: this.#checkpoint });
      }
      call.resolve(answers);
    });
  }

  async #rotate(): Promise<void> {
    while (this.#behind.length >= SEGMENTS_LIVE_MAX) await this.publish();
    const next = await this.#parts.segments.next();
    await next.base({ checkpoint: this.#checkpoint, edge: this.#tree.edge() });
    this.#behind.push({ segment: this.#segment, size: this.#size });
    this.#segment = next;
  }

  #publishSoon(): void {
    if (this.#publishing !== null || this.#publishTimer !== null) return;
    const pause = Math.max(0, this.#publishAt + PUBLISH_EVERY_MS - performance.now());
    this.#publishTimer = setTimeout(() => {
      this.#publishTimer = null;
      this.publish().catch((error) => this.#stop(error));
    }, pause);
  }

  /** Publishes what is committed now; resolves with its checkpoint when the files are there. */
  async publish(): Promise<string> {
    const checkpoint = await this.#exclusive(() => this.#publishNow());
    if (this.#size > this.#parts.publisher.size) this.#publishSoon();
    return checkpoint;
  }

  /** Publishes a checkpoint with the co-signatures it has got. */
  async cosigned(note: string): Promise<void> {
    await this.#exclusive(() => this.#parts.publisher.cosigned(note));
  }

  /** One thing at a time is done to the public files; what fails there is poison. */
  async #exclusive<T>(work: () => Promise<T>): Promise<T> {
    while (this.#publishing !== null) await this.#publishing.catch(() => {});
    if (this.#poison !== null) throw this.#poison;
    const working = work();
    this.#publishing = working;
    try {
      return await working;
    } catch (error) {
      this.#stop(error);
      throw error;
    } finally {
      this.#publishing = null;
    }
  }

  /** The tree as committed: now, or when the commit under way is done. */
  #snapshot(): Promise<Snapshot> {
    return new Promise((resolve, reject) => {
      this.#wanted.push({ resolve, reject });
      if (this.#tree.size === this.#size) this.#giveSnapshot();
    });
  }

  #giveSnapshot(): void {
    if (this.#wanted.length === 0) return;
    const state = snapshot(this.#tree, this.#checkpoint);
    for (const wanted of this.#wanted.splice(0)) wanted.resolve(state);
  }

  async #publishNow(): Promise<string> {
    const { publisher, segments } = this.#parts;
    this.#publishAt = performance.now();
    const state = await this.#snapshot();
    await publisher.publish(state);
    this.#tree.forget(state.tiles, state.bundles);
    this.#parts.published();
    const settled = this.#behind.filter((behind) => behind.size <= publisher.size);
    if (settled.length === 0) return state.checkpoint;
    await publisher.settle();
    for (const { segment } of settled) {
      this.#behind.splice(
        this.#behind.findIndex((b) => b.segment === segment),
        1,
      );
      segment.close();
      await segments.release(segment.path);
    }
    return state.checkpoint;
  }

  #stop(error: unknown): void {
    if (this.#poison !== null) return;
    this.#poison = new LedgerError(
      'unavailable',
      `The ledger stopped after a failed write (${reasonOf(error)}); an append under way may ` +
        'or may not be in the log, and the same key finds out once it has recovered.',
      { cause: error },
    );
    if (this.#publishTimer !== null) clearTimeout(this.#publishTimer);
    for (const call of this.#queue) call.reject(this.#poison);
    this.#queue = [];
    for (const wanted of this.#wanted.splice(0)) wanted.reject(this.#poison);
    this.#parts.poisoned(reasonOf(error));
  }

  /** Answers what waits, publishes it, and closes the files. */
  async close(): Promise<void> {
    if (this.#running) await new Promise<void>((resolve) => (this.#closing = resolve));
    this.#closing ??= () => {};
    if (this.#publishTimer !== null) clearTimeout(this.#publishTimer);
    this.#publishTimer = null;
    if (this.#poison === null && this.#size > this.#parts.publisher.size) await this.publish();
    await this.#publishing?.catch(() => {});
    if (this.#publishTimer !== null) clearTimeout(this.#publishTimer);
    for (const { segment } of this.#behind) segment.close();
    this.#segment.close();
  }
}
