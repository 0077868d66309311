// One Query or Bind from its bytes to its passage: understood, judged, and if it must be, held
// while the session waits.
// Invariant: the message in hand is judged once; when its passage is there, the same bytes are
// forwarded or refused.
import { type Effect, isChange } from '../effect/effect.ts';
import { LIMITS, PARSER_LIMITS } from '../limits.ts';
import { FORWARD, flow, type Passage, type Tally } from '../session/flow.ts';
import type { Decision, Mode } from '../verdict/verdict.ts';
import { type Bind, decodeBind, decodeBindNames, decodeQuery } from './client-message.ts';
import type { Conversation } from './conversation.ts';
import { encodeReport } from './encode.ts';
import { needOf } from './guard.ts';
import {
  badName,
  bothMeanings,
  covers,
  type Grounds,
  type Kept,
  type Portal,
  type Prepared,
} from './names.ts';
import { PostgresOperation } from './operation.ts';
import { QUERY, type Run } from './owed-reply.ts';
import { sendProbe } from './own.ts';
import type { Requests, Step } from './requests.ts';
import type { Parsed } from './statement.ts';

/** The message in hand, judged or being judged. */
interface InHand {
  readonly operation: PostgresOperation;
  readonly parsed: Parsed;
  passage: Passage | null;
  canceled: boolean;
}

export class Judgement {
  readonly #conversation: Conversation;
  readonly #requests: Requests;
  #inHand: InHand | null = null;
  #lastGrounds: Grounds | null = null;
  readonly #tallies = new Map<string, Tally>();
  /** Kept verdicts of Queries, by what they do: texts of one shape share one list of effects. */
  readonly #shapes = new WeakMap<readonly Effect[], Kept>();
  /** The server was asked whether it takes the Query in hand: `asked`, or what it answered. */
  #probe: 'asked' | { readonly error: Buffer | null } | null = null;

  constructor(conversation: Conversation, requests: Requests) {
    this.#conversation = conversation;
    this.#requests = requests;
  }

  query(bytes: Buffer, at: number, end: number): Step {
    const conversation = this.#conversation;
    let inHand: InHand | 'stay' | null = this.#inHand;
    if (inHand === null) {
      const { text } = decodeQuery(bytes, at, end);
      if (!conversation.meaning.isKnown(text)) return 'stay';
      const parsed = conversation.meaning.of(text);
      const refused = this.#refusedByServer(text, parsed);
      if (refused === 'stay') return 'stay';
      if (refused !== null) return this.#requests.refuse(refused, true);
      const kept = this.#shapes.get(parsed.effects);
      if (kept !== undefined && this.#stands(kept)) {
        kept.tally.count();
        return this.#asked(parsed, null);
      }
      inHand = this.#look(text, parsed, null, null);
    }
    if (inHand === 'stay' || inHand.passage === null) return 'stay';
    if (isStopped(inHand)) return this.#requests.stopped(true);
    this.#inHand = null;
    this.#probe = null;
    const { passage, parsed, operation } = inHand;
    if (passage.kind === 'refuse') {
      return this.#requests.refuse(refusalWords(inHand, passage), true);
    }
    return this.#asked(parsed, makeRun(operation, parsed, passage));
  }

