// Tampering with the files of a real log of 2,000 entries: every trial must be found.
// By default a spread of all bytes is tried; HOLDPOINT_TRIALS=all tries every single one (minutes).
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { DrillEntry } from '../../ledger/contract.ts';
import { DiskFiles } from '../../ledger/files.ts';
import { openLedger } from '../../ledger/ledger.ts';
import { PublishedLog } from '../../ledger/log.ts';
import { parseVkey, type Verifier } from '../../ledger/note.ts';
import { bundlePath, parseTilePath } from '../../ledger/tile.ts';
import { verifyLog } from '../../ledger/verify.ts';
import { checkRange } from '../../ledger/verify-range.ts';
import { random } from './faulty-disk.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-tamper-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const origin = 'example.com/tamper';
const ENTRIES = 2000;
const EARLIER = [1, 256, 777, 1500, ENTRIES];

/** The log in memory: file names and bytes, changed one at a time. */
class Memory extends DiskFiles {
  readonly files: Map<string, Buffer>;

  constructor(files: Map<string, Buffer>) {
    super();
    this.files = files;
  }

  override read(path: string): Buffer | null {
    return this.files.get(path) ?? null;
  }

  override list(path: string): string[] {
    const names = new Set<string>();
    for (const file of this.files.keys()) {
      if (file.startsWith(`${path}/`)) names.add(file.slice(path.length + 1).split('/')[0] ?? '');
    }
    return [...names].sort();
  }

  override exists(path: string): boolean {
    return this.files.has(path);
  }

  override isDirectory(path: string): boolean {
    return !this.files.has(path);
  }
}

function drill(number: number, detail: string): DrillEntry {
  return {
    v: 1,
    time: new Date(number * 1000).toISOString(),
    by: 't',
    kind: 'drill',
    name: `d${number}`,
    passed: true,
    detail,
  };
}

function load(where: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (const entry of readdirSync(join(where, 'log'), { recursive: true, withFileTypes: true })) {
    if (entry.isFile())
      files.set(
        join(entry.parentPath, entry.name).replace(join(where, 'log'), '/log'),
        readFileSync(join(entry.parentPath, entry.name)),
      );
  }
  return files;
}

async function build(
  where: string,
  fork: number | null,
): Promise<{ verifier: Verifier; checkpoints: string[]; snapshots: Map<string, Buffer>[] }> {
  const ledger = await openLedger({ directory: where, origin });
  const checkpoints: string[] = [];
  const snapshots: Map<string, Buffer>[] = [];
  for (let at = ledger.size; at < ENTRIES; ) {
    const until = EARLIER.find((size) => size > at) ?? ENTRIES;
    const numbers = Array.from({ length: until - at }, (_, i) => at + i);
    await ledger.append(
      numbers.map((n) => ({
        key: `d${n}`,
        entry: drill(n, fork !== null && n >= fork ? 'other' : 'plain'),
      })),
    );
    at = until;
    await ledger.publish();
    checkpoints.push(ledger.checkpoint);
    snapshots.push(load(where));
  }
  await ledger.close();
  return { verifier: parseVkey(ledger.publicKey), checkpoints, snapshots };
}

const honest = await build(join(directory, 'honest'), null);
const files = load(join(directory, 'honest'));
const memory = new Memory(files);
const log = '/log';
const verifier = honest.verifier;

async function found(earlier: readonly string[] = []): Promise<boolean> {
  return !(await verifyLog({ directory: log, verifier, files: memory, earlier })).ok;
}

/** Runs `change` on a copy of the names and bytes, and puts all back. */
async function trial(
  change: (bent: Map<string, Buffer>) => void,
  earlier: readonly string[] = [],
): Promise<boolean> {
  const kept = new Map(files);
  change(files);
  const result = await found(earlier);
  files.clear();
  for (const [name, bytes] of kept) files.set(name, bytes);
  return result;
}

