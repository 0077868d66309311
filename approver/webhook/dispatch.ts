// Events out: queued in the store when they happen, sent until they are taken or given up.
// Invariant: an event is queued once for each webhook whatever is delivered twice, and none is sent
// unsigned.
import { createHash } from 'node:crypto';
import type { ModeChange } from '../../proxy/contract.ts';
import { cardOf } from '../card.ts';
import { ApproverError } from '../errors.ts';
import * as limits from '../limits.ts';
import { loadRoster, type Routing } from '../routing.ts';
import type { DeskEvent } from '../settle.ts';
import type { Delivery, Webhook } from '../store/webhooks.ts';
import type { Store } from '../store.ts';
import { type ChatCard, slackMessage, teamsMessage } from './chat.ts';
import { newSecret, receiverKey, type Sealer, type SecretKind, signatures } from './secret.ts';
import { checkAddress, Sender } from './send.ts';

export const EVENTS = [
  'hold.requested',
  'hold.signed',
  'hold.approved',
  'hold.denied',
  'hold.expired',
  'hold.withdrawn',
  'hold.redeemed',
  'hold.executed',
  'mode.changed',
] as const;

interface Parts {
  readonly store: Store;
  readonly sealer: Sealer;
  readonly now: () => number;
  readonly routing: () => Routing;
  /** Webhooks may go to private addresses where an operator says so for one of them. */
  readonly allowPrivate: boolean;
  /** Where people look at holds. */
  readonly page: () => string;
  readonly log: (message: string, detail: { readonly [name: string]: unknown }) => void;
}

export class Dispatcher {
  readonly #p: Parts;
  readonly #sender = new Sender();
  readonly #underWay = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(parts: Parts) {
    this.#p = parts;
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
    const hooks = (await this.#p.store.webhooks.list()).filter(
      (w) => w.active && (w.events.includes('*') || w.events.includes(type)),
    );
    if (hooks.length === 0) return;
    const hold = await this.#p.store.holds.get(event.hold);
    if (!hold) return;
    const now = this.#p.now();
    const { store } = this.#p;
    const roster = await loadRoster(store.signers, this.#p.routing(), now);
    const nobody = { name: '', groups: [], roles: [], identities: [], active: false };
    const { you, yours, receipt, ...card } = await cardOf(hold, store, nobody, roster, now);
    const url = `${this.#p.page()}/holds/${hold.id}`;
    const standard = JSON.stringify({
      type,
      timestamp: new Date(now).toISOString(),
      data: { ...card, url },
    });
    const who = 'who' in event && event.who !== undefined ? `.${event.who}` : '';
    for (const w of hooks) {
      const place = Buffer.from(`${hold.id}.${event.kind}${who}.${w.name}`);
      const id = `msg_${place.toString('base64url')}`;
      await this.#p.store.webhooks.enqueue({
        id,
        webhook: w.name,
        event: type,
        hold: hold.id,
        body: bodyFor(w.format, standard, type, card, url),
        created: now,
      });
    }
    this.#schedule(0);
  }

  /** Somebody has stopped or resumed changes. Chats have no card for it and are left out. */
  async tellMode(change: ModeChange): Promise<void> {
    const type = 'mode.changed';
    const now = this.#p.now();
    const body = JSON.stringify({ type, timestamp: new Date(now).toISOString(), data: change });
    const told = createHash('sha256').update(JSON.stringify(change)).digest('base64url');
    for (const w of await this.#p.store.webhooks.list()) {
      const wanted = w.events.includes('*') || w.events.includes(type);
      if (!w.active || !wanted || w.format !== 'standard') continue;
      const id = `msg_${told}_${w.name}`;
      await this.#p.store.webhooks.enqueue({
        id,
        webhook: w.name,
        event: type,
        hold: null,
        body,
        created: now,
      });
    }
    this.#schedule(0);
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
    if (due.length === limits.WEBHOOKS_AT_ONCE) this.#schedule(0);
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
      const timestamp = Math.floor(now / 1000);
      const headers = {
        'webhook-id': d.id,
        'webhook-timestamp': String(timestamp),
        'webhook-signature': signatures(this.#secrets(webhook, now), d.id, timestamp, d.body),
      };
      const { status, retryAfterMs } = await this.#sender.send(
        webhook.url,
        webhook.allowPrivate && this.#p.allowPrivate,
        headers,
        d.body,
      );
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
    if (state === 'dead') this.#p.log('webhook delivery is dead', { webhook: d.webhook, id: d.id });
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
  type: string,
  card: ChatCard,
  url: string,
): string {
  if (format === 'slack') return JSON.stringify(slackMessage(type, card, url));
  if (format === 'teams') return JSON.stringify(teamsMessage(type, card, url));
  return standard;
}
