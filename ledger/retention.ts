// Retention: sealed shards are removed when all in them is old enough and no legal hold covers it.
// Invariant: the act is in the log, durable and published, before the first byte goes; hashes stay,
// so that what was removed stays proven, and what is left stays verifiable.
import { hash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { identityOf, type Logged } from './canonical.ts';
import type { AdministrationEntry } from './contract.ts';
import { KINDS } from './entry.ts';
import { LedgerError } from './errors.ts';
import { DiskFiles, type Files, replaceFile } from './files.ts';
import { bodyOf, keyDigest } from './index-file.ts';
import { Layout } from './layout.ts';
import type { Ledger } from './ledger.ts';
import { acts, holdOver, legalHolds } from './legal-hold.ts';
import { BODIES_AT_ONCE, RETENTION_FLOOR_DAYS, TILE_WIDTH } from './limits.ts';
import { PublishedLog } from './log.ts';
import { rangeRoot } from './merkle.ts';
import { type Removed, SHARD_REMOVED, SHARD_SEALED, shardOf } from './removed.ts';
import { bundlePath } from './tile.ts';

/** How long entries are kept: by class of effect, else by kind, else `default`; in days. */
export interface RetentionPolicy {
  readonly days: { readonly [classOrKind: string]: number };
  /** No value may be lower; six months unless set otherwise. */
  readonly floor_days?: number | undefined;
}

export interface RetentionOptions {
  readonly policy: RetentionPolicy;
  /** `ledger/service` or `ledger/command`. */
  readonly by: string;
  /** Bundles and bodies are copied here before they go; null only removes them. */
  readonly archive: string | null;
}

export interface RetentionRun {
  /** Who answers for it: stands in the entries. */
  readonly who: string;
  /** Ages are judged by this time. */
  readonly now: Date;
  readonly dry: boolean;
  /** Ends the run before the next shard. */
  readonly signal?: AbortSignal;
}

export interface RetentionReport {
  /** Full shards, by the place of their first entry, and those that are gone now. */
  readonly sealed: readonly number[];
  readonly removed: readonly number[];
  /** Shards that are old enough but under a legal hold, by the hold's name. */
  readonly held: readonly { readonly shard: number; readonly hold: string }[];
}

const DAY_MS = 86_400_000;
const CLASSES = ['read', 'session', 'write', 'ddl', 'destructive', 'admin', 'unknown'];

/** Refuses what would keep less than the floor, and names that are no class and no kind. */
export function checkPolicy({ days, floor_days }: RetentionPolicy): void {
  const floor = floor_days ?? RETENTION_FLOOR_DAYS;
  const known = ['default', ...CLASSES, ...KINDS];
  for (const [name, kept] of Object.entries(days)) {
    if (!known.includes(name)) {
      throw new LedgerError(
        'entry-invalid',
        `Retention knows no ${name}; write default, a class or a kind of entry.`,
      );
    }
    if (!(kept >= floor)) {
      throw new LedgerError(
        'entry-invalid',
        `Retention of ${name} is ${kept} days, the floor is ${floor}; raise it, or lower ` +
          'floor_days on purpose.',
      );
    }
  }
  if (days.default === undefined)
    throw new LedgerError('entry-invalid', 'Retention needs days for `default`.');
}

/** What a shard's entries say, gathered in one pass. */
interface Survey {
  /** Entries still there; fewer than the shard has after a removal that a crash cut short. */
  readonly count: number;
  readonly first: number;
  readonly last: number;
  readonly acts: { readonly index: number; readonly entry: Logged & AdministrationEntry }[];
  readonly bodies: Set<string>;
  readonly keys: Buffer[];
}

export class Retention {
  readonly #ledger: Ledger;
  readonly #options: RetentionOptions;
  readonly #files: Files = new DiskFiles();
  readonly #layout: Layout;
  /** Shards that can't go before this time, so that each is not read at every run. */
  readonly #notBefore = new Map<number, number>();

  constructor(ledger: Ledger, options: RetentionOptions) {
    checkPolicy(options.policy);
    this.#ledger = ledger;
    this.#options = options;
    this.#layout = new Layout(ledger.directory);
  }

  /** One run at a time. */
  async run(run: RetentionRun): Promise<RetentionReport> {
    await this.#ledger.publish(true);
    const sealed: number[] = [];
    const removed: number[] = [];
    const held: { shard: number; hold: string }[] = [];
    const { floor_days = RETENTION_FLOOR_DAYS } = this.#options.policy;
    for (const { entry } of await acts(this.#ledger, SHARD_SEALED)) {
      const shard = shardOf(entry, SHARD_SEALED);
      if (shard === null || sealed.includes(shard.from)) continue;
      if (run.signal?.aborted === true) break;
      sealed.push(shard.from);
      // Old by the ledger's own clock too, not only by what the entries say.
      if (Date.parse(entry.time) + floor_days * DAY_MS > run.now.getTime()) continue;
      const survey = await this.#survey(shard, run.now.getTime());
      if (survey === null) continue;
      // Asked again for each: a hold that is set meanwhile counts.
      const hold = holdOver(await legalHolds(this.#ledger), survey.first, survey.last);
      if (hold !== undefined) {
        held.push({ shard: shard.from, hold: hold.name });
        continue;
      }
      if (!run.dry) await this.#remove(shard, survey, run);
      removed.push(shard.from);
    }
    return { sealed, removed, held };
  }

  /** The time until which an entry is kept. */
  #until(entry: Logged): number {
    const { days } = this.#options.policy;
    const own = 'class' in entry ? days[entry.class] : undefined;
    const kept = own ?? days[entry.kind] ?? days.default ?? Number.POSITIVE_INFINITY;
    return Date.parse(entry.time) + kept * DAY_MS;
  }

  /** null when the shard is gone already, or has an entry that is to be kept. */
  async #survey(shard: Removed, now: number): Promise<Survey | null> {
    if ((this.#notBefore.get(shard.from) ?? 0) > now) return null;
    const log = new PublishedLog(this.#ledger.directory, null);
    const survey = { count: 0, first: Number.MAX_SAFE_INTEGER, last: 0 };
    const found: Omit<Survey, keyof typeof survey> = { acts: [], bodies: new Set(), keys: [] };
    for (let from = shard.from; from < shard.to; from += TILE_WIDTH) {
      for (const { index, entry } of log.entries(from, from + TILE_WIDTH)) {
        const until = this.#until(entry);
        if (until > now || Number.isNaN(until)) {
          this.#notBefore.set(shard.from, until);
          return null;
        }
        const time = Date.parse(entry.time);
        survey.count++;
        survey.first = Math.min(survey.first, time);
        survey.last = Math.max(survey.last, time);
        if (entry.kind === 'administration') found.acts.push({ index, entry });
        const body = bodyOf(entry);
        if (body !== null) found.bodies.add(body);
        found.keys.push(keyDigest(identityOf(entry.key, entry)));
      }
      // Appends go on between two bundles.
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (survey.count === 0) this.#notBefore.set(shard.from, Number.POSITIVE_INFINITY);
    return survey.count === 0 ? null : { ...survey, ...found };
  }

  async #remove(shard: Removed, survey: Survey, { who }: RetentionRun): Promise<void> {
    const { from, to } = shard;
    // 1. What must outlive the shard: its keys beside the log, and acts that vouch for older
    // removals. A crash: the next run does it again, with the same keys.
    const keys = Buffer.concat(survey.keys);
    if (survey.count === to - from) await this.#keepKeys(shard, keys);
    for (const { index, entry } of survey.acts) {
      const { key, detail, ...act } = entry;
      const was = typeof detail.was === 'number' ? detail.was : index;
      await this.#ledger.append([
        { key: `kept/${was}/${from}`, entry: { ...act, detail: { ...detail, was } } },
      ]);
    }
    // 2. The act, durable and public. A crash from here on: the next run removes what is left.
    const log = new PublishedLog(this.#ledger.directory, null);
    const entry: AdministrationEntry = {
      v: 1,
      time: new Date().toISOString(),
      by: this.#options.by,
      kind: 'administration',
      act: SHARD_REMOVED,
      who,
      what: `entries ${from} to ${to - 1}`,
      detail: {
        from,
        to,
        root: rangeRoot(from, to, log.node).toString('base64'),
        keys: hash('sha256', keys, 'hex'),
        archived: this.#options.archive !== null,
      },
    };
    await this.#ledger.append([{ key: `${SHARD_REMOVED}/${from}/${to}`, entry }]);
    await this.#ledger.publish(true);
    // 3. Bodies first: only the entries still know them.
    const bodies = [...survey.bodies];
    for (let at = 0; at < bodies.length; at += BODIES_AT_ONCE) {
      await this.#dropBodies(bodies.slice(at, at + BODIES_AT_ONCE), shard);
    }
    for (let at = from; at < to; at += TILE_WIDTH) {
      await this.#drop(this.#layout.tile(bundlePath(at / TILE_WIDTH, TILE_WIDTH)));
    }
  }

  async #keepKeys({ from, to }: Removed, keys: Buffer): Promise<void> {
    await this.#files.makeDirectory(this.#layout.keys, 0o700);
    const path = this.#layout.shardKeys(from, to);
    await replaceFile(this.#files, path, keys, { mode: 0o600, durable: true });
    await this.#files.sync(this.#ledger.directory);
  }

  /** A body that another entry names too stays; no append may come to name one meanwhile. */
  async #dropBodies(names: readonly string[], { from, to }: Removed): Promise<void> {
    await this.#ledger.bodiesAlone(async () => {
      await this.#ledger.publish(true);
      for (const name of names) {
        if (this.#ledger.bodyNamed(name, from, to)) continue;
        await this.#drop(this.#layout.body(name));
      }
    });
  }

  async #drop(path: string): Promise<void> {
    const { archive } = this.#options;
    const bytes = archive === null ? null : this.#files.read(path);
    if (archive !== null && bytes !== null) {
      const copy = join(archive, path.slice(this.#ledger.directory.length + 1));
      await this.#files.makeDirectory(dirname(copy));
      await replaceFile(this.#files, copy, bytes, { durable: true });
    }
    await this.#files.remove(path);
  }
}
