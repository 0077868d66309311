// Webhooks and their deliveries at rest.
// Invariant: a delivery belongs to one replica at a time, by compare-and-set on when it is due.
import { type Db, integer, integerOrNull, one, type Row, strings, text, textOrNull } from './db.ts';

export interface Webhook {
  readonly name: string;
  readonly url: string;
  /** Event types, or `*`. */
  readonly events: readonly string[];
  /** Sealed; the first one is in force, later ones until their time. */
  readonly secrets: readonly { readonly sealed: string; readonly until: number | null }[];
  readonly allowPrivate: boolean;
  /** Standard Webhooks, a chat's own message, or Slack's API with a message that stays current. */
  readonly format: 'standard' | 'slack' | 'teams' | 'slack-app';
  readonly active: boolean;
  readonly created: number;
}

export type DeliveryState = 'waiting' | 'done' | 'dead';

export interface Delivery {
  readonly id: string;
  readonly webhook: string;
  readonly event: string;
  readonly hold: string | null;
  readonly body: string;
  readonly state: DeliveryState;
  readonly attempts: number;
  readonly due: number;
  readonly created: number;
  readonly status: number | null;
  readonly error: string | null;
}

export class WebhookStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  async list(): Promise<readonly Webhook[]> {
    return (await this.#db.all('SELECT * FROM webhooks ORDER BY name')).map(toWebhook);
  }

  async get(name: string): Promise<Webhook | null> {
    const row = await one(this.#db, 'SELECT * FROM webhooks WHERE name = ?', name);
    return row && toWebhook(row);
  }

  async put(w: Webhook): Promise<void> {
    await this.#db.run(
      `INSERT INTO webhooks (name, url, events, secrets, private, active, created, format)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET url = excluded.url,
         events = excluded.events, secrets = excluded.secrets, private = excluded.private,
         active = excluded.active, format = excluded.format`,
      w.name,
      w.url,
      JSON.stringify(w.events),
      JSON.stringify(w.secrets),
      Number(w.allowPrivate),
      Number(w.active),
      w.created,
      w.format,
    );
  }

  async remove(name: string): Promise<boolean> {
    return (await this.#db.run('DELETE FROM webhooks WHERE name = ?', name)) === 1;
  }

  /** false when this very delivery is there already. */
  async enqueue(d: Pick<Delivery, 'id' | 'webhook' | 'event' | 'hold' | 'body' | 'created'>) {
    const added = await this.#db.run(
      `INSERT INTO deliveries (id, webhook, event, hold, body, state, attempts, due, created)
       VALUES (?, ?, ?, ?, ?, 'waiting', 0, ?, ?) ON CONFLICT DO NOTHING`,
      d.id,
      d.webhook,
      d.event,
      d.hold,
      d.body,
      d.created,
      d.created,
    );
    return added === 1;
  }

  /**
   * What is to be sent now. A message that is kept current is changed by one delivery after the
   * other: what waits longest of a hold comes first.
   */
  async due(now: number, limit: number): Promise<readonly Delivery[]> {
    const sql = `SELECT d.* FROM deliveries d WHERE d.state = 'waiting' AND d.due <= ?
      AND NOT EXISTS (SELECT 1 FROM deliveries e JOIN webhooks w ON w.name = e.webhook
        WHERE w.format = 'slack-app' AND e.webhook = d.webhook AND e.hold = d.hold
          AND e.state = 'waiting'
          AND (e.created < d.created OR (e.created = d.created AND e.id < d.id)))
      ORDER BY d.due LIMIT ?`;
    return (await this.#db.all(sql, now, limit)).map(toDelivery);
  }

  /** Takes it until then; false when another replica has it. */
  async take(d: Delivery, until: number): Promise<boolean> {
    const sql = `UPDATE deliveries SET due = ? WHERE id = ? AND due = ? AND state = 'waiting'`;
    return (await this.#db.run(sql, until, d.id, d.due)) === 1;
  }

  async finish(
    id: string,
    end: Pick<Delivery, 'state' | 'attempts' | 'due' | 'status' | 'error'>,
  ): Promise<void> {
    await this.#db.run(
      'UPDATE deliveries SET state = ?, attempts = ?, due = ?, status = ?, error = ? WHERE id = ?',
      end.state,
      end.attempts,
      end.due,
      end.status,
      end.error,
      id,
    );
  }

  /** Newest first, from after that one on. */
  async deliveries(
    state: DeliveryState,
    limit: number,
    after?: { readonly created: number; readonly id: string },
  ): Promise<readonly Delivery[]> {
    const created = after?.created ?? Number.MAX_SAFE_INTEGER;
    const sql = `SELECT * FROM deliveries WHERE state = ? AND (created < ? OR
      (created = ? AND id < ?)) ORDER BY created DESC, id DESC LIMIT ?`;
    const rows = await this.#db.all(sql, state, created, created, after?.id ?? '', limit);
    return rows.map(toDelivery);
  }

  /** Once more from the start; false when it does not exist. */
  async replay(id: string, now: number): Promise<boolean> {
    const sql = `UPDATE deliveries SET state = 'waiting', attempts = 0, due = ? WHERE id = ?`;
    return (await this.#db.run(sql, now, id)) === 1;
  }

  async forget(before: number): Promise<void> {
    await this.#db.run(`DELETE FROM deliveries WHERE state = 'done' AND created < ?`, before);
  }
}

function toWebhook(row: Row): Webhook {
  return {
    name: text(row, 'name'),
    url: text(row, 'url'),
    events: strings(row, 'events'),
    secrets: JSON.parse(text(row, 'secrets')) as Webhook['secrets'],
    allowPrivate: integer(row, 'private') === 1,
    active: integer(row, 'active') === 1,
    created: integer(row, 'created'),
    format: formatOf(text(row, 'format')),
  };
}

function formatOf(text: string): Webhook['format'] {
  return text === 'slack' || text === 'teams' || text === 'slack-app' ? text : 'standard';
}

function toDelivery(row: Row): Delivery {
  return {
    id: text(row, 'id'),
    webhook: text(row, 'webhook'),
    event: text(row, 'event'),
    hold: textOrNull(row, 'hold'),
    body: text(row, 'body'),
    state: text(row, 'state') as DeliveryState,
    attempts: integer(row, 'attempts'),
    due: integer(row, 'due'),
    created: integer(row, 'created'),
    status: integerOrNull(row, 'status'),
    error: textOrNull(row, 'error'),
  };
}
