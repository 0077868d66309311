// The embedded database: one SQLite file, written ahead, synced before any write is answered.
// Invariant: writes that wait together are committed together, each undone alone when it fails;
// `transaction` answers none before the log that holds it is on disk.
//
// SQLite itself does not sync at a commit (`synchronous = NORMAL`): it would stop every session of
// this process for as long as the disk takes. The file of its log is synced here instead, beside
// everything else, and carried over into the database by a thread (checkpoint.ts).
import { closeSync, fdatasync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { DATABASE_BUSY_MS, DATABASE_GROUP } from '../limits.ts';
import { Checkpoints } from './checkpoints.ts';
import type { Committed, Db, Row, Value } from './db.ts';

const datasync = promisify(fdatasync);

export async function openSqlite(file: string): Promise<Db> {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const writer = new Connection(new DatabaseSync(file, { timeout: 0 }));
  try {
    const pragmas = [
      'journal_mode = WAL',
      'synchronous = NORMAL',
      'foreign_keys = ON',
      'wal_autocheckpoint = 0',
    ];
    for (const pragma of pragmas) await patiently(() => writer.exec(`PRAGMA ${pragma}`));
    // The first look at the schema makes the log's file, which then stays while we are connected.
    await patiently(() => writer.all('SELECT name FROM sqlite_schema LIMIT 1', []));
    const reader = new Connection(new DatabaseSync(file, { readOnly: true, timeout: 0 }));
    return new SqliteDb(writer, reader, new Disk(`${file}-wal`), new Checkpoints(file));
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

/** Syncs the log: one sync under way, and one that waits serves all who came meanwhile. */
class Disk {
  readonly #fd: number;
  #underWay: Promise<void> = Promise.resolve();
  #next: Promise<void> | null = null;

  constructor(log: string) {
    this.#fd = openSync(log, 'r');
  }

  /**
   * Everything committed before this call is on disk when it resolves. A sync that failed is not
   * tried again: what it lost, the next one would not know of.
   */
  sync(): Promise<void> {
    this.#next ??= this.#underWay.then(() => {
      this.#next = null;
      this.#underWay = datasync(this.#fd);
      return this.#underWay;
    });
    return this.#next;
  }

  async close(): Promise<void> {
    await this.sync().catch(() => {});
    closeSync(this.#fd);
  }
}

/** One write that waits: its work, and how its caller is answered after the commit. */
interface Waiting {
  /** Does the work; resolves with the answer that is due once it is committed. */
  readonly work: (db: Db) => Promise<(durable: Promise<void>) => void>;
  readonly fail: (e: unknown) => void;
}

class SqliteDb implements Db {
  readonly dialect = 'sqlite';
  readonly #writer: Connection;
  /** Reads see what is committed, and wait for nobody. */
  readonly #reader: Connection;
  readonly #disk: Disk;
  readonly #checkpoints: Checkpoints;
  readonly #inside: Db;
  #queue: Waiting[] = [];
  #draining: Promise<void> | null = null;
  /** Why nothing is written any more; null while it is open. */
  #closed: Error | null = null;

  constructor(writer: Connection, reader: Connection, disk: Disk, checkpoints: Checkpoints) {
    this.#writer = writer;
    this.#reader = reader;
    this.#disk = disk;
    this.#checkpoints = checkpoints;
    const inside: Db = {
      dialect: 'sqlite',
      all: async (sql, ...values) => writer.all(sql, values),
      run: async (sql, ...values) => writer.run(sql, values),
      transaction: (nested) => nested(inside),
      commit: async (nested) => ({ result: await nested(inside), durable: Promise.resolve() }),
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

  async transaction<T>(work: (db: Db) => Promise<T>): Promise<T> {
    const { result, durable } = await this.commit(work);
    await durable;
    return result;
  }

  commit<T>(work: (db: Db) => Promise<T>): Promise<Committed<T>> {
    if (this.#closed) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) => {
      this.#queue.push({
        work: async (db) => {
          const result = await work(db);
          return (durable) => resolve({ result, durable });
        },
        fail: reject,
      });
      this.#draining ??= this.#drain();
    });
  }

  async close(): Promise<void> {
    this.#closed ??= new Error('the approver’s store is closed');
    await this.#draining;
    await this.#disk.close();
    await this.#checkpoints.close();
    this.#reader.close();
    this.#writer.close();
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      // Those who are about to write come along: one sync serves them all.
      await new Promise((resolve) => setImmediate(resolve));
      const group = this.#queue.splice(0, DATABASE_GROUP);
      try {
        if (this.#closed?.cause) throw this.#closed;
        const answers = await this.#commit(group);
        this.#checkpoints.grown();
        const durable = this.#disk.sync();
        durable.catch((cause: unknown) => this.#failed(cause));
        for (const answer of answers) answer(durable);
      } catch (e) {
        for (const one of group) one.fail(e);
      }
    }
    // In the same breath as the last look at the queue: who was just answered may write at once.
    this.#draining = null;
  }

  /** Nobody can say what the disk has now: nothing is written on top of it. */
  #failed(cause: unknown): void {
    const what = 'the approver’s store could not be synced: look at its disk, and start again';
    this.#closed ??= new Error(what, { cause });
  }

  /** All or nothing for the group; a member that fails by itself is undone by itself. */
  async #commit(group: readonly Waiting[]): Promise<readonly ((durable: Promise<void>) => void)[]> {
    await patiently(() => this.#writer.exec('BEGIN IMMEDIATE'));
    try {
      const answers: ((durable: Promise<void>) => void)[] = [];
      for (const one of group) answers.push(await this.#step(one));
      this.#writer.exec('COMMIT');
      return answers;
    } catch (e) {
      if (this.#writer.inTransaction) this.#writer.exec('ROLLBACK');
      throw e;
    }
  }

  async #step(one: Waiting): Promise<(durable: Promise<void>) => void> {
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
