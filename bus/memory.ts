// The bus inside one process: same contract as NATS JetStream, no server, nothing on disk.
// Invariant: bodies are copied as JSON on the way, so that nothing works here that could not work
// over a wire; and a message is accepted only once its consumers have handled it, since memory
// would lose it with the process.
import {
  type Bus,
  BusUnavailable,
  type Handler,
  type Responder,
  type Subscription,
} from './bus.ts';
import * as limits from './limits.ts';
import { matches, STREAMS, type Stream, streamOf } from './streams.ts';

interface Message {
  readonly subject: string;
  readonly text: string;
  /** Consumers that were there when it came and have not handled it yet. */
  readonly unhandled: Set<Consumer>;
  /** Called when the last of them has. */
  handled: () => void;
}
interface Log {
  readonly stream: Stream;
  messages: Message[];
  /** Number of the first message still kept. */
  first: number;
  readonly seen: Map<string, number>;
}
interface Consumer {
  readonly log: Log;
  readonly pattern: string;
  next: number;
  readonly handlers: Handler[];
  readonly again: Message[];
  turn: number;
  running: boolean;
}
interface Pattern<H> {
  readonly pattern: string;
  readonly handler: H;
}

export class MemoryBus implements Bus {
  readonly #logs = new Map<string, Log>(
    STREAMS.map((stream) => [stream.name, { stream, messages: [], first: 0, seen: new Map() }]),
  );
  readonly #consumers = new Map<string, Consumer>();
  readonly #listeners = new Set<Pattern<Handler>>();
  readonly #responders: Pattern<Responder>[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Ends a publish that still waits for its consumers. */
  readonly #unhandled = new Set<() => void>();
  #turn = 0;
  #closed = false;

  get unavailable(): string | null {
    return this.#closed ? 'the in-process bus is closed' : null;
  }

  async publish(subject: string, body: unknown, id: string): Promise<void> {
    this.#check();
    const log = this.#log(subject);
    const text = encode(subject, body);
    const now = Date.now();
    const seen = log.seen.get(id);
    if (seen !== undefined && now - seen < limits.DUPLICATE_WINDOW_MS) return;
    if (log.seen.size > limits.MEMORY_STREAM_MESSAGES) {
      for (const [k, at] of log.seen) if (now - at > limits.DUPLICATE_WINDOW_MS) log.seen.delete(k);
    }
    log.seen.set(id, now);
    const there = [...this.#consumers.values()].filter(
      (c) => c.log === log && c.handlers.length > 0 && matches(c.pattern, subject),
    );
    const message: Message = { subject, text, unhandled: new Set(there), handled: () => {} };
    log.messages.push(message);
    this.#trim(log);
    for (const c of this.#consumers.values()) if (c.log === log) this.#run(c);
    for (const l of this.#listeners) {
      if (matches(l.pattern, subject)) {
        queueMicrotask(() => void l.handler(subject, JSON.parse(text)).catch(() => {}));
      }
    }
    try {
      await this.#handled(message);
    } catch (e) {
      log.seen.delete(id);
      throw e;
    }
  }

  async consume(durable: string, subject: string, handler: Handler): Promise<Subscription> {
    this.#check();
    let c = this.#consumers.get(durable);
    if (c && c.pattern !== subject) {
      throw new Error(`consumer ${durable} is for ${c.pattern}, not for ${subject}`);
    }
    if (!c) {
      const log = this.#log(subject);
      c = {
        log,
        pattern: subject,
        next: log.first,
        handlers: [],
        again: [],
        turn: 0,
        running: false,
      };
      this.#consumers.set(durable, c);
    }
    const consumer = c;
    consumer.handlers.push(handler);
    this.#run(consumer);
    return {
      close: async () => {
        const at = consumer.handlers.indexOf(handler);
        if (at >= 0) consumer.handlers.splice(at, 1);
      },
    };
  }

  async listen(subject: string, handler: Handler): Promise<Subscription> {
    this.#check();
    const entry = { pattern: subject, handler };
    this.#listeners.add(entry);
    return {
      close: async () => {
        this.#listeners.delete(entry);
      },
    };
  }

  async request(subject: string, body: unknown, timeoutMs: number): Promise<unknown> {
    this.#check();
    const able = this.#responders.filter((r) => matches(r.pattern, subject));
    const chosen = able[this.#turn++ % Math.max(1, able.length)];
    if (!chosen) throw new BusUnavailable(`nobody answers ${subject}: is the approver running?`);
    const text = encode(subject, body);
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        reject(new BusUnavailable(`no answer to ${subject} within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#timers.add(timer);
      chosen
        .handler(subject, JSON.parse(text))
        .then(
          (answer) => resolve(JSON.parse(encode(subject, answer))),
          (e: unknown) =>
            reject(new BusUnavailable(`${subject} failed: ${reasonOf(e)}`, { cause: e })),
        )
        .finally(() => {
          clearTimeout(timer);
          this.#timers.delete(timer);
        });
    });
  }

  async respond(subject: string, responder: Responder): Promise<Subscription> {
    this.#check();
    const entry = { pattern: subject, handler: responder };
    this.#responders.push(entry);
    return {
      close: async () => {
        const at = this.#responders.indexOf(entry);
        if (at >= 0) this.#responders.splice(at, 1);
      },
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const t of this.#timers) clearTimeout(t);
    this.#timers.clear();
    for (const giveUp of this.#unhandled) giveUp();
    this.#listeners.clear();
    this.#responders.length = 0;
    for (const c of this.#consumers.values()) c.handlers.length = 0;
  }

  /** Rejects when it takes too long; the message stays, and its consumers are given it again. */
  async #handled(message: Message): Promise<void> {
    if (message.unhandled.size === 0) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    message.handled = resolve;
    const late = () => {
      reject(new BusUnavailable(`${message.subject} was not handled: its consumer fails or hangs`));
    };
    const timer = setTimeout(late, limits.PUBLISH_TIMEOUT_MS);
    this.#unhandled.add(late);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#unhandled.delete(late);
    }
  }

  #log(subject: string): Log {
    const log = this.#logs.get(streamOf(subject).name);
    if (!log) throw new Error(`no stream for ${subject}`);
    return log;
  }

  #check(): void {
    if (this.#closed) throw new BusUnavailable('the in-process bus is closed');
  }

  #trim(log: Log): void {
    const extra = log.messages.length - limits.MEMORY_STREAM_MESSAGES;
    if (extra < 1024) return;
    log.messages.splice(0, extra);
    log.first += extra;
  }

  /** Feeds one consumer, one message at a time, in order; a failed one comes back later. */
  #run(c: Consumer): void {
    if (c.running) return;
    c.running = true;
    void (async () => {
      await Promise.resolve();
      while (!this.#closed && c.handlers.length > 0) {
        const message = c.again.shift() ?? this.#next(c);
        if (!message) break;
        await this.#deliver(c, message, limits.REDELIVER_FIRST_MS);
      }
      c.running = false;
    })();
  }

  #next(c: Consumer): Message | null {
    c.next = Math.max(c.next, c.log.first);
    while (c.next < c.log.first + c.log.messages.length) {
      const message = c.log.messages[c.next++ - c.log.first];
      if (message && matches(c.pattern, message.subject)) return message;
    }
    return null;
  }

  async #deliver(c: Consumer, message: Message, retryMs: number): Promise<void> {
    const handler = c.handlers[c.turn++ % c.handlers.length];
    if (!handler) {
      c.again.push(message);
      return;
    }
    try {
      await handler(message.subject, JSON.parse(message.text));
      if (message.unhandled.delete(c) && message.unhandled.size === 0) message.handled();
    } catch {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        void this.#deliver(c, message, Math.min(retryMs * 2, limits.REDELIVER_MOST_MS));
      }, retryMs);
      this.#timers.add(timer);
    }
  }
}

function encode(subject: string, body: unknown): string {
  const text = JSON.stringify(body ?? null);
  const bytes = Buffer.byteLength(text);
  if (bytes > limits.MESSAGE_BYTES) {
    throw new Error(
      `a message of ${bytes} bytes on ${subject} is over the bus's ${limits.MESSAGE_BYTES}`,
    );
  }
  return text;
}

function reasonOf(e: unknown): string {
  return (e instanceof Error ? e.message : String(e)).replaceAll(/[\r\n]+/g, ' ');
}
