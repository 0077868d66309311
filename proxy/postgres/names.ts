// The client's prepared statements and portals, as the server will have them when a message gets
// there.
// Invariant: a name is used only as the server confirmed it, or within the unit (up to Sync) that
// made it: the server skips the rest of a unit after an error, so a later unit must not believe
// what an earlier one only asked for.
import { worst } from '../effect/effect.ts';
import { LIMITS } from '../limits.ts';
import type { Refusal, Tally } from '../session/flow.ts';
import type { Mode } from '../verdict/verdict.ts';
import { OWN_NAME } from './encode.ts';
import type { Run } from './owed-reply.ts';
import type { Parsed } from './statement.ts';

/** An `allow` for a read, kept with a prepared statement; void when any of these differs. */
export interface Kept {
  readonly grounds: Grounds;
  readonly in_transaction: boolean;
  readonly tally: Tally;
}

export interface Prepared {
  readonly name: string;
  /** The statement's own bytes: a copy, since a frame's memory is the socket's. */
  readonly text: Buffer;
  /** Everything it has meant since its Parse: the server may go on with any of these plans. */
  parsed: Parsed;
  /** The state's stamp it was understood with (its catalog version is in `parsed`). */
  understood: number;
  /** Parameter types: declared by Parse, or learnt from ParameterDescription. */
  types: readonly number[];
  readonly unit: number;
  kept: Kept | null;
}

/** A Bind, and the reply that is owed to it: one object for both, since every statement has one. */
export interface Portal {
  readonly kind: 'bind';
  readonly name: string;
  readonly unit: number;
  /** What Execute starts; null once it has, and for what needs no watching. */
  run: Run | null;
  readonly text: Buffer;
  readonly types: readonly number[];
  /** As it was judged, and what that rested on: Execute may come much later. */
  readonly parsed: Parsed;
  readonly judged: Grounds;
}

/** What a verdict rests on besides the text. */
export interface Grounds {
  readonly stamp: number;
  readonly catalog: number;
  readonly policy: number;
  readonly mode: Mode;
}

/**
 * The server keeps the plan of a prepared statement although a new table now comes first in the
 * search_path, and makes another one when the path itself has changed: so what a statement meant
 * before counts beside what it would mean now.
 */
export function bothMeanings(before: Parsed, now: Parsed): Parsed {
  const blind = before.catalog_version === 0;
  if (before === now || blind || covers(now, before)) return now;
  const known = new Set(now.effects.map((effect) => JSON.stringify(effect)));
  const more = before.effects.filter((effect) => !known.has(JSON.stringify(effect)));
  const effects = [...now.effects, ...more];
  const [only] = now.statements;
  const [old] = before.statements;
  const needs_read_write = only?.needs_read_write === true || old?.needs_read_write === true;
  const statements = only === undefined ? [] : [{ ...only, effects, needs_read_write }];
  return {
    class: worst(effects.map((effect) => effect.class)),
    complete: effects.every((effect) => effect.opaque === null),
    unscoped: effects.some((effect) => !effect.scoped),
    effects,
    statements,
    catalog_version: now.catalog_version,
    get normalized() {
      return now.normalized;
    },
    get fingerprint() {
      return now.fingerprint;
    },
  };
}

/**
 * Types by which a value never makes another key equal to it: bool, bytea, int8, int2, int4, text,
 * oid, json, unknown, varchar, date, time, timestamp, numeric, uuid, jsonb; 0 leaves it to the
 * server.
 */
const KEEPING = new Set([
  0, 16, 17, 20, 21, 23, 25, 26, 114, 705, 1043, 1082, 1083, 1114, 1700, 2950, 3802,
]);

/** With the types that a client gives its parameters, a bound on rows may not hold. */
export function withTypes(parsed: Parsed, types: readonly number[]): Parsed {
  if (types.length === 0) return parsed;
  const rest = parsed.statements.flatMap((statement) => statement.compared ?? []);
  if (rest.every((number) => KEEPING.has(types[number - 1] ?? 0))) return parsed;
  let known = boundless.get(parsed);
  if (known === undefined) {
    const statements = parsed.statements.map((statement) => ({
      ...statement,
      effects: statement.effects.map((effect) => ({ ...effect, rows_max: null })),
    }));
    known = {
      class: parsed.class,
      complete: parsed.complete,
      unscoped: parsed.unscoped,
      effects: statements.flatMap((statement) => statement.effects),
      statements,
      catalog_version: parsed.catalog_version,
      get normalized() {
        return parsed.normalized;
      },
      get fingerprint() {
        return parsed.fingerprint;
      },
    };
    boundless.set(parsed, known);
  }
  return known;
}
const boundless = new WeakMap<Parsed, Parsed>();

