// The ledger's contract: what may be written, and what an append answers.
// Invariant: an entry is canonical JSON (RFC 8785) of at most 65,535 bytes; an append is answered
// only when entry, tiles and a checkpoint containing it are on disk.
import type { Effect, EffectClass } from '../proxy/effect/effect.ts';
import type { Parameter, Stated } from '../proxy/operation.ts';
import type { Mode, Verdict } from '../proxy/verdict/verdict.ts';

export const ENTRY_VERSION = 1;

interface Common {
  readonly v: typeof ENTRY_VERSION;
  /** RFC 3339 with milliseconds, UTC: the writer's clock. */
  readonly time: string;
  /** Which service wrote it: `proxy/<instance>`, `approver/<instance>`. */
  readonly by: string;
}

/** Who asked, where. Shared by the entries about an operation. */
export interface Asked {
  /** Operation id. */
  readonly operation: string;
  readonly session: string;
  readonly agent: string;
  readonly target: string;
  readonly environment: string;
  readonly engine: string;
  readonly database: string;
}

/**
 * The statement as asked: its bytes base64 when small, else only the digest (the body is stored
 * beside the log).
 */
export interface StatementRecord {
  /**
   * `full`: statement and values are here or in the body. `sealed`: only the normalized text is
   * here, the body is a JWE of all the rest. `none`: only the normalized text is kept.
   */
  readonly literals: 'full' | 'sealed' | 'none';
  /** Of the statement, or of the sealed body; null where literals are not kept. */
  readonly sha256: string | null;
  readonly bytes: number;
  readonly text: string | null;
  readonly base64: string | null;
  readonly fingerprint: string;
  readonly normalized: string;
  readonly parameters: readonly {
    readonly type: string;
    readonly format: Parameter['format'];
    readonly text: string | null;
    readonly sha256: string | null;
  }[];
}

/** Before a change may reach the engine; also for every hold and denial. */
export interface DecisionEntry extends Common, Asked {
  readonly kind: 'decision';
  readonly class: EffectClass;
  readonly effects: readonly Effect[];
  readonly statement: StatementRecord;
  readonly verdict: Verdict;
  /**
   * `hold` asked for signatures; `redeemed` used a receipt; `observed` would not have passed but
   * the target is observe-only.
   */
  readonly disposition: 'forward' | 'hold' | 'refuse' | 'redeemed' | 'observed';
  readonly policy: string;
  readonly mode: Mode;
  readonly stated: Stated;
  readonly in_transaction: boolean;
  readonly hold: string | null;
  readonly binding: string | null;
  /** The JWS that was redeemed. */
  readonly receipt: string | null;
}

/** What the engine said it did. */
export interface OutcomeEntry extends Common, Asked {
  readonly kind: 'outcome';
  readonly outcome: 'done' | 'failed' | 'unknown';
  /**
   * The engine's own word: a command tag, a result document's summary, an SQLSTATE. No row data.
   */
  readonly answer: string | null;
  readonly rows: number | null;
  readonly duration_ms: number | null;
}

/**
 * Reads of one session, fingerprint, verdict and rule within a second, or one read where the target
 * says `each`.
 */
export interface ReadsEntry extends Common, Omit<Asked, 'operation'> {
  readonly kind: 'reads';
  readonly class: EffectClass;
  readonly fingerprint: string;
  readonly normalized: string;
  readonly verdict: Verdict['kind'];
  readonly rule: string;
  readonly policy: string;
  readonly count: number;
  readonly first: string;
  readonly last: string;
}

/** One person's signature on a hold, or their denial of it. */
export interface SignatureEntry extends Common {
  readonly kind: 'signature';
  readonly hold: string;
  readonly operation: string;
  readonly binding: string;
  readonly signer: string;
  readonly decision: 'approve' | 'deny' | 'withdraw';
  /** `attested`: a click that the approver vouches for, with its own key. */
  readonly method: 'ed25519' | 'passkey' | 'attested';
  /** `page`, `cli`, `slack`, `teams` or `callback:<name>`. */
  readonly channel: string;
  readonly signature: string;
  readonly reason: string | null;
}

/** A hold's way: approved (receipt issued), denied, expired, withdrawn, redeemed. */
export interface HoldEntry extends Common {
  readonly kind: 'hold';
  readonly hold: string;
  readonly operation: string;
  readonly binding: string;
  readonly state: 'approved' | 'denied' | 'expired' | 'withdrawn' | 'redeemed';
  readonly receipt: string | null;
  readonly reason: string | null;
}

export interface ModeEntry extends Common {
  readonly kind: 'mode';
  readonly scope: 'all' | 'target' | 'agent';
  readonly name: string | null;
  readonly mode: Mode;
  readonly who: string;
  readonly reason: string | null;
}

export interface PolicyEntry extends Common {
  readonly kind: 'policy';
  readonly digest: string;
  readonly previous: string | null;
  readonly accepted: boolean;
  readonly message: string | null;
}

export interface DrillEntry extends Common {
  readonly kind: 'drill';
  readonly name: string;
  readonly passed: boolean;
  readonly detail: string;
}

/** Settings, agents, signers, retention and shards: an administrative act on Holdpoint itself. */
export interface AdministrationEntry extends Common {
  readonly kind: 'administration';
  readonly act: string;
  readonly who: string;
  readonly what: string;
  readonly detail: { readonly [name: string]: string | number | boolean | null };
}

export type Entry =
  | DecisionEntry
  | OutcomeEntry
  | ReadsEntry
  | SignatureEntry
  | HoldEntry
  | ModeEntry
  | PolicyEntry
  | DrillEntry
  | AdministrationEntry;

/**
 * One entry to append. `key` makes it idempotent: a second append of the same key answers with the
 * first's place.
 */
export interface Append {
  readonly key: string;
  readonly entry: Entry;
  /**
   * A body too large for the entry, stored beside the log under its SHA-256 before the entry is.
   */
  readonly body?: Uint8Array;
}

/** Where an entry stands, provable without asking again. Hashes are base64. */
export interface Appended {
  readonly index: number;
  readonly leaf: string;
  readonly size: number;
  readonly proof: readonly string[];
  readonly checkpoint: string;
}

/**
 * The append side of the ledger; in process or over HTTP, the same contract. Rejects when nothing
 * was written.
 */
export interface LedgerWriter {
  append(appends: readonly Append[]): Promise<readonly Appended[]>;
  /**
   * Fills when appends would fail now; used for health and to refuse changes early with a clear
   * reason.
   */
  readonly unavailable: string | null;
  close(): Promise<void>;
}
