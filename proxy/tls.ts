// The certificate shown to agents: the operator's, or one made here for the embedded default.
// Invariant: a private key is readable by its owner alone, and a certificate is never replaced
// while it is good.
import { X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { ListenerTls } from './config.ts';
import { UserError } from './errors.ts';

/** Fit for createSecureContext. */
export interface ServerTls {
  readonly cert: string;
  readonly key: string;
  readonly minVersion: 'TLSv1.2';
  /** The file to give as sslrootcert; null when a certificate was configured. */
  readonly self_signed: string | null;
}

const DAY_MS = 86_400_000;

/** null when TLS is off. */
export async function openTls(tls: ListenerTls, state: string): Promise<ServerTls | null> {
  if (tls.mode === 'off') return null;
  if (tls.cert !== null && tls.key !== null) {
    return { ...pairOf(tls.cert, tls.key), self_signed: null };
  }
  const cert = join(state, 'tls', 'server.crt');
  const key = join(state, 'tls', 'server.key');
  if (!isGood(cert) || !existsSync(key)) await makeSelfSigned(join(state, 'tls'), cert, key);
  return { ...pairOf(cert, key), self_signed: cert };
}

/**
 * Reads both and tries them, so that a key of another certificate stops the start and not the first
 * client.
 */
function pairOf(cert: string, key: string): Omit<ServerTls, 'self_signed'> {
  try {
    const minVersion = 'TLSv1.2';
    const pair = {
      cert: readFileSync(cert, 'utf8'),
      key: readFileSync(key, 'utf8'),
      minVersion,
    } as const;
    createSecureContext(pair);
    return pair;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UserError(`can't use the certificate ${cert} with the key ${key}: ${reason}`);
  }
}

function isGood(cert: string): boolean {
  try {
    const end = new X509Certificate(readFileSync(cert)).validToDate;
    return end.getTime() > Date.now() + 30 * DAY_MS;
  } catch {
    return false;
  }
}

async function makeSelfSigned(directory: string, cert: string, key: string): Promise<void> {
  const { generate } = await import('selfsigned');
  const made = await generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() - DAY_MS),
    notAfterDate: new Date(Date.now() + 825 * DAY_MS),
    extensions: [
      { name: 'basicConstraints', cA: true },
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: 'localhost' },
          { type: 7, ip: '127.0.0.1' },
          { type: 7, ip: '::1' },
        ],
      },
    ],
  });
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (const [path, text] of [
    [key, made.private],
    [cert, made.cert],
  ] as const) {
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }
}
