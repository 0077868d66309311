// `holdpoint ledger …`: the commands that look at a ledger, prove it and serve it.
// Invariant: only `serve`, `reindex` and the acts of keeping write; an error is one line and exit
// status 1.
import { Command } from 'commander';
import { reasonOf } from '../ledger/errors.ts';
import { adoptCommand, legalHoldCommand, retainCommand, retentionCommand } from './ledger/keep.ts';
import {
  exportCommand,
  reindexCommand,
  searchCommand,
  storyCommand,
  tailCommand,
} from './ledger/look.ts';
import { checkProof, proof, verify } from './ledger/prove.ts';
import { digestCommand, serveCommand } from './ledger/serve.ts';
import { publicKeyOf } from './ledger/source.ts';
import { sealingKeyCommand, unsealCommand } from './ledger/unseal.ts';

const DIRECTORY = "the ledger's directory, or a copy of its public log/ part";
const KEY = 'the public key, or a file that holds it';

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

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

function proving(ledger: Command): void {
  ledger
    .command('verify')
    .description('derive everything again from the files and the public key')
    .requiredOption('--directory <path>', DIRECTORY)
    .requiredOption('--key <vkey>', KEY)
    .option(
      '--since <file>',
      'a checkpoint that the log must still contain; repeatable',
      collect,
      [],
    )
    .option('--witness <vkey>', 'a witness that must have co-signed; repeatable', collect, [])
    .option('--json', 'one line of JSON')
    .action(guarded(verify));
  ledger
    .command('proof')
    .description('write the tlog-proof file of an entry')
    .argument('<index>', 'the number of the entry')
    .requiredOption('--directory <path>', DIRECTORY)
    .option('--key <vkey>', 'check the checkpoint with this key first')
    .action(guarded(proof));
  ledger
    .command('check-proof')
    .description('check a tlog-proof file offline and print its entry')
    .argument('<file>')
    .requiredOption('--key <vkey>', KEY)
    .action(guarded(checkProof));
  ledger
    .command('key')
    .description("print a ledger's public key")
    .requiredOption('--directory <path>', "the ledger's directory")
    .action(
      guarded((options: { directory: string }) => console.log(publicKeyOf(options.directory))),
    );
}

function from(command: Command): Command {
  return command
    .option('--directory <path>', "the ledger's directory")
    .option('--url <url>', 'a ledger service')
    .option('--token-file <path>', 'file with the bearer token for --url')
    .option('--json', 'a line of JSON for each entry');
}

function looking(ledger: Command): void {
  const search = from(ledger.command('search').description('find entries, newest first'));
  for (const name of [
    'kind',
    'agent',
    'session',
    'object',
    'class',
    'verdict',
    'rule',
    'signer',
    'operation',
    'hold',
    'target',
    'environment',
  ]) {
    search.option(`--${name} <${name}>`);
  }
  search
    .option('--from <time>', 'not before, such as 2026-01-31T12:00:00Z')
    .option('--to <time>', 'before')
    .option('--limit <number>', 'entries on a page')
    .option('--before <index>', 'the next page: what the last one ended with')
    .action(guarded(searchCommand));
  from(ledger.command('story'))
    .description('the whole chain of an operation or a hold: asked, judged, signed, ran')
    .argument('<id>', "the operation's or the hold's id")
    .action(guarded(storyCommand));
  ledger
    .command('tail')
    .description('the newest entries')
    .requiredOption('--directory <path>', DIRECTORY)
    .option('--lines <number>', 'how many to show first')
    .option('--follow', 'go on as entries come, until interrupted')
    .option('--json', 'a line of JSON for each entry')
    .action(guarded(tailCommand));
  ledger
    .command('export')
    .description('entries for other programs: JSON lines, CSV or OCSF events')
    .requiredOption('--directory <path>', DIRECTORY)
    .option('--format <format>', 'jsonl, csv or ocsf', 'jsonl')
    .option('--key <vkey>', 'check the checkpoint with this key first')
    .option('--from <index>', 'first entry')
    .option('--to <index>', 'the entry to stop before')
    .action(guarded(exportCommand));
}

