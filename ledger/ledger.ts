// The ledger in this process: opens the directory, appends, answers, and recovers itself after a
// failed write.
// Invariant: one writer a directory (lock.ts); between a failed write and a recovery that succeeded
// `unavailable` says why.

import { Sequencer } from './append.ts';
import { Bodies, bodyName } from './body.ts';
import { decodeEntry, encodeEntry, identityOf, type Logged } from './canonical.ts';
import { parseCheckpoint } from './checkpoint.ts';
import type { Append, Appended } from './contract.ts';
import { LedgerError, reasonOf } from './errors.ts';
import { DiskFiles, type Files } from './files.ts';
import { PostgresIndex } from './index-postgres.ts';
import { loadSigner } from './key.ts';
import { IndexedKeys, MemoryKeys } from './keys.ts';
import { Layout } from './layout.ts';
import {
  APPEND_ENTRIES_MAX,
  KEYS_RECENT_MAX,
  REOPEN_FIRST_MS,
  REOPEN_LONGEST_MS,
  SHARD_LEVEL,
  TILE_WIDTH,
} from './limits.ts';
import type { Lock } from './lock.ts';
import { parseNote, type Signer } from './note.ts';
import type { Ledger, LedgerOptions } from './options.ts';
import { formatProof } from './proof.ts';
import { type Recovered, recover } from './recover.ts';
import { sealOf } from './seal.ts';
import { type SearchPage, type SearchQuery, type Story, search, story } from './search.ts';
import { bundlePath, splitBundle } from './tile.ts';

export type { Ledger, LedgerOptions } from './options.ts';
export { bodyName };

function identity(bytes: Uint8Array): string {
  const entry = decodeEntry(bytes);
  return identityOf(entry.key, entry);
}

/** What is opened again after a failed write. */
interface Opened {
  readonly sequencer: Sequencer;
  readonly recovered: Recovered;
}

class FileLedger implements Ledger {
  readonly directory: string;
  readonly publicKey: string;
  unavailable: string | null = null;
  readonly #options: LedgerOptions;
  readonly #files: Files;
  readonly #layout: Layout;
  readonly #signer: Signer;
  readonly #lock: Lock;
  readonly #keys: IndexedKeys | MemoryKeys;
  readonly #postgres: PostgresIndex | null;
  readonly #bodies: Bodies;
  #open: Opened;
  #reopening: Promise<void> | null = null;
  #retry: NodeJS.Timeout | null = null;
  #pause = REOPEN_FIRST_MS;
  #closed = false;

  constructor(
    options: LedgerOptions,
    files: Files,
    layout: Layout,
    signer: Signer,
    lock: Lock,
    recovered: Recovered,
  ) {
    this.directory = options.directory;
    this.publicKey = signer.vkey;
    this.#options = options;
    this.#files = files;
    this.#layout = layout;
    this.#signer = signer;
    this.#lock = lock;
    this.#bodies = new Bodies(files, layout);
    this.#keys =
      options.files === undefined
        ? new IndexedKeys({
            path: layout.index,
            publicKey: signer.vkey,
            size: recovered.tree.size,
            directory: options.directory,
            keyAt: (index) => this.#keyAt(index),
            warn: options.warn ?? (() => {}),
          })
        : new MemoryKeys();
    this.#postgres =
      options.searchIn === undefined
        ? null
        : new PostgresIndex({
            url: options.searchIn,
            publicKey: signer.vkey,
            directory: options.directory,
            warn: options.warn ?? (() => {}),
          });
    this.#postgres?.catchUp();
    this.#open = this.#start(recovered);
  }

  /** Before the first append: every key of the log is known, in the index or in memory. */
  async ready(): Promise<void> {
    await this.#loadKeys(this.#open.recovered);
  }

