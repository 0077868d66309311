// Events out: queued in the store when they happen, sent until they are taken or given up.
// Invariant: an event is queued once for each webhook whatever is delivered twice, and none is sent
// unsigned.
import { createHash } from 'node:crypto';
import type { ModeChange } from '../../proxy/contract.ts';
import { channelsOf } from '../../proxy/verdict/verdict.ts';
import { cardOf } from '../card.ts';
import { ApproverError } from '../errors.ts';
import * as limits from '../limits.ts';
import { loadRoster, type Routing } from '../routing.ts';
import type { DeskEvent } from '../settle.ts';
import type { Delivery, Webhook } from '../store/webhooks.ts';
import type { Store } from '../store.ts';
import { type ChatCard, noticeOf, shownWhole, type Telling, tellingOf } from './chat.ts';
import type { Integrations } from './integrations.ts';
import { newSecret, receiverKey, type Sealer, type SecretKind, signatures } from './secret.ts';
import { checkAddress, type Sender, type Sent } from './send.ts';
import { slackMessage } from './slack-message.ts';
import { SlackPost } from './slack-post.ts';
import { teamsMessage } from './teams-message.ts';

export const EVENTS = [
  'hold.requested',
  'hold.signed',
  'hold.approved',
  'hold.denied',
  'hold.expired',
  'hold.withdrawn',
  'hold.redeemed',
  'hold.executed',
  'hold.reminded',
  'mode.changed',
  'alert',
] as const;

/** Something that somebody should look at, and what is known of it. */
export interface Alert {
  /** The same happening has the same: it is told once. */
  readonly id: string;
  readonly what: string;
  readonly detail: { readonly [name: string]: string | number | null };
}

export interface DispatcherParts {
  readonly store: Store;
  readonly sealer: Sealer;
  readonly integrations: Integrations;
  readonly sender: Sender;
  readonly now: () => number;
  readonly routing: () => Routing;
  /** Webhooks may go to private addresses where an operator says so for one of them. */
  readonly allowPrivate: boolean;
  /** Where people look at holds. */
  readonly page: () => string;
  readonly log: (message: string, detail: { readonly [name: string]: unknown }) => void;
}

