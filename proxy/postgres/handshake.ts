// A PostgreSQL client's way in: encryption, startup packet, SCRAM. Ends with AuthenticationOk sent
// and nothing after it.
// Invariant: nobody gets past here without a proof of an agent's password; every failure is a FATAL
// or a closed socket.
//
//   client                                holdpoint
//   GSSENCRequest?                  →     'N'
//   SSLRequest? or ClientHello      →     'S', TLS
//   StartupMessage | CancelRequest  →     NegotiateProtocolVersion?, AuthenticationSASL
//   SASLInitialResponse             →     AuthenticationSASLContinue
//   SASLResponse                    →     AuthenticationSASLFinal, AuthenticationOk
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SecureContext, TLSSocket } from 'node:tls';
import type { Agents } from '../agents.ts';
import { Malformed, Reader } from '../bytes/reader.ts';
import { Writer } from '../bytes/writer.ts';
import { LIMITS } from '../limits.ts';
import type { AgentView } from '../operation.ts';
import { AUTHENTICATION_OK, encodeReport } from './encode.ts';
import {
  type ChannelBinding,
  SCRAM,
  SCRAM_PLUS,
  type ScramFailure,
  serverFinal,
  serverFirst,
} from './scram.ts';
import { decodeFirstPacket, NEWEST_MINOR, type Startup } from './startup.ts';
import { endPointBinding, serveTls } from './tls.ts';

export interface ClientGreeting {
  readonly kind: 'session';
  /**
   * The socket to go on with: a TLSSocket where the client asked for TLS. Only an `error` listener
   * is left on it.
   */
  readonly socket: Socket | TLSSocket;
  readonly encrypted: boolean;
  /** Who proved to be there. Its verifier stays behind. */
  readonly agent: AgentView;
  /** Names of the targets it may use; null is all. */
  readonly allowed: readonly string[] | null;
  /** The agent may still log in, with the password it came with. */
  readonly stands: () => boolean;
  readonly startup: Startup;
  /** What the client sent behind its proof already; more may come by `data` events. */
  readonly residual: Buffer;
}

export interface CancelGreeting {
  readonly kind: 'cancel';
  /** To be closed without a word when the cancel is handed on. */
  readonly socket: Socket | TLSSocket;
  readonly processId: number;
  readonly secret: Buffer;
}

export interface AcceptOptions {
  /** null: TLS is declined ('N'). */
  readonly tls: SecureContext | null;
  readonly tlsRequired: boolean;
  readonly agents: Agents;
  readonly handshakeTimeoutMs?: number;
}

/**
 * The client is gone or was sent away; the socket is dealt with. For the log, never for the client.
 */
export class HandshakeFailed extends Error {
  override name = 'HandshakeFailed';
  readonly sqlstate: string;
  /** The user name claimed, as far as it came. */
  readonly user: string | null;

  constructor(message: string, sqlstate: string, user: string | null) {
    super(message);
    this.sqlstate = sqlstate;
    this.user = user;
  }
}

interface Fatal {
  readonly sqlstate: string;
  readonly message: string;
  readonly detail?: string | null;
  readonly hint?: string | null;
}

/** Leaves the handshake from anywhere inside it, with these last words. */
class Refused extends Error {
  readonly fatal: Fatal;
  constructor(fatal: Fatal) {
    super(fatal.message);
    this.fatal = fatal;
  }
}

/** The client went away or never spoke: there is nobody to tell. */
class Gone extends Error {}

interface Door {
  socket: Socket | TLSSocket;
  encrypted: boolean;
  user: string | null;
  readonly options: AcceptOptions;
  readonly signal: AbortSignal;
}

/**
 * Speaks with a fresh connection until it is a session or a cancel. Rejects with {@link
 * HandshakeFailed} only.
 */
export async function acceptClient(
  socket: Socket,
  options: AcceptOptions,
): Promise<ClientGreeting | CancelGreeting> {
  const timeout = new AbortController();
  const timer = setTimeout(
    () => timeout.abort(),
    options.handshakeTimeoutMs ?? LIMITS.handshake_ms,
  );
  const door: Door = { socket, encrypted: false, user: null, options, signal: timeout.signal };
  // Stays on: a socket without one brings the process down when its peer resets it between two
  // owners.
  socket.on('error', () => {});
  try {
    return await greet(door);
  } catch (error) {
    const fatal = lastWords(error, timeout.signal);
    if (fatal?.sqlstate === '28P01') await sleep(LIMITS.failed_login_ms);
    if (fatal) sendLast(door.socket, encodeFatal(fatal));
    else door.socket.destroy();
    const reason = error instanceof Error ? error.message : String(error);
    throw new HandshakeFailed(fatal?.message ?? reason, fatal?.sqlstate ?? '08006', door.user);
  } finally {
    clearTimeout(timer);
  }
}

