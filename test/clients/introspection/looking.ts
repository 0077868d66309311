// A tool that looks at a database: once straight at the server, once through Holdpoint as an agent
// that may only read.
// Invariant: what the tool prints is the same both ways, and every operation it made was judged
// `read` or `session`.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Holdpoint, startHoldpoint } from '../../setup/holdpoint.ts';
import { type PostgresServer, startPostgres, type Version } from '../../setup/postgres.ts';

const SHOP = readFileSync(join(import.meta.dirname, 'shop.sql'), 'utf8');
const POLICY = join(import.meta.dirname, '..', '..', 'setup', 'policies', 'reads.rego');

export interface Place {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

export function urlOf(place: Place): string {
  const { user, password, host, port, database } = place;
  return `postgres://${user}:${password}@${host}:${port}/${database}`;
}

/** A server with the shop in it. Its database has the name that agents know it by. */
export async function shopServer(version: Version): Promise<PostgresServer> {
  const server = await startPostgres({ version, settings: { wal_level: 'logical' } });
  const admin = await server.connect('postgres');
  await admin.query('create database shop template template0');
  await admin.end();
  const client = await server.connect('shop');
  await client.query(SHOP);
  await client.end();
  return server;
}

/** What one tool did through Holdpoint. */
export interface Looked<T> {
  readonly straight: T;
  readonly through: T;
  /** Operations that were judged. */
  readonly operations: number;
}

export async function look<T>(
  server: PostgresServer,
  tool: (place: Place) => Promise<T>,
): Promise<Looked<T>> {
  const straight = await tool({ ...server, database: 'shop' });
  const holdpoint = await startHoldpoint({
    target: { ...server, database: 'shop' },
    policy: POLICY,
    reads: 'each',
  });
  try {
    const through = await tool(holdpoint.login);
    await holdpoint.stop();
    return { straight, through, operations: await assertOnlyReads(holdpoint) };
  } finally {
    await holdpoint.close();
  }
}

async function assertOnlyReads(holdpoint: Holdpoint): Promise<number> {
  const above: string[] = [];
  let operations = 0;
  for (const entry of await holdpoint.entries()) {
    if (entry.kind === 'reads') operations += entry.count;
    if (entry.kind === 'reads' && !/^(read|session)$/.test(entry.class))
      above.push(`${entry.class}: ${entry.normalized}`);
    if (entry.kind !== 'decision') continue;
    operations += 1;
    if (/^(read|session)$/.test(entry.class) && entry.verdict.kind === 'allow') continue;
    const why = entry.effects.map((e) => `${e.verb}/${e.class} ${e.opaque ?? ''}`).join(', ');
    above.push(`${entry.class} (${why}): ${entry.statement.text ?? entry.statement.normalized}`);
  }
  assert.deepEqual(above, []);
  return operations;
}
