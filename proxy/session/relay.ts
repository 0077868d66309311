// Two sockets and the bytes between them: each side is read only as fast as the other takes it.
// Invariant: one write per socket per tick; memory is bounded by `outlet_bytes` a direction.
import type { Duplex } from 'node:stream';
import { LIMITS } from '../limits.ts';

/**
 * One direction's writing end: joins what is written in a tick, and holds the source back while the
 * sink is full.
 */
export class Outlet {
  readonly #sink: Duplex;
  readonly #source: Duplex;
  #corked = false;
  #held = false;

  constructor(sink: Duplex, source: Duplex) {
    this.#sink = sink;
    this.#source = source;
    sink.on('drain', () => {
      if (!this.#held) return;
      this.#held = false;
      source.resume();
    });
  }

  /** Queues bytes; they leave together at the end of the tick, or at {@link flush}. */
  write(bytes: Buffer): void {
    if (!this.#sink.writable) return;
    if (!this.#corked) {
      this.#corked = true;
      this.#sink.cork();
      process.nextTick(() => this.flush());
    }
    // 'drain' comes whenever the sink was asked to take more than its own mark, which is below
    // ours.
    if (this.#sink.write(bytes) || this.#held) return;
    if (this.#sink.writableLength < LIMITS.outlet_bytes) return;
    this.#held = true;
    this.#source.pause();
  }

  /** Sends what is queued now. */
  flush(): void {
    if (!this.#corked) return;
    this.#corked = false;
    this.#sink.uncork();
  }

  get held(): boolean {
    return this.#held;
  }
}
