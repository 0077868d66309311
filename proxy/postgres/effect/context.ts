// What a session's settings and names mean for the next statement, and how each statement's changes
// move it on.
// Invariant: contexts are immutable; a change that does not alter meaning gives back the very same
// object.
import { unknownEffect } from '../../effect/effect.ts';
import { EFFECT_LIMITS } from '../../limits.ts';
import {
  type LocalObject,
  localKey,
  type SessionChange,
  type SessionContext,
} from '../statement.ts';
import { ANYTHING } from './local.ts';

const DEFAULT_PATH: readonly string[] = ['$user', 'public'];
/** Cursors that functions opened, under whatever names. */
export const OPENED = '<opened by a function>';

/** Settings that the meaning of names, or of text, rests on. */
export const MEANING: ReadonlySet<string> = new Set([
  'search_path',
  'role',
  'session_authorization',
  'standard_conforming_strings',
  'client_encoding',
]);

const NONE: ReadonlySet<string> = new Set();
const NOTHING: ReadonlyMap<string, never> = new Map<string, never>();

export interface Startup {
  readonly user: string;
  /** As a list setting is written (`"$user", public`) or as names; absent: the server's default. */
  readonly search_path?: string | readonly string[] | null;
  readonly role?: string | null;
  readonly standard_conforming_strings?: boolean | string;
  readonly client_encoding?: string;
}

export function initialContext(startup: Startup): SessionContext {
  const given = startup.search_path;
  const path = given == null ? DEFAULT_PATH : typeof given === 'string' ? splitNames(given) : given;
  const given_strings = startup.standard_conforming_strings;
  const strings = typeof given_strings === 'string' ? isOn(given_strings) : (given_strings ?? true);
  return {
    search_path: path,
    default_search_path: path,
    user: startup.user,
    role: startup.role ?? null,
    standard_conforming_strings: strings,
    escaped_bodies: !strings,
    client_encoding: startup.client_encoding ?? 'UTF8',
    temporary: NONE,
    prepared: NOTHING,
    cursors: NOTHING,
    local: NOTHING,
    revertible: false,
  };
}

function isOn(value: string): boolean {
  return /^(on|t|tr|tru|true|y|ye|yes|1)$/i.test(value.trim());
}

/**
 * `"$user", public` → names, folded and unquoted as the server does (SplitIdentifierString: ASCII
 * white space, ASCII folding,
 * 63 bytes); null when it is not a list of names that both would read alike.
 */
export function splitNames(list: string): readonly string[] | null {
  const names: string[] = [];
  const pattern = /[ \t\n\v\f\r]*(?:"((?:[^"]|"")*)"|([!-+\--~]+))[ \t\n\v\f\r]*(,|$)/y;
  if (/^[ \t\n\v\f\r]*$/.test(list)) return names;
  while (pattern.lastIndex < list.length) {
    const match = pattern.exec(list);
    if (match === null) return null;
    const quoted = match[1];
    if (quoted === undefined && match[2]?.includes('"')) return null;
    const name =
      quoted === undefined ? (match[2] ?? '').toLowerCase() : quoted.replaceAll('""', '"');
    if (Buffer.byteLength(name) > 63) return null;
    names.push(name);
    if (match[3] === '') return names;
  }
  // It ended in a comma.
  return null;
}

function settingChanged(
  context: SessionContext,
  name: string,
  value: string | null,
): SessionContext {
  switch (name) {
    case 'search_path': {
      const path = value === null ? context.default_search_path : splitNames(value);
      return samePath(path, context.search_path) ? context : { ...context, search_path: path };
    }
    case 'role': {
      const role = value === null || value === 'none' ? null : value;
      return role === context.role ? context : { ...context, role };
    }
    case 'session_authorization':
      return value === null ? context : { ...context, user: value, role: null };
    // What RESET brings back is the server's to tell.
    case 'standard_conforming_strings':
      return withReading(context, value === null ? null : isOn(value), context.client_encoding);
    case 'client_encoding':
      return withReading(context, context.standard_conforming_strings, value);
    default:
      return context;
  }
}

