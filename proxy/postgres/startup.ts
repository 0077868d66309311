// The first packet of a PostgreSQL client, decoded, and what it asks for. (Manual: "Message
// Formats", StartupMessage.)
// Invariant: every setting it carries is known by name and value; what can't be taken apart is
// refused.
//
//   Int32 length (counts itself) · Int32 code · SSLRequest, GSSENCRequest: nothing more
//                                             · CancelRequest: Int32 process · secret (the rest)
//                                             · StartupMessage 3.x: (String name · String value)* ·
//                                             Byte1(0)
import { Malformed, Reader } from '../bytes/reader.ts';
import type { Target } from '../config.ts';
import { LIMITS } from '../limits.ts';

const SSL_REQUEST = 80877103;
const GSSENC_REQUEST = 80877104;
const CANCEL_REQUEST = 80877102;

/** The newest minor version of protocol 3 that is spoken here. */
export const NEWEST_MINOR = 2;

export interface Startup {
  readonly user: string;
  /** As asked; the user's name when the client named none. */
  readonly database: string;
  /** The raw `options` string; '' when there was none. Its settings are in `settings` too. */
  readonly options: string;
  /**
   * All other parameters as sent, without user, database, options, replication and `_pq_.` ones.
   */
  readonly parameters: ReadonlyMap<string, string>;
  /**
   * `options` and `parameters` as settings in the order in which PostgreSQL applies them; the last
   * of a name counts.
   */
  readonly settings: readonly Setting[];
  readonly protocol: { readonly major: 3; readonly minor: number };
  /** Protocol extensions the client asked for, none of which is known here. */
  readonly unknown_extensions: readonly string[];
  /** The minor version asked for, when it is newer than ours. */
  readonly newer_minor: boolean;
}

export interface Setting {
  /** Lower case, as PostgreSQL compares names. */
  readonly name: string;
  readonly value: string;
}

export interface StartupRefusal {
  readonly kind: 'refused';
  readonly sqlstate: string;
  readonly message: string;
  readonly hint: string | null;
}

export type FirstPacket =
  | { readonly kind: 'ssl' }
  | { readonly kind: 'gssenc' }
  | { readonly kind: 'cancel'; readonly processId: number; readonly secret: Buffer }
  | { readonly kind: 'startup'; readonly startup: Startup }
  | StartupRefusal;

function refused(sqlstate: string, message: string, hint: string | null = null): StartupRefusal {
  return { kind: 'refused', sqlstate, message, hint };
}

/** Decodes a packet without its length word. */
export function decodeFirstPacket(body: Buffer): FirstPacket {
  try {
    const reader = new Reader(body, 0, body.length);
    const code = reader.uint32();
    if (code === SSL_REQUEST || code === GSSENC_REQUEST) {
      reader.end();
      return { kind: code === SSL_REQUEST ? 'ssl' : 'gssenc' };
    }
    if (code === CANCEL_REQUEST) {
      const processId = reader.int32();
      if (reader.left < 1 || reader.left > LIMITS.cancel_secret_bytes) {
        return refused('08P01', 'invalid length of cancel request packet');
      }
      return { kind: 'cancel', processId, secret: Buffer.from(reader.slice(reader.left)) };
    }
    const major = code >>> 16;
    const minor = code & 0xffff;
    if (major !== 3) {
      const message =
        `unsupported frontend protocol ${major}.${minor}: ` +
        `server supports 3.0 to 3.${NEWEST_MINOR}`;
      return refused('0A000', message);
    }
    return decodeStartup(reader, minor);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return refused('08P01', `invalid startup packet layout: ${error.message}`);
  }
}

function decodeStartup(reader: Reader, minor: number): FirstPacket {
  const all: Setting[] = [];
  for (;;) {
    const name = utf8(reader.cstringBytes());
    if (name === '') break;
    const value = utf8(reader.cstringBytes());
    if (name === null || value === null) {
      return refused('22021', 'invalid byte sequence for encoding "UTF8" in the startup packet');
    }
    all.push({ name, value });
  }
  reader.end();
  const last = (name: string): string => all.findLast((one) => one.name === name)?.value ?? '';
  const user = last('user');
  if (user === '') return refused('28000', 'no PostgreSQL user name specified in startup packet');
  const replication = last('replication');
  if (replication !== '' && !/^(?:f(?:a(?:l(?:se?)?)?)?|n(?:o)?|off?|0)$/i.test(replication)) {
    return refused(
      'ZH012',
      'replication connections are refused',
      'Connect without the replication parameter.',
    );
  }
  const rest = all.filter((one) => !FIELDS.has(one.name));
  const extensions = rest.filter((one) => one.name.startsWith('_pq_.'));
  const given = rest.filter((one) => !one.name.startsWith('_pq_.'));
  const options = last('options');
  const switches = decodeOptions(options);
  if (!Array.isArray(switches)) return switches as StartupRefusal;
  const settings = [...switches, ...given].map((one) => ({ ...one, name: one.name.toLowerCase() }));
  // Lower-cased or taken out of `options`, these would be read as the packet's own fields upstream.
  const field = settings.find((one) => isField(one.name));
  if (field) return refused('42704', `unrecognized configuration parameter "${field.name}"`);
  const privileged = settings.find((one) => PRIVILEGED.has(one.name));
  if (privileged) {
    return refused(
      'ZH006',
      `the setting ${privileged.name} can’t be given at the start of a connection`,
      'Leave it out; a SET of it is judged like any statement.',
    );
  }
  return {
    kind: 'startup',
    startup: {
      user,
      database: last('database') || user,
      options,
      parameters: new Map(given.map((one) => [one.name, one.value])),
      settings,
      protocol: { major: 3, minor: Math.min(minor, NEWEST_MINOR) },
      unknown_extensions: extensions.map((one) => one.name),
      newer_minor: minor > NEWEST_MINOR,
    },
  };
}

