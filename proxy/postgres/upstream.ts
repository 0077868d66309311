// Logging in at the real server with credentials that agents never see, and taking the socket over
// as raw bytes.
// Invariant: nothing of `pg` is left on the socket afterwards, and no byte behind ReadyForQuery is
// lost.
//
// `pg` does encryption and authentication (SCRAM with channel binding, md5); the startup packet is
// our own, since pg's would force client_encoding and knows only some settings, and what comes back
// is read here, byte for byte.
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import pg from 'pg';
import { Reader } from '../bytes/reader.ts';
import type { Target } from '../config.ts';
import { LIMITS } from '../limits.ts';
import { encodeStartup, type Setting } from './startup.ts';

export interface Upstream {
  /** Raw, with no listeners but one for `error`; add yours, then `resume()`. */
  readonly socket: Socket | TLSSocket;
  readonly processId: number;
  readonly secretKey: Buffer;
  /** Every ParameterStatus seen, the last value of each. */
  readonly parameters: ReadonlyMap<string, string>;
  /** NoticeResponses seen during the login, whole messages. */
  readonly notices: readonly Buffer[];
  /** The status byte of the first ReadyForQuery: `I`. */
  readonly status: string;
  /** What came behind ReadyForQuery already. */
  readonly residual: Buffer;
}

export interface UpstreamOptions {
  readonly target: Target;
  readonly database: string;
  /** The client's settings in order, from `Startup.settings`. */
  readonly settings: readonly Setting[];
  /**
   * true (the default): the session starts with default_transaction_read_only=on, whatever the
   * client's settings say.
   */
  readonly readOnly?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * The upstream said no, or could not be reached. Its fields are fit for the client: no address, no
 * role, no secret.
 */
export class UpstreamFailed extends Error {
  override name = 'UpstreamFailed';
  readonly sqlstate: string;
  readonly detail: string | undefined;
  readonly hint: string | undefined;

  constructor(
    words: {
      sqlstate: string;
      message: string;
      detail?: string | undefined;
      hint?: string | undefined;
    },
    cause: unknown,
  ) {
    super(words.message, { cause });
    this.sqlstate = words.sqlstate;
    this.detail = words.detail;
    this.hint = words.hint;
  }
}

/** The part of pg's Connection that is used; its type declarations leave most of it out. */
interface PgConnection {
  stream: Duplex;
  startup: (config: unknown) => void;
  on(event: string, listener: (...values: never[]) => void): void;
  removeAllListeners(event?: string): void;
}

/** Everything from the first byte of the session on, and where its first ReadyForQuery ends. */
class Greeting {
  #bytes: Buffer = Buffer.alloc(0);
  tooLong = false;

