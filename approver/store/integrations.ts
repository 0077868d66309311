// What may come in: the integrations whose requests are decisions, and the chat messages of holds.
// Invariant: a secret lies here only sealed; a request that was taken once is not taken again.
import { type Db, integer, one, type Row, text } from './db.ts';

export const INTEGRATION_KINDS = ['slack', 'teams', 'callback'] as const;
export type IntegrationKind = (typeof INTEGRATION_KINDS)[number];

export interface Integration {
  /** Of Slack and Teams there is one each, named as they are. */
  readonly name: string;
  readonly kind: IntegrationKind;
  /** What is no secret: workspace, conversation, address. */
  readonly settings: { readonly [name: string]: string };
  /** Sealed; the first one is in force, later ones until their time. */
  readonly secrets: readonly { readonly sealed: string; readonly until: number | null }[];
  readonly created: number;
}

/** Where a hold's message stands in a chat. */
export interface ChatMessage {
  readonly conversation: string;
  readonly message: string;
}

export class IntegrationStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  async list(): Promise<readonly Integration[]> {
    return (await this.#db.all('SELECT * FROM integrations ORDER BY name')).map(toIntegration);
  }

  async get(name: string): Promise<Integration | null> {
    const row = await one(this.#db, 'SELECT * FROM integrations WHERE name = ?', name);
    return row && toIntegration(row);
  }

  async put(i: Integration): Promise<void> {
    await this.#db.run(
      `INSERT INTO integrations (name, kind, settings, secrets, created) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, settings = excluded.settings,
         secrets = excluded.secrets`,
      i.name,
      i.kind,
      JSON.stringify(i.settings),
      JSON.stringify(i.secrets),
      i.created,
    );
  }

  async remove(name: string): Promise<boolean> {
    return (await this.#db.run('DELETE FROM integrations WHERE name = ?', name)) === 1;
  }

  /** The message that shows this hold in the chat of this webhook; null when there is none. */
  async messageOf(webhook: string, hold: string): Promise<ChatMessage | null> {
    const sql = 'SELECT * FROM chat_messages WHERE webhook = ? AND hold = ?';
    const row = await one(this.#db, sql, webhook, hold);
    return row && { conversation: text(row, 'conversation'), message: text(row, 'message') };
  }

  async keepMessage(webhook: string, hold: string, at: ChatMessage): Promise<void> {
    await this.#db.run(
      `INSERT INTO chat_messages (webhook, hold, conversation, message) VALUES (?, ?, ?, ?)
       ON CONFLICT (webhook, hold) DO UPDATE SET conversation = excluded.conversation,
         message = excluded.message`,
      webhook,
      hold,
      at.conversation,
      at.message,
    );
  }

  async forgetMessage(webhook: string, hold: string): Promise<void> {
    const sql = 'DELETE FROM chat_messages WHERE webhook = ? AND hold = ?';
    await this.#db.run(sql, webhook, hold);
  }
}

function toIntegration(row: Row): Integration {
  return {
    name: text(row, 'name'),
    kind: INTEGRATION_KINDS.find((k) => k === row.kind) ?? 'callback',
    settings: JSON.parse(text(row, 'settings')) as Integration['settings'],
    secrets: JSON.parse(text(row, 'secrets')) as Integration['secrets'],
    created: integer(row, 'created'),
  };
}
