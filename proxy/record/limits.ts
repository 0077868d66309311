// Every bound of recording at the proxy.
// Invariant: a bound that record/ relies on stands here and nowhere else.

/** Statement text longer than this goes beside the log, by SHA-256. */
export const STATEMENT_INLINE_BYTES = 16_384;
export const NORMALIZED_CHARS = 4_096;
export const PARAMETER_TEXT_CHARS = 1_024;
export const STATED_CHARS = 2_048;
export const ANSWER_CHARS = 1_024;
/** Entry as JSON, with room for the key, before detail is cut to digests. */
export const ENTRY_BYTES = 60_000;
/** What is kept one by one of a cut list. */
export const PARAMETERS_KEPT = 32;
export const EFFECTS_KEPT = 16;
export const OBJECTS_KEPT = 16;

/** Reads are summed up for this long. */
export const READS_EVERY_MS = 1_000;
/** A decision that is not on record after this long counts as not recorded. */
export const DECISION_WAIT_MS = 10_000;
/** Outcomes wait this long for company. */
export const OUTCOME_PAUSE_MS = 5;
/** Entries in one append. */
export const BATCH_ENTRIES = 1_000;
/** Entries sent to the ledger and not answered; above it reads stop until it catches up. */
export const UNANSWERED_MAX = 50_000;

/** The spool on local disk: above the first, reads stop; outcomes may go on to the second. */
export const SPOOL_READS_BYTES = 64 * 1024 * 1024;
export const SPOOL_BYTES = 80 * 1024 * 1024;
export const SPOOL_FILE_BYTES = 4 * 1024 * 1024;
/** Entries kept in memory when the spool itself can't be written. */
export const MEMORY_ENTRIES = 10_000;
/** First and longest pause between tries to ship the spool. */
export const SHIP_FIRST_MS = 100;
export const SHIP_LONGEST_MS = 5_000;

/** Where literals stay out: shorter values are not looked for in what is said of a statement. */
export const REDACT_VALUE_CHARS = 3;
/** Values looked for; where a statement has more, what is said of it is left out. */
export const REDACT_VALUES = 2_000;
