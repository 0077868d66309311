// `holdpoint classify`: statements in, what each would do out, one JSON line each, in order.
// Invariant: no statement is ever run; a line that can't be judged is answered `unknown`, never
// left out.
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { type Analysis, unknownEffect } from '../proxy/effect/effect.ts';
import { type CatalogSnapshot, openCatalog } from '../proxy/postgres/catalog.ts';
import { analyze, loadParser } from '../proxy/postgres/effect/analyze.ts';
import { applyChange, initialContext } from '../proxy/postgres/effect/context.ts';
import type { SessionContext } from '../proxy/postgres/statement.ts';

export interface ClassifyOptions {
  readonly engine: string;
  /** Connection URL of a database to look names up in; a line's own `catalog` goes before it. */
  readonly catalog?: string | undefined;
  readonly input?: Readable;
  readonly output?: Writable;
}

interface Session {
  readonly prior?: readonly string[];
  readonly user?: string;
  readonly search_path?: string | readonly string[];
  readonly standard_conforming_strings?: string | boolean;
  readonly client_encoding?: string;
}

interface Line {
  readonly id: unknown;
  readonly statement: string;
  readonly session: Session;
  readonly catalog: string | null;
}

type Answer = Pick<Analysis, 'class' | 'complete' | 'unscoped' | 'effects'>;

function unknown(reason: string): Answer {
  return {
    class: 'unknown',
    complete: false,
    unscoped: true,
    effects: [unknownEffect(reason)],
  };
}

function readLine(text: string): Line | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'the line is not JSON';
  }
  if (typeof value !== 'object' || value === null) return 'the line is not a JSON object';
  const { id = null, statement, session, catalog } = value as { readonly [key: string]: unknown };
  if (typeof statement !== 'string') return 'the line has no statement';
  return {
    id,
    statement,
    session: typeof session === 'object' && session !== null ? (session as Session) : {},
    catalog: typeof catalog === 'string' ? catalog : null,
  };
}

function idOf(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && 'id' in value ? value.id : null;
  } catch {
    return null;
  }
}

/** The user that a connection URL names; who a session belongs to when the line does not say. */
function userOf(url: string | null): string {
  try {
    return url === null ? 'postgres' : decodeURIComponent(new URL(url).username) || 'postgres';
  } catch {
    return 'postgres';
  }
}

/** The role's and database's own settings, as a new session of that user would have them. */
function settingOf(
  catalog: CatalogSnapshot | null,
  user: string,
  name: string,
): string | undefined {
  let found: { rank: number; value: string } | undefined;
  for (const entry of catalog?.role_settings ?? []) {
    if (entry.role !== '' && entry.role !== user) continue;
    if (entry.database !== '' && entry.database !== catalog?.database) continue;
    const rank = (entry.role === '' ? 0 : 2) + (entry.database === '' ? 0 : 1);
    for (const setting of entry.settings ?? []) {
      if (setting.startsWith(`${name}=`) && (found === undefined || rank > found.rank)) {
        found = { rank, value: setting.slice(name.length + 1) };
      }
    }
  }
  return found?.value;
}

function contextOf(
  line: Line,
  catalog: CatalogSnapshot | null,
  url: string | null,
): SessionContext {
  const { session } = line;
  const user = session.user ?? userOf(url);
  const path = session.search_path ?? settingOf(catalog, user, 'search_path');
  const strings =
    session.standard_conforming_strings ?? settingOf(catalog, user, 'standard_conforming_strings');
  const encoding = session.client_encoding ?? settingOf(catalog, user, 'client_encoding');
  let context = initialContext({
    user,
    ...(path === undefined ? {} : { search_path: path }),
    ...(strings === undefined ? {} : { standard_conforming_strings: strings }),
    ...(encoding === undefined ? {} : { client_encoding: encoding }),
  });
  for (const prior of session.prior ?? []) {
    for (const statement of analyze(String(prior), context, catalog).statements) {
      for (const change of statement.changes) context = applyChange(context, change);
    }
  }
  return context;
}

/** Catalogs kept at once; a database is read again when its turn comes back later. */
const CATALOGS = 32;

/**
 * Catalogs by URL, each read once and its connection closed. One that can't be read makes its lines
 * `unknown`.
 */
class Catalogs {
  readonly #snapshots = new Map<string, CatalogSnapshot | null>();

  async at(url: string | null): Promise<CatalogSnapshot | null> {
    if (url === null) return null;
    const known = this.#snapshots.get(url);
    if (known !== undefined) return known;
    const reader = await openCatalog(url);
    const snapshot = reader.current();
    await reader.close();
    this.#snapshots.set(url, snapshot);
    const oldest = this.#snapshots.keys().next().value;
    if (this.#snapshots.size > CATALOGS && oldest !== undefined) this.#snapshots.delete(oldest);
    return snapshot;
  }
}

async function judge(line: Line, options: ClassifyOptions, catalogs: Catalogs): Promise<Answer> {
  const url = line.catalog ?? options.catalog ?? null;
  let catalog: CatalogSnapshot | null;
  try {
    catalog = await catalogs.at(url);
  } catch {
    // The driver's message may repeat the URL and its password.
    return unknown('the catalog could not be read: is the URL right, and the server up?');
  }
  const parsed = analyze(line.statement, contextOf(line, catalog, url), catalog);
  const { class: effect, complete, unscoped, effects } = parsed;
  return { class: effect, complete, unscoped, effects };
}

/** Answers every line of the input; resolves when the input has ended and everything is written. */
export async function classifyPostgres(options: ClassifyOptions): Promise<void> {
  const input = options.input ?? process.stdin;
  const output = options.output ?? process.stdout;
  await loadParser();
  const catalogs = new Catalogs();
  for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (text.trim() === '') continue;
    const line = readLine(text);
    const answer = typeof line === 'string' ? unknown(line) : await judge(line, options, catalogs);
    const id = typeof line === 'string' ? idOf(text) : line.id;
    if (!output.write(`${JSON.stringify({ id, ...answer })}\n`)) {
      await new Promise((resolve) => output.once('drain', resolve));
    }
  }
}

/** The command. */
export async function classify(options: ClassifyOptions): Promise<void> {
  switch (options.engine) {
    case 'postgres':
      return classifyPostgres(options);
    default:
      throw new Error(`classify: engine ${options.engine} is not known; use --engine postgres`);
  }
}
