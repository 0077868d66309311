// The server's messages on their way to the client: passed by length, dropped where they answer the
// proxy's own messages, replaced where a refusal takes their place. Each message's treatment stands
// beside its type in `#whole`.
// Invariant: the front of the owed queue says whose reply a message is; a message that fits no
// entry ends the session.
import { LIMITS } from '../limits.ts';
import type { Owed } from '../session/owed.ts';
import type { Outlet } from '../session/relay.ts';
import { frameLength, HEADER, SERVER } from './frame.ts';
import type { Portal } from './names.ts';
import { OWN_CLOSES, type Own, type Reply, type Run } from './owed-reply.ts';
import {
  decodeCommandComplete,
  decodeDataRow,
  decodeError,
  decodeParameterDescription,
  decodeParameterStatus,
  decodeReadyForQuery,
  type TransactionStatus,
} from './server-message.ts';

/** What the conversation learns from replies. */
export interface Listener {
  parsed(reply: Extract<Reply, { kind: 'parse' }>, ok: boolean | null): void;
  bound(portal: Portal, ok: boolean | null): void;
  closed(reply: Extract<Reply, { kind: 'close' }>, ok: boolean | null): void;
  finished(run: Run): void;
  /** An error made the server skip to the next Sync, which has not been sent yet. */
  skipping(): void;
  /** ReadyForQuery for the client or for a Sync of the proxy's own. */
  ready(status: TransactionStatus): void;
  copyingFromClient(on: boolean): void;
  /**
   * The Sync that ends an implicit transaction failed (a deferred constraint or trigger): nothing
   * of it remains.
   */
  commitFailed(code: string): void;
  /** true: the client may see it. */
  parameter(name: string, value: string): boolean;
  /** The server broke the protocol, or something is out of step: the session can't go on. */
  outOfStep(why: string): void;
}

type Treatment = 'pass' | 'drop';

/** Types whose bodies the proxy never reads. */
function passesUnread(type: number): boolean {
  switch (type) {
    case SERVER.dataRow:
    case SERVER.copyData:
    case SERVER.copyDone:
    case SERVER.noticeResponse:
    case SERVER.notificationResponse:
    case SERVER.rowDescription:
      return true;
    default:
      return false;
  }
}

export class Replies {
  readonly #owed: Owed<Reply>;
  readonly #out: Outlet;
  readonly #listener: Listener;
  #carry: Buffer | null = null;
  /** Bytes left of a message that began in an earlier chunk. */
  #left = 0;
  #leftTreatment: Treatment = 'pass';

  constructor(owed: Owed<Reply>, out: Outlet, listener: Listener) {
    this.#owed = owed;
    this.#out = out;
    this.#listener = listener;
  }

  /** Between messages: something of the proxy's own may be said to the client here. */
  get atBoundary(): boolean {
    return this.#left === 0;
  }