function lastWords(error: unknown, signal: AbortSignal): Fatal | null {
  if (error instanceof Refused) return error.fatal;
  if (error instanceof Malformed) return { sqlstate: '08P01', message: error.message };
  if (signal.aborted) return { sqlstate: '57014', message: 'the login took too long' };
  return null;
}

async function greet(door: Door): Promise<ClientGreeting | CancelGreeting> {
  const first = await firstPacket(door);
  if (first.kind === 'cancel') return { ...first, socket: door.socket };
  const { startup } = first;
  door.user = startup.user;
  if (door.options.tlsRequired && !door.encrypted) {
    throw new Refused({
      sqlstate: '28000',
      message: `connection requires encryption: user "${startup.user}", no encryption`,
      hint: 'Connect with sslmode=require or better.',
    });
  }
  if (startup.newer_minor || startup.unknown_extensions.length > 0) {
    door.socket.write(encodeNegotiateProtocolVersion(startup));
  }
  const { agents } = door.options;
  const agent = agents.find(startup.user);
  await authenticate(door, startup.user);
  // What was proved is the password of then: it must be today's.
  if (agent === null || !agents.stands(agent)) throw wrongPassword(startup.user);
  const { name, groups, capabilities, scopes, targets } = agent;
  const residual = drain(door.socket);
  return {
    kind: 'session',
    socket: door.socket,
    encrypted: door.encrypted,
    agent: { name, groups, capabilities, scopes },
    allowed: targets,
    stands: () => agents.stands(agent),
    startup,
    residual,
  };
}

/** Encryption requests answered, until the packet that says what the connection is for. */
async function firstPacket(
  door: Door,
): Promise<
  | { readonly kind: 'startup'; readonly startup: Startup }
  | { readonly kind: 'cancel'; readonly processId: number; readonly secret: Buffer }
> {
  for (let requests = 0; ; requests++) {
    const head = await read(door, 1);
    if (head[0] === 0x16 && !door.encrypted && requests === 0) {
      door.socket.unshift(head);
      await encrypt(door, true);
      continue;
    }
    const body = await readPacketBody(door, head);
    const packet = decodeFirstPacket(body);
    if (packet.kind === 'refused') throw new Refused(packet);
    if (packet.kind === 'startup' || packet.kind === 'cancel') return packet;
    if (door.encrypted || requests >= LIMITS.encryption_requests) {
      const message = `unsupported frontend protocol 1234.${packet.kind === 'ssl' ? 5679 : 5680}`;
      throw new Refused({ sqlstate: '0A000', message });
    }
    const what = packet.kind === 'ssl' ? 'SSL' : 'GSSAPI encryption';
    if (door.socket.readableLength > 0) {
      throw new Refused({
        sqlstate: '08P01',
        message: `received unencrypted data after ${what} request`,
        detail:
          'This could be either a client-software bug or evidence of an attempted ' +
          'man-in-the-middle attack.',
      });
    }
    if (packet.kind === 'ssl' && door.options.tls) {
      door.socket.write('S');
      await encrypt(door, false);
    } else {
      door.socket.write('N');
    }
  }
}

async function encrypt(door: Door, direct: boolean): Promise<void> {
  const { tls } = door.options;
  if (!tls) throw new Gone('direct TLS was asked for, and TLS is off');
  try {
    door.socket = await serveTls(door.socket, tls, direct, door.signal);
    door.socket.on('error', () => {});
  } catch (error) {
    throw new Gone(error instanceof Error ? error.message : 'TLS failed');
  }
  door.encrypted = true;
}

async function readPacketBody(door: Door, head: Buffer): Promise<Buffer> {
  const rest = await read(door, 3);
  const length = Buffer.concat([head, rest]).readUInt32BE(0);
  if (length < 8 || length > LIMITS.startup_packet_bytes) {
    throw new Refused({ sqlstate: '08P01', message: 'invalid length of startup packet' });
  }
  return read(door, length - 4);
}

