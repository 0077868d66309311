// A PostgreSQL message as an operation: its exact bytes, parameters decoded for people, what the
// agent states.
// Invariant: what is slow (ids, decoding, digests) is made when it is first read, so a judged read
// costs nothing more.
import { randomUUID } from 'node:crypto';
import { builtins, getTypeParser } from 'pg-types';
import type { Analysis } from '../effect/effect.ts';
import { LIMITS } from '../limits.ts';
import type {
  AgentView,
  EngineName,
  Operation,
  Parameter,
  SessionView,
  Stated,
  TargetView,
} from '../operation.ts';
import type { Bind } from './client-message.ts';
import type { History } from './history.ts';

/** What all operations of a session share. */
export interface Asker {
  readonly target: TargetView;
  readonly agent: AgentView;
  readonly history: History;
  /** Replaced whole when a setting or a stated reason changes. */
  session: SessionView;
  /** When the open transaction began (milliseconds since 1970); null outside one. */
  transaction_began: number | null;
}

export class PostgresOperation implements Operation {
  readonly engine: EngineName = 'postgres';
  readonly bytes: Uint8Array;
  readonly analysis: Analysis;
  readonly target: TargetView;
  readonly agent: AgentView;
  readonly in_transaction: boolean;
  readonly #asker: Asker;
  readonly #bind: Bind | null;
  readonly #types: readonly number[];
  #id: string | null = null;
  #asked: string | null = null;
  #session: SessionView | null = null;
  #parameters: readonly Parameter[] | null = null;

  constructor(
    asker: Asker,
    bytes: Uint8Array,
    analysis: Analysis,
    bind: Bind | null,
    types: readonly number[],
  ) {
    this.#asker = asker;
    this.bytes = bytes;
    this.analysis = analysis;
    this.target = asker.target;
    this.agent = asker.agent;
    this.in_transaction = asker.transaction_began !== null;
    this.#bind = bind;
    this.#types = types;
  }

  get id(): string {
    this.#id ??= randomUUID();
    return this.#id;
  }

  get asked(): string {
    this.#asked ??= new Date().toISOString();
    return this.#asked;
  }

  get session(): SessionView {
    this.#session ??= withComment(this.#leaning(), this.bytes);
    return this.#session;
  }

  #leaning(): SessionView {
    const { session, history } = this.#asker;
    const past = history.under(this.analysis);
    return past === null ? session : { ...session, settings: { ...session.settings, ...past } };
  }

  get transaction_age_ms(): number | null {
    const began = this.#asker.transaction_began;
    return began === null ? null : Date.now() - began;
  }

  get parameters(): readonly Parameter[] {
    this.#parameters ??= this.#bind === null ? [] : decodeParameters(this.#bind, this.#types);
    return this.#parameters;
  }

  /** The same asking with another understanding of it: id and time stay. */
  understoodAs(analysis: Analysis): PostgresOperation {
    const again = new PostgresOperation(this.#asker, this.bytes, analysis, this.#bind, this.#types);
    again.#id = this.id;
    again.#asked = this.asked;
    return again;
  }
}

const TYPE_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(builtins).map(([name, oid]) => [Number(oid), name.toLowerCase()]),
);

/**
 * Bound values by their declared or described types; a type that is not known shows as its number.
 */
function decodeParameters(bind: Bind, types: readonly number[]): readonly Parameter[] {
  return bind.values.map((value, index) => {
    const oid = types[index] ?? 0;
    const code = bind.formats.length === 1 ? bind.formats[0] : bind.formats[index];
    const format = code === 1 ? 'binary' : 'text';
    const type = TYPE_NAMES.get(oid) ?? (oid === 0 ? 'unspecified' : `oid ${oid}`);
    // The frame's memory belongs to the socket: keep a copy.
    const bytes = value === null ? null : Buffer.from(value);
    return { type, format, bytes, text: bytes === null ? null : asText(bytes, oid, format) };
  });
}

function asText(bytes: Buffer, oid: number, format: 'text' | 'binary'): string {
  if (format === 'text') return bytes.toString('utf8');
  if (oid === builtins.TEXT || oid === builtins.VARCHAR || oid === builtins.BPCHAR) {
    return bytes.toString('utf8');
  }
  if (oid === builtins.UUID && bytes.length === 16) {
    return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  }
  if (oid === builtins.JSON) return bytes.toString('utf8');
  if (oid === builtins.JSONB) return bytes.subarray(1).toString('utf8');
  if (oid !== 0 && oid !== builtins.BYTEA && TYPE_NAMES.has(oid)) {
    try {
      const parse: (value: Buffer) => unknown = getTypeParser(oid, 'binary');
      const value = parse(bytes);
      if (value instanceof Date) return value.toISOString();
      if (value !== bytes && value !== null && value !== undefined && !Buffer.isBuffer(value)) {
        return typeof value === 'object' ? JSON.stringify(value) : String(value);
      }
    } catch {
      // Not what its type says: shown as bytes.
    }
  }
  return `\\x${bytes.toString('hex')}`;
}

const STATED_KEYS: { readonly [key: string]: keyof Stated } = {
  reason: 'reason',
  holdpoint_reason: 'reason',
  task: 'task',
  holdpoint_task: 'task',
  on_behalf_of: 'on_behalf_of',
  holdpoint_on_behalf_of: 'on_behalf_of',
};

/**
 * What a trailing sqlcommenter comment states (`reason='clean%20up',task='T-1'`), over what SET
 * stated.
 */
function withComment(session: SessionView, bytes: Uint8Array): SessionView {
  // Only the end is looked at: the search takes time that grows faster than the comment.
  const from = Math.max(0, bytes.length - LIMITS.stated_comment_bytes);
  const tail = Buffer.from(bytes.buffer, bytes.byteOffset + from, bytes.length - from);
  const end = tail.lastIndexOf('*/');
  if (end < 0) return session;
  const begin = tail.lastIndexOf('/*', end);
  if (begin < 0) return session;
  const stated: { -readonly [K in keyof Stated]: Stated[K] } = { ...session.stated };
  const comment = tail.toString('utf8', begin + 2, end);
  for (const [, key, value] of comment.matchAll(/(?<![a-z_])([a-z_]+)='((?:[^'\\]|\\.)*)'/g)) {
    const field = key === undefined ? undefined : STATED_KEYS[key];
    if (field !== undefined && value !== undefined) stated[field] = unescapeComment(value);
  }
  return { ...session, stated };
}

function unescapeComment(value: string): string {
  const plain = value.replaceAll("\\'", "'");
  try {
    return decodeURIComponent(plain);
  } catch {
    return plain;
  }
}
