// The same files under other people's programs: Go's sumdb/note and sumdb/tlog, Tessera's fsck, and
// a witness of transparency-dev.
// Invariant: they come from the Go module proxy in the versions that go.sum pins; without Go the
// test says so, and fails where CI is set.
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { request } from 'undici';
import { parseCheckpoint } from '../../ledger/checkpoint.ts';
import { openLedger } from '../../ledger/ledger.ts';
import { openNote, parseVkey } from '../../ledger/note.ts';
import { serveLedger } from '../../ledger/serve.ts';
import { verifyLog } from '../../ledger/verify.ts';
import { appendOf } from './entries.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-third-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const hasGo = spawnSync('go', ['version']).status === 0;
const why =
  'go is not installed: the log was NOT checked by third-party programs (install Go 1.25 or newer)';
if (!hasGo) console.error(why);
const options = { skip: hasGo || process.env.CI ? false : why, timeout: 600_000 };
const PATIENCE_MS = 240_000;
const bin = join(directory, 'bin');
const FSCK = 'github.com/transparency-dev/tessera/cmd/fsck';

before(
  async () => {
    if (!hasGo) return;
    const here = join(import.meta.dirname, 'third-party');
    await promisify(execFile)('go', ['build', '-o', `${bin}/`, '.', './witness', FSCK], {
      cwd: here,
    });
  },
  { timeout: 600_000 },
);

/**
 * true when it says so. Where a hash is wrong, fsck 1.0.4 stops without an end: it gets twice as
 * long as the right log took.
 */
function fsck(where: string, timeout: number): boolean {
  const url = `file://${where}/log/`;
  const key = join(where, 'key.pub');
  const words = ['--ui=false', `--storage_url=${url}`, `--public_key=${key}`, '-N=2'];
  const { stderr } = spawnSync(join(bin, 'fsck'), words, { timeout, encoding: 'utf8' });
  return stderr.includes("Successfully fsck'd log");
}

test(
  'sumdb and fsck accept log, proofs and checkpoints, and find a changed byte',
  options,
  async () => {
    assert.ok(hasGo, why);
    const program = join(bin, 'third-party');
    const where = join(directory, 'log');
    const ledger = await openLedger({ directory: where, origin: 'example.com/third' });
    const files: string[] = [];
    const keep = (name: string, text: string): void => {
      files.push(join(directory, name));
      writeFileSync(join(directory, name), text);
    };
    let number = 0;
    for (const batch of [
      1, 1, 254, 1, 600, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096,
      4096, 4096, 4096, 4096, 4096,
    ]) {
      await ledger.append(Array.from({ length: batch }, () => appendOf(number++)));
      keep(`checkpoint-${ledger.size}`, ledger.checkpoint);
    }
    for (const index of [0, 1, 255, 256, 65_535, 65_536, ledger.size - 1])
      keep(`proof-${index}`, await ledger.proof(index));
    await ledger.close();
    const log = join(where, 'log');
    const output = execFileSync(program, [log, ledger.publicKey, ...files], { encoding: 'utf8' });
    assert.equal(output, `ok ${ledger.size} ${ledger.root} ${files.length}\n`);
    const started = performance.now();
    assert.ok(fsck(where, PATIENCE_MS));
    const long = performance.now() - started;
    const bundle = join(log, 'tile/entries/007');
    const bytes = readFileSync(bundle);
    bytes[500] = (bytes[500] ?? 0) ^ 1;
    writeFileSync(bundle, bytes);
    const bad = spawnSync(program, [log, ledger.publicKey], { encoding: 'utf8' });
    assert.equal(bad.status, 1);
    assert.match(bad.stderr, /entry 1792: wrong hash/);
    assert.equal(fsck(where, Math.max(3_000, Math.ceil(2 * long))), false);
  },
);

/** Runs the witness before this log; where it listens and its vkey. */
async function startWitness(logKey: string) {
  const child = spawn(join(bin, 'witness'), ['witness.example.org/w', logKey], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const said = await new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding('utf8').once('data', resolve);
    child.once('exit', () => reject(new Error('the witness ended')));
  });
  const [port, key = ''] = said.trim().split(' ');
  const ended = new Promise((resolve) => child.once('close', resolve));
  const close = (): Promise<unknown> => {
    child.stdin.end();
    return ended;
  };
  return { url: `http://127.0.0.1:${port}`, key, close };
}

test(
  "somebody else's witness co-signs as the log grows; that is kept, served, verified",
  options,
  async () => {
    assert.ok(hasGo, why);
    const where = join(directory, 'witnessed');
    const origin = 'example.com/witnessed-by-others';
    const fresh = await openLedger({ directory: where, origin });
    const log = parseVkey(fresh.publicKey);
    await fresh.close();
    const witness = await startWitness(fresh.publicKey);
    const theirs = parseVkey(witness.key);
    try {
      let number = 0;
      const warnings: string[] = [];
      // The second service does not know what the witness has seen.
      for (const batch of [300, 1000]) {
        const serving = await serveLedger({
          directory: where,
          origin,
          host: '127.0.0.1',
          port: 0,
          principals: [],
          publicLog: true,
          witnesses: [witness],
          witnessEvery: 20,
          warn: (message) => warnings.push(message),
        });
        await serving.ledger?.append(Array.from({ length: batch }, () => appendOf(number++)));
        const until = performance.now() + PATIENCE_MS;
        for (let size = 0; size < number; ) {
          assert.ok(performance.now() < until, `not co-signed: ${warnings.at(-1)}`);
          const answer = await request(`http://127.0.0.1:${serving.port}/witnessed`);
          const text = await answer.body.text();
          if (answer.statusCode !== 200) continue;
          const opened = openNote(text, [log, theirs]);
          assert.equal(opened.by.length, 2);
          size = parseCheckpoint(opened.text).size;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        await serving.close();
      }
    } finally {
      await witness.close();
    }
    const result = await verifyLog({ directory: where, verifier: log, witnesses: [theirs] });
    assert.deepEqual(result.findings, []);
  },
);
