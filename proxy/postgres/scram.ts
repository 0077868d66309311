// SCRAM-SHA-256 and -PLUS, the server's side (RFC 5802, RFC 7677), worded and stored as PostgreSQL
// does.
// Invariant: an unknown name takes the same steps, time and shape of answer as a wrong password.
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';
import saslprep from 'saslprep';
import { LIMITS } from '../limits.ts';

/** What is stored of a password: enough to check a proof, not enough to make one. */
export interface Verifier {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly stored_key: Buffer;
  readonly server_key: Buffer;
}

export const SCRAM = 'SCRAM-SHA-256';
export const SCRAM_PLUS = 'SCRAM-SHA-256-PLUS';

const KEY_BYTES = 32;
const KEY = '([A-Za-z0-9+/]{43}=)';
const VERIFIER = new RegExp(
  `^SCRAM-SHA-256\\$([1-9][0-9]{0,9}):([A-Za-z0-9+/]+={0,2})\\$${KEY}:${KEY}$`,
);

/**
 * Messages travel through this file as latin1 strings, one character a byte, so that a proof covers
 * what was sent.
 */
function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'latin1').digest();
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

/** RFC 4013 where the text allows it; else the bytes as they are, which is what PostgreSQL does. */
export function prepare(password: string): string {
  try {
    return saslprep(password) || password;
  } catch {
    return password;
  }
}

