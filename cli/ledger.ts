// `holdpoint ledger …`: verify, proof and the other ways to look at a ledger from its files.
// Invariant: reads only; exit status 0 means that what was asked for holds.
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { reasonOf } from '../ledger/errors.ts';
import { PublishedLog } from '../ledger/log.ts';
import { hashLeaf, inclusionProof } from '../ledger/merkle.ts';
import { parseVkey, type Verifier } from '../ledger/note.ts';
import { formatProof, parseProof, verifyProof } from '../ledger/proof.ts';
import { verifyLog } from '../ledger/verify.ts';

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

/** A vkey itself, or a file that holds one. */
function keyOf(given: string): Verifier {
  const text = given.includes('+') ? given : readFileSync(given, 'utf8');
  return parseVkey(text);
}

function progressBar(): (done: number, total: number) => void {
  let shown = 0;
  return (done, total) => {
    if (!process.stderr.isTTY || (done < total && performance.now() - shown < 100)) return;
    shown = performance.now();
    const part = total === 0 ? 1 : done / total;
    const bar = '#'.repeat(Math.round(part * 30)).padEnd(30);
    process.stderr.write(
      `\r[${bar}] ${Math.floor(part * 100)} % of ${total} entries${done >= total ? '\n' : ''}`,
    );
  };
}

async function verify(options: {
  directory: string;
  key: string;
  since: string[];
  witness: string[];
  json?: boolean;
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
  if (options.json) {
    const { ok, entries, findings, checkpoint } = result;
    const root = checkpoint?.root.toString('base64') ?? null;
    console.log(JSON.stringify({ ok, entries, root, seconds, findings }));
  } else if (result.ok) {
    console.log(
      `${result.checkpoint?.origin}: ${result.entries} entries, all as signed (${seconds.toFixed(1)} s).`,
    );
    console.log(`root ${result.checkpoint?.root.toString('base64')}`);
  } else {
    const first = result.findings[0];
    console.log(
      first?.entry === null || first === undefined
        ? 'NOT as signed.'
        : `NOT as signed. First bad entry: ${first.entry}.`,
    );
    for (const finding of result.findings.slice(0, 20)) console.log(`- ${finding.what}`);
    if (result.findings.length > 20) console.log(`- and ${result.findings.length - 20} more`);
  }
  if (!result.ok) process.exitCode = 1;
}

function proof(index: string, options: { directory: string; key?: string }): void {
  const log = new PublishedLog(
    options.directory,
    options.key === undefined ? null : keyOf(options.key),
  );
  const at = Number(index);
  const extra = Buffer.from(log.entry(at));
  const path = inclusionProof(at, log.size, log.node).map((hash) => Buffer.from(hash));
  process.stdout.write(formatProof({ index: at, path, checkpoint: log.note, extra }));
}

function checkProof(file: string, options: { key: string }): void {
  const given = parseProof(readFileSync(file, 'utf8'));
  if (given.extra === null)
    throw new Error(`${file} has no entry in it (extra data); it can't be checked alone.`);
  const checkpoint = verifyProof(given, hashLeaf(given.extra), keyOf(options.key));
  console.log(`Entry ${given.index} is in ${checkpoint.origin} (${checkpoint.size} entries):`);
  console.log(given.extra.toString());
}

/** Errors as one line and exit status 1. */
function guarded<A extends unknown[]>(
  action: (...given: A) => void | Promise<void>,
): (...given: A) => Promise<void> {
  return async (...given) => {
    try {
      await action(...given);
    } catch (error) {
      console.error(`holdpoint ledger: ${reasonOf(error)}`);
      process.exitCode = 1;
    }
  };
}

export function ledgerCommand(): Command {
  const ledger = new Command('ledger').description(
    'verify, search and prove what the ledger holds',
  );
  ledger
    .command('verify')
    .description('derive everything again from the files and the public key')
    .requiredOption(
      '--directory <path>',
      "the ledger's directory, or a copy of its public log/ part",
    )
    .requiredOption('--key <vkey>', 'the public key, or a file that holds it')
    .option(
      '--since <file>',
      'a checkpoint seen earlier that the log must still contain; may be repeated',
      collect,
      [],
    )
    .option('--witness <vkey>', 'a witness that must have co-signed; may be repeated', collect, [])
    .option('--json', 'one line of JSON')
    .action(guarded(verify));
  ledger
    .command('proof')
    .description('write the tlog-proof file of an entry')
    .argument('<index>', 'the number of the entry')
    .requiredOption(
      '--directory <path>',
      "the ledger's directory, or a copy of its public log/ part",
    )
    .option('--key <vkey>', 'check the checkpoint with this key first')
    .action(guarded(proof));
  ledger
    .command('check-proof')
    .description('check a tlog-proof file offline and print its entry')
    .argument('<file>')
    .requiredOption('--key <vkey>', 'the public key, or a file that holds it')
    .action(guarded(checkProof));
  return ledger;
}
