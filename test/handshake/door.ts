// A listener with nothing behind the door but, if wanted, a real server: what the handshake alone
// does.
// Invariant: everything that came of a connection is kept, also failures, so that a test can wait
// for it.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { Agents, addAgent } from '../../proxy/agents.ts';
import type { Target } from '../../proxy/config.ts';
import {
  encodeBackendKeyData,
  encodeParameterStatus,
  encodeReadyForQuery,
  encodeReport,
} from '../../proxy/postgres/encode.ts';
import {
  type AcceptOptions,
  acceptClient,
  type CancelGreeting,
  type ClientGreeting,
  type HandshakeFailed,
} from '../../proxy/postgres/handshake.ts';
import { chooseTarget } from '../../proxy/postgres/startup.ts';
import { connectUpstream, UpstreamFailed } from '../../proxy/postgres/upstream.ts';
import { openTls } from '../../proxy/tls.ts';
import type { PostgresServer } from '../setup/postgres.ts';

export interface Door {
  readonly port: number;
  readonly agent: string;
  readonly password: string;
  readonly state: string;
  readonly certificate: string;
  /** What became of connections, in order. */
  readonly came: (ClientGreeting | CancelGreeting | HandshakeFailed)[];
  next(): Promise<ClientGreeting | CancelGreeting | HandshakeFailed>;
  close(): Promise<void>;
}

export interface DoorOptions
  extends Partial<Pick<AcceptOptions, 'tlsRequired' | 'handshakeTimeoutMs'>> {
  readonly tls?: boolean;
  readonly server?: PostgresServer;
}

export async function openDoor(options: DoorOptions = {}): Promise<Door> {
  const state = mkdtempSync(join(tmpdir(), 'holdpoint-door-'));
  const agent = 'agent-1';
  const all = { groups: ['ai'], capabilities: ['read'], scopes: [], targets: null };
  const password = addAgent(state, { name: agent, ...all });
  const agents = new Agents(state);
  const tls = await openTls({ mode: 'allow', cert: null, key: null }, state);
  const came: Door['came'] = [];
  const waiting: ((one: Door['came'][number]) => void)[] = [];
  const sockets = new Set<Socket>();
  const listener = createServer(async (socket) => {
    sockets.add(socket);
    const { tlsRequired = false, handshakeTimeoutMs = 60_000 } = options;
    const context = options.tls === false || tls === null ? null : createSecureContext(tls);
    const accept = { tls: context, tlsRequired, agents, handshakeTimeoutMs };
    const one = await acceptClient(socket, accept).catch((error: HandshakeFailed) => error);
    came.push(one);
    waiting.shift()?.(one);
    if (one instanceof Error) return;
    if (one.kind === 'cancel') one.socket.destroy();
    else if (options.server) await serve(one, targetOf(options.server), sockets);
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const at = listener.address();
  if (at === null || typeof at === 'string') throw new Error('no port');
  return {
    port: at.port,
    agent,
    password,
    state,
    certificate: tls?.self_signed ?? '',
    came,
    next: () => new Promise((resolve) => waiting.push(resolve)),
    close: async () => {
      for (const socket of sockets) socket.destroy();
      listener.close();
      rmSync(state, { recursive: true, force: true });
    },
  };
}

export function targetOf(server: PostgresServer, more: Partial<Target> = {}): Target {
  return {
    name: 'shop',
    engine: 'postgres',
    host: server.host,
    port: server.port,
    user: server.user,
    password: () => server.password,
    database: 'postgres',
    environment: 'test',
    enforce: true,
    tags: [],
    tls: { mode: 'disable', ca: null, cert: null, key: null },
    record: { reads: 'summary', literals: 'full', seal_to: null },
    hold: { wait_ms: 1_000, in_transaction: false },
    ...more,
  };
}

async function serve(
  greeting: ClientGreeting,
  target: Target,
  sockets: Set<Socket>,
): Promise<void> {
  const { socket, startup, residual } = greeting;
  const fatal = (code: string, message: string): void => {
    socket.end(encodeReport({ severity: 'FATAL', code, message }));
  };
  const chosen = chooseTarget(startup.database, [target], greeting.allowed);
  if (chosen.kind === 'refused') return fatal(chosen.sqlstate, chosen.message);
  try {
    const { database } = chosen;
    const upstream = await connectUpstream({ target, database, settings: startup.settings });
    sockets.add(upstream.socket);
    for (const [name, value] of upstream.parameters) {
      socket.write(encodeParameterStatus(name, value));
    }
    socket.write(encodeBackendKeyData(upstream.processId, upstream.secretKey));
    socket.write(encodeReadyForQuery(upstream.status));
    upstream.socket.write(residual);
    upstream.socket.pipe(socket);
    socket.pipe(upstream.socket);
  } catch (error) {
    if (!(error instanceof UpstreamFailed)) throw error;
    fatal(error.sqlstate, error.message);
  }
}
