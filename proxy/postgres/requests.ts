// The client's messages on their way to the server, in the order they came. What each type meets
// stands in `#message`.
// Invariant: nothing that can run code is forwarded before its verdict; what was judged is what is
// sent, the same bytes.
import { Chunks } from '../bytes/chunks.ts';
import { Malformed } from '../bytes/reader.ts';
import { LIMITS } from '../limits.ts';
import type { Refusal } from '../session/flow.ts';
import { NO_ROOM, type Share } from '../session/memory.ts';
import { decodeExecute, decodeNamed, decodeParse } from './client-message.ts';
import type { Conversation } from './conversation.ts';
import { encodeFailure, encodeReport, FLUSH, SYNC } from './encode.ts';
import { CLIENT, frameLength, HEADER, mostBytes } from './frame.ts';
import type { Need } from './guard.ts';
import { Judgement } from './judgement.ts';
import { unitNeed } from './look-ahead.ts';
import { close, describe, parse } from './named.ts';
import { OWN_SYNC, SYNC_REPLY } from './owed-reply.ts';
import { sendSwitch } from './own.ts';
import { encodeRefusal } from './refusal.ts';

/** `stay`: the message is not done with; it is looked at again when what it waits for is there. */
export type Step = 'forward' | 'drop' | 'stay';

/** What a cancel stops. */
const RUNS = new Set<number>([CLIENT.query, CLIENT.bind, CLIENT.execute]);

export class Requests {
  readonly #conversation: Conversation;
  readonly #chunks = new Chunks();
  readonly #share: Share;
  #kept = 0;
  readonly #judgement: Judgement;
  #input: Buffer = Buffer.alloc(0);
  /** Start of what is judged and not written yet, and the message in hand. */
  #from = 0;
  #at = 0;
  #working = false;
  /** The message in hand waits for something. */
  blocked = false;
  #canceled = false;
  /** Bytes left of a CopyData message that passes by length. */
  #copyLeft = 0;
  /** After an error or refusal in the extended protocol: everything up to Sync is dropped. */
  discarding = false;
  /** Numbers the units: everything up to a Sync, or one Query. */
  unit = 1;
  unitOpen = false;
  #unitMode: Need = 'any';
  /**
   * A change was forwarded in the open unit: it is in an implicit transaction with what follows.
   */
  unitChanged = false;
  /** Something of the client's has been forwarded in the open unit. */
  unitForwarded = false;
  #flushed = false;

  constructor(conversation: Conversation) {
    this.#conversation = conversation;
    this.#share = conversation.services.memory.share();
    this.#judgement = new Judgement(conversation, this);
  }

