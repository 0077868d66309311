// PostgreSQL as an engine: a connection becomes a conversation, a CancelRequest finds its own.
// Invariant: an agent's session runs on one upstream connection of its own, and nobody else's key
// cancels it.
import { randomBytes, randomInt, randomUUID, timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Target } from '../config.ts';
import type { Engine, Surroundings } from '../engine.ts';
import { LIMITS } from '../limits.ts';
import { Catalogs } from './catalogs.ts';
import { Conversation } from './conversation.ts';
import { initialContext } from './effect/context.ts';
import {
  encodeBackendKeyData,
  encodeParameterStatus,
  encodeReadyForQuery,
  encodeReport,
} from './encode.ts';
import { acceptClient, type ClientGreeting, HandshakeFailed, sendLast } from './handshake.ts';
import { History } from './history.ts';
import type { Asker } from './operation.ts';
import { chooseTarget, type Setting } from './startup.ts';
import { meaningfulSettings } from './state.ts';
import type { SessionContext } from './statement.ts';
import { connectUpstream, type Upstream, UpstreamFailed } from './upstream.ts';

interface Session {
  readonly secret: Buffer;
  readonly conversation: Conversation;
  readonly greeting: ClientGreeting;
}

export class PostgresEngine implements Engine {
  readonly name = 'postgres';
  readonly #around: Surroundings;
  readonly #catalogs: Catalogs;
  readonly #sessions = new Map<number, Session>();
  readonly #probe: NodeJS.Timeout;
  #closing = false;

  constructor(around: Surroundings) {
    this.#around = around;
    this.#catalogs = new Catalogs((where, error) => around.services.problem(where, error));
    let seen = around.agents.version;
    this.#probe = setInterval(() => {
      const now = around.agents.version;
      if (now !== seen) this.#dismiss();
      seen = now;
    }, LIMITS.agents_probe_ms).unref();
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  accept(socket: Socket): void {
    void this.#greet(socket).catch((error: unknown) => {
      if (!(error instanceof HandshakeFailed)) this.#around.services.problem('accept', error);
      socket.destroy();
    });
  }

  turnAway(socket: Socket): void {
    const message = 'sorry, too many clients already';
    sendLast(socket, encodeReport({ severity: 'FATAL', code: '53300', message }));
  }

  async #greet(socket: Socket): Promise<void> {
    const { agents, tls, tlsRequired } = this.#around;
    const greeting = await acceptClient(socket, { tls, tlsRequired, agents });
    if (greeting.kind === 'session') return this.#begin(greeting);
    this.#cancel(greeting.processId, greeting.secret);
    greeting.socket.end();
    greeting.socket.destroySoon();
  }

  /** Sessions do not outlive what let them in. */
  #dismiss(): void {
    for (const { greeting, conversation } of this.#sessions.values()) {
      if (greeting.stands()) continue;
      conversation.shutDown(
        `agent ${greeting.agent.name} was removed, or has another password or other rights`,
      );
    }
  }

  #cancel(processId: number, secret: Buffer): void {
    const found = this.#sessions.get(processId);
    if (found === undefined || found.secret.length !== secret.length) return;
    if (timingSafeEqual(found.secret, secret)) found.conversation.cancel();
  }

  /**
   * A proven agent: its target, an upstream connection, and what PostgreSQL says in front of the
   * first ReadyForQuery.
   */
  async #begin(greeting: ClientGreeting): Promise<void> {
    const { socket, startup } = greeting;
    const chosen = chooseTarget(startup.database, this.#around.targets, greeting.allowed);
    if (chosen.kind === 'refused') {
      const { sqlstate: code, message, hint } = chosen;
      return sendLast(
        socket,
        encodeReport({ severity: 'FATAL', code, message, hint: hint ?? undefined }),
      );
    }
    const { target, database } = chosen;
    const gone = new AbortController();
    const onClose = (): void => gone.abort();
    socket.once('close', onClose);
    let upstream: Upstream;
    try {
      const settings = startup.settings;
      upstream = await connectUpstream({ target, database, settings, signal: gone.signal });
    } catch (error) {
      if (!(error instanceof UpstreamFailed)) throw error;
      if (!gone.signal.aborted) this.#around.services.problem(`target ${target.name}`, error.cause);
      const { sqlstate: code, message, detail, hint } = error;
      return sendLast(socket, encodeReport({ severity: 'FATAL', code, message, detail, hint }));
    } finally {
      socket.off('close', onClose);
    }
    if (gone.signal.aborted || this.#closing || !greeting.stands()) {
      upstream.socket.destroy();
      return void socket.destroy();
    }
    this.#converse(greeting, upstream, target, database);
  }

  #converse(greeting: ClientGreeting, upstream: Upstream, target: Target, database: string): void {
    const { socket, startup } = greeting;
    const processId = this.#freeProcessId();
    // Protocol 3.0 has room for four bytes; from 3.2 on a key may be longer.
    const secret = randomBytes(startup.protocol.minor >= 2 ? 32 : 4);
    const agentReadOnly = asksReadOnly(startup.settings);
    const catalog = this.#catalogs.of(target, database);
    catalog.join();
    const conversation = new Conversation({
      client: socket,
      upstream,
      target,
      asker: asker(greeting, target, database, upstream.parameters),
      context: contextOf(target, upstream.parameters),
      services: this.#around.services,
      catalog,
      agentReadOnly,
      onEnd: () => {
        this.#sessions.delete(processId);
        catalog.leave();
      },
    });
    this.#sessions.set(processId, { secret, conversation, greeting });
    const words: Buffer[] = [...upstream.notices];
    for (const [name, value] of upstream.parameters) {
      const shown =
        name === 'default_transaction_read_only' ? (agentReadOnly ? 'on' : 'off') : value;
      words.push(encodeParameterStatus(name, shown));
    }
    words.push(encodeBackendKeyData(processId, secret), encodeReadyForQuery(upstream.status));
    socket.write(Buffer.concat(words));
    conversation.start(greeting.residual);
  }

  #freeProcessId(): number {
    for (;;) {
      const id = randomInt(1, 0x7fff_ffff);
      if (!this.#sessions.has(id)) return id;
    }
  }

  async close(): Promise<void> {
    this.#closing = true;
    clearInterval(this.#probe);
    for (const { conversation } of this.#sessions.values()) {
      conversation.shutDown('Holdpoint is shutting down');
    }
    await this.#catalogs.close();
  }
}

