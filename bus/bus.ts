// The bus: how proxy and approver speak. In process by default, NATS JetStream when configured; the
// same contract, the same tests.
// Invariant: the bus carries messages, it is never the record.

export interface Subscription {
  close(): Promise<void>;
}

/**
 * A handler's rejection means "not handled": a durable message is delivered again. Payloads are
 * JSON values.
 */
export type Handler = (subject: string, body: unknown) => Promise<void>;
export type Responder = (subject: string, body: unknown) => Promise<unknown>;

export interface Bus {
  /**
   * Durable publish; resolves when the bus has it where a crash of this process does not lose it.
   * `id` removes duplicates.
   */
  publish(subject: string, body: unknown, id: string): Promise<void>;
  /**
   * Durable, at least once, shared by all consumers of the same `durable` name (one of them gets
   * each message),
   * from the first message the name has not handled. `subject` may end in `.>`.
   */
  consume(durable: string, subject: string, handler: Handler): Promise<Subscription>;
  /** Every message published from now on, to this subscriber too (fan-out); not replayed. */
  listen(subject: string, handler: Handler): Promise<Subscription>;
  /** Ask and wait; rejects with `BusUnavailable` when nobody answers in time. */
  request(subject: string, body: unknown, timeoutMs: number): Promise<unknown>;
  /** Answer requests; several responders share the load. */
  respond(subject: string, responder: Responder): Promise<Subscription>;
  /** null when the bus can carry messages now, else why not. */
  readonly unavailable: string | null;
  close(): Promise<void>;
}

export class BusUnavailable extends Error {
  override name = 'BusUnavailable';
}