  data(chunk: Buffer): void {
    let bytes = chunk;
    if (this.#carry !== null) {
      bytes = Buffer.concat([this.#carry, chunk]);
      this.#carry = null;
    }
    const end = bytes.length;
    let at = 0;
    let from = 0;
    if (this.#left > 0) {
      at = Math.min(this.#left, end);
      this.#left -= at;
      if (this.#leftTreatment === 'drop') from = at;
    }
    while (end - at >= HEADER) {
      const type = bytes.readUInt8(at);
      const length = frameLength(bytes, at);
      if (length < HEADER || length > LIMITS.server_message_bytes) {
        this.#listener.outOfStep(`the server sent a message of length ${length}`);
        return;
      }
      const passes = passesUnread(type) && !this.#takesRows();
      if (!passes && end - at < length) break;
      const treatment = passes
        ? this.#passing(type)
        : this.#whole(type, bytes, at, at + length, from);
      if (treatment === 'drop') {
        if (at > from && !this.#flushed) this.#out.write(bytes.subarray(from, at));
        from = Math.min(at + length, end);
      } else if (this.#flushed) {
        from = at;
      }
      this.#flushed = false;
      at += length;
      if (at > end) {
        this.#left = at - end;
        this.#leftTreatment = treatment;
        at = end;
      }
    }
    if (at > from)
      this.#out.write(from === 0 && at === bytes.length ? bytes : bytes.subarray(from, at));
    if (at < end) this.#carry = bytes.subarray(at);
  }

  /**
   * What stood before the present message is already written, since something had to follow it in
   * order.
   */
  #flushed = false;

  #takesRows(): boolean {
    return this.#owed.front?.kind === 'own';
  }

  #passing(type: number): Treatment {
    const front = this.#owed.front;
    if (type === SERVER.rowDescription && front?.kind === 'describe') this.#owed.shift();
    return 'pass';
  }

  /** One message that is read or answered; it is here as a whole. */
  #whole(type: number, bytes: Buffer, at: number, end: number, from: number): Treatment {
    const front = this.#owed.front;
    switch (type) {
      case SERVER.parameterStatus: {
        const { name, value } = decodeParameterStatus(bytes, at, end);
        return this.#listener.parameter(name, value) ? 'pass' : 'drop';
      }
      case SERVER.noticeResponse:
      case SERVER.notificationResponse:
        return 'pass';
      case SERVER.errorResponse:
        return this.#error(bytes, at, end, from);
      default:
    }
    if (front === undefined) {
      this.#listener.outOfStep(
        `the server sent ${String.fromCharCode(type)} while nothing was owed`,
      );
      return 'drop';
    }
    if (front.kind === 'own') return this.#own(front, type, bytes, at, end);
    return this.#reply(front, type, bytes, at, end);
  }

  #reply(front: Reply, type: number, bytes: Buffer, at: number, end: number): Treatment {
    switch (type) {
      case SERVER.parseComplete:
        if (front.kind !== 'parse') break;
        this.#owed.shift();
        this.#listener.parsed(front, true);
        return 'pass';
      case SERVER.bindComplete:
        if (front.kind !== 'bind') break;
        this.#owed.shift();
        this.#listener.bound(front, true);
        return 'pass';
      case SERVER.closeComplete:
        if (front.kind !== 'close') break;
        this.#owed.shift();
        this.#listener.closed(front, true);
        return 'pass';
      case SERVER.parameterDescription:
        if (front.kind !== 'describe') break;
        if (front.prepared !== null) {
          front.prepared.types = decodeParameterDescription(bytes, at, end);
        }
        return 'pass';
      case SERVER.noData:
        if (front.kind !== 'describe') break;
        this.#owed.shift();
        return 'pass';
      case SERVER.commandComplete:
      case SERVER.emptyQueryResponse:
      case SERVER.portalSuspended:
        if (front.kind !== 'execute' && front.kind !== 'query') break;
        this.#completed(front, type, bytes, at, end);
        return 'pass';
      case SERVER.copyInResponse:
        if (front.kind !== 'execute' && front.kind !== 'query') break;
        this.#copyIn(front);
        return 'pass';
      case SERVER.copyOutResponse:
        return 'pass';
      case SERVER.readyForQuery:
        if (front.kind !== 'query' && front.kind !== 'sync') break;
        this.#owed.shift();
        if (front.kind === 'query' && front.run !== null) this.#listener.finished(front.run);
        this.#listener.ready(decodeReadyForQuery(bytes, at, end));
        return front.kind === 'sync' && front.own ? 'drop' : 'pass';
      default:
    }
    this.#listener.outOfStep(
      `the server answered a ${front.kind} with ${String.fromCharCode(type)}`,
    );
    return 'drop';
  }

  #completed(
    front: Extract<Reply, { kind: 'execute' | 'query' }>,
    type: number,
    bytes: Buffer,
    at: number,
    end: number,
  ): void {
    const { run } = front;
    if (run !== null) {
      if (type === SERVER.commandComplete) {
        const { tag, rows } = decodeCommandComplete(bytes, at, end);
        run.tag = run.tag === null ? tag : `${run.tag}; ${tag}`;
        if (rows !== null) run.rows = (run.rows ?? 0) + rows;
      }
      if (type !== SERVER.portalSuspended) run.completed++;
    }
    this.#listener.copyingFromClient(false);
    if (front.kind === 'query') return;
    this.#owed.shift();
    if (run !== null) this.#listener.finished(run);
  }

  /** The server now reads copy data, and ignores the Syncs that came behind the Execute. */
  #copyIn(front: Reply): void {
    const behind: Reply[] = [];
    this.#owed.shift();
    for (let entry = this.#owed.shift(); entry !== undefined; entry = this.#owed.shift()) {
      behind.push(entry);
    }
    this.#owed.push(front);
    if (behind.some((entry) => entry.kind !== 'sync')) {
      this.#listener.outOfStep('messages were sent behind a COPY FROM STDIN before its data');
      return;
    }
    // Last, since more of the client's messages may follow at once.
    this.#listener.copyingFromClient(true);
  }

  /** Replies to the proxy's own statement never reach the client. */
  #own(front: Own, type: number, bytes: Buffer, at: number, end: number): Treatment {
    if (type === SERVER.dataRow) front.row?.(decodeDataRow(bytes, at, end));
    if (type === SERVER.closeComplete) front.closes++;
    const over = front.synced
      ? type === SERVER.readyForQuery
      : type === SERVER.closeComplete && front.closes === OWN_CLOSES;
    if (over) {
      this.#owed.shift();
      if (front.synced) this.#listener.ready(decodeReadyForQuery(bytes, at, end));
      front.done?.(front.failed);
    }
    return 'drop';
  }

  /**
   * ErrorResponse: the front entry failed; in the extended protocol the server now skips to Sync.
   */
  #error(bytes: Buffer, at: number, end: number, from: number): Treatment {
    const { severity, code } = decodeError(bytes, at, end);
    const front = this.#owed.front;
    this.#listener.copyingFromClient(false);
    if (severity === 'FATAL' || severity === 'PANIC') return 'pass';
    if (front === undefined) {
      this.#listener.outOfStep(`the server reported ${code} while nothing was owed`);
      return 'pass';
    }
    if (front.kind === 'query') {
      if (front.run !== null) front.run.failure = code;
      return 'pass';
    }
    if (front.kind === 'own' && front.synced) {
      front.failed = true;
      front.error = Buffer.from(bytes.subarray(at, end));
      return 'drop';
    }
    if (front.kind === 'sync') this.#listener.commitFailed(code);
    this.#skip(code);
    if (front.kind !== 'failure') return 'pass';
    if (at > from) this.#out.write(bytes.subarray(from, at));
    this.#out.write(front.refusal);
    this.#flushed = true;
    return 'drop';
  }

  /** The server ignores everything up to the next Sync: so many entries get no reply. */
  #skip(code: string): void {
    let failed: boolean | null = false;
    for (let entry = this.#owed.front; entry !== undefined; entry = this.#owed.front) {
      if (entry.kind === 'sync') {
        if (entry.own) this.#listener.skipping();
        return;
      }
      if (entry.kind === 'own' && entry.synced) return;
      this.#owed.shift();
      this.#undone(entry, failed, code);
      failed = null;
    }
    this.#listener.skipping();
  }

  /** `failed` false: this entry's message failed; null: it was skipped unread. */
  #undone(entry: Reply, failed: boolean | null, code: string): void {
    switch (entry.kind) {
      case 'parse':
        return this.#listener.parsed(entry, failed);
      case 'bind':
        return this.#listener.bound(entry, failed);
      case 'close':
        return this.#listener.closed(entry, failed);
      case 'execute':
      case 'query':
        if (entry.run === null) return;
        entry.run.failure = failed === null ? 'skipped' : code;
        return this.#listener.finished(entry.run);
      case 'own':
        return entry.done?.(true);
      case 'describe':
      case 'failure':
      case 'sync':
        return;
    }
  }
}
