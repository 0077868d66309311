// The card: all the facts of one hold. Page, API, webhooks and command line show this same object.
// Invariant: what is signed (binding, digest) travels with what is shown, and the statement is
// never cut.
import { diffWordsWithSpace } from 'diff';
import type { EffectClass } from '../proxy/effect/effect.ts';
import { KEY_CHANNELS } from '../proxy/verdict/verdict.ts';
import type { Binding, HoldState, RecentOperation } from './contract.ts';
import {
  channelFault,
  concerns,
  type DemandState,
  demandStates,
  ownHold,
  waitingFor,
} from './hold.ts';
import { DIFF_EDITS, DIFF_MS } from './limits.ts';
import type { Roster } from './routing.ts';
import type { Hold, Method } from './store/holds.ts';
import type { Signer } from './store/signers.ts';
import type { Store } from './store.ts';
import { type Piece, visible } from './visible.ts';

/** One line of a list. */
export interface HoldLine {
  readonly id: string;
  readonly state: HoldState;
  readonly class: EffectClass;
  readonly agent: string;
  readonly target: string;
  readonly environment: string;
  readonly rule: string;
  readonly sentence: string;
  /** The statement's first characters; the card has all of it. */
  readonly start: string;
  readonly asked: string;
  readonly expires: string;
  readonly waiting_for: string;
  readonly decided: string | null;
  readonly decided_by: string | null;
  /** Does it wait for this very person? */
  readonly yours: boolean;
}

export interface Card extends HoldLine {
  readonly operation: string;
  readonly binding: Binding;
  readonly digest: string;
  readonly statement: string;
  readonly statement_base64: string;
  readonly pieces: readonly Piece[];
  readonly parameters: readonly CardParameter[];
  readonly sentences: readonly string[];
  readonly objects: readonly CardObject[];
  readonly reason: string;
  readonly demands: readonly DemandState[];
  readonly database: string;
  readonly engine: string;
  readonly session: {
    readonly id: string;
    readonly application: string | null;
    readonly client_address: string;
    readonly started: string;
    readonly settings: { readonly [name: string]: string };
  };
  /** What the agent says of itself: never checked. */
  readonly stated: {
    readonly reason: string | null;
    readonly task: string | null;
    readonly on_behalf_of: string | null;
  };
  readonly in_transaction: boolean;
  readonly transaction_age_ms: number | null;
  /** null: not computed. */
  readonly impact: null;
  readonly waits_until: string | null;
  readonly signatures: readonly {
    readonly signer: string;
    readonly decision: string;
    readonly method: Method;
    readonly channel: string;
    readonly reason: string | null;
    readonly signed: string;
  }[];
  readonly end_reason: string | null;
  readonly receipt: string | null;
  readonly outcome: { outcome: string; answer: string | null; rows: number | null } | null;
  readonly previous: Previous | null;
  readonly similar: readonly Pick<HoldLine, 'id' | 'state' | 'asked' | 'decided_by'>[];
  /** The session's operations before this one, oldest first; null when its proxy does not tell. */
  readonly so_far: readonly RecentOperation[] | null;
  /** May the person who looks approve it, or why not. */
  readonly you: {
    readonly can_approve: boolean;
    readonly can_deny: boolean;
    readonly why: string | null;
  };
  /** The approver's clock, for time left and for the time in a signature. */
  readonly now: string;
}

export interface CardParameter {
  readonly type: string;
  readonly format: 'text' | 'binary';
  readonly text: string | null;
  readonly pieces: readonly Piece[];
  readonly base64: string | null;
}

export interface CardObject {
  readonly kind: string;
  readonly name: string;
  readonly access: string;
  readonly columns: readonly string[];
  readonly via: readonly string[];
  readonly tags: readonly string[];
}

/** The agent's attempt before this one on the same target in the same session. */
export interface Previous {
  readonly id: string;
  readonly state: HoldState;
  readonly asked: string;
  readonly statement: string;
  /** null: too different or too long to compare. */
  readonly diff:
    | readonly { readonly kind: 'same' | 'added' | 'removed'; readonly text: string }[]
    | null;
}

export async function lineOf(
  hold: Hold,
  store: Store,
  who: Signer,
  roster: Roster,
): Promise<HoldLine> {
  const { request } = hold;
  const signatures = hold.state === 'pending' ? await store.holds.signatures(hold.id) : [];
  const states = demandStates(request, signatures, roster.at(hold));
  const waits = hold.state === 'pending';
  return {
    id: hold.id,
    state: shownState(hold),
    class: request.class,
    agent: request.agent.name,
    target: request.target.name,
    environment: request.target.environment,
    rule: request.rule,
    sentence: request.sentences[0] ?? '',
    start: request.statement.slice(0, 200),
    asked: new Date(hold.asked).toISOString(),
    expires: new Date(hold.expires).toISOString(),
    waiting_for: waits ? waitingFor(states) : 'nobody',
    decided: hold.decided === null ? null : new Date(hold.decided).toISOString(),
    decided_by: hold.decided_by,
    yours: waits && states.some((d) => !d.met && d.able.includes(who.name)),
  };
}

/** A state that is not yet on record is not yet told to anybody. */
function shownState(hold: Hold): HoldState {
  if (hold.recorded) return hold.state;
  return hold.state === 'redeemed' ? 'approved' : 'pending';
}

