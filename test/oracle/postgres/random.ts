// Random scripts over few names: each statement is judged, then run, and what the server's counters
// say it did is held against the judgement. For what nobody thought of.
//   node_modules/.bin/node test/oracle/postgres/random.ts [minutes] [seed]
// Invariant: the same seed makes the same scripts; it ends with 1 when a change was not in the
// effects, and then prints the script that shows it.
import { readFileSync } from 'node:fs';
import type pg from 'pg';
import { type CatalogReader, openCatalog } from '../../../proxy/postgres/catalog.ts';
import { loadParser } from '../../../proxy/postgres/effect/analyze.ts';
import { mulberry } from '../../peers/dice.ts';
import { type PostgresServer, startPostgres, versionAsked } from '../../setup/postgres.ts';
import { didNothing, type Miss, missing } from './compare.ts';
import { Counters, FLUSH_COUNTERS } from './counters.ts';
import { type Ran, Session } from './session.ts';

/** Statements that add to the world, and those that are tried in it. */
const MADE = 20;
const TRIED = 120;

/** How deep rules stand in one another before the first alternative is taken. */
const DEEPEST = 9;

type Roll = (bound: number) => number;

/** The alternatives of each rule of {@link GRAMMAR}. */
function rulesOf(text: string): ReadonlyMap<string, readonly string[]> {
  const rules = new Map<string, string[]>();
  const lines = text.replaceAll(/^#.*\n/gm, '').replaceAll(/\n(?=[| ])/g, ' ');
  for (const line of lines.split('\n')) {
    const [, name, all] = /^(\w+): ?(.*)$/.exec(line) ?? [];
    if (name === undefined || all === undefined) continue;
    const made = all.split(/(?<!\|)\|(?!\|)/).flatMap((alternative) => {
      const [, times = '1', what = ''] = /^(?:(\d+)\* )?(.*)$/.exec(alternative.trim()) ?? [];
      return new Array<string>(Number(times)).fill(what);
    });
    rules.set(name, made);
  }
  return rules;
}

const RULES = rulesOf(readFileSync(new URL('./random.txt', import.meta.url), 'utf8'));

function textFor(rule: string, roll: Roll, depth = 0): string {
  const all = RULES.get(rule);
  if (all === undefined) throw new Error(`there is no rule <${rule}>`);
  const chosen = all[depth > DEEPEST ? 0 : roll(all.length)] ?? '';
  return chosen.replaceAll(/<(\w+)>/g, (_, inner: string) => textFor(inner, roll, depth + 1));
}

/** The database that each script finds: whatever the grammar has a name for, and a few rows. */
const WORLD = readFileSync(new URL('./random.sql', import.meta.url), 'utf8');
const SETTINGS = ['set search_path = s1, s2, public', "set statement_timeout = '10s'"];

function scriptOf(roll: Roll): string[] {
  const some = (count: number, rule: string) =>
    Array.from({ length: count }, () => textFor(rule, roll));
  return [
    ...SETTINGS,
    ...some(MADE, 'function'),
    ...some(MADE, 'make'),
    ...some(TRIED, 'statement'),
  ];
}

export interface Tally {
  statements: number;
  failed: number;
  changed: number;
  unknown: number;
}

export interface Under {
  readonly seed: number;
  /** Everything that was sent, the statement last. */
  readonly script: readonly string[];
  readonly ran: Ran;
  readonly misses: readonly Miss[];
}

/** A database, and what looks at it. */
export class Ground {
  readonly #server: PostgresServer;
  readonly #database: string;
  readonly #reader: CatalogReader;
  readonly #watcher: pg.Client;
  readonly tally: Tally = { statements: 0, failed: 0, changed: 0, unknown: 0 };

  private constructor(
    server: PostgresServer,
    database: string,
    reader: CatalogReader,
    watcher: pg.Client,
  ) {
    this.#server = server;
    this.#database = database;
    this.#reader = reader;
    this.#watcher = watcher;
  }

  static async on(server: PostgresServer): Promise<Ground> {
    await loadParser();
    const database = await server.createDatabase('');
    const reader = await openCatalog(server.url(database));
    return new Ground(server, database, reader, await server.connect(database));
  }

  /** Plays one script in a session of its own, as far as the session lives. */
  async play(seed: number): Promise<Under[]> {
    const { host, port, user, password } = this.#server;
    const config = { host, port, user, password, database: this.#database };
    await this.#watcher.query(WORLD);
    await this.#watcher.query(FLUSH_COUNTERS);
    await this.#watcher.query('select 1');
    await this.#reader.probe();
    const session = await Session.open(config, this.#reader, new Counters(this.#watcher));
    const found: Under[] = [];
    const script: string[] = [];
    const roll = mulberry(seed);
    try {
      for (const text of scriptOf(roll)) {
        const ran = await this.#send(session, text, script, found, seed);
        if (session.lost) break;
        // What comes in a failed transaction is refused: most times it ends there.
        if (ran.code === '25P02' && roll(3) > 0)
          await this.#send(session, textFor('way_out', roll), script, found, seed);
      }
    } finally {
      await session.close();
    }
    return found;
  }

  async #send(
    session: Session,
    text: string,
    script: string[],
    found: Under[],
    seed: number,
  ): Promise<Ran> {
    script.push(text);
    const ran = await session.run(text, () => '77\t1\n78\t2\n');
    this.tally.statements += 1;
    if (ran.error !== null) this.tally.failed += 1;
    if (!didNothing(ran.counts)) this.tally.changed += 1;
    if (!ran.parsed.complete) this.tally.unknown += 1;
    const misses = missing(ran.effects, ran.counts);
    if (misses.length > 0) found.push({ seed, script: [...script], ran, misses });
    return ran;
  }

  async close(): Promise<void> {
    await this.#reader.close();
    await this.#watcher.end();
  }
}

async function main(minutes: number, first: number): Promise<number> {
  const version = versionAsked(process.env.HOLDPOINT_ORACLE_POSTGRES, 18);
  const server = await startPostgres({ version, settings: { autovacuum: 'off' } });
  let under = 0;
  const ground = await Ground.on(server);
  try {
    const until = Date.now() + minutes * 60_000;
    for (let seed = first; Date.now() < until; seed++) {
      for (const { script, ran, misses } of await ground.play(seed)) {
        under += 1;
        console.log(`-- seed ${seed}: ${ran.parsed.class}`);
        for (const { least, why } of misses) console.log(`-- not ${least}: ${why}`);
        console.log(`${script.join(';\n')};\n`);
      }
    }
  } finally {
    await ground.close();
    await server.stop();
  }
  console.log(JSON.stringify({ ...ground.tally, under }));
  return under === 0 ? 0 : 1;
}

if (import.meta.main) {
  const [minutes = '1', seed = '1'] = process.argv.slice(2);
  process.exitCode = await main(Number(minutes), Number(seed));
}
