// What a chat is told of a hold or an alert, before it has any chat's own form.
// Invariant: others' words are plain text in which nothing hides, nothing is cut unsaid, and what a
// chat does not show whole can't be approved there.
import { type Card, soFarWords } from '../card.ts';
import * as limits from '../limits.ts';
import { visible } from '../visible.ts';

export type ChatCard = Omit<Card, 'you' | 'yours' | 'receipt'>;

export interface Fact {
  readonly name: string;
  readonly value: string;
}

/** A message: what it says, and the exact words that would run. */
export interface Telling {
  readonly title: string;
  readonly facts: readonly Fact[];
  /** null: too long for a chat, or none. */
  readonly statement: string | null;
  /** What stands only on the page; null when nothing does. */
  readonly elsewhere: string | null;
}

const WORDS: { readonly [type: string]: string } = {
  'hold.requested': 'waits for a signature',
  'hold.reminded': 'still waits for a signature',
  'hold.signed': 'was signed',
  'hold.approved': 'is approved',
  'hold.denied': 'is denied',
  'hold.expired': 'has expired',
  'hold.withdrawn': 'was withdrawn',
  'hold.redeemed': 'was released to run',
  'hold.executed': 'has run',
};

const STATES: { readonly [K in Card['state']]: string } = {
  pending: 'hold.requested',
  approved: 'hold.approved',
  denied: 'hold.denied',
  expired: 'hold.expired',
  withdrawn: 'hold.withdrawn',
  redeemed: 'hold.redeemed',
};

/** The event that a hold's state is told by: a message that is kept current says it. */
export function typeOf(card: ChatCard): string {
  return card.outcome ? 'hold.executed' : STATES[card.state];
}

export function tellingOf(type: string, card: ChatCard): Telling {
  const all = facts(card);
  const statement = wordsOf(card);
  const bytes = Buffer.from(card.statement_base64, 'base64').length;
  const long = statement.length > limits.CHAT_STATEMENT_CHARACTERS;
  const cut = all.some((f) => f.value.length > limits.CHAT_FACT_CHARACTERS);
  const missing = [
    ...(long ? [`The statement (${bytes} bytes) with its parameters`] : []),
    ...(cut ? ['What ends in … here'] : []),
  ];
  return {
    title: plain(`${card.agent} on ${card.target}: ${WORDS[type] ?? type}`).slice(0, 150),
    facts: all.map((f) => ({ ...f, value: cutAt(f.value) })),
    statement: long ? null : statement,
    elsewhere: missing.length === 0 ? null : `${missing.join('. ')} is shown whole on the page.`,
  };
}

/** Does a chat show all that this person would decide on? */
export function shownWhole(card: ChatCard): boolean {
  return tellingOf('hold.requested', card).elsewhere === null;
}

/** An alert, or a changed mode: no hold. */
export function noticeOf(title: string, said: { readonly [name: string]: unknown }): Telling {
  const given = Object.entries(said).filter(([, value]) => value !== null && value !== undefined);
  const all = given.map(([name, value]) => ({ name, value: cutAt(plain(String(value))) }));
  return { title: plain(title).slice(0, 150), facts: all, statement: null, elsewhere: null };
}

function facts(card: ChatCard): readonly Fact[] {
  const all: Fact[] = [
    { name: 'It would', value: card.sentences.join(' ') },
    { name: 'Environment', value: `${card.environment}, class ${card.class}` },
    { name: 'Held by', value: `${card.rule}: ${card.reason}` },
    { name: 'Agent states', value: card.stated.reason ?? 'no reason' },
  ];
  if (card.stated.on_behalf_of !== null) {
    all.push({ name: 'On behalf of (stated)', value: card.stated.on_behalf_of });
  }
  all.push({ name: 'Session before', value: soFarWords(card) });
  if (card.state === 'pending') {
    all.push({ name: 'Waits for', value: `${card.waiting_for}, until ${card.expires}` });
  }
  for (const s of card.signatures) {
    const how = s.method === 'attested' ? `${s.channel}, attested` : `${s.method}, ${s.channel}`;
    const said = s.reason === null ? '' : `: ${s.reason}`;
    all.push({ name: `${s.signer} (${how})`, value: `${s.decision}${said}` });
  }
  if (card.end_reason !== null) all.push({ name: 'Reason', value: card.end_reason });
  if (card.outcome) {
    const { outcome, answer, rows } = card.outcome;
    all.push({
      name: 'Outcome',
      value: [outcome, answer, rows].filter((p) => p !== null).join(', '),
    });
  }
  return all.map((f) => ({ name: plain(f.name), value: plain(f.value) }));
}

/** Statement and parameters with their marks. */
function wordsOf(card: ChatCard): string {
  const values = card.parameters.map((p, i) => {
    const value = p.text === null && p.base64 === null ? 'NULL' : marked(p.pieces);
    return `\n$${i + 1} ${plain(p.type)} = ${value}`;
  });
  const text = marked(card.pieces) + (values.length > 0 ? `\n${values.join('')}` : '');
  return text === '' ? ' ' : text;
}

function marked(pieces: ChatCard['pieces']): string {
  return pieces.map((p) => (p.mark === null ? p.text : `${seen(p.text)}⟨${p.mark}⟩`)).join('');
}

/** What hides is named instead. */
function plain(text: string): string {
  return marked(visible(Buffer.from(text))).replaceAll('\n', ' ');
}

function seen(text: string): string {
  return /[\p{C}\p{Z}\ufffd]/u.test(text) ? '' : text;
}

function cutAt(text: string): string {
  const most = limits.CHAT_FACT_CHARACTERS;
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}
