// One session of the regression run: judges each statement as the proxy would, then runs it.
// Invariant: the judgement is made before the statement runs, by the catalog and the settings as
// they are then; settings are believed only from the server.
import pg from 'pg';
import type { Effect } from '../../../proxy/effect/effect.ts';
import type { CatalogReader } from '../../../proxy/postgres/catalog.ts';
import { analyze, applyChange, initialContext } from '../../../proxy/postgres/effect/analyze.ts';
import { splitNames, withReading } from '../../../proxy/postgres/effect/context.ts';
import { READ_SETTINGS, SHOW_ROLE, SHOW_SEARCH_PATH } from '../../../proxy/postgres/state.ts';
import type { Parsed, SessionContext } from '../../../proxy/postgres/statement.ts';
import {
  type Counted,
  type Counters,
  type Counts,
  countedBetween,
  FLUSH_COUNTERS,
  IN_TRANSACTION,
  type Reading,
} from './counters.ts';

type Status = 'I' | 'T' | 'E';

/** Values as text, as psql has them. */
const AS_TEXT = { getTypeParser: () => (value: string) => value };

/** pg's own query, with an answer to COPY FROM STDIN. */
class Sent extends pg.Query {
  readonly #data: () => string;

  constructor(text: string, data: () => string) {
    super({ text, types: AS_TEXT, rowMode: 'array' } as unknown as pg.QueryConfig);
    this.#data = data;
  }

  handleCopyInResponse(connection: {
    sendCopyFromChunk(chunk: Buffer): void;
    endCopyFrom(): void;
  }): void {
    connection.sendCopyFromChunk(Buffer.from(this.#data()));
    connection.endCopyFrom();
  }
}

export interface Ran {
  readonly text: string;
  readonly parsed: Parsed;
  readonly error: string | null;
  readonly code: string | null;
  /** What it did, and all effects that may account for it. */
  readonly counts: Counts;
  readonly effects: readonly Effect[];
  readonly rows: readonly (readonly (string | null)[])[];
  readonly columns: readonly string[];
}

const NOTHING: Counts = { tables: [], catalogs: [], sequences: [], lasting: false };

export class Session {
  readonly #reader: CatalogReader;
  readonly #counters: Counters;
  readonly #client: pg.Client;
  #context: SessionContext;
  #status: Status = 'I';
  #reading: Reading | null = null;
  /** Effects of the open transaction so far. */
  #open: Effect[] = [];
  /** The session's own counters when the last statement of the open transaction ended. */
  #within = new Map<string, Counted>();
  #stale = false;
  /** An error has come between: the transaction's counters could not be read after it. */
  #blind = false;
  standardStrings = true;
  #encoding = 'UTF8';
  /** The server has ended it. */
  lost = false;

  private constructor(client: pg.Client, user: string, reader: CatalogReader, counters: Counters) {
    this.#client = client;
    this.#reader = reader;
    this.#counters = counters;
    this.#context = initialContext({ user });
    const { connection } = client as unknown as { connection: NodeJS.EventEmitter };
    connection.on('readyForQuery', ({ status }: { status: Status }) => {
      this.#status = status;
    });
    client.on('end', () => {
      this.#status = 'E';
      this.lost = true;
    });
    connection.on('parameterStatus', (message: { parameterName: string; parameterValue: string }) =>
      this.#parameter(message.parameterName, message.parameterValue),
    );
  }

  static async open(
    config: pg.ClientConfig,
    reader: CatalogReader,
    counters: Counters,
  ): Promise<Session> {
    const client = new pg.Client(config);
    client.on('error', () => undefined);
    const session = new Session(client, config.user ?? '', reader, counters);
    await client.connect();
    session.#reading = await counters.read();
    await session.#settings();
    return session;
  }

  async close(): Promise<void> {
    await this.#client.end().catch(() => undefined);
  }

  #parameter(name: string, value: string): void {
    const on = value === 'on';
    if (name === 'standard_conforming_strings') this.standardStrings = on;
    else if (name === 'client_encoding') this.#encoding = value;
    else if (name === 'session_authorization') this.#context = { ...this.#context, user: value };
  }

  async #own(text: string): Promise<(string | null)[]> {
    try {
      const query = { text, rowMode: 'array' as const, types: AS_TEXT };
      const { rows } = await this.#client.query(query as unknown as pg.QueryArrayConfig);
      return (rows[0] ?? []) as (string | null)[];
    } catch {
      return [];
    }
  }

  /** Reads back what text means, as the proxy does. */
  async #settings(): Promise<void> {
    if (this.#status === 'E') {
      this.#context = { ...this.#context, search_path: null };
      return;
    }
    const idle = this.#status === 'I';
    const [path, role, temporary] = idle
      ? await this.#own(READ_SETTINGS)
      : [...(await this.#own(SHOW_SEARCH_PATH)), ...(await this.#own(SHOW_ROLE))];
    this.#context = {
      ...this.#context,
      search_path: path == null ? null : splitNames(path),
      role: role == null || role === 'none' ? null : role,
      ...(idle
        ? { temporary: new Set(temporary ? temporary.split('\x1f') : []), revertible: false }
        : {}),
    };
  }

