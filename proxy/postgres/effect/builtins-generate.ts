// Writes builtins.txt, the table of PostgreSQL's built-in functions, from the pg_proc of the
// servers whose URLs are given.
// Invariant: the file is only ever made here; what a function does is said by hand in builtins.ts,
// never in the file.
//
//   node proxy/postgres/effect/builtins-generate.ts URL…    (one server of each major version, 14
//   to 18)
import { writeFileSync } from 'node:fs';
import pg from 'pg';

interface Builtin {
  readonly volatility: Set<string>;
  readonly results: Set<string>;
  readonly symbols: Set<string>;
}

const QUERY = `select p.proname as name, p.provolatile as volatility, p.prosrc as symbol,
    l.lanname as language,
    case when p.proretset then 'set' else t.typname end as result
  from pg_proc p join pg_language l on l.oid = p.prolang join pg_type t on t.oid = p.prorettype
  where p.oid < 16384 and p.pronamespace = 'pg_catalog'::regnamespace`;

const ORDER = ['v', 's', 'i'];

async function main(urls: readonly string[]): Promise<void> {
  if (urls.length === 0) throw new Error('give the URL of at least one PostgreSQL server');
  const table = new Map<string, Builtin>();
  const versions: string[] = [];
  for (const url of urls) {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    const version = await client.query<{ server_version: string }>('show server_version');
    versions.push(version.rows[0]?.server_version.split(' ')[0] ?? '?');
    const { rows } =
      await client.query<{
        [k in 'name' | 'volatility' | 'symbol' | 'language' | 'result']: string;
      }>(QUERY);
    await client.end();
    for (const row of rows) {
      const entry = table.get(row.name) ?? {
        volatility: new Set(),
        results: new Set(),
        symbols: new Set(),
      };
      table.set(row.name, entry);
      entry.volatility.add(row.volatility);
      entry.results.add(row.result);
      if (row.language === 'internal') entry.symbols.add(row.symbol);
    }
  }
  const lines = [...table]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, entry]) => {
      const volatility = ORDER.find((v) => entry.volatility.has(v)) ?? 'v';
      const result = entry.results.size === 1 ? [...entry.results][0] : '*';
      const symbols = [...entry.symbols]
        .filter((s) => s !== name)
        .sort()
        .join(',');
      return [name, volatility, result, symbols].join(' ').trimEnd();
    });
  const head = [
    `# Built-in functions of PostgreSQL ${versions.join(', ')}.`,
    '# Made by builtins-generate.ts; do not edit.',
    '# name, worst volatility of its overloads, result type (* when they differ), other C symbols',
  ];
  writeFileSync(new URL('./builtins.txt', import.meta.url), `${[...head, ...lines].join('\n')}\n`);
}

await main(process.argv.slice(2));
