// One run of a ledger over a disk with one fault, reloaded, checked, and gone on with.
// Invariant: what was answered stands where it was answered, under roots that every checkpoint
// agrees with.
import assert from 'node:assert/strict';
import { bodyName } from '../../ledger/body.ts';
import { openCheckpoint } from '../../ledger/checkpoint.ts';
import type { Append, Appended } from '../../ledger/contract.ts';
import { type Ledger, openLedger } from '../../ledger/ledger.ts';
import { PublishedLog } from '../../ledger/log.ts';
import { hashLeaf, rangeRoot } from '../../ledger/merkle.ts';
import { parseVkey } from '../../ledger/note.ts';
import { type Fault, FaultyDisk } from './faulty-disk.ts';

export const origin = 'example.com/faults';
export const directory = '/ledger';
const BATCHES = [1, 2, 60, 1, 90, 1, 70, 60, 3];

/** Some entries have a body beside the log. */
function bodyOf(number: number): Buffer | null {
  return number % 45 === 2 ? Buffer.from(`body ${number} `.repeat(40)) : null;
}

/** Small, so that hundreds of runs take seconds. */
function appendOf(number: number): Append {
  const time = new Date(number * 1000).toISOString();
  const name = `drill ${number}`;
  const entry = { v: 1, time, by: 'test', kind: 'drill', name, passed: true, detail: '' } as const;
  const body = bodyOf(number);
  return { key: `op-${number}/decision`, entry, ...(body === null ? {} : { body }) };
}

interface Story {
  readonly answered: Map<number, Appended>;
  failed: number[];
}

function open(files: FaultyDisk): Promise<Ledger> {
  return openLedger({ directory, origin, files, reopen: false, segmentBytes: 16 * 1024 });
}

/** Appends the batches; what fails is remembered. Ends at a crash. */
async function work(
  files: FaultyDisk,
  ledger: Ledger,
  story: Story,
  batches: readonly number[],
  from: number,
): Promise<number> {
  let number = from;
  for (const batch of batches) {
    const numbers = Array.from({ length: batch }, () => number++);
    await attempt(ledger, story, numbers);
    if (files.crashed) return number;
    await ledger.publish().catch(() => {});
    if (files.crashed) return number;
    if (ledger.unavailable !== null) {
      // Room again, and the disk answers: recovery must bring the ledger back from what is there.
      files.full = false;
      await ledger.reopen().catch(() => {});
      if (files.crashed) return number;
      if (ledger.unavailable !== null) await ledger.reopen();
    }
    // The writer tries again at once what was refused.
    const again = story.failed;
    story.failed = [];
    if (again.length > 0) await attempt(ledger, story, again);
    if (files.crashed) return number;
  }
  return number;
}

async function attempt(ledger: Ledger, story: Story, numbers: readonly number[]): Promise<void> {
  try {
    const answers = await ledger.append(numbers.map(appendOf));
    answers.forEach((answer, at) => {
      const number = numbers[at];
      if (number !== undefined) story.answered.set(number, answer);
    });
  } catch {
    story.failed.push(...numbers);
  }
}

/**
 * Everything answered stands where it was answered, under roots that every answered checkpoint
 * agrees with.
 */
async function assertKept(
  files: FaultyDisk,
  ledger: Ledger,
  story: Story,
  what: string,
): Promise<void> {
  const verifier = parseVkey(ledger.publicKey);
  await ledger.publish();
  const log = new PublishedLog(`${directory}/log`, verifier, files);
  assert.equal(log.size, ledger.size, what);
  const keys: string[] = [];
  const leaves: Buffer[] = [];
  for (let at = 0; at * 256 < log.size; at++) {
    for (const entry of log.bundle(at)) {
      leaves.push(hashLeaf(entry));
      keys.push(/"key":"([^"]+)"/.exec(Buffer.from(entry).toString())?.[1] ?? '');
    }
    const hashes = Buffer.concat(leaves.slice(at * 256, at * 256 + 256));
    assert.ok(log.tile(0, at).equals(hashes), `${what}: tile ${at}`);
  }
  assert.ok(rangeRoot(0, log.size, log.node).equals(log.checkpoint.root), `${what}: root`);
  assert.equal(new Set(keys).size, keys.length, `${what}: a key twice`);
  const checked = new Set<string>();
  for (const [number, answer] of story.answered) {
    assert.equal(keys[answer.index], `op-${number}/decision`, what);
    const body = bodyOf(number);
    if (body !== null) assert.ok((await ledger.body(bodyName(body))).equals(body), what);
    if (checked.has(answer.checkpoint)) continue;
    const signed = openCheckpoint(answer.checkpoint, [verifier]);
    checked.add(answer.checkpoint);
    assert.ok(signed.size <= log.size, `${what}: rolled back from ${signed.size} to ${log.size}`);
    assert.ok(
      rangeRoot(0, signed.size, log.node).equals(signed.root),
      `${what}: forked at ${signed.size}`,
    );
  }
}

/** One run with one fault; returns how many calls a run has. */
export async function run(
  fault: Fault | null,
  at: number,
  powerSeed: number | null,
): Promise<number> {
  const what = `${fault} at call ${at}${powerSeed === null ? '' : `, power cut ${powerSeed}`}`;
  let files = new FaultyDisk();
  if (fault !== null) files.plan = { at, fault };
  const story: Story = { answered: new Map(), failed: [] };
  let next = 0;
  let ledger: Ledger | null = null;
  try {
    ledger = await open(files);
    next = await work(files, ledger, story, BATCHES, 0);
    if (!files.crashed) {
      await assertKept(files, ledger, story, what);
      await ledger.close();
    }
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
  }
  const calls = files.calls;
  if (files.crashed) await ledger?.close().catch(() => {});
  files.full = false;
  files = powerSeed === null ? files.restart() : files.powerCut(powerSeed);
  const again = await open(files).catch((error: unknown) => {
    throw new Error(`${what} (${files.trace.at(-1)}): can't be opened again`, { cause: error });
  });
  await assertKept(files, again, story, what);
  // The writer tries again what it got no answer for, then goes on.
  const retry = story.failed;
  story.failed = [];
  if (retry.length > 0) await attempt(again, story, retry);
  await work(files, again, story, [1, 40], next);
  assert.deepEqual(story.failed, [], what);
  await assertKept(files, again, story, `${what}, after going on`);
  await again.close();
  return calls;
}
