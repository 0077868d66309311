// One Holdpoint with tables that its policy lets pass, holds and denies by their names, for a test
// file.
// Invariant: `count` looks past Holdpoint, so that what it says is what the database holds.
import { after } from 'node:test';
import type pg from 'pg';
import {
  type Holdpoint,
  type HoldpointOptions,
  MARKED_POLICY,
  startHoldpoint,
} from './holdpoint.ts';
import { type PostgresServer, sharedPostgres } from './postgres.ts';

const TABLES = `
  create table open_t (id int);
  create table held_t (id int);
  create table denied_t (id int);
  insert into open_t select generate_series(1, 3);
  insert into held_t select generate_series(1, 3);
  insert into denied_t select generate_series(1, 3);`;

export interface Marked {
  readonly holdpoint: Holdpoint;
  readonly server: PostgresServer;
  readonly database: string;
  /** A superuser's connection past Holdpoint. */
  readonly behind: pg.Client;
  count(table: 'open_t' | 'held_t' | 'denied_t'): Promise<number>;
  /** Three rows in each table again. */
  reset(): Promise<void>;
}

/** Starts at the first call; everything is stopped after the file's last test. */
export function marked(
  options: Partial<HoldpointOptions> & { readonly setup?: string } = {},
): () => Promise<Marked> {
  let started: Promise<Marked> | null = null;
  after(async () => {
    const made = await started?.catch(() => null);
    if (made === null || made === undefined) return;
    await made.behind.end();
    await made.holdpoint.close();
    await made.server.stop();
  });
  return () => {
    started ??= start(options);
    return started;
  };
}

async function start(
  options: Partial<HoldpointOptions> & { readonly setup?: string },
): Promise<Marked> {
  const server = await sharedPostgres(18);
  const database = await server.createDatabase(TABLES + (options.setup ?? ''));
  const target = { ...server, database };
  const holdpoint = await startHoldpoint({ target, policy: MARKED_POLICY, ...options });
  const behind = await server.connect(database);
  const count = async (table: string) =>
    Number((await behind.query(`select count(*) from ${table}`)).rows[0].count);
  const reset = async () => {
    for (const table of ['open_t', 'held_t', 'denied_t']) {
      await behind.query(`truncate ${table}; insert into ${table} select generate_series(1, 3)`);
    }
  };
  return { holdpoint, server, database, behind, count, reset };
}
