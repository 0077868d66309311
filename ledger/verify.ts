// Verification: everything derived again from the public files and a key, by nothing but reading.
// Invariant: `ok` means that every byte of every file under `log/` is the one that the signed root
// demands; the first entry that is not is named.
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { type Checkpoint, openCheckpoint } from './checkpoint.ts';
import { reasonOf } from './errors.ts';
import { DiskFiles, type Files } from './files.ts';
import { Layout } from './layout.ts';
import { HASH_BYTES, TILE_WIDTH } from './limits.ts';
import { PublishedLog } from './log.ts';
import { type NodeSource, rangeRoot } from './merkle.ts';
import { openNote, type Verifier } from './note.ts';
import { replay, tileReader } from './recover.ts';
import { hashesAt, parseTilePath, TileNodes, type TilePlace } from './tile.ts';
import { checkRange, type Finding, type RangeResult } from './verify-range.ts';

export interface VerifyOptions {
  readonly directory: string;
  readonly verifier: Verifier;
  /** Signed notes seen earlier: the log must still contain those trees. */
  readonly earlier?: readonly string[];
  /** Witnesses that must have co-signed the checkpoint. */
  readonly witnesses?: readonly Verifier[];
  readonly threads?: number;
  readonly progress?: (done: number, total: number) => void;
  /** Where the files come from; with another than the disk all is done in this thread. */
  readonly files?: Files;
}

export interface Verified {
  readonly ok: boolean;
  readonly checkpoint: Checkpoint | null;
  readonly entries: number;
  /** Entries whose bundles a recorded retention act removed; their hashes are still proven. */
  readonly removed: number;
  /** Entries that are committed in the journal beyond the published checkpoint. */
  readonly journal: number;
  readonly findings: readonly Finding[];
}

/** Ranges of bundles for the threads, about equally long. */
function ranges(bundles: number, threads: number): [number, number][] {
  const each = Math.ceil(bundles / threads);
  const all: [number, number][] = [];
  for (let from = 0; from < bundles; from += each) all.push([from, Math.min(from + each, bundles)]);
  return all;
}

/** Below this many bundles, starting threads takes longer than the work. */
const BUNDLES_INLINE = 64;

async function checkAll(log: PublishedLog, options: VerifyOptions): Promise<RangeResult[]> {
  const bundles = Math.ceil(log.size / TILE_WIDTH);
  let done = 0;
  const progress = (entries: number): void => {
    done += entries;
    options.progress?.(done, log.size);
  };
  const threads = options.threads ?? availableParallelism();
  if (bundles <= BUNDLES_INLINE || threads <= 1 || options.files !== undefined)
    return [checkRange(log, 0, bundles, progress)];
  const work = ranges(bundles, threads).map(
    ([from, to]) =>
      new Promise<RangeResult>((resolve, reject) => {
        const worker = new Worker(new URL('./verify-worker.ts', import.meta.url), {
          workerData: { directory: log.directory, note: log.note, from, to },
        });
        worker.on('message', (message: { progress: number } | { result: RangeResult }) => {
          if ('progress' in message) progress(message.progress);
          else resolve(message.result);
        });
        worker.on('error', reject);
        worker.on('exit', (code) => reject(new Error(`a verifying thread ended with ${code}`)));
      }),
  );
  return Promise.all(work);
}

/** Tiles above level 0 against the roots below them; returns the nodes for the tree's root. */
function checkLevels(
  log: PublishedLog,
  results: readonly RangeResult[],
  findings: Finding[],
): Map<string, TileNodes> {
  const tiles = new Map<string, TileNodes>();
  let below = results.flatMap((result) => result.hashes);
  for (let level = 0; below.length > 0 || level === 0; level++) {
    const full = hashesAt(level + 1, log.size);
    const rest = below[full];
    if (rest !== undefined) tiles.set(`${level}/${full}`, TileNodes.from(level, full, rest));
    const roots = below.slice(0, full);
    const above: Uint8Array[] = [];
    for (let index = 0; index * TILE_WIDTH < roots.length; index++) {
      const hashes = Buffer.concat(roots.slice(index * TILE_WIDTH, (index + 1) * TILE_WIDTH));
      try {
        const tile = log.tile(level + 1, index);
        const wrong = firstDifference(tile, hashes);
        if (wrong !== null) {
          const entry = (index * TILE_WIDTH + wrong) * TILE_WIDTH ** (level + 1);
          findings.push({
            entry,
            what:
              `tile/${level + 1} does not have the root of the tile below that starts at ` +
              `entry ${entry}`,
          });
        }
      } catch (error) {
        findings.push({ entry: null, what: reasonOf(error) });
      }
      const nodes = TileNodes.from(level + 1, index, hashes);
      tiles.set(`${level + 1}/${index}`, nodes);
      above.push(nodes.width === TILE_WIDTH ? Buffer.from(nodes.root) : hashes);
    }
    below = above;
  }
  return tiles;
}