/** How text is read: the server tells both of itself. null: at the moment it is not known. */
export function withReading(
  context: SessionContext,
  strings: boolean | null,
  encoding: string | null,
): SessionContext {
  if (strings === context.standard_conforming_strings && encoding === context.client_encoding)
    return context;
  return {
    ...context,
    standard_conforming_strings: strings,
    escaped_bodies: context.escaped_bodies || strings === false,
    client_encoding: encoding,
  };
}

function samePath(a: readonly string[] | null, b: readonly string[] | null): boolean {
  if (a === b) return true;
  if (a === null || b === null || a.length !== b.length) return false;
  return a.every((name, index) => name === b[index]);
}

/**
 * What the open transaction made is committed, or gone. No snapshot up to `version` shows it, and
 * what was committed before is in that one.
 */
function settle(context: SessionContext, keep: boolean, version: number): SessionContext {
  if (context.local.size === 0 && (keep || context.cursors.size === 0)) return context;
  const local = new Map<string, LocalObject>();
  for (const [key, object] of context.local) {
    if (object.committed) {
      if (object.catalog_version >= version) local.set(key, object);
    } else if (keep) {
      const catalog_version = Math.max(object.catalog_version, version);
      local.set(key, { ...object, committed: true, catalog_version });
    }
  }
  return { ...context, local, cursors: keep ? context.cursors : NOTHING };
}

function without<T>(map: ReadonlyMap<string, T>, name: string | null): ReadonlyMap<string, T> {
  if (name === null) return NOTHING;
  if (!map.has(name)) return map;
  const rest = new Map(map);
  rest.delete(name);
  return rest;
}

function discarded(
  context: SessionContext,
  what: 'all' | 'plans' | 'temporary' | 'sequences',
): SessionContext {
  if (what === 'plans' || what === 'sequences') return context;
  if (what === 'temporary') return { ...context, temporary: NONE };
  return {
    ...context,
    search_path: context.default_search_path,
    role: null,
    standard_conforming_strings: null,
    client_encoding: null,
    temporary: NONE,
    prepared: NOTHING,
    cursors: NOTHING,
  };
}

function unsettled(context: SessionContext): SessionContext {
  const unread = withReading(context, null, null);
  const { search_path, temporary } = context;
  if (unread === context && search_path === null && temporary.has('*')) return context;
  return { ...unread, search_path: null, temporary: new Set([...temporary, '*']) };
}

/** Changes of what a transaction's end, or a savepoint, may bring back. */
const REVERTS: ReadonlySet<SessionChange['kind']> = new Set([
  'set',
  'reset',
  'reset-all',
  'discard',
  'temporary',
  'unsettled',
]);

/** Settings and temporary names after a point where they may have gone back to what they were. */
function reverted(context: SessionContext, over: boolean): SessionContext {
  return context.revertible ? { ...unsettled(context), revertible: !over } : context;
}

/** What of a change counts where code that goes on may not have come to it; null: nothing. */
export function perhaps(change: SessionChange): SessionChange | null {
  switch (change.kind) {
    case 'set':
    case 'reset':
      return MEANING.has(change.name) ? { kind: 'unsettled', why: change.name } : change;
    case 'reset-all':
      return { kind: 'unsettled', why: 'RESET ALL' };
    case 'temporary':
    case 'discard':
      return { kind: 'temporary', name: '*' };
    case 'prepare':
      return { kind: 'deallocate', name: change.name };
    case 'declare':
      return { ...change, perhaps: true };
    case 'close':
      return null;
    default:
      return change;
  }
}

/** The context after a statement that made this change has succeeded. */
export function applyChange(context: SessionContext, change: SessionChange): SessionContext {
  const after = applied(context, change);
  return REVERTS.has(change.kind) && !after.revertible ? { ...after, revertible: true } : after;
}

