// Answers to calls that may be sent again: kept for a day under the caller's own key.
// Invariant: of two calls with one key, one is done; the other gets its answer or is told to wait.
import { type Db, integer, integerOrNull, one, text, textOrNull } from './db.ts';

export interface KeptAnswer {
  readonly status: number;
  /** Sealed; null: it was too large to be kept. */
  readonly body: string | null;
}

export type Begun =
  | { readonly kind: 'mine' }
  /** The same key came with another request. */
  | { readonly kind: 'other' }
  /** The first is still under way. */
  | { readonly kind: 'busy' }
  | ({ readonly kind: 'done' } & KeptAnswer);

export class AnswerStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  /** `until`: the end of the key's life; `lease`: how long the one that begins may take. */
  async begin(
    key: string,
    request: string,
    times: { readonly now: number; readonly lease: number; readonly until: number },
  ): Promise<Begun> {
    const { now, lease, until } = times;
    const sql = `INSERT INTO answers (key, request, taken, expires) VALUES (?, ?, ?, ?)
      ON CONFLICT (key) DO UPDATE SET request = excluded.request, taken = excluded.taken,
        status = NULL, body = NULL, expires = excluded.expires
      WHERE answers.expires <= excluded.taken OR (answers.status IS NULL
        AND answers.request = excluded.request AND answers.taken <= ?)`;
    const mine = await this.#db.run(sql, key, request, now, until, now - lease);
    if (mine === 1) return { kind: 'mine' };
    const row = await one(this.#db, 'SELECT * FROM answers WHERE key = ?', key);
    if (!row) return { kind: 'busy' };
    if (text(row, 'request') !== request) return { kind: 'other' };
    const status = integerOrNull(row, 'status');
    if (status === null) return { kind: 'busy' };
    return { kind: 'done', status: integer(row, 'status'), body: textOrNull(row, 'body') };
  }

  async keep(key: string, answer: KeptAnswer): Promise<void> {
    const sql = 'UPDATE answers SET status = ?, body = ? WHERE key = ?';
    await this.#db.run(sql, answer.status, answer.body, key);
  }

  /** It was not done: the same key may be used again. */
  async drop(key: string): Promise<void> {
    await this.#db.run('DELETE FROM answers WHERE key = ? AND status IS NULL', key);
  }

  async forget(now: number): Promise<void> {
    await this.#db.run('DELETE FROM answers WHERE expires <= ?', now);
  }
}
