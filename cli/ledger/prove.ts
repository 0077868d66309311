// `holdpoint ledger verify | proof | check-proof`: from files and a public key alone.
// Invariant: exit status 0 means that what was asked for holds.
import { readFileSync } from 'node:fs';
import { PublishedLog } from '../../ledger/log.ts';
import { hashLeaf, inclusionProof } from '../../ledger/merkle.ts';
import { formatProof, parseProof, verifyProof } from '../../ledger/proof.ts';
import { type Verified, verifyLog } from '../../ledger/verify.ts';
import { keyOf } from './source.ts';

/** Findings told one by one; the rest is counted. */
const FINDINGS_SHOWN = 20;

function progressBar(): (done: number, total: number) => void {
  let shown = 0;
  return (done, total) => {
    if (!process.stderr.isTTY || (done < total && performance.now() - shown < 100)) return;
    shown = performance.now();
    const part = total === 0 ? 1 : done / total;
    const bar = '#'.repeat(Math.round(part * 30)).padEnd(30);
    const end = done >= total ? '\n' : '';
    process.stderr.write(`\r[${bar}] ${Math.floor(part * 100)} % of ${total} entries${end}`);
  };
}

function tell(result: Verified, seconds: number): void {
  const { checkpoint, findings, entries } = result;
  const [first] = findings;
  if (first === undefined) {
    const rate = Math.round(entries / Math.max(seconds, 0.001));
    const took = `${seconds.toFixed(1)} s, ${rate} entries/s`;
    console.log(`${checkpoint?.origin}: ${entries} entries, all as signed (${took}).`);
    console.log(`root ${checkpoint?.root.toString('base64')}`);
    if (result.journal > 0) {
      console.log(`${result.journal} more are in the journal, signed, and not published yet.`);
    }
    if (result.removed > 0) {
      console.log(
        `${result.removed} of them were removed by recorded retention; their hashes are proven.`,
      );
    }
    return;
  }
  const where = first.entry === null ? '' : ` First bad entry: ${first.entry}.`;
  console.log(`NOT as signed.${where}`);
  for (const finding of findings.slice(0, FINDINGS_SHOWN)) console.log(`- ${finding.what}`);
  const more = findings.length - FINDINGS_SHOWN;
  if (more > 0) console.log(`- and ${more} more`);
}

export async function verify(options: {
  readonly directory: string;
  readonly key: string;
  readonly since: readonly string[];
  readonly witness: readonly string[];
  readonly json?: boolean;
}): Promise<void> {
  const started = performance.now();
  const result = await verifyLog({
    directory: options.directory,
    verifier: keyOf(options.key),
    earlier: options.since.map((path) => readFileSync(path, 'utf8')),
    witnesses: options.witness.map(keyOf),
    progress: progressBar(),
  });
  const seconds = (performance.now() - started) / 1000;
  if (options.json === true) {
    const { ok, entries, removed, journal, findings, checkpoint } = result;
    const root = checkpoint?.root.toString('base64') ?? null;
    console.log(JSON.stringify({ ok, entries, removed, journal, root, seconds, findings }));
  } else {
    tell(result, seconds);
  }
  if (!result.ok) process.exitCode = 1;
}

export function proof(index: string, options: { directory: string; key?: string }): void {
  const verifier = options.key === undefined ? null : keyOf(options.key);
  const log = new PublishedLog(options.directory, verifier);
  const at = Number(index);
  const extra = Buffer.from(log.entry(at));
  const path = inclusionProof(at, log.size, log.node).map((hash) => Buffer.from(hash));
  process.stdout.write(formatProof({ index: at, path, checkpoint: log.note, extra }));
}

export function checkProof(file: string, options: { key: string }): void {
  const given = parseProof(readFileSync(file, 'utf8'));
  if (given.extra === null) {
    throw new Error(`${file} has no entry in it (extra data); it can't be checked alone.`);
  }
  const checkpoint = verifyProof(given, hashLeaf(given.extra), keyOf(options.key));
  console.log(`Entry ${given.index} is in ${checkpoint.origin} (${checkpoint.size} entries):`);
  console.log(given.extra.toString());
}