/** Everything that `now` would do has been judged as part of `judged`. */
export function covers(judged: Parsed, now: Parsed): boolean {
  if (judged === now) return true;
  const known = new Set(judged.effects.map((effect) => JSON.stringify(effect)));
  return now.effects.every((effect) => known.has(JSON.stringify(effect)));
}

/**
 * The server cuts names at 63 bytes and would take two for one; and the proxy's own must stay its
 * own.
 */
export function badName(name: string): Refusal | null {
  if (name.length > LIMITS.name_bytes) {
    return {
      code: 'limit',
      detail: `A name of ${name.length} bytes; the limit is ${LIMITS.name_bytes}.`,
    };
  }
  if (!name.startsWith(OWN_NAME)) return null;
  return { code: 'protocol', detail: `Names that start with ${OWN_NAME} are taken.` };
}

type Asked<Entry> = { readonly unit: number; readonly entry: Entry | null };

/** `wait`: what the name means can't be known before the replies owed have come. */
export type Found<Entry> = Entry | 'wait' | 'none';

/** A map whose unnamed entry is a field: that one comes and goes with every statement. */
class ByName<Value> {
  readonly #named = new Map<string, Value>();
  #unnamed: Value | undefined = undefined;

  get(name: string): Value | undefined {
    return name === '' ? this.#unnamed : this.#named.get(name);
  }

  set(name: string, value: Value): void {
    if (name === '') this.#unnamed = value;
    else this.#named.set(name, value);
  }

  delete(name: string): void {
    if (name === '') this.#unnamed = undefined;
    else this.#named.delete(name);
  }

  clear(): void {
    this.#unnamed = undefined;
    if (this.#named.size > 0) this.#named.clear();
  }

  values(): readonly Value[] {
    const unnamed = this.#unnamed === undefined ? [] : [this.#unnamed];
    return this.#named.size === 0 ? unnamed : [...this.#named.values(), ...unnamed];
  }

  get size(): number {
    return this.#named.size + (this.#unnamed === undefined ? 0 : 1);
  }
}

/** Names of one kind: confirmed by the server, and asked for but not confirmed yet. */
export class Names<Entry> {
  readonly #confirmed = new ByName<Entry>();
  readonly #asked = new ByName<Asked<Entry>>();

  /** What `name` means to a message of unit `unit`; `settled` says that no replies are owed. */
  find(name: string, unit: number, settled: boolean): Found<Entry> {
    const asked = this.#asked.get(name);
    if (asked === undefined) return this.#confirmed.get(name) ?? 'none';
    if (asked.unit === unit) return asked.entry ?? 'none';
    if (!settled) return 'wait';
    this.#asked.clear();
    return this.#confirmed.get(name) ?? 'none';
  }

  /** The message that makes (or, with null, closes) the name has been forwarded. */
  ask(name: string, entry: Entry | null, unit: number): void {
    this.#asked.set(name, { unit, entry });
  }

  /** The server confirmed it. */
  confirm(name: string, entry: Entry | null): void {
    if (entry === null) this.#confirmed.delete(name);
    else this.#confirmed.set(name, entry);
    if (this.#asked.get(name)?.entry === entry) this.#asked.delete(name);
  }

  /** The server skipped or failed it: what was confirmed before still stands. */
  drop(name: string, entry: Entry | null): void {
    if (this.#asked.get(name)?.entry === entry) this.#asked.delete(name);
  }

  /** Forgets a name whatever is asked: forgetting too much only refuses. */
  forget(name: string): void {
    this.#confirmed.delete(name);
    this.#asked.delete(name);
  }

  clear(): void {
    this.#confirmed.clear();
    this.#asked.clear();
  }

  /** Forgets what was confirmed; what has been asked for since stands until it is answered. */
  clearConfirmed(): void {
    this.#confirmed.clear();
  }

  confirmed(): readonly Entry[] {
    return this.#confirmed.values();
  }

  get size(): number {
    return this.#confirmed.size + this.#asked.size;
  }
}
