// Is this request from whom it says? Slack's v0 signature, Teams' HMAC, Standard Webhooks.
// Invariant: the exact bytes are what is checked, in constant time, and an old one is no one's.
import {
  createHash,
  createHmac,
  createPublicKey,
  timingSafeEqual,
  verify as verifyKey,
} from 'node:crypto';
import { INBOUND_SKEW_MS } from '../limits.ts';

export type Headers = { readonly [name: string]: string | readonly string[] | undefined };

/** null when it is good, else why not; `mark` is what a second one of the same would have. */
export type Verified =
  | { readonly ok: true; readonly mark: string }
  | { readonly ok: false; readonly why: string };

const no = (why: string): Verified => ({ ok: false, why });

/** `v0=` and the hex HMAC-SHA256 of `v0:timestamp:body`. */
export function fromSlack(secret: string, headers: Headers, body: Buffer, now: number): Verified {
  const time = headers['x-slack-request-timestamp'];
  const given = headers['x-slack-signature'];
  if (typeof time !== 'string' || typeof given !== 'string') return no('it is not signed');
  if (!fresh(time, now)) return no('it is too old, or a clock is wrong');
  const hmac = createHmac('sha256', secret).update(`v0:${time}:`).update(body).digest('hex');
  return same(given, `v0=${hmac}`) ? { ok: true, mark: given } : no('its signature does not fit');
}

/**
 * `HMAC ` and the base64 HMAC-SHA256 of the body, with the security token that Teams gave. The time
 * is the message's own, within what is signed.
 */
export function fromTeams(
  token: string,
  headers: Headers,
  body: Buffer,
  message: { readonly timestamp: string; readonly id: string } | null,
  now: number,
): Verified {
  const given = headers.authorization;
  if (typeof given !== 'string' || !given.startsWith('HMAC ')) return no('it is not signed');
  const key = Buffer.from(token, 'base64');
  const hmac = createHmac('sha256', key).update(body).digest('base64');
  if (!same(given.slice('HMAC '.length), hmac)) return no('its signature does not fit');
  if (!message) return no('it is no message of Teams');
  if (!near(Date.parse(message.timestamp), now)) return no('it is too old, or a clock is wrong');
  return { ok: true, mark: message.id };
}

/** Standard Webhooks: `v1` with a shared secret (`whsec_…`), `v1a` with a public key (`whpk_…`). */
export function fromStandard(
  secrets: readonly string[],
  headers: Headers,
  body: Buffer,
  now: number,
): Verified {
  const id = headers['webhook-id'];
  const time = headers['webhook-timestamp'];
  const given = headers['webhook-signature'];
  if (typeof id !== 'string' || !/^[\x21-\x7e]{1,200}$/.test(id)) return no('it has no id');
  if (typeof time !== 'string' || typeof given !== 'string') return no('it is not signed');
  if (!fresh(time, now)) return no('it is too old, or a clock is wrong');
  const signed = Buffer.concat([Buffer.from(`${id}.${time}.`), body]);
  const parts = given.split(' ').slice(0, 10);
  const good = secrets.some((secret) => parts.some((part) => fits(secret, signed, part)));
  return good ? { ok: true, mark: id } : no('its signature does not fit');
}

function fits(secret: string, signed: Buffer, part: string): boolean {
  const [version, signature = ''] = part.split(',', 2);
  if (secret.startsWith('whpk_')) {
    if (version !== 'v1a') return false;
    const x = Buffer.from(secret.slice('whpk_'.length), 'base64').toString('base64url');
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    return verifyKey(null, signed, key, Buffer.from(signature, 'base64'));
  }
  if (version !== 'v1') return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  return same(signature, createHmac('sha256', key).update(signed).digest('base64'));
}

function fresh(seconds: string, now: number): boolean {
  return /^\d{1,12}$/.test(seconds) && near(Number(seconds) * 1000, now);
}

function near(time: number, now: number): boolean {
  return Math.abs(time - now) <= INBOUND_SKEW_MS;
}

/** Neither length nor place of a difference shows in the time this takes. */
function same(given: string, wanted: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(wanted));
}
