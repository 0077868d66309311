// Extensions side by side: their types, casts and operators are many, and looking through them is
// bounded.
// Invariant: what only computes is a read, known in no time that anybody would notice.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type CatalogReader, openCatalog } from '../../proxy/postgres/catalog.ts';
import { analyze, initialContext, loadParser } from '../../proxy/postgres/effect/analyze.ts';
import { type PostgresServer, sharedPostgres, skipWithoutPostgres } from '../setup/postgres.ts';

/** Those of Debian's postgresql-15; another build may lack some. */
const EXTENSIONS = `isn citext hstore ltree cube seg intarray pg_trgm btree_gist btree_gin
  pgcrypto unaccent tablefunc fuzzystrmatch`;

const READS = [
  `select isbn('978-0-393-04002-9')`,
  `select isbn('978-0-393-04002-9') = isbn13('978-0-393-04002-9')`,
  `select 'a=>1'::hstore -> 'a', 'Top.Science'::ltree @> 'Top.Science.Physics'`,
  `select cube(1, 2) && cube(2, 3), '1..2'::seg && '2..3'::seg`,
  `select similarity(t.name, 'x') from things t where t.name % 'x' order by t.name <-> 'x'`,
  `select * from things where label = 'ABC' and tags @> array[1, 2]`,
  `select encode(digest(name, 'sha256'), 'hex'), unaccent(name), soundex(name) from things`,
];

/** Many times what any of them takes; one that searched in circles took seconds. */
const MOST_MS = 500;

describe('contrib, PostgreSQL 15', { skip: skipWithoutPostgres(15) }, () => {
  let server: PostgresServer;
  let reader: CatalogReader;
  before(async () => {
    await loadParser();
    server = await sharedPostgres(15);
    const made = EXTENSIONS.split(/\s+/).map((name) => `create extension ${name};`);
    const table = 'create table things (id int primary key, name text, label citext, tags int[]);';
    reader = await openCatalog(
      server.url(await server.createDatabase(`${made.join('')} ${table}`)),
    );
  });
  after(async () => {
    await reader?.close();
    await server?.stop();
  });

  for (const sql of READS) {
    test(sql, () => {
      const context = initialContext({ user: 'postgres', search_path: ['public'] });
      const before = process.threadCpuUsage();
      const parsed = analyze(sql, context, reader.current());
      const { user, system } = process.threadCpuUsage(before);
      assert.equal(parsed.class, 'read', JSON.stringify(parsed.effects));
      assert.equal(parsed.complete, true);
      assert.ok((user + system) / 1000 < MOST_MS, `${(user + system) / 1000} ms`);
    });
  }
});