  /** A Query that may go: the switch in front of it, its reply owed. */
  #asked(parsed: Parsed, run: Run | null): Step {
    const conversation = this.#conversation;
    this.#requests.need(needOf(parsed, conversation.mayWrite));
    conversation.owed.push(run === null ? QUERY : { kind: 'query', run });
    if (run !== null) conversation.started(run);
    // A Query drops the unnamed statement and portal.
    conversation.state.statements.forget('');
    this.#requests.endUnit();
    return 'forward';
  }

  /**
   * What our grammar does not take is shown to the server's first: a slip of the pen gets the
   * server's own error at once, and only what the server would run goes on to be judged as not
   * understood.
   */
  #refusedByServer(text: Buffer, parsed: Parsed): Buffer | 'stay' | null {
    const conversation = this.#conversation;
    if (this.#probe === 'asked') return 'stay';
    if (this.#probe !== null) {
      const { error } = this.#probe;
      if (error !== null) this.#probe = null;
      return error;
    }
    if (!parsed.statements.some((statement) => statement.node === 'unknown')) return null;
    if (text.length > PARSER_LIMITS.statement_characters || conversation.state.status === 'E')
      return null;
    this.#probe = 'asked';
    sendProbe(text, conversation, this.#requests, (error) => {
      this.#probe = { error };
    });
    return 'stay';
  }

  bind(bytes: Buffer, at: number, end: number): Step {
    const conversation = this.#conversation;
    const names = decodeBindNames(bytes, at, end);
    const { state, owed } = conversation;
    const misnamed = badName(names.portal) ?? badName(names.statement);
    if (misnamed !== null) return this.#requests.refuse(misnamed, false);
    const prepared = state.statements.find(names.statement, this.#requests.unit, owed.length === 0);
    if (prepared === 'wait') return this.#requests.drain();
    if (prepared === 'none') {
      const message = `prepared statement "${names.statement}" does not exist`;
      return this.#requests.refuse(
        encodeReport({ severity: 'ERROR', code: '26000', message }),
        false,
      );
    }
    const { kept } = prepared;
    if (kept !== null && this.#inHand === null && this.#stands(kept)) {
      kept.tally.count();
      return this.#bound(names.portal, prepared, prepared.parsed, null);
    }
    const understood = this.#inHand?.parsed ?? this.understood(prepared);
    if (understood === null) return 'stay';
    const inHand =
      this.#inHand ?? this.#look(prepared.text, understood, prepared, decodeBind(bytes, at, end));
    if (inHand === 'stay' || inHand.passage === null) return 'stay';
    if (isStopped(inHand)) return this.#requests.stopped(false);
    const { passage, parsed, operation } = inHand;
    if (passage.kind === 'refuse') {
      this.#inHand = null;
      return this.#requests.refuse(refusalWords(inHand, passage), false);
    }
    if (this.#requests.mustSplit(needOf(parsed, conversation.mayWrite))) {
      return this.#requests.split();
    }
    this.#inHand = null;
    return this.#bound(names.portal, prepared, parsed, makeRun(operation, parsed, passage));
  }

  #bound(name: string, prepared: Prepared, parsed: Parsed, run: Run | null): Step {
    const { state, owed } = this.#conversation;
    const { unit } = this.#requests;
    const judged = this.#grounds();
    const { text, types } = prepared;
    const portal: Portal = { kind: 'bind', name, unit, run, text, types, parsed, judged };
    state.portals.ask(name, portal, unit);
    owed.push(portal);
    return 'forward';
  }

  /**
   * Execute may come much later than the Bind that was judged: it would still do the same, and
   * still may.
   */
  stillStands(portal: Portal): boolean {
    const { judged, parsed, text, types, run } = portal;
    const now = this.#grounds();
    if (judged === now) return true;
    const change = run !== null && run.operation !== null;
    if (change && (judged.policy !== now.policy || judged.mode !== now.mode)) return false;
    if (judged.stamp === now.stamp && judged.catalog === now.catalog) return true;
    return covers(parsed, this.#conversation.meaning.of(text, types));
  }

  /** A kept verdict is what would be answered now. */
  #stands(kept: Kept): boolean {
    const { services, asker } = this.#conversation;
    return (
      kept.grounds === this.#grounds() &&
      kept.in_transaction === (asker.transaction_began !== null) &&
      services.record.readsBlocked === null
    );
  }

  /** What verdicts rest on now: the same object as long as nothing of it has changed. */
  #grounds(): Grounds {
    const { state, catalog, services } = this.#conversation;
    const known = this.#lastGrounds;
    const mode = this.#mode();
    if (
      known !== null &&
      known.stamp === state.stamp &&
      known.catalog === catalog.version &&
      known.policy === services.policy.version &&
      known.mode === mode
    ) {
      return known;
    }
    const now = {
      stamp: state.stamp,
      catalog: catalog.version,
      policy: services.policy.version,
      mode,
    };
    this.#lastGrounds = now;
    return now;
  }

  #mode(): Mode {
    const { services, asker } = this.#conversation;
    return services.mode(asker.target, asker.agent);
  }

  /**
   * Understands and judges the message in hand; a plain read passes at once, everything else goes
   * through the flow.
   */
  #look(
    text: Buffer,
    parsed: Parsed,
    prepared: Prepared | null,
    bind: Bind | null,
  ): InHand | 'stay' {
    const { services, asker } = this.#conversation;
    const operation = new PostgresOperation(asker, text, parsed, bind, prepared?.types ?? []);
    const mode = this.#mode();
    const decision = services.policy.decide(operation, mode);
    const inHand: InHand = { operation, parsed, passage: null, canceled: false };
    if (
      decision.verdict.kind === 'allow' &&
      !isChange(parsed.class) &&
      services.record.readsBlocked === null
    ) {
      const tally = this.#tally(operation, decision);
      tally.count();
      if (services.policy.keeps && !hasChanges(parsed)) {
        const in_transaction = asker.transaction_began !== null;
        const kept: Kept = { grounds: this.#grounds(), in_transaction, tally };
        if (prepared === null) this.#shapes.set(parsed.effects, kept);
        else prepared.kept = kept;
      }
      inHand.passage = FORWARD;
      return inHand;
    }
    return this.#enter(inHand, decision, mode, prepared);
  }

  /**
   * What a prepared statement may mean by now, which is not always what it meant when it was
   * parsed. null: it is long, and has to be waited for.
   */
  understood(prepared: Prepared): Parsed | null {
    const { state, catalog } = this.#conversation;
    const { understood, parsed } = prepared;
    if (understood !== state.stamp || parsed.catalog_version !== catalog.version) {
      if (!this.#conversation.meaning.isKnown(prepared.text)) return null;
      const now = this.#conversation.meaning.of(prepared.text, prepared.types);
      prepared.parsed = bothMeanings(parsed, now);
      prepared.understood = state.stamp;
    }
    return prepared.parsed;
  }

  /** The session's one tally of this shape and rule. */
  #tally(operation: PostgresOperation, decision: Decision): Tally {
    const { analysis } = operation;
    const { verdict, policy } = decision;
    const key = `${analysis.fingerprint} ${analysis.class} ${verdict.rule} ${policy}`;
    let tally = this.#tallies.get(key);
    if (tally === undefined) {
      if (this.#tallies.size >= LIMITS.tallies) this.#tallies.clear();
      tally = this.#conversation.services.record.tally(operation, decision);
      this.#tallies.set(key, tally);
    }
    return tally;
  }

  /**
   * Starts the flow for the message in hand; the session stays at it until the passage is there.
   */
  #enter(inHand: InHand, decision: Decision, mode: Mode, prepared: Prepared | null): 'stay' {
    const conversation = this.#conversation;
    const { state, services, target } = conversation;
    const requests = this.#requests;
    const may = (state.status === 'I' && !requests.unitChanged) || target.hold.in_transaction;
    if (decision.verdict.kind === 'hold' && may && requests.unitOpen && requests.unitForwarded) {
      // What was parsed holds locks until its Sync: nobody waits for people with locks in hand.
      return requests.split();
    }
    this.#inHand = inHand;
    const waiting = conversation.wait(may, () => {
      inHand.canceled = true;
    });
    const again = async (): Promise<PostgresOperation> => {
      await conversation.catalog.refresh();
      const bytes = Buffer.from(inHand.operation.bytes);
      const now = await conversation.meaning.later(bytes, prepared?.types ?? []);
      const old = prepared === null ? null : inHand.parsed;
      return inHand.operation.understoodAs(old === null ? now : bothMeanings(old, now));
    };
    void flow(inHand.operation, decision, mode, services, { ...waiting, again }).then((passage) => {
      inHand.passage = passage;
      conversation.waited();
    });
    return 'stay';
  }

  /** The message in hand is dropped after all: what was recorded as forwarded never was. */
  abandon(): void {
    const inHand = this.#inHand;
    this.#inHand = null;
    this.#probe = null;
    if (inHand?.passage?.kind !== 'forward' || !inHand.passage.recorded) return;
    const outcome = {
      outcome: 'failed',
      answer: 'not sent',
      rows: null,
      duration_ms: null,
    } as const;
    this.#conversation.services.record.outcome(inHand.operation, outcome);
  }
}

