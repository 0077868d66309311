// The keeper: retention by the clock while the ledger runs, and the acts that people ask of it.
// Invariant: one run at a time; ages are judged by the earlier of this machine's clock and the
// newest entry of another service, so that a clock that is wrong removes nothing early.
import type { Logged } from './canonical.ts';
import { LedgerError, reasonOf } from './errors.ts';
import type { Ledger } from './ledger.ts';
import { type LegalHold, legalHolds, releaseLegalHold, setLegalHold } from './legal-hold.ts';
import { NEWEST_LOOK, RETENTION_EVERY_MS } from './limits.ts';
import type { LedgerMetrics } from './metrics.ts';
import { Retention, type RetentionPolicy, type RetentionReport } from './retention.ts';

const BY = 'ledger/service';

export interface KeeperOptions {
  /** null: nothing is ever removed; legal holds can be set all the same. */
  readonly retention: {
    readonly policy: RetentionPolicy;
    readonly archive: string | null;
    readonly every_ms?: number | undefined;
  } | null;
  readonly metrics: LedgerMetrics | null;
  readonly now?: () => number;
  readonly warn: (message: string) => void;
}

export interface KeeperStatus {
  readonly policy: RetentionPolicy | null;
  readonly holds: readonly LegalHold[];
  /** The last run that was not dry; null before the first. */
  readonly last: { readonly time: string; readonly report: RetentionReport } | null;
}

export class Keeper {
  readonly #ledger: Ledger;
  readonly #options: KeeperOptions;
  readonly #retention: Retention | null;
  readonly #timer: NodeJS.Timeout | null;
  #last: KeeperStatus['last'] = null;
  #running: Promise<unknown> = Promise.resolve();
  #byClock = false;
  readonly #closing = new AbortController();

  constructor(ledger: Ledger, options: KeeperOptions) {
    this.#ledger = ledger;
    this.#options = options;
    const { retention } = options;
    this.#retention = retention === null ? null : new Retention(ledger, { ...retention, by: BY });
    this.#timer =
      retention === null
        ? null
        : setInterval(() => void this.#byTheClock(), retention.every_ms ?? RETENTION_EVERY_MS);
    this.#timer?.unref();
    if (retention !== null) void this.#byTheClock();
    void this.#count();
  }

  async #byTheClock(): Promise<void> {
    if (this.#byClock) return;
    this.#byClock = true;
    try {
      await this.run('the clock', false);
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      this.#options.metrics?.retentionFailed();
      this.#options.warn(`Retention did not run: ${reasonOf(error)}; it is tried again later.`);
    } finally {
      this.#byClock = false;
    }
  }

  /** Removes what is old enough, or only says what would be. */
  run(who: string, dry: boolean): Promise<RetentionReport> {
    const run = this.#running.catch(() => {}).then(() => this.#run(who, dry));
    this.#running = run;
    return run;
  }

  async #run(who: string, dry: boolean): Promise<RetentionReport> {
    const { signal } = this.#closing;
    if (signal.aborted) throw new LedgerError('closed', 'The ledger is closing.');
    if (this.#retention === null) {
      throw new LedgerError(
        'not-found',
        'This ledger has no retention: it keeps everything. Set ledger.retention and start again.',
      );
    }
    const clock = this.#options.now?.() ?? Date.now();
    const now = new Date(Math.min(clock, await this.#newest()));
    const report = await this.#retention.run({ who, now, dry, signal });
    if (dry) return report;
    const time = new Date(clock).toISOString();
    this.#last = { time, report };
    this.#options.metrics?.retained(report, clock);
    if (report.removed.length > 0)
      this.#options.warn(`Retention removed ${report.removed.length} shards; entries say which.`);
    return report;
  }

  /** Time of the newest entry that another service wrote; 0 when there is none of late. */
  async #newest(): Promise<number> {
    await this.#ledger.publish(true);
    const { entries } = await this.#ledger.searchHere({ limit: NEWEST_LOOK });
    const others = entries.filter(({ entry }) => isOfAnother(entry));
    return Math.max(0, ...others.map(({ entry }) => Date.parse(entry.time)));
  }

  async hold(hold: LegalHold): Promise<{ readonly index: number }> {
    const answer = await setLegalHold(this.#ledger, hold, BY);
    await this.#count();
    return answer;
  }

  async release(name: string, who: string): Promise<{ readonly index: number }> {
    const answer = await releaseLegalHold(this.#ledger, name, who, BY);
    await this.#count();
    return answer;
  }

  async status(): Promise<KeeperStatus> {
    const holds = await legalHolds(this.#ledger);
    return { policy: this.#options.retention?.policy ?? null, holds, last: this.#last };
  }

  async #count(): Promise<void> {
    const { metrics } = this.#options;
    if (metrics === null) return;
    await legalHolds(this.#ledger).then(
      (holds) => metrics.held(holds.length),
      () => {},
    );
  }

  /** Waits for the shard under way: an act that is recorded is carried out. */
  async close(): Promise<void> {
    this.#closing.abort();
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#running.catch(() => {});
  }
}

/** What retention said again is as old as it was. */
function isOfAnother(entry: Logged): boolean {
  if (entry.by.startsWith('ledger/')) return false;
  return entry.kind !== 'administration' || entry.detail.was === undefined;
}
