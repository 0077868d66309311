// The agents that may log in: from the configuration, and from `agents.json` in the state
// directory.
// Invariant: only verifiers are kept, never a password; the file is replaced as a whole or not at
// all.
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { UserError } from './errors.ts';
import { takeLock } from './lock.ts';
import type { AgentView } from './operation.ts';
import { makeVerifier, mockVerifier, parseVerifier, type Verifier } from './postgres/scram.ts';

export { makeVerifier } from './postgres/scram.ts';

/** One agent as it is stored or configured. */
export interface AgentRecord extends AgentView {
  /** SCRAM-SHA-256 verifier as PostgreSQL stores it. */
  readonly verifier: string;
  /** Names of the targets it may use; null is all of them. */
  readonly targets: readonly string[] | null;
}

export const AGENT_NAME = /^[a-z0-9][a-z0-9_.@-]{0,62}$/i;

const names = z.array(z.string().min(1)).readonly();
const stored = z.strictObject({
  version: z.literal(1),
  /** Keeps the answers about names that don't exist stable, as those about names that do are. */
  mock: z.base64(),
  agents: z.array(
    z.strictObject({
      name: z.string().regex(AGENT_NAME),
      verifier: z.string(),
      groups: names,
      capabilities: names,
      scopes: names,
      targets: names.nullable(),
    }),
  ),
});
type Stored = z.infer<typeof stored>;

const LOCK_WAIT_MS = 3_000;

export class Agents {
  readonly #directory: string;
  readonly #configured: ReadonlyMap<string, AgentRecord>;
  #stored: ReadonlyMap<string, AgentRecord> = new Map();
  #mock: Buffer = randomBytes(32);
  #stamp = '';
  #version = 0;
  /** Filled when agents.json could not be read; the agents known before stay in force. */
  problem: string | null = null;

  constructor(stateDirectory: string, configured: readonly AgentRecord[] = []) {
    this.#directory = stateDirectory;
    this.#configured = new Map(configured.map((agent) => [agent.name, agent]));
    this.#refresh();
    if (this.problem) throw new UserError(this.problem);
  }

  /** The agent of that name, as the file says now; null when there is none. */
  find(name: string): AgentRecord | null {
    this.#refresh();
    return this.#configured.get(name) ?? this.#stored.get(name) ?? null;
  }

  list(): readonly AgentRecord[] {
    this.#refresh();
    const all = new Map([...this.#stored, ...this.#configured]);
    return [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Goes up when agents.json is another file than it was. */
  get version(): number {
    this.#refresh();
    return this.#version;
  }

  /**
   * As {@link find} said then, so it says now: not removed, no other password, no other rights. A
   * file that can't be read changes nothing.
   */
  stands(agent: AgentRecord): boolean {
    const now = this.find(agent.name);
    return now === agent || JSON.stringify(now) === JSON.stringify(agent);
  }

  /**
   * What to check a proof of that name against; for a name that does not exist, one that nothing
   * meets.
   */
  verifier(name: string): Verifier {
    const agent = this.find(name);
    return (agent && parseVerifier(agent.verifier)) ?? mockVerifier(name, this.#mock);
  }

  /** Reads agents.json again when it is another file than last time. */
  #refresh(): void {
    const path = join(this.#directory, 'agents.json');
    let stamp = 'unreadable';
    try {
      stamp = stampOf(path);
      if (stamp === this.#stamp) return;
      const file = read(path);
      this.#stored = new Map((file?.agents ?? []).map((agent) => [agent.name, agent]));
      if (file) this.#mock = Buffer.from(file.mock, 'base64');
      this.problem = null;
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
    }
    this.#stamp = stamp;
    this.#version++;
  }
}

/** Adds an agent and returns its new password, which is kept nowhere. */
export function addAgent(stateDirectory: string, agent: Omit<AgentRecord, 'verifier'>): string {
  if (!AGENT_NAME.test(agent.name)) {
    throw new UserError(
      `agent name ${JSON.stringify(agent.name)}: use letters, digits and . _ @ -, at most 63, ` +
        'a letter or digit first',
    );
  }
  const password = randomBytes(24).toString('base64url');
  change(stateDirectory, (file) => {
    if (file.agents.some((known) => known.name === agent.name)) {
      throw new UserError(
        `agent ${agent.name} is there already: choose another name, ` +
          `or remove it first (holdpoint agent remove ${agent.name})`,
      );
    }
    const { name, groups, capabilities, scopes, targets } = agent;
    const verifier = makeVerifier(password);
    file.agents.push({ name, verifier, groups, capabilities, scopes, targets });
  });
  return password;
}

/** Gives an agent a new password; the old one stops working, and sessions opened with it end. */
export function resetAgent(stateDirectory: string, name: string): string {
  const password = randomBytes(24).toString('base64url');
  change(stateDirectory, (file) => {
    const agent = file.agents.find((known) => known.name === name);
    if (!agent) throw unknown(name, stateDirectory);
    agent.verifier = makeVerifier(password);
  });
  return password;
}

export function removeAgent(stateDirectory: string, name: string): void {
  change(stateDirectory, (file) => {
    const at = file.agents.findIndex((known) => known.name === name);
    if (at < 0) throw unknown(name, stateDirectory);
    file.agents.splice(at, 1);
  });
}

function unknown(name: string, stateDirectory: string): UserError {
  return new UserError(
    `there is no agent ${name} in ${stateDirectory}: see \`holdpoint agent list\``,
  );
}

function stampOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat ? `${stat.ino} ${stat.size} ${stat.mtimeMs}` : 'none';
}

function read(path: string): Stored | null {
  if (!existsSync(path)) return null;
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    throw new UserError(
      `${path} is not JSON: put back a copy, or delete it and add the agents again`,
    );
  }
  const parsed = stored.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new UserError(`${path}: ${issue?.path.join('.')}: ${issue?.message}`);
  }
  const odd = parsed.data.agents.find((agent) => parseVerifier(agent.verifier) === null);
  if (odd) throw new UserError(`${path}: agent ${odd.name} has no SCRAM-SHA-256 verifier`);
  return parsed.data;
}

/**
 * Read, change, write beside, sync, rename: under a lock, since two people may add agents at once.
 */
function change(directory: string, edit: (file: Stored) => void): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const lock = takeLock(join(directory, 'agents.lock'), LOCK_WAIT_MS);
  if (!lock)
    throw new UserError(`${directory} is busy: another command is changing the agents; try again`);
  try {
    const path = join(directory, 'agents.json');
    const file = read(path) ?? { version: 1, mock: randomBytes(32).toString('base64'), agents: [] };
    edit(file);
    const beside = `${path}.new`;
    const handle = openSync(beside, 'w', 0o600);
    writeSync(handle, `${JSON.stringify(file, null, 2)}\n`);
    fsyncSync(handle);
    closeSync(handle);
    renameSync(beside, path);
  } finally {
    lock.release();
  }
}
