// Which operations may leave the catalog different from what was read of it.
// Invariant: anything that is not known to touch rows alone counts.
import { type Analysis, isChange } from '../effect/effect.ts';

const ROWS_ONLY = new Set([
  'select',
  'insert',
  'update',
  'delete',
  'merge',
  'truncate',
  'copy',
  'lock',
  'emit',
  'notify',
  'nextval',
  'setval',
]);

/** true when the catalog must be looked at again after it. */
export function touchesSchema(analysis: Analysis): boolean {
  return analysis.effects.some(
    (effect) =>
      isChange(effect.class) && (effect.class === 'unknown' || !ROWS_ONLY.has(effect.verb)),
  );
}
