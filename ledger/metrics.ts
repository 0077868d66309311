// The ledger's Prometheus metrics.
// Invariant: names start with holdpoint_ledger_; no label holds what an agent can choose.
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Ledger } from './ledger.ts';

export class LedgerMetrics {
  readonly registry = new Registry();
  readonly #entries: Counter;
  readonly #commits: Counter;
  readonly #commit: Histogram;
  readonly #refused: Counter<'code'>;

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
}
