// Every function of an extension is judged, called on a real server, and what it changed held
// against the judgement: rows, catalogs, sequences, files of the data folder, settings, locks,
// sessions.
//   node test/oracle/postgres/extensions.ts [--preload=library,…] [extension …]
// Invariant: it ends with 1 when a call did more than was said. What no query shows (shared memory,
// the log, other machines) is not claimed: `volatile` lines name the calls to read up on.
import { readdirSync } from 'node:fs';
import type pg from 'pg';
import { type EffectClass, severity } from '../../../proxy/effect/effect.ts';
import type { CatalogSnapshot } from '../../../proxy/postgres/catalog/snapshot.ts';
import { openCatalog } from '../../../proxy/postgres/catalog.ts';
import { analyze, initialContext, loadParser } from '../../../proxy/postgres/effect/analyze.ts';
import { type PostgresServer, startPostgres, versionAsked } from '../../setup/postgres.ts';
import { callsOf, type ExtensionFunction, functionsOf, Samples, WORLD } from './extension-calls.ts';
import { difference, readState, type State } from './measure.ts';

const MOST_CALLS = 40;
const STATEMENT_MS = 1_500;

/** What only this session sees, and what measure.ts does not look at. */
const SESSION = `
  select 'setting ' || name as name, setting as value from pg_settings
    where coalesce(setting, '') <> coalesce(reset_val, '')
  union all select 'temporary ' || relname, relkind::text from pg_class where relpersistence = 't'
  union all select 'prepared ' || name, statement from pg_prepared_statements
  union all select 'cursor ' || name, statement from pg_cursors
  union all select 'listening ' || c, '' from pg_listening_channels() c
  union all select 'lock ' || locktype || ' ' || mode, count(*)::text from pg_locks
    where pid = pg_backend_pid() and locktype = 'advisory' group by 1`;

type Pairs = ReadonlyMap<string, string>;

async function pairs(client: pg.Client, text: string): Promise<Pairs> {
  const { rows } = await client.query<{ name: string; value: string }>(text);
  return new Map(rows.map((row) => [row.name, row.value]));
}

function changed(before: Pairs, after: Pairs): string[] {
  return [...after].filter(([name, value]) => before.get(name) !== value).map(([name]) => name);
}

/** Files beside those that the server writes all the time; nothing where they can't be seen. */
function files(folder: string): string[] {
  const own = /^(base|global|pg_(wal|stat.*|xact|subtrans|multixact|notify|logical|replslot))$/;
  try {
    return readdirSync(folder).filter((name) => !own.test(name));
  } catch {
    return [];
  }
}

interface Measured {
  readonly least: EffectClass;
  readonly what: readonly string[];
  readonly tables: readonly string[];
}

class Stage {
  readonly #server: PostgresServer;
  readonly #template: string;
  readonly #name: string;
  #watcher: pg.Client | null = null;
  #before: State | null = null;
  folder = '';

  constructor(server: PostgresServer, template: string) {
    this.#server = server;
    this.#template = template;
    this.#name = `stage_${template}`;
  }

  get url(): string {
    return this.#server.url(this.#name);
  }