  /** Judges a statement, runs it, and tells what it did. */
  async run(text: string, data: () => string): Promise<Ran> {
    if (this.#stale) await this.#reader.probe();
    this.#stale = false;
    this.#context = withReading(this.#context, this.standardStrings, this.#encoding);
    const parsed = analyze(text, this.#context, this.#reader.current());
    const answer = await this.#send(text, data);
    this.#open.push(...parsed.effects);
    this.#changed(parsed, answer.error !== null, answer.tag);
    const { counts, effects } = await this.#count(parsed);
    return { text, parsed, counts, effects, ...answer };
  }

  async #send(
    text: string,
    data: () => string,
  ): Promise<Pick<Ran, 'error' | 'code' | 'rows' | 'columns'> & { tag: string }> {
    return await new Promise((resolve) => {
      const query = new Sent(text, data);
      const none = { rows: [], columns: [], tag: '' };
      const { connection } = this.#client as unknown as { connection: NodeJS.EventEmitter };
      query.on('error', (error: Error & { code?: string }) => {
        const answer = { ...none, error: error.message, code: error.code ?? null };
        // An error is told before ReadyForQuery; a connection that is lost has none.
        const settled = () => {
          connection.off('readyForQuery', settled);
          connection.off('end', settled);
          resolve(answer);
        };
        connection.on('readyForQuery', settled);
        connection.on('end', settled);
      });
      query.on('end', (result: pg.QueryArrayResult | pg.QueryArrayResult[]) => {
        const last = Array.isArray(result) ? result.at(-1) : result;
        resolve({
          error: null,
          code: null,
          rows: (last?.rows ?? []) as (string | null)[][],
          columns: (last?.fields ?? []).map((field) => field.name),
          tag: last?.command ?? '',
        });
      });
      this.#client.query(query);
    });
  }

  #changed(parsed: Parsed, failed: boolean, tag: string): void {
    if (!failed) {
      for (const change of parsed.statements.flatMap((statement) => statement.changes)) {
        const rolledBack = change.kind === 'commit' && tag === 'ROLLBACK';
        const real = rolledBack ? ({ ...change, kind: 'rollback' } as const) : change;
        this.#context = applyChange(this.#context, real);
      }
    }
  }

  async #count(parsed: Parsed): Promise<{ counts: Counts; effects: readonly Effect[] }> {
    if (this.#status === 'E') {
      await this.#settings();
      this.#blind = true;
      return { counts: NOTHING, effects: parsed.effects };
    }
    const first = parsed.statements[0]?.node ?? '';
    if (this.#status === 'T') {
      if (/^(Transaction|VariableSet|VariableShow|Constraints)/.test(first) || first === '')
        return { counts: NOTHING, effects: parsed.effects };
      await this.#settings();
      const counts = await this.#countWithin();
      // What was tried before the error shows only now.
      const seen = !this.#blind;
      this.#blind = false;
      return { counts: seen ? counts : NOTHING, effects: parsed.effects };
    }
    await this.#own(FLUSH_COUNTERS);
    if (this.#context.local.size > 0)
      this.#context = applyChange(this.#context, {
        kind: 'commit',
        chain: false,
        catalog_version: this.#reader.current()?.version ?? 0,
      });
    await this.#settings();
    const before = this.#reading;
    const after = await this.#counters.read();
    const counts = before === null ? NOTHING : countedBetween(before, after);
    const effects = this.#open;
    this.#reading = after;
    this.#open = [];
    this.#within = new Map();
    this.#blind = false;
    this.#stale = counts.catalogs.length > 0;
    return { counts, effects };
  }

  async #countWithin(): Promise<Counts> {
    const tables: Counted[] = [];
    const catalogs: string[] = [];
    let rows: { [column: string]: unknown }[] = [];
    try {
      rows = (await this.#client.query<{ [column: string]: unknown }>(IN_TRANSACTION)).rows;
    } catch {
      return NOTHING;
    }
    for (const row of rows) {
      const oid = String(row.oid);
      const counted = { ...row, emptied: false, fresh: !this.#reading?.tables.has(oid) };
      const now = counted as unknown as Counted;
      const then = this.#within.get(oid);
      this.#within.set(oid, now);
      const more = {
        ...now,
        inserted: now.inserted - (then?.inserted ?? 0),
        updated: now.updated - (then?.updated ?? 0),
        deleted: now.deleted - (then?.deleted ?? 0),
      };
      if (more.inserted + more.updated + more.deleted <= 0) continue;
      if (row.system === true) catalogs.push(now.name);
      else tables.push(more);
    }
    return { tables, catalogs, sequences: [], lasting: false };
  }
}
