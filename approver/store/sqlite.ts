// The embedded database: one SQLite file, written ahead, synced before any write is answered.
// Invariant: writes that wait together are committed together, each undone alone when it fails;
// none is answered before the commit that holds it is on disk.
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { DATABASE_BUSY_MS, DATABASE_GROUP } from '../limits.ts';
import type { Db, Row, Value } from './db.ts';

export async function openSqlite(file: string): Promise<Db> {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const writer = new Connection(new DatabaseSync(file, { timeout: 0 }));
  try {
    for (const pragma of ['journal_mode = WAL', 'synchronous = FULL', 'foreign_keys = ON']) {
      await patiently(() => writer.exec(`PRAGMA ${pragma}`));
    }
    const reader = new Connection(new DatabaseSync(file, { readOnly: true, timeout: 0 }));
    return new SqliteDb(writer, reader);
  } catch (e) {
    writer.close();
    throw e;
  }
}

class Connection {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  get inTransaction(): boolean {
    return this.#database.isTransaction;
  }

  exec(sql: string): void {
    this.#database.exec(sql);
  }

  all(sql: string, values: readonly Value[]): readonly Row[] {
    return this.#prepare(sql).all(...values);
  }

  run(sql: string, values: readonly Value[]): number {
    return Number(this.#prepare(sql).run(...values).changes);
  }

  close(): void {
    this.#statements.clear();
    if (this.#database.isOpen) this.#database.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/** One write that waits: its work, and how its caller is answered after the commit. */
interface Waiting {
  /** Does the work; resolves with the answer that is due once it is on disk. */
  readonly work: (db: Db) => Promise<() => void>;
  readonly fail: (e: unknown) => void;
}

class SqliteDb implements Db {
  readonly dialect = 'sqlite';
  readonly #writer: Connection;
  /** Reads see what is committed, and wait for nobody. */
  readonly #reader: Connection;
  readonly #inside: Db;
  #queue: Waiting[] = [];
  #draining: Promise<void> | null = null;
  #closed = false;

  constructor(writer: Connection, reader: Connection) {
    this.#writer = writer;
    this.#reader = reader;
    const inside: Db = {
      dialect: 'sqlite',
      all: async (sql, ...values) => writer.all(sql, values),
      run: async (sql, ...values) => writer.run(sql, values),
      transaction: (nested) => nested(inside),
      close: async () => {},
    };
    this.#inside = inside;
  }

  async all(sql: string, ...values: readonly Value[]): Promise<readonly Row[]> {
    return await patiently(() => this.#reader.all(sql, values));
  }

  run(sql: string, ...values: readonly Value[]): Promise<number> {
    return this.transaction((db) => db.run(sql, ...values));
  }

  transaction<T>(work: (db: Db) => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new Error('the approver’s store is closed'));
    return new Promise((resolve, reject) => {
      this.#queue.push({
        work: async (db) => {
          const result = await work(db);
          return () => resolve(result);
        },
        fail: reject,
      });
      this.#draining ??= this.#drain().finally(() => {
        this.#draining = null;
      });
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#draining;
    this.#reader.close();
    this.#writer.close();
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      // Those who are about to write come along: one sync serves them all.
      await new Promise((resolve) => setImmediate(resolve));
      const group = this.#queue.splice(0, DATABASE_GROUP);
      try {
        for (const answer of await this.#commit(group)) answer();
      } catch (e) {
        for (const one of group) one.fail(e);
      }
    }
  }

  /** All or nothing for the group; a member that fails by itself is undone by itself. */
  async #commit(group: readonly Waiting[]): Promise<readonly (() => void)[]> {
    await patiently(() => this.#writer.exec('BEGIN IMMEDIATE'));
    try {
      const answers: (() => void)[] = [];
      for (const one of group) answers.push(await this.#step(one));
      this.#writer.exec('COMMIT');
      return answers;
    } catch (e) {
      if (this.#writer.inTransaction) this.#writer.exec('ROLLBACK');
      throw e;
    }
  }

  async #step(one: Waiting): Promise<() => void> {
    this.#writer.exec('SAVEPOINT one');
    try {
      const answer = await one.work(this.#inside);
      this.#writer.exec('RELEASE one');
      return answer;
    } catch (e) {
      // A full disk ends the whole transaction by itself: then nobody of the group is safe.
      if (!this.#writer.inTransaction) throw e;
      this.#writer.exec('ROLLBACK TO one');
      this.#writer.exec('RELEASE one');
      return () => one.fail(e);
    }
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
