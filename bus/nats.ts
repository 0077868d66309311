// The bus over NATS: JetStream for what must last, core subjects for fan-out, requests and answers.
// Invariant: whatever was registered is registered again whenever the server comes back, as often
// as it goes.
import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
} from '@nats-io/jetstream';
import {
  connect,
  credsAuthenticator,
  headers,
  type Msg,
  type NatsConnection,
  type Subscription as NatsSubscription,
  type NodeConnectionOptions,
  nanos,
} from '@nats-io/transport-node';
import {
  type Bus,
  BusUnavailable,
  type Handler,
  type Responder,
  type Subscription,
} from './bus.ts';
import * as limits from './limits.ts';
import { STREAMS, streamOf } from './streams.ts';

export interface NatsSettings {
  readonly servers: readonly string[];
  readonly name?: string;
  /** Contents of a credentials file; never logged. */
  readonly credentials?: string;
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
  readonly tls?: NodeConnectionOptions['tls'];
  /** Copies of each stream in a cluster. */
  readonly replicas?: number;
}

type Setup = (link: Link) => Promise<void>;
interface Link {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
}

/**
 * Resolves once connected, or after {@link limits.FIRST_CONNECT_MS} without: then `unavailable`
 * says so and it goes on trying.
 */
export async function openNatsBus(settings: NatsSettings): Promise<NatsBus> {
  const bus = new NatsBus(settings);
  await bus.first;
  return bus;
}

export class NatsBus implements Bus {
  readonly #settings: NatsSettings;
  readonly #setups = new Set<Setup>();
  readonly first: Promise<void>;
  #link: Link | null = null;
  #why: string | null;
  #closed = false;
  readonly #stop = new AbortController();

