// One webhook request over undici, to public addresses only unless its owner allowed private ones.
// Invariant: the address that was checked is the address that is connected to; no redirect is
// followed.
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { Agent, request } from 'undici';
import { WEBHOOK_ANSWER_BYTES, WEBHOOK_TIMEOUT_MS } from '../limits.ts';

export interface Sent {
  readonly status: number;
  readonly retryAfterMs: number | null;
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

type LookupCallback = (
  error: Error | null,
  addresses: { address: string; family: number }[],
) => void;

/** Connects only to what passed the check: the resolved addresses are used as they were checked. */
function agent(allowPrivate: boolean): Agent {
  return new Agent({
    connections: 4,
    headersTimeout: WEBHOOK_TIMEOUT_MS,
    bodyTimeout: WEBHOOK_TIMEOUT_MS,
    connect: {
      timeout: WEBHOOK_TIMEOUT_MS,
      lookup: ((hostname: string, _options: unknown, callback: LookupCallback) => {
        lookup(hostname, { all: true }).then(
          (all) => {
            const usable = all.filter((a) => allowPrivate || isPublic(a.address));
            if (usable.length > 0) callback(null, usable);
            else callback(new Error(`${hostname} resolves to private addresses only`), []);
          },
          (e: Error) => callback(e, []),
        );
      }) as never,
    },
  });
}

export class Sender {
  readonly #public = agent(false);
  readonly #private = agent(true);

  /** Rejects when nothing was answered; any status is an answer. */
  async send(
    url: string,
    allowPrivate: boolean,
    headers: { readonly [name: string]: string },
    body: string,
  ): Promise<Sent> {
    const why = checkAddress(url, allowPrivate);
    if (why !== null) throw new Error(`not sent: ${why}`);
    const answer = await request(url, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json', 'user-agent': 'Holdpoint' },
      body,
      dispatcher: allowPrivate ? this.#private : this.#public,
      signal: AbortSignal.timeout(WEBHOOK_TIMEOUT_MS),
    });
    await answer.body.dump({ limit: WEBHOOK_ANSWER_BYTES }).catch(() => {});
    return { status: answer.statusCode, retryAfterMs: retryAfter(answer.headers['retry-after']) };
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
