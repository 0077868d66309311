// The file of duty schedules and escalations, as it is now.
// Invariant: a change that can't be read leaves what was in force, and is told once.
import { readFileSync, statSync } from 'node:fs';
import { parse } from 'yaml';
import { parseRouting, type Routing } from '../../approver/routing.ts';
import { UserError } from '../../proxy/errors.ts';
import { problem } from './told.ts';

/** Reads it at once; throws {@link UserError} when it can't be used. */
export function routingFrom(file: string): () => Routing {
  let stamp = stampOf(file);
  let current: Routing;
  try {
    current = read(file);
  } catch (error) {
    throw new UserError(`${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return () => {
    const now = stampOf(file);
    if (now === stamp) return current;
    stamp = now;
    try {
      current = read(file);
    } catch (error) {
      problem('routing', `${file} is not taken: ${String(error)}`);
    }
    return current;
  };
}

function read(file: string): Routing {
  return parseRouting(parse(readFileSync(file, 'utf8')) ?? {});
}

function stampOf(file: string): string {
  const stat = statSync(file, { throwIfNoEntry: false });
  return stat ? `${stat.ino} ${stat.size} ${stat.mtimeMs}` : 'none';
}