function firstDifference(a: Uint8Array, b: Uint8Array): number | null {
  for (let at = 0; at * HASH_BYTES < Math.max(a.length, b.length); at++) {
    const range: [number, number] = [at * HASH_BYTES, (at + 1) * HASH_BYTES];
    if (Buffer.compare(a.subarray(...range), b.subarray(...range)) !== 0) return at;
  }
  return null;
}

/**
 * Names under the log's directory. A live log drops partial tiles meanwhile, so what is gone is
 * left out.
 */
function* walk(files: Files, directory: string, path = ''): Generator<string> {
  for (const name of files.list(path === '' ? directory : join(directory, path))) {
    const inner = path === '' ? name : `${path}/${name}`;
    if (files.isDirectory(join(directory, inner))) yield* walk(files, directory, inner);
    else yield inner;
  }
}

/** Missing bundles must be covered by a recorded act that names their root; counts the entries. */
function checkMissing(
  results: readonly RangeResult[],
  node: NodeSource,
  findings: Finding[],
): number {
  const acts = results.flatMap((result) => result.removed);
  const proven = acts.filter((act) => node(act.level, act.from / 2 ** act.level).equals(act.root));
  let removed = 0;
  for (const bundle of results.flatMap((result) => result.missing)) {
    const entry = bundle * TILE_WIDTH;
    const known = proven.some((act) => entry >= act.from && entry < act.to);
    const what = `the bundle of entry ${entry} is missing, and no recorded act removed it`;
    if (known) removed += TILE_WIDTH;
    else findings.push({ entry, what });
  }
  return removed;
}

/**
 * Files that the checkpoint does not need: earlier partial ones must be the start of the present
 * ones, others may not be.
 */
function checkFiles(log: PublishedLog, files: Files, findings: Finding[]): void {
  for (const path of walk(files, log.directory)) {
    if (path === 'checkpoint' || path === 'witnessed') continue;
    const place = parseTilePath(path);
    if (place === null) {
      if (!path.endsWith('.new'))
        findings.push({ entry: null, what: `${path} is not a file of the log` });
      continue;
    }
    try {
      const wrong = checkSpare(log, place, () => files.read(join(log.directory, path)));
      if (wrong !== null)
        findings.push({ entry: wrong, what: `${path} is not the start of the present tile` });
    } catch (error) {
      findings.push({ entry: null, what: reasonOf(error) });
    }
  }
}

/**
 * null when right; else the entry it concerns. Tiles at the checkpoint's own width are checked
 * elsewhere.
 */
function checkSpare(log: PublishedLog, place: TilePlace, read: () => Buffer | null): number | null {
  const level = place.level === 'entries' ? 0 : place.level;
  const width = log.width(level, place.index);
  const first = place.index * TILE_WIDTH ** (level + 1);
  if (place.width === width) return null;
  // Published ahead of this checkpoint, or by a run that crashed: nothing signed needs it yet.
  if (place.width > width) return null;
  const bytes = read();
  if (bytes === null) return null;
  const now =
    place.level === 'entries'
      ? Buffer.from(bundleBytes(log, place.index, place.width))
      : log.tile(level, place.index).subarray(0, place.width * HASH_BYTES);
  return bytes.equals(now) ? null : first;
}

function bundleBytes(log: PublishedLog, index: number, width: number): Buffer {
  const parts: Uint8Array[] = [];
  for (const entry of log.bundle(index).slice(0, width)) {
    const length = Buffer.alloc(2);
    length.writeUInt16BE(entry.length);
    parts.push(length, entry);
  }
  return Buffer.concat(parts);
}

/** A running ledger may put a segment to use again between listing and reading: look again. */
const JOURNAL_TRIES = 3;

/** Where the ledger's own directory was given: the journal must go on from the published log. */
function checkJournal(options: VerifyOptions, log: PublishedLog, findings: Finding[]): number {
  const files = new DiskFiles();
  const layout = new Layout(options.directory);
  if (log.directory !== layout.log || !files.exists(layout.journal)) return 0;
  let wrong = '';
  for (let attempt = 0; attempt < JOURNAL_TRIES; attempt++) {
    try {
      const replayed = replay(files, layout, options.verifier, tileReader(files, layout));
      if (replayed === null) return 0;
      const more = replayed.tree.size - log.size;
      if (more < 0) wrong = `the journal ends at ${replayed.tree.size}, before the checkpoint`;
      else if (!replayed.passed(log.checkpoint)) wrong = 'the journal is of another history';
      else return more;
    } catch (error) {
      wrong = reasonOf(error);
    }
  }
  findings.push({ entry: null, what: wrong });
  return 0;
}

