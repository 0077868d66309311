// A target's catalog, read over a connection of its own and kept as one immutable snapshot.
// Invariant: a snapshot is all of one moment (one read-only repeatable-read transaction), and its
// version never goes back.
import { setImmediate } from 'node:timers/promises';
import pg from 'pg';
import { LIMITS } from '../limits.ts';
import { buildSnapshotInSteps, type FactRows } from './catalog/build.ts';
import { FACT_QUERIES, probe } from './catalog/facts.ts';

import type { CatalogSnapshot } from './catalog/snapshot.ts';

export type { CatalogSnapshot } from './catalog/snapshot.ts';

/** What {@link probe} answers. */
interface Stamp {
  readonly snapshot: string;
  readonly stamp: string | null;
}

type Row = { readonly [column: string]: unknown };
type Result = pg.QueryResult<Row>;

const fetch = (name: string) => `fetch ${LIMITS.catalog_rows} from "${name}"`;

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
      const changes = this.#changes;
      try {
        await this.#read();
        this.#covered = changes;
      } catch (error) {
        this.invalidate();
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
      const changes = this.#changes;
      try {
        const client = await this.#connected();
        const { rows } = await client.query<Stamp>(probe(this.#seen?.snapshot ?? ''));
        const now = rows[0];
        if (this.#seen !== null && now !== undefined && isSame(this.#seen, now)) {
          // What was seen did not commit, or changed nothing that is kept here.
          this.#seen = { ...this.#seen, snapshot: now.snapshot };
          this.#covered = changes;
          return false;
        }
        await this.#read();
        this.#covered = changes;
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
    // A small catalog takes one round trip. Of a large one, so much comes at a time as keeps others
    // waiting for no longer than a moment.
    const opening = [BEGIN, probe('')];
    for (const name of names) {
      opening.push(`declare "${name}" no scroll cursor for ${FACT_QUERIES[name]}`, fetch(name));
    }
    const results = (await client.query(opening.join(';\n'))) as unknown as readonly Result[];
    const head = BEGIN.split(';').length;
    const facts: { [name: string]: Row[] } = {};
    for (const [index, name] of names.entries()) {
      const rows = (facts[name] = results[head + 2 + 2 * index]?.rows ?? []);
      for (let more = rows; more.length === LIMITS.catalog_rows; ) {
        more = (await client.query<Row>(fetch(name))).rows;
        for (const row of more) rows.push(row);
      }
    }
    await client.query('commit');
    this.#snapshot = await built(facts, ++versions);
    this.#seen = (results[head]?.rows[0] as unknown as Stamp | undefined) ?? null;
  }
}

function isSame(before: Stamp, now: Stamp): boolean {
  return now.stamp === null || now.stamp === before.stamp;
}

/** A large catalog takes a while to put together: sessions go on between the steps. */
async function built(facts: FactRows, version: number): Promise<CatalogSnapshot> {
  const steps = buildSnapshotInSteps(facts, version);
  let step = steps.next();
  for (let began = performance.now(); step.done !== true; step = steps.next()) {
    if (performance.now() - began < LIMITS.catalog_step_ms) continue;
    await setImmediate();
    began = performance.now();
  }
  return step.value;
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
