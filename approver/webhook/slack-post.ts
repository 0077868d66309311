// A hold's one message in Slack: posted when the hold is asked for, changed as the hold changes.
// Invariant: it is written from the hold as it is now, so that whatever is sent late or twice
// leaves it true.
import { channelsOf } from '../../proxy/verdict/verdict.ts';
import { CHAT_MENTIONS } from '../limits.ts';
import type { Store } from '../store.ts';
import { type ChatCard, shownWhole, tellingOf, typeOf } from './chat.ts';
import type { Integrations, OpenSlack } from './integrations.ts';
import type { Sender, Sent } from './send.ts';
import { callSlack, SlackRefused } from './slack-api.ts';
import { type SlackMessage, slackMessage, slackReminder } from './slack-message.ts';

interface Parts {
  readonly store: Store;
  readonly sender: Sender;
  readonly integrations: Integrations;
  /** The card as anybody may see it, and its address. */
  readonly cardOf: (hold: string) => Promise<{ card: ChatCard; url: string } | null>;
}

export class SlackPost {
  readonly #p: Parts;

  constructor(parts: Parts) {
    this.#p = parts;
  }

  /** Sends one delivery; what Slack refuses is an answer that is no success. */
  async send(d: {
    readonly webhook: string;
    readonly event: string;
    readonly hold: string | null;
    readonly body: string;
  }): Promise<Sent> {
    const slack = await this.#p.integrations.slack();
    if (!slack) throw new Error('Slack is not connected');
    try {
      if (d.hold === null) await this.#post(slack, JSON.parse(d.body) as SlackMessage);
      else if (d.event === 'hold.reminded') await this.#remind(slack, d.webhook, d.hold);
      else await this.#show(slack, d.webhook, d.hold);
      return { status: 200, retryAfterMs: null };
    } catch (e) {
      if (e instanceof SlackRefused && e.status === 429) return e;
      throw e;
    }
  }

  async #show(slack: OpenSlack, webhook: string, hold: string): Promise<void> {
    const { integrations } = this.#p.store;
    const message = await this.#messageOf(hold);
    if (!message) return;
    const there = await integrations.messageOf(webhook, hold);
    if (!there) {
      const at = await this.#post(slack, message);
      await integrations.keepMessage(webhook, hold, at);
      return;
    }
    const place = { channel: there.conversation, ts: there.message };
    try {
      await callSlack(this.#p.sender, slack, 'chat.update', { ...place, ...message });
    } catch (e) {
      // Somebody deleted it: the next attempt posts it anew.
      if (e instanceof SlackRefused && e.code === 'message_not_found') {
        await integrations.forgetMessage(webhook, hold);
      }
      throw e;
    }
  }

  /** In the hold's own thread, to those who can sign and have an account here. */
  async #remind(slack: OpenSlack, webhook: string, hold: string): Promise<void> {
    const found = await this.#p.cardOf(hold);
    if (found?.card.state !== 'pending') return;
    const able = new Set(found.card.demands.filter((d) => !d.met).flatMap((d) => d.able));
    const people = (await this.#p.store.signers.list()).filter((s) => able.has(s.name));
    const accounts = people.flatMap((s) => s.identities.filter((i) => i.startsWith('slack:')));
    const called = accounts.slice(0, CHAT_MENTIONS);
    const users = called.map((account) => account.slice('slack:'.length));
    const { title } = tellingOf('hold.reminded', found.card);
    const there = await this.#p.store.integrations.messageOf(webhook, hold);
    const thread = there ? { thread_ts: there.message } : {};
    await this.#post(slack, { ...slackReminder(title, users, found.url), ...thread });
  }

  async #messageOf(hold: string): Promise<SlackMessage | null> {
    const found = await this.#p.cardOf(hold);
    if (!found) return null;
    const { card, url } = found;
    const here = card.demands.some((d) => channelsOf(d).includes('slack'));
    const open = card.state === 'pending' && here;
    const shown = { hold: card.id, binding: card.digest, approve: shownWhole(card) };
    return slackMessage(tellingOf(typeOf(card), card), { url, decide: open ? shown : null });
  }

  async #post(slack: OpenSlack, message: SlackMessage) {
    const body = { channel: slack.conversation, ...message };
    const { channel, ts } = await callSlack(this.#p.sender, slack, 'chat.postMessage', body);
    return { conversation: channel ?? slack.conversation, message: ts ?? '' };
  }
}
