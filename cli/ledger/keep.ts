// `holdpoint ledger retain | legal-hold`: what is kept, and for how long.
// Invariant: they take the log's lock, so the ledger must not be running; each act is an entry.
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { AdministrationEntry } from '../../ledger/contract.ts';
import { type Ledger, openLedger } from '../../ledger/ledger.ts';
import { LEGAL_HOLD, LEGAL_HOLD_RELEASED, retain } from '../../ledger/retention.ts';
import { keyOf, publicKeyOf } from './source.ts';

const BY = 'ledger/command';

const policyFile = z.strictObject({
  days: z.record(z.string(), z.number().nonnegative()),
  floor_days: z.number().nonnegative().optional(),
});

async function withLedger(
  directory: string,
  work: (ledger: Ledger) => Promise<void>,
): Promise<void> {
  const origin = keyOf(publicKeyOf(directory)).name;
  const ledger = await openLedger({ directory, origin });
  try {
    await work(ledger);
  } finally {
    await ledger.close();
  }
}

export async function retainCommand(options: {
  readonly directory: string;
  readonly policy: string;
  readonly who: string;
  readonly archive?: string;
  readonly dryRun?: boolean;
}): Promise<void> {
  const { days, floor_days } = policyFile.parse(JSON.parse(readFileSync(options.policy, 'utf8')));
  await withLedger(options.directory, async (ledger) => {
    const report = await retain(ledger, {
      policy: { days, ...(floor_days === undefined ? {} : { floor_days }) },
      who: options.who,
      by: BY,
      archive: options.archive ?? null,
      dry: options.dryRun === true,
    });
    const tell = (what: string, shards: readonly number[]): void =>
      console.log(`${what}: ${shards.length === 0 ? 'none' : shards.join(', ')}`);
    const would = options.dryRun === true ? 'would be ' : '';
    tell(`shards ${would}sealed`, report.sealed);
    tell(`shards ${would}removed`, report.removed);
    for (const { shard, hold } of report.held) console.log(`shard ${shard}: kept by ${hold}`);
  });
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
      act: 'journal-lost',
      who,
      what: `went on from the published log of ${size} entries`,
      detail: { size, root },
    };
    await ledger.append([{ key: `journal-lost/${time}`, entry }]);
    console.log(`The log goes on after entry ${size - 1}; entry ${size} says so.`);
  } finally {
    await ledger.close();
  }
}

export async function legalHoldCommand(
  name: string,
  options: {
    readonly directory: string;
    readonly who: string;
    readonly from?: string;
    readonly to?: string;
    readonly release?: boolean;
  },
): Promise<void> {
  const act = options.release === true ? LEGAL_HOLD_RELEASED : LEGAL_HOLD;
  const time = new Date().toISOString();
  for (const given of [options.from, options.to]) {
    if (given !== undefined && Number.isNaN(Date.parse(given))) {
      throw new Error(`${given} is not a time such as 2026-01-31T12:00:00Z`);
    }
  }
  const entry: AdministrationEntry = {
    v: 1,
    time,
    by: BY,
    kind: 'administration',
    act,
    who: options.who,
    what: name,
    detail: { from: options.from ?? null, to: options.to ?? null },
  };
  await withLedger(options.directory, async (ledger) => {
    const key = `${act}/${encodeURIComponent(name).slice(0, 120)}/${time}`;
    const [answer] = await ledger.append([{ key, entry }]);
    console.log(`${act} ${name}: entry ${answer?.index}`);
  });
}
