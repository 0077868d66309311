// The search index in PostgreSQL, for searches by many and for logs that outgrow one machine's
// file.
// Invariant: derived from the published log alone; an append never waits for it, and known keys
// stay in the index beside the log.
import type { SQLInputValue } from 'node:sqlite';
import pg from 'pg';
import type { Logged } from './canonical.ts';
import { reasonOf } from './errors.ts';
import { columnsOf, INDEX_VERSION, objectsOf } from './index-file.ts';
import { INDEX_EVERY_MS, INDEX_RETRY_MS, POSTGRES_BATCH } from './limits.ts';
import { PublishedLog } from './log.ts';
import { SHARD_REMOVED, shardOf } from './removed.ts';
import { COLUMNS, type Finder } from './search.ts';

const SCHEMA = `
CREATE SCHEMA IF NOT EXISTS holdpoint_ledger;
CREATE TABLE IF NOT EXISTS holdpoint_ledger.meta (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE IF NOT EXISTS holdpoint_ledger.entry (
  place bigint PRIMARY KEY, time bigint NOT NULL, kind text NOT NULL,
  operation text, hold text, session text, agent text,
  target text, environment text, class text, verdict text, rule text, signer text);
CREATE TABLE IF NOT EXISTS holdpoint_ledger.object (
  name text NOT NULL, place bigint NOT NULL, PRIMARY KEY (name, place));
CREATE INDEX IF NOT EXISTS entry_time ON holdpoint_ledger.entry (time);
${['operation', 'hold', 'session', 'agent', 'class', 'rule', 'signer']
  .map(
    (name) =>
      `CREATE INDEX IF NOT EXISTS entry_${name} ON holdpoint_ledger.entry (${name}, place)
       WHERE ${name} IS NOT NULL;`,
  )
  .join('\n')}
`;

/** `?` as `$1`, `$2`, …; the SQL of search.ts has no question mark but these. */
function numbered(sql: string): string {
  let number = 0;
  return sql.replaceAll('?', () => `$${++number}`);
}

/** What PostgreSQL's text can't hold is shown, not lost silently. */
function storable(value: SQLInputValue): unknown {
  return typeof value === 'string' ? value.replaceAll('\0', '\u2400') : value;
}

export interface PostgresIndexOptions {
  readonly url: string;
  readonly publicKey: string;
  /** The ledger's directory. */
  readonly directory: string;
  readonly warn: (message: string) => void;
}

export class PostgresIndex implements Finder {
  readonly #pool: pg.Pool;
  readonly #options: PostgresIndexOptions;
  #size = 0;
  #ready = false;
  #following: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(options: PostgresIndexOptions) {
    this.#options = options;
    this.#pool = new pg.Pool({
      connectionString: options.url,
      max: 4,
      options: '-c search_path=holdpoint_ledger',
    });
    this.#pool.on('error', () => {});
  }

  get size(): number {
    return this.#size;
  }

  async query(sql: string, values: readonly SQLInputValue[]): Promise<Record<string, unknown>[]> {
    const result = await this.#pool.query(numbered(sql), values.map(storable));
    return result.rows;
  }

  /** Begins anew where the tables are of another log or another form. */
  async #prepare(): Promise<void> {
    const mark = `${INDEX_VERSION} ${this.#options.publicKey}`;
    await this.#pool.query(SCHEMA);
    const found = await this.#pool.query("SELECT value FROM meta WHERE name = 'mark'");
    if (found.rows[0]?.value !== mark) {
      await this.#pool.query('TRUNCATE entry, object, meta');
      await this.#pool.query("INSERT INTO meta VALUES ('mark', $1), ('size', '0')", [mark]);
    }
    const size = await this.#pool.query("SELECT value FROM meta WHERE name = 'size'");
    this.#size = Number(size.rows[0]?.value ?? 0);
    this.#ready = true;
  }

  /** Follows the published log soon; what fails is tried again, and nobody waits. */
  catchUp(pause = INDEX_EVERY_MS): void {
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.follow().catch((error) => {
        this.#options.warn(`The index in PostgreSQL is behind (${reasonOf(error)}).`);
        this.catchUp(INDEX_RETRY_MS);
      });
    }, pause);
    this.#timer.unref();
  }

  /** Resolves when everything published now is indexed. */
  async follow(): Promise<void> {
    while (this.#following !== null) await this.#following.catch(() => {});
    this.#following = this.#followNow().finally(() => {
      this.#following = null;
    });
    await this.#following;
  }

  async #followNow(): Promise<void> {
    if (!this.#ready) await this.#prepare();
    const log = new PublishedLog(this.#options.directory, null);
    let batch: { index: number; entry: Logged }[] = [];
    for (const one of log.entries(this.#size)) {
      batch.push(one);
      if (batch.length < POSTGRES_BATCH) continue;
      await this.#add(batch);
      batch = [];
    }
    if (batch.length > 0) await this.#add(batch);
  }

  /** One transaction; a row that is there already (two followers) is left as it is. */
  async #add(batch: readonly { index: number; entry: Logged }[]): Promise<void> {
    const client = await this.#pool.connect();
    try {
      await client.query('BEGIN');
      const rows = batch.map(({ index, entry }) => [index, ...columnsOf(entry).map(storable)]);
      await client.query(
        `INSERT INTO entry SELECT * FROM json_populate_recordset(NULL::entry, $1)
         ON CONFLICT DO NOTHING`,
        [JSON.stringify(rows.map(asRecord))],
      );
      const objects = batch.flatMap(({ index, entry }) =>
        [...objectsOf(entry)].map((name) => ({ name: storable(name), place: index })),
      );
      await client.query(
        `INSERT INTO object SELECT * FROM json_populate_recordset(NULL::object, $1)
         ON CONFLICT DO NOTHING`,
        [JSON.stringify(objects)],
      );
      for (const { entry } of batch) {
        const removed = shardOf(entry, SHARD_REMOVED);
        if (removed === null) continue;
        for (const table of ['entry', 'object']) {
          const sql = `DELETE FROM ${table} WHERE place >= $1 AND place < $2`;
          await client.query(sql, [removed.from, removed.to]);
        }
      }
      const size = (batch.at(-1)?.index ?? -1) + 1;
      await client.query("UPDATE meta SET value = $1 WHERE name = 'size'", [String(size)]);
      await client.query('COMMIT');
      this.#size = size;
    } catch (error) {
      await client.query('ROLLBACK').catch(() => {});
      throw error;
    } finally {
      client.release();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#following?.catch(() => {});
    await this.#pool.end();
  }
}

const NAMES = ['place', 'time', ...COLUMNS] as const;

function asRecord(row: readonly unknown[]): { [name: string]: unknown } {
  return Object.fromEntries(NAMES.map((name, at) => [name, row[at]]));
}