function refusalWords(
  inHand: InHand,
  passage: Extract<Passage, { kind: 'refuse' }>,
): Buffer | Extract<Passage, { kind: 'refuse' }>['refusal'] {
  if (!inHand.canceled) return passage.refusal;
  return encodeReport({
    severity: 'ERROR',
    code: '57014',
    message: 'canceling statement due to user request',
    detail: passage.refusal.message,
    hint: 'The hold itself stays open; sending the same statement again waits for it again.',
  });
}

/**
 * Canceled while its decision was recorded. What people signed for goes on: the receipt is used.
 */
function isStopped({ canceled, passage }: InHand): boolean {
  return canceled && passage?.kind === 'forward' && passage.hold === null;
}

function hasChanges(parsed: Parsed): boolean {
  return parsed.statements.some((statement) => statement.changes.length > 0);
}

/** null for a read that changes nothing in the session: nobody watches its end. */
function makeRun(
  operation: PostgresOperation,
  parsed: Parsed,
  passage: Extract<Passage, { kind: 'forward' }>,
): Run | null {
  if (!passage.recorded && !hasChanges(parsed)) return null;
  return {
    operation: passage.recorded ? operation : null,
    hold: passage.hold,
    changes: parsed.statements.map((statement) => statement.changes),
    texts: hasChanges(parsed) ? textsOf(operation, parsed) : [],
    began: performance.now(),
    finished: null,
    completed: 0,
    tag: null,
    rows: null,
    failure: null,
  };
}

function textsOf(operation: PostgresOperation, parsed: Parsed): readonly string[] {
  const values = operation.parameters.map(({ bytes }) =>
    bytes === null ? null : Buffer.from(bytes).toString('hex'),
  );
  const bound = values.length === 0 ? '' : ` with ${JSON.stringify(values)}`;
  return parsed.statements.map((statement) => `${statement.text.trim()}${bound}`);
}
