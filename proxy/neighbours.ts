// The settings of what the proxy works with: bus, approver and ledger, here or elsewhere.
// Invariant: as in config.ts, whose part this is; every key is documented on its type.
import { resolve } from 'node:path';
import type { Entry } from '../ledger/contract.ts';
import type { Address } from './config.ts';
import { type Place, pem, type Secret, secret } from './secret.ts';
import type { Settings } from './settings.ts';

export type BusConfig =
  /** In process: proxy and approver run in the same process. */
  | { readonly kind: 'memory' }
  /** NATS with JetStream. `credentials`: a .creds file. */
  | {
      readonly kind: 'nats';
      readonly servers: readonly string[];
      readonly credentials: string | null;
      readonly token: Secret;
    };

/** PEM texts of a certificate and its key; the settings name the files. */
export interface ServiceTls {
  readonly cert: string;
  readonly key: string;
}

/** Sign-in by an OpenID Connect provider. Signing itself stays with the person's own key. */
export interface OidcConfig {
  readonly issuer: string;
  readonly client_id: string;
  readonly client_secret: Secret;
  /** The claim that lists the person's groups there. */
  readonly groups_claim: string;
  /** Their group's name to our groups, and to our roles. */
  readonly groups: { readonly [theirs: string]: readonly string[] };
  readonly roles: { readonly [theirs: string]: readonly ('signer' | 'operator' | 'auditor')[] };
  /** People that are not here yet are added when they sign in and the maps give them something. */
  readonly create: boolean;
}

export interface ApproverConfig {
  readonly listen: Address;
  /** null: plain HTTP, for this machine or behind something that ends TLS. */
  readonly tls: ServiceTls | null;
  /** The address people reach it by, for links in notices. Passkeys belong to its host name. */
  readonly url: string;
  /** Where a proxy that runs apart gets the approver's public keys. */
  readonly keys_url: string;
  /** Address (`postgres://…`) of its store, a secret since it holds a password. None: SQLite. */
  readonly store: Secret;
  /** The ledger's public key, with which the page checks proofs. null: that of our own ledger. */
  readonly ledger_key: string | null;
  readonly oidc: OidcConfig | null;
  /** A YAML file of duty schedules and escalations, read again when it changes. */
  readonly routing: string | null;
  /**
   * For proxies: a file of signers with their public keys (`holdpoint signer export` writes one).
   * With it, only those keys approve, whatever the approver says. null: the approver's word counts.
   */
  readonly signers: string | null;
  /** Webhooks may go to private addresses and over plain HTTP. */
  readonly private_webhooks: boolean;
  /** Reverse proxies (addresses, networks) whose `X-Forwarded-For` is believed. */
  readonly trust_proxy: readonly string[];
}

/** Somebody who reaches the ledger over HTTP, known by a token or a client certificate. */
export interface LedgerClient {
  readonly name: string;
  /** At least 16 characters, brought as a bearer token. */
  readonly token: Secret;
  /** SHA-256 fingerprint (hex) of the certificate it shows. */
  readonly certificate: string | null;
  /** `retain`: run retention, set and release legal holds. */
  readonly may: readonly ('append' | 'read' | 'metrics' | 'retain')[];
  /** Kinds of entries it may write, of those that its service writes; null is all of those. */
  readonly kinds: readonly Entry['kind'][] | null;
  /**
   * What its entries may have as `by`: a name, or the start of one where it ends in `/`. null: its
   * own name, alone or before a `/`; a proxy writes as `proxy/<instance>`.
   */
  readonly writes_as: readonly string[] | null;
}

