// One webhook request over undici, to public addresses only unless its owner allowed private ones.
// Invariant: the address that was checked is the address that is connected to; no redirect is
// followed.
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { Agent, request } from 'undici';
import { CHAT_ANSWER_BYTES, WEBHOOK_ANSWER_BYTES, WEBHOOK_TIMEOUT_MS } from '../limits.ts';

export interface Sent {
  readonly status: number;
  readonly retryAfterMs: number | null;
}

/** An answer whose words matter. */
export interface Answered extends Sent {
  readonly text: string;
}

/** null when it may be called, else why not. Names are checked again when they are resolved. */
export function checkAddress(url: string, allowPrivate: boolean): string | null {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    return 'it is no URL';
  }
  if (parsed.protocol !== 'https:' && !(allowPrivate && parsed.protocol === 'http:')) {
    return 'it has to be https (http only where private addresses are allowed)';
  }
  if (parsed.username !== '' || parsed.password !== '') return 'it must not hold a password';
  const host = parsed.hostname.replace(/^\[|\]$/g, '');
  if (isIP(host) !== 0 && !allowPrivate && !isPublic(host)) return `${host} is a private address`;
  return null;
}

export function isPublic(address: string): boolean {
  try {
    return ipaddr.process(address).range() === 'unicast';
  } catch {
    return false;
  }
}

type Resolved = { address: string; family: number };
type LookupCallback = (error: Error | null, addresses: readonly Resolved[]) => void;
type Resolve = (hostname: string) => Promise<readonly Resolved[]>;

/**
 * A name is resolved once for a connection, and what was checked is what is connected to: a name
 * that answers differently the next time gains nothing.
 */
export function guarded(allowPrivate: boolean, resolve: Resolve) {
  return (hostname: string, _options: unknown, callback: LookupCallback): void => {
    resolve(hostname).then(
      (all) => {
        const usable = all.filter((a) => allowPrivate || isPublic(a.address));
        if (usable.length > 0) callback(null, usable);
        else callback(new Error(`${hostname} resolves to private addresses only`), []);
      },
      (e: Error) => callback(e, []),
    );
  };
}

function agent(allowPrivate: boolean): Agent {
  return new Agent({
    connections: 4,
    headersTimeout: WEBHOOK_TIMEOUT_MS,
    bodyTimeout: WEBHOOK_TIMEOUT_MS,
    connect: {
      timeout: WEBHOOK_TIMEOUT_MS,
      lookup: guarded(allowPrivate, (name) => lookup(name, { all: true })) as never,
    },
  });
}

export interface Letter {
  readonly url: string;
  readonly allowPrivate: boolean;
  readonly headers: { readonly [name: string]: string };
  readonly body: string;
}

export class Sender {
  readonly #public = agent(false);
  readonly #private = agent(true);

  /** Rejects when nothing was answered; any status is an answer. */
  async send(letter: Letter): Promise<Sent> {
    const answer = await this.#request(letter);
    await answer.body.dump({ limit: WEBHOOK_ANSWER_BYTES }).catch(() => {});
    return { status: answer.statusCode, retryAfterMs: retryAfter(answer.headers['retry-after']) };
  }

  /** The same, for an answer that is read. */
  async ask(letter: Letter): Promise<Answered> {
    const answer = await this.#request(letter);
    const parts: Buffer[] = [];
    let size = 0;
    for await (const part of answer.body) {
      size += (part as Buffer).length;
      if (size > CHAT_ANSWER_BYTES)
        throw new Error(`the answer is over ${CHAT_ANSWER_BYTES} bytes`);
      parts.push(part as Buffer);
    }
    return {
      status: answer.statusCode,
      retryAfterMs: retryAfter(answer.headers['retry-after']),
      text: Buffer.concat(parts).toString('utf8'),
    };
  }

  async #request({ url, allowPrivate, headers, body }: Letter) {
    const why = checkAddress(url, allowPrivate);
    if (why !== null) throw new Error(`not sent: ${why}`);
    return await request(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'user-agent': 'Holdpoint', ...headers },
      body,
      dispatcher: allowPrivate ? this.#private : this.#public,
      signal: AbortSignal.timeout(WEBHOOK_TIMEOUT_MS),
    });
  }

  async close(): Promise<void> {
    await Promise.all([this.#public.destroy(), this.#private.destroy()]);
  }
}

function retryAfter(header: string | string[] | undefined): number | null {
  const text = Array.isArray(header) ? header[0] : header;
  if (text === undefined) return null;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : Math.max(0, at - Date.now());
}
