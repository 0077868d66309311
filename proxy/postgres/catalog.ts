// A target's catalog, read over a connection of its own and kept as one immutable snapshot.
// Invariant: a snapshot is all of one moment (one read-only repeatable-read transaction), and its
// version never goes back.
import pg from 'pg';
import { FACT_QUERIES, PROBE } from './catalog/facts.ts';
import { buildSnapshot, type CatalogSnapshot } from './catalog/snapshot.ts';

export type { CatalogSnapshot } from './catalog/snapshot.ts';

let versions = 0;

const BEGIN = `begin transaction isolation level repeatable read, read only, not deferrable;
set local search_path = ''; set local statement_timeout = '30s'`;

export class CatalogReader {
  readonly #config: pg.ClientConfig;
  #client: pg.Client | null = null;
  #snapshot: CatalogSnapshot | null = null;
  #stamp: string | null = null;
  #stale = false;
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
    return this.#stale;
  }

  /** DDL was seen: the snapshot must be read again before it is trusted. */
  invalidate(): void {
    this.#stale = true;
  }

  /** Reads the whole catalog. Calls that come while a reading has not begun share it. */
  refresh(): Promise<void> {
    if (this.#refreshing !== null) return this.#refreshing;
    const reading = this.#line(async () => {
      this.#refreshing = null;
      this.#stale = false;
      try {
        await this.#read();
      } catch (error) {
        this.#stale = true;
        await this.#drop();
        throw error;
      }
    });
    this.#refreshing = reading;
    return reading;
  }

  /**
   * Asks cheaply whether the catalog has changed, by anybody; reads it again if so. true when it
   * had changed.
   */
  probe(): Promise<boolean> {
    return this.#line(async () => {
      try {
        const client = await this.#connected();
        const { rows } = await client.query<{ stamp: string }>(PROBE);
        const stamp = rows[0]?.stamp ?? null;
        if (this.#snapshot !== null && stamp === this.#stamp) {
          // What was seen did not commit, or changed nothing that is kept here.
          this.#stale = false;
          return false;
        }
        await this.#read();
        this.#stale = false;
        return true;
      } catch (error) {
        await this.#drop();
        throw error;
      }
    });
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
    return client;
  }

  async #drop(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    await client?.end().catch(() => undefined);
  }

  async #read(): Promise<void> {
    const client = await this.#connected();
    const names = Object.keys(FACT_QUERIES) as (keyof typeof FACT_QUERIES)[];
    // One message, so one round trip; the driver answers with one result for each statement.
    const text = [BEGIN, PROBE, ...names.map((name) => FACT_QUERIES[name]), 'commit'].join(';\n');
    const results = (await client.query(text)) as unknown as readonly pg.QueryResult[];
    const head = BEGIN.split(';').length;
    const stamp: unknown = results[head]?.rows[0]?.stamp;
    const facts: { [name: string]: readonly { [column: string]: unknown }[] } = {};
    names.forEach((name, index) => {
      facts[name] = results[head + 1 + index]?.rows ?? [];
    });
    versions += 1;
    this.#snapshot = buildSnapshot(facts, versions);
    this.#stamp = typeof stamp === 'string' ? stamp : null;
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