function checkEarlier(
  log: PublishedLog,
  verifier: Verifier,
  notes: readonly string[],
  root: (size: number) => Buffer,
): Finding[] {
  const findings: Finding[] = [];
  for (const note of notes) {
    try {
      const earlier = openCheckpoint(note, [verifier]);
      if (earlier.origin !== log.checkpoint.origin) {
        findings.push({
          entry: null,
          what: `the earlier checkpoint is of ${earlier.origin}, another log`,
        });
      } else if (earlier.size > log.size) {
        findings.push({
          entry: log.size,
          what:
            `rolled back: an earlier checkpoint has ${earlier.size} entries, the log ` +
            `${log.size}`,
        });
      } else if (!root(earlier.size).equals(earlier.root)) {
        findings.push({
          entry: null,
          what: `forked: the first ${earlier.size} entries are not those of the earlier checkpoint`,
        });
      }
    } catch (error) {
      findings.push({
        entry: null,
        what: `an earlier checkpoint can't be used: ${reasonOf(error)}`,
      });
    }
  }
  return findings;
}

function order(findings: Finding[]): Finding[] {
  return findings.sort(
    (a, b) => (a.entry ?? Number.MAX_SAFE_INTEGER) - (b.entry ?? Number.MAX_SAFE_INTEGER),
  );
}

/** A running ledger may remove a shard, recorded, while it is read: then it is read again. */
const LOG_TRIES = 3;

export async function verifyLog(options: VerifyOptions): Promise<Verified> {
  let result = await verifyOnce(options);
  for (let attempt = 1; attempt < LOG_TRIES && !result.ok && hasGrown(options, result); attempt++)
    result = await verifyOnce(options);
  return result;
}

function hasGrown(
  { directory, verifier, files }: VerifyOptions,
  { checkpoint }: Verified,
): boolean {
  try {
    return (
      checkpoint !== null && new PublishedLog(directory, verifier, files).size > checkpoint.size
    );
  } catch {
    return false;
  }
}

async function verifyOnce(options: VerifyOptions): Promise<Verified> {
  const findings: Finding[] = [];
  let log: PublishedLog;
  try {
    log = new PublishedLog(options.directory, options.verifier, options.files);
    if (log.checkpoint.origin !== options.verifier.name)
      throw new Error(
        `The checkpoint is of ${log.checkpoint.origin}, the key of ${options.verifier.name}.`,
      );
  } catch (error) {
    return {
      ok: false,
      checkpoint: null,
      entries: 0,
      removed: 0,
      journal: 0,
      findings: [{ entry: null, what: reasonOf(error) }],
    };
  }
  const results = await checkAll(log, options);
  for (const result of results) findings.push(...result.findings);
  const tiles = checkLevels(log, results, findings);
  const node = (level: number, index: number): Buffer => {
    const across = 2 ** (8 - (level % 8));
    const tile = tiles.get(`${Math.floor(level / 8)}/${Math.floor(index / across)}`);
    return tile?.node(level % 8, index % across) ?? log.node(level, index);
  };
  const removed = checkMissing(results, node, findings);
  if (!rangeRoot(0, log.size, node).equals(log.checkpoint.root)) {
    findings.push({
      entry: null,
      what: `the tiles do not give the root that is signed for ${log.size} entries`,
    });
  }
  checkFiles(log, options.files ?? new DiskFiles(), findings);
  const journal = options.files === undefined ? checkJournal(options, log, findings) : 0;
  const witnessed =
    (options.files ?? new DiskFiles()).read(join(log.directory, 'witnessed'))?.toString() ?? null;
  const earlier = [...(options.earlier ?? []), ...(witnessed === null ? [] : [witnessed])];
  findings.push(
    ...checkEarlier(log, options.verifier, earlier, (size) => rangeRoot(0, size, node)),
  );
  for (const witness of options.witnesses ?? []) {
    try {
      openNote(witnessed ?? log.note, [witness]);
    } catch {
      findings.push({
        entry: null,
        what: `witness ${witness.name} has not co-signed this checkpoint`,
      });
    }
  }
  return {
    ok: findings.length === 0,
    checkpoint: log.checkpoint,
    entries: log.size,
    removed,
    journal,
    findings: order(findings),
  };
}
