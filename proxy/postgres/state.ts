// What a session means right now: settings that change what text says, names, the open transaction.
// Invariant: settings are the server's own answers; after anything that may have changed them they
// are read again before the next statement is judged.
import type { SessionView } from '../operation.ts';
import { applyChange, splitNames, withReading } from './effect/context.ts';
import { Guard } from './guard.ts';
import { Names, type Portal, type Prepared } from './names.ts';
import type { Asker } from './operation.ts';
import type { Run } from './owed-reply.ts';
import type { TransactionStatus } from './server-message.ts';
import type { SessionChange, SessionContext } from './statement.ts';

/** Kinds of changes after which the settings have to be asked for again. */
const UNSETTLES: { readonly [K in SessionChange['kind']]: boolean } = {
  set: true,
  reset: true,
  'reset-all': true,
  begin: false,
  commit: false,
  rollback: false,
  savepoint: false,
  release: false,
  'rollback-to': true,
  prepare: false,
  deallocate: false,
  declare: false,
  close: false,
  temporary: true,
  object: false,
  discard: true,
  unsettled: true,
};

const SEPARATOR = '\x1f';

/**
 * search_path, role and the session's own temporary relations; every name qualified, so that
 * nothing can shadow it.
 */
export const READ_SETTINGS = [
  "SELECT pg_catalog.current_setting('search_path'), pg_catalog.current_setting('role'),",
  "(SELECT pg_catalog.string_agg(relname::pg_catalog.text, E'\\x1f')",
  'FROM pg_catalog.pg_class',
  'WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())',
].join(' ');

/** The same inside a transaction, without a snapshot: SET TRANSACTION may still follow. */
export const SHOW_SEARCH_PATH = 'SHOW search_path';
export const SHOW_ROLE = 'SHOW role';

export class State {
  readonly statements = new Names<Prepared>();
  readonly portals = new Names<Portal>();
  readonly guard = new Guard();
  readonly asker: Asker;
  status: TransactionStatus = 'I';
  context: SessionContext;
  /** Goes up with every change of what text or policy input means. */
  stamp = 1;
  /** The settings may have changed since they were read. */
  dirty = true;
  /**
   * Something since the last end of a transaction may have changed settings: that end may take it
   * back.
   */
  #unsettledInTransaction = false;
  /** How text is read, as the server last told it. */
  #strings: boolean | null;
  #encoding: string | null;
  /** An operation failed since the last ReadyForQuery. */
  #failed = false;

  constructor(asker: Asker, context: SessionContext) {
    this.asker = asker;
    this.context = context;
    this.#strings = context.standard_conforming_strings;
    this.#encoding = context.client_encoding;
  }

