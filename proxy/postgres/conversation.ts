// One client's session with its server: the two sockets, what is owed, what text means, and how it
// ends.
// Invariant: one upstream connection per client; whatever goes out of step ends this session and
// touches no other.
import type { Socket } from 'node:net';
import type { Target } from '../config.ts';
import { LIMITS } from '../limits.ts';
import type { Refusal, Services, Waiting } from '../session/flow.ts';
import { Owed } from '../session/owed.ts';
import { type Outlet, Relay } from '../session/relay.ts';
import type { SharedCatalog } from './catalogs.ts';
import { encodeReport, FLUSH, TERMINATE } from './encode.ts';
import { Meaning } from './meaning.ts';
import type { Portal } from './names.ts';
import type { Asker } from './operation.ts';
import { Outcomes } from './outcome.ts';
import { EXECUTE, type Reply, type Run } from './owed-reply.ts';
import { encodeRefusal, encodeWaitNotice } from './refusal.ts';
import { type Listener, Replies } from './replies.ts';
import { Requests } from './requests.ts';
import { touchesSchema } from './schema-change.ts';
import type { TransactionStatus } from './server-message.ts';
import { SettingsReader } from './settings-reader.ts';
import { State } from './state.ts';
import type { SessionContext } from './statement.ts';
import { cancelUpstream, type Upstream } from './upstream.ts';

export interface Parties {
  readonly client: Socket;
  readonly upstream: Upstream;
  readonly target: Target;
  readonly asker: Asker;
  readonly context: SessionContext;
  readonly services: Services;
  readonly catalog: SharedCatalog;
  readonly agentReadOnly: boolean;
  /** Called once, when both sides are closed. */
  readonly onEnd: () => void;
}

export class Conversation implements Listener {
  readonly target: Target;
  readonly asker: Asker;
  readonly services: Services;
  readonly catalog: SharedCatalog;
  readonly state: State;
  readonly owed = new Owed<Reply>();
  readonly toServer: Outlet;
  readonly toClient: Outlet;
  readonly settings: SettingsReader;
  readonly meaning: Meaning;
  readonly mayWrite: boolean;
  /** The server reads COPY data from the client. */
  copying = false;
  /** Operations under way that change what later text means. */
  unsettled = 0;
  over = false;
  readonly #relay: Relay;
  readonly #client: Socket;
  readonly #upstream: Upstream;
  readonly #requests: Requests;
  readonly #replies: Replies;
  readonly #onEnd: () => void;
  #waiting: { readonly abort: AbortController; readonly canceled: () => void } | null = null;
  #notice: Buffer | null = null;
  readonly #outcomes: Outcomes;
  #schemaChanged = false;
  #clientGone = false;
  /** The client has sent its last byte and may still read. */
  #clientSilent = false;