  async #loadKeys(recovered: Recovered): Promise<void> {
    const { size } = recovered.tree;
    // An index that can't be written must not keep the ledger shut: the newest keys are in memory.
    if (this.#keys instanceof IndexedKeys) await this.#keys.until(size).catch(() => {});
    const first = Math.max(this.#keys.reset(size), size - KEYS_RECENT_MAX);
    for (let index = first - (first % TILE_WIDTH); index < size; ) {
      for (const bytes of this.#bundle(recovered, Math.floor(index / TILE_WIDTH))) {
        if (index >= first) this.#keys.add(identity(bytes), index);
        index++;
      }
    }
    if (this.#keys instanceof IndexedKeys) this.#keys.catchUp();
  }

  #start(recovered: Recovered): Opened {
    const sequencer = new Sequencer({
      ...recovered,
      signer: this.#signer,
      keys: this.#keys,
      seal: (tree) => sealOf(tree, this.#signer, this.#options.shardLevel ?? SHARD_LEVEL),
      committed: this.#options.committed ?? (() => {}),
      published: () => {
        if (this.#keys instanceof IndexedKeys) this.#keys.catchUp();
        this.#postgres?.catchUp();
      },
      poisoned: (reason) => this.#poisoned(reason),
    });
    return { sequencer, recovered };
  }

  get size(): number {
    return this.#open.sequencer.size;
  }

  get root(): string {
    return this.#open.sequencer.root.toString('base64');
  }

  get checkpoint(): string {
    return this.#open.sequencer.checkpoint;
  }

  get waiting(): number {
    return this.#open.sequencer.waiting;
  }

  get indexed(): number {
    if (this.#postgres !== null) return this.#postgres.size;
    return this.#keys instanceof IndexedKeys ? this.#keys.indexed : 0;
  }

  async append(appends: readonly Append[]): Promise<readonly Appended[]> {
    if (this.#closed) throw new LedgerError('closed', 'The ledger is closed.');
    if (this.unavailable !== null)
      throw new LedgerError('unavailable', `The ledger takes no entries: ${this.unavailable}.`);
    if (appends.length > APPEND_ENTRIES_MAX) {
      throw new LedgerError(
        'append-too-large',
        `An append takes at most ${APPEND_ENTRIES_MAX} entries; split it.`,
      );
    }
    const items = appends.map((append) => ({
      key: identityOf(append.key, append.entry),
      framed: encodeEntry(append),
    }));
    const bodies = appends.flatMap(({ body }) => (body === undefined ? [] : [body]));
    if (bodies.length === 0) return this.#open.sequencer.append(items);
    return this.#bodies.during(async () => {
      for (const body of bodies) await this.#bodies.store(body);
      return this.#open.sequencer.append(items);
    });
  }

  #bundle(recovered: Recovered, index: number): Uint8Array[] {
    const { tree } = recovered;
    if (tree.recent(index * TILE_WIDTH) !== undefined) {
      const entries: Uint8Array[] = [];
      for (let i = 0; i < TILE_WIDTH; i++) {
        const framed = tree.recent(index * TILE_WIDTH + i);
        if (framed === undefined) break;
        entries.push(framed.subarray(2));
      }
      return entries;
    }
    const path = bundlePath(index, TILE_WIDTH);
    const bytes = this.#files.read(this.#layout.tile(path));
    if (bytes === null) throw this.#gone(index * TILE_WIDTH, path);
    return splitBundle(bytes, TILE_WIDTH, path);
  }

  #gone(first: number, path: string): LedgerError {
    if (this.#keys instanceof IndexedKeys && this.#keys.index.removed(first)) {
      return new LedgerError('removed', `Retention removed entry ${first} and those around it.`);
    }
    return new LedgerError('tile-invalid', `${path} is missing; run: holdpoint ledger verify.`);
  }

  /** Also of entries that are placed but not committed yet, for {@link IndexedKeys}. */
  #keyAt(index: number): string | null | undefined {
    if (this.#keys instanceof IndexedKeys && this.#keys.index.removed(index)) return undefined;
    const { recovered } = this.#open;
    const bytes = recovered.tree.recent(index)?.subarray(2);
    const found =
      bytes ?? this.#bundle(recovered, Math.floor(index / TILE_WIDTH))[index % TILE_WIDTH];
    return found === undefined ? null : identity(found);
  }

  #entry(index: number): Uint8Array {
    const { tree } = this.#open.recovered;
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.size) {
      throw new LedgerError('not-found', `Entry ${index} is not in the log: it has ${this.size}.`);
    }
    const recent = tree.recent(index)?.subarray(2);
    const bytes =
      recent ??
      this.#bundle(this.#open.recovered, Math.floor(index / TILE_WIDTH))[index % TILE_WIDTH];
    if (bytes === undefined)
      throw new LedgerError('not-found', `Entry ${index} is not in the log.`);
    return bytes;
  }

  async read(index: number): Promise<Logged> {
    return decodeEntry(this.#entry(index));
  }

  async body(sha256: string): Promise<Buffer> {
    return this.#bodies.read(sha256);
  }

  bodiesAlone<T>(work: () => Promise<T>): Promise<T> {
    return this.#bodies.alone(work);
  }

  bodyNamed(sha256: string, from: number, to: number): boolean {
    return this.#index().index.bodyNamed(sha256, from, to);
  }

  async proof(index: number): Promise<string> {
    const extra = Buffer.from(this.#entry(index));
    const { sequencer, recovered } = this.#open;
    const { proof } = recovered.tree.proofs(sequencer.size)(index);
    const path = proof.map((text) => Buffer.from(text, 'base64'));
    return formatProof({ index, path, checkpoint: sequencer.checkpoint, extra });
  }

  consistency(from: number, to: number): Buffer[] {
    if (
      !Number.isSafeInteger(from) ||
      !Number.isSafeInteger(to) ||
      from < 0 ||
      from > to ||
      to > this.size
    ) {
      throw new LedgerError(
        'not-found',
        `There is no proof from ${from} to ${to} entries: the log has ${this.size}.`,
      );
    }
    return this.#open.recovered.tree.consistency(from, to);
  }

  #index(): IndexedKeys {
    if (this.#keys instanceof IndexedKeys) return this.#keys;
    throw new LedgerError('not-found', 'This ledger has no index; search needs one.');
  }

  search(query: SearchQuery): Promise<SearchPage> {
    return search(this.#postgres ?? this.#index().index, (index) => this.read(index), query);
  }

  searchHere(query: SearchQuery): Promise<SearchPage> {
    return search(this.#index().index, (index) => this.read(index), query);
  }

  story(id: string): Promise<Story> {
    return story(this.#postgres ?? this.#index().index, (index) => this.read(index), id);
  }

  async publish(indexed = false): Promise<string> {
    const checkpoint = await this.#open.sequencer.publish();
    if (indexed) await this.#postgres?.follow();
    if (indexed) await this.#index().until(parseCheckpoint(parseNote(checkpoint).text).size, 0);
    return checkpoint;
  }

  cosigned(note: string): Promise<void> {
    return this.#open.sequencer.cosigned(note);
  }

  #poisoned(reason: string): void {
    this.unavailable = `a write failed (${reason})`;
    this.#options.warn?.(
      `The ledger stopped: ${this.unavailable}. Changes are refused until it has recovered.`,
    );
    this.#retryLater();
  }

  #retryLater(): void {
    if (this.#options.reopen === false || this.#closed || this.#retry !== null) return;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.reopen().catch(() => this.#retryLater());
    }, this.#pause);
    this.#retry.unref();
    this.#pause = Math.min(this.#pause * 2, REOPEN_LONGEST_MS);
  }

  reopen(): Promise<void> {
    this.#reopening ??= this.#recover().finally(() => {
      this.#reopening = null;
    });
    return this.#reopening;
  }

  async #recover(): Promise<void> {
    if (this.#closed) throw new LedgerError('closed', 'The ledger is closed.');
    this.unavailable ??= 'it is being opened again';
    try {
      await this.#open.sequencer.close();
      await this.#open.recovered.segments.close();
      const recovered = await recover(
        this.#files,
        this.#layout,
        this.#signer,
        this.#options.segmentBytes,
      );
      await this.#loadKeys(recovered);
      this.#open = this.#start(recovered);
    } catch (error) {
      this.unavailable = `recovery failed (${reasonOf(error)})`;
      this.#options.warn?.(`The ledger's ${this.unavailable}.`);
      throw error;
    }
    this.#pause = REOPEN_FIRST_MS;
    this.unavailable = null;
    this.#options.warn?.(`The ledger has recovered with ${this.size} entries.`);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    await this.#reopening?.catch(() => {});
    try {
      await this.#open.sequencer.close();
      await this.#open.recovered.segments.close();
      if (this.#keys instanceof IndexedKeys) await this.#keys.close();
      await this.#postgres?.close();
    } finally {
      this.#lock.release();
    }
  }
}

/** Opens a ledger's directory for appending, making it when it is not there. */
export async function openLedger(options: LedgerOptions): Promise<Ledger> {
  const files = options.files ?? new DiskFiles();
  const layout = new Layout(options.directory);
  await files.makeDirectory(options.directory, 0o700);
  const lock = files.lock(layout.lock);
  try {
    const signer = await loadSigner(files, layout, options.origin, options.key);
    const recovered = await recover(files, layout, signer, options.segmentBytes, options.adopt);
    const ledger = new FileLedger(options, files, layout, signer, lock, recovered);
    await ledger.ready();
    return ledger;
  } catch (error) {
    lock.release();
    throw error;
  }
}
