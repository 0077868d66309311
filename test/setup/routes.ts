// The ways a client test reaches a database: straight to the server, and through Holdpoint, old
// server and new.
// Invariant: the same expectations hold on every route; the straight ones show that they are
// PostgreSQL's own.
import { after } from 'node:test';
import pg from 'pg';
import type { Login } from '../peers/client.ts';
import { type Holdpoint, MARKED_POLICY, startHoldpoint } from './holdpoint.ts';
import {
  type PostgresServer,
  sharedPostgres,
  skipWithoutPostgres,
  VERSIONS,
  type Version,
} from './postgres.ts';

/** One database, and the place where the client under test connects to it. */
export interface Door extends Login {
  readonly url: string;
  /** The database itself, as its superuser, past Holdpoint. */
  readonly behind: string;
  readonly version: Version;
}

export interface Route {
  readonly name: string;
  readonly version: Version;
  /** false: to the server itself. */
  readonly guarded: boolean;
  readonly skip: string | false;
  open(setup?: string): Promise<Door>;
}

function door(at: Login, behind: string, version: Version): Door {
  const url = `postgres://${at.user}:${at.password}@${at.host}:${at.port}/${at.database}`;
  return { ...at, url, behind, version };
}

/** Starts at the first use and stops after the file's last test. */
function once<T>(start: () => Promise<T>, stop: (value: T) => Promise<void>): () => Promise<T> {
  let started: Promise<T> | null = null;
  after(async () => {
    if (started === null) return;
    const value = await started.catch(() => null);
    if (value !== null) await stop(value);
  });
  return () => {
    started ??= start();
    return started;
  };
}

function straight(version: Version, server: () => Promise<PostgresServer>): Route {
  const open = async (setup?: string) => {
    const at = await server();
    const database = await at.createDatabase(setup);
    return door({ ...at, database }, at.url(database), version);
  };
  const skip = skipWithoutPostgres(version);
  return { name: `PostgreSQL ${version}`, version, guarded: false, skip, open };
}

/** Through a Holdpoint whose policy lets pass what is not marked by its name (marked.rego). */
function through(version: Version, server: () => Promise<PostgresServer>): Route {
  const started: Holdpoint[] = [];
  after(async () => {
    for (const holdpoint of started) await holdpoint.close();
  });
  const open = async (setup?: string) => {
    const at = await server();
    const database = await at.createDatabase(setup);
    const holdpoint = await startHoldpoint({ target: { ...at, database }, policy: MARKED_POLICY });
    started.push(holdpoint);
    return door(holdpoint.login, at.url(database), version);
  };
  const skip = skipWithoutPostgres(version);
  return { name: `PostgreSQL ${version} through Holdpoint`, version, guarded: true, skip, open };
}

function serverOf(version: Version): () => Promise<PostgresServer> {
  return once(
    () => sharedPostgres(version),
    (started) => started.stop(),
  );
}

/** Every route, in the order in which one wants to see them fail. Call it once in a test file. */
export function routes(): Route[] {
  return VERSIONS.flatMap((version) => {
    const server = serverOf(version);
    return [straight(version, server), through(version, server)];
  });
}

/** The same, for tests that compare the two ways with each other. */
export function pairs() {
  return VERSIONS.map((version) => {
    const server = serverOf(version);
    const direct = straight(version, server);
    return { version, skip: direct.skip, direct, guarded: through(version, server) };
  });
}

/** Waits until the server itself runs a statement of the door's database that contains the text. */
export async function running(door: Door, text: string, patienceMs = 60_000): Promise<void> {
  const behind = new pg.Client({ connectionString: door.behind });
  await behind.connect();
  const asked = `select 1 from pg_stat_activity where datname = current_database()
    and pid <> pg_backend_pid() and state = 'active' and position($1 in query) > 0`;
  try {
    for (const deadline = Date.now() + patienceMs; Date.now() < deadline; ) {
      if ((await behind.query(asked, [text])).rowCount !== 0) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`nothing with ${text} ran within ${patienceMs} ms`);
  } finally {
    await behind.end();
  }
}
