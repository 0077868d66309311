// Every bound of the verdict stage, one table.
// Invariant: reaching a bound is a denial or a rejected policy, never a pass.

/** Largest policy text, data or test file that is read. */
export const MAX_SOURCE_BYTES = 8 * 1024 * 1024;
/** Longest run of one `opa` command (build, test, parse); then it is killed. */
export const OPA_TIMEOUT_MS = 60_000;
/** Longest install of opa with `go install`. */
export const OPA_INSTALL_TIMEOUT_MS = 300_000;
/** Largest output that is read from one `opa` command. */
export const MAX_OPA_OUTPUT = 256 * 1024 * 1024;

/** WebAssembly pages (64 KiB) that one policy may use for data, input and scratch: 64 MiB. */
export const MAX_POLICY_PAGES = 1024;
/** Largest `input` document that is judged; a larger one is a denial. */
export const MAX_INPUT_BYTES = 4 * 1024 * 1024;
/** Longest evaluation of one effect before it is stopped. */
export const EVALUATION_TIMEOUT_MS = 250;
/** Longest judging of one operation, all its effects together; looked at after each. */
export const OPERATION_TIMEOUT_MS = 500;
/** A failure is answered again without asking for so long: a slow question can't stop everybody. */
export const FAILURE_TTL_MS = 2000;
/**
 * Evaluations of a kind of effect that run under the watch before its kind is trusted: see
 * evaluate.ts.
 */
export const WATCHED_EVALUATIONS = 8;
/** An evaluation slower than this keeps its kind under the watch. */
export const SLOW_EVALUATION_MS = 5;
/** Kinds of effect that are remembered as trusted. */
export const MAX_TRUSTED_KINDS = 4096;
/** Distinct effects of one operation that are judged; more is a denial. */
export const MAX_DISTINCT_EFFECTS = 512;

/** Answers of one policy question that are read; more is an odd answer. */
export const MAX_ANSWERS = 1000;
/** Longest `rule`, `reason` and `group` in an answer. */
export const MAX_WORDS = 1000;
export const MAX_SIGNATURES = 20;
export const MAX_CHANNELS = 20;
export const DEFAULT_EXPIRES_MS = 30 * 60_000;
export const DEFAULT_WAIT_MS = 45_000;
export const MIN_EXPIRES_MS = 1000;
export const MAX_EXPIRES_MS = 30 * 24 * 3_600_000;
export const MAX_WAIT_MS = 3_600_000;

/** Characters of input keys that the verdict cache keeps, in all and of one. */
export const CACHE_CHARACTERS = 16 * 1024 * 1024;
export const CACHE_MAX_KEY = 64 * 1024;
/** Circumstances (agent, target, mode, …) remembered for one analysis. */
export const CACHE_CIRCUMSTANCES = 16;

/** A changed file must be quiet this long before it is read. */
export const SETTLE_MS = 100;
/** Files are looked at this often even when no change was signalled (network mounts). */
export const POLL_MS = 2000;
/** Longest sleep of a timer (its own limit is 2^31 ms). */
export const MAX_TIMER_MS = 24 * 3_600_000;