const choose = random(7);
const pick = <T>(from: readonly T[]): T => from[Math.floor(choose() * from.length)] as T;
const bundles = [...files.keys()].filter((name) => name.includes('/entries/'));
const needed = [...files.keys()].filter((name) => {
  const place = parseTilePath(name.slice(log.length + 1));
  return (
    place === null ||
    place.width ===
      new PublishedLog(log, verifier, memory).width(
        place.level === 'entries' ? 0 : place.level,
        place.index,
      )
  );
});
const neededBundles = bundles.filter((name) => needed.includes(name));
const entriesOf = (bytes: Buffer): Buffer[] => {
  const entries: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 2 + bytes.readUInt16BE(at))
    entries.push(bytes.subarray(at, at + 2 + bytes.readUInt16BE(at)));
  return entries;
};
const other = join(directory, 'forks');
const forks: Map<string, Buffer>[] = [];
for (const at of [1, 255, 256, 900, 1999]) {
  rmSync(other, { recursive: true, force: true });
  cpSync(join(directory, 'honest', 'key'), join(other, 'key'));
  await build(other, at);
  forks.push(load(other));
}
const replaceAll = (bent: Map<string, Buffer>, by: Map<string, Buffer>): void => {
  bent.clear();
  for (const [name, bytes] of by) bent.set(name, bytes);
};
const changeEntries = (bent: Map<string, Buffer>, change: (entries: Buffer[]) => void): void => {
  const name = pick(neededBundles);
  const entries = entriesOf(bent.get(name) ?? Buffer.alloc(0));
  change(entries);
  bent.set(name, Buffer.concat(entries));
};
const kinds: [string, (bent: Map<string, Buffer>) => void][] = [
  ['a file deleted', (bent) => bent.delete(pick(needed))],
  [
    'an entry deleted',
    (bent) =>
      changeEntries(bent, (entries) => entries.splice(Math.floor(choose() * entries.length), 1)),
  ],
  ['an entry doubled', (bent) => changeEntries(bent, (entries) => entries.push(pick(entries)))],
  [
    'two entries swapped',
    (bent) =>
      changeEntries(bent, (entries) => {
        const a = Math.floor(choose() * entries.length);
        const b = (a + 1 + Math.floor(choose() * (entries.length - 1))) % entries.length;
        [entries[a], entries[b]] = [entries[b] as Buffer, entries[a] as Buffer];
      }),
  ],
  [
    'two files swapped',
    (bent) => {
      const a = pick(neededBundles);
      const b = pick(neededBundles.filter((name) => name !== a));
      const bytes = bent.get(a) as Buffer;
      bent.set(a, bent.get(b) as Buffer);
      bent.set(b, bytes);
    },
  ],
  [
    'a file truncated',
    (bent) => {
      const name = pick(needed);
      const bytes = bent.get(name) as Buffer;
      bent.set(name, bytes.subarray(0, Math.floor(choose() * bytes.length)));
    },
  ],
  [
    'bytes added',
    (bent) => {
      const name = pick(needed);
      bent.set(
        name,
        Buffer.concat([bent.get(name) as Buffer, Buffer.from([Math.floor(choose() * 256)])]),
      );
    },
  ],
  ['rolled back', (bent) => replaceAll(bent, pick(honest.snapshots.slice(0, -1)))],
  [
    'an old checkpoint over the present tiles',
    (bent) => bent.set('/log/checkpoint', Buffer.from(pick(honest.checkpoints.slice(0, -1)))),
  ],
  ['forked and signed again', (bent) => replaceAll(bent, pick(forks))],
];

test('the honest log is accepted, with all its earlier checkpoints', async () => {
  const result = await verifyLog({
    directory: log,
    verifier,
    files: memory,
    earlier: honest.checkpoints,
  });
  assert.deepEqual(result.findings, []);
  assert.equal(result.entries, ENTRIES);
});

test('every single-byte change is found', { timeout: 3_600_000 }, async () => {
  const all = process.env.HOLDPOINT_TRIALS === 'all';
  const published = new PublishedLog(log, verifier, memory);
  let trials = 0;
  for (const [name, bytes] of [...files]) {
    const place = parseTilePath(name.slice(log.length + 1));
    const small = bytes.length < 1000;
    for (let at = 0; at < bytes.length; at += all || small ? 1 : 251) {
      const bent = Buffer.from(bytes);
      bent[at] = (bent[at] ?? 0) ^ (1 << (at % 8));
      files.set(name, bent);
      trials++;
      // A bundle and its level-0 tile are checked against each other: that is the part of the
      // verification that a byte of either can change. Everything else goes through the whole.
      const alone =
        place !== null &&
        (place.level === 'entries' || place.level === 0) &&
        place.width === published.width(0, place.index);
      const ok = alone ? !aloneFound(published, place.index) : !(await found());
      assert.ok(!ok, `byte ${at} of ${name} changed and not found`);
    }
    files.set(name, bytes);
  }
  console.log(`# ${trials} single-byte changes`);
});

function aloneFound(published: PublishedLog, index: number): boolean {
  return checkRange(published, index, index + 1, () => {}).findings.length > 0;
}

test('the first bad entry is named', async () => {
  for (const entry of [0, 255, 256, 1024, 1999]) {
    const name = join(log, bundlePath(Math.floor(entry / 256), entry >= 1792 ? 208 : 256));
    const bytes = Buffer.from(files.get(name) ?? '');
    const at = bytes.indexOf(`"name":"d${entry}"`);
    bytes[at + 8] = 'x'.charCodeAt(0);
    const kept = files.get(name) ?? Buffer.alloc(0);
    files.set(name, bytes);
    const result = await verifyLog({ directory: log, verifier, files: memory });
    files.set(name, kept);
    assert.equal(result.findings[0]?.entry, entry);
  }
});

test('1,000 random deletions, reorders, truncations, roll-backs and forks are found', {
  timeout: 300_000,
}, async () => {
  const newest = honest.checkpoints.slice(-1);
  for (let at = 0; at < 1000; at++) {
    const [kind, change] = kinds[at % kinds.length] as (typeof kinds)[number];
    assert.ok(await trial(change, newest), `${kind} (trial ${at}) was not found`);
  }
});
