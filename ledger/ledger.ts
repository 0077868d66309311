// The ledger in this process: opens the directory, appends, answers, and recovers itself after a failed write.
// Invariant: one writer a directory (lock.ts); between a failed write and a recovery that succeeded `unavailable` says why.
import { createHash, hash } from 'node:crypto';
import { dirname } from 'node:path';
import { Sequencer } from './append.ts';
import { decodeEntry, encodeEntry, type Logged } from './canonical.ts';
import type { Append, Appended, LedgerWriter } from './contract.ts';
import { LedgerError, reasonOf } from './errors.ts';
import { DiskFiles, type Files, replaceFile } from './files.ts';
import { MemoryKeys } from './keys.ts';
import { Layout } from './layout.ts';
import {
  APPEND_ENTRIES_MAX,
  BODY_BYTES_MAX,
  REOPEN_FIRST_MS,
  REOPEN_LONGEST_MS,
  TILE_WIDTH,
} from './limits.ts';
import type { Lock } from './lock.ts';
import { checkName, generateKey, type Signer, signerOf } from './note.ts';
import { formatProof } from './proof.ts';
import { type Recovered, recover } from './recover.ts';
import { bundlePath, splitBundle } from './tile.ts';

export interface LedgerOptions {
  readonly directory: string;
  /** The log's name: a schema-less URL such as `ledger.example.com/holdpoint`. Fixed for the log's life. */
  readonly origin: string;
  /** PKCS #8 PEM of an Ed25519 key; by default one is made in the directory at the first start. */
  readonly key?: string;
  /** The file layer; tests put a failing one here. */
  readonly files?: Files;
  /** false: after a failed write stay unavailable until {@link Ledger.reopen} is called. */
  readonly reopen?: boolean;
  /** Size of a journal segment; tests make it small. */
  readonly segmentBytes?: number;
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
  read(index: number): Promise<Logged>;
  /** A C2SP tlog-proof file of an entry, with the entry as its extra data. */
  proof(index: number): Promise<string>;
  /** Writes all that is answered so far as public files. */
  publish(): Promise<void>;
  /** Recovers from the disk after a failed write. */
  reopen(): Promise<void>;
}

async function loadSigner(files: Files, layout: Layout, options: LedgerOptions): Promise<Signer> {
  checkName(options.origin);
  const kept = files.read(layout.key)?.toString() ?? null;
  if (
    kept !== null &&
    options.key !== undefined &&
    signerOf(options.origin, kept).vkey !== signerOf(options.origin, options.key).vkey
  ) {
    throw new LedgerError(
      'key-mismatch',
      `${layout.key} is another key than the one given; a log keeps its key for life.`,
    );
  }
  const pem = kept ?? options.key ?? generateKey();
  const signer = signerOf(options.origin, pem);
  if (kept === null && options.key === undefined) {
    if (files.exists(layout.checkpoint)) {
      throw new LedgerError(
        'key-mismatch',
        `${layout.key} is missing, but the log has been signed already; restore it from the backup.`,
      );
    }
    await replaceFile(files, layout.key, Buffer.from(pem), { mode: 0o600, durable: true });
  }
  await replaceFile(files, layout.publicKey, Buffer.from(`${signer.vkey}\n`), { durable: true });
  return signer;
}

class FileLedger implements Ledger {
  readonly directory: string;
  readonly publicKey: string;
  unavailable: string | null = null;
  readonly #files: Files;
  readonly #layout: Layout;
  readonly #signer: Signer;
  readonly #lock: Lock;
  readonly #auto: boolean;
  readonly #segmentBytes: number | undefined;
  #open: { sequencer: Sequencer; recovered: Recovered };
  #keys = new MemoryKeys();
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
    this.#files = files;
    this.#layout = layout;
    this.#signer = signer;
    this.#lock = lock;
    this.#auto = options.reopen !== false;
    this.#segmentBytes = options.segmentBytes;
    this.#open = this.#start(recovered);
  }

  #start(recovered: Recovered): { sequencer: Sequencer; recovered: Recovered } {
    this.#keys = new MemoryKeys();
    for (let index = 0; index < recovered.tree.size; ) {
      for (const bytes of this.#bundle(recovered, Math.floor(index / TILE_WIDTH))) {
        this.#keys.add(decodeEntry(bytes).key, index++);
      }
    }
    const sequencer = new Sequencer({
      ...recovered,
      files: this.#files,
      signer: this.#signer,
      keys: this.#keys,
      committed: () => {},
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
    const items = appends.map((append) => ({ key: append.key, framed: encodeEntry(append) }));
    for (const { body } of appends) if (body !== undefined) await this.#storeBody(body);
    return this.#open.sequencer.append(items);
  }

  /** Durable before the entry that names it. */
  async #storeBody(body: Uint8Array): Promise<void> {
    if (body.length > BODY_BYTES_MAX) {
      throw new LedgerError(
        'body-too-large',
        `A body of ${body.length} bytes is more than ${BODY_BYTES_MAX}; the operation can't be recorded and must be refused.`,
      );
    }
    const path = this.#layout.body(hash('sha256', body, 'hex'));
    if (this.#files.read(path)?.equals(body) === true) return;
    await this.#files.makeDirectory(dirname(path));
    await replaceFile(this.#files, path, body, { mode: 0o600, durable: true });
    await this.#files.sync(dirname(dirname(path)));
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
    if (bytes === null)
      throw new LedgerError('tile-invalid', `${path} is missing; run: holdpoint ledger verify.`);
    return splitBundle(bytes, TILE_WIDTH, path);
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

  async proof(index: number): Promise<string> {
    const extra = Buffer.from(this.#entry(index));
    const { sequencer, recovered } = this.#open;
    const { proof } = recovered.tree.proofs(sequencer.size)(index);
    const path = proof.map((text) => Buffer.from(text, 'base64'));
    return formatProof({ index, path, checkpoint: sequencer.checkpoint, extra });
  }

  publish(): Promise<void> {
    return this.#open.sequencer.publish();
  }

  #poisoned(reason: string): void {
    this.unavailable = `a write failed (${reason})`;
    this.#retryLater();
  }

  #retryLater(): void {
    if (!this.#auto || this.#closed || this.#retry !== null) return;
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
      this.#open = this.#start(
        await recover(this.#files, this.#layout, this.#signer, this.#segmentBytes),
      );
    } catch (error) {
      this.unavailable = `recovery failed (${reasonOf(error)})`;
      throw error;
    }
    this.#pause = REOPEN_FIRST_MS;
    this.unavailable = null;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    await this.#reopening?.catch(() => {});
    try {
      await this.#open.sequencer.close();
      await this.#open.recovered.segments.close();
    } finally {
      this.#lock.release();
    }
  }
}

/** SHA-256 of a body as hex: the name it is stored under. */
export function bodyName(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('hex');
}

/** Opens a ledger's directory for appending, making it when it is not there. */
export async function openLedger(options: LedgerOptions): Promise<Ledger> {
  const files = options.files ?? new DiskFiles();
  const layout = new Layout(options.directory);
  await files.makeDirectory(options.directory, 0o700);
  const lock = files.lock(layout.lock);
  try {
    const signer = await loadSigner(files, layout, options);
    const recovered = await recover(files, layout, signer, options.segmentBytes);
    return new FileLedger(options, files, layout, signer, lock, recovered);
  } catch (error) {
    lock.release();
    throw error;
  }
}