  constructor(parties: Parties) {
    this.target = parties.target;
    this.asker = parties.asker;
    this.services = parties.services;
    this.catalog = parties.catalog;
    this.#client = parties.client;
    this.#upstream = parties.upstream;
    this.#onEnd = parties.onEnd;
    this.#outcomes = new Outcomes(parties.services);
    this.mayWrite = parties.asker.agent.capabilities.some((capability) => capability !== 'read');
    this.state = new State(parties.asker, parties.context);
    if (parties.agentReadOnly) this.state.guard.agentAsked(true);
    this.#relay = new Relay(parties.client, parties.upstream.socket, (error) => {
      this.services.problem('session', error);
      this.breakOff({ code: 'internal' });
    });
    this.toServer = this.#relay.toServer;
    this.toClient = this.#relay.toClient;
    this.#requests = new Requests(this);
    this.#replies = new Replies(this.owed, this.toClient, this);
    this.settings = new SettingsReader(this, () => this.#event(() => this.#resume()));
    this.meaning = new Meaning(this, () => {
      if (!this.over) this.#event(() => this.#resume());
    });
  }

  start(residual: Buffer): void {
    const { socket } = this.#upstream;
    const fromServer = (chunk: Buffer): void => this.#fromServer(chunk);
    const fromClient = (chunk: Buffer): void => this.#fromClient(chunk);
    this.#relay.read(socket, fromServer);
    this.#relay.read(this.#client, fromClient);
    socket.on('close', () => this.#event(() => this.#serverClosed()));
    this.#client.on('end', () => this.#event(() => this.#clientEnded()));
    this.#client.on('close', () => this.#event(() => this.#clientClosed()));
    this.#event(() => {
      if (this.#upstream.residual.length > 0) fromServer(this.#upstream.residual);
      this.settings.read(this.#requests);
      if (residual.length > 0) fromClient(residual);
    });
    socket.resume();
    this.#client.resume();
  }

  #fromClient(chunk: Buffer): void {
    if (this.over) return;
    this.#requests.data(chunk);
    if (this.#requests.full) this.#client.pause();
  }

  #fromServer(chunk: Buffer): void {
    if (this.over) return;
    this.#replies.data(chunk);
    if (this.owed.length === 0) this.#drained();
  }

  /** What neither client nor server sent: a timer, an answer, an end. */
  #event(work: () => void): void {
    this.#relay.event(work, undefined);
  }

  #drained(): void {
    if (this.#notice !== null && this.#replies.atBoundary) {
      this.toClient.write(this.#notice);
      this.#notice = null;
    }
    this.#resume();
    if (this.#clientGone && this.#outcomes.running === 0) this.end();
  }

  #resume(): void {
    this.#requests.resume();
    if (!this.#requests.blocked && this.#client.isPaused() && !this.toServer.held) {
      this.#client.resume();
    }
    if (this.#clientSilent && !this.#requests.blocked) this.#finish();
  }

  /** Nothing more comes from the client: what is owed is fetched, then it is over. */
  #finish(): void {
    if (this.over) return;
    if (this.owed.length === 0 || this.copying) return this.end();
    if (this.#requests.unitOpen) this.toServer.write(FLUSH);
  }

  started(run: Run): void {
    this.#outcomes.started(run);
    if (run.operation !== null) this.#requests.unitChanged = true;
    if (isUnsettling(run)) this.unsettled++;
  }

  executing(portal: Portal): void {
    const { run } = portal;
    portal.run = null;
    this.owed.push(run === null ? EXECUTE : { kind: 'execute', run });
    if (run !== null) this.started(run);
  }

  // What replies tell.

  parsed(reply: Extract<Reply, { kind: 'parse' }>, ok: boolean | null): void {
    const { name } = reply.prepared;
    const { statements } = this.state;
    if (ok === true) statements.confirm(name, reply.prepared);
    else statements.drop(name, reply.prepared);
    // A Parse of the unnamed statement that failed has dropped the one before it.
    if (ok === false && name === '') statements.confirm('', null);
  }

  bound(portal: Portal, ok: boolean | null): void {
    const { portals } = this.state;
    if (ok === true) return portals.confirm(portal.name, portal);
    portals.drop(portal.name, portal);
    if (portal.run !== null) this.#outcomes.notRun(portal.run, 'not executed');
    portal.run = null;
  }

  closed(reply: Extract<Reply, { kind: 'close' }>, ok: boolean | null): void {
    const names = reply.what === 'statement' ? this.state.statements : this.state.portals;
    if (ok === true) names.confirm(reply.name, null);
    else names.drop(reply.name, null);
  }

  finished(run: Run): void {
    run.finished = performance.now();
    if (!this.#outcomes.ended(run)) return;
    if (isUnsettling(run)) this.unsettled--;
    this.state.apply(run);
    if (run.failure === null && run.operation !== null && touchesSchema(run.operation.analysis)) {
      this.#schemaChanged = true;
    }
  }

  commitFailed(code: string): void {
    this.#outcomes.commitFailed(code);
  }

  skipping(): void {
    this.#requests.discarding = true;
  }

  ready(status: TransactionStatus): void {
    if (status === 'I') {
      for (const { run } of this.state.portals.confirmed()) {
        if (run !== null) this.#outcomes.notRun(run, 'not executed');
      }
    }
    this.state.ready(status, this.catalog.version);
    this.#outcomes.ready(status);
    if (status === 'I') {
      if (this.#schemaChanged) this.catalog.invalidate();
      this.#schemaChanged = false;
    }
  }

  copyEnded(): void {
    this.copying = false;
  }

  copyingFromClient(on: boolean): void {
    this.copying = on;
    if (on) this.#resume();
  }

  parameter(name: string, value: string): boolean {
    this.state.parameter(name, value);
    // The proxy's own switch: what the client was told at the start stands.
    return name !== 'default_transaction_read_only';
  }

  outOfStep(why: string): void {
    this.services.problem('protocol', new Error(why));
    this.breakOff({ code: 'protocol', detail: `The session is out of step: ${why}.` });
  }

  // Waiting for people.

  wait(may: boolean, canceled: () => void): Omit<Waiting, 'again'> {
    const abort = new AbortController();
    this.#waiting = { abort, canceled };
    if (this.#clientSilent) abort.abort();
    return {
      may,
      most_ms: this.target.hold.wait_ms,
      signal: abort.signal,
      notice: (words) => {
        this.#notice = encodeWaitNotice(words);
        if (this.owed.length === 0) this.#event(() => this.#drained());
      },
    };
  }

  waited(): void {
    this.#waiting = null;
    this.#notice = null;
    if (this.over) return;
    this.#event(() => this.#resume());
  }

  /** A CancelRequest with this session's key. */
  cancel(): void {
    if (this.#waiting !== null) {
      this.#waiting.canceled();
      this.#waiting.abort.abort();
      return;
    }
    // Nothing of the client's runs at the server: a cancel there would hit a statement of our own.
    const front = this.owed.front;
    if (front === undefined || front.kind === 'own') return this.#requests.cancel();
    const { processId, secretKey } = this.#upstream;
    cancelUpstream(this.target, processId, secretKey).catch((error: unknown) =>
      this.services.problem('cancel', error),
    );
  }

  // How it ends.

  terminated(): void {
    this.#clientClosed();
  }

  /** The last words of the session, then both sides are closed. */
  breakOff(refusal: Refusal): void {
    if (this.over) return;
    this.toClient.write(encodeRefusal(refusal, 'FATAL'));
    this.end();
  }

  /** Not the client's doing, nor the server's. */
  shutDown(why: string): void {
    if (this.over) return;
    const message = `terminating connection: ${why}`;
    this.toClient.write(encodeReport({ severity: 'FATAL', code: '57P01', message }));
    this.end();
  }

  /**
   * Half of the connection is closed: what was sent is answered, as the server would. Nobody is
   * waited for any more, since a client that died looks the same.
   */
  #clientEnded(): void {
    if (this.over) return;
    this.#clientSilent = true;
    this.#waiting?.abort.abort();
    this.#resume();
    if (!this.over) this.#endWhenIdle(this.#upstream.socket.bytesRead);
  }

  /** A silent client is not known to be there: it is given up when its reply stands still. */
  #endWhenIdle(before: number): void {
    setTimeout(() => {
      const now = this.#upstream.socket.bytesRead;
      if (now === before) this.#event(() => this.end());
      else if (!this.over) this.#endWhenIdle(now);
    }, LIMITS.orphaned_ms).unref();
  }

  #clientClosed(): void {
    this.#clientGone = true;
    this.#waiting?.abort.abort();
    if (this.over) return;
    // A change under way goes on at the server, as it would without us: its outcome is still
    // recorded.
    if (this.#outcomes.running === 0 || this.copying) return this.end();
    this.toServer.write(FLUSH);
    setTimeout(() => this.end(), LIMITS.orphaned_ms).unref();
  }

  #serverClosed(): void {
    this.#outcomes.lost();
    if (!this.over) this.end();
  }

  end(): void {
    if (this.over) return;
    this.over = true;
    this.#requests.release();
    this.#waiting?.abort.abort();
    this.toClient.flush();
    this.#client.end();
    const { socket } = this.#upstream;
    if (socket.writable) {
      this.toServer.write(TERMINATE);
      this.toServer.flush();
      socket.end();
    }
    this.#outcomes.lost();
    setTimeout(() => {
      this.#client.destroy();
      socket.destroy();
    }, LIMITS.session_linger_ms).unref();
    this.#onEnd();
  }
}

/** What comes behind it can't be understood before it has ended. */
function isUnsettling({ changes, operation }: Run): boolean {
  if (changes.some((each) => each.length > 0)) return true;
  return operation !== null && touchesSchema(operation.analysis);
}
