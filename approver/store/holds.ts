// Holds and signatures at rest. Every change of a hold's state is a compare-and-set on its version.
// Invariant: of two writers that saw the same version one wins, and the other is told.

import type { Appended, Entry } from '../../ledger/contract.ts';
import type { Choice } from '../binding.ts';
import type { HoldRequest, HoldState } from '../contract.ts';
import {
  type Db,
  integer,
  integerOrNull,
  one,
  type Row,
  strings,
  text,
  textOrNull,
  type Value,
} from './db.ts';
import { SignerStore } from './signers.ts';

export type Method = 'ed25519' | 'passkey' | 'slack';

export interface Hold {
  readonly id: string;
  readonly request: HoldRequest;
  readonly state: HoldState;
  readonly version: number;
  /** Milliseconds since 1970, as all times here. */
  readonly asked: number;
  readonly expires: number;
  readonly decided: number | null;
  readonly decided_by: string | null;
  readonly reason: string | null;
  readonly receipt: string | null;
  readonly redeemed_by: string | null;
  readonly redeemed: number | null;
  readonly outcome: string | null;
  /** The state is in the ledger; until then nobody is told of it. */
  readonly recorded: boolean;
  /** The state went out on the bus. */
  readonly published: boolean;
}

export interface Evidence {
  readonly authenticator_data: string;
  readonly client_data: string;
}

export interface Signature {
  readonly hold: string;
  readonly signer: string;
  readonly decision: Choice;
  readonly method: Method;
  readonly channel: string;
  /** JWK thumbprint of the key. */
  readonly key: string;
  readonly signature: string;
  readonly evidence: Evidence | null;
  readonly reason: string | null;
  readonly groups: readonly string[];
  readonly signed: string;
}

/** An entry about a hold and its proof, as the ledger answered. */
export interface HoldRecord {
  readonly key: string;
  readonly entry: Entry;
  readonly place: Appended;
}

/** What a change may set; the rest stays. */
export interface HoldChange {
  readonly state?: HoldState;
  readonly expires?: number;
  readonly decided?: number | null;
  readonly decided_by?: string | null;
  readonly reason?: string | null;
  readonly receipt?: string | null;
  readonly redeemed_by?: string | null;
  readonly redeemed?: number | null;
  readonly recorded?: boolean;
  readonly published?: boolean;
}

export interface HoldFilter {
  readonly states?: readonly HoldState[];
  readonly agent?: string;
  readonly target?: string;
  readonly session?: string;
  readonly class?: string;
  readonly rule?: string;
  /** Text that statement, agent, rule or id contains. */
  readonly search?: string;
  readonly from?: number;
  readonly to?: number;
  /** Newest first unless true. */
  readonly oldestFirst?: boolean;
  /** Goes on after this place: `asked` and id of the last hold seen. */
  readonly after?: { readonly asked: number; readonly id: string };
  readonly limit: number;
}

