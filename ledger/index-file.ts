// The index beside the log: which entry has which key, agent, object, … in SQLite.
// Invariant: derived from the log alone and never trusted over it: a key found here is compared
// with the entry it names, and `holdpoint ledger reindex` makes the whole again.
import { hash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { identityOf, type Logged } from './canonical.ts';
import { reasonOf } from './errors.ts';
import { DiskFiles } from './files.ts';
import { Layout } from './layout.ts';
import { INDEX_BATCH, INDEX_CACHE_KIB } from './limits.ts';
import { type Removed, SHARD_REMOVED, shardOf } from './removed.ts';

const SCHEMA = `
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS key (digest BLOB PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entry (
  place INTEGER PRIMARY KEY, time INTEGER NOT NULL, kind TEXT NOT NULL,
  operation TEXT, hold TEXT, session TEXT, agent TEXT,
  target TEXT, environment TEXT, class TEXT, verdict TEXT, rule TEXT, signer TEXT);
CREATE TABLE IF NOT EXISTS object (
  name TEXT NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (name, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS body (
  name BLOB NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (name, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS removed (first INTEGER PRIMARY KEY, after INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS entry_time ON entry (time);
CREATE INDEX IF NOT EXISTS entry_operation ON entry (operation) WHERE operation IS NOT NULL;
CREATE INDEX IF NOT EXISTS entry_hold ON entry (hold) WHERE hold IS NOT NULL;
CREATE INDEX IF NOT EXISTS entry_session ON entry (session) WHERE session IS NOT NULL;
CREATE INDEX IF NOT EXISTS entry_agent ON entry (agent) WHERE agent IS NOT NULL;
CREATE INDEX IF NOT EXISTS entry_class ON entry (class) WHERE class IS NOT NULL;
CREATE INDEX IF NOT EXISTS entry_rule ON entry (rule) WHERE rule IS NOT NULL;
CREATE INDEX IF NOT EXISTS entry_signer ON entry (signer) WHERE signer IS NOT NULL;
`;
export const INDEX_VERSION = 3;

/** Of a key's digest, enough that no two are the same. */
const KEY_BYTES = 16;

export function keyDigest(key: string): Buffer {
  return hash('sha256', key, 'buffer').subarray(0, KEY_BYTES);
}

/** The body beside the log that an entry names; null when it names none. */
export function bodyOf(entry: Logged): string | null {
  if (entry.kind !== 'decision') return null;
  const { text, base64, sha256 } = entry.statement;
  const named = text === null && base64 === null && typeof sha256 === 'string';
  return named && /^[0-9a-f]{64}$/.test(sha256) ? sha256 : null;
}

/** The columns of an entry, in the table's order after `place`. */
export function columnsOf(entry: Logged): SQLInputValue[] {
  const any: { readonly [name: string]: unknown } = { ...entry };
  const text = (name: string): string | null => {
    const value = any[name];
    return typeof value === 'string' ? value : null;
  };
  const judged: { readonly kind?: unknown; readonly rule?: unknown } | null =
    entry.kind === 'decision' ? entry.verdict : null;
  const verdict = typeof judged?.kind === 'string' ? judged.kind : text('verdict');
  const rule = typeof judged?.rule === 'string' ? judged.rule : (text('rule') ?? text('act'));
  const who = entry.kind === 'signature' ? text('signer') : text('who');
  return [
    Date.parse(entry.time),
    entry.kind,
    text('operation'),
    text('hold'),
    text('session'),
    text('agent'),
    text('target'),
    text('environment'),
    text('class'),
    verdict,
    rule,
    who,
  ];
}

/** Names under which an entry's objects are found: `orders`, `public.orders`. */
export function objectsOf(entry: Logged): Set<string> {
  const names = new Set<string>();
  if (entry.kind !== 'decision') return names;
  for (const effect of entry.effects) {
    for (const object of effect.objects) {
      names.add(object.name);
      if (object.schema !== null) names.add(`${object.schema}.${object.name}`);
      else if (object.database !== null) names.add(`${object.database}.${object.name}`);
    }
  }
  return names;
}

export class IndexFile {
  readonly #database: DatabaseSync;
  readonly #findKey: StatementSync;
  readonly #addKey: StatementSync;
  readonly #addEntry: StatementSync;
  readonly #addObject: StatementSync;
  readonly #addBody: StatementSync;
  readonly #layout: Layout;
  #size: number;

  /**
   * Opens the index of the log with this public key; another log's, one of another form, or one
   * that has more than the log is begun anew.
   */
  constructor(path: string, publicKey: string, sizeMax = Number.MAX_SAFE_INTEGER) {
    const mark = `${INDEX_VERSION} ${publicKey}`;
    const database = openMarked(path, mark, sizeMax);
    this.#database = database;
    this.#layout = new Layout(dirname(path));
    this.#size = Number(meta(database, 'size') ?? 0);
    this.#findKey = database.prepare('SELECT place FROM key WHERE digest = ?');
    this.#addKey = database.prepare('INSERT OR IGNORE INTO key VALUES (?, ?)');
    this.#addEntry = database.prepare(
      'INSERT OR REPLACE INTO entry VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)',
    );
    this.#addObject = database.prepare('INSERT OR IGNORE INTO object VALUES (?, ?)');
    this.#addBody = database.prepare('INSERT OR IGNORE INTO body VALUES (?, ?)');
  }

  /** Entries indexed: all below this place. */
  get size(): number {
    return this.#size;
  }

  find(key: string): number | undefined {
    const row = this.#findKey.get(keyDigest(key));
    return row === undefined ? undefined : Number(row.place);
  }

  query(sql: string, values: readonly SQLInputValue[]): Record<string, unknown>[] {
    return this.#database.prepare(sql).all(...values);
  }

  /** Indexes entries in order, a few thousand a transaction; resumes where it stopped. */
  add(
    entries: Iterable<{ index: number; entry: Logged }>,
    told: (size: number) => void = () => {},
  ): void {
    let open = false;
    const commit = (): void => {
      setMeta(this.#database, 'size', this.#size);
      this.#database.exec('COMMIT');
      open = false;
      told(this.#size);
    };
    try {
      for (const { index, entry } of entries) {
        if (index < this.#size) continue;
        if (!open) this.#database.exec('BEGIN');
        open = true;
        this.#addKey.run(keyDigest(identityOf(entry.key, entry)), index);
        this.#addEntry.run(index, ...columnsOf(entry));
        for (const name of objectsOf(entry)) this.#addObject.run(name, index);
        const body = bodyOf(entry);
        if (body !== null) this.#addBody.run(Buffer.from(body, 'hex'), index);
        const removed = shardOf(entry, SHARD_REMOVED);
        if (removed !== null) this.#forget(removed);
        this.#size = index + 1;
        if (this.#size % INDEX_BATCH === 0) commit();
      }
      if (open) commit();
    } catch (error) {
      if (open) this.#database.exec('ROLLBACK');
      this.#size = Number(meta(this.#database, 'size') ?? 0);
      throw error;
    }
  }

  /** What retention removed is not found any more; its keys stay known. */
  #forget({ from, to }: Removed): void {
    const database = this.#database;
    database.prepare('INSERT OR REPLACE INTO removed VALUES (?, ?)').run(from, to);
    database.prepare('DELETE FROM entry WHERE place >= ? AND place < ?').run(from, to);
    database.prepare('DELETE FROM object WHERE place >= ? AND place < ?').run(from, to);
    database.prepare('DELETE FROM body WHERE place >= ? AND place < ?').run(from, to);
    // An index made anew knows the keys of what is gone from the file that retention left.
    const keys = new DiskFiles().read(this.#layout.shardKeys(from, to));
    if (keys?.length !== (to - from) * KEY_BYTES) return;
    for (let place = from, at = 0; place < to; place++, at += KEY_BYTES)
      this.#addKey.run(keys.subarray(at, at + KEY_BYTES), place);
  }

  /** true when an entry that is not one of [from, to) names this body. */
  bodyNamed(sha256: string, from: number, to: number): boolean {
    const sql = 'SELECT 1 FROM body WHERE name = ? AND (place < ? OR place >= ?)';
    const name = Buffer.from(sha256, 'hex');
    return this.#database.prepare(sql).get(name, from, to) !== undefined;
  }

  /** true when a recorded act of retention removed this entry. */
  removed(place: number): boolean {
    const sql = 'SELECT 1 FROM removed WHERE first <= ? AND after > ?';
    return this.#database.prepare(sql).get(place, place) !== undefined;
  }

  close(): void {
    this.#database.close();
  }
}

/** The database as it is, or a new one where it is damaged, another's or too large. */
function openMarked(path: string, mark: string, sizeMax: number): DatabaseSync {
  let database: DatabaseSync | null = null;
  try {
    database = open(path);
    if (meta(database, 'mark') === mark && Number(meta(database, 'size')) <= sizeMax) {
      database.exec(SCHEMA);
      return database;
    }
  } catch (error) {
    // Only damage is mended by beginning anew; a full or failing disk is not.
    if (!/malformed|not a database|disk image|no such/i.test(reasonOf(error))) throw error;
  }
  database?.close();
  removeIndex(path);
  const fresh = open(path);
  fresh.exec(SCHEMA);
  setMeta(fresh, 'mark', mark);
  setMeta(fresh, 'size', 0);
  return fresh;
}

function open(path: string): DatabaseSync {
  const database = new DatabaseSync(path);
  database.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 5000; ' +
      `PRAGMA cache_size = -${INDEX_CACHE_KIB}`,
  );
  return database;
}

function meta(database: DatabaseSync, name: string): unknown {
  const known = database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'meta'").get();
  return known === undefined
    ? null
    : database.prepare('SELECT value FROM meta WHERE name = ?').get(name)?.value;
}

function setMeta(database: DatabaseSync, name: string, value: string | number): void {
  database.prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)').run(name, value);
}

/** Makes the whole index again from the log's entries; returns how many it covers. */
export function reindex(
  path: string,
  publicKey: string,
  entries: Iterable<{ index: number; entry: Logged }>,
): number {
  removeIndex(path);
  const index = new IndexFile(path, publicKey);
  try {
    index.add(entries);
    return index.size;
  } finally {
    index.close();
  }
}

export function removeIndex(path: string): void {
  for (const end of ['', '-wal', '-shm', '-journal']) rmSync(`${path}${end}`, { force: true });
}
