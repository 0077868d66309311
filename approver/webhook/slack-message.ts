// Slack's own form of a telling: Block Kit with buttons, and the modal that asks for a reason.
// Invariant: only `plain_text` and `rich_text` hold others' words: neither reads markup in them.
import type { Telling } from './chat.ts';

/** A hold as a button carries it: its id and the digest of the binding that was shown. */
export interface Shown {
  readonly hold: string;
  readonly binding: string;
}

/** The buttons under a message. */
export interface Buttons {
  readonly url: string;
  /** null: it can't be decided here. */
  readonly decide: (Shown & { readonly approve: boolean }) | null;
}

export interface SlackMessage {
  readonly text: string;
  readonly blocks: readonly unknown[];
  readonly unfurl_links: false;
  readonly unfurl_media: false;
}

const HOLD_VALUE = /^(h-[a-z2-7]{16})\.([A-Za-z0-9_-]{43})$/;

/** null when it is none of ours. */
export function shownIn(value: string): Shown | null {
  const [, hold, binding] = HOLD_VALUE.exec(value) ?? [];
  return hold !== undefined && binding !== undefined ? { hold, binding } : null;
}

export function slackMessage(t: Telling, buttons: Buttons | null): SlackMessage {
  const elements: unknown[] = t.facts.map((f) =>
    section(words(`${f.name}: `, true), words(`${f.value}\n`)),
  );
  if (t.statement !== null) {
    elements.push({ type: 'rich_text_preformatted', elements: [words(t.statement)] });
  }
  if (t.elsewhere !== null) elements.push(section(words(t.elsewhere, true)));
  return {
    text: escaped(t.title),
    blocks: [
      { type: 'header', text: label(t.title) },
      ...(elements.length > 0 ? [{ type: 'rich_text', elements }] : []),
      ...(buttons ? [{ type: 'actions', elements: buttonsOf(buttons) }] : []),
    ],
    unfurl_links: false,
    unfurl_media: false,
  };
}

/** Those who could sign, called by name in the hold's own thread. */
export function slackReminder(text: string, users: readonly string[], url: string): SlackMessage {
  const who = users.flatMap((user) => [{ type: 'user', user_id: user }, words(' ')]);
  const link = { type: 'link', url, text: 'open it' };
  return {
    text: escaped(text),
    blocks: [{ type: 'rich_text', elements: [section(...who, words(`${text}: `), link)] }],
    unfurl_links: false,
    unfurl_media: false,
  };
}

function buttonsOf({ url, decide }: Buttons): readonly unknown[] {
  const open = { type: 'button', action_id: 'open', text: label('Open'), url };
  if (decide === null) return [{ ...open, text: label('Open and decide') }];
  const value = `${decide.hold}.${decide.binding}`;
  const approve = {
    type: 'button',
    action_id: 'approve',
    style: 'primary',
    text: label('Approve'),
    value,
    confirm: {
      title: label('Approve it?'),
      text: label(
        'It runs with your name under it. The ledger will say that you clicked in Slack.',
      ),
      confirm: label('Approve'),
      deny: label('Not yet'),
    },
  };
  const deny = { type: 'button', action_id: 'deny', style: 'danger', text: label('Deny…'), value };
  return [...(decide.approve ? [approve] : []), deny, open];
}

export const DENY_VIEW = 'deny';

/** Asks why; what it is about comes back with the answer. */
export function denyModal(shown: Shown, what: string, most: number): unknown {
  return {
    type: 'modal',
    callback_id: DENY_VIEW,
    private_metadata: `${shown.hold}.${shown.binding}`,
    title: label('Deny'),
    submit: label('Deny'),
    close: label('Cancel'),
    blocks: [
      { type: 'section', text: label(what.slice(0, 2900)) },
      {
        type: 'input',
        block_id: 'reason',
        label: label('Why? The agent and the ledger get your words.'),
        element: {
          type: 'plain_text_input',
          action_id: 'reason',
          multiline: true,
          min_length: 1,
          max_length: most,
        },
      },
    ],
  };
}

function label(text: string) {
  return { type: 'plain_text', text, emoji: false };
}

function words(text: string, bold = false) {
  return { type: 'text', text, ...(bold ? { style: { bold: true } } : {}) };
}

function section(...elements: readonly unknown[]) {
  return { type: 'rich_text_section', elements };
}

/** A message's own line is read as markup: its three signs are escaped. */
export function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
