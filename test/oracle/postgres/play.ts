// Plays one psql script: sends its statements, and does what its backslash commands do to them.
// Invariant: every statement goes through the session that judges and counts; nothing else is sent.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type pg from 'pg';
import type { CatalogReader } from '../../../proxy/postgres/catalog.ts';
import type { PostgresServer } from '../../setup/postgres.ts';
import type { Counters } from './counters.ts';
import { type Command, Script } from './script.ts';
import { type Ran, Session } from './session.ts';

type Told = (ran: Ran) => void;

/** What is copied, which way, the other end, and the options. */
const COPY = /^\s*((?:\([\s\S]*\)|[^'])*?)\s+(from|to)\s+(p?stdin|p?stdout|'[^']*'|\S+)(.*)$/i;

export class Play {
  readonly #server: PostgresServer;
  readonly #reader: CatalogReader;
  readonly #counters: Counters;
  readonly #folder: string;
  #session: Session | null = null;
  #script = new Script('');
  #told: Told = () => undefined;

  constructor(server: PostgresServer, reader: CatalogReader, counters: Counters, folder: string) {
    this.#server = server;
    this.#reader = reader;
    this.#counters = counters;
    this.#folder = folder;
  }

  async run(text: string, told: Told): Promise<void> {
    this.#script = new Script(text);
    this.#told = told;
    this.#script.variables.set('DBNAME', 'regression');
    this.#script.variables.set('USER', this.#server.user);
    this.#session = await this.#connect(this.#server.user);
    try {
      for (let step = this.#script.next(); step !== null; step = this.#script.next()) {
        if (step.kind === 'statement') await this.#send(step.text);
        else if (step.name === 'q' || step.name === 'quit') break;
        else await this.#command(step);
      }
    } finally {
      await this.#session.close();
    }
  }

  async #connect(user: string): Promise<Session> {
    const { host, port, password } = this.#server;
    const config: pg.ClientConfig = { host, port, user, password, database: 'regression' };
    return await Session.open(config, this.#reader, this.#counters);
  }

  async #send(text: string, data = () => this.#script.data()): Promise<Ran> {
    if (this.#session === null || this.#session.lost)
      this.#session = await this.#connect(this.#server.user);
    const ran = await this.#session.run(text, data);
    this.#script.standardStrings = this.#session.standardStrings;
    this.#told(ran);
    return ran;
  }

  async #command(step: Command): Promise<void> {
    const { variables } = this.#script;
    const [first = '', ...others] = step.words;
    switch (step.name) {
      case 'set':
        variables.set(first, others.join(''));
        return;
      case 'unset':
        variables.delete(first);
        return;
      case 'getenv':
        this.#environment(first, others[0] ?? '');
        return;
      case 'c':
      case 'connect':
        await this.#reconnect(step.words);
        return;
      case 'copy':
        await this.#copy(step.rest);
        return;
      default:
        if (step.query !== '') await this.#query(step);
    }
  }

  #environment(name: string, variable: string): void {
    const given: { readonly [name: string]: string | undefined } = {
      PG_ABS_SRCDIR: dirname(this.#folder),
      PG_DLSUFFIX: '.so',
      ...process.env,
    };
    const value = given[variable];
    if (value !== undefined) this.#script.variables.set(name, value);
  }

  async #reconnect(words: readonly string[]): Promise<void> {
    const [, user] = words.filter((word) => !word.startsWith('-reuse'));
    await this.#session?.close();
    const name = user === undefined || user === '-' ? this.#server.user : user;
    // A role without the right to log in: the script goes on as whoever it was.
    this.#session = await this.#connect(name).catch(() => this.#connect(this.#server.user));
  }

  /** `\copy … from/to …` is a COPY whose other end is the client. */
  async #copy(line: string): Promise<void> {
    const match = COPY.exec(line.replaceAll(/:'?abs_srcdir'?/g, dirname(this.#folder)));
    if (match === null) return;
    const [, what = '', way = '', where = '', rest = ''] = match;
    const end = way.toLowerCase() === 'from' ? 'STDIN' : 'STDOUT';
    const text = `COPY ${what} ${way} ${end}${rest}`;
    const file = resolve(dirname(this.#folder), where.replaceAll("'", ''));
    const given = () => (existsSync(file) ? readFileSync(file, 'utf8') : '');
    await this.#send(text, /^p?std/i.test(where) ? undefined : given);
  }

  async #query(step: Command): Promise<void> {
    // What needs messages of the extended protocol is left out.
    if (/^(gdesc|bind|parse|sendpipeline)/.test(step.name)) return;
    const ran = await this.#send(step.query);
    if (step.name === 'gexec') {
      for (const row of ran.rows) for (const cell of row) if (cell !== null) await this.#send(cell);
    } else if (step.name === 'gset') {
      const [prefix = ''] = step.words;
      ran.columns.forEach((column, index) => {
        const value = ran.rows[0]?.[index];
        if (value == null) this.#script.variables.delete(prefix + column);
        else this.#script.variables.set(prefix + column, value);
      });
    }
  }
}
