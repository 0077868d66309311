// A target's catalog, read over a connection of its own and kept as one immutable snapshot.
// Invariant: a snapshot is all of one moment (one read-only repeatable-read transaction), and its
// version never goes back.
import pg from 'pg';
import { buildSnapshotInSteps, factsOf } from './catalog/build.ts';
import { readFacts } from './catalog/read.ts';
import { isSame, NO_FACTS } from './catalog/rows.ts';
import type { CatalogSnapshot } from './catalog/snapshot.ts';
import { changeBetween, probe, type Stamp } from './catalog/stamp.ts';
import { inSteps } from './catalog/steps.ts';

export type { CatalogSnapshot } from './catalog/snapshot.ts';

let versions = 0;

const BEGIN = `begin transaction isolation level repeatable read, read only, not deferrable;
set local search_path = ''; set local standard_conforming_strings = on;
set local statement_timeout = '30s';
set local cursor_tuple_fraction = 1`;

export class CatalogReader {
  readonly #config: pg.ClientConfig;
  #client: pg.Client | null = null;
  #snapshot: CatalogSnapshot | null = null;
  #seen: Stamp | null = null;
  /** How often DDL was seen, and how often before what was last asked of the server. */
  #changes = 0;
  #covered = 0;
  /** All work on the connection stands in one line. */
  #tail: Promise<unknown> = Promise.resolve();
  #refreshing: Promise<void> | null = null;

  constructor(config: pg.ClientConfig) {
    this.#config = {
      application_name: 'holdpoint catalog',
      connectionTimeoutMillis: 10_000,
      ...config,
    };
  }

  /** The newest snapshot; null before the first {@link refresh} has ended. */
  current(): CatalogSnapshot | null {
    return this.#snapshot;
  }

  /** true when DDL was seen since the snapshot was read. */
  get stale(): boolean {
    return this.#changes !== this.#covered;
  }

  /** DDL was seen: the snapshot must be read again before it is trusted. */
  invalidate(): void {
    this.#changes += 1;
  }

  /** Reads the whole catalog. Calls that come while a reading has not begun share it. */
  refresh(): Promise<void> {
    if (this.#refreshing !== null) return this.#refreshing;
    const reading = this.#line(async () => {
      this.#refreshing = null;
      await this.#look(true);
    });
    this.#refreshing = reading;
    return reading;
  }

  /**
   * Asks cheaply whether the catalog has changed, by anybody, and reads again what has. true when
   * there is a new snapshot.
   */
  probe(): Promise<boolean> {
    return this.#line(() => this.#look(false));
  }

  async close(): Promise<void> {
    await this.#tail.catch(() => undefined);
    await this.#drop();
  }

  #line<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(work, work);
    this.#tail = turn.catch(() => undefined);
    return turn;
  }

  async #connected(): Promise<pg.Client> {
    if (this.#client !== null) return this.#client;
    const client = new pg.Client(this.#config);
    client.on('error', () => {
      if (this.#client === client) this.#client = null;
    });
    await client.connect();
    this.#client = client;
    // Another server may answer now, or another database of the same name.
    this.#seen = null;
    return client;
  }

  async #drop(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    await client?.end().catch(() => undefined);
  }

  async #look(whole: boolean): Promise<boolean> {
    const changes = this.#changes;
    try {
      const isNew = await this.#read(whole);
      // What was seen may not have committed, or changed nothing that is kept here.
      this.#covered = changes;
      return isNew;
    } catch (error) {
      if (whole) this.invalidate();
      await this.#drop();
      throw error;
    }
  }

  async #read(whole: boolean): Promise<boolean> {
    const client = await this.#connected();
    const seen = whole ? null : this.#seen;
    const results = (await client.query(
      `${BEGIN};\n${probe(seen)}`,
    )) as unknown as pg.QueryResult[];
    const now: Stamp | undefined = results.at(-1)?.rows[0];
    if (now === undefined) throw new Error('the catalog did not answer: no stamp');
    const change = changeBetween(seen, now);
    if (change === null) {
      await client.query('commit');
      if (seen !== null) this.#seen = { ...seen, snapshot: now.snapshot };
      return false;
    }
    const known = this.#snapshot;
    const before = known === null ? NO_FACTS : factsOf(known);
    const read = await readFacts(client, before, change);
    await client.query('commit');
    // Nobody waits for what it was that changed, and it is nothing that is kept here.
    const same = !this.stale && isSame(before, read.facts);
    if (!same) {
      const from = read.whole ? null : known;
      this.#snapshot = await inSteps(buildSnapshotInSteps(read.facts, ++versions, from));
    }
    this.#seen = now;
    return !same;
  }
}

/** Connects and reads the catalog once; `target` is a connection URL or the driver's settings. */
export async function openCatalog(target: string | pg.ClientConfig): Promise<CatalogReader> {
  const reader = new CatalogReader(
    typeof target === 'string' ? { connectionString: target } : target,
  );
  try {
    await reader.refresh();
  } catch (error) {
    await reader.close();
    throw error;
  }
  return reader;
}
