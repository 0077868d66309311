// The configured database: PostgreSQL, shared by any number of approver replicas.
// Invariant: the statements are the embedded database's own; only their parameter marks differ.
import { Pool, type PoolClient, types } from 'pg';
import { DATABASE_CONNECTIONS, DATABASE_STATEMENT_MS } from '../limits.ts';
import type { Committed, Db, Row, Value } from './db.ts';

const INT8 = 20;

export async function openPostgres(address: string): Promise<Db> {
  const pool = new Pool({
    connectionString: address,
    max: DATABASE_CONNECTIONS,
    statement_timeout: DATABASE_STATEMENT_MS,
    connectionTimeoutMillis: DATABASE_STATEMENT_MS,
    application_name: 'holdpoint-approver',
    types: {
      getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
        oid === INT8 && format !== 'binary'
          ? (text: string) => Number(text)
          : types.getTypeParser(oid, format)) as typeof types.getTypeParser,
    },
  });
  // A connection that breaks while idle is replaced by the pool; the next query says if it can't
  // be.
  pool.on('error', () => {});
  return new PostgresDb(pool);
}

/** `?` to `$n`. The stores' statements have no `?` in a literal. */
const marked = new Map<string, string>();
function numbered(sql: string): string {
  let found = marked.get(sql);
  if (found === undefined) {
    let n = 0;
    found = sql.replaceAll('?', () => `$${++n}`);
    marked.set(sql, found);
  }
  return found;
}

class PostgresDb implements Db {
  readonly dialect = 'postgres';
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  async all(sql: string, ...values: readonly Value[]): Promise<readonly Row[]> {
    return (await this.#pool.query(numbered(sql), [...values])).rows;
  }

  async run(sql: string, ...values: readonly Value[]): Promise<number> {
    return (await this.#pool.query(numbered(sql), [...values])).rowCount ?? 0;
  }

  async transaction<T>(work: (db: Db) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect();
    let broken: Error | undefined;
    try {
      await client.query('BEGIN');
      const result = await work(within(client));
      await client.query('COMMIT');
      return result;
    } catch (e) {
      await client.query('ROLLBACK').catch((failure: unknown) => {
        broken = failure instanceof Error ? failure : new Error('rollback failed');
      });
      throw e;
    } finally {
      client.release(broken);
    }
  }

  async commit<T>(work: (db: Db) => Promise<T>): Promise<Committed<T>> {
    return { result: await this.transaction(work), durable: Promise.resolve() };
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }
}

function within(client: PoolClient): Db {
  const db: Db = {
    dialect: 'postgres',
    all: async (sql, ...values) => (await client.query(numbered(sql), [...values])).rows,
    run: async (sql, ...values) => (await client.query(numbered(sql), [...values])).rowCount ?? 0,
    transaction: (work) => work(db),
    commit: async (work) => ({ result: await work(db), durable: Promise.resolve() }),
    close: async () => {},
  };
  return db;
}
