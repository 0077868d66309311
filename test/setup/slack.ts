// Slack as its documentation describes it: an API that takes messages and modals within their
// limits, and clicks that are signed.
// Invariant: what the documentation refuses is refused here, with its own word.
import { createHmac, randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export const TEAM = 'T0SHOP';
export const CONVERSATION = 'C0HOLDS';
export const SIGNING = 'a-signing-secret-of-slack';
export const TOKEN = 'xoxb-a-token-of-the-bot';

export interface Call {
  readonly method: string;
  readonly body: { readonly [name: string]: unknown };
}

export interface Posted {
  ts: string;
  body: { readonly [name: string]: unknown };
}

export class Slack {
  readonly calls: Call[] = [];
  readonly whispers: string[] = [];
  readonly messages: Posted[] = [];
  /** The next answers are these words of refusal. */
  readonly refusals: string[] = [];
  #server: Server | null = null;
  base = '';

  async start(): Promise<void> {
    const server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (d: Buffer) => parts.push(d));
      request.on('end', () => {
        const text = Buffer.concat(parts).toString();
        const path = request.url ?? '';
        if (path.startsWith('/response/')) {
          this.whispers.push(String(JSON.parse(text).text));
          response.writeHead(200).end('ok');
          return;
        }
        if (this.refusals[0] === 'ratelimited') {
          this.refusals.shift();
          response
            .writeHead(429, { 'retry-after': '60' })
            .end('{"ok":false,"error":"ratelimited"}');
          return;
        }
        const answer = this.#answer(path.slice('/api/'.length), text, request.headers);
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify(answer));
      });
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server?.closeAllConnections();
    this.#server?.close();
  }

  get settings() {
    return {
      signing_secret: SIGNING,
      bot_token: TOKEN,
      team: TEAM,
      conversation: CONVERSATION,
      api: `${this.base}/api`,
      private: true,
    };
  }

  #answer(method: string, text: string, headers: { authorization?: string | undefined }) {
    const refusal = this.refusals.shift();
    if (refusal !== undefined) return { ok: false, error: refusal };
    if (headers.authorization !== `Bearer ${TOKEN}`) return { ok: false, error: 'invalid_auth' };
    const body = JSON.parse(text) as Call['body'];
    const fault = faultIn(body);
    if (fault !== null) return { ok: false, error: fault };
    this.calls.push({ method, body });
    if (method === 'views.open') return { ok: true, view: { id: 'V1' } };
    if (method === 'chat.postMessage') {
      const ts = `${this.messages.length + 1}.000100`;
      this.messages.push({ ts, body });
      return { ok: true, channel: body.channel, ts };
    }
    const there = this.messages.find((m) => m.ts === body.ts);
    if (method !== 'chat.update' || !there) return { ok: false, error: 'message_not_found' };
    there.body = body;
    return { ok: true, channel: body.channel, ts: body.ts };
  }
}

/** Block Kit's documented limits. */
function faultIn(body: { readonly [name: string]: unknown }): string | null {
  const view = body.view as { title: { text: string }; private_metadata: string } | undefined;
  if (view && (view.title.text.length > 24 || view.private_metadata.length > 3000)) {
    return 'invalid_arguments';
  }
  const blocks = (view ? (view as { blocks?: unknown }).blocks : body.blocks) as unknown[];
  if (!Array.isArray(blocks) || blocks.length > 50) return 'invalid_blocks';
  if (JSON.stringify(blocks).length > 13_000) return 'msg_blocks_too_long';
  for (const o of objectsIn(blocks)) {
    const text = o.text as { type?: string; text?: string } | string | undefined;
    const words = typeof text === 'object' ? (text.text ?? '') : (text ?? '');
    if (words.length > (LIMITS[String(o.type)] ?? 3000)) return 'invalid_blocks';
    if (o.type === 'text' && words === '') return 'invalid_blocks';
    if (String(o.value ?? '').length > 2000 || String(o.url ?? '').length > 3000) {
      return 'invalid_blocks';
    }
  }
  return null;
}

const LIMITS: { readonly [type: string]: number } = { header: 150, button: 75 };

export function objectsIn(value: unknown): readonly { readonly [name: string]: unknown }[] {
  if (Array.isArray(value)) return value.flatMap(objectsIn);
  if (typeof value !== 'object' || value === null) return [];
  return [value as { [name: string]: unknown }, ...Object.values(value).flatMap(objectsIn)];
}

/** What Slack would send for a press of one of a message's buttons. */
export function pressOf(slack: Slack, user: string, action: string, value: string, team = TEAM) {
  return {
    type: 'block_actions',
    user: { id: user, team_id: team },
    team: { id: team },
    trigger_id: `trigger.${randomUUID()}`,
    response_url: `${slack.base}/response/${randomUUID()}`,
    actions: [{ action_id: action, value }],
  };
}

export function submissionOf(user: string, metadata: string, reason: string | null) {
  return {
    type: 'view_submission',
    user: { id: user, team_id: TEAM },
    team: { id: TEAM },
    view: {
      callback_id: 'deny',
      private_metadata: metadata,
      state: { values: { reason: { reason: { type: 'plain_text_input', value: reason } } } },
    },
  };
}

export interface Signing {
  readonly secret?: string;
  readonly at?: number;
  /** Sent instead of what was signed. */
  readonly altered?: string;
}

/** As Slack posts it: a form whose bytes are signed. */
export function signedBySlack(payload: unknown, how: Signing = {}): RequestInit {
  const body = new URLSearchParams({ payload: JSON.stringify(payload) }).toString();
  const time = String(Math.floor((how.at ?? Date.now()) / 1000));
  const hmac = createHmac('sha256', how.secret ?? SIGNING);
  return {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      'x-slack-request-timestamp': time,
      'x-slack-signature': `v0=${hmac.update(`v0:${time}:${body}`).digest('hex')}`,
    },
    body: how.altered ?? body,
  };
}
