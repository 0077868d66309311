// Numbers that look random, and come again in every run.
// Invariant: the same seed gives the same numbers, whatever the machine.

/** Whole numbers below a bound (mulberry32). */
export function mulberry(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) % bound;
  };
}