  constructor(settings: NatsSettings) {
    this.#settings = settings;
    this.#why = `no connection to NATS at ${settings.servers.join(', ')} yet`;
    const connected = this.#connect();
    this.first = Promise.race([connected, this.#sleep(limits.FIRST_CONNECT_MS)]);
  }

  get unavailable(): string | null {
    return this.#why;
  }

  async publish(subject: string, body: unknown, id: string): Promise<void> {
    streamOf(subject);
    const data = encode(subject, body);
    const link = this.#need();
    try {
      await link.js.publish(subject, data, { msgID: id, timeout: limits.PUBLISH_TIMEOUT_MS });
    } catch (e) {
      throw new BusUnavailable(`NATS did not accept ${subject}: ${reasonOf(e)}`, { cause: e });
    }
  }

  async consume(durable: string, subject: string, handler: Handler): Promise<Subscription> {
    const stream = streamOf(subject).name;
    let stopped = false;
    let stop: (() => void) | null = null;
    const setup: Setup = async (link) => {
      await this.#ensureConsumer(link, stream, durable, subject);
      void (async () => {
        while (!stopped && !this.#closed && this.#link === link) {
          try {
            const consumer = await link.js.consumers.get(stream, durable);
            const messages = await consumer.consume({ max_messages: 16 });
            stop = () => void messages.close();
            for await (const m of messages) await take(m, handler);
          } catch {
            if (stopped || this.#closed) return;
            await this.#sleep(limits.RECONNECT_MS);
            await this.#ensureConsumer(link, stream, durable, subject).catch(() => {});
          }
        }
      })();
    };
    return await this.#register(setup, () => {
      stopped = true;
      stop?.();
    });
  }

  async listen(subject: string, handler: Handler): Promise<Subscription> {
    let sub: NatsSubscription | null = null;
    const setup: Setup = async (link) => {
      sub = link.nc.subscribe(subject, {
        callback: (e, m) => {
          if (e) return;
          const body = decode(m);
          if (body !== undefined) void handler(m.subject, body).catch(() => {});
        },
      });
      await link.nc.flush();
    };
    return await this.#register(setup, () => sub?.unsubscribe());
  }

  async request(subject: string, body: unknown, timeoutMs: number): Promise<unknown> {
    const data = encode(subject, body);
    const link = this.#need();
    let answer: Msg;
    try {
      answer = await link.nc.request(subject, data, { timeout: timeoutMs });
    } catch (e) {
      throw new BusUnavailable(`nobody answered ${subject}: ${reasonOf(e)}`, { cause: e });
    }
    if (answer.headers?.get('Holdpoint-Error')) {
      throw new BusUnavailable(`${subject} failed: ${answer.headers.get('Holdpoint-Error')}`);
    }
    const decoded = decode(answer);
    if (decoded === undefined) throw new BusUnavailable(`the answer to ${subject} is not JSON`);
    return decoded;
  }

  async respond(subject: string, responder: Responder): Promise<Subscription> {
    let sub: NatsSubscription | null = null;
    const setup: Setup = async (link) => {
      sub = link.nc.subscribe(subject, {
        queue: 'holdpoint',
        callback: (e, m) => {
          if (e) return;
          void responder(m.subject, decode(m))
            .then((answer) => m.respond(encode(subject, answer)))
            .catch((failure: unknown) => {
              const h = headers();
              h.set('Holdpoint-Error', reasonOf(failure).replaceAll(/[\r\n]+/g, ' '));
              m.respond('', { headers: h });
            });
        },
      });
      await link.nc.flush();
    };
    return await this.#register(setup, () => sub?.unsubscribe());
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#why = 'the bus is closed';
    this.#stop.abort();
    const link = this.#link;
    this.#link = null;
    await link?.nc.close().catch(() => {});
  }

  async #register(setup: Setup, undo: () => void): Promise<Subscription> {
    if (this.#closed) throw new BusUnavailable('the bus is closed');
    this.#setups.add(setup);
    if (this.#link) await setup(this.#link);
    return {
      close: async () => {
        this.#setups.delete(setup);
        undo();
      },
    };
  }

  #need(): Link {
    if (this.#link && this.#why === null) return this.#link;
    throw new BusUnavailable(this.#why ?? 'NATS is not connected');
  }

  async #connect(): Promise<void> {
    const s = this.#settings;
    while (!this.#closed) {
      try {
        const nc = await connect({
          servers: [...s.servers],
          name: s.name ?? 'holdpoint',
          maxReconnectAttempts: -1,
          reconnectTimeWait: limits.RECONNECT_MS,
          reconnectJitter: limits.RECONNECT_MS,
          pingInterval: limits.PING_MS,
          maxPingOut: 2,
          ...(s.tls ? { tls: s.tls } : {}),
          ...(s.user === undefined ? {} : { user: s.user }),
          ...(s.password === undefined ? {} : { pass: s.password }),
          ...(s.token === undefined ? {} : { token: s.token }),
          ...(s.credentials === undefined
            ? {}
            : { authenticator: credsAuthenticator(new TextEncoder().encode(s.credentials)) }),
        });
        if (this.#closed) return void (await nc.close());
        try {
          await this.#adopt(nc);
          return;
        } catch (e) {
          this.#link = null;
          await nc.close().catch(() => {});
          throw e;
        }
      } catch (e) {
        if (this.#closed) return;
        this.#why = `NATS at ${s.servers.join(', ')} can't be used: ${reasonOf(e)}`;
        await this.#sleep(limits.RECONNECT_MS);
      }
    }
  }

  async #adopt(nc: NatsConnection): Promise<void> {
    const jsm = await jetstreamManager(nc);
    const link = { nc, js: jetstream(nc), jsm };
    await this.#ensureStreams(link);
    this.#link = link;
    for (const setup of this.#setups) await setup(link);
    this.#why = null;
    void this.#watch(link);
  }

  async #watch(link: Link): Promise<void> {
    for await (const s of link.nc.status()) {
      if (this.#closed) return;
      if (s.type === 'disconnect') this.#why = `connection to NATS (${s.server}) is lost`;
      if (s.type === 'reconnect') {
        await this.#ensureStreams(link).catch(() => {});
        if (!this.#closed) this.#why = null;
      }
    }
    if (this.#closed) return;
    this.#link = null;
    this.#why = 'connection to NATS is closed';
    await this.#connect();
  }

  async #ensureStreams({ jsm }: Link): Promise<void> {
    for (const s of STREAMS) {
      const config = {
        subjects: [...s.subjects],
        max_age: nanos(s.keepMs),
        max_msgs_per_subject: s.lastOnly ? 1 : -1,
        max_msg_size: limits.MESSAGE_BYTES,
        duplicate_window: nanos(Math.min(s.keepMs, limits.DUPLICATE_WINDOW_MS)),
      };
      try {
        await jsm.streams.info(s.name);
        await jsm.streams.update(s.name, config);
      } catch (e) {
        if (!(e instanceof JetStreamApiError) || e.code !== 10059) throw e;
        await jsm.streams.add({
          ...config,
          name: s.name,
          storage: StorageType.File,
          retention: RetentionPolicy.Limits,
          discard: DiscardPolicy.Old,
          num_replicas: this.#settings.replicas ?? 1,
        });
      }
    }
  }

  async #ensureConsumer(link: Link, stream: string, durable: string, subject: string) {
    await link.jsm.consumers.add(stream, {
      durable_name: durable,
      filter_subject: subject,
      ack_policy: AckPolicy.Explicit,
      ack_wait: nanos(limits.ACK_WAIT_MS),
      deliver_policy: DeliverPolicy.All,
      max_ack_pending: 256,
    });
  }

  async #sleep(ms: number): Promise<void> {
    if (this.#stop.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#stop.signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#stop.signal.addEventListener('abort', done);
    });
  }
}

async function take(m: JsMsg, handler: Handler): Promise<void> {
  const body = decode(m);
  if (body === undefined) return m.term('not JSON');
  const atWork = setInterval(() => m.working(), limits.ACK_WAIT_MS / 3);
  try {
    await handler(m.subject, body);
    m.ack();
  } catch {
    const delay = limits.REDELIVER_FIRST_MS * 2 ** (m.info.deliveryCount - 1);
    m.nak(Math.min(delay, limits.REDELIVER_MOST_MS));
  } finally {
    clearInterval(atWork);
  }
}

function encode(subject: string, body: unknown): Uint8Array {
  const data = Buffer.from(JSON.stringify(body ?? null));
  if (data.length > limits.MESSAGE_BYTES) {
    throw new Error(
      `a message of ${data.length} bytes on ${subject} is over the bus's ${limits.MESSAGE_BYTES}`,
    );
  }
  return data;
}

/** undefined when it is not JSON: somebody else's message. */
function decode(m: { readonly data: Uint8Array }): unknown {
  try {
    return JSON.parse(Buffer.from(m.data).toString('utf8'));
  } catch {
    return undefined;
  }
}

function reasonOf(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}
