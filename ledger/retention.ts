// Retention: the log in shards, sealed when they are full, removed when all in them is old enough.
// Invariant: the act is in the log, durable and published, before the first byte goes; hashes stay,
// so that what was removed stays proven, and what is left stays verifiable.
import { join } from 'node:path';
import type { Logged } from './canonical.ts';
import type { AdministrationEntry } from './contract.ts';
import { LedgerError } from './errors.ts';
import { DiskFiles, type Files, replaceFile } from './files.ts';
import { Layout } from './layout.ts';
import type { Ledger } from './ledger.ts';
import { RETENTION_FLOOR_DAYS, SHARD_LEVEL, TILE_WIDTH } from './limits.ts';
import { PublishedLog } from './log.ts';
import { rangeRoot } from './merkle.ts';
import { SHARD_REMOVED, SHARD_SEALED, shardOf } from './removed.ts';
import { bundlePath } from './tile.ts';

/** How long entries are kept: by class of effect, else by kind, else `default`; in days. */
export interface RetentionPolicy {
  readonly days: { readonly [classOrKind: string]: number };
  /** No value may be lower; six months unless set otherwise. */
  readonly floor_days?: number;
}

export interface RetentionOptions {
  readonly policy: RetentionPolicy;
  /** Who answers for it: stands in the entries. */
  readonly who: string;
  readonly by: string;
  readonly now?: Date;
  /** Bundles and bodies are copied here before they go; null only removes them. */
  readonly archive?: string | null;
  /** Entries in a shard as a power of two, at least 8. */
  readonly level?: number;
  readonly dry?: boolean;
}

export interface RetentionReport {
  readonly sealed: readonly number[];
  readonly removed: readonly number[];
  /** Shards that are old enough but under a legal hold, by the hold's name. */
  readonly held: readonly { readonly shard: number; readonly hold: string }[];
}

export const LEGAL_HOLD = 'legal-hold';
export const LEGAL_HOLD_RELEASED = 'legal-hold-released';
const DAY_MS = 86_400_000;

interface LegalHold {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** All entries of one act, oldest first, through the index. */
async function acts(ledger: Ledger, act: string): Promise<{ index: number; entry: Logged }[]> {
  const found: { index: number; entry: Logged }[] = [];
  let before: number | undefined;
  do {
    const page = await ledger.search({ kind: 'administration', rule: act, before, limit: 1000 });
    found.push(...page.entries);
    before = page.next ?? undefined;
  } while (before !== undefined);
  return found.reverse();
}

async function legalHolds(ledger: Ledger): Promise<LegalHold[]> {
  const released = await acts(ledger, LEGAL_HOLD_RELEASED);
  const standing = (await acts(ledger, LEGAL_HOLD)).filter(({ index, entry }) => {
    if (entry.kind !== 'administration') return false;
    return !released.some(
      (later) =>
        later.index > index &&
        later.entry.kind === 'administration' &&
        later.entry.what === entry.what,
    );
  });
  return standing.flatMap(({ entry }) => {
    if (entry.kind !== 'administration') return [];
    const time = (value: unknown, open: number): number =>
      typeof value === 'string' ? Date.parse(value) : open;
    const { from, to } = entry.detail;
    return [{ name: entry.what, from: time(from, 0), to: time(to, Number.MAX_SAFE_INTEGER) }];
  });
}

class Retention {
  readonly #ledger: Ledger;
  readonly #options: RetentionOptions;
  readonly #files: Files = new DiskFiles();
  readonly #layout: Layout;
  readonly #level: number;
  readonly #now: Date;

  constructor(ledger: Ledger, options: RetentionOptions) {
    this.#ledger = ledger;
    this.#options = options;
    this.#layout = new Layout(ledger.directory);
    this.#level = options.level ?? SHARD_LEVEL;
    this.#now = options.now ?? new Date();
    const floor = options.policy.floor_days ?? RETENTION_FLOOR_DAYS;
    for (const [name, days] of Object.entries(options.policy.days)) {
      if (!(days >= floor)) {
        throw new LedgerError(
          'entry-invalid',
          `Retention of ${name} is ${days} days, the floor is ${floor}; ` +
            'raise it, or lower floor_days on purpose.',
        );
      }
    }
    if (options.policy.days.default === undefined) {
      throw new LedgerError('entry-invalid', 'Retention needs days for `default`.');
    }
  }

  get #width(): number {
    return 2 ** this.#level;
  }

  #root(log: PublishedLog, shard: number): string {
    const from = shard * this.#width;
    return rangeRoot(from, from + this.#width, log.node).toString('base64');
  }

  async #record(act: string, shard: number, log: PublishedLog, more: object = {}): Promise<void> {
    const from = shard * this.#width;
    const to = from + this.#width;
    const entry: AdministrationEntry = {
      v: 1,
      time: this.#now.toISOString(),
      by: this.#options.by,
      kind: 'administration',
      act,
      who: this.#options.who,
      what: `entries ${from} to ${to - 1}`,
      detail: { from, to, root: this.#root(log, shard), ...more },
    };
    await this.#ledger.append([{ key: `${act}/${from}/${to}`, entry }]);
  }

