// Idempotence: which key stands at which index.
// Invariant: every key in the log is known before the first append is taken.
import type { Keys } from './append.ts';

export class MemoryKeys implements Keys {
  readonly #map = new Map<string, number>();

  get(key: string): number | undefined {
    return this.#map.get(key);
  }

  add(key: string, index: number): void {
    this.#map.set(key, index);
  }
}