  readonly push = (chunk: Buffer): void => {
    if (this.#bytes.length + chunk.length > LIMITS.upstream_greeting_bytes) this.tooLong = true;
    else this.#bytes = Buffer.concat([this.#bytes, chunk]);
  };

  /** Decodes what came: ParameterStatus, BackendKeyData, notices, ReadyForQuery, and the rest. */
  read(): Omit<Upstream, 'socket'> {
    const bytes = this.#bytes;
    const parameters = new Map<string, string>();
    const notices: Buffer[] = [];
    let processId = 0;
    let secretKey: Buffer = Buffer.alloc(0);
    for (let at = 0; at + 5 <= bytes.length; ) {
      const type = String.fromCharCode(bytes[at] ?? 0);
      const end = at + 1 + bytes.readInt32BE(at + 1);
      const body = new Reader(bytes, at + 5, end);
      if (type === 'S') parameters.set(body.cstring(), body.cstring());
      else if (type === 'N') notices.push(Buffer.from(bytes.subarray(at, end)));
      else if (type === 'K') {
        processId = body.int32();
        secretKey = Buffer.from(body.slice(body.left));
      } else if (type === 'Z') {
        const status = String.fromCharCode(body.byte());
        const residual = Buffer.from(bytes.subarray(end));
        return { processId, secretKey, parameters, notices, status, residual };
      }
      at = end;
    }
    throw new Error('the upstream was ready without saying so');
  }
}

/** Logs in; rejects with {@link UpstreamFailed} only. */
export async function connectUpstream(options: UpstreamOptions): Promise<Upstream> {
  const { target, signal } = options;
  const client = newClient(target, options.database);
  const connection = (client as unknown as { connection: PgConnection }).connection;
  const greeting = new Greeting();
  const settings = options.settings.filter((one) => one.name !== 'default_transaction_read_only');
  if (options.readOnly ?? true)
    settings.push({ name: 'default_transaction_read_only', value: 'on' });
  const packet = encodeStartup(target.user, options.database, settings);
  // Replaces pg's startup message; called when encryption is settled, so everything heard from here
  // on is the session.
  connection.startup = () => {
    connection.stream.prependListener('data', greeting.push);
    connection.stream.write(packet);
  };
  const abort = (): void => void connection.stream.destroy(new Error('aborted'));
  signal?.addEventListener('abort', abort);
  try {
    return await new Promise<Upstream>((resolve, reject) => {
      client.on('error', reject);
      // Called inside pg's handling of ReadyForQuery: no other byte can come between.
      client.connect((error: Error | null) => {
        if (error) return reject(error);
        if (greeting.tooLong)
          return reject(new Error('the upstream said too much before it was ready'));
        try {
          resolve(takeOver(connection, greeting));
        } catch (odd) {
          reject(odd);
        }
      });
      if (signal?.aborted) abort();
    });
  } catch (error) {
    connection.stream.on('error', () => {});
    connection.stream.destroy();
    throw explain(error, options);
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

function takeOver(connection: PgConnection, greeting: Greeting): Upstream {
  const socket = connection.stream as Socket | TLSSocket;
  socket.pause();
  for (const event of ['data', 'end', 'close', 'connect', 'error', 'readable', 'drain']) {
    removeForeign(socket, event);
  }
  socket.on('error', () => {});
  connection.removeAllListeners();
  connection.on('error', () => {});
  return { socket, ...greeting.read() };
}

/** Node's own listeners (`onReadableStreamEnd`, …) stay; what pg and we put on goes. */
function removeForeign(socket: Socket, event: string): void {
  for (const listener of socket.rawListeners(event)) {
    if (listener.name === 'onReadableStreamEnd') continue;
    socket.off(event, listener as (...values: unknown[]) => void);
  }
}

function newClient(target: Target, database: string): pg.Client {
  return new pg.Client({
    host: target.host,
    port: target.port,
    user: target.user,
    database,
    // A function: pg would otherwise look into PGPASSWORD and ~/.pgpass.
    password: () => {
      const password = target.password();
      if (password === undefined || password === '') throw new NoPassword();
      return password;
    },
    ssl: tlsOptions(target),
    sslnegotiation: 'postgres',
    enableChannelBinding: target.tls.mode !== 'disable',
    connectionTimeoutMillis: LIMITS.upstream_connect_ms,
    keepAlive: true,
  });
}

class NoPassword extends Error {}

export function tlsOptions(target: Target): false | ConnectionOptions {
  const { mode, ca, cert, key } = target.tls;
  if (mode === 'disable') return false;
  return {
    rejectUnauthorized: mode !== 'require',
    ...(ca === null ? {} : { ca }),
    ...(cert === null || key === null ? {} : { cert, key }),
    ...(mode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
  };
}

/**
 * SQLSTATEs of a login that are about the client's own wishes, and may be shown as the server said
 * them.
 */
const ABOUT_THE_CLIENT = /^(?:3D000|53300|57P0[123]|22023|42704|55000|0A000|22P02|57014)$/;

function explain(error: unknown, options: UpstreamOptions): UpstreamFailed {
  const { target, signal } = options;
  const name = `target ${target.name}`;
  const words = (sqlstate: string, message: string, hint?: string): UpstreamFailed =>
    new UpstreamFailed({ sqlstate, message, hint }, error);
  if (signal?.aborted) return words('57014', `the connection to ${name} was given up`);
  const operators = 'Tell the operators of Holdpoint; its log has the details.';
  if (error instanceof NoPassword) {
    return words('28000', `${name} wants a password and none is configured`, operators);
  }
  const { code, severity, detail, hint } = (error ?? {}) as {
    code?: string;
    severity?: string;
    detail?: string;
    hint?: string;
  };
  const message = error instanceof Error ? error.message : String(error);
  if (severity !== undefined && code !== undefined) {
    if (ABOUT_THE_CLIENT.test(code)) {
      return new UpstreamFailed({ sqlstate: code, message, detail, hint }, error);
    }
    return words(
      code.startsWith('28') ? '08004' : code,
      `${name} refused Holdpoint’s login`,
      operators,
    );
  }
  if (/timeout/i.test(message)) return words('08001', `${name} does not answer`, operators);
  return words('08001', `${name} can’t be reached`, operators);
}

/**
 * Hands a CancelRequest on, encrypted where the target's sessions are. Resolves when the server has
 * taken it.
 */
export function cancelUpstream(
  target: Target,
  processId: number,
  secretKey: Uint8Array,
): Promise<void> {
  const head = Buffer.alloc(12);
  head.writeInt32BE(12 + secretKey.length, 0);
  head.writeInt32BE(80877102, 4);
  head.writeInt32BE(processId, 8);
  const packet = Buffer.concat([head, secretKey]);
  return new Promise((resolve, reject) => {
    const socket = target.host.startsWith('/')
      ? connect(`${target.host}/.s.PGSQL.${target.port}`)
      : connect(target.port, target.host);
    socket.setTimeout(LIMITS.upstream_cancel_ms, () => socket.destroy(new Error('timeout')));
    socket.on('error', reject);
    socket.on('close', () => resolve());
    socket.on('connect', () => {
      const tls = tlsOptions(target);
      if (tls === false) return void socket.end(packet);
      socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]));
      socket.once('data', (answer) => {
        if (answer.toString('latin1') !== 'S') return void socket.destroy(new Error('no TLS'));
        const secure = connectTls({ ...tls, socket, host: target.host }, () => secure.end(packet));
        secure.on('error', reject);
        secure.resume();
      });
    });
    if (!target.tls || target.tls.mode === 'disable') socket.resume();
  });
}
