// Who may do what at the ledger's door: bearer tokens or client certificates, append and read
// apart.
// Invariant: tokens are known by their SHA-256 only and compared in constant time; who is not known
// may do nothing.
import { hash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { EntryKind } from './entry.ts';
import { LedgerError } from './errors.ts';

/** `retain`: run retention, set and release legal holds. */
export const RIGHTS = ['append', 'read', 'metrics', 'retain'] as const;
export type Right = (typeof RIGHTS)[number];

export interface Principal {
  readonly name: string;
  readonly rights: readonly Right[];
  /**
   * Kinds of entries it may write; null for all. A proxy should not write signatures, nor an
   * approver decisions.
   */
  readonly kinds: readonly EntryKind[] | null;
  /**
   * What its entries may have as `by`: a name, or the start of one where it ends in `/`. null: its
   * own name, alone or before a `/`.
   */
  readonly writes_as: readonly string[] | null;
  /** SHA-256 (hex) of its bearer token; null when it has none. */
  readonly token_sha256: string | null;
  /** SHA-256 fingerprint (hex, no colons) of its client certificate; null when it has none. */
  readonly certificate_sha256: string | null;
}

export function tokenDigest(token: string): string {
  return hash('sha256', token, 'hex');
}

function equal(a: string, b: string): boolean {
  const x = Buffer.from(a, 'hex');
  const y = Buffer.from(b, 'hex');
  return x.length === 32 && x.length === y.length && timingSafeEqual(x, y);
}

export class Access {
  readonly #principals: readonly Principal[];

  constructor(principals: readonly Principal[]) {
    this.#principals = principals;
  }

  /** The principal of a request, with the right; throws `unauthorized` or `forbidden`. */
  demand(request: IncomingMessage, right: Right): Principal {
    const principal = this.#byToken(request) ?? this.#byCertificate(request);
    if (principal === undefined) {
      throw new LedgerError(
        'unauthorized',
        'A known bearer token or client certificate is needed.',
      );
    }
    if (!principal.rights.includes(right)) {
      throw new LedgerError('forbidden', `${principal.name} may not ${right} here.`);
    }
    return principal;
  }

  #byToken(request: IncomingMessage): Principal | undefined {
    const token = /^Bearer ([\x21-\x7e]{16,512})$/i.exec(request.headers.authorization ?? '')?.[1];
    if (token === undefined) return undefined;
    const digest = tokenDigest(token);
    return this.#principals.find((p) => p.token_sha256 !== null && equal(p.token_sha256, digest));
  }

  #byCertificate(request: IncomingMessage): Principal | undefined {
    const socket = request.socket;
    if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
    const fingerprint = socket
      .getPeerCertificate()
      .fingerprint256?.replaceAll(':', '')
      .toLowerCase();
    if (fingerprint === undefined) return undefined;
    return this.#principals.find(
      (p) =>
        p.certificate_sha256 !== null && equal(p.certificate_sha256.toLowerCase(), fingerprint),
    );
  }
}