/**
 * Settings that change who acts, or switch protections off: never from a startup packet, which no
 * policy judges.
 */
const PRIVILEGED: ReadonlySet<string> = new Set([
  'role',
  'session_authorization',
  'session_replication_role',
  'session_preload_libraries',
  'local_preload_libraries',
  'dynamic_library_path',
  'allow_system_table_mods',
  'ignore_system_indexes',
  'zero_damaged_pages',
  'ignore_checksum_failure',
  'lo_compat_privileges',
  'is_superuser',
]);

/** Names of a startup packet that are no settings. */
const FIELDS: ReadonlySet<string> = new Set(['user', 'database', 'options', 'replication']);

function isField(name: string): boolean {
  return FIELDS.has(name) || name.startsWith('_pq_.');
}

function utf8(bytes: Buffer): string | null {
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : null;
}

/**
 * The `options` string as pg_split_opts and process_postgres_switches read it: words at white
 * space, `\` takes the next character as it is, and then `-c name=value`, `-cname=value` or
 * `--name=value`, with `-` in names read as `_`.
 */
export function decodeOptions(text: string): Setting[] | StartupRefusal {
  const words = splitOptions(text);
  const found: Setting[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? '';
    let pair: string | undefined;
    if (word === '-c') pair = words[++at];
    else if (word.startsWith('--') && word.length > 2) pair = word.slice(2);
    else if (word.startsWith('-c')) pair = word.slice(2);
    const equals = pair?.indexOf('=') ?? -1;
    if (pair === undefined || equals < 1) {
      return refused(
        'ZH006',
        `in the options parameter, ${JSON.stringify(word)} is not a setting`,
        'Only -c name=value and --name=value are understood there.',
      );
    }
    const name = pair.slice(0, equals).replaceAll('-', '_');
    found.push({ name, value: pair.slice(equals + 1) });
  }
  return found;
}

function splitOptions(text: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  for (let at = 0; at < text.length; at++) {
    const character = text.charAt(at);
    if (/[ \t\n\v\f\r]/.test(character)) {
      if (word !== null) words.push(word);
      word = null;
    } else if (character === '\\') {
      word = (word ?? '') + text.charAt(++at);
    } else {
      word = (word ?? '') + character;
    }
  }
  if (word !== null) words.push(word);
  return words;
}

/**
 * A StartupMessage 3.0 for an upstream. Settings travel as parameters, which PostgreSQL applies in
 * this order.
 */
export function encodeStartup(
  user: string,
  database: string,
  settings: readonly Setting[],
): Buffer {
  const stray = settings.find((one) => isField(one.name) || /\0/.test(one.name + one.value));
  if (stray) throw new Error(`${stray.name} can't be a setting of a startup packet`);
  const pairs = [{ name: 'user', value: user }, { name: 'database', value: database }, ...settings];
  const text = pairs.map((one) => `${one.name}\0${one.value}\0`).join('');
  const body = Buffer.from(`${text}\0`, 'utf8');
  const head = Buffer.alloc(8);
  head.writeInt32BE(body.length + 8, 0);
  head.writeInt32BE(3 << 16, 4);
  return Buffer.concat([head, body]);
}

export interface Chosen {
  readonly kind: 'chosen';
  readonly target: Target;
  readonly database: string;
}

/**
 * What a database name means: a target's name is its default database, `target/database` another
 * one of it, and with a single target any other name is a database of that. An agent learns of no
 * target that it may not use.
 */
export function chooseTarget(
  asked: string,
  targets: readonly Target[],
  allowed: readonly string[] | null,
): Chosen | StartupRefusal {
  const usable = targets.filter((one) => allowed === null || allowed.includes(one.name));
  const named = usable.find((one) => one.name === asked);
  if (named) return { kind: 'chosen', target: named, database: named.database };
  const slash = asked.indexOf('/');
  const before = usable.find((one) => slash > 0 && one.name === asked.slice(0, slash));
  if (before && asked.length > slash + 1) {
    return { kind: 'chosen', target: before, database: asked.slice(slash + 1) };
  }
  const [only] = targets;
  if (only && targets.length === 1 && usable.length === 1) {
    return { kind: 'chosen', target: only, database: asked };
  }
  const list = usable.map((one) => one.name).join(', ');
  return refused(
    '3D000',
    `database "${asked}" does not exist`,
    list === ''
      ? 'This agent may use no target; ask the operators of Holdpoint.'
      : `Name one of your targets (${list}), or target/database.`,
  );
}
