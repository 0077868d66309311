// What the ledger is opened with, and what it offers beside the contract of its writers.
// Invariant: declarations only.
import type { Logged } from './canonical.ts';
import type { LedgerWriter } from './contract.ts';
import type { Files } from './files.ts';
import type { SearchPage, SearchQuery, Story } from './search.ts';

export interface LedgerOptions {
  readonly directory: string;
  /**
   * The log's name: a schema-less URL such as `ledger.example.com/holdpoint`. Fixed for the log's
   * life.
   */
  readonly origin: string;
  /** PKCS #8 PEM of an Ed25519 key; by default one is made in the directory at the first start. */
  readonly key?: string;
  /** The file layer; tests put a failing one here. With another than the disk there is no index. */
  readonly files?: Files;
  /** false: after a failed write stay unavailable until {@link Ledger.reopen} is called. */
  readonly reopen?: boolean;
  /** true: the journal is lost; go on from the published log. An operator's decision. */
  readonly adopt?: boolean;
  /** Size of a journal segment; tests make it small. */
  readonly segmentBytes?: number;
  /** Entries in a shard as a power of two, at least 8; tests make it small. */
  readonly shardLevel?: number;
  /** URL of a PostgreSQL database to search in, instead of the file beside the log. */
  readonly searchIn?: string;
  /** Told what an operator should know; never an entry's content. */
  readonly warn?: (message: string) => void;
  /** Told of each commit, for metrics. */
  readonly committed?: (entries: number, milliseconds: number) => void;
}

/** The writer's side with reads, as the embedded start uses it. */
export interface Ledger extends LedgerWriter {
  /** `<name>+<id>+<key>`: all that `holdpoint ledger verify` needs beside the files. */
  readonly publicKey: string;
  readonly directory: string;
  readonly size: number;
  /** base64 of the root at {@link size}. */
  readonly root: string;
  /** The newest signed checkpoint. */
  readonly checkpoint: string;
  /** Entries waiting for a commit, and entries that searches cover. */
  readonly waiting: number;
  readonly indexed: number;
  read(index: number): Promise<Logged>;
  /** A statement's bytes that were too long for its entry. */
  body(sha256: string): Promise<Buffer>;
  /** Runs `work` while no append that brings a body is under way; such appends wait for it. */
  bodiesAlone<T>(work: () => Promise<T>): Promise<T>;
  /** true when an indexed entry that is not one of [from, to) names this body. */
  bodyNamed(sha256: string, from: number, to: number): boolean;
  /** A C2SP tlog-proof file of an entry, with the entry as its extra data. */
  proof(index: number): Promise<string>;
  /** Hashes that prove the tree of `from` entries is the start of the tree of `to`. */
  consistency(from: number, to: number): Buffer[];
  search(query: SearchQuery): Promise<SearchPage>;
  /** The same in the index beside the log, wherever searches are answered from. */
  searchHere(query: SearchQuery): Promise<SearchPage>;
  /** Everything about one operation or hold, in order. */
  story(id: string): Promise<Story>;
  /**
   * Resolves with its checkpoint when all that is answered so far is public files and, `indexed`,
   * found by searches.
   */
  publish(indexed?: boolean): Promise<string>;
  /** Keeps and serves a published checkpoint with its co-signatures. */
  cosigned(note: string): Promise<void>;
  /** Recovers from the disk after a failed write. */
  reopen(): Promise<void>;
}