  data(chunk: Buffer): void {
    if (this.#chunks.push(chunk) && !this.blocked) this.#work();
    this.#keep();
  }

  /** What is kept counts among what all sessions keep. */
  #keep(): void {
    const kept = this.#chunks.length;
    if (kept === this.#kept || this.#conversation.over) return;
    this.#kept = kept;
    if (!this.#share.keep(kept)) this.#conversation.breakOff(NO_ROOM);
  }

  /** The session is over. */
  release(): void {
    this.#chunks.clear();
    this.#share.keep(0);
  }

  /** What the message in hand waits for may be there. */
  resume(): void {
    if (!this.blocked) return;
    this.blocked = false;
    this.#work();
    this.#keep();
  }

  /** A CancelRequest for what has come and has not gone on: it is answered when its turn comes. */
  cancel(): void {
    this.#canceled = this.blocked;
  }

  /** More has come than is read ahead. */
  get full(): boolean {
    return this.blocked && this.#chunks.length > LIMITS.client_waiting_bytes;
  }

  #work(): void {
    if (this.#working) return;
    this.#working = true;
    this.#input = this.#chunks.take();
    this.#at = 0;
    this.#from = 0;
    let need = 0;
    try {
      need = this.#messages();
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.#conversation.breakOff({ code: 'protocol', detail: error.message });
    } finally {
      this.#send(this.#at);
      if (!this.#conversation.over) this.#chunks.putBack(this.#input, this.#at, need);
      this.#input = EMPTY;
      this.#at = 0;
      this.#from = 0;
      this.#working = false;
    }
  }

  /**
   * Takes messages until the bytes end or one has to wait; returns how many bytes the next look
   * needs.
   */
  #messages(): number {
    const conversation = this.#conversation;
    while (!conversation.over) {
      const left = this.#input.length - this.#at;
      if (this.#copyLeft > 0) {
        if (left === 0) return 0;
        const take = Math.min(left, this.#copyLeft);
        this.#copyLeft -= take;
        this.#at += take;
        continue;
      }
      if (left < HEADER) return left === 0 ? 0 : HEADER;
      const type = this.#input.readUInt8(this.#at);
      const length = frameLength(this.#input, this.#at);
      if (length < HEADER) throw new Malformed(`a message of length ${length - 1}`);
      if (length > mostBytes(type)) {
        const detail = `A message of ${length} bytes; the limit is ${mostBytes(type)}.`;
        conversation.breakOff({ code: 'limit', detail });
        return 0;
      }
      if (type === CLIENT.copyData && conversation.copying && !this.discarding) {
        this.#copyLeft = length;
        continue;
      }
      if (left < length) return length;
      const step = this.#message(type, length);
      if (step === 'stay') {
        this.blocked = true;
        return 0;
      }
      if (step === 'forward') {
        if (this.unitOpen) this.unitForwarded = true;
        this.#at += length;
      } else {
        this.#send(this.#at);
        this.#at += length;
        this.#from = this.#at;
      }
    }
    return 0;
  }

  /** Writes what is judged up to `end`. */
  #send(end: number): void {
    const from = this.#from;
    this.#from = end;
    if (end === from) return;
    const whole = from === 0 && end === this.#input.length;
    this.#conversation.toServer.write(whole ? this.#input : this.#input.subarray(from, end));
  }

  /** Puts bytes of the proxy's own in front of the message in hand. */
  inject(bytes: Buffer): void {
    this.#send(this.#at);
    this.#conversation.toServer.write(bytes);
  }

  #message(type: number, length: number): Step {
    const conversation = this.#conversation;
    const input = this.#input;
    const at = this.#at;
    const end = at + length;
    if (type === CLIENT.terminate) {
      conversation.terminated();
      return 'drop';
    }
    if (type === CLIENT.sync) return this.#sync();
    if (this.discarding) {
      this.#judgement.abandon();
      return 'drop';
    }
    if (conversation.copying) return this.#whileCopying(type);
    if (conversation.owed.length >= LIMITS.pipeline_depth) return this.drain();
    if (this.#canceled && RUNS.has(type)) return this.stopped(type === CLIENT.query);
    switch (type) {
      case CLIENT.query:
        return this.#alone() ? this.#judgement.query(input, at, end) : 'stay';
      case CLIENT.parse:
        if (!this.#open()) return 'stay';
        return this.#unless(parse(decodeParse(input, at, end), this.unit, conversation));
      case CLIENT.bind:
        return this.#open() ? this.#judgement.bind(input, at, end) : 'stay';
      case CLIENT.describe:
        if (!this.#open()) return 'stay';
        return describe(decodeNamed(input, at, end), this.unit, conversation, this.#judgement);
      case CLIENT.execute:
        return this.#open() ? this.#execute(decodeExecute(input, at, end).portal) : 'stay';
      case CLIENT.close:
        if (!this.#open()) return 'stay';
        return this.#unless(close(decodeNamed(input, at, end), this.unit, conversation));
      case CLIENT.flush:
        return 'forward';
      case CLIENT.functionCall:
        return this.#alone() ? this.refuse({ code: 'function_call' }, true) : 'stay';
      case CLIENT.copyData:
      case CLIENT.copyDone:
      case CLIENT.copyFail:
        // No copy is known: the server may be about to ask for one, or has refused it.
        return conversation.owed.length > 0 ? this.drain() : 'drop';
      default:
        throw new Malformed(`message type ${type} is not one a client may send here`);
    }
  }

  /** The message in hand is canceled: it never reaches the server. */
  stopped(query: boolean): Step {
    this.#canceled = false;
    this.#judgement.abandon();
    const message = 'canceling statement due to user request';
    return this.refuse(encodeReport({ severity: 'ERROR', code: '57014', message }), query);
  }

  #sync(): Step {
    const conversation = this.#conversation;
    this.discarding = false;
    this.#canceled = false;
    // During COPY FROM STDIN the server ignores Sync: no reply is owed.
    if (conversation.copying) return 'forward';
    this.endUnit();
    conversation.owed.push(SYNC_REPLY);
    return 'forward';
  }

  endUnit(): void {
    this.unit++;
    this.unitOpen = false;
    this.unitChanged = false;
    this.unitForwarded = false;
    this.#unitMode = 'any';
    this.#flushed = false;
  }

  #whileCopying(type: number): Step {
    if (type === CLIENT.copyDone || type === CLIENT.copyFail) {
      this.#conversation.copyEnded();
      return 'forward';
    }
    if (type === CLIENT.flush) return 'drop';
    throw new Malformed(`message type ${type} during COPY FROM STDIN`);
  }

  /**
   * Waits until every reply owed has come; inside a unit the server is asked to send what it has.
   */
  drain(): 'stay' {
    if (this.unitOpen && !this.#flushed) {
      this.inject(FLUSH);
      this.#flushed = true;
    }
    return 'stay';
  }

  /**
   * true when the session's settings are known, so that text can be understood; else it is being
   * seen to.
   */
  settled(): boolean {
    const conversation = this.#conversation;
    // Between units: an error in the one before takes back what it had set.
    const between = !this.unitOpen && conversation.owed.length > 0;
    if (conversation.unsettled > 0 || (between && conversation.state.provisional)) {
      this.drain();
      return false;
    }
    return conversation.settings.read(this);
  }

  /**
   * In front of a Query: a unit left open is ended first, and what it brings decides whether the
   * Query runs at all.
   */
  #alone(): boolean {
    if (!this.settled()) return false;
    if (!this.unitOpen || !this.unitForwarded) return true;
    this.split();
    return false;
  }

  /**
   * In front of every message of the extended protocol: a unit begins with what it needs of the
   * read-only switch.
   */
  #open(): boolean {
    if (!this.settled()) return false;
    this.#flushed = false;
    if (this.unitOpen) return true;
    const need = unitNeed(this.#input, this.#at, this.unit, this.#conversation);
    if (need === 'wait') return false;
    this.unitOpen = true;
    this.need(need);
    return true;
  }

  /**
   * Puts the read-only switch where the unit that begins here needs it. Only outside a transaction.
   */
  need(need: Need): void {
    const conversation = this.#conversation;
    this.#unitMode = need;
    if (conversation.state.status !== 'I') return;
    const statement = conversation.state.guard.switchFor(need);
    if (statement !== null) sendSwitch(statement, conversation, this);
  }

  /** The open unit began read-only, outside a transaction, and this need came unforeseen. */
  mustSplit(need: Need): boolean {
    if (!this.unitOpen || this.#conversation.state.status !== 'I') return false;
    if (need !== 'read-write' || this.#unitMode === 'read-write') return false;
    if (this.unitForwarded) return true;
    this.need(need);
    return false;
  }

  /**
   * Ends the open unit with a Sync of the proxy's own; the next message begins another when all
   * replies are here.
   */
  split(): 'stay' {
    this.inject(SYNC);
    this.#conversation.owed.push(OWN_SYNC);
    this.endUnit();
    return 'stay';
  }

  #execute(name: string): Step {
    const conversation = this.#conversation;
    const found = conversation.state.portals.find(name, this.unit, conversation.owed.length === 0);
    if (found === 'wait') return this.drain();
    if (found === 'none') {
      return this.refuse(
        {
          code: 'protocol',
          message: `portal "${name}" was not bound through Holdpoint in this transaction`,
          hint: 'Read a cursor that SQL declared with FETCH.',
        },
        false,
      );
    }
    if (!this.#judgement.stillStands(found)) {
      const message = `portal "${name}" was judged before names, settings or policy changed`;
      return this.refuse({ code: 'protocol', message, hint: 'Bind it again.' }, false);
    }
    conversation.executing(found);
    return 'forward';
  }

  #unless(refusal: Refusal | 'stay' | null): Step {
    if (refusal === 'stay') return 'stay';
    return refusal === null ? 'forward' : this.refuse(refusal, false);
  }

  /**
   * The refusal takes the message's place in the server's own order: the server is made to fail
   * there, and its error is replaced. So replies owed come first, an open transaction is aborted,
   * and nothing of an implicit one remains.
   */
  refuse(refusal: Refusal | Buffer, query: boolean): 'drop' {
    this.inject(encodeFailure());
    const words = Buffer.isBuffer(refusal) ? refusal : encodeRefusal(refusal);
    this.#conversation.owed.push({ kind: 'failure', refusal: words });
    if (query) {
      this.#conversation.toServer.write(SYNC);
      this.#conversation.owed.push(SYNC_REPLY);
      this.endUnit();
    } else {
      this.unitOpen = true;
      this.discarding = true;
    }
    return 'drop';
  }
}

const EMPTY = Buffer.alloc(0);