/** `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, as in pg_authid.rolpassword. */
export function makeVerifier(
  password: string,
  salt: Buffer = randomBytes(LIMITS.scram_salt_bytes),
  iterations: number = LIMITS.scram_iterations,
): string {
  const salted = pbkdf2Sync(prepare(password), salt, iterations, KEY_BYTES, 'sha256');
  const stored = sha256(hmac(salted, 'Client Key'));
  const server = hmac(salted, 'Server Key');
  const keys = `${stored.toString('base64')}:${server.toString('base64')}`;
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${keys}`;
}

/** null when the text is not a verifier that PostgreSQL would accept. */
export function parseVerifier(text: string): Verifier | null {
  const [, iterations, salt, stored, server] = VERIFIER.exec(text) ?? [];
  if (!iterations || !salt || !stored || !server) return null;
  if (Number(iterations) > LIMITS.scram_iterations_max) return null;
  return {
    iterations: Number(iterations),
    salt: Buffer.from(salt, 'base64'),
    stored_key: Buffer.from(stored, 'base64'),
    server_key: Buffer.from(server, 'base64'),
  };
}

/**
 * For names that don't exist: a salt that is always the same for the same name, and keys nobody can
 * meet.
 */
export function mockVerifier(name: string, secret: Buffer): Verifier {
  return {
    iterations: LIMITS.scram_iterations,
    salt: createHmac('sha256', secret)
      .update(`salt ${name}`)
      .digest()
      .subarray(0, LIMITS.scram_salt_bytes),
    stored_key: randomBytes(KEY_BYTES),
    server_key: randomBytes(KEY_BYTES),
  };
}

/**
 * A step failed. `wrong` is what a person would call a wrong password; anything else is a broken or
 * tampered exchange.
 */
export interface ScramFailure {
  readonly ok: false;
  readonly sqlstate: '08P01' | '0A000' | '28000' | '28P01';
  readonly message: string;
  readonly detail: string | null;
}

function broken(detail: string, sqlstate: ScramFailure['sqlstate'] = '08P01'): ScramFailure {
  return { ok: false, sqlstate, message: 'malformed SCRAM message', detail };
}

const WRONG: ScramFailure = { ok: false, sqlstate: '28P01', message: '', detail: null };

export interface ServerFirst {
  readonly ok: true;
  /** server-first-message, to be sent. */
  readonly message: string;
  readonly nonce: string;
  readonly gs2: string;
  readonly client_first_bare: string;
}

/** What TLS lets us bind to: the hash of our certificate, or null on a plain socket. */
export type ChannelBinding = Buffer | null;

const PRINTABLE = /^[\x21-\x2b\x2d-\x7e]+$/;

/** Reads client-first-message and answers with server-first-message. */
export function serverFirst(
  mechanism: string,
  message: string,
  verifier: Verifier,
  binding: ChannelBinding,
  nonce: string = randomBytes(LIMITS.scram_nonce_bytes).toString('base64'),
): ServerFirst | ScramFailure {
  const parts = /^(([npy])(?:=([^,]*))?,([^,]*),)(.*)$/s.exec(message);
  const [, gs2, flag, name, authzid, bare] = parts ?? [];
  if (gs2 === undefined || flag === undefined || bare === undefined) {
    return broken('Unexpected channel-binding flag or missing field in client-first-message.');
  }
  const refused = checkFlag(mechanism, flag, name, binding);
  if (refused) return refused;
  if (authzid !== '') {
    const message = 'client uses authorization identity, but it is not supported';
    return { ok: false, sqlstate: '0A000', message, detail: null };
  }
  if (bare.startsWith('m=')) {
    const message = 'client requires an unsupported SCRAM extension';
    return { ok: false, sqlstate: '0A000', message, detail: null };
  }
  // The name in n= is ignored as PostgreSQL does: the one in the startup packet counts.
  const clientNonce = /^n=[^,]*,r=([^,]*)(?:,|$)/.exec(bare)?.[1];
  if (clientNonce === undefined) return broken('Attribute "n" or "r" is missing.');
  if (!PRINTABLE.test(clientNonce)) return broken('non-printable characters in SCRAM nonce');
  const both = clientNonce + nonce;
  return {
    ok: true,
    message: `r=${both},s=${verifier.salt.toString('base64')},i=${verifier.iterations}`,
    nonce: both,
    gs2,
    client_first_bare: bare,
  };
}

/**
 * The gs2 flag must fit the mechanism and the socket: `y` where we do offer channel binding is a
 * downgrade attempt.
 */
function checkFlag(
  mechanism: string,
  flag: string,
  name: string | undefined,
  binding: ChannelBinding,
): ScramFailure | null {
  if (mechanism === SCRAM_PLUS) {
    if (binding === null) return broken('Channel binding is not possible on this connection.');
    if (flag !== 'p') {
      return broken('The client selected SCRAM-SHA-256-PLUS without channel binding data.');
    }
    if (name === 'tls-server-end-point') return null;
    const message = `unsupported SCRAM channel-binding type "${clean(name ?? '')}"`;
    return { ok: false, sqlstate: '08P01', message, detail: null };
  }
  if (flag === 'p') {
    return broken('The client selected SCRAM-SHA-256 but included channel binding data.');
  }
  if (name !== undefined) return broken('Comma expected after the channel-binding flag.');
  if (flag === 'y' && binding !== null) {
    return {
      ok: false,
      sqlstate: '28000',
      message: 'SCRAM channel binding negotiation error',
      detail:
        'The client supports SCRAM channel binding but thinks the server does not.  ' +
        'However, this server does support channel binding.',
    };
  }
  return null;
}

export interface ServerFinal {
  readonly ok: true;
  /** server-final-message, to be sent: it proves to the client that we know the verifier. */
  readonly message: string;
}

/** Checks client-final-message. The proof is compared in constant time, for unknown names too. */
export function serverFinal(
  first: ServerFirst,
  message: string,
  verifier: Verifier,
  binding: ChannelBinding,
): ServerFinal | ScramFailure {
  const [, bare, bound, nonce, proofText] =
    /^(c=([^,]*),r=([^,]*)(?:,[^,]*)*),p=([A-Za-z0-9+/]{43}=)$/s.exec(message) ?? [];
  if (bare === undefined || proofText === undefined) {
    return broken('Malformed proof or missing field in client-final-message.');
  }
  if (nonce !== first.nonce) return broken('Nonce does not match.');
  const data = first.gs2.startsWith('p') && binding ? binding : Buffer.alloc(0);
  const expected = Buffer.concat([Buffer.from(first.gs2), data]).toString('base64');
  if (bound !== expected) {
    const message = first.gs2.startsWith('p')
      ? 'SCRAM channel binding check failed'
      : 'unexpected SCRAM channel-binding attribute in client-final-message';
    return {
      ok: false,
      sqlstate: first.gs2.startsWith('p') ? '28000' : '08P01',
      message,
      detail: null,
    };
  }
  const authMessage = `${first.client_first_bare},${first.message},${bare}`;
  const signature = hmac(verifier.stored_key, authMessage);
  const proof = Buffer.from(proofText, 'base64');
  const clientKey = Buffer.alloc(KEY_BYTES);
  for (let i = 0; i < KEY_BYTES; i++) clientKey[i] = (proof[i] ?? 0) ^ (signature[i] ?? 0);
  if (!timingSafeEqual(sha256(clientKey), verifier.stored_key)) return WRONG;
  return { ok: true, message: `v=${hmac(verifier.server_key, authMessage).toString('base64')}` };
}

/** A peer's text, made fit for a message. */
function clean(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 64);
}
