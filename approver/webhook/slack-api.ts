// Slack's API: messages that stay current, modals, and words for one person alone.
// Invariant: nothing but what an operator configured is called, and an answer that is not `ok` is a
// failure.
import type { OpenSlack } from './integrations.ts';
import type { Sender } from './send.ts';

export class SlackRefused extends Error {
  override name = 'SlackRefused';
  /** Slack's own word: `channel_not_found`, `expired_trigger_id`, … */
  readonly code: string;
  readonly status: number;
  readonly retryAfterMs: number | null;

  constructor(method: string, code: string, status: number, retryAfterMs: number | null) {
    super(`Slack's ${method} answered ${code}`);
    this.code = code;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

interface SlackAnswer {
  readonly ok: boolean;
  readonly error?: string;
  readonly channel?: string;
  readonly ts?: string;
}

export async function callSlack(
  sender: Sender,
  slack: OpenSlack,
  method: 'chat.postMessage' | 'chat.update' | 'views.open',
  body: unknown,
): Promise<SlackAnswer> {
  const { status, retryAfterMs, text } = await sender.ask({
    url: `${slack.api.replace(/\/$/, '')}/${method}`,
    allowPrivate: slack.allowPrivate,
    headers: {
      authorization: `Bearer ${slack.token}`,
      'content-type': 'application/json; charset=utf-8',
    },
    body: JSON.stringify(body),
  });
  const answer = parsed(text);
  if (status === 200 && answer?.ok === true) return answer;
  throw new SlackRefused(method, answer?.error ?? `status ${status}`, status, retryAfterMs);
}

/**
 * Words for whoever clicked alone, by the address that came with the click. Only Slack's own is
 * used: what was signed may still name another.
 */
export async function whisper(
  sender: Sender,
  slack: OpenSlack,
  responseUrl: string,
  text: string,
): Promise<void> {
  if (!isSlacks(slack, responseUrl)) return;
  const message = { response_type: 'ephemeral', replace_original: false, text };
  const body = JSON.stringify(message);
  await sender.send({ url: responseUrl, allowPrivate: slack.allowPrivate, headers: {}, body });
}

function isSlacks(slack: OpenSlack, url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { origin } = new URL(url);
  return origin === 'https://hooks.slack.com' || origin === new URL(slack.api).origin;
}

function parsed(text: string): SlackAnswer | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as SlackAnswer) : null;
  } catch {
    return null;
  }
}