/** The ledger in this process: files in `directory`. */
export interface LedgerFiles {
  readonly kind: 'files';
  readonly directory: string;
  /** The log's name in its checkpoints, fixed for its life. */
  readonly origin: string;
  /** null: only this process writes and reads it. */
  readonly listen: Address | null;
  /** TLS where it listens; `client_ca` asks clients for certificates. */
  readonly tls: (ServiceTls & { readonly client_ca: string | null }) | null;
  readonly clients: readonly LedgerClient[];
  /** Checkpoint and tiles are served to everybody. */
  readonly public_log: boolean;
  /** Wait while another process writes these files. */
  readonly standby: boolean;
  /** Who co-signs checkpoints: submission prefix and vkey. */
  readonly witnesses: readonly { readonly url: string; readonly key: string }[];
  /**
   * What is removed and when: days by class of effect, else by kind of entry, else `default`; none
   * below `floor_days`, by default 183. `archive`: a directory for copies. null: all is kept.
   */
  readonly retention: {
    readonly policy: {
      readonly days: { readonly [classOrKind: string]: number };
      readonly floor_days: number | undefined;
    };
    readonly every_ms: number;
    readonly archive: string | null;
  } | null;
}

export type LedgerConfig =
  | LedgerFiles
  /** Another process's ledger, and its standby. */
  | {
      readonly kind: 'http';
      readonly urls: readonly string[];
      readonly token: Secret;
      /** PEM texts: whom to trust, and our own certificate and key for mutual TLS. */
      readonly tls: {
        readonly ca: string | null;
        readonly cert: string | null;
        readonly key: string | null;
      };
    };

export function buildBus(from: Settings['bus'], base: string, place: Place): BusConfig {
  if (from.kind === 'memory') return from;
  const { credentials } = from;
  return {
    ...from,
    credentials: credentials === null ? null : resolve(base, credentials),
    token: secret(from.token, base, () => place(['bus', 'token'])),
  };
}

export function buildApprover(
  from: Settings['approver'],
  base: string,
  place: Place,
): ApproverConfig {
  const at =
    (...keys: string[]) =>
    () =>
      place(['approver', ...keys]);
  const url = from.url ?? urlOf(from.listen, from.tls !== null);
  const { oidc } = from;
  return {
    ...from,
    url,
    keys_url: from.keys_url ?? new URL('/.well-known/jwks.json', url).href,
    tls: from.tls && {
      cert: pem(from.tls.cert, base, at('tls', 'cert')),
      key: pem(from.tls.key, base, at('tls', 'key')),
    },
    store: secret(from.store, base, at('store')),
    oidc: oidc && {
      ...oidc,
      client_secret: secret(oidc.client_secret, base, at('oidc', 'client_secret')),
    },
    routing: from.routing === null ? null : resolve(base, from.routing),
    signers: from.signers === null ? null : resolve(base, from.signers),
  };
}

export function buildLedger(
  from: Settings['ledger'],
  where: { readonly base: string; readonly directory: string },
  place: Place,
): LedgerConfig {
  const { base } = where;
  const at =
    (...keys: PropertyKey[]) =>
    () =>
      place(['ledger', ...keys]);
  const read = (file: string | null, key: string): string | null =>
    file === null ? null : pem(file, base, at('tls', key));
  if (from.kind === 'http') {
    const { ca, cert, key } = from.tls;
    const tls = { ca: read(ca, 'ca'), cert: read(cert, 'cert'), key: read(key, 'key') };
    return { ...from, token: secret(from.token, base, at('token')), tls };
  }
  return {
    ...from,
    directory: from.directory === null ? where.directory : resolve(base, from.directory),
    retention: from.retention && {
      ...from.retention,
      archive: from.retention.archive === null ? null : resolve(base, from.retention.archive),
    },
    tls: from.tls && {
      cert: pem(from.tls.cert, base, at('tls', 'cert')),
      key: pem(from.tls.key, base, at('tls', 'key')),
      client_ca: read(from.tls.client_ca, 'client_ca'),
    },
    clients: from.clients.map((client, index) => ({
      ...client,
      token: secret(client.token, base, at('clients', index, 'token')),
    })),
  };
}

function urlOf(address: Address, secure: boolean): string {
  // Passkeys belong to a name: an address would not do.
  const local = ['0.0.0.0', '::', '127.0.0.1', '::1'].includes(address.host);
  const named = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `${secure ? 'https' : 'http'}://${local ? 'localhost' : named}:${address.port}`;
}
