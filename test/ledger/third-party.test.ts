// The same files under somebody else's verifier: Go's sumdb/note and sumdb/tlog.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openLedger } from '../../ledger/ledger.ts';
import { appendOf } from './entries.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-third-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const hasGo = spawnSync('go', ['version']).status === 0;
const why =
  'go is not installed: the log was NOT checked by a third-party verifier (install Go 1.24 or ' +
  'newer)';
if (!hasGo) console.error(why);

test("Go's sumdb packages accept log, proofs and earlier checkpoints, and find a changed byte", {
  skip: hasGo || process.env.CI ? false : why,
  timeout: 120_000,
}, async () => {
  assert.ok(hasGo, why);
  const here = join(import.meta.dirname, 'third-party');
  const program = join(directory, 'verify');
  execFileSync('go', ['build', '-o', program, '.'], { cwd: here, stdio: 'inherit' });
  const where = join(directory, 'log');
  const ledger = await openLedger({ directory: where, origin: 'example.com/third' });
  const files: string[] = [];
  const keep = (name: string, text: string): void => {
    files.push(join(directory, name));
    writeFileSync(join(directory, name), text);
  };
  let number = 0;
  for (const batch of [
    1, 1, 254, 1, 600, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096,
    4096, 4096, 4096, 4096,
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
  const bundle = join(log, 'tile/entries/007');
  const bytes = readFileSync(bundle);
  bytes[500] = (bytes[500] ?? 0) ^ 1;
  writeFileSync(bundle, bytes);
  const bad = spawnSync(program, [log, ledger.publicKey], { encoding: 'utf8' });
  assert.equal(bad.status, 1);
  assert.match(bad.stderr, /entry 1792: wrong hash/);
});
