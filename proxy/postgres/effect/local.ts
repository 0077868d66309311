// Objects that this session made or changed, and that the catalog may not show yet: what using them
// would run.
// Invariant: until the catalog shows it, a changed object is either remembered with its effects or
// `unknown`.
import type { Node } from '@pgsql/types';
import { type Effect, unknownEffect } from '../../effect/effect.ts';
import type {
  Consequence,
  Lead,
  LocalObject,
  Place,
  SessionChange,
  WriteEvent,
} from '../statement.ts';
import type { Judge } from './judge.ts';
import { localNamed } from './names.ts';

/** Remembers an object that other connections may not see yet. */
export function remember(
  judge: Judge,
  object: Omit<LocalObject, 'said' | 'committed' | 'catalog_version'>,
): void {
  judge.change({
    kind: 'object',
    object: { ...object, said: [], committed: false, catalog_version: judge.catalog?.version ?? 0 },
  });
}

/** What has been remembered from the `from`th change on, this statement said. */
export function saidBy({ findings, path }: Judge, node: Node, from: number): void {
  const { changes } = findings;
  for (let at = from; at < changes.length; at++) {
    const change = changes[at];
    if (change?.kind !== 'object' || change.object.said.length > 0) continue;
    changes[at] = { kind: 'object', object: { ...change.object, said: [{ node, path }] } };
  }
}

function notShown(what: string): Effect {
  return unknownEffect(`${what} was changed in this session, and the catalog does not show it yet`);
}

export const EVENTS: readonly WriteEvent[] = ['insert', 'update', 'delete', 'truncate'];

/** What every change of some rows runs; on certain events only, where they are given. */
export function always(
  effects: readonly Effect[],
  on: readonly WriteEvent[] = EVENTS,
): readonly Consequence[] {
  return effects.length === 0 ? [] : [{ on, effects, lead: null }];
}

/** Every change of some rows is one of another relation's too. */
export function goesOn(to: Omit<Lead, 'event'>): Consequence {
  return { on: EVENTS, effects: [], lead: { ...to, event: null } };
}

export function placeOf(range: { schemaname?: string; relname?: string } | undefined): Place {
  return { schema: range?.schemaname ?? null, name: range?.relname ?? '' };
}

/**
 * A relation was changed so that using it may do more than the catalog says: what writing to it
 * sets off besides is given, and what reading it runs. `unknown` when nothing is given.
 */
export function altered(
  judge: Judge,
  { schema, name }: Place,
  writes?: readonly Consequence[],
  reads: readonly Effect[] = [],
): void {
  if (writes?.length === 0 && reads.length === 0) return;
  const why = [notShown(name)];
  remember(judge, {
    kind: 'relation',
    schema,
    name,
    on_read: writes === undefined ? why : reads,
    on_write: writes ?? always(why),
    fresh: false,
  });
}

/** A relation goes by another name: a savepoint may bring back either. */
export function alike(judge: Judge, one: Place, other: Place): void {
  const plain = { kind: 'relation', on_read: [], on_write: [], fresh: false } as const;
  remember(judge, { ...plain, ...one, also: [other] });
  remember(judge, { ...plain, ...other, also: [one] });
}

/** A function or operator of this name is not what the catalog says. */
export function alteredCode(
  judge: Judge,
  kind: 'function' | 'operator',
  name: string,
  effects: readonly Effect[] = [notShown(name)],
): void {
  remember(judge, { kind, schema: null, name, on_read: effects, on_write: [], fresh: false });
}

/** What any later statement may run: the name that it is kept under. */
export const ANYTHING = '*';

/** A cast was made: the name that says so. */
export const CASTS = '::';

/** An event trigger was made or switched on: the name that says so. */
export const DDL = 'ddl';

/** What is made changes the session when it runs: the name that says so. */
export const RUNS = 'runs';

/** What is made here will make these changes, whenever that is: things count from now on. */
export function willChange(judge: Judge, changes: readonly SessionChange[]): void {
  const session = changes.filter(({ kind }) => kind !== 'object');
  for (const change of changes) if (change.kind === 'object') judge.change(change);
  if (session.length === 0) return;
  const runs = { kind: 'operator', schema: null, name: RUNS, fresh: false } as const;
  remember(judge, { ...runs, on_read: [], on_write: [], changes: session });
}

/** Some key may be gone, or be of another column: the name that says so. */
const KEYS = 'keys';

export function alteredKeys(judge: Judge): void {
  alteredCode(judge, 'operator', KEYS, []);
}

/** The keys that the catalog knows of a relation are in force. */
export function keysStand(judge: Judge, relation: string): boolean {
  return (
    localNamed(judge, 'operator', KEYS) === null && localNamed(judge, 'relation', relation) === null
  );
}

/**
 * Casts, operator classes, event triggers, schemas: any later statement may run what was changed.
 * With nothing to run there is nothing to remember.
 */
export function alteredEverything(
  judge: Judge,
  what: string,
  effects: readonly Effect[] = [notShown(what)],
): void {
  if (effects.length > 0) alteredCode(judge, 'operator', ANYTHING, effects);
}