  async run(): Promise<RetentionReport> {
    await this.#ledger.publish(true);
    const log = new PublishedLog(this.#ledger.directory, null);
    const sealed = await this.#seal(log);
    if (sealed.length > 0) await this.#ledger.publish(true);
    const holds = await legalHolds(this.#ledger);
    const removed: number[] = [];
    const held: { shard: number; hold: string }[] = [];
    for (const shard of await this.#removable()) {
      const times = this.#entriesOf(log, shard).map((entry) => Date.parse(entry.time));
      const [first, last] = [Math.min(...times), Math.max(...times)];
      const hold = holds.find((one) => one.from <= last && one.to >= first);
      if (hold !== undefined) {
        held.push({ shard, hold: hold.name });
        continue;
      }
      if (this.#options.dry !== true) await this.#remove(log, shard);
      removed.push(shard);
    }
    return { sealed, removed, held };
  }

  /**
   * Every full shard gets an entry that names its root: what comes after vouches for what was
   * before.
   */
  async #seal(log: PublishedLog): Promise<number[]> {
    const known = new Set(
      (await acts(this.#ledger, SHARD_SEALED)).map(
        ({ entry }) => shardOf(entry, SHARD_SEALED)?.from,
      ),
    );
    const sealed: number[] = [];
    for (let shard = 0; (shard + 1) * this.#width <= log.size; shard++) {
      if (known.has(shard * this.#width)) continue;
      if (this.#options.dry !== true) await this.#record(SHARD_SEALED, shard, log);
      sealed.push(shard);
    }
    return sealed;
  }

  /** Sealed long enough by the ledger's own clock, and every entry in them past its time. */
  async #removable(): Promise<number[]> {
    const log = new PublishedLog(this.#ledger.directory, null);
    const { days, floor_days = RETENTION_FLOOR_DAYS } = this.#options.policy;
    const past = (time: string, kept: number): boolean =>
      Date.parse(time) + kept * DAY_MS <= this.#now.getTime();
    const removable: number[] = [];
    for (const { entry } of await acts(this.#ledger, SHARD_SEALED)) {
      const shard = shardOf(entry, SHARD_SEALED);
      if (shard?.level !== this.#level || !past(entry.time, floor_days)) continue;
      const number = shard.from / this.#width;
      const entries = this.#entriesOf(log, number);
      const old = entries.every((one) => {
        const own = 'class' in one ? days[one.class] : undefined;
        return past(one.time, own ?? days[one.kind] ?? days.default ?? Number.POSITIVE_INFINITY);
      });
      if (entries.length > 0 && old) removable.push(number);
    }
    return removable;
  }

  /** Empty when the shard was removed before. */
  #entriesOf(log: PublishedLog, shard: number): Logged[] {
    const from = shard * this.#width;
    return [...log.entries(from, from + this.#width)].map(({ entry }) => entry);
  }

  async #remove(log: PublishedLog, shard: number): Promise<void> {
    // Acts that vouch for older removals must not go with the shard they stand in.
    const entries = this.#entriesOf(log, shard);
    for (const entry of entries) {
      if (entry.kind !== 'administration') continue;
      const { key, ...act } = entry;
      const kept = `${key.replace(/\/kept-\d+$/, '')}/kept-${shard}`;
      await this.#ledger.append([{ key: kept, entry: act }]);
    }
    await this.#record(SHARD_REMOVED, shard, log, { archived: this.#archive !== null });
    await this.#ledger.publish(true);
    // From here on the act is public. A crash: the next run removes what is left of it.
    const first = (shard * this.#width) / TILE_WIDTH;
    for (let at = 0; at < this.#width / TILE_WIDTH; at++) {
      await this.#drop(this.#layout.tile(bundlePath(first + at, TILE_WIDTH)));
    }
    const wanted = this.#bodiesWanted(shard);
    for (const entry of entries) {
      if (entry.kind !== 'decision' || wanted.has(entry.statement.sha256)) continue;
      await this.#drop(this.#layout.body(entry.statement.sha256));
    }
  }

  get #archive(): string | null {
    return this.#options.archive ?? null;
  }

  async #drop(path: string): Promise<void> {
    const bytes = this.#files.read(path);
    if (bytes === null) return;
    if (this.#archive !== null) {
      const copy = join(this.#archive, path.slice(this.#ledger.directory.length + 1));
      await this.#files.makeDirectory(copy.slice(0, copy.lastIndexOf('/')));
      await replaceFile(this.#files, copy, bytes, { durable: true });
    }
    await this.#files.remove(path);
  }

  /** Bodies that entries outside this shard name too. */
  #bodiesWanted(shard: number): Set<string> {
    const wanted = new Set<string>();
    const log = new PublishedLog(this.#ledger.directory, null);
    const [from, to] = [shard * this.#width, (shard + 1) * this.#width];
    for (const { index, entry } of log.entries()) {
      if (index >= from && index < to) continue;
      if (entry.kind === 'decision') wanted.add(entry.statement.sha256);
    }
    return wanted;
  }
}

/** Seals what is full and removes what is old enough. One run at a time. */
export async function retain(ledger: Ledger, options: RetentionOptions): Promise<RetentionReport> {
  return new Retention(ledger, options).run();
}
