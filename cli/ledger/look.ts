// `holdpoint ledger search | story | tail | export | reindex`: what stands in the log, for people
// and other programs.
// Invariant: what is printed was read from the log itself; the index only says where to look.
import { join } from 'node:path';
import type { Logged } from '../../ledger/canonical.ts';
import { type ExportFormat, exportHeader, exportLine, FORMATS } from '../../ledger/export.ts';
import { reindex } from '../../ledger/index-file.ts';
import { PublishedLog } from '../../ledger/log.ts';
import type { SearchQuery } from '../../ledger/search.ts';
import { keyOf, openSource, publicKeyOf, type SourceOptions } from './source.ts';

/** Entries that `tail` shows first. */
const TAIL = 10;
const TAIL_POLL_MS = 500;

/** One line for a person. */
export function oneLine(index: number, entry: Logged): string {
  const head = `${index}  ${entry.time}  ${entry.kind.padEnd(9)}`;
  switch (entry.kind) {
    case 'decision': {
      const { agent, target, statement, verdict, disposition } = entry;
      const text = statement.normalized.replaceAll(/\s+/g, ' ').slice(0, 80);
      return (
        `${head}  ${agent} on ${target}: ${entry.class}, ${disposition} (${verdict.rule}) ` +
        ` ${text}`
      );
    }
    case 'outcome':
      return `${head}  ${entry.agent} on ${entry.target}: ${entry.outcome}, ${entry.answer ?? ''}`;
    case 'reads':
      return (
        `${head}  ${entry.agent} on ${entry.target}: ${entry.count} × ` +
        `${entry.normalized.slice(0, 80)}`
      );
    case 'signature':
      return `${head}  ${entry.signer}: ${entry.decision} ${entry.hold}`;
    case 'hold':
      return `${head}  ${entry.hold} ${entry.state}`;
    case 'mode':
      return `${head}  ${entry.who}: ${entry.scope} ${entry.name ?? ''} ${entry.mode}`;
    case 'policy':
      return `${head}  ${entry.digest.slice(0, 16)} ${entry.accepted ? 'accepted' : 'rejected'}`;
    case 'drill':
      return `${head}  ${entry.name}: ${entry.passed ? 'passed' : 'FAILED'}`;
    case 'administration':
      return `${head}  ${entry.who}: ${entry.act} ${entry.what}`;
  }
}

function print(json: boolean | undefined, index: number, entry: Logged): void {
  console.log(json === true ? JSON.stringify({ index, entry }) : oneLine(index, entry));
}

export async function searchCommand(
  options: Omit<SearchQuery, 'limit' | 'before'> &
    SourceOptions & { readonly json?: boolean; readonly limit?: string; readonly before?: string },
): Promise<void> {
  const { directory, url, tokenFile, json, limit, before, ...conditions } = options;
  const source = openSource({
    ...(directory === undefined ? {} : { directory }),
    ...(url === undefined ? {} : { url }),
    ...(tokenFile === undefined ? {} : { tokenFile }),
  });
  try {
    const page = await source.search({
      ...conditions,
      ...(limit === undefined ? {} : { limit: Number(limit) }),
      ...(before === undefined ? {} : { before: Number(before) }),
    });
    for (const { index, entry } of page.entries) print(json, index, entry);
    if (page.next !== null) console.error(`More: --before ${page.next}`);
  } finally {
    source.close();
  }
}

export async function storyCommand(
  id: string,
  options: SourceOptions & { readonly json?: boolean },
): Promise<void> {
  const source = openSource(options);
  try {
    const { steps } = await source.story(id);
    if (steps.length === 0) throw new Error(`nothing is recorded of ${id}, or not indexed yet`);
    for (const { index, entry } of steps) print(options.json, index, entry);
  } finally {
    source.close();
  }
}

/** Entries by number, checked against the key's signature when one is given. */
export function exportCommand(options: {
  readonly directory: string;
  readonly format: string;
  readonly key?: string;
  readonly from?: string;
  readonly to?: string;
}): void {
  const format = FORMATS.find((known): known is ExportFormat => known === options.format);
  if (format === undefined) throw new Error(`--format is one of ${FORMATS.join(', ')}`);
  const log = new PublishedLog(
    options.directory,
    options.key === undefined ? null : keyOf(options.key),
  );
  const header = exportHeader(format);
  if (header !== null) console.log(header);
  const to = options.to === undefined ? log.size : Math.min(Number(options.to), log.size);
  for (const { index, entry } of log.entries(Number(options.from ?? 0), to)) {
    console.log(exportLine(format, index, entry, log.checkpoint.origin));
  }
}

export async function tailCommand(options: {
  readonly directory: string;
  readonly lines?: string;
  readonly follow?: boolean;
  readonly json?: boolean;
}): Promise<void> {
  const first = new PublishedLog(options.directory, null);
  let next = Math.max(0, first.size - Number(options.lines ?? TAIL));
  const show = (): void => {
    const log = new PublishedLog(options.directory, null);
    for (const { index, entry } of log.entries(next)) print(options.json, index, entry);
    next = Math.max(next, log.size);
  };
  show();
  if (options.follow !== true) return;
  const timer = setInterval(show, TAIL_POLL_MS);
  await new Promise<void>((resolve) => process.once('SIGINT', () => resolve()));
  clearInterval(timer);
}

export function reindexCommand(options: { readonly directory: string }): void {
  const { directory } = options;
  const log = new PublishedLog(directory, keyOf(publicKeyOf(directory)));
  const indexed = reindex(join(directory, 'index.sqlite'), publicKeyOf(directory), log.entries());
  console.log(`${indexed} entries indexed.`);
}
