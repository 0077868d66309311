// `holdpoint policy replay`: what a candidate policy would have decided about what the ledger
// holds.
// Invariant: reads only, and says what could not be judged again rather than leaving it out.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { DecisionEntry } from '../ledger/contract.ts';
import { PublishedLog } from '../ledger/log.ts';
import { Agents } from '../proxy/agents.ts';
import { UserError } from '../proxy/errors.ts';
import { parseData } from '../proxy/verdict/data.ts';
import { judgeOf, load, type Sources } from '../proxy/verdict/load.ts';
import { operationOf } from '../proxy/verdict/question.ts';
import type { Verdict } from '../proxy/verdict/verdict.ts';

export interface ReplayOptions {
  readonly ledger: string;
  readonly agents: string;
  readonly state: string;
  readonly since?: string;
  readonly agent?: string;
  readonly target?: string;
  readonly json?: boolean;
}

interface Difference {
  readonly index: number;
  readonly entry: DecisionEntry;
  readonly now: Verdict;
}

interface Tally {
  same: number;
  /** Reads that stand in the ledger as a sum: their effects are not in it. */
  sums: number;
  /** Entries that are no operation to judge, by why. */
  readonly failed: string[];
  /** `allow → hold`: how many. */
  readonly changed: Map<string, number>;
}

/** Judges every decision of the ledger again; answers how many came out differently. */
export async function replay(sources: Sources, options: ReplayOptions): Promise<number> {
  const data = parseData(sources.data);
  const judge = judgeOf(await load({ ...sources, tests: null }, options.state), data, sources);
  const log = opened(options.ledger);
  const agents = existsSync(join(options.agents, 'agents.json'))
    ? new Agents(options.agents)
    : null;
  const since = moment(options.since);
  const tally: Tally = { same: 0, sums: 0, failed: [], changed: new Map() };
  for (const { index, entry } of log.entries()) {
    if (Date.parse(entry.time) < since) continue;
    if (entry.kind === 'reads') tally.sums += entry.count;
    if (entry.kind !== 'decision' || entry.disposition === 'redeemed') continue;
    if (options.agent !== undefined && entry.agent !== options.agent) continue;
    if (options.target !== undefined && entry.target !== options.target) continue;
    const known = agents?.find(entry.agent) ?? null;
    try {
      const operation = operationOf(JSON.stringify(entry), {
        engine: 'postgres',
        target: entry.target,
        environment: entry.environment,
        agent: entry.agent,
        groups: known?.groups ?? [],
        capabilities: known?.capabilities ?? ['read', 'write', 'ddl'],
        scopes: known?.scopes ?? [],
      });
      const now = judge.decide(operation, entry.mode).verdict;
      if (same(entry.verdict, now)) tally.same++;
      else differs(tally, { index, entry, now }, options.json === true);
    } catch (error) {
      tally.failed.push(`#${index}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (options.json !== true) summarize(tally, agents === null);
  return [...tally.changed.values()].reduce((sum, count) => sum + count, 0);
}

function opened(directory: string): PublishedLog {
  try {
    return new PublishedLog(directory, null);
  } catch (cause) {
    throw new UserError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

function moment(since: string | undefined): number {
  if (since === undefined) return Number.NEGATIVE_INFINITY;
  const time = Date.parse(since);
  if (Number.isNaN(time))
    throw new UserError(`--since ${since}: use a time like 2026-01-31T12:00Z`);
  return time;
}

/**
 * The same consequence: a rule that only has another name or reason changes nothing for anybody.
 */
function same(before: Verdict, now: Verdict): boolean {
  if (before.kind !== now.kind) return false;
  return before.kind !== 'hold' || now.kind !== 'hold' || wanted(before) === wanted(now);
}

function wanted(verdict: Verdict): string {
  if (verdict.kind !== 'hold') return verdict.kind;
  const demands = verdict.demands.map(({ group, signatures }) => `${signatures} of ${group}`);
  return `hold for ${demands.sort().join(' and ')}`;
}

function differs(tally: Tally, { index, entry, now }: Difference, json: boolean): void {
  const change = `${entry.verdict.kind} → ${now.kind}`;
  tally.changed.set(change, (tally.changed.get(change) ?? 0) + 1);
  if (json) {
    const { time, agent, target, operation, verdict, statement } = entry;
    const { normalized } = statement;
    const told = { index, time, agent, target, operation, normalized, before: verdict, now };
    process.stdout.write(`${JSON.stringify(told)}\n`);
    return;
  }
  const before = `${wanted(entry.verdict)} (${entry.verdict.rule})`;
  process.stdout.write(
    `#${index} ${entry.time} ${entry.agent} on ${entry.target} (${entry.environment})\n` +
      `    ${oneLine(entry.statement.normalized)}\n` +
      `    ${before} → ${wanted(now)} (${now.rule}): ${now.reason}\n`,
  );
}

function oneLine(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').trim();
  return line.length > 120 ? `${line.slice(0, 120)}…` : line;
}

function summarize({ same: unchanged, sums, failed, changed }: Tally, assumed: boolean): void {
  const lines = [`${unchanged} decisions stay as they are`];
  for (const [change, count] of [...changed].sort()) lines.push(`${count} change: ${change}`);
  if (sums > 0) lines.push(`${sums} reads were recorded as sums, without effects to judge again`);
  if (failed.length > 0) lines.push(`${failed.length} could not be judged: ${failed[0]}`);
  if (assumed) lines.push('no agents.json: every agent was taken to have read, write and ddl');
  process.stdout.write(`${lines.join('\n')}\n`);
}
