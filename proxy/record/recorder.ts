// The recorder: how the proxy writes to the ledger. Decisions are waited for; outcomes and reads
// are not, and go through a durable spool while the ledger is away.
// Invariant: no change without its decision on record (the promise rejects), nothing that was taken
// is dropped while the spool has room, and within a session entries keep their order.
import { randomUUID } from 'node:crypto';
import type { Append, Appended, Entry, LedgerWriter, OutcomeEntry } from '../../ledger/contract.ts';
import { type DecisionRecord, decisionKey } from './decision.ts';
import {
  BATCH_ENTRIES,
  DECISION_WAIT_MS,
  MEMORY_ENTRIES,
  OUTCOME_PAUSE_MS,
  READS_EVERY_MS,
  SHIP_FIRST_MS,
  SHIP_LONGEST_MS,
  SPOOL_BYTES,
  SPOOL_READS_BYTES,
  UNANSWERED_MAX,
} from './limits.ts';
import { outcomeKey } from './outcome.ts';
import { ReadsTally, type TallyFields, type TallySink } from './reads.ts';
import { Spool, type Spooled } from './spool.ts';

export interface RecorderOptions {
  readonly writer: LedgerWriter;
  /** `proxy/<instance>`. */
  readonly by: string;
  /** Directory of the local spool. */
  readonly spool: string;
  readonly now?: () => number;
  /** Told what went wrong and what is done about it; never a statement. */
  readonly warn?: (message: string) => void;
  readonly spoolBytes?: number;
  readonly decisionWaitMs?: number;
}

/** A decision could not be put on record: the change must be refused. */
export class RecordUnavailable extends Error {
  override name = 'RecordUnavailable';
}

