// Every bound of the approver, by name.
// Invariant: no number that protects the service stands anywhere else in approver/.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const DAY = 24 * 60 * MINUTE;

/** Largest hold request; it has to fit one bus message with room for its envelope. */
export const HOLD_REQUEST_BYTES = 950_000;
/** Operations of the session so far that a request may tell of. */
export const RECENT_MOST = 100;
/** Largest body of an API call. */
export const BODY_BYTES = 64 * 1024;
/** A signature's own time may differ from ours by this much. */
export const SIGNED_SKEW_MS = 2 * MINUTE;
/** Longest reason that a person may give. */
export const REASON_CHARACTERS = 2_000;
/** Shortest and longest life of a hold, whatever a request asks. */
export const HOLD_LIFE_LEAST_MS = SECOND;
export const HOLD_LIFE_MOST_MS = 30 * DAY;
/** How often the sweep looks for expired holds and for answers not yet on record or on the bus. */
export const SWEEP_MS = SECOND;
/** Holds that one sweep settles. */
export const SWEEP_BATCH = 500;
/** Most holds of one page of a list. */
export const PAGE_MOST = 200;
/**
 * Most pending holds of one agent; more are refused, so that one agent can't bury the others'
 * holds.
 */
export const PENDING_PER_AGENT = 1_000;
/** A command-line call's own signature counts this long. */
export const CALL_TOKEN_MS = MINUTE;
/** Life of a one-time invitation, of a signed-in session, and of a passkey challenge. */
export const INVITE_MS = DAY;
export const SESSION_MS = 12 * 60 * MINUTE;
export const CHALLENGE_MS = 5 * MINUTE;
/** Settings and new keys need a sign-in this fresh. */
export const STEP_UP_MS = 5 * MINUTE;
/** Calls a minute of one address; unauthenticated ones get far fewer. */
export const CALLS_A_MINUTE = 1_200;
export const SIGN_INS_A_MINUTE = 30;
/** Live event streams at once, and between two comments that keep one open. */
export const STREAMS_MOST = 500;
export const STREAM_BEAT_MS = 15 * SECOND;
/** How long SQLite waits for another process's write. */
export const DATABASE_BUSY_MS = 5 * SECOND;
/**
 * Connections to a PostgreSQL store of one replica, and the longest that one statement may take.
 */
export const DATABASE_CONNECTIONS = 10;
export const DATABASE_STATEMENT_MS = 10 * SECOND;
/** Compare-and-set attempts before a decision gives up. */
export const DECIDE_ATTEMPTS = 5;
/** A comparison with the attempt before is given up after this. */
export const DIFF_MS = 100;
export const DIFF_EDITS = 2_000;
/** Effects and objects named in a receipt; the binding in it covers all. */
export const RECEIPT_EFFECTS = 50;
export const RECEIPT_OBJECTS = 100;
/** Attempts of one webhook delivery come after these waits, each ± a fifth; then it is dead. */
export const WEBHOOK_WAITS_MS: readonly number[] = [
  0,
  5 * SECOND,
  5 * MINUTE,
  30 * MINUTE,
  120 * MINUTE,
  300 * MINUTE,
  600 * MINUTE,
  840 * MINUTE,
  1200 * MINUTE,
  1440 * MINUTE,
];
/** A receiver answers within this; its answer's body is not read further than this. */
export const WEBHOOK_TIMEOUT_MS = 10 * SECOND;
export const WEBHOOK_ANSWER_BYTES = 4_096;
/** A receiver's own Retry-After is honoured up to this. */
export const WEBHOOK_RETRY_AFTER_MS = DAY;
/** Deliveries under way at once in one replica, and for how long they are its own. */
export const WEBHOOKS_AT_ONCE = 16;
export const WEBHOOK_LEASE_MS = MINUTE;
/** After a rotation the old secret still signs for this long. */
export const WEBHOOK_ROTATION_MS = DAY;
/** Finished deliveries are kept this long; dead ones until replayed or removed. */
export const WEBHOOK_KEEP_MS = 7 * DAY;
/** Longest that a person may lend their groups. */
export const DELEGATION_MOST_MS = 30 * DAY;
/** Entries of others that an operation's story on the page takes from the ledger. */
export const STORY_MOST = 50;
/** Decisions that the dashboard's waiting times look at. */
export const FIGURES_WAITS = 10_000;
/** Largest receipt; with the rest of its entry it has to fit the ledger's 65,535 bytes. */
export const RECEIPT_BYTES = 60_000;
/**
 * Characters of a statement with its parameters, and of one fact, in a chat message. A longer
 * statement stands on the page alone.
 */
export const CHAT_STATEMENT_CHARACTERS = 2_500;
export const CHAT_FACT_CHARACTERS = 500;
/** Writes that one sync of the SQLite store may serve. */
export const DATABASE_GROUP = 64;
/**
 * The SQLite store's log is carried over when it has this many bytes; looked at this often, by a
 * thread that starts with this commit of a process.
 */
export const CHECKPOINT_COMMITS = 100;
export const CHECKPOINT_BYTES = 4 * 1024 * 1024;
export const CHECKPOINT_MS = 500;
/** A request that comes in may be this old; what was taken is remembered twice as long. */
export const INBOUND_SKEW_MS = 5 * MINUTE;
/** Largest request that comes in, and largest answer of a chat's API that is read. */
export const INBOUND_BYTES = 256 * 1024;
export const CHAT_ANSWER_BYTES = 1024 * 1024;
/** How often holds are looked at that are to be reminded of, and how many at once. */
export const REMIND_MS = 5 * SECOND;
export const REMIND_BATCH = 100;
/** A ledger or a bus that is away for this long is worth an alert. */
export const OUTAGE_MS = 30 * SECOND;
/** Acts of the command line that one turn does; how long one that can't be done is told of. */
export const ACTS_AT_ONCE = 100;
export const ACTS_KEEP_MS = DAY;
/** An answer under an Idempotency-Key is kept this long, up to this size. */
export const ANSWER_KEEP_MS = DAY;
export const ANSWER_BYTES = 256 * 1024;
/** A call that began and never ended may be done again after this. */
export const ANSWER_LEASE_MS = MINUTE;
/** Deliveries of one webhook that are given up are one alert within this. */
export const ALERT_AGAIN_MS = 60 * MINUTE;
/** Most people that a reminder in a chat calls by name. */
export const CHAT_MENTIONS = 20;
