// What ordinary applications send (Rails, Django, Prisma, SQLAlchemy, TypeORM, sqlc), judged by the
// default policy for production over a real server's catalog.
// Invariant: each statement is one that the server takes; every read is a read, and every change of
// rows by key passes.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before } from 'node:test';
import type pg from 'pg';
import { type CatalogReader, openCatalog } from '../../proxy/postgres/catalog.ts';
import { analyze, initialContext, loadParser } from '../../proxy/postgres/effect/analyze.ts';
import { type PostgresServer, sharedPostgres, skipWithoutPostgres } from '../setup/postgres.ts';
import { operation } from '../verdict/example.ts';
import { defaultPolicy, test } from '../verdict/opened.ts';

interface Row {
  readonly expected: string;
  readonly statement: string;
}

const here = (name: string) => readFileSync(new URL(name, import.meta.url), 'utf8');

const ROWS = here('./application.txt')
  .split('\n')
  .flatMap((line): Row[] => {
    const found = /^([a-z][a-z -]*) \| (.+)$/.exec(line);
    return found === null ? [] : [{ expected: found[1] ?? '', statement: found[2] ?? '' }];
  });

const skip = skipWithoutPostgres(18);
let server: PostgresServer | null = null;
let client: pg.Client | null = null;
let reader: CatalogReader | null = null;

before(async () => {
  if (skip !== false) return;
  await loadParser();
  server = await sharedPostgres(18);
  const database = await server.createDatabase(here('./application.sql'));
  client = await server.connect(database);
  reader = await openCatalog(server.url(database));
});
after(async () => {
  await reader?.close();
  await client?.end();
  await server?.stop();
});

test('what applications send is read, passes by key, or is held for a reason', {
  skip,
}, async () => {
  const policy = await defaultPolicy();
  const catalog = reader?.current() ?? null;
  assert.ok(ROWS.length >= 150);
  const wrong = ROWS.flatMap(({ expected, statement }) => {
    const analysis = analyze(statement, initialContext({ user: 'app' }), catalog);
    const { verdict } = policy.decide({ ...operation([]), analysis }, 'normal');
    const found = verdict.kind === 'allow' ? analysis.class : `${verdict.kind} ${verdict.rule}`;
    if (found === expected) return [];
    const effects = analysis.effects.map((e) => `${e.verb} ${e.rows_max} ${e.opaque ?? ''}`);
    return [`${found}, not ${expected}: ${statement}\n  ${effects.join('; ')}`];
  });
  assert.deepEqual(wrong, []);
});

/** What PREPARE does not take, though a client may send it as it is. */
const NOT_PREPARED = /^(?!SELECT|WITH|INSERT|UPDATE|DELETE|MERGE)/i;

test('each of them is one that the server takes', { skip }, async () => {
  const refused: string[] = [];
  for (const { statement } of ROWS) {
    if (NOT_PREPARED.test(statement)) continue;
    await client?.query(`PREPARE each AS ${statement}`).then(
      () => client?.query('DEALLOCATE each'),
      (error: unknown) => refused.push(`${String(error)}: ${statement}`),
    );
  }
  assert.deepEqual(refused, []);
});
