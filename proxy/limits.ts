// Every bound of the proxy, in one table.
// Invariant: no number that a peer can push against stands anywhere else in proxy/.

export const LIMITS = {
  /** A startup packet, its length word included (PostgreSQL's own MAX_STARTUP_PACKET_LENGTH). */
  startup_packet_bytes: 10_000,
  /**
   * One SASL message during login, its length word included (PostgreSQL allows 1,024 of payload).
   */
  sasl_message_bytes: 1_100,
  /** From accept to a finished login; a slower client is cut off. */
  handshake_ms: 20_000,
  /**
   * After a last word the socket is drained for so long, so that the word is not lost to a reset.
   */
  linger_ms: 500,
  /** A wrong password, and a name that does not exist, are answered so much later. */
  failed_login_ms: 250,
  /** Encryption requests one connection may make before its startup packet: GSSENC, then SSL. */
  encryption_requests: 2,
  /** Secret of a CancelRequest: 4 bytes in protocol 3.0, up to 256 in 3.2. */
  cancel_secret_bytes: 256,
  /**
   * SCRAM iterations of verifiers made here (PostgreSQL's default), and the most a given verifier
   * may have.
   */
  scram_iterations: 4_096,
  scram_iterations_max: 1_000_000,
  /** Salt and server nonce of SCRAM, in bytes before base64. */
  scram_salt_bytes: 16,
  scram_nonce_bytes: 18,
  /** Login at an upstream server, from the first packet to ReadyForQuery. */
  upstream_connect_ms: 10_000,
  /** Bytes an upstream may send before it is ready; more is not a login any more. */
  upstream_greeting_bytes: 262_144,
  /** Handing a CancelRequest to an upstream. */
  upstream_cancel_ms: 5_000,

  // Session.
  /** One Query or Parse: four times the longest text that is understood. */
  client_statement_bytes: 4 * 1024 * 1024,
  /** One Bind, or one piece of COPY data. */
  client_message_bytes: 64 * 1024 * 1024,
  /** Client messages that carry no statement and no value: Describe, Execute, Close, Sync, … */
  client_small_message_bytes: 16 * 1024,
  /** One server message (PostgreSQL's own bound for a row is 1 GB). */
  server_message_bytes: 0x7fff_fffe,
  /** Bytes one side has not taken yet before the other is not read any further. */
  outlet_bytes: 256 * 1024,
  /** Messages forwarded and not answered yet, in one session. */
  pipeline_depth: 65_536,
  /** Bytes kept of a client that goes on sending while it is held. */
  client_waiting_bytes: 1024 * 1024,
  /**
   * Bytes of all sessions together that are not whole messages yet or wait for their turn, and how
   * many of each session don't count.
   */
  unfinished_bytes: 128 * 1024 * 1024,
  unfinished_free_bytes: 64 * 1024,
  /**
   * Changes of one open transaction whose outcomes wait for its end; past it they are told as they
   * are.
   */
  outcomes_in_transaction: 10_000,
  /**
   * What a signer is told of the session so far: its last operations, the first characters of each,
   * and of how many sessions a proxy remembers them; how exactly it knows which was heard of last.
   */
  recent_operations: 20,
  recent_characters: 300,
  recent_sessions: 5_000,
  recent_order_ms: 1_000,
  /** Shapes of reads that one session counts apart before it starts anew. */
  tallies: 1_000,
  /**
   * Names of prepared statements and portals (NAMEDATALEN - 1: the server cuts longer ones without
   * a word).
   */
  name_bytes: 63,
  /** Prepared statements one session may have open. */
  prepared_statements: 10_000,
  /** The end of a statement in which a comment may state a reason. */
  stated_comment_bytes: 4_096,
  /** Shown of a statement that another one leans on; its digest covers the rest. */
  history_characters: 500,
  /**
   * How often DDL made by others is looked for, while a database has sessions; less often where to
   * look takes more than such a part of the time, up to the most.
   */
  catalog_probe_ms: 1_000,
  catalog_probe_part: 0.05,
  catalog_probe_most_ms: 10_000,
  /** Rows of a catalog that are read at a time, and for how long they are put together. */
  catalog_rows: 500,
  catalog_step_ms: 4,
  /**
   * Ranges of a catalog, and things that depend on what changed in them, that are read again apart;
   * past either the whole catalog is.
   */
  catalog_ranges: 100,
  catalog_dependents: 10_000,
  /**
   * How long a change under way may go on at the server after its client has left, so that its
   * outcome is recorded; and how long a client that sends no more may wait between two bytes.
   */
  orphaned_ms: 60_000,
  /** How long an ended session's last bytes may take to be taken. */
  session_linger_ms: 10_000,
  /** How often open sessions are held against the agents that may still log in. */
  agents_probe_ms: 500,
  /** Client connections at once. */
  sessions: 10_000,
} as const;

/** The grammar (postgres/parser.ts): longer or deeper input is refused before it is parsed. */
export const PARSER_LIMITS = {
  statement_characters: 1_000_000,
  /** Brackets open at once; the grammar's own stack ends somewhat later. */
  nesting: 500,
  /** Commas, semicolons, subscripts and operator signs: what parsing time grows with. */
  marks: 150_000,
  /** Longest text whose comments are looked for when it does not parse. */
  scanned_characters: 65_536,
  /** Memory of an instance that is given up after the text that it grew for. */
  memory_bytes: 256 * 1024 * 1024,
} as const;

/**
 * The effect room (postgres/effect): past these an analysis ends as `unknown`, it never goes on for
 * longer.
 */
export const EFFECT_LIMITS = {
  /**
   * Syntax nodes visited for one message: of its own on the proxy's thread, and in all (with bodies
   * and views met for the first time, or on a thread of its own).
   */
  own_nodes: 60_000,
  nodes: 400_000,
  /** Things that one effect touches. */
  objects: 4_000,
  /** Functions, views and triggers inside one another. */
  depth: 40,
  /** Statements of one message. */
  statements: 1_000,
  /** Prepared statements, cursors, and objects just made, whose meaning a session is known by. */
  names: 1_000,
  /** How often what a transaction made is worked out again, before it counts as unknown. */
  rounds: 8,
  /** Distinct effects of one message. */
  effects: 256,
  /** Judged texts that are kept, and as many shapes; their bytes, roughly, in all. */
  cache_answers: 16_384,
  cache_bytes: 32 * 1024 * 1024,
  /** Functions, views, changes of tables … of one catalog whose findings are kept. */
  cache_found: 20_000,
  /** Longer texts are judged each time. */
  cache_text: 64 * 1024,
  /** Distinct session contexts that share what was judged for any of them. */
  cache_contexts: 256,
  /** Longer texts are judged on a thread of their own (effect/long.ts). */
  here_characters: 8_192,
  /** Such threads, and how many texts may wait for one. */
  threads: 2,
  thread_waiting: 100,
  /** The longest that one text may take there, and a thread to begin (a catalog included). */
  thread_ms: 5_000,
  thread_start_ms: 30_000,
  thread_heap_mb: 256,
  /** Catalogs that one thread knows at once. */
  thread_catalogs: 4,
  /** Rows of a catalog that are handed over at a time. */
  thread_rows: 1_000,
  /** Bytes of long texts and their answers that are kept, and how long one that had none is. */
  long_bytes: 32 * 1024 * 1024,
  long_failed_ms: 5_000,
} as const;