function sealing(ledger: Command): void {
  ledger
    .command('sealing-key')
    .description("make a key for a target's record.seal_to; the public part is printed")
    .requiredOption('--out <file>', 'a new file for the private key: keep it away from Holdpoint')
    .action(guarded(sealingKeyCommand));
  ledger
    .command('unseal')
    .description('open what is sealed beside an entry: statement, values and stated reason')
    .argument('<index>', 'the number of the entry')
    .requiredOption('--key-file <file>', 'the private key')
    .option('--directory <path>', "the ledger's directory")
    .option('--url <url>', 'a ledger service')
    .option('--token-file <path>', 'file with the bearer token for --url')
    .action(guarded(unsealCommand));
}

function kept(command: Command): Command {
  return command
    .option('--url <url>', 'a running ledger service')
    .option('--token-file <path>', 'file with a bearer token that has the right `retain`')
    .option('--directory <path>', "a stopped ledger's directory")
    .option('--who <name>', 'stopped: who answers for it; stands in the entries');
}

function keeping(ledger: Command): void {
  ledger
    .command('reindex')
    .description('make the search index again from the log; stop the ledger first')
    .requiredOption('--directory <path>', "the ledger's directory")
    .action(guarded(reindexCommand));
  kept(ledger.command('retain'))
    .description('remove full shards that are old enough: of a running ledger, or a stopped one')
    .option('--policy <file>', 'stopped: JSON {"days": {"default": 2555, "reads": 200}}')
    .option('--archive <path>', 'stopped: copy what is removed here first')
    .option('--dry-run', 'only say what would be done')
    .action(guarded(retainCommand));
  kept(ledger.command('legal-hold'))
    .description('keep what was recorded in a time from retention')
    .argument('<name>', 'the case')
    .option('--from <time>', 'from this time on, such as 2026-01-31T12:00:00Z')
    .option('--to <time>', 'up to this time')
    .option('--release', 'end the hold of this name')
    .action(guarded(legalHoldCommand));
  kept(ledger.command('retention'))
    .description('the policy of a running ledger, its last run, and the legal holds')
    .action(guarded(retentionCommand));
  ledger
    .command('adopt')
    .description('go on from the published log when the journal is lost, and record that')
    .requiredOption('--directory <path>', "the ledger's directory")
    .requiredOption('--who <name>', 'who decides it; stands in the entry')
    .action(guarded(adoptCommand));
  ledger
    .command('serve')
    .description('run the ledger as a service of its own')
    .requiredOption('--directory <path>', "the ledger's directory")
    .requiredOption('--origin <name>', "the log's name, such as ledger.example.com/holdpoint")
    .requiredOption(
      '--access <file>',
      'JSON: who may append and read, by digest of token or certificate',
    )
    .option('--listen <address>', 'HOST:PORT', '127.0.0.1:8090')
    .option('--public-log', 'checkpoint and tiles without a token')
    .option('--tls-cert <file>')
    .option('--tls-key <file>')
    .option('--client-ca <file>', 'accept client certificates of this CA')
    .option('--search-in <file>', 'search in PostgreSQL: a file that holds its URL')
    .option('--retention <file>', 'JSON {"days": …} as for retain: runs by the clock')
    .option('--archive <path>', 'copy what retention removes here first')
    .option('--standby', 'wait until the active instance is gone, then take over')
    .option('--witness <url=vkey>', 'ask this witness to co-sign; repeatable', collect, [])
    .action(guarded(serveCommand));
  ledger
    .command('token-digest')
    .description('the SHA-256 of a token given on standard input, for the access file')
    .action(guarded(digestCommand));
}

export function ledgerCommand(): Command {
  const ledger = new Command('ledger').description(
    'verify, search and prove what the ledger holds',
  );
  proving(ledger);
  looking(ledger);
  sealing(ledger);
  keeping(ledger);
  return ledger;
}
