// Every bound of the ledger, named.
// Invariant: a bound that another file relies on stands here and nowhere else.

/** Largest canonical entry: the bundle's length prefix is a uint16. */
export const ENTRY_BYTES_MAX = 65_535;
/** Statement text longer than this is stored beside the log, by SHA-256. */
export const STATEMENT_BYTES_INLINE = 16_384;
/** Largest body stored beside the log. */
export const BODY_BYTES_MAX = 64 * 1024 * 1024;
/** Longest idempotence key. */
export const KEY_CHARS_MAX = 200;
/** Most entries in one append call; a call is never split over two commits. */
export const APPEND_ENTRIES_MAX = 4_096;
/** A commit takes whole calls until it has this many entries or bytes. */
export const COMMIT_ENTRIES = 4_096;
export const COMMIT_BYTES = 4 * 1024 * 1024;
/** Calls that may wait for a commit; further ones are refused at once (back-pressure). */
export const WAITING_ENTRIES_MAX = 65_536;
export const WAITING_BYTES_MAX = 128 * 1024 * 1024;

/** Hashes in a full tile, entries in a full bundle (tlog-tiles). */
export const TILE_WIDTH = 256;
export const TILE_HEIGHT = 8;
export const HASH_BYTES = 32;

/**
 * Journal records start at multiples of this; one page, so that a torn write never touches an older
 * record.
 */
export const JOURNAL_ALIGN = 4_096;
/** Size of a journal segment, written out with zeros once and then used again. */
export const SEGMENT_BYTES = 16 * 1024 * 1024;
/** Segments whose files are not settled yet; at this many, commits wait for the disk. */
export const SEGMENTS_LIVE_MAX = 6;

/** The published checkpoint may lag the answered one by about this long under load. */
export const PUBLISH_EVERY_MS = 100;
/** Entries committed and not published; at more, commits wait for the files. */
export const PUBLISH_LAG_MAX = 32_768;
/** Tile files written at the same time. */
export const PUBLISH_PARALLEL = 2;

/** After a poisoned commit: first and longest pause before the log is opened again. */
export const REOPEN_FIRST_MS = 200;
export const REOPEN_LONGEST_MS = 5_000;

/** A signed note: text and signatures. */
export const NOTE_BYTES_MAX = 65_536;
export const NOTE_SIGNATURES_MAX = 64;
/** Hashes in a consistency proof (tlog-witness). */
export const CONSISTENCY_HASHES_MAX = 63;

/** Entries in one transaction of the index. */
export const INDEX_BATCH = 2_000;
/** The index follows the published log after about this long. */
export const INDEX_EVERY_MS = 200;
/** SQLite's page cache for the index. */
export const INDEX_CACHE_KIB = 16 * 1024;
/** Keys held in memory at start because the index lacks them; more are indexed first. */
export const KEYS_LAG_MAX = 100_000;
/** Keys held in memory while the index can't be written; then the oldest are forgotten. */
export const KEYS_RECENT_MAX = 1_000_000;
/** Keys in memory at which commits wait for the index, and how long at most each time. */
export const KEYS_PACE = 250_000;
export const KEYS_PACE_MS = 1_000;
/** Search results on one page, by default and at most. */
export const SEARCH_PAGE = 50;
export const SEARCH_PAGE_MAX = 1_000;
/** Entries of one operation's story. */
export const STORY_ENTRIES_MAX = 1_000;

/** One HTTP request to the service. */
export const REQUEST_BYTES_MAX = 96 * 1024 * 1024;
/** From a request's first byte to its last; a slower one is cut off. */
export const REQUEST_MS = 60_000;
/** An order to retention. */
export const ORDER_BYTES_MAX = 16 * 1024;
/** Entries that the HTTP client puts into one request. */
export const CLIENT_BATCH = 1_000;
/**
 * The HTTP client gives a request up after this long, and tries an unreachable service again this
 * often.
 */
export const CLIENT_TIMEOUT_MS = 10_000;
export const CLIENT_RETRIES = 3;
export const CLIENT_PROBE_MS = 500;
/** Longest wait for an answer to a read, and reads of one client at once. */
export const CLIENT_READ_MS = 3_000;
export const CLIENT_READS = 4;
export const CLIENT_WAITING_MAX = 65_536;

/** How often a standby tries to take the lock. */
export const STANDBY_EVERY_MS = 250;
/** How often witnesses are asked for a co-signature, and how long one may take. */
export const WITNESS_EVERY_MS = 5_000;
export const WITNESS_TIMEOUT_MS = 5_000;
export const WITNESS_ANSWER_BYTES = 64 * 1024;

/** Entries in a shard as a power of two: 65,536. */
export const SHARD_LEVEL = 16;
/** Nothing is removed before this, unless the policy lowers the floor on purpose. */
export const RETENTION_FLOOR_DAYS = 183;
/** How often the service looks for shards to remove, unless set otherwise. */
export const RETENTION_EVERY_MS = 6 * 3_600_000;
/** Newest entries in which the keeper looks for one of another service. */
export const NEWEST_LOOK = 200;
/** Bodies that retention removes while appends that bring a body wait. */
export const BODIES_AT_ONCE = 64;

/** Entries in one transaction of the index in PostgreSQL, and the pause after one that failed. */
export const POSTGRES_BATCH = 1_000;
export const INDEX_RETRY_MS = 5_000;
