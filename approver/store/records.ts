// Entries about holds, written down with the change they tell of, and the ledger's answers to them.
// Invariant: an entry is kept before the ledger is asked, so that whoever finds it after a crash
// gives the ledger the very same one; `place` is '' until it has answered.
import type { Appended, HoldEntry, SignatureEntry } from '../../ledger/contract.ts';
import { type Db, type Row, text } from './db.ts';

/** An entry about a hold, as it is or will be in the ledger; kept with the change it tells of. */
export interface Due {
  readonly key: string;
  readonly entry: HoldEntry | SignatureEntry;
}

/** Such an entry and its proof, as the ledger answered. */
export interface HoldRecord extends Due {
  readonly place: Appended;
}

/** In the order in which they were made: by the version that they followed. */
export async function addDue(
  db: Db,
  hold: string,
  version: number,
  entries: readonly Due[],
): Promise<void> {
  for (const [i, { key, entry }] of entries.entries()) {
    await db.run(
      `INSERT INTO records (entry_key, hold, entry, place, turn) VALUES (?, ?, ?, '', ?)
       ON CONFLICT DO NOTHING`,
      key,
      hold,
      JSON.stringify(entry),
      version * 10 + i,
    );
  }
}

export async function dropDue(db: Db, { key }: Due): Promise<void> {
  await db.run(`DELETE FROM records WHERE entry_key = ? AND place = ''`, key);
}

export async function dueOf(db: Db, hold: string): Promise<readonly Due[]> {
  const sql = `SELECT * FROM records WHERE hold = ? AND place = '' ORDER BY turn`;
  return (await db.all(sql, hold)).map(toDue);
}

export async function setPlaces(db: Db, records: readonly HoldRecord[]): Promise<void> {
  for (const { key, place } of records) {
    const sql = 'UPDATE records SET place = ? WHERE entry_key = ?';
    await db.run(sql, JSON.stringify(place), key);
  }
}

/** In the ledger's order. */
export async function recordsOf(db: Db, hold: string): Promise<readonly HoldRecord[]> {
  const rows = await db.all(`SELECT * FROM records WHERE hold = ? AND place <> ''`, hold);
  const found = rows.map((r) => ({
    ...toDue(r),
    place: JSON.parse(text(r, 'place')) as Appended,
  }));
  return found.toSorted((a, b) => a.place.index - b.place.index);
}

function toDue(row: Row): Due {
  return { key: text(row, 'entry_key'), entry: JSON.parse(text(row, 'entry')) as Due['entry'] };
}