  /** An operation ended: what it changed in the session counts from now on. */
  apply(run: Run): void {
    const before = this.context;
    const failed = run.failure !== null;
    if (failed) this.#failed = true;
    // COMMIT of a failed transaction is answered ROLLBACK.
    const rolledBack = run.tag?.endsWith('ROLLBACK') === true;
    let unsettles = run.operation?.analysis.class === 'unknown';
    run.changes.forEach((changes, index) => {
      for (const change of changes) {
        if (UNSETTLES[change.kind]) unsettles = true;
        if (failed && change.kind === 'temporary') this.#temporaryUnknown();
        if (index >= run.completed) continue;
        this.#applyOne(
          change.kind === 'commit' && rolledBack ? { ...change, kind: 'rollback' } : change,
        );
      }
    });
    this.asker.history.ran(run);
    if (this.context !== before) this.stamp++;
    if (endsTransaction(run)) this.#transactionEnded();
    if (!unsettles) return;
    if (run.operation?.analysis.class === 'unknown' && this.asker.target.enforce)
      this.#forgetNames();
    this.dirty = true;
    this.#unsettledInTransaction = true;
    this.guard.unsettle();
  }

  /**
   * What was not understood may have renamed anything: nothing that was prepared before is believed
   * any more.
   */
  #forgetNames(): void {
    this.statements.clear();
    this.context = { ...this.context, prepared: new Map(), cursors: new Map() };
    this.#temporaryUnknown();
  }

  /**
   * Parse and Close of the protocol share their names with PREPARE: what EXECUTE would run is not
   * known any more.
   */
  renamed(name: string, text: string): void {
    if (name !== '') this.asker.history.parsed(protocolText(name), text);
    if (this.context.prepared.size === 0) return;
    this.context = applyChange(this.context, { kind: 'deallocate', name: protocolText(name) });
    this.stamp++;
  }

  #applyOne(change: SessionChange): void {
    this.context = applyChange(this.context, change);
    switch (change.kind) {
      case 'set':
        return this.#set(change.name, change.value);
      case 'deallocate':
        if (change.name === null) this.statements.clear();
        else this.statements.forget(protocolName(change.name));
        return;
      case 'declare':
        this.portals.forget(protocolName(change.name));
        return;
      case 'discard':
        if (change.what === 'all') {
          this.statements.clear();
          this.portals.clear();
        }
        return;
      case 'rollback-to':
        return this.#temporaryUnknown();
      default:
    }
  }

  #set(name: string, value: string | null): void {
    if (name === 'default_transaction_read_only') {
      this.guard.agentAsked(value !== null && /^(on|true|yes|1|t|y)$/i.test(value));
    }
    const field = STATED[name];
    if (field === undefined) return;
    const { session } = this.asker;
    this.asker.session = { ...session, stated: { ...session.stated, [field]: value } };
  }

  #temporaryUnknown(): void {
    if (this.context.temporary.has('*')) return;
    this.context = { ...this.context, temporary: new Set([...this.context.temporary, '*']) };
    this.stamp++;
  }

  /** The row of READ_SETTINGS. */
  settingsRead(columns: readonly (string | null)[]): void {
    const temporary = columns[2];
    this.#settings(columns[0] ?? null, columns[1] ?? null, {
      temporary: new Set(temporary ? temporary.split(SEPARATOR) : []),
      revertible: false,
    });
  }

  searchPathRead(columns: readonly (string | null)[]): void {
    this.#settings(columns[0] ?? null, this.context.role, {});
  }

  roleRead(columns: readonly (string | null)[]): void {
    this.#settings(this.asker.session.settings.search_path ?? null, columns[0] ?? null, {});
  }

  #settings(searchPath: string | null, role: string | null, more: Partial<SessionContext>): void {
    this.context = {
      ...this.context,
      ...more,
      search_path: searchPath === null ? null : splitNames(searchPath),
      // The server's word for a session that acts as the user it logged in as.
      role: role === 'none' ? null : role,
    };
    this.#view({ search_path: searchPath ?? '', role: role ?? '' });
  }

  /**
   * In a failed transaction nothing can be asked: unqualified names mean nothing until it has
   * ended.
   */
  settingsUnknown(): void {
    this.context = { ...this.context, search_path: null };
    this.stamp++;
  }

  /** ParameterStatus: the server's own word, always current. */
  parameter(name: string, value: string): void {
    if (name === 'standard_conforming_strings') this.#strings = value === 'on';
    else if (name === 'client_encoding') this.#encoding = value;
    else if (name === 'session_authorization') {
      this.dirty = true;
      this.context = { ...this.context, user: value };
    }
    this.context = withReading(this.context, this.#strings, this.#encoding);
    if (MEANINGFUL.has(name)) this.#view({ [name]: value });
  }

  #view(settings: SessionView['settings']): void {
    const { session } = this.asker;
    this.asker.session = { ...session, settings: { ...session.settings, ...settings } };
    this.stamp++;
  }

  /**
   * The open transaction, or one whose end is not known yet, set something that its end may take
   * back.
   */
  get provisional(): boolean {
    return this.#unsettledInTransaction;
  }

  /** SET LOCAL, and what a rolled back transaction had set or made, is gone. */
  #transactionEnded(): void {
    if (this.#unsettledInTransaction) {
      this.guard.unsettle();
      this.asker.history.transactionEnded();
    }
    if (this.#unsettledInTransaction || this.context.temporary.size > 0) this.dirty = true;
  }

  /** The catalog has been read since: it shows what was committed. */
  catalogRead(): void {
    const local = new Map([...this.context.local].filter(([, object]) => !object.committed));
    if (local.size === this.context.local.size) return;
    this.context = { ...this.context, local };
    this.stamp++;
  }

  /** `catalog_version`: of the newest snapshot; none yet shows what has just ended. */
  ready(status: TransactionStatus, catalog_version: number): void {
    if (status !== 'I') this.asker.transaction_began ??= Date.now();
    if (status === 'I') {
      if (this.asker.transaction_began !== null || this.#failed || this.provisional) {
        this.#transactionEnded();
      }
      this.asker.transaction_began = null;
      // What an implicit transaction made is committed now, or gone.
      const end = this.#failed ? 'rollback' : 'commit';
      if (this.context.local.size > 0) this.#applyOne({ kind: end, chain: false, catalog_version });
      this.#unsettledInTransaction = false;
    }
    this.#failed = false;
    // By now the server has told whatever has changed.
    const settled = withReading(this.context, this.#strings, this.#encoding);
    if (settled !== this.context) this.stamp++;
    this.context = settled;
    this.status = status;
    if (status === 'I') this.portals.clearConfirmed();
  }
}

/**
 * Reported settings that change what statements and their literals mean: part of what people sign.
 */
const MEANINGFUL = new Set([
  'standard_conforming_strings',
  'client_encoding',
  'session_authorization',
  'DateStyle',
  'IntervalStyle',
  'TimeZone',
]);

/** Those of a fresh session, from what the server reported. */
export function meaningfulSettings(reported: ReadonlyMap<string, string>): SessionView['settings'] {
  return Object.fromEntries([...reported].filter(([name]) => MEANINGFUL.has(name)));
}

/**
 * A transaction ended in it, whatever the session's status is afterwards: AND CHAIN, or the rest of
 * a unit.
 */
function endsTransaction(run: Run): boolean {
  return run.changes
    .slice(0, run.completed)
    .some((changes) => changes.some(({ kind }) => kind === 'commit' || kind === 'rollback'));
}

const STATED: { readonly [name: string]: 'reason' | 'task' | 'on_behalf_of' } = {
  'holdpoint.reason': 'reason',
  'holdpoint.task': 'task',
  'holdpoint.on_behalf_of': 'on_behalf_of',
};

/** And the other way round. */
function protocolText(name: string): string {
  return Buffer.from(name, 'latin1').toString('utf8');
}

/** A name of SQL as the protocol's decoders have it: one character a byte. */
function protocolName(name: string): string {
  return Buffer.from(name, 'utf8').toString('latin1');
}
