// What an engine must provide, and the table of the engines. The spine (session/flow.ts) knows no more of them than this.
import type { Socket } from 'node:net';
import type { EngineName } from './operation.ts';
import type { Services } from './session/flow.ts';
import type { Target } from './config.ts';

export interface Engine {
  readonly name: EngineName;
  /** Takes a fresh client connection: handshake, then sessions of operations until either side ends. */
  accept(socket: Socket, services: Services, targets: readonly Target[]): void;
}
