// Objects that this session made or changed, and that the catalog may not show yet: what using them
// would run.
// Invariant: until the catalog shows it, a changed object is either remembered with its effects or
// `unknown`.
import { type Effect, unknownEffect } from '../../effect/effect.ts';
import type { LocalObject } from '../statement.ts';
import type { Judge } from './judge.ts';

/** Remembers an object that other connections may not see yet. */
export function remember(
  judge: Judge,
  object: Omit<LocalObject, 'committed' | 'catalog_version'>,
): void {
  judge.change({
    kind: 'object',
    object: { ...object, committed: false, catalog_version: judge.catalog?.version ?? 0 },
  });
}

function notShown(what: string): Effect {
  return unknownEffect(`${what} was changed in this session, and the catalog does not show it yet`);
}

/**
 * A relation was changed so that using it may do more than the catalog says. What writing to it
 * does besides is given, or it is
 * `unknown`, for reading too.
 */
export function altered(
  judge: Judge,
  schema: string | null,
  name: string,
  effects?: readonly Effect[],
): void {
  const why = [notShown(name)];
  remember(judge, {
    kind: 'relation',
    schema,
    name,
    on_read: effects === undefined ? why : [],
    on_write: effects ?? why,
    fresh: false,
  });
}

/** A function or operator of this name is not what the catalog says. */
export function alteredCode(judge: Judge, kind: 'function' | 'operator', name: string): void {
  remember(judge, {
    kind,
    schema: null,
    name,
    on_read: [notShown(name)],
    on_write: [],
    fresh: false,
  });
}

/**
 * Casts, operator classes, event triggers, schemas: any later statement may run what was changed.
 */
export const ANYTHING = '*';

export function alteredEverything(judge: Judge, what: string): void {
  remember(judge, {
    kind: 'operator',
    schema: null,
    name: ANYTHING,
    on_read: [notShown(what)],
    on_write: [],
    fresh: false,
  });
}
