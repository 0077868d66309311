// The little of SQL that the stores need, so that SQLite and PostgreSQL run the very same
// statements.
// Invariant: `?` marks a parameter; a transaction sees nobody else's half-done work and leaves
// none.

export type Value = string | number | null;
export type Row = { readonly [column: string]: unknown };

export interface Db {
  readonly dialect: 'sqlite' | 'postgres';
  all(sql: string, ...values: readonly Value[]): Promise<readonly Row[]>;
  /** Rows changed; resolves once the change is on disk. */
  run(sql: string, ...values: readonly Value[]): Promise<number>;
  /** Resolves once it is on disk. */
  transaction<T>(work: (db: Db) => Promise<T>): Promise<T>;
  /**
   * Resolves once everybody sees it, a moment before it is on disk: for work that goes on beside
   * the disk, and for marks that may be made again after a crash of the machine.
   */
  commit<T>(work: (db: Db) => Promise<T>): Promise<Committed<T>>;
  close(): Promise<void>;
}

export interface Committed<T> {
  readonly result: T;
  /** Rejects when the disk did not take it. */
  readonly durable: Promise<void>;
}

export async function one(db: Db, sql: string, ...values: readonly Value[]): Promise<Row | null> {
  return (await db.all(sql, ...values))[0] ?? null;
}

export function text(row: Row, column: string): string {
  const value = row[column];
  if (typeof value === 'string') return value;
  throw new Error(`the store's column ${column} is not text`);
}

export function textOrNull(row: Row, column: string): string | null {
  const value = row[column];
  return typeof value === 'string' ? value : null;
}

export function integer(row: Row, column: string): number {
  const value = row[column];
  if (typeof value === 'number') return value;
  if (typeof value === 'bigint') return Number(value);
  if (typeof value === 'string' && /^-?\d+$/.test(value)) return Number(value);
  throw new Error(`the store's column ${column} is not an integer`);
}

export function integerOrNull(row: Row, column: string): number | null {
  return row[column] === null || row[column] === undefined ? null : integer(row, column);
}

export function strings(row: Row, column: string): readonly string[] {
  const value: unknown = JSON.parse(text(row, column));
  if (Array.isArray(value) && value.every((v) => typeof v === 'string')) return value;
  throw new Error(`the store's column ${column} is not a list of strings`);
}
