// Every bound of the bus, by name.
// Invariant: both buses keep the same bounds, so that what works embedded works at scale.

/** Largest message; NATS servers refuse more than 1 MiB unless told otherwise. */
export const MESSAGE_BYTES = 1_000_000;
/** A message whose handler failed comes back after this, doubling up to the next. */
export const REDELIVER_FIRST_MS = 100;
export const REDELIVER_MOST_MS = 10_000;
/**
 * A message that its consumer says nothing of for this long goes to another one: that is how long a
 * killed consumer can delay it. A handler at work says so three times as often.
 */
export const ACK_WAIT_MS = 3_000;
/** The same id published again within this (or within a stream's whole keep) is one message. */
export const DUPLICATE_WINDOW_MS = 120_000;
/** Messages the in-process bus keeps in each stream for consumers that have not come yet. */
export const MEMORY_STREAM_MESSAGES = 50_000;
/** Answer time of JetStream before a publish counts as not accepted. */
export const PUBLISH_TIMEOUT_MS = 3_000;
/** Between two attempts to reach a NATS server. */
export const RECONNECT_MS = 250;
/** A NATS server that does not answer two pings this far apart counts as gone. */
export const PING_MS = 2_000;
/** How long a start waits for the first connection before it goes on without. */
export const FIRST_CONNECT_MS = 2_000;