function applied(context: SessionContext, change: SessionChange): SessionContext {
  switch (change.kind) {
    case 'set':
      return settingChanged(context, change.name, change.value);
    case 'reset':
      return settingChanged(context, change.name, null);
    case 'reset-all':
      return {
        ...context,
        search_path: context.default_search_path,
        standard_conforming_strings: null,
        client_encoding: null,
      };
    case 'begin':
    case 'savepoint':
    case 'release':
      return context;
    case 'commit':
    case 'rollback':
      return reverted(settle(context, change.kind === 'commit', change.catalog_version), true);
    case 'rollback-to':
      return reverted(context, false);
    case 'prepare':
      // The server refuses a name that is taken, so the first meaning stands.
      if (context.prepared.has(change.name)) return context;
      // Past the bound nothing is known of any: EXECUTE is then not understood.
      if (context.prepared.size >= EFFECT_LIMITS.names) return { ...context, prepared: NOTHING };
      return { ...context, prepared: new Map(context.prepared).set(change.name, change.statement) };
    case 'deallocate':
      return { ...context, prepared: without(context.prepared, change.name) };
    case 'declare': {
      if (context.cursors.size >= EFFECT_LIMITS.names) return { ...context, cursors: NOTHING };
      // Several cursors opened by functions share a name here: all of them may be meant.
      const opened = change.name === OPENED || change.perhaps === true;
      const { cursors } = context;
      const before = opened ? (cursors.get(change.name) ?? cursors.get(OPENED)) : undefined;
      const statement =
        before !== undefined
          ? { ...change.statement, effects: [...before.effects, ...change.statement.effects] }
          : change.statement;
      return { ...context, cursors: new Map(context.cursors).set(change.name, statement) };
    }
    case 'close':
      return { ...context, cursors: without(context.cursors, change.name) };
    case 'temporary':
      if (context.temporary.has(change.name)) return context;
      return { ...context, temporary: new Set([...context.temporary, change.name]) };
    case 'object':
      return { ...context, local: withObject(context.local, change.object) };
    case 'discard':
      return discarded(context, change.what);
    case 'unsettled':
      return unsettled(context);
  }
}

/** Past the bound nothing is remembered, and what runs code is not understood. */
export function withObject(
  local: SessionContext['local'],
  object: LocalObject,
  lost: string | null = null,
): ReadonlyMap<string, LocalObject> {
  const key = localKey(object.kind, object.name);
  const all = merged(local.get(key), object);
  const few = local.size < EFFECT_LIMITS.names && all.said.length < EFFECT_LIMITS.names;
  if (lost === null && few) return new Map(local).set(key, all);
  const why = lost ?? 'this transaction changed more things than are remembered';
  const anything: LocalObject = {
    ...object,
    kind: 'operator',
    schema: null,
    name: ANYTHING,
    on_read: [unknownEffect(why)],
    on_write: [],
    said: [],
  };
  return new Map([[localKey('operator', ANYTHING), anything]]);
}

/** Two things said of one name (a table, then a trigger on it) both hold. */
function merged(before: LocalObject | undefined, object: LocalObject): LocalObject {
  if (before === undefined) return object;
  return {
    ...object,
    // Of one name in two schemas it is not told apart which is meant.
    schema: before.schema === object.schema ? object.schema : null,
    fresh: before.fresh || object.fresh,
    also: [...(before.also ?? []), ...(object.also ?? [])],
    changes: [...(before.changes ?? []), ...(object.changes ?? [])],
    on_read: [...before.on_read, ...object.on_read],
    on_write: [...before.on_write, ...object.on_write],
    said: [...before.said, ...object.said],
    committed: false,
  };
}

const keys = new WeakMap<SessionContext, string | null>();

/**
 * Contexts with the same key judge every statement alike, but for EXECUTE and FETCH. null: it has
 * objects of its own, and shares with none.
 */
export function contextKey(context: SessionContext): string | null {
  let key = keys.get(context);
  if (key !== undefined) return key;
  key =
    context.local.size > 0
      ? null
      : JSON.stringify([
          context.search_path,
          context.user,
          context.role,
          context.standard_conforming_strings,
          context.escaped_bodies,
          context.client_encoding,
          [...context.temporary].sort(),
          context.revertible,
          context.default_search_path,
        ]);
  keys.set(context, key);
  return key;
}
