// TypeORM's and Prisma's looks at a database: all that they ask is a read.
// Invariant: what they see through Holdpoint is what they see on the server itself.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { DataSource } from 'typeorm';
import { type PostgresServer, skipWithoutPostgres, VERSIONS } from '../../setup/postgres.ts';
import { look, shopServer, urlOf } from './looking.ts';
import { pulled } from './prisma.ts';

/** Everything that its query runner can tell, and a query through a builder. */
async function typeorm(url: string): Promise<string> {
  const source = new DataSource({ type: 'postgres', url, logging: false, synchronize: false });
  await source.initialize();
  const runner = source.createQueryRunner();
  try {
    const names = ['customers', 'sales.orders', 'logs', 'child', 'totals'];
    const tables = await runner.getTables(names);
    const views = await runner.getViews(['big_orders', 'totals']);
    const found = await source
      .createQueryBuilder()
      .select(['name', 'email'])
      .from('customers', 'c')
      .where('c.name = :name', { name: 'ann' })
      .getRawMany();
    return JSON.stringify({
      tables,
      views,
      found,
      has: [await runner.hasTable('customers'), await runner.hasColumn('customers', 'email')],
      schema: await runner.getCurrentSchema(),
      database: await runner.getCurrentDatabase(),
    });
  } finally {
    await runner.release();
    await source.destroy();
  }
}

for (const version of VERSIONS) {
  describe(`PostgreSQL ${version}`, { skip: skipWithoutPostgres(version) }, () => {
    let server: PostgresServer;
    before(async () => {
      server = await shopServer(version);
    });
    after(() => server.stop());

    test('TypeORM', async () => {
      const looked = await look(server, (place) => typeorm(urlOf(place)));
      assert.equal(looked.through, looked.straight);
      assert.match(looked.straight, /orders_placed/);
      assert.ok(looked.operations > 15, `only ${looked.operations} operations`);
    });

    test('Prisma', async () => {
      const looked = await look(server, (place) => pulled(urlOf(place)));
      assert.deepEqual(looked.through, looked.straight);
      assert.match(JSON.stringify(looked.straight), /model customers/);
      assert.ok(looked.operations > 8, `only ${looked.operations} operations`);
    });
  });
}