async function authenticate(door: Door, user: string): Promise<void> {
  const { socket, options } = door;
  const binding: ChannelBinding =
    door.encrypted && 'getCertificate' in socket ? endPointBinding(socket) : null;
  const mechanisms = binding ? [SCRAM_PLUS, SCRAM] : [SCRAM];
  const offer = new Writer().int32(10);
  for (const mechanism of mechanisms) offer.cstring(mechanism);
  socket.write(offer.byte(0).message('R'));

  const initial = await readSaslMessage(door);
  const mechanism = initial.cstring();
  if (!mechanisms.includes(mechanism)) {
    const message = 'client selected an invalid SASL authentication mechanism';
    throw new Refused({ sqlstate: '08P01', message });
  }
  const length = initial.int32();
  // -1 is "no initial response": RFC 4422 lets the server answer with an empty challenge.
  let clientFirst: string;
  if (length === -1) {
    initial.end();
    socket.write(new Writer().int32(11).message('R'));
    const next = await readSaslMessage(door);
    clientFirst = next.slice(next.left).toString('latin1');
  } else {
    clientFirst = initial.slice(length).toString('latin1');
    initial.end();
  }
  const verifier = options.agents.verifier(user);
  const first = serverFirst(mechanism, clientFirst, verifier, binding);
  if (!first.ok) throw scramRefused(first, user);
  socket.write(new Writer().int32(11).bytes(Buffer.from(first.message, 'latin1')).message('R'));

  const response = await readSaslMessage(door);
  const clientFinal = response.slice(response.left).toString('latin1');
  const final = serverFinal(first, clientFinal, verifier, binding);
  if (!final.ok) throw scramRefused(final, user);
  const proof = new Writer().int32(12).bytes(Buffer.from(final.message, 'latin1')).message('R');
  socket.write(Buffer.concat([proof, AUTHENTICATION_OK]));
}

async function readSaslMessage(door: Door): Promise<Reader> {
  const head = await read(door, 5);
  const type = head[0] ?? 0;
  if (type === 0x58) throw new Gone('the client gave up during the login');
  const length = head.readInt32BE(1);
  if (type !== 0x70) {
    const message = `expected SASL response, got message type ${type}`;
    throw new Refused({ sqlstate: '08P01', message });
  }
  if (length < 4 || length > LIMITS.sasl_message_bytes) {
    throw new Refused({ sqlstate: '08P01', message: 'invalid message length' });
  }
  const body = await read(door, length - 4);
  return new Reader(body, 0, body.length);
}

function scramRefused(failure: ScramFailure, user: string): Refused {
  return failure.sqlstate === '28P01' ? wrongPassword(user) : new Refused(failure);
}

function wrongPassword(user: string): Refused {
  const message = `password authentication failed for user "${user}"`;
  return new Refused({ sqlstate: '28P01', message });
}

/** Exactly `count` bytes, or the reason why they will never come. */
function read(door: Door, count: number): Promise<Buffer> {
  const { socket, signal } = door;
  return new Promise((resolve, reject) => {
    if (count === 0) return resolve(Buffer.alloc(0));
    const settle = (then: () => void): void => {
      socket.off('readable', look);
      socket.off('end', onEnd);
      socket.off('close', onEnd);
      socket.off('error', onError);
      signal.removeEventListener('abort', onAbort);
      then();
    };
    const onEnd = (): void => settle(() => reject(new Gone('the client left during the login')));
    const onError = (error: Error): void => settle(() => reject(new Gone(error.message)));
    const onAbort = (): void => settle(() => reject(new Gone('the login took too long')));
    const look = (): void => {
      const bytes: unknown = socket.read(count);
      if (!Buffer.isBuffer(bytes)) return;
      settle(() => (bytes.length === count ? resolve(bytes) : reject(new Gone('cut short'))));
    };
    socket.on('readable', look);
    socket.on('end', onEnd);
    socket.on('close', onEnd);
    socket.on('error', onError);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) return onAbort();
    if (socket.destroyed || socket.readableEnded) return onEnd();
    look();
  });
}

function drain(socket: Socket): Buffer {
  const bytes: unknown = socket.read();
  return Buffer.isBuffer(bytes) ? bytes : Buffer.alloc(0);
}

function encodeNegotiateProtocolVersion(startup: Startup): Buffer {
  const writer = new Writer().int32((3 << 16) | NEWEST_MINOR);
  writer.int32(startup.unknown_extensions.length);
  for (const name of startup.unknown_extensions) writer.cstring(name);
  return writer.message('v');
}

function encodeFatal(fatal: Fatal): Buffer {
  return encodeReport({
    severity: 'FATAL',
    code: fatal.sqlstate,
    message: fatal.message,
    detail: fatal.detail ?? undefined,
    hint: fatal.hint ?? undefined,
  });
}

/** Sends a last message and closes. Draining first keeps a reset from overtaking it. */
export function sendLast(socket: Socket, bytes: Buffer): void {
  socket.on('error', () => {});
  socket.end(bytes);
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), LIMITS.linger_ms);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}
