// Event triggers run when what a statement makes is there: what it makes may be run by them.
// Invariant: the server is asked what was lost, and a case in which nothing was lost fails.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { openCatalog } from '../../proxy/postgres/catalog.ts';
import { analyze, initialContext, loadParser } from '../../proxy/postgres/effect/analyze.ts';
import { type PostgresServer, sharedPostgres } from '../setup/postgres.ts';

const WORLD = `
  create table victims (id int);
  insert into victims values (1);
  create table log (what text);
  create function wipe() returns trigger language plpgsql
    as 'begin delete from public.victims; return new; end';
  create function size(text) returns int language sql as 'select 1';`;
const NOTES = `
  create function note() returns event_trigger language plpgsql
    as 'begin insert into public.log values (''x''); perform public.size(''x''); end';
  create event trigger noted on ddl_command_end execute function note();`;

const MAKES: readonly (readonly [what: string, sql: string])[] = [
  ['a rule', 'create rule r as on insert to log do also delete from victims'],
  [
    'a trigger',
    'create trigger t before insert on log for each row execute function public.wipe()',
  ],
  [
    'a function',
    `create or replace function size(text) returns int language sql
      as 'delete from public.victims returning 1'`,
  ],
];

describe('event triggers', () => {
  let server: PostgresServer;
  before(async () => {
    await loadParser();
    server = await sharedPostgres(18);
  });
  after(() => server?.stop());

  /** The judgement of a statement after one that was sent before it, and what it left. */
  async function tried(world: string, prior: string, sql: string) {
    const database = await server.createDatabase(world);
    const session = await server.connect(database);
    try {
      const reader = await openCatalog(server.url(database));
      const context = initialContext({ user: 'postgres', search_path: ['public'] });
      const parsed = analyze(prior + sql, context, reader.current());
      await reader.close();
      await session.query(prior + sql);
      const { rows } = await session.query('select * from victims');
      return { parsed, left: rows.length };
    } finally {
      await session.end();
    }
  }

  for (const [what, sql] of MAKES) {
    for (const [when, world, prior] of [
      ['by a trigger that was there', WORLD + NOTES, ''],
      ['by a trigger made just before', WORLD, NOTES],
    ] as const) {
      test(`${what} is run ${when}`, async () => {
        const { parsed, left } = await tried(world, prior, sql);
        assert.equal(left, 0, 'nothing was lost');
        const names = parsed.statements
          .at(-1)
          ?.effects.filter((effect) => effect.verb === 'delete')
          .flatMap((effect) => effect.objects.map(({ name }) => name));
        assert.ok(names?.includes('victims'), JSON.stringify(parsed.statements.at(-1)?.effects));
      });
    }
  }

  test('a name in the statement means what it did before', async () => {
    const sql = 'create temp table victims () inherits (victims)';
    const { parsed } = await tried(WORLD + NOTES, '', sql);
    assert.ok(parsed.effects.some((effect) => effect.class === 'ddl'));
  });

  test('a statement that makes nothing of theirs sets off no more than they do', async () => {
    const { parsed, left } = await tried(WORLD + NOTES, '', 'create table other (id int)');
    assert.equal(left, 1);
    assert.equal(parsed.class, 'ddl');
  });
});
