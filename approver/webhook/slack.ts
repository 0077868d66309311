// Slack's clicks: Approve at once, Deny after its modal has asked why. The message itself changes
// with the hold (slack-post.ts).
// Invariant: nothing is read before Slack's signature over it is checked, and whoever may not
// decide here is told so alone, with the page's address.
import { z } from 'zod';
import { ApproverError } from '../errors.ts';
import { REASON_CHARACTERS } from '../limits.ts';
import type { Hold } from '../store/holds.ts';
import type { Said } from './attest.ts';
import type { ChatCard } from './chat.ts';
import { shownWhole } from './chat.ts';
import type { Inbound } from './inbound.ts';
import { type OpenSlack, SLACK } from './integrations.ts';
import { callSlack, whisper } from './slack-api.ts';
import { DENY_VIEW, denyModal, escaped, type Shown, shownIn } from './slack-message.ts';
import { fromSlack, type Headers } from './verify.ts';

const who = z.object({
  user: z.object({ id: z.string().regex(/^[UW][A-Z0-9]{1,20}$/), team_id: z.string().optional() }),
  team: z.object({ id: z.string() }).nullish(),
});
const press = who.extend({
  type: z.literal('block_actions'),
  trigger_id: z.string().max(500).default(''),
  response_url: z.string().max(2000).default(''),
  actions: z.array(z.object({ action_id: z.string(), value: z.string().optional() })).min(1),
});
const submission = who.extend({
  type: z.literal('view_submission'),
  view: z.object({
    callback_id: z.string(),
    private_metadata: z.string().max(3000),
    state: z.object({
      values: z.record(z.string(), z.record(z.string(), z.object({ value: z.string().nullish() }))),
    }),
  }),
});
const payload = z.discriminatedUnion('type', [press, submission]);

type Press = z.infer<typeof press>;

export class SlackDoor {
  readonly #in: Inbound;
  /** The card as anybody may see it. */
  readonly #cardOf: (hold: string) => Promise<{ card: ChatCard } | null>;

  constructor(inbound: Inbound, cardOf: (hold: string) => Promise<{ card: ChatCard } | null>) {
    this.#in = inbound;
    this.#cardOf = cardOf;
  }

  /** One request of Slack's; what it is answered with, null for nothing but “taken”. */
  async take(headers: Headers, body: Buffer): Promise<unknown> {
    const { integrations, now } = this.#in.parts;
    const slack = await integrations.slack();
    if (!slack) throw new ApproverError('not-found', 'Slack is not connected here');
    await this.#in.take(SLACK, fromSlack(slack.signing, headers, body, now()));
    const parsed = payload.safeParse(jsonOf(new URLSearchParams(body.toString('utf8'))));
    // Slack tells of more than we asked for.
    if (!parsed.success) return null;
    const { team, user } = parsed.data;
    if ((team?.id ?? user.team_id) !== slack.team) {
      throw new ApproverError('forbidden', 'this click is of another workspace');
    }
    if (parsed.data.type === 'view_submission') return await this.#submitted(parsed.data, body);
    await this.#pressed(slack, parsed.data, body);
    return null;
  }

  async #pressed(slack: OpenSlack, given: Press, body: Buffer): Promise<void> {
    const [action] = given.actions;
    const shown = shownIn(action?.value ?? '');
    if (!shown || (action?.action_id !== 'approve' && action?.action_id !== 'deny')) return;
    const said = saidBy(given.user.id, shown, action.action_id, null, body);
    try {
      if (action.action_id === 'approve') await this.#approve(said);
      else await this.#askWhy(slack, said, given.trigger_id);
    } catch (e) {
      const text = `${escaped(wordsOf(e))} <${this.#in.urlOf(shown.hold)}|Open it>`;
      const { sender, log } = this.#in.parts;
      if (!(e instanceof ApproverError)) log('a click in Slack failed', { error: String(e) });
      await whisper(sender, slack, given.response_url, text).catch((failure: unknown) =>
        log('Slack could not be answered', { error: String(failure) }),
      );
    }
  }

  async #approve(said: Said): Promise<void> {
    await this.#in.standing(said);
    const found = await this.#cardOf(said.hold);
    if (!found || !shownWhole(found.card)) {
      const why = 'it is too long to be shown whole in Slack: decide on the page';
      throw new ApproverError('wrong-channel', why);
    }
    await this.#in.decide(said);
  }

  async #askWhy(slack: OpenSlack, said: Said, trigger: string): Promise<void> {
    const hold = await this.#in.standing(said);
    if (hold.state !== 'pending') {
      throw new ApproverError('decided', `hold ${hold.id} is already ${hold.state}`);
    }
    const view = denyModal(said, whatOf(hold), REASON_CHARACTERS);
    await callSlack(this.#in.parts.sender, slack, 'views.open', { trigger_id: trigger, view });
  }

  async #submitted(given: z.infer<typeof submission>, body: Buffer): Promise<unknown> {
    const shown = shownIn(given.view.private_metadata);
    if (given.view.callback_id !== DENY_VIEW || !shown) return null;
    const reason = given.view.state.values.reason?.reason?.value?.trim() ?? '';
    try {
      await this.#in.decide(saidBy(given.user.id, shown, 'deny', reason, body));
      return null;
    } catch (e) {
      if (!(e instanceof ApproverError)) {
        this.#in.parts.log('a denial in Slack failed', { error: String(e) });
      }
      return { response_action: 'errors', errors: { reason: wordsOf(e).slice(0, 1000) } };
    }
  }
}

function saidBy(
  user: string,
  shown: Shown,
  decision: 'approve' | 'deny',
  reason: string | null,
  request: Buffer,
): Said {
  return { ...shown, decision, reason, channel: SLACK, account: `slack:${user}`, request };
}

function whatOf(hold: Hold): string {
  const { agent, target, sentences } = hold.request;
  return `${agent.name} on ${target.name}. ${sentences[0] ?? ''}`;
}

function wordsOf(e: unknown): string {
  return e instanceof ApproverError
    ? `${e.message}.`
    : 'The approver failed at this; its log says why.';
}

function jsonOf(form: URLSearchParams): unknown {
  try {
    return JSON.parse(form.get('payload') ?? '');
  } catch {
    return null;
  }
}
