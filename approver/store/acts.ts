// Acts of the command line that wait for the approver: it puts each on record, then does it.
// Invariant: an act waits with all that it needs and no secret, and counts for nothing until it is
// done.
import { randomUUID } from 'node:crypto';
import { type Db, integer, one, type Row, text, textOrNull } from './db.ts';
import type { Role, SignerKey } from './signers.ts';

export type Act =
  | {
      readonly kind: 'signer added';
      readonly name: string;
      readonly groups: readonly string[];
      readonly roles: readonly Role[];
      readonly identities: readonly string[];
      readonly key: Pick<SignerKey, 'thumbprint' | 'jwk' | 'label'> | null;
    }
  | { readonly kind: 'key revoked'; readonly thumbprint: string }
  | { readonly kind: 'account linked'; readonly name: string; readonly account: string }
  | { readonly kind: 'account unlinked'; readonly name: string; readonly account: string }
  | {
      readonly kind: 'signer invited';
      readonly name: string;
      /** Of the invitation; the link itself is with whoever asked. */
      readonly hash: string;
      readonly expires: number;
    };

export interface WaitingAct {
  readonly id: string;
  readonly act: Act;
  readonly who: string;
  readonly created: number;
  /** Why it can't be done; null while it waits. */
  readonly fault: string | null;
}

export class ActStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  async add(act: Act, who: string, now: number): Promise<string> {
    const id = randomUUID();
    const sql = 'INSERT INTO acts (id, act, who, created) VALUES (?, ?, ?, ?)';
    await this.#db.run(sql, id, JSON.stringify(act), who, now);
    return id;
  }

  async get(id: string): Promise<WaitingAct | null> {
    const row = await one(this.#db, 'SELECT * FROM acts WHERE id = ?', id);
    return row && toAct(row);
  }

  /** Those that can still be done, in the order they were asked for. */
  async waiting(limit: number): Promise<readonly WaitingAct[]> {
    const sql = 'SELECT * FROM acts WHERE fault IS NULL ORDER BY created, id LIMIT ?';
    return (await this.#db.all(sql, limit)).map(toAct);
  }

  async fail(id: string, fault: string): Promise<void> {
    await this.#db.run('UPDATE acts SET fault = ? WHERE id = ?', fault, id);
  }

  async remove(id: string): Promise<void> {
    await this.#db.run('DELETE FROM acts WHERE id = ?', id);
  }

  /** Faults that nobody has asked about. */
  async forget(before: number): Promise<void> {
    const sql = 'DELETE FROM acts WHERE fault IS NOT NULL AND created < ?';
    await this.#db.run(sql, before);
  }
}

function toAct(row: Row): WaitingAct {
  return {
    id: text(row, 'id'),
    act: JSON.parse(text(row, 'act')) as Act,
    who: text(row, 'who'),
    created: integer(row, 'created'),
    fault: textOrNull(row, 'fault'),
  };
}