export class HoldStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  /**
   * `active`: another hold of the same binding could still run. `known`: this very request came
   * before.
   */
  async insert(
    request: HoldRequest,
    times: { readonly asked: number; readonly expires: number },
    state: 'pending' | 'expired' = 'pending',
  ): Promise<'inserted' | 'known' | 'active'> {
    const changed = await this.#db.run(
      `INSERT INTO holds (id, digest, agent, target, environment, session, class, rule, statement,
         request, state, version, asked, expires, recorded, published)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
      request.id,
      request.digest,
      request.agent.name,
      request.target.name,
      request.target.environment,
      request.session.id,
      request.class,
      request.rule,
      searchable(request.statement),
      JSON.stringify(request),
      state,
      times.asked,
      times.expires,
      state === 'pending' ? 1 : 0,
      state === 'pending' ? 1 : 0,
    );
    if (changed === 1) return 'inserted';
    return (await this.get(request.id)) ? 'known' : 'active';
  }

  async get(id: string): Promise<Hold | null> {
    const row = await one(this.#db, 'SELECT * FROM holds WHERE id = ?', id);
    return row && toHold(row);
  }

  /** The hold of this id, or the one that a second asking with this id was joined to. */
  async resolve(id: string): Promise<Hold | null> {
    const direct = await this.get(id);
    if (direct) return direct;
    const row = await one(this.#db, 'SELECT hold FROM aliases WHERE alias = ?', id);
    return row ? await this.get(text(row, 'hold')) : null;
  }

  async active(digest: string, agent: string): Promise<Hold | null> {
    const row = await one(
      this.#db,
      `SELECT * FROM holds WHERE digest = ? AND agent = ? AND state IN ('pending', 'approved')`,
      digest,
      agent,
    );
    return row && toHold(row);
  }

  /** Does this agent have that many holds waiting? */
  async pendingReach(agent: string, most: number): Promise<boolean> {
    const row = await one(
      this.#db,
      `SELECT COUNT(*) AS n FROM
         (SELECT 1 FROM holds WHERE agent = ? AND state = 'pending' LIMIT ?) AS waiting`,
      agent,
      most,
    );
    return row !== null && integer(row, 'n') >= most;
  }

  async addAlias(alias: string, hold: string): Promise<void> {
    await this.#db.run(
      'INSERT INTO aliases (alias, hold) VALUES (?, ?) ON CONFLICT DO NOTHING',
      alias,
      hold,
    );
  }

  async aliases(hold: string): Promise<readonly string[]> {
    const rows = await this.#db.all('SELECT alias FROM aliases WHERE hold = ?', hold);
    return rows.map((r) => text(r, 'alias'));
  }

  /** Compare-and-set: false when the hold has moved on from that version. */
  async change(id: string, version: number, change: HoldChange): Promise<boolean> {
    return await changeHold(this.#db, id, version, change);
  }

  /** Adds a signature and changes the hold with it, or does neither. */
  async sign(
    hold: Hold,
    signature: Signature,
    record: HoldRecord | null,
    decide: (all: readonly Signature[], people: SignerStore) => Promise<HoldChange>,
  ): Promise<'done' | 'moved' | 'already'> {
    return await this.#db.transaction(async (tx) => {
      const lock = tx.dialect === 'postgres' ? ' FOR UPDATE' : '';
      const row = await one(tx, `SELECT version FROM holds WHERE id = ?${lock}`, hold.id);
      if (!row || integer(row, 'version') !== hold.version) return 'moved';
      const s = signature;
      const added = await tx.run(
        `INSERT INTO signatures (hold, signer, decision, method, channel, key, signature, evidence,
           reason, groups, signed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
        s.hold,
        s.signer,
        s.decision,
        s.method,
        s.channel,
        s.key,
        s.signature,
        s.evidence && JSON.stringify(s.evidence),
        s.reason,
        JSON.stringify(s.groups),
        s.signed,
      );
      if (added === 0) return 'already';
      if (record) await addRecord(tx, hold.id, record);
      const all = await signaturesOf(tx, hold.id);
      if (!(await changeHold(tx, hold.id, hold.version, await decide(all, new SignerStore(tx))))) {
        throw new Error(`hold ${hold.id} changed inside its own transaction`);
      }
      return 'done';
    });
  }

  async signatures(hold: string): Promise<readonly Signature[]> {
    return await signaturesOf(this.#db, hold);
  }

  /** The state is on record now; false when the hold moved on meanwhile. */
  async setRecorded(hold: Hold, record: HoldRecord | null): Promise<boolean> {
    return await this.#db.transaction(async (tx) => {
      if (record) await addRecord(tx, hold.id, record);
      return await changeHold(tx, hold.id, hold.version, { recorded: true });
    });
  }

  /** Entries about this hold with their proofs, in the ledger's order. */
  async records(hold: string): Promise<readonly HoldRecord[]> {
    const rows = await this.#db.all('SELECT * FROM records WHERE hold = ?', hold);
    const found = rows.map((r) => ({
      key: text(r, 'entry_key'),
      entry: JSON.parse(text(r, 'entry')) as Entry,
      place: JSON.parse(text(r, 'place')) as Appended,
    }));
    return found.toSorted((a, b) => a.place.index - b.place.index);
  }

  /** What became of the redeemed operation, told once. */
  async setOutcome(id: string, outcome: string): Promise<boolean> {
    const sql = 'UPDATE holds SET outcome = ? WHERE id = ? AND outcome IS NULL';
    return (await this.#db.run(sql, outcome, id)) === 1;
  }

  async list(filter: HoldFilter): Promise<readonly Hold[]> {
    const { where, values } = conditions(filter);
    const order = filter.oldestFirst ? 'ASC' : 'DESC';
    const rows = await this.#db.all(
      `SELECT * FROM holds ${where} ORDER BY asked ${order}, id ${order} LIMIT ?`,
      ...values,
      filter.limit,
    );
    return rows.map(toHold);
  }

  async count(filter: Omit<HoldFilter, 'limit'>): Promise<number> {
    const { where, values } = conditions(filter);
    const row = await one(this.#db, `SELECT COUNT(*) AS n FROM holds ${where}`, ...values);
    return row ? integer(row, 'n') : 0;
  }

  /** Pending or approved holds whose time is over. */
  async due(now: number, limit: number): Promise<readonly Hold[]> {
    const rows = await this.#db.all(
      `SELECT * FROM holds WHERE state IN ('pending', 'approved') AND expires <= ? LIMIT ?`,
      now,
      limit,
    );
    return rows.map(toHold);
  }

  /** Holds whose state is not yet on record, or not yet told. */
  async unsettled(limit: number): Promise<readonly Hold[]> {
    const rows = await this.#db.all(
      'SELECT * FROM holds WHERE recorded = 0 OR published = 0 ORDER BY asked LIMIT ?',
      limit,
    );
    return rows.map(toHold);
  }
}

