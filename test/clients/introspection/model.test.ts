// A model behind an MCP server, the reference one for PostgreSQL: it looks around as on the server
// itself, and is told why it may not change something, and what to do.
// Invariant: all that the server asks to look around is a read.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startHoldpoint } from '../../setup/holdpoint.ts';
import { type PostgresServer, skipWithoutPostgres, VERSIONS } from '../../setup/postgres.ts';
import { IN_CI } from '../../setup/programs.ts';
import { look, type Place, shopServer, urlOf } from './looking.ts';
import { withServer } from './model.ts';

const MODULES = join(import.meta.dirname, '..', '..', '..', 'node_modules');
const SERVER = join(MODULES, '@modelcontextprotocol', 'server-postgres', 'dist', 'index.js');
const missing = existsSync(SERVER) || IN_CI ? false : 'npm ci: the MCP server is not installed';

const query = (sql: string) => ({ name: 'query', arguments: { sql } });

async function lookAround(place: Place): Promise<string> {
  return await withServer(SERVER, [urlOf(place)], async ({ ask }) => {
    const uri = 'postgres://x/customers/schema';
    const listed = (await ask('resources/list', {})) as { resources: { uri: string }[] };
    const seen = [
      await ask('tools/list', {}),
      // In the order in which the server happens to find them.
      listed.resources.map((resource) => JSON.stringify(resource)).sort(),
      await ask('resources/read', { uri }),
      await ask('tools/call', query('select id, email, home from customers order by id')),
      await ask('tools/call', query('explain (costs off) select * from sales.orders')),
      await ask('tools/call', query('select 1/0')),
    ];
    // Resources are named by the address that the server was given.
    return JSON.stringify(seen).replaceAll(/postgres:..\w+@[\d.:]+/g, 'postgres://here');
  });
}

for (const version of VERSIONS) {
  const skip = missing || skipWithoutPostgres(version);
  describe(`a model at PostgreSQL ${version}`, { skip }, () => {
    let server: PostgresServer;
    before(async () => {
      server = await shopServer(version);
    });
    after(() => server.stop());

    test('looks around', async () => {
      const looked = await look(server, lookAround);
      assert.equal(looked.through, looked.straight);
      assert.match(looked.straight, /a@example\.com.*Seq Scan.*division by zero/);
      assert.ok(looked.operations >= 6, `only ${looked.operations} operations`);
    });

    test('is told why not, and what to do', async () => {
      const holdpoint = await startHoldpoint({ target: { ...server, database: 'shop' } });
      try {
        const told = await withServer(SERVER, [urlOf(holdpoint.login)], async ({ ask }) => [
          await ask('tools/call', query('truncate scratch')),
          await ask('tools/call', query('delete from parent where a = 5')),
        ]);
        const [denied, held] = told.map((one) => (one as { readonly error: string }).error);
        assert.match(denied ?? '', /policy denies.*Rule \S+: it empties.*Sending it again gives/);
        const id = await holdpoint.held('from parent');
        assert.match(held ?? '', new RegExp(`held as ${id}.*db-owners.*/holds/${id}.*roll back`));
        await holdpoint.deny(id);
      } finally {
        await holdpoint.close();
      }
    });
  });
}
