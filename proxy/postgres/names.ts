// The client's prepared statements and portals, as the server will have them when a message gets there.
// Invariant: a name is used only as the server confirmed it, or within the unit (up to Sync) that made it: the server skips
// the rest of a unit after an error, so a later unit must not believe what an earlier one only asked for.
import type { Tally } from '../session/flow.ts';
import type { Mode } from '../verdict/verdict.ts';
import type { Run } from './owed-reply.ts';
import type { Parsed } from './statement.ts';

/** An `allow` for a read, kept with a prepared statement; void when any of these differs. */
export interface Kept {
  readonly policy: number;
  readonly stamp: number;
  readonly catalog: number;
  readonly mode: Mode;
  readonly in_transaction: boolean;
  readonly tally: Tally;
}

export interface Prepared {
  readonly name: string;
  /** The statement's own bytes: a copy, since a frame's memory is the socket's. */
  readonly text: Buffer;
  parsed: Parsed;
  /** The state's stamp it was understood with (its catalog version is in `parsed`). */
  understood: number;
  /** Parameter types: declared by Parse, or learnt from ParameterDescription. */
  types: readonly number[];
  readonly unit: number;
  kept: Kept | null;
}

export interface Portal {
  /** What Execute starts; null once it has, and for what needs no watching. */
  run: Run | null;
}

type Asked<Entry> = { readonly unit: number; readonly entry: Entry | null };

/** `wait`: what the name means can't be known before the replies owed have come. */
export type Found<Entry> = Entry | 'wait' | 'none';

/** Names of one kind: confirmed by the server, and asked for but not confirmed yet. */
export class Names<Entry> {
  readonly #confirmed = new Map<string, Entry>();
  readonly #asked = new Map<string, Asked<Entry>>();

  /** What `name` means to a message of unit `unit`; `settled` says that no replies are owed. */
  find(name: string, unit: number, settled: boolean): Found<Entry> {
    const asked = this.#asked.size === 0 ? undefined : this.#asked.get(name);
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

  has(name: string): boolean {
    return this.#confirmed.has(name) || this.#asked.has(name);
  }

  clear(): void {
    this.#confirmed.clear();
    this.#asked.clear();
  }

  /** Forgets what was confirmed; what has been asked for since stands until it is answered. */
  clearConfirmed(): void {
    this.#confirmed.clear();
  }

  confirmed(): Iterable<Entry> {
    return this.#confirmed.values();
  }

  get size(): number {
    return this.#confirmed.size + this.#asked.size;
  }
}