async function changeHold(db: Db, id: string, version: number, c: HoldChange): Promise<boolean> {
  const sets: string[] = ['version = version + 1'];
  const values: Value[] = [];
  for (const [column, value] of Object.entries(c)) {
    if (value === undefined) continue;
    sets.push(`${column} = ?`);
    values.push(typeof value === 'boolean' ? Number(value) : value);
  }
  const sql = `UPDATE holds SET ${sets.join(', ')} WHERE id = ? AND version = ?`;
  return (await db.run(sql, ...values, id, version)) === 1;
}

async function addRecord(db: Db, hold: string, record: HoldRecord): Promise<void> {
  await db.run(
    `INSERT INTO records (entry_key, hold, entry, place) VALUES (?, ?, ?, ?)
     ON CONFLICT DO NOTHING`,
    record.key,
    hold,
    JSON.stringify(record.entry),
    JSON.stringify(record.place),
  );
}

async function signaturesOf(db: Db, hold: string): Promise<readonly Signature[]> {
  const rows = await db.all('SELECT * FROM signatures WHERE hold = ? ORDER BY signed', hold);
  return rows.map(toSignature);
}

function conditions(f: Omit<HoldFilter, 'limit'>): { where: string; values: Value[] } {
  const parts: string[] = [];
  const values: Value[] = [];
  const add = (sql: string, ...v: readonly Value[]) => {
    parts.push(sql);
    values.push(...v);
  };
  if (f.states?.length) add(`state IN (${f.states.map(() => '?').join(', ')})`, ...f.states);
  if (f.agent !== undefined) add('agent = ?', f.agent);
  if (f.target !== undefined) add('target = ?', f.target);
  if (f.session !== undefined) add('session = ?', f.session);
  if (f.class !== undefined) add('class = ?', f.class);
  if (f.rule !== undefined) add('rule = ?', f.rule);
  if (f.from !== undefined) add('asked >= ?', f.from);
  if (f.to !== undefined) add('asked < ?', f.to);
  if (f.search) {
    const like = `%${searchable(f.search).replaceAll(/[\\%_]/g, (c) => `\\${c}`)}%`;
    const any = ['statement', 'agent', 'target', 'rule', 'id'];
    add(
      `(${any.map((c) => `LOWER(${c}) LIKE ? ESCAPE '\\'`).join(' OR ')})`,
      ...any.map(() => like),
    );
  }
  if (f.after) {
    const sign = f.oldestFirst ? '>' : '<';
    const { asked, id } = f.after;
    add(`(asked ${sign} ? OR (asked = ? AND id ${sign} ?))`, asked, asked, id);
  }
  return { where: parts.length > 0 ? `WHERE ${parts.join(' AND ')}` : '', values };
}

/** PostgreSQL's text holds no NUL; the exact bytes are in the request. */
function searchable(statement: string): string {
  return statement.replaceAll('\0', '\ufffd').toLowerCase();
}

function toHold(row: Row): Hold {
  return {
    id: text(row, 'id'),
    request: JSON.parse(text(row, 'request')) as HoldRequest,
    state: text(row, 'state') as HoldState,
    version: integer(row, 'version'),
    asked: integer(row, 'asked'),
    expires: integer(row, 'expires'),
    decided: integerOrNull(row, 'decided'),
    decided_by: textOrNull(row, 'decided_by'),
    reason: textOrNull(row, 'reason'),
    receipt: textOrNull(row, 'receipt'),
    redeemed_by: textOrNull(row, 'redeemed_by'),
    redeemed: integerOrNull(row, 'redeemed'),
    outcome: textOrNull(row, 'outcome'),
    recorded: integer(row, 'recorded') === 1,
    published: integer(row, 'published') === 1,
  };
}

function toSignature(row: Row): Signature {
  const evidence = textOrNull(row, 'evidence');
  return {
    hold: text(row, 'hold'),
    signer: text(row, 'signer'),
    decision: text(row, 'decision') as Choice,
    method: text(row, 'method') as Method,
    channel: text(row, 'channel'),
    key: text(row, 'key'),
    signature: text(row, 'signature'),
    evidence: evidence === null ? null : (JSON.parse(evidence) as Evidence),
    reason: textOrNull(row, 'reason'),
    groups: strings(row, 'groups'),
    signed: text(row, 'signed'),
  };
}
