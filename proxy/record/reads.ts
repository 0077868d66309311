// Reads, summed up: one tally for each session, fingerprint, verdict and rule.
// Invariant: counting a read is a few additions and no allocation; a tally is told to its recorder
// once per flush.
import type { ReadsEntry } from '../../ledger/contract.ts';
import { cut } from './decision.ts';
import { NORMALIZED_CHARS } from './limits.ts';

/** What all reads of one tally share. */
export interface TallyFields {
  readonly session: string;
  readonly agent: string;
  readonly target: string;
  readonly environment: string;
  readonly engine: string;
  readonly database: string;
  readonly class: ReadsEntry['class'];
  readonly fingerprint: string;
  readonly normalized: string;
  readonly verdict: ReadsEntry['verdict'];
  readonly rule: string;
  readonly policy: string;
  /** true when the target's record.reads is `each`. */
  readonly each: boolean;
}

export interface TallySink {
  /** The tally has its first read since it was last taken. */
  active(tally: ReadsTally): void;
}

export class ReadsTally {
  readonly fields: TallyFields;
  readonly #sink: TallySink;
  readonly #now: () => number;
  #count = 0;
  #first = 0;
  #last = 0;

  constructor(fields: TallyFields, sink: TallySink, now: () => number) {
    this.fields = fields;
    this.#sink = sink;
    this.#now = now;
  }

  /** One read. */
  touch(): void {
    this.#last = this.#now();
    if (this.#count++ > 0) return;
    this.#first = this.#last;
    this.#sink.active(this);
  }

  /** The entry of the reads since the last call; the count starts again. */
  take(by: string): ReadsEntry {
    const { each: _, normalized, ...fields } = this.fields;
    const entry: ReadsEntry = {
      v: 1,
      time: new Date(this.#now()).toISOString(),
      by,
      kind: 'reads',
      ...fields,
      normalized: cut(normalized, NORMALIZED_CHARS),
      count: this.#count,
      first: new Date(this.#first).toISOString(),
      last: new Date(this.#last).toISOString(),
    };
    this.#count = 0;
    return entry;
  }
}
