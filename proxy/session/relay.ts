// Two sockets and the bytes between them: each side is read only as fast as the other takes it.
// Invariant: what one event brings for a socket leaves in one write, at the event's end; memory is
// bounded by `outlet_bytes` a direction.
import type { Duplex } from 'node:stream';
import { LIMITS } from '../limits.ts';

/** Both directions of a session, and its events. */
export class Relay {
  readonly toServer: Outlet;
  readonly toClient: Outlet;
  readonly #failed: (error: unknown) => void;

  /** `failed` is told of a failure of ours: it ends this session alone. */
  constructor(client: Duplex, server: Duplex, failed: (error: unknown) => void) {
    this.toServer = new Outlet(server, client);
    this.toClient = new Outlet(client, server);
    this.#failed = failed;
  }

  /** One event (bytes, a timer, an answer): what it brings for either side leaves at its end. */
  event<Given>(work: (given: Given) => void, given: Given): void {
    this.toServer.gather();
    this.toClient.gather();
    try {
      work(given);
    } catch (error) {
      this.#failed(error);
    }
    this.toServer.flush();
    this.toClient.flush();
  }

  /**
   * Takes a socket's bytes. While it flows and nothing is buffered they are taken where the socket
   * hands them to its stream, which spares the stream's own way: a tick of process.nextTick for
   * each chunk costs more than understanding the message in it. Otherwise (paused, ended, or a Node
   * that hands them over elsewhere) they come by the stream's `data`.
   */
  read(socket: Duplex, take: (chunk: Buffer) => void): void {
    const event = (chunk: Buffer): void => this.event(take, chunk);
    socket.on('data', event);
    const push = socket.push;
    socket.push = (chunk, encoding) => {
      const flows = socket.readableFlowing === true && socket.readableLength === 0;
      if (!flows || chunk === null) return push.call(socket, chunk, encoding);
      event(chunk);
      return true;
    };
  }
}

/**
 * One direction's writing end: joins what is written between {@link gather} and {@link flush}, and
 * holds the source back while the sink is full.
 */
export class Outlet {
  readonly #sink: Duplex;
  readonly #source: Duplex;
  #gathering = false;
  #first: Buffer | null = null;
  #more: Buffer[] = [];
  #held = false;

  constructor(sink: Duplex, source: Duplex) {
    this.#sink = sink;
    this.#source = source;
    sink.on('drain', () => {
      if (!this.#held) return;
      this.#held = false;
      source.resume();
    });
  }

  /** What is written from here on waits for {@link flush}. */
  gather(): void {
    this.#gathering = true;
  }

  write(bytes: Buffer): void {
    if (!this.#gathering) this.#send(bytes);
    else if (this.#first === null) this.#first = bytes;
    else this.#more.push(bytes);
  }

  /** Sends what was gathered. */
  flush(): void {
    this.#gathering = false;
    const first = this.#first;
    if (first === null) return;
    this.#first = null;
    if (this.#more.length === 0) return this.#send(first);
    const more = this.#more;
    this.#more = [];
    this.#sink.cork();
    this.#send(first);
    for (const bytes of more) this.#send(bytes);
    this.#sink.uncork();
  }

  #send(bytes: Buffer): void {
    // 'drain' comes whenever the sink was asked to take more than its own mark, which is below
    // ours.
    if (!this.#sink.writable || this.#sink.write(bytes) || this.#held) return;
    if (this.#sink.writableLength < LIMITS.outlet_bytes) return;
    this.#held = true;
    this.#source.pause();
  }

  get held(): boolean {
    return this.#held;
  }
}
