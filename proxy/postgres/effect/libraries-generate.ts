// Adds to libraries.txt the C functions that the extensions of the given servers have in each of
// their versions, for the libraries that libraries.ts names as reviewed.
// Invariant: the file only ever grows here; what a symbol does is said by hand in libraries.ts, and
// a library comes into that list only after a look with test/oracle/postgres/extensions.ts.
//
//   node proxy/postgres/effect/libraries-generate.ts URL… [extension …]    (a superuser's)
import { readFileSync, writeFileSync } from 'node:fs';
import pg from 'pg';
import { libraryName, listedLibraries, REVIEWED } from './libraries.ts';

const FILE = new URL('./libraries.txt', import.meta.url);
const SCRATCH = 'holdpoint_libraries';
const COLUMNS = 100;

const SYMBOLS = `select distinct probin as library, prosrc as symbol from pg_proc
  where prolang = (select oid from pg_language where lanname = 'c')`;

const VERSIONS = `select a.name, v.version from pg_available_extensions a
  join pg_available_extension_versions v using (name)
  order by a.name, v.version = a.default_version desc, v.version`;

async function connect(url: string, database: string): Promise<pg.Client> {
  const at = new URL(url);
  at.pathname = database;
  const client = new pg.Client({ connectionString: at.href });
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** Runs `work` in a database of its own, where one version of an extension is. */
async function withExtension(
  url: string,
  admin: pg.Client,
  sql: string,
  work: (client: pg.Client) => Promise<void>,
): Promise<void> {
  await admin.query(`drop database if exists ${SCRATCH} with (force)`);
  await admin.query(`create database ${SCRATCH} template template0`);
  const client = await connect(url, SCRATCH);
  try {
    await client.query(sql);
    await work(client);
  } catch (cause) {
    console.log(`${sql}: ${cause instanceof Error ? cause.message : cause}`);
  } finally {
    await client.end();
  }
}

/** Of the named extensions, or of all that there are. */
async function symbolsOf(
  url: string,
  names: readonly string[],
  lists: Map<string, Set<string>>,
): Promise<void> {
  const admin = await connect(url, 'postgres');
  const { rows } = await admin.query<{ name: string; version: string }>(VERSIONS);
  const unlisted = new Set<string>();
  for (const { name, version } of rows) {
    if (unlisted.has(name) || (names.length > 0 && !names.includes(name))) continue;
    const sql = `create extension if not exists "${name}" version '${version}' cascade`;
    await withExtension(url, admin, sql, async (client) => {
      const found = await client.query<{ library: string; symbol: string }>(SYMBOLS);
      let any = false;
      for (const { library, symbol } of found.rows) {
        const list = lists.get(libraryName(library) ?? '');
        if (list === undefined) continue;
        list.add(symbol);
        any = true;
      }
      // Other versions of what has no such library are not worth a database each.
      if (!any) unlisted.add(name);
    });
  }
  await admin.query(`drop database if exists ${SCRATCH} with (force)`);
  await admin.end();
}

function wrapped(library: string, symbols: ReadonlySet<string>): string {
  const lines: string[] = [library];
  let line = ' ';
  for (const symbol of [...symbols].sort()) {
    if (line.length + 1 + symbol.length > COLUMNS) {
      lines.push(line);
      line = ' ';
    }
    line += ` ${symbol}`;
  }
  return [...lines, line].join('\n');
}

async function main(given: readonly string[]): Promise<void> {
  const urls = given.filter((word) => word.includes('://'));
  const names = given.filter((word) => !word.includes('://'));
  if (urls.length === 0) throw new Error('give the URL of at least one PostgreSQL server');
  const before = listedLibraries(readFileSync(FILE, 'utf8'));
  const lists = new Map([...REVIEWED].map((name) => [name, new Set(before.get(name) ?? [])]));
  for (const url of urls) await symbolsOf(url, names, lists);
  const blocks = [...lists]
    .filter(([, symbols]) => symbols.size > 0)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([library, symbols]) => wrapped(library, symbols));
  const head = [
    '# C functions of reviewed extensions, by library. Made by libraries-generate.ts.',
    '# Symbols of versions that were only read are added by hand; a symbol is never taken out.',
    '# What those do that do more than return a value is said in libraries.ts.',
  ];
  writeFileSync(FILE, `${[...head, ...blocks].join('\n')}\n`);
}

await main(process.argv.slice(2));
