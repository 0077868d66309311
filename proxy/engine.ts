// What an engine must provide, and the table of the engines. The spine (session/flow.ts) knows no
// more of them than this.
import type { Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import type { Agents } from './agents.ts';
import type { Target } from './config.ts';
import type { EngineName } from './operation.ts';
import { PostgresEngine } from './postgres/engine.ts';
import type { Services } from './session/flow.ts';

export interface Surroundings {
  readonly services: Services;
  readonly agents: Agents;
  readonly targets: readonly Target[];
  readonly tls: SecureContext | null;
  readonly tlsRequired: boolean;
}

export interface Engine {
  readonly name: EngineName;
  /**
   * Takes a fresh client connection: handshake, then operations until either side ends. Never
   * throws.
   */
  accept(socket: Socket): void;
  /** Says in the engine's own protocol that there are too many connections, and closes this one. */
  turnAway(socket: Socket): void;
  readonly sessions: number;
  /** Ends every session with words, and lets go of what they shared. */
  close(): Promise<void>;
}

/** The engines that are spoken, by name. */
export const ENGINES: { readonly postgres: (surroundings: Surroundings) => Engine } = {
  postgres: (surroundings) => new PostgresEngine(surroundings),
};
