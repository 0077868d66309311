// The ways a client test reaches a database: straight to the server, and through Holdpoint, old
// server and new.
// Invariant: the same expectations hold on every route; the straight ones show that they are
// PostgreSQL's own.
import { after } from 'node:test';
import type { Login } from '../peers/client.ts';
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

/**
 * Every route, in the order in which a reader wants to see them fail. Call it once in a test file.
 */
export function routes(): Route[] {
  return VERSIONS.flatMap((version) => {
    const server = once(
      () => sharedPostgres(version),
      (started) => started.stop(),
    );
    return [straight(version, server)];
  });
}