export class Dispatcher {
  readonly #p: DispatcherParts;
  readonly #sender: Sender;
  readonly #slack: SlackPost;
  readonly #underWay = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(parts: DispatcherParts) {
    this.#p = parts;
    this.#sender = parts.sender;
    const { store, sender, integrations } = parts;
    this.#slack = new SlackPost({ store, sender, integrations, cardOf: (id) => this.cardOf(id) });
    this.#schedule(0);
  }

  async add(given: {
    readonly name: string;
    readonly url: string;
    readonly events: readonly string[];
    readonly kind: SecretKind;
    readonly allowPrivate: boolean;
    readonly format?: Webhook['format'];
  }): Promise<string> {
    if (given.allowPrivate && !this.#p.allowPrivate) {
      const what = 'private addresses are switched off in this approver’s configuration';
      throw new ApproverError('forbidden', what);
    }
    const why = checkAddress(given.url, given.allowPrivate);
    if (why !== null) throw new ApproverError('bad-request', `the webhook's address: ${why}`);
    if (await this.#p.store.webhooks.get(given.name)) {
      throw new ApproverError('conflict', `there is a webhook ${given.name} already`);
    }
    const secret = newSecret(given.kind);
    await this.#p.store.webhooks.put({
      name: given.name,
      url: given.url,
      events: given.events,
      secrets: [{ sealed: this.#p.sealer.seal(secret, given.name), until: null }],
      allowPrivate: given.allowPrivate,
      active: true,
      created: this.#p.now(),
      format: given.format ?? 'standard',
    });
    return receiverKey(secret);
  }

  /** A new secret; the old one signs beside it for a while, so that no event is lost in between. */
  async rotate(name: string): Promise<string> {
    const webhook = await this.#need(name);
    if (webhook.format === 'slack-app') {
      throw new ApproverError(
        'conflict',
        'its secrets are the Slack integration’s: connect it anew',
      );
    }
    const now = this.#p.now();
    const [current, ...older] = webhook.secrets;
    const old = current ? this.#p.sealer.open(current.sealed, name) : '';
    const secret = newSecret(old.startsWith('whsk_') ? 'ed25519' : 'hmac');
    const kept = current
      ? [{ sealed: current.sealed, until: now + limits.WEBHOOK_ROTATION_MS }]
      : [];
    await this.#p.store.webhooks.put({
      ...webhook,
      active: true,
      secrets: [
        { sealed: this.#p.sealer.seal(secret, name), until: null },
        ...kept,
        ...older.filter((s) => (s.until ?? 0) > now),
      ],
    });
    return receiverKey(secret);
  }

  async replay(id: string): Promise<void> {
    if (await this.#p.store.webhooks.replay(id, this.#p.now())) this.#schedule(0);
    else throw new ApproverError('not-found', `there is no delivery ${id}`);
  }

  /** Queues an event for every webhook that wants it. */
  async tell(event: DeskEvent): Promise<void> {
    const type = event.kind === 'outcome' ? 'hold.executed' : `hold.${event.kind}`;
    const who = 'who' in event && event.who !== undefined ? `.${event.who}` : '';
    await this.#tellHold(type, event.hold, `${event.kind}${who}`);
  }

  /** Those who could sign are reminded, once at each stage of a hold. */
  async remind(hold: string, stage: string): Promise<void> {
    await this.#tellHold('hold.reminded', hold, `reminded.${stage}`);
  }

  /** Somebody has stopped or resumed changes. */
  async tellMode(change: ModeChange): Promise<void> {
    const named = change.name === null ? '' : ` ${change.name}`;
    const title = `Changes of ${change.scope}${named}: ${change.mode}`;
    const { who, reason, time } = change;
    const telling = noticeOf(title, { By: who, Reason: reason, At: time });
    await this.#tellAll('mode.changed', JSON.stringify(change), { ...change }, telling);
  }

  async alert(alert: Alert): Promise<void> {
    const { id, what, detail } = alert;
    this.#p.log('alert', { what, ...detail });
    const telling = noticeOf(`Holdpoint: ${what}`, detail);
    await this.#tellAll('alert', id, { what, detail }, telling);
  }

  async #tellHold(type: string, id: string, about: string): Promise<void> {
    const hooks = await this.#wanting(type);
    const found = hooks.length === 0 ? null : await this.cardOf(id);
    if (!found) return;
    const { card, url } = found;
    const telling = tellingOf(type, card);
    const teams = card.demands.some((d) => channelsOf(d).includes('teams'));
    const command = teams ? commandFor(card) : null;
    const standard = this.#standard(type, { ...card, url });
    for (const w of hooks) {
      const place = Buffer.from(`${card.id}.${about}.${w.name}`);
      const body =
        w.format === 'teams'
          ? JSON.stringify(teamsMessage(telling, url, command))
          : bodyFor(w.format, standard, telling, url);
      const msg = `msg_${place.toString('base64url')}`;
      await this.#enqueue(msg, w, type, card.id, body);
    }
    this.#schedule(0);
  }

  /** What is about no hold. */
  async #tellAll(type: string, id: string, data: object, telling: Telling): Promise<void> {
    const told = createHash('sha256').update(id).digest('base64url');
    const standard = this.#standard(type, data);
    for (const w of await this.#wanting(type)) {
      const body = bodyFor(w.format, standard, telling, null);
      await this.#enqueue(`msg_${told}_${w.name}`, w, type, null, body);
    }
    this.#schedule(0);
  }

  async #wanting(type: string): Promise<readonly Webhook[]> {
    const all = await this.#p.store.webhooks.list();
    return all.filter((w) => w.active && (w.events.includes('*') || w.events.includes(type)));
  }

  async #enqueue(id: string, w: Webhook, event: string, hold: string | null, body: string) {
    const created = this.#p.now();
    await this.#p.store.webhooks.enqueue({ id, webhook: w.name, event, hold, body, created });
  }

  #standard(type: string, data: object): string {
    return JSON.stringify({ type, timestamp: new Date(this.#p.now()).toISOString(), data });
  }

  /** The card without what is one reader's own; the receipt is the proxy's alone. */
  async cardOf(id: string): Promise<{ card: ChatCard; url: string } | null> {
    const { store } = this.#p;
    const hold = await store.holds.get(id);
    if (!hold) return null;
    const now = this.#p.now();
    const roster = await loadRoster(store.signers, this.#p.routing(), now);
    const nobody = { name: '', groups: [], roles: [], identities: [], active: false };
    const { you, yours, receipt, ...card } = await cardOf(hold, store, nobody, roster, now);
    return { card, url: `${this.#p.page()}/holds/${hold.id}` };
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer) clearTimeout(this.#timer);
    await this.#sender.close();
    await Promise.allSettled(this.#underWay);
  }

  #schedule(ms: number): void {
    if (this.#closed) return;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      const turn = this.#turn()
        .catch((e: unknown) => this.#p.log('webhooks stopped for a moment', { error: String(e) }))
        .finally(() => {
          this.#underWay.delete(turn);
          if (!this.#timer) this.#schedule(limits.SWEEP_MS);
        });
      this.#underWay.add(turn);
    }, ms);
  }

  async #turn(): Promise<void> {
    const { webhooks } = this.#p.store;
    const now = this.#p.now();
    await webhooks.forget(now - limits.WEBHOOK_KEEP_MS);
    const due = await webhooks.due(now, limits.WEBHOOKS_AT_ONCE);
    await Promise.all(
      due.map(async (d) => {
        if (await webhooks.take(d, now + limits.WEBHOOK_LEASE_MS)) await this.#send(d);
      }),
    );
    // What waited behind one of these may go now.
    if (due.length > 0) this.#schedule(0);
  }

  async #send(d: Delivery): Promise<void> {
    const webhook = await this.#p.store.webhooks.get(d.webhook);
    const attempts = d.attempts + 1;
    const now = this.#p.now();
    const end = { attempts, due: now, status: null, error: null };
    if (!webhook?.active) {
      await this.#p.store.webhooks.finish(d.id, { ...end, state: 'dead', error: 'switched off' });
      return;
    }
    try {
      const { status, retryAfterMs } = await this.#post(webhook, d, now);
      if (status >= 200 && status < 300) {
        await this.#p.store.webhooks.finish(d.id, { ...end, state: 'done', status });
        return;
      }
      if (status === 410) await this.#p.store.webhooks.put({ ...webhook, active: false });
      const error = `answered ${status}`;
      await this.#again({ ...d, attempts }, { status, error }, retryAfterMs, status === 410);
    } catch (e) {
      const error = (e instanceof Error ? e.message : String(e)).slice(0, 300);
      await this.#again({ ...d, attempts }, { status: null, error }, null, false);
    }
  }

  async #post(webhook: Webhook, d: Delivery, now: number): Promise<Sent> {
    if (webhook.format === 'slack-app') return await this.#slack.send(d);
    const timestamp = Math.floor(now / 1000);
    const headers = {
      'webhook-id': d.id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': signatures(this.#secrets(webhook, now), d.id, timestamp, d.body),
    };
    const allowPrivate = webhook.allowPrivate && this.#p.allowPrivate;
    return await this.#sender.send({ url: webhook.url, allowPrivate, headers, body: d.body });
  }

  async #again(
    d: Delivery,
    last: Pick<Delivery, 'status' | 'error'>,
    retryAfterMs: number | null,
    gone: boolean,
  ): Promise<void> {
    if (this.#closed) return;
    const wait = limits.WEBHOOK_WAITS_MS[d.attempts];
    const state = wait === undefined || gone ? 'dead' : 'waiting';
    const jittered = (wait ?? 0) * (0.8 + Math.random() * 0.4);
    const asked = Math.min(retryAfterMs ?? 0, limits.WEBHOOK_RETRY_AFTER_MS);
    const due = Math.round(this.#p.now() + Math.max(jittered, asked));
    await this.#p.store.webhooks.finish(d.id, { ...last, state, attempts: d.attempts, due });
    if (state !== 'dead') return;
    this.#p.log('webhook delivery is dead', { webhook: d.webhook, id: d.id });
    // One that could not be told of an alert is told of no other for it.
    if (d.event === 'alert') return;
    const detail = { webhook: d.webhook, event: d.event, hold: d.hold, error: last.error };
    const hour = Math.floor(this.#p.now() / limits.ALERT_AGAIN_MS);
    const id = `dead ${d.webhook} ${hour}`;
    await this.alert({ id, what: 'a webhook’s deliveries are given up', detail });
  }

  #secrets(webhook: Webhook, now: number): readonly string[] {
    return webhook.secrets
      .filter((s) => s.until === null || s.until > now)
      .map((s) => this.#p.sealer.open(s.sealed, webhook.name));
  }

  async #need(name: string): Promise<Webhook> {
    const webhook = await this.#p.store.webhooks.get(name);
    if (webhook) return webhook;
    throw new ApproverError('not-found', `there is no webhook ${name}`);
  }
}

function bodyFor(
  format: Webhook['format'],
  standard: string,
  telling: Telling,
  url: string | null,
): string {
  if (format === 'teams') return JSON.stringify(teamsMessage(telling, url, null));
  if (format === 'standard') return standard;
  return JSON.stringify(slackMessage(telling, url === null ? null : { url, decide: null }));
}

/** How a hold is decided by a message in Teams; null when it is decided, or not shown whole. */
function commandFor(card: ChatCard): string | null {
  if (card.state !== 'pending' || !shownWhole(card)) return null;
  return `Here: @Holdpoint approve ${card.id}, or @Holdpoint deny ${card.id} and your reason`;
}
