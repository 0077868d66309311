// The demo target as a whole: the server, Holdpoint's own role in it, and the seeded shop.
// Invariant: seeding happens once and in one transaction; a start that was cut short does it again
// from nothing.
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import type { EmbeddedTarget } from '../../proxy/config.ts';
import { type DemoPostgres, keep, startPostgres } from './postgres.ts';

export const DATABASE = 'shop';
const ROLE = 'holdpoint';

export interface Shop {
  readonly target: EmbeddedTarget;
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

export async function startShop(stateDirectory: string): Promise<Shop> {
  const server = await startPostgres(stateDirectory);
  try {
    const directory = join(stateDirectory, 'demo');
    const password = keep(join(directory, 'holdpoint.password'), () =>
      randomBytes(24).toString('base64url'),
    );
    const seeded = join(directory, 'seeded');
    if (server.fresh || !existsSync(seeded)) {
      await seed(server, password);
      writeFileSync(seeded, '', { mode: 0o600 });
    }
    const { host, port, ended, stop } = server;
    const target = { host, port, user: ROLE, password: () => password, database: DATABASE };
    return { target, ended, stop };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/**
 * Can be run again after any interruption: each step looks first, and the tables come all at once.
 */
async function seed(server: DemoPostgres, password: string): Promise<void> {
  const { host, port, superuser } = server;
  await using(new pg.Client({ host, port, ...superuser, database: 'postgres' }), async (admin) => {
    const role = await admin.query('SELECT FROM pg_roles WHERE rolname = $1', [ROLE]);
    const verb = role.rowCount === 0 ? 'CREATE' : 'ALTER';
    await admin.query(`${verb} ROLE ${ROLE} LOGIN PASSWORD ${admin.escapeLiteral(password)}`);
    const database = await admin.query('SELECT FROM pg_database WHERE datname = $1', [DATABASE]);
    if (database.rowCount === 0) await admin.query(`CREATE DATABASE ${DATABASE} OWNER ${ROLE}`);
  });
  const owner = { host, port, user: ROLE, password, database: DATABASE };
  await using(new pg.Client(owner), async (client) => {
    const { rows } = await client.query("SELECT to_regclass('public.audit_log') AS made");
    if (rows[0]?.made) return;
    const sql = readFileSync(join(import.meta.dirname, 'shop.sql'), 'utf8');
    await client.query(`BEGIN; SET LOCAL search_path = public; ${sql}; COMMIT`);
    await client.query('ANALYZE');
  });
}

async function using(client: pg.Client, work: (client: pg.Client) => Promise<void>): Promise<void> {
  client.on('error', () => {});
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
