// A hold as a chat message: Slack's Block Kit and Teams' adaptive card, each with a link to sign.
// Invariant: others' words are never read as markup, and what does not fit is said to be left out.
import type { Card } from '../card.ts';
import { CHAT_STATEMENT_CHARACTERS } from '../limits.ts';
import { visible } from '../visible.ts';

export type ChatCard = Omit<Card, 'you' | 'yours' | 'receipt'>;

interface Fact {
  readonly name: string;
  readonly value: string;
}

const WORDS: { readonly [type: string]: string } = {
  'hold.requested': 'waits for a signature',
  'hold.signed': 'was signed',
  'hold.approved': 'is approved',
  'hold.denied': 'is denied',
  'hold.expired': 'has expired',
  'hold.withdrawn': 'was withdrawn',
  'hold.redeemed': 'was released to run',
  'hold.executed': 'has run',
};

function title(type: string, card: ChatCard): string {
  return plain(`${card.agent} on ${card.target}: ${WORDS[type] ?? type}`).slice(0, 150);
}

function facts(card: ChatCard): readonly Fact[] {
  const all: Fact[] = [
    { name: 'It would', value: card.sentences.join(' ') },
    { name: 'Environment', value: `${card.environment}, class ${card.class}` },
    { name: 'Held by', value: `${card.rule}: ${card.reason}` },
    { name: 'Agent states', value: card.stated.reason ?? 'no reason' },
  ];
  if (card.state === 'pending') {
    all.push({ name: 'Waits for', value: `${card.waiting_for}, until ${card.expires}` });
  }
  if (card.decided_by !== null) all.push({ name: 'Decided by', value: card.decided_by });
  if (card.end_reason !== null) all.push({ name: 'Reason', value: card.end_reason });
  return all.map((f) => ({ ...f, value: plain(f.value).slice(0, 500) }));
}

/** The statement with its marks; cut only where a chat takes no more, and then it says so. */
function statement(card: ChatCard): { readonly text: string; readonly rest: string | null } {
  const text = card.pieces
    .map((p) => (p.mark === null ? p.text : `${seen(p.text)}⟨${p.mark}⟩`))
    .join('');
  if (text.length <= CHAT_STATEMENT_CHARACTERS) return { text, rest: null };
  const bytes = Buffer.from(card.statement_base64, 'base64').length;
  const rest = `Only its beginning; all ${bytes} bytes are on the page. Do not judge by this part.`;
  return { text: text.slice(0, CHAT_STATEMENT_CHARACTERS), rest };
}

/** What hides is named instead. */
function plain(text: string): string {
  return visible(Buffer.from(text))
    .map((p) => (p.mark === null ? p.text : `${seen(p.text)}⟨${p.mark}⟩`))
    .join('')
    .replaceAll('\n', ' ');
}

function seen(text: string): string {
  return /[\p{C}\p{Z}\ufffd]/u.test(text) ? '' : text;
}

/** Block Kit. Only `plain_text` and `rich_text`: neither reads markup in what others wrote. */
export function slackMessage(type: string, card: ChatCard, url: string): unknown {
  const { text, rest } = statement(card);
  const words = (value: string, bold = false) => ({
    type: 'text',
    text: value,
    ...(bold ? { style: { bold: true } } : {}),
  });
  return {
    text: escaped(title(type, card)),
    blocks: [
      { type: 'header', text: { type: 'plain_text', text: title(type, card), emoji: false } },
      {
        type: 'rich_text',
        elements: [
          ...facts(card).map((f) => ({
            type: 'rich_text_section',
            elements: [words(`${f.name}: `, true), words(`${f.value}\n`)],
          })),
          { type: 'rich_text_preformatted', elements: [words(text === '' ? ' ' : text)] },
          ...(rest === null ? [] : [{ type: 'rich_text_section', elements: [words(rest, true)] }]),
        ],
      },
      {
        type: 'actions',
        elements: [
          {
            type: 'button',
            text: { type: 'plain_text', text: 'Open and decide', emoji: false },
            url,
            action_id: 'open',
          },
        ],
      },
    ],
  };
}

/** The notification's own line is read as markup: its three signs are escaped. */
function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** Adaptive card 1.5. `RichTextBlock` and `CodeBlock` read no markdown. */
export function teamsMessage(type: string, card: ChatCard, url: string): unknown {
  const { text, rest } = statement(card);
  const line = (runs: readonly { text: string; bold: boolean }[]) => ({
    type: 'RichTextBlock',
    inlines: runs.map((r) => ({
      type: 'TextRun',
      text: r.text,
      ...(r.bold ? { weight: 'Bolder' } : {}),
    })),
  });
  return {
    type: 'message',
    attachments: [
      {
        contentType: 'application/vnd.microsoft.card.adaptive',
        content: {
          type: 'AdaptiveCard',
          $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
          version: '1.5',
          body: [
            line([{ text: title(type, card), bold: true }]),
            ...facts(card).map((f) =>
              line([
                { text: `${f.name}: `, bold: true },
                { text: f.value, bold: false },
              ]),
            ),
            { type: 'CodeBlock', codeSnippet: text, language: 'PlainText' },
            ...(rest === null ? [] : [line([{ text: rest, bold: true }])]),
          ],
          actions: [{ type: 'Action.OpenUrl', title: 'Open and decide', url }],
        },
      },
    ],
  };
}
