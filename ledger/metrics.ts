// The ledger's Prometheus metrics.
// Invariant: names start with holdpoint_ledger_; no label holds what an agent can choose.
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Ledger } from './ledger.ts';
import type { RetentionReport } from './retention.ts';

export class LedgerMetrics {
  readonly registry = new Registry();
  readonly #entries: Counter;
  readonly #commits: Counter;
  readonly #commit: Histogram;
  readonly #refused: Counter<'code'>;
  readonly #retention: {
    readonly removed: Counter;
    readonly failed: Counter;
    readonly last: Gauge;
    readonly shards: Gauge<'state'>;
    readonly holds: Gauge;
  };

  constructor(ledger: () => Ledger | null) {
    const registers = [this.registry];
    this.#entries = new Counter({
      name: 'holdpoint_ledger_entries_total',
      help: 'Entries appended since the start.',
      registers,
    });
    this.#commits = new Counter({
      name: 'holdpoint_ledger_commits_total',
      help: 'Group commits since the start.',
      registers,
    });
    this.#commit = new Histogram({
      name: 'holdpoint_ledger_commit_seconds',
      help: 'Time of the durable write of a commit.',
      buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1],
      registers,
    });
    this.#refused = new Counter({
      name: 'holdpoint_ledger_refused_total',
      help: 'Requests refused, by code.',
      labelNames: ['code'],
      registers,
    });
    this.#retention = retentionMetrics(this.registry);
    const gauge = (name: string, help: string, value: (l: Ledger) => number): void => {
      new Gauge({
        name: `holdpoint_ledger_${name}`,
        help,
        registers,
        collect() {
          const now = ledger();
          if (now !== null) this.set(value(now));
        },
      });
    };
    gauge('size', 'Entries in the log.', (l) => l.size);
    gauge('waiting', 'Entries waiting for a commit.', (l) => l.waiting);
    gauge('unindexed', 'Entries that searches do not cover yet.', (l) => l.size - l.indexed);
    gauge('available', '1 when appends are taken.', (l) => (l.unavailable === null ? 1 : 0));
  }

  committed(entries: number, milliseconds: number): void {
    this.#entries.inc(entries);
    this.#commits.inc();
    this.#commit.observe(milliseconds / 1000);
  }

  refused(code: string): void {
    this.#refused.inc({ code });
  }

  retained(report: RetentionReport, time: number): void {
    const { removed, last, shards } = this.#retention;
    removed.inc(report.removed.length);
    last.set(time / 1000);
    shards.set({ state: 'sealed' }, report.sealed.length);
    shards.set({ state: 'held' }, report.held.length);
  }

  retentionFailed(): void {
    this.#retention.failed.inc();
  }

  /** Legal holds that stand. */
  held(count: number): void {
    this.#retention.holds.set(count);
  }
}

function retentionMetrics(registry: Registry) {
  const registers = [registry];
  const name = (end: string): string => `holdpoint_ledger_${end}`;
  return {
    removed: new Counter({
      name: name('shards_removed_total'),
      help: 'Shards that retention removed since the start.',
      registers,
    }),
    failed: new Counter({
      name: name('retention_failed_total'),
      help: 'Runs of retention by the clock that failed.',
      registers,
    }),
    last: new Gauge({
      name: name('retention_last_timestamp_seconds'),
      help: 'When retention last ran to its end.',
      registers,
    }),
    shards: new Gauge({
      name: name('shards'),
      help: 'Shards at the last run of retention: all that are full, and those a legal hold keeps.',
      labelNames: ['state'] as const,
      registers,
    }),
    holds: new Gauge({
      name: name('legal_holds'),
      help: 'Legal holds that stand.',
      registers,
    }),
  };
}
