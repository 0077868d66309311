// Webhook secrets: made, sealed for the store, and signing by the Standard Webhooks specification.
// Invariant: a secret lies in the store only sealed with a key derived from the approver's own.
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';

export type SecretKind = 'hmac' | 'ed25519';

/** `whsec_…` for HMAC-SHA256, `whsk_…` (PKCS #8) for Ed25519. */
export function newSecret(kind: SecretKind): string {
  if (kind === 'hmac') return `whsec_${randomBytes(32).toString('base64')}`;
  const { privateKey } = generateKeyPairSync('ed25519');
  const der = privateKey.export({ type: 'pkcs8', format: 'der' });
  return `whsk_${der.toString('base64')}`;
}

/** What the receiver needs: the secret itself for HMAC, the public key (`whpk_…`) for Ed25519. */
export function receiverKey(secret: string): string {
  if (!secret.startsWith('whsk_')) return secret;
  const { x } = createPublicKey(privateKey(secret)).export({ format: 'jwk' });
  return `whpk_${Buffer.from(x ?? '', 'base64url').toString('base64')}`;
}

/** The `webhook-signature` header: one signature for each secret in force. */
export function signatures(
  secrets: readonly string[],
  id: string,
  timestamp: number,
  body: string,
): string {
  const signed = Buffer.from(`${id}.${timestamp}.${body}`);
  return secrets
    .map((secret) => {
      if (secret.startsWith('whsk_')) {
        return `v1a,${sign(null, signed, privateKey(secret)).toString('base64')}`;
      }
      const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
      return `v1,${createHmac('sha256', key).update(signed).digest('base64')}`;
    })
    .join(' ');
}

function privateKey(secret: string): KeyObject {
  const der = Buffer.from(secret.slice('whsk_'.length), 'base64');
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
}

/** Seals and opens what the store keeps. */
export class Sealer {
  readonly #key: Buffer;

  constructor(approverKey: KeyObject) {
    const der = approverKey.export({ type: 'pkcs8', format: 'der' });
    this.#key = Buffer.from(hkdfSync('sha256', der, '', 'holdpoint webhook secrets', 32));
  }

  seal(text: string, about: string): string {
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce);
    cipher.setAAD(Buffer.from(about));
    const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), body]).toString('base64');
  }

  open(sealed: string, about: string): string {
    const bytes = Buffer.from(sealed, 'base64');
    const cipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, 12));
    cipher.setAAD(Buffer.from(about));
    cipher.setAuthTag(bytes.subarray(12, 28));
    try {
      return cipher.update(bytes.subarray(28), undefined, 'utf8') + cipher.final('utf8');
    } catch (cause) {
      throw new Error(
        `the secret of ${about} was sealed with another key: rotate it, or restore the key`,
        { cause },
      );
    }
  }
}
