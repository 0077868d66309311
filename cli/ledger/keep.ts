// `holdpoint ledger retain | legal-hold | adopt`: what is kept, and for how long.
// Invariant: each act is an entry; asked of a running ledger by its service, or with the log's lock
// when it is stopped.
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { AdministrationEntry } from '../../ledger/contract.ts';
import type { KeeperStatus } from '../../ledger/keeper.ts';
import { type Ledger, openLedger } from '../../ledger/ledger.ts';
import { legalHolds, releaseLegalHold, setLegalHold } from '../../ledger/legal-hold.ts';
import { JOURNAL_LOST } from '../../ledger/removed.ts';
import { Retention, type RetentionReport } from '../../ledger/retention.ts';
import { askService, keyOf, publicKeyOf, type SourceOptions } from './source.ts';

const BY = 'ledger/command';

/** The file of `--policy` and `--retention`. */
export const policyFile = z.strictObject({
  days: z.record(z.string(), z.number().nonnegative()),
  floor_days: z.number().nonnegative().optional(),
});

/** Where the act happens: a running service, or a directory whose ledger is stopped. */
export interface KeepOptions extends SourceOptions {
  readonly who?: string;
}

/** The stopped ledger's directory, and who answers for the act. */
function offline({ directory, who }: KeepOptions): { directory: string; who: string } {
  if (directory === undefined) {
    throw new Error(
      'say where the ledger is: --url URL with --token-file PATH while it runs, or ' +
        '--directory PATH with --who NAME when it is stopped',
    );
  }
  if (who === undefined) throw new Error('--who NAME is needed: it stands in the entry');
  return { directory, who };
}

async function withLedger<T>(directory: string, work: (ledger: Ledger) => Promise<T>): Promise<T> {
  const origin = keyOf(publicKeyOf(directory)).name;
  const ledger = await openLedger({ directory, origin });
  try {
    return await work(ledger);
  } finally {
    await ledger.close();
  }
}

export interface RetainOptions extends KeepOptions {
  readonly policy?: string;
  readonly archive?: string;
  readonly dryRun?: boolean;
}

export async function retainCommand(options: RetainOptions): Promise<void> {
  const dry = options.dryRun === true;
  const report = options.url === undefined ? await retainHere(options, dry) : await ask(options);
  const list = report.removed.length === 0 ? 'none' : report.removed.join(', ');
  console.log(`full shards: ${report.sealed.length}`);
  console.log(`shards ${dry ? 'that would be ' : ''}removed, by first entry: ${list}`);
  for (const { shard, hold } of report.held)
    console.log(`shard of entry ${shard}: kept by legal hold ${hold}`);
}

async function ask(options: RetainOptions): Promise<RetentionReport> {
  if (options.policy !== undefined || options.archive !== undefined || options.who !== undefined) {
    throw new Error('a running ledger has its own policy and archive, and knows who asks');
  }
  const body = { dry: options.dryRun === true };
  return (await askService(options, 'POST', '/v1/retention', body)) as RetentionReport;
}

function retainHere(options: RetainOptions, dry: boolean): Promise<RetentionReport> {
  const { directory, who } = offline(options);
  if (options.policy === undefined) throw new Error('--policy FILE is needed');
  const policy = policyFile.parse(JSON.parse(readFileSync(options.policy, 'utf8')));
  return withLedger(directory, (ledger) =>
    new Retention(ledger, { policy, by: BY, archive: options.archive ?? null }).run({
      who,
      now: new Date(),
      dry,
    }),
  );
}

/** Goes on from the published log when the journal is lost, and says so in the log. */
export async function adoptCommand(options: {
  readonly directory: string;
  readonly who: string;
}): Promise<void> {
  const { directory, who } = options;
  const ledger = await openLedger({
    directory,
    origin: keyOf(publicKeyOf(directory)).name,
    adopt: true,
  });
  try {
    const { size, root } = ledger;
    const time = new Date().toISOString();
    const entry: AdministrationEntry = {
      v: 1,
      time,
      by: BY,
      kind: 'administration',
      act: JOURNAL_LOST,
      who,
      what: `went on from the published log of ${size} entries`,
      detail: { size, root },
    };
    await ledger.append([{ key: `${JOURNAL_LOST}/${time}`, entry }]);
    console.log(`The log goes on after entry ${size - 1}; entry ${size} says so.`);
  } finally {
    await ledger.close();
  }
}

export interface LegalHoldOptions extends KeepOptions {
  readonly from?: string;
  readonly to?: string;
  readonly release?: boolean;
}

export async function legalHoldCommand(name: string, options: LegalHoldOptions): Promise<void> {
  const { from = null, to = null, release = false } = options;
  if (release && (from !== null || to !== null))
    throw new Error('--release ends the whole hold: it takes no --from and no --to');
  const { index } =
    options.url === undefined
      ? await holdHere(name, options, { from, to, release })
      : ((await askService(
          options,
          release ? 'DELETE' : 'POST',
          `/v1/legal-holds${release ? `/${encodeURIComponent(name)}` : ''}`,
          release ? undefined : { name, from, to },
        )) as { index: number });
  console.log(`legal hold ${name} ${release ? 'released' : 'set'}: entry ${index}`);
}

function holdHere(
  name: string,
  options: LegalHoldOptions,
  what: { from: string | null; to: string | null; release: boolean },
): Promise<{ readonly index: number }> {
  const { directory, who } = offline(options);
  const { from, to, release } = what;
  return withLedger(directory, (ledger) =>
    release
      ? releaseLegalHold(ledger, name, who, BY)
      : setLegalHold(ledger, { name, who, from, to }, BY),
  );
}

/** What stands: the policy of a running ledger, its last run, and the legal holds. */
export async function retentionCommand(options: SourceOptions): Promise<void> {
  if (options.url !== undefined) {
    const status = (await askService(options, 'GET', '/v1/retention')) as KeeperStatus;
    console.log(JSON.stringify(status, null, 2));
    return;
  }
  const { directory } = offline({ ...options, who: '' });
  const holds = await withLedger(directory, legalHolds);
  console.log(JSON.stringify({ holds }, null, 2));
}
