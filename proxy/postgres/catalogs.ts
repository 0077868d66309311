// The catalogs that sessions share: one reader for each target and database, kept fresh while
// sessions use it.
// Invariant: a catalog that can't be read is no catalog (null): what depends on it is then
// `unknown`, never a guess.
import type { Target } from '../config.ts';
import { LIMITS } from '../limits.ts';
import { CatalogReader, type CatalogSnapshot } from './catalog.ts';
import { tlsOptions } from './upstream.ts';

type Problem = (where: string, error: unknown) => void;

/** One database's catalog, as its sessions see it. */
export class SharedCatalog {
  readonly #reader: CatalogReader;
  readonly #problem: Problem;
  #failed = false;
  /** Nobody has looked for a while: it may be out of date. */
  #unwatched = true;
  #sessions = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(reader: CatalogReader, problem: Problem) {
    this.#reader = reader;
    this.#problem = problem;
  }

  current(): CatalogSnapshot | null {
    return this.#failed ? null : this.#reader.current();
  }

  /** Differs whenever {@link current} does; 0 without a catalog. */
  get version(): number {
    return this.current()?.version ?? 0;
  }

  /** It must be read again before anything is judged by it. */
  get stale(): boolean {
    return (
      !this.#failed && (this.#unwatched || this.#reader.stale || this.#reader.current() === null)
    );
  }

  /** DDL was seen. */
  invalidate(): void {
    this.#reader.invalidate();
  }

  /**
   * Reads it again if anything has changed; never rejects: a failure leaves no catalog until a
   * later probe succeeds.
   */
  async refresh(): Promise<void> {
    try {
      if (this.#reader.current() === null) await this.#reader.refresh();
      else await this.#reader.probe();
      this.#failed = false;
      this.#unwatched = false;
    } catch (error) {
      if (!this.#failed) this.#problem('catalog', error);
      this.#failed = true;
    }
  }

  /** A session begins: DDL made by others is looked for from now on. */
  join(): void {
    this.#sessions++;
    if (this.#sessions === 1) this.#watch(0);
  }

  /** Looks again after a while, that depends on how long it took the last time. */
  #watch(took: number): void {
    const { catalog_probe_ms, catalog_probe_part, catalog_probe_most_ms } = LIMITS;
    const wait = Math.min(
      Math.max(catalog_probe_ms, took / catalog_probe_part),
      catalog_probe_most_ms,
    );
    const timer = setTimeout(async () => {
      const began = performance.now();
      await this.refresh();
      if (this.#timer === timer) this.#watch(performance.now() - began);
    }, wait).unref();
    this.#timer = timer;
  }

  leave(): void {
    this.#sessions--;
    if (this.#sessions > 0 || this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#unwatched = true;
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    await this.#reader.close();
  }
}

export class Catalogs {
  readonly #problem: Problem;
  readonly #shared = new Map<string, SharedCatalog>();

  constructor(problem: Problem) {
    this.#problem = problem;
  }

  of(target: Target, database: string): SharedCatalog {
    const key = `${target.name}\0${database}`;
    let shared = this.#shared.get(key);
    if (shared === undefined) {
      const { host, port, user } = target;
      const reader = new CatalogReader({
        host,
        port,
        user,
        database,
        password: () => target.password() ?? '',
        ssl: tlsOptions(target),
      });
      shared = new SharedCatalog(reader, this.#problem);
      this.#shared.set(key, shared);
    }
    return shared;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#shared.values()].map((shared) => shared.close()));
  }
}
