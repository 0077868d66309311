// Work that takes long is done in steps, and sessions go on between them.
// Invariant: nothing but the time it takes depends on the pauses.
import { setImmediate } from 'node:timers/promises';
import { LIMITS } from '../../limits.ts';

/** Work with pauses in which others may go on. */
export type Steps<T> = Generator<void, T, void>;

const ITEMS_A_STEP = 500;

export function* each<T>(items: Iterable<T>, work: (item: T) => void): Steps<void> {
  let count = 0;
  for (const item of items) {
    work(item);
    if (++count % ITEMS_A_STEP === 0) yield;
  }
}

/** All steps, with the event loop between them. */
export async function inSteps<T>(steps: Steps<T>): Promise<T> {
  let step = steps.next();
  for (let began = performance.now(); step.done !== true; step = steps.next()) {
    if (performance.now() - began < LIMITS.catalog_step_ms) continue;
    await setImmediate();
    began = performance.now();
  }
  return step.value;
}

/** All steps at once. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}