export async function cardOf(
  hold: Hold,
  store: Store,
  person: Signer,
  roster: Roster,
  now: number,
): Promise<Card> {
  const { request } = hold;
  const who = roster.who(hold, person);
  const signatures = await store.holds.signatures(hold.id);
  const bytes = Buffer.from(request.binding.statement, 'base64');
  return {
    ...(await lineOf(hold, store, who, roster)),
    operation: request.operation,
    binding: request.binding,
    digest: request.digest,
    statement: request.statement,
    statement_base64: request.binding.statement,
    pieces: visible(bytes),
    parameters: request.parameters.map((p) => {
      const raw = p.base64 === null ? null : Buffer.from(p.base64, 'base64');
      const shown = p.format === 'text' ? raw : p.text === null ? null : Buffer.from(p.text);
      const text = p.format === 'text' ? (raw?.toString('utf8') ?? null) : p.text;
      const { type, format, base64 } = p;
      return { type, format, text, base64, pieces: shown === null ? [] : visible(shown) };
    }),
    sentences: request.sentences,
    objects: objectsOf(hold),
    reason: request.reason,
    demands: demandStates(request, signatures, roster.at(hold)),
    database: request.binding.database,
    engine: request.target.engine,
    session: {
      id: request.session.id,
      application: request.session.application,
      client_address: request.session.client_address,
      started: request.session.started,
      settings: request.binding.settings,
    },
    stated: request.session.stated,
    so_far: request.recent ?? null,
    in_transaction: request.in_transaction,
    transaction_age_ms: request.transaction_age_ms,
    impact: null,
    waits_until: request.waits_until,
    signatures: signatures.map((s) => ({
      signer: s.signer,
      decision: s.decision,
      method: s.method,
      channel: s.channel,
      reason: s.reason,
      signed: s.signed,
    })),
    end_reason: hold.recorded ? hold.reason : null,
    receipt: hold.recorded ? hold.receipt : null,
    outcome: hold.outcome === null ? null : JSON.parse(hold.outcome),
    ...(await around(hold, store)),
    you: yourPart(
      hold,
      who,
      signatures.map((s) => s.signer),
    ),
    now: new Date(now).toISOString(),
  };
}

/** The session before, where a list has no place: `14 read, 1 write (1 refused)`. */
export function soFarWords(card: Pick<Card, 'so_far' | 'in_transaction' | 'transaction_age_ms'>) {
  const { so_far: soFar } = card;
  const counts = new Map<string, number>();
  for (const o of soFar ?? []) counts.set(o.class, (counts.get(o.class) ?? 0) + o.count);
  const refused = (soFar ?? []).filter((o) => o.disposition === 'refuse').length;
  const did = [...counts].map(([cls, n]) => `${n} ${cls}`).join(', ') || 'nothing';
  const age = Math.round((card.transaction_age_ms ?? 0) / 1000);
  const open = card.in_transaction ? `; a transaction open for ${age} s` : '';
  return `${soFar === null ? 'not told' : did}${refused > 0 ? ` (${refused} refused)` : ''}${open}`;
}

function objectsOf(hold: Hold): readonly CardObject[] {
  return hold.request.effects.flatMap((e) =>
    e.objects.map((o) => ({
      kind: o.kind,
      name: [o.schema, o.name].filter((p) => p !== null).join('.'),
      access: o.access,
      columns: o.columns,
      via: o.via,
      tags: o.tags,
    })),
  );
}

/** The attempt before, and past holds of the same rule and agent. */
async function around(hold: Hold, store: Store): Promise<Pick<Card, 'previous' | 'similar'>> {
  const before = { asked: hold.asked, id: hold.id };
  const { agent, target, class: cls } = hold.request;
  const byAgent = { agent: agent.name, target: target.name, after: before };
  const [last] = await store.holds.list({ ...byAgent, limit: 1 });
  const similar = await store.holds.list({
    ...byAgent,
    rule: hold.request.rule,
    class: cls,
    states: ['approved', 'denied', 'expired', 'withdrawn', 'redeemed'],
    limit: 5,
  });
  const short = (h: Hold) => ({
    id: h.id,
    state: shownState(h),
    asked: new Date(h.asked).toISOString(),
  });
  return {
    previous: last
      ? {
          ...short(last),
          statement: last.request.statement,
          diff: difference(last.request.statement, hold.request.statement),
        }
      : null,
    similar: similar.map((h) => ({ ...short(h), decided_by: h.decided_by })),
  };
}

function difference(before: string, after: string): Previous['diff'] {
  const changes = diffWordsWithSpace(before, after, {
    timeout: DIFF_MS,
    maxEditLength: DIFF_EDITS,
  });
  if (!changes) return null;
  return changes.map((c) => ({
    kind: c.added ? 'added' : c.removed ? 'removed' : 'same',
    text: c.value,
  }));
}

function yourPart(hold: Hold, who: Signer, signed: readonly string[]): Card['you'] {
  const no = (why: string) => ({ can_approve: false, can_deny: false, why });
  if (hold.state !== 'pending') return no(`it is ${shownState(hold)}`);
  if (!concerns(hold.request, who)) return no('you are in none of the groups it waits for');
  if (signed.includes(who.name)) return { ...no('you have signed it'), can_deny: true };
  const own = ownHold(hold.request, who);
  if (own !== null) return { can_approve: false, can_deny: true, why: own };
  // Whoever looks at a card has a key: where no key counts it is decided elsewhere.
  const closed = KEY_CHANNELS.map((channel) => channelFault(hold.request, who, channel));
  const [why] = closed;
  if (closed.every((c) => c !== null))
    return { can_approve: false, can_deny: true, why: why ?? '' };
  return { can_approve: true, can_deny: true, why: null };
}
