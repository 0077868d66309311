// The embedded database: one SQLite file, written ahead and synced at every commit.
// Invariant: statements of others wait while a transaction is open on the one connection.
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { DATABASE_BUSY_MS } from '../limits.ts';
import type { Db, Row, Value } from './db.ts';

export async function openSqlite(file: string): Promise<Db> {
  if (file !== ':memory:') mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    for (const pragma of ['journal_mode = WAL', 'synchronous = FULL', 'foreign_keys = ON']) {
      await patiently(() => database.exec(`PRAGMA ${pragma}`));
    }
  } catch (e) {
    database.close();
    throw e;
  }
  return new SqliteDb(database);
}

class SqliteDb implements Db {
  readonly dialect = 'sqlite';
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #tail: Promise<unknown> = Promise.resolve();

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  all(sql: string, ...values: readonly Value[]): Promise<readonly Row[]> {
    return this.#turn(() => patiently(() => this.#all(sql, values)));
  }

  run(sql: string, ...values: readonly Value[]): Promise<number> {
    return this.#turn(() => patiently(() => this.#run(sql, values)));
  }

  transaction<T>(work: (db: Db) => Promise<T>): Promise<T> {
    return this.#turn(async () => {
      await patiently(() => this.#database.exec('BEGIN IMMEDIATE'));
      const inside: Db = {
        dialect: 'sqlite',
        all: async (sql, ...values) => this.#all(sql, values),
        run: async (sql, ...values) => this.#run(sql, values),
        transaction: (nested) => nested(inside),
        close: async () => {},
      };
      try {
        const result = await work(inside);
        this.#database.exec('COMMIT');
        return result;
      } catch (e) {
        if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
        throw e;
      }
    });
  }

  async close(): Promise<void> {
    await this.#turn(async () => {
      this.#statements.clear();
      if (this.#database.isOpen) this.#database.close();
    });
  }

  #all(sql: string, values: readonly Value[]): readonly Row[] {
    return this.#prepare(sql).all(...values);
  }

  #run(sql: string, values: readonly Value[]): number {
    return Number(this.#prepare(sql).run(...values).changes);
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #turn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(work, work);
    this.#tail = turn.catch(() => {});
    return turn;
  }
}

/** Another process writes: wait for it without stopping this one. */
async function patiently<T>(work: () => T): Promise<T> {
  const end = Date.now() + DATABASE_BUSY_MS;
  for (;;) {
    try {
      return work();
    } catch (e) {
      if (!isBusy(e) || Date.now() > end) throw e;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

function isBusy(e: unknown): boolean {
  const code = (e as { errcode?: unknown }).errcode;
  return typeof code === 'number' && (code & 0xff) === 5;
}
