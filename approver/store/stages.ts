// The stages that a waiting hold has come to: near its escalation, near its end.
// Invariant: a stage of a hold is reached once, whichever replica sees it first.
import type { Db } from './db.ts';
import { type Hold, toHold } from './holds.ts';

export class StageStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  /** false when it was reached before. */
  async reach(hold: string, stage: string): Promise<boolean> {
    const sql = 'INSERT INTO stages (hold, stage) VALUES (?, ?) ON CONFLICT DO NOTHING';
    return (await this.#db.run(sql, hold, stage)) === 1;
  }

  /** Pending holds that end within `lead`, and of whose time less than half is left. */
  async ending(stage: string, now: number, lead: number, limit: number): Promise<readonly Hold[]> {
    const rows = await this.#db.all(
      `SELECT * FROM holds WHERE state = 'pending' AND expires > ? AND expires <= ?
         AND 2 * (expires - ?) <= expires - asked
         AND NOT EXISTS (SELECT 1 FROM stages WHERE hold = holds.id AND stage = ?)
       ORDER BY expires LIMIT ?`,
      now,
      now + lead,
      now,
      stage,
      limit,
    );
    return rows.map(toHold);
  }

  /** Pending holds that were asked for by then. */
  async askedBy(stage: string, by: number, limit: number): Promise<readonly Hold[]> {
    const rows = await this.#db.all(
      `SELECT * FROM holds WHERE state = 'pending' AND asked <= ?
         AND NOT EXISTS (SELECT 1 FROM stages WHERE hold = holds.id AND stage = ?)
       ORDER BY asked LIMIT ?`,
      by,
      stage,
      limit,
    );
    return rows.map(toHold);
  }
}
