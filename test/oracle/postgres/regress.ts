// PostgreSQL's own regression SQL: every statement is judged as the proxy would, then run, and what
// the server's counters say it did is held against the judgement.
//   HOLDPOINT_REGRESS=…/src/test/regress/sql node_modules/.bin/node test/oracle/postgres/regress.ts
// Invariant: it ends with 1 when a change was not in the effects, or too little was understood.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { openCatalog } from '../../../proxy/postgres/catalog.ts';
import { loadParser } from '../../../proxy/postgres/effect/analyze.ts';
import { type PostgresServer, startPostgres, versionAsked } from '../../setup/postgres.ts';
import { didNothing, missing } from './compare.ts';
import { Counters } from './counters.ts';
import { Play } from './play.ts';
import type { Ran } from './session.ts';

/** Of a hundred statements, how many must be understood. */
const COMPLETE = 99.7;

interface Tally {
  statements: number;
  refused: number;
  complete: number;
  unknowable: number;
  changed: number;
  under: number;
  over: number;
}

function tally(): Tally {
  return {
    statements: 0,
    refused: 0,
    complete: 0,
    unknowable: 0,
    changed: 0,
    under: 0,
    over: 0,
  };
}

/** Nobody could know before it runs: text made as it runs, machine code made by the test. */
const UNKNOWABLE = /dynamic SQL|text that is made as it runs|is in C, from|is in language/;

class Report {
  readonly #files = new Map<string, Tally>();
  readonly #total = tally();

  take(file: string, ran: Ran): void {
    const counts = this.#files.get(file) ?? tally();
    this.#files.set(file, counts);
    for (const each of [counts, this.#total]) this.#add(each, ran);
    const text = ran.text.replaceAll(/\s+/g, ' ').slice(0, 240);
    for (const miss of missing(ran.effects, ran.counts)) {
      const told = `${ran.parsed.class}, not ${miss.least}: ${miss.why}`;
      console.log(`under  ${file}: ${told} | ${text}`);
    }
    if (!ran.parsed.complete && !isRefused(ran)) {
      const why = ran.parsed.effects.map((effect) => effect.opaque).filter((o) => o !== null);
      console.log(`opaque ${file}: ${why.join('; ')} | ${text}`);
    }
    if (isOver(ran)) console.log(`over   ${file}: ${ran.parsed.class} | ${text}`);
  }

  #add(counts: Tally, ran: Ran): void {
    if (isRefused(ran)) {
      counts.refused += 1;
      return;
    }
    counts.statements += 1;
    if (ran.parsed.complete) counts.complete += 1;
    else if (ran.parsed.effects.some((effect) => UNKNOWABLE.test(effect.opaque ?? '')))
      counts.unknowable += 1;
    if (!didNothing(ran.counts)) counts.changed += 1;
    if (missing(ran.effects, ran.counts).length > 0) counts.under += 1;
    if (isOver(ran)) counts.over += 1;
  }

  print(): number {
    const columns = ['statements', 'refused', 'complete', 'unknowable', 'changed', 'under', 'over'];
    console.log(['file'.padEnd(24), ...columns.map((c) => c.padStart(10)), '         %'].join(' '));
    const rows: (readonly [string, Tally])[] = [...this.#files, ['all', this.#total]];
    for (const [name, row] of rows) {
      const cells = columns.map((c) => String(row[c as keyof Tally]).padStart(10));
      console.log([name.padEnd(24), ...cells, percent(row).toFixed(2).padStart(10)].join(' '));
    }
    return this.#total.under > 0 || percent(this.#total) < COMPLETE ? 1 : 0;
  }
}

function percent(row: Tally): number {
  const known = row.statements - row.unknowable;
  return known === 0 ? 100 : (row.complete * 100) / known;
}

/** Not in the grammar, and the server says so too. */
function isRefused(ran: Ran): boolean {
  if (ran.error === null) return false;
  return (
    ran.parsed.effects.some(
      ({ opaque }) => ran.code === '42601' || opaque?.startsWith('parse error') === true,
    ) && !ran.parsed.complete
  );
}

/** A plain query that changed nothing, and was judged as if it did. */
function isOver(ran: Ran): boolean {
  if (ran.parsed.class === 'read' || ran.error !== null || !didNothing(ran.counts)) return false;
  return ran.parsed.complete && ran.parsed.statements.every(({ node }) => node === 'SelectStmt');
}

/** The files in the order of the schedule beside them, the rest after those. */
function filesOf(folder: string, wanted: readonly string[]): string[] {
  const schedule = join(dirname(folder), 'parallel_schedule');
  const listed = existsSync(schedule)
    ? [...readFileSync(schedule, 'utf8').matchAll(/^test:(.*)$/gm)].flatMap((line) =>
        (line[1] ?? '').trim().split(/\s+/),
      )
    : [];
  const there = readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .map((name) => basename(name, '.sql'))
    .sort();
  const ordered = [...listed.filter((name) => there.includes(name))];
  ordered.push(...there.filter((name) => !ordered.includes(name)));
  return wanted.length === 0
    ? ordered
    : ordered.filter((name) => name === 'test_setup' || wanted.includes(name));
}

async function play(folder: string, server: PostgresServer, report: Report): Promise<void> {
  const admin = await server.connect('postgres');
  await admin.query('create database regression template template0');
  await admin.query(`alter database regression set timezone to 'PST8PDT'`);
  await admin.query(`alter database regression set datestyle to 'Postgres, MDY'`);
  await admin.query(`alter database regression set intervalstyle to 'postgres_verbose'`);
  await admin.query(`alter database regression set bytea_output to 'hex'`);
  await admin.end();
  const watcher = await server.connect('regression');
  const reader = await openCatalog(server.url('regression'));
  const counters = new Counters(watcher);
  try {
    for (const file of filesOf(folder, process.argv.slice(2))) {
      const began = Date.now();
      const text = readFileSync(join(folder, `${file}.sql`), 'utf8');
      const scene = new Play(server, reader, counters, folder);
      await scene.run(text, (ran) => report.take(file, ran));
      process.stderr.write(`${file} ${Date.now() - began} ms\n`);
    }
  } finally {
    await reader.close();
    await watcher.end();
  }
}

const folder = process.env.HOLDPOINT_REGRESS ?? '';
if (!existsSync(join(folder, 'select.sql'))) {
  console.error('HOLDPOINT_REGRESS must name the folder src/test/regress/sql of PostgreSQL.');
  process.exit(2);
}
await loadParser();
const version = versionAsked(process.env.HOLDPOINT_ORACLE_POSTGRES, 15);
const server = await startPostgres({
  version,
  settings: { max_prepared_transactions: '2', wal_level: 'logical', autovacuum: 'off' },
});
const report = new Report();
try {
  await play(folder, server, report);
} finally {
  await server.stop();
}
process.exitCode = report.print();
