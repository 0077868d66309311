// A scripted PostgreSQL client: sends exactly the given bytes at the given moments, and keeps all
// that comes back.
// Invariant: it never waits without a limit, and what it did not expect stays visible in
// `received`.
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { createConnection, type Socket } from 'node:net';
import { fields, line, message, type Received, Splitter, startup, terminate } from './messages.ts';

const PATIENCE_MS = 60_000;

export interface Login {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly parameters?: { readonly [name: string]: string };
  readonly protocol?: number;
}

export class RawClient {
  readonly socket: Socket;
  readonly received: Received[] = [];
  /** Filled when the connection has ended: `end`, or the error's message. */
  ended: string | null = null;
  pid = 0;
  secret: Buffer = Buffer.alloc(0);
  #splitter = new Splitter();
  #wake: (() => void) | null = null;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      this.received.push(...this.#splitter.push(chunk));
      this.#wake?.();
    });
    const over = (why: string) => {
      this.ended ??= why;
      this.#wake?.();
    };
    socket.on('error', (error) => over(error.message));
    socket.on('close', () => over('end'));
  }

  /** A bare connection: nothing is sent yet. */
  static async open(at: { host: string; port: number }): Promise<RawClient> {
    const socket = createConnection(at.port, at.host);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new RawClient(socket);
  }

  /** Logged in and idle; `received` is empty again. */
  static async login(login: Login): Promise<RawClient> {
    const client = await RawClient.open(login);
    try {
      await client.startup(login);
    } catch (cause) {
      client.socket.destroy();
      throw cause;
    }
    return client;
  }

  async startup(login: Login): Promise<Received[]> {
    const { user, database, parameters = {} } = login;
    this.send(startup({ user, database, ...parameters }, login.protocol));
    await this.until((m) => m.type === 'R' || m.type === 'E');
    if (this.received.some((m) => m.type === 'R' && m.body.readInt32BE(0) === 10)) {
      await this.#scram(login.password);
    }
    const seen = await this.until((m) => m.type === 'Z' || m.type === 'E');
    const error = seen.find((m) => m.type === 'E');
    if (error !== undefined) throw new Error(`login refused: ${line(error)}`);
    for (const { type, body } of seen) {
      if (type !== 'K') continue;
      this.pid = body.readInt32BE(0);
      this.secret = Buffer.from(body.subarray(4));
    }
    this.received.length = 0;
    return seen;
  }

  send(...bytes: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(bytes));
  }

  /** Sends in pieces that arrive apart: each cut is an offset into the bytes. */
  async sendCut(bytes: Buffer, cuts: readonly number[], pauseMs = 1): Promise<void> {
    let from = 0;
    for (const cut of [...cuts, bytes.length]) {
      if (cut > from) this.socket.write(bytes.subarray(from, cut));
      if (cut < bytes.length) await new Promise((resolve) => setTimeout(resolve, pauseMs));
      from = cut;
    }
  }

  /** Waits for a message, and answers all received so far. */
  async until(found: (m: Received) => boolean, patienceMs = PATIENCE_MS): Promise<Received[]> {
    return await this.#when(() => this.received.some(found), patienceMs);
  }

  /** Takes the messages up to and with the `count`-th ReadyForQuery out of `received`, as lines. */
  async replies(count = 1, patienceMs = PATIENCE_MS): Promise<string[]> {
    await this.#when(() => this.#readyAt(count) >= 0, patienceMs);
    return this.received.splice(0, this.#readyAt(count) + 1).map(line);
  }

  /** Takes what has come until nothing more came for a while. */
  async settled(quietMs = 50): Promise<string[]> {
    for (let before = -1; before !== this.received.length; ) {
      before = this.received.length;
      await new Promise((resolve) => setTimeout(resolve, quietMs));
    }
    return this.received.splice(0).map(line);
  }

  /** Waits until the other side has hung up. */
  async closed(patienceMs = PATIENCE_MS): Promise<string[]> {
    await this.#when(() => this.ended !== null, patienceMs);
    return this.received.splice(0).map(line);
  }

  async end(): Promise<void> {
    if (this.ended !== null) return;
    this.socket.end(terminate());
    await this.#when(() => this.ended !== null, PATIENCE_MS).catch(() => this.socket.destroy());
  }

  #readyAt(count: number): number {
    let seen = 0;
    return this.received.findIndex((m) => m.type === 'Z' && ++seen === count);
  }

  async #when(done: () => boolean, patienceMs: number): Promise<Received[]> {
    const deadline = Date.now() + patienceMs;
    while (!done()) {
      const left = deadline - Date.now();
      const so = this.received.map(line).join('\n  ');
      if (this.ended !== null) throw new Error(`connection ended (${this.ended}) after:\n  ${so}`);
      if (left <= 0) throw new Error(`waited ${patienceMs} ms in vain after:\n  ${so}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = null;
    }
    return this.received;
  }

  /** RFC 5802 with SHA-256, without channel binding. */
  async #scram(password: string): Promise<void> {
    const hmac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest();
    const first = `n=,r=${randomBytes(18).toString('base64')}`;
    const initial = Buffer.from(`n,,${first}`);
    const length = Buffer.alloc(4);
    length.writeInt32BE(initial.length);
    this.send(message('p', Buffer.from('SCRAM-SHA-256\0'), length, initial));
    const challenge = await this.#sasl(11);
    const {
      r = '',
      s = '',
      i = '',
    } = Object.fromEntries(challenge.split(',').map((part) => [part.slice(0, 1), part.slice(2)]));
    const salted = pbkdf2Sync(password, Buffer.from(s, 'base64'), Number(i), 32, 'sha256');
    const clientKey = hmac(salted, 'Client Key');
    const stored = createHash('sha256').update(clientKey).digest();
    const last = `c=biws,r=${r}`;
    const signature = hmac(stored, `${first},${challenge},${last}`);
    const proof = Buffer.from(clientKey.map((byte, at) => byte ^ (signature[at] ?? 0)));
    this.send(message('p', Buffer.from(`${last},p=${proof.toString('base64')}`)));
    await this.#sasl(12);
  }

  async #sasl(code: number): Promise<string> {
    const isIt = (m: Received) => m.type === 'R' && m.body.readInt32BE(0) === code;
    const seen = await this.until((m) => isIt(m) || m.type === 'E');
    const error = seen.find((m) => m.type === 'E');
    if (error !== undefined) throw new Error(`login refused: ${fields(error.body).M}`);
    return seen.find(isIt)?.body.toString('utf8', 4) ?? '';
  }
}
