// A real process killed with SIGKILL at random moments, again and again over the same directory.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openLedger } from '../../ledger/ledger.ts';
import { parseVkey } from '../../ledger/note.ts';
import { verifyLog } from '../../ledger/verify.ts';
import { random } from './faulty-disk.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-kill-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const ROUNDS = 10;

/** Runs the writer, kills it after some milliseconds of appending; what it said. */
function round(where: string, from: number, milliseconds: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const program = join(import.meta.dirname, 'killed-writer.ts');
    const child = spawn(process.execPath, [program, where, String(from)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    let begun = false;
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk;
      if (!begun) setTimeout(() => child.kill('SIGKILL'), milliseconds);
      begun = true;
    });
    child.on('error', reject);
    child.on('close', (_code, signal) => {
      if (signal === 'SIGKILL') resolve(said.slice(0, said.lastIndexOf('\n') + 1));
      else reject(new Error(`the writer ended by itself: ${said.slice(-500)}`));
    });
  });
}

test(`nothing that was answered is lost over ${ROUNDS} kills`, { timeout: 600_000 }, async () => {
  const where = join(directory, 'log');
  const choose = random(11);
  const answered = new Map<number, number>();
  const checkpoints: string[] = [];
  let from = 0;
  // A slow machine may be killed before it has answered anything: then it has more rounds.
  for (let at = 0; at < ROUNDS || answered.size <= 50; at++) {
    const said = await round(where, from, Math.floor(choose() * 300));
    for (const line of said.split('\n').slice(1, -1)) {
      if (line.startsWith('checkpoint ')) {
        checkpoints.push(JSON.parse(line.slice(11)));
        continue;
      }
      const [number, index] = line.split(' ').map(Number);
      assert.ok(number !== undefined && index !== undefined && Number.isInteger(index), line);
      answered.set(number, index);
    }
    from += 100_000;
  }
  const ledger = await openLedger({ directory: where, origin: 'example.com/killed' });
  for (const [number, index] of answered) {
    const entry = await ledger.read(index);
    assert.equal(entry.key, `op-${number}/decision`);
  }
  await ledger.close();
  const result = await verifyLog({
    directory: where,
    verifier: parseVkey(ledger.publicKey),
    earlier: checkpoints.filter((_, at) => at % 20 === 0 || at > checkpoints.length - 5),
  });
  assert.deepEqual(result.findings, []);
  assert.ok(result.entries >= answered.size);
});

test('a stopped writer keeps the log; only its end frees it', { timeout: 300_000 }, async () => {
  const where = join(directory, 'stopped');
  const program = join(import.meta.dirname, 'killed-writer.ts');
  const child = spawn(process.execPath, [program, where, '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => child.on('close', resolve));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  child.stdout.resume();
  child.kill('SIGSTOP');
  const options = { directory: where, origin: 'example.com/killed' };
  await assert.rejects(openLedger(options), { code: 'locked' });
  child.kill('SIGKILL');
  await ended;
  await (await openLedger(options)).close();
});