function isRefusal(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  return code === 'entry-invalid' || code === 'entry-too-large' || code === 'key-invalid';
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export class Recorder implements TallySink {
  /** Filled when reads must stop: they could not be recorded. */
  readsBlocked: string | null = null;
  readonly #writer: LedgerWriter;
  readonly #by: string;
  readonly #now: () => number;
  readonly #warn: (message: string) => void;
  readonly #spool: Spool;
  readonly #spoolReadsBytes: number;
  readonly #waitMs: number;
  /** Names this run, so that reads of two runs never share a key. */
  readonly #run = randomUUID();
  #number = 0;
  #queue: Spooled[] = [];
  #active: ReadsTally[] = [];
  /** Sessions with entries in the spool: their decisions wait until those are shipped. */
  #behind: Set<string>;
  #memory: Spooled[] = [];
  #unanswered = 0;
  #spooling: Promise<void> = Promise.resolve();
  #shipping: Promise<void> | null = null;
  #shipTimer: NodeJS.Timeout | null = null;
  #shipPause = SHIP_FIRST_MS;
  #outcomeTimer: NodeJS.Timeout | null = null;
  readonly #readsTimer: NodeJS.Timeout;
  readonly #waiting = new Set<Promise<unknown>>();
  #closed = false;

  private constructor(options: RecorderOptions, spool: Spool, behind: Set<string>) {
    this.#writer = options.writer;
    this.#by = options.by;
    this.#now = options.now ?? Date.now;
    this.#warn = options.warn ?? (() => {});
    this.#spool = spool;
    this.#spoolReadsBytes = options.spoolBytes ?? SPOOL_READS_BYTES;
    this.#waitMs = options.decisionWaitMs ?? DECISION_WAIT_MS;
    this.#behind = behind;
    this.#readsTimer = setInterval(() => this.#takeReads(), READS_EVERY_MS);
    this.#readsTimer.unref();
    if (spool.entries > 0) this.#shipSoon();
    this.#judgeRoom();
  }

  static async open(options: RecorderOptions): Promise<Recorder> {
    const spool = await Spool.open(options.spool);
    return new Recorder(options, spool, await spool.sessions());
  }

  /** null when a decision would be recorded now, else why not. */
  get unavailable(): string | null {
    return this.#closed ? 'the recorder is closed' : this.#writer.unavailable;
  }

  /** Entries in the spool and in memory, for metrics. */
  get backlog(): number {
    return this.#spool.entries + this.#memory.length + this.#queue.length;
  }

  /**
   * Resolves when the decision is durable in the ledger; rejects with {@link RecordUnavailable}:
   * refuse the change.
   */
  async decision(record: DecisionRecord): Promise<Appended> {
    const { entry, body } = record;
    const append: Append = { key: decisionKey(entry), entry, ...(body === null ? {} : { body }) };
    return this.#inTime(this.#durable(append, entry.session));
  }

  /**
   * Any other entry that must be durable before its deed: a mode change, a policy change, a drill.
   */
  async entry(key: string, entry: Entry): Promise<Appended> {
    return this.#inTime(this.#durable({ key, entry }, 'session' in entry ? entry.session : null));
  }

  /** A disk may hang without an error: a change is refused then, whatever becomes of its record. */
  #inTime<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const refuse = (): void =>
        reject(new RecordUnavailable(`The ledger has not answered in ${this.#waitMs} ms.`));
      const timer = setTimeout(refuse, this.#waitMs);
      work.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }

  async #durable(append: Append, session: string | null): Promise<Appended> {
    if (this.unavailable !== null) {
      throw new RecordUnavailable(`The ledger takes no entries: ${this.unavailable}.`);
    }
    if (session !== null && this.#behind.has(session)) await this.#ship();
    if (session !== null && this.#behind.has(session)) {
      throw new RecordUnavailable(
        'Earlier entries of this session are not in the ledger yet; try again.',
      );
    }
    const queued = this.#takeQueue();
    const answers = await this.#send(queued, append);
    const answer = answers.at(-1);
    if (answer === undefined) throw new RecordUnavailable('The ledger gave no answer.');
    return answer;
  }

  /** Never waits; the entry follows the operation's decision. */
  outcome(entry: OutcomeEntry): void {
    this.#enqueue({ key: outcomeKey(entry), entry });
  }

  #enqueue(spooled: Spooled): void {
    this.#queue.push(spooled);
    if (this.#queue.length >= BATCH_ENTRIES) this.#flushQueue();
    else this.#outcomeTimer ??= setTimeout(() => this.#flushQueue(), OUTCOME_PAUSE_MS);
  }

  /**
   * Reads that share these fields are counted with {@link ReadsTally.touch}; keep the tally with
   * the session.
   */
  tally(fields: TallyFields): ReadsTally {
    return new ReadsTally(fields, this, this.#now);
  }

  active(tally: ReadsTally): void {
    if (tally.fields.each) this.#readEntry(tally);
    else this.#active.push(tally);
  }

  #readEntry(tally: ReadsTally): void {
    this.#enqueue({ key: `${this.#run}/${this.#number++}/reads`, entry: tally.take(this.#by) });
  }

  #takeReads(): void {
    for (const tally of this.#active.splice(0)) this.#readEntry(tally);
    this.#flushQueue();
  }

  #takeQueue(): Spooled[] {
    if (this.#outcomeTimer !== null) clearTimeout(this.#outcomeTimer);
    this.#outcomeTimer = null;
    const queue = this.#queue;
    this.#queue = [];
    return queue;
  }

  #flushQueue(): void {
    const queue = this.#takeQueue();
    for (let at = 0; at < queue.length; at += BATCH_ENTRIES) {
      const batch = queue.slice(at, at + BATCH_ENTRIES);
      // What the ledger does not take goes to the spool in #send; nobody waits for it.
      this.#send(batch, null).catch(() => {});
    }
  }

  /** Sends entries that may be spooled, and at their end one that may not. */
  async #send(batch: readonly Spooled[], last: Append | null): Promise<readonly Appended[]> {
    // Behind something spooled, or with the ledger away: to the spool at once, in order.
    const spoolOnly = this.#writer.unavailable !== null || batch.some((one) => this.#isBehind(one));
    if (spoolOnly && batch.length > 0) {
      this.#toSpool(batch);
      if (last === null) return [];
      if ('session' in last.entry && this.#behind.has(last.entry.session)) {
        throw new RecordUnavailable(
          'Earlier entries of this session are not in the ledger yet; try again.',
        );
      }
    }
    const appends = spoolOnly ? [] : [...batch];
    const sent = last === null ? appends : [...appends, last];
    if (sent.length === 0) return [];
    this.#unanswered += sent.length;
    this.#judgeRoom();
    const call = this.#writer.append(sent);
    this.#waiting.add(call);
    try {
      return await call;
    } catch (error) {
      if (appends.length > 0) this.#toSpool(appends);
      throw new RecordUnavailable(reasonOf(error), { cause: error });
    } finally {
      this.#waiting.delete(call);
      this.#unanswered -= sent.length;
      this.#judgeRoom();
    }
  }

  #isBehind(one: Spooled): boolean {
    return 'session' in one.entry && this.#behind.has(one.entry.session);
  }

  #toSpool(batch: readonly Spooled[]): void {
    for (const { entry } of batch) if ('session' in entry) this.#behind.add(entry.session);
    this.#memory.push(...batch);
    this.#spooling = this.#spooling.then(() => this.#writeSpool());
  }

  /**
   * Memory to disk. When the disk fails too, entries stay in memory, reads stop, and it is tried
   * again.
   */
  async #writeSpool(): Promise<void> {
    const batch = this.#memory.slice(0, BATCH_ENTRIES);
    if (batch.length > 0) {
      try {
        if (this.#spool.bytes > SPOOL_BYTES) throw new Error(`it has ${SPOOL_BYTES} bytes already`);
        await this.#spool.add(batch);
        this.#memory.splice(0, batch.length);
      } catch (error) {
        this.readsBlocked = `the spool of records can't be written (${reasonOf(error)})`;
        this.#warn(
          `The ledger is away and ${this.readsBlocked}: reads stop, ${this.#memory.length} ` +
            'records wait in memory.',
        );
        const over = this.#memory.length - MEMORY_ENTRIES;
        if (over > 0) {
          this.#memory.splice(0, over);
          this.#warn(
            `${over} records were lost: neither ledger nor spool nor memory could take them.`,
          );
        }
        this.#shipSoon();
        return;
      }
    }
    this.#judgeRoom();
    this.#shipSoon();
    if (this.#memory.length > 0) await this.#writeSpool();
  }

  #judgeRoom(): void {
    if (this.#spool.bytes >= this.#spoolReadsBytes) {
      const { bytes } = this.#spool;
      this.readsBlocked = `the ledger is away and the spool of records is full (${bytes} bytes)`;
    } else if (this.#unanswered > UNANSWERED_MAX) {
      this.readsBlocked = `the ledger is slow: ${this.#unanswered} records are not answered`;
    } else if (this.#memory.length === 0) {
      this.readsBlocked = null;
    }
  }

  #shipSoon(): void {
    if (this.#shipTimer !== null || this.#closed) return;
    this.#shipTimer = setTimeout(() => {
      this.#shipTimer = null;
      this.#ship().catch(() => {});
    }, this.#shipPause);
    this.#shipTimer.unref();
    this.#shipPause = Math.min(this.#shipPause * 2, SHIP_LONGEST_MS);
  }

  /** Sends what the spool has, oldest first, until it is empty or the ledger refuses. */
  #ship(): Promise<void> {
    this.#shipping ??= this.#shipNow().finally(() => {
      this.#shipping = null;
    });
    return this.#shipping;
  }

  async #shipNow(): Promise<void> {
    await this.#spooling;
    if (this.#writer.unavailable !== null) return this.#shipSoon();
    try {
      for (;;) {
        this.#spool.seal();
        const spooled = await this.#spool.oldest();
        for (let at = 0; at < spooled.length; at += BATCH_ENTRIES) {
          await this.#shipBatch(spooled.slice(at, at + BATCH_ENTRIES));
        }
        await this.#spool.shipped(spooled.length);
        this.#judgeRoom();
        if (this.#spool.files === 0) break;
      }
      this.#spooling = this.#spooling.then(() => this.#shipMemory());
      await this.#spooling;
    } catch (error) {
      this.#warn(`${this.#spool.entries} records wait in the spool: ${reasonOf(error)}`);
      return this.#shipSoon();
    }
    if (this.#memory.length > 0 || this.#spool.files > 0) return this.#shipSoon();
    this.#behind.clear();
    this.#shipPause = SHIP_FIRST_MS;
    this.#judgeRoom();
  }

  /**
   * What neither ledger nor disk took before. In the chain of spool writes, so that only one of
   * them takes from memory.
   */
  async #shipMemory(): Promise<void> {
    const batch = this.#memory.slice(0, BATCH_ENTRIES);
    if (batch.length === 0) return;
    try {
      await this.#shipBatch(batch);
      this.#memory.splice(0, batch.length);
    } catch {
      this.#shipSoon();
    }
  }

  /**
   * An entry that the ledger can never take must not keep the others from it: it is set aside, and
   * that is said.
   */
  async #shipBatch(batch: readonly Spooled[]): Promise<void> {
    try {
      await this.#writer.append(batch);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      const [only] = batch;
      if (batch.length > 1) {
        for (const one of batch) await this.#shipBatch([one]);
      } else if (only !== undefined) {
        await this.#spool.setAside(only);
        this.#warn(
          `The ledger refuses the entry ${only.key} for good (${reasonOf(error)}); it is kept ` +
            `in ${this.#spool.aside}.`,
        );
      }
    }
  }

  /** Sends or spools all that was taken so far; resolves when it is durable in one of them. */
  async flush(): Promise<void> {
    this.#takeReads();
    await Promise.allSettled([...this.#waiting]);
    await new Promise((resolve) => setImmediate(resolve));
    await this.#spooling;
    if (this.#behind.size > 0) await this.#ship();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    clearInterval(this.#readsTimer);
    await this.flush();
    this.#closed = true;
    if (this.#shipTimer !== null) clearTimeout(this.#shipTimer);
    if (this.#outcomeTimer !== null) clearTimeout(this.#outcomeTimer);
    await this.#shipping?.catch(() => {});
  }
}