  async reset(): Promise<void> {
    await this.#watcher?.end();
    this.#watcher = null;
    const admin = await this.#server.connect('postgres');
    await admin.query(`drop database if exists ${this.#name} with (force)`);
    await admin.query(`alter database ${this.#template} allow_connections false`);
    for (let tries = 0; tries < 100; tries++) {
      // Workers that an extension starts are on their way out.
      const { rows } = await admin.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = $1`,
        [this.#template],
      );
      if (rows.length === 0) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await admin.query(`create database ${this.#name} template ${this.#template}`);
    this.folder = (await admin.query('show data_directory')).rows[0]?.data_directory ?? '';
    await admin.end();
    this.#before = null;
  }

  async connect(): Promise<pg.Client> {
    const client = await this.#server.connect(this.#name);
    await client.query(`set statement_timeout = ${STATEMENT_MS}`);
    return client;
  }

  async #read(): Promise<State> {
    this.#watcher ??= await this.#server.connect(this.#name);
    return await readState(this.#watcher);
  }

  /** Runs the calls in one session, and says what came of all of them. */
  async run(calls: readonly string[]): Promise<{ change: Measured; errors: string[] }> {
    this.#before ??= await this.#read();
    const before = { state: this.#before, files: files(this.folder) };
    const errors: string[] = [];
    let client = await this.connect();
    const session = await pairs(client, SESSION);
    for (const call of calls) {
      await client.query('begin').catch(() => {});
      const error = await client.query(call).then(
        () => null,
        (cause: Error) => cause.message,
      );
      if (error !== null) errors.push(error);
      const waits = error?.includes('statement timeout') === true;
      const ended = error === null ? 'commit' : 'rollback';
      const alive = await client.query(ended).then(
        () => true,
        () => false,
      );
      if (!alive) {
        await client.end().catch(() => {});
        client = await this.#again();
      }
      // It would wait for as long with other values.
      if (waits) break;
    }
    const own = changed(session, await pairs(client, SESSION));
    await client.end();
    const { tables, catalogs, others } = difference(before.state, await this.#read());
    const made = files(this.folder).filter((name) => !before.files.includes(name));
    const lost = tables.some((t) => t.after === null || t.after < t.before);
    const least =
      made.length > 0
        ? 'admin'
        : lost
          ? 'destructive'
          : catalogs.length > 0
            ? 'ddl'
            : tables.length + others.length > 0
              ? 'write'
              : own.length > 0
                ? 'session'
                : 'read';
    const what = [
      ...made.map((name) => `file ${name}`),
      ...tables.map((t) => `${t.table} +${t.added} -${t.removed}`),
      ...catalogs,
      ...others,
      ...own,
    ];
    return { change: { least, what, tables: tables.map((t) => t.table) }, errors };
  }

  /** The server has crashed and comes back. */
  async #again(): Promise<pg.Client> {
    await this.#watcher?.end().catch(() => {});
    this.#watcher = null;
    for (let tries = 0; ; tries++) {
      try {
        return await this.connect();
      } catch (cause) {
        if (tries > 100) throw cause;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  async close(): Promise<void> {
    await this.#watcher?.end();
  }
}

function judge(text: string, catalog: CatalogSnapshot) {
  const parsed = analyze(text, initialContext({ user: 'postgres' }), catalog);
  const named = new Set(
    parsed.effects.flatMap((e) =>
      e.objects.filter((o) => o.access !== 'read').map((o) => `${o.schema}.${o.name}`),
    ),
  );
  return { class: parsed.class, named, opaque: !parsed.complete };
}

interface Tally {
  functions: number;
  called: number;
  worked: number;
  under: number;
  readonly over: string[];
  readonly volatile: string[];
}

async function tryFunction(
  stage: Stage,
  found: ExtensionFunction,
  samples: Samples,
  catalog: CatalogSnapshot,
  tally: Tally,
): Promise<void> {
  tally.functions += 1;
  const calls = await callsOf(found, samples, MOST_CALLS);
  if (calls.length === 0) return;
  tally.called += 1;
  const told = calls.map((call) => judge(call, catalog));
  const mildest = told.reduce((a, b) => (severity(b.class) < severity(a.class) ? b : a));
  const { change, errors } = await stage.run(calls);
  if (errors.length < calls.length) tally.worked += 1;
  const name = `${found.label}(${found.symbol.length < 60 ? found.symbol : ''})`;
  const isTrigger = found.result === 'trigger';
  const nothing = change.what.length === 0;
  if (nothing && severity(mildest.class) > severity('read') && !isTrigger)
    tally.over.push(`${name} ${mildest.class}`);
  if (mildest.class === 'read' && found.volatility === 'v') tally.volatile.push(name);
  if (process.env.VERBOSE !== undefined && errors.length === calls.length)
    console.log(`  failed ${name}: ${calls[0]}: ${errors[0]}`);
  if (nothing) return;
  if (process.env.VERBOSE !== undefined) console.log(`  did ${name}: ${change.what}`);
  await stage.reset();
  const isFine = severity(mildest.class) >= severity(change.least);
  const areNamed = told.every(
    (t) => t.opaque || change.tables.every((table) => t.named.has(table)),
  );
  if (isFine && areNamed) return;
  let reported = 0;
  for (const [index, call] of calls.entries()) {
    if (reported === 3) return;
    const { change: one } = await stage.run([call]);
    const about = told[index];
    if (one.what.length === 0 || about === undefined) continue;
    await stage.reset();
    const isUnder = severity(about.class) < severity(one.least);
    const missing = about.opaque ? [] : one.tables.filter((table) => !about.named.has(table));
    if (!isUnder && missing.length === 0) continue;
    tally.under += 1;
    reported += 1;
    const did = one.what.slice(0, 6).join(', ');
    console.log(
      `under  ${about.class}, not ${one.least}: ${did} | ${call.replaceAll(/\s+/g, ' ')}`,
    );
  }
}

async function tryExtension(server: PostgresServer, extension: string): Promise<Tally | null> {
  const template = `tried_${extension.replaceAll(/\W/g, '_')}`;
  const admin = await server.connect('postgres');
  await admin.query(`create database ${template} template template0`);
  await admin.end();
  const maker = await server.connect(template);
  try {
    await maker.query(`create extension if not exists "${extension}" cascade`);
  } catch (cause) {
    await maker.end();
    console.log(`${extension}: not tried: ${cause instanceof Error ? cause.message : cause}`);
    return null;
  }
  await maker.query(WORLD);
  const functions = await functionsOf(maker, extension);
  await maker.end();
  const stage = new Stage(server, template);
  await stage.reset();
  const client = await stage.connect();
  const samples = new Samples(client);
  for (const { arguments: types } of functions) for (const type of types) await samples.of(type);
  await client.end();
  const reader = await openCatalog(stage.url);
  const catalog = reader.current();
  await reader.close();
  if (catalog === null) throw new Error('the catalog could not be read');
  const tally: Tally = { functions: 0, called: 0, worked: 0, under: 0, over: [], volatile: [] };
  for (const found of functions) await tryFunction(stage, found, samples, catalog, tally);
  await stage.close();
  return tally;
}

async function main(given: readonly string[]): Promise<void> {
  await loadParser();
  const preload = given.find((word) => word.startsWith('--preload='))?.slice('--preload='.length);
  const version = versionAsked(process.env.HOLDPOINT_ORACLE_POSTGRES, 15);
  const settings = preload === undefined ? {} : { shared_preload_libraries: preload };
  const server = await startPostgres({ version, settings: { ...settings, wal_level: 'logical' } });
  let under = 0;
  try {
    const admin = await server.connect('postgres');
    const all = 'select name from pg_available_extensions order by name';
    const known = (await admin.query<{ name: string }>(all)).rows.map((row) => row.name);
    await admin.end();
    const wanted = given.filter((word) => !word.startsWith('--'));
    for (const extension of wanted.length > 0 ? wanted : known) {
      const tally = await tryExtension(server, extension);
      if (tally === null) continue;
      under += tally.under;
      const { functions, called, worked } = tally;
      console.log(
        `${extension}: ${functions} functions, ${called} called, ${worked} gave a value, ` +
          `${tally.under} under`,
      );
      if (tally.over.length > 0) console.log(`  changed nothing: ${tally.over.join('; ')}`);
      if (tally.volatile.length > 0) console.log(`  volatile, a read: ${tally.volatile.join(' ')}`);
    }
  } finally {
    await server.stop();
  }
  process.exitCode = under === 0 ? 0 : 1;
}

await main(process.argv.slice(2));