/** Before the settings are read back from the server, which is before anything is judged. */
function contextOf(target: Target, parameters: ReadonlyMap<string, string>): SessionContext {
  return initialContext({
    user: parameters.get('session_authorization') ?? target.user,
    standard_conforming_strings: parameters.get('standard_conforming_strings') ?? 'on',
    client_encoding: parameters.get('client_encoding') ?? 'UTF8',
  });
}

function asksReadOnly(settings: readonly Setting[]): boolean {
  const asked = settings.findLast((one) => one.name === 'default_transaction_read_only');
  return asked !== undefined && /^(on|true|yes|1|t|y)$/i.test(asked.value);
}

function asker(
  greeting: ClientGreeting,
  target: Target,
  database: string,
  parameters: ReadonlyMap<string, string>,
): Asker {
  const { agent, socket, startup } = greeting;
  const stated = (name: string): string | null =>
    startup.settings.findLast((one) => one.name === `holdpoint.${name}`)?.value ?? null;
  return {
    target: {
      name: target.name,
      engine: target.engine,
      environment: target.environment,
      database,
      enforce: target.enforce,
      tags: target.tags,
    },
    agent,
    session: {
      id: randomUUID(),
      application: parameters.get('application_name') ?? null,
      client_address: socket.remoteAddress ?? '',
      started: new Date().toISOString(),
      stated: {
        reason: stated('reason'),
        task: stated('task'),
        on_behalf_of: stated('on_behalf_of'),
      },
      settings: meaningfulSettings(parameters),
    },
    history: new History(),
    transaction_began: null,
  };
}
