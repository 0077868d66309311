// Holds and signatures at rest. Every change of a hold's state is a compare-and-set on its version.
// Invariant: of two writers that saw the same version one wins, and the other is told.

import type { Choice } from '../binding.ts';
import type { HoldRequest, HoldState } from '../contract.ts';
import type { Evidence } from '../sign.ts';
import {
  type Committed,
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
import { conditions, type HoldFilter, searchable } from './filter.ts';
import {
  addDue,
  type Due,
  dropDue,
  dueOf,
  type HoldRecord,
  recordsOf,
  setPlaces,
} from './records.ts';
import { SignerStore } from './signers.ts';

export type Method = 'ed25519' | 'passkey' | 'attested';

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
  /** Its signatures and its state are in the ledger; until then nobody is told of the state. */
  readonly recorded: boolean;
  /** All of that went out: on the bus, to pages, to webhooks. */
  readonly published: boolean;
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

/** What a signature does: the hold's change, and the entries that tell of both. */
export interface Consequence {
  readonly change: HoldChange;
  readonly entries: readonly Due[];
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
}

export class HoldStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  /**
   * `active`: another hold of the same binding could still run. `known`: this very request came
   * before. `late`: it came after its time, and this entry says so.
   */
  async insert(
    request: HoldRequest,
    times: { readonly asked: number; readonly expires: number },
    late: Due | null = null,
  ): Promise<'inserted' | 'known' | 'active'> {
    const changed = await this.#db.transaction(async (tx) => {
      const added = await insertHold(tx, request, times, late === null ? 'pending' : 'expired');
      if (added === 1 && late !== null) await addDue(tx, request.id, 1, [late]);
      return added;
    });
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

  /**
   * Compare-and-set: false when the hold has moved on from that version. The entries that tell of
   * the change are kept with it, and are the ledger's to take.
   */
  async change(
    id: string,
    version: number,
    change: HoldChange,
    entries: readonly Due[] = [],
  ): Promise<Committed<boolean>> {
    return await this.#db.commit(async (tx) => {
      if (!(await changeHold(tx, id, version, change, entries.length > 0))) return false;
      await addDue(tx, id, version, entries);
      return true;
    });
  }

  /** Takes a change back whose entry the ledger did not take. */
  async takeBack(hold: Hold, change: HoldChange, entry: Due): Promise<void> {
    await this.#db.transaction(async (tx) => {
      if (!(await changeHold(tx, hold.id, hold.version, change, false))) return;
      await dropDue(tx, entry);
      await tx.run('UPDATE holds SET recorded = 1, published = 1 WHERE id = ?', hold.id);
    });
  }

  /** Adds a signature and changes the hold with it, or does neither. */
  async sign(
    hold: Hold,
    signature: Signature,
    decide: (all: readonly Signature[], people: SignerStore) => Promise<Consequence>,
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
      const all = await signaturesOf(tx, hold.id);
      const { change, entries } = await decide(all, new SignerStore(tx));
      await addDue(tx, hold.id, hold.version, entries);
      if (!(await changeHold(tx, hold.id, hold.version, change, true))) {
        throw new Error(`hold ${hold.id} changed inside its own transaction`);
      }
      return 'done';
    });
  }

  async signatures(hold: string): Promise<readonly Signature[]> {
    return await signaturesOf(this.#db, hold);
  }

  /** Entries about this hold that the ledger has not answered yet, in order. */
  async due(hold: string): Promise<readonly Due[]> {
    return await dueOf(this.#db, hold);
  }

  /**
   * The ledger has these. A crash of the machine may undo the mark: then they are given to the
   * ledger again, which knows them by their keys.
   */
  async setRecorded(hold: Hold, records: readonly HoldRecord[]): Promise<void> {
    await this.#db.commit(async (tx) => {
      await setPlaces(tx, records);
      const sql = 'UPDATE holds SET recorded = 1 WHERE id = ? AND version = ?';
      await tx.run(sql, hold.id, hold.version);
    });
  }

  /** All who should know have been told; a crash of the machine may make them hear it twice. */
  async setPublished(hold: Hold): Promise<void> {
    const sql = 'UPDATE holds SET published = 1 WHERE id = ? AND version = ?';
    await this.#db.commit((tx) => tx.run(sql, hold.id, hold.version));
  }

  /** Entries about this hold with their proofs, in the ledger's order. */
  async records(hold: string): Promise<readonly HoldRecord[]> {
    return await recordsOf(this.#db, hold);
  }

  /** What became of the redeemed operation; false when something else is known of it. */
  async setOutcome(id: string, outcome: string): Promise<boolean> {
    const sql = 'UPDATE holds SET outcome = ? WHERE id = ? AND (outcome IS NULL OR outcome = ?)';
    return (await this.#db.run(sql, outcome, id, outcome)) === 1;
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
  async overdue(now: number, limit: number): Promise<readonly Hold[]> {
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

async function insertHold(
  db: Db,
  request: HoldRequest,
  times: { readonly asked: number; readonly expires: number },
  state: 'pending' | 'expired',
): Promise<number> {
  const settled = state === 'pending' ? 1 : 0;
  return await db.run(
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
    settled,
    settled,
  );
}

/** `told`: there is something to record and to tell again. */
async function changeHold(
  db: Db,
  id: string,
  version: number,
  change: HoldChange,
  told: boolean,
): Promise<boolean> {
  const sets: string[] = ['version = version + 1'];
  if (told) sets.push('recorded = 0', 'published = 0');
  const values: Value[] = [];
  for (const [column, value] of Object.entries(change)) {
    if (value === undefined) continue;
    sets.push(`${column} = ?`);
    values.push(value);
  }
  const sql = `UPDATE holds SET ${sets.join(', ')} WHERE id = ? AND version = ?`;
  return (await db.run(sql, ...values, id, version)) === 1;
}

async function signaturesOf(db: Db, hold: string): Promise<readonly Signature[]> {
  const rows = await db.all('SELECT * FROM signatures WHERE hold = ? ORDER BY signed', hold);
  return rows.map(toSignature);
}

export function toHold(row: Row): Hold {
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
