// Runs rows of an effect corpus: each row's setup in a database of its own, its statement judged,
// the answer compared.
// Invariant: a statement is judged and never run; what is worse than allowed and what is better
// than allowed are counted apart.
import { readFileSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import pg from 'pg';
import { classifyPostgres } from '../../cli/classify.ts';
import { type EffectClass, severity } from '../../proxy/effect/effect.ts';
import { parse } from '../../proxy/postgres/parser.ts';

export interface Row {
  readonly id: string;
  readonly group: string;
  readonly setup?: string;
  readonly statement: string;
  readonly session?: { readonly [name: string]: unknown };
  readonly server_refuses?: boolean;
  readonly expect: {
    readonly class: EffectClass;
    readonly min_class?: EffectClass;
    readonly max_class?: EffectClass;
    readonly unscoped?: boolean;
    readonly objects?: readonly string[];
    readonly objects_via_catalog?: readonly string[];
  };
}

export interface Answer {
  readonly id: string;
  readonly class: EffectClass;
  readonly complete: boolean;
  readonly unscoped: boolean;
  readonly effects: readonly {
    readonly verb: string;
    readonly class: string;
    readonly opaque: string | null;
    readonly objects: readonly {
      readonly schema: string | null;
      readonly name: string;
      readonly via: readonly string[];
    }[];
  }[];
}

export type Verdict = 'right' | 'under' | 'under-refused' | 'over';

export interface Judged {
  readonly row: Row;
  readonly answer: Answer;
  readonly verdict: Verdict;
  readonly unscoped: boolean;
  readonly missing: readonly string[];
}

export function readCorpus(file: string): Row[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Row);
}

function verdictOf(row: Row, given: EffectClass): Verdict {
  const least = row.expect.min_class ?? row.expect.class;
  const most = row.expect.max_class ?? row.expect.class;
  if (severity(given) < severity(least))
    return row.server_refuses === true ? 'under-refused' : 'under';
  return severity(given) > Math.max(severity(most), severity(row.expect.class)) ? 'over' : 'right';
}

function missingObjects(row: Row, answer: Answer): string[] {
  const told = new Set(
    answer.effects.flatMap((e) =>
      e.objects.map((o) => (o.schema === null ? o.name : `${o.schema}.${o.name}`)),
    ),
  );
  const wanted = [...(row.expect.objects ?? []), ...(row.expect.objects_via_catalog ?? [])];
  return wanted.filter((name) => !name.includes(':') && !told.has(name));
}

/** The statements of a setup text, one by one: some can't share a message. */
export function statementsOf(text: string): string[] {
  const bytes = Buffer.from(text);
  return (parse(text).stmts ?? []).map(({ stmt_location: from = 0, stmt_len: length = 0 }) =>
    bytes.toString('utf8', from, length === 0 ? bytes.length : from + length),
  );
}

/** Rows about foreign servers connect back to the database that they are in, by this name. */
const BACK = 'hp_eval';

/**
 * Databases made for setups, each the only one of its name while its rows are judged; objects that
 * all databases share are left for the next.
 */
export class Setups {
  readonly #url: (database: string) => string;
  #count = 0;

  constructor(url: (database: string) => string) {
    this.#url = url;
  }

  /** A fresh database with the setup in it, for as long as `work` needs it. */
  async within<T>(setup: string, work: (url: string) => Promise<T>): Promise<T> {
    const back = setup.includes(`'${BACK}'`);
    const name = back ? BACK : `corpus_${process.pid}_${this.#count++}`;
    await this.#run('postgres', [`create database ${name} template template0`]);
    try {
      await this.#run(name, statementsOf(setup));
      return await work(this.#url(name));
    } finally {
      await this.#run('postgres', [`drop database if exists ${name} with (force)`]);
    }
  }

  async #run(database: string, statements: readonly string[]): Promise<void> {
    const client = new pg.Client({ connectionString: this.#url(database) });
    client.on('error', () => undefined);
    await client.connect();
    try {
      for (const statement of statements) {
        await client.query(statement).catch((error: unknown) => {
          // Roles outlive the row that made them: another row may find its role there already.
          if (error instanceof pg.DatabaseError && error.code === '42710') return;
          throw new Error(`setup failed: ${statement.slice(0, 200)}`, { cause: error });
        });
      }
    } finally {
      await client.end();
    }
  }
}

/** Judges all rows through the command, as a user would: one run of it for each setup. */
export async function judgeRows(rows: readonly Row[], setups: Setups): Promise<Judged[]> {
  const answers = new Map<string, Answer>();
  const bySetup = Map.groupBy(rows, (row) => row.setup ?? '');
  for (const [setup, mine] of bySetup) {
    const told = await setups.within(setup, (catalog) => classified(mine, catalog));
    for (const answer of told) answers.set(answer.id, answer);
  }
  return rows.map((row) => {
    const answer = answers.get(row.id);
    if (answer === undefined) throw new Error(`no answer for ${row.id}`);
    return {
      row,
      answer,
      verdict: verdictOf(row, answer.class),
      unscoped: answer.unscoped === (row.expect.unscoped ?? answer.unscoped),
      missing: missingObjects(row, answer),
    };
  });
}

async function classified(rows: readonly Row[], catalog: string): Promise<Answer[]> {
  const input = new PassThrough();
  const output = new PassThrough();
  const chunks: Buffer[] = [];
  output.on('data', (chunk: Buffer) => chunks.push(chunk));
  for (const { id, statement, session } of rows)
    input.write(`${JSON.stringify({ id, statement, session, catalog })}\n`);
  input.end();
  await classifyPostgres({ engine: 'postgres', input, output });
  return Buffer.concat(chunks)
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Answer);
}

/** One line a row that is not right, for a person. */
export function report(judged: readonly Judged[]): string {
  return judged
    .filter((j) => j.verdict !== 'right')
    .map(({ row, answer, verdict }) => {
      const why = answer.effects
        .map((e) => `${e.verb}/${e.class}${e.opaque === null ? '' : ` (${e.opaque})`}`)
        .join(' ');
      const { min_class: least = '', class: exact, max_class: most = '' } = row.expect;
      const range = `${least}..${exact}..${most}`;
      const text = row.statement.slice(0, 160);
      return `${verdict} ${row.id} ${row.group}: ${answer.class}, not ${range}: ${text} | ${why}`;
    })
    .join('\n');
}
