// TLS with PostgreSQL clients: the server's side on a socket that has already spoken, and what can
// be bound to it.
// Invariant: nothing that came before the handshake is ever taken for something that came through
// it.
import { createHash, X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';

const ALPN = 'postgresql';

/**
 * Serves TLS on `socket`. `direct`: the client began with a ClientHello, so the protocol's name
 * must be agreed by ALPN; otherwise ALPN is optional, and a client that offers only other names is
 * turned away by TLS itself.
 */
export function serveTls(
  socket: Socket,
  context: SecureContext,
  direct: boolean,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const secure = new TLSSocket(socket, {
    isServer: true,
    secureContext: context,
    ALPNProtocols: [ALPN],
  });
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      cleanUp();
      secure.on('error', () => {});
      secure.destroy();
      socket.destroy();
      reject(error);
    };
    const onClose = (): void => fail(new Error('the client left during the TLS handshake'));
    const onAbort = (): void => fail(new Error('the TLS handshake took too long'));
    const onSecure = (): void => {
      if (direct && secure.alpnProtocol !== ALPN) {
        fail(
          new Error(
            'received direct SSL connection request without ALPN protocol negotiation extension',
          ),
        );
        return;
      }
      cleanUp();
      resolve(secure);
    };
    const cleanUp = (): void => {
      secure.off('secure', onSecure);
      secure.off('error', fail);
      secure.off('close', onClose);
      signal.removeEventListener('abort', onAbort);
    };
    secure.on('secure', onSecure);
    secure.on('error', fail);
    secure.on('close', onClose);
    signal.addEventListener('abort', onAbort);
  });
}

/**
 * Hashes of RFC 5929 by signature algorithm; MD5 and SHA-1 count as SHA-256. Others have no agreed
 * one.
 */
const HASHES: readonly (readonly [RegExp, string])[] = [
  [/sha-?512/i, 'sha512'],
  [/sha-?384/i, 'sha384'],
  [/sha-?(?:256|1)\b|md5/i, 'sha256'],
];

/**
 * tls-server-end-point of the certificate we showed; null where none is defined, and then -PLUS is
 * not offered.
 */
export function endPointBinding(secure: TLSSocket): Buffer | null {
  const shown = secure.getCertificate();
  if (shown === null || !('raw' in shown) || !Buffer.isBuffer(shown.raw)) return null;
  const algorithm = new X509Certificate(shown.raw).signatureAlgorithm ?? '';
  if (/pss|ed25519|ed448/i.test(algorithm)) return null;
  const hash = HASHES.find(([pattern]) => pattern.test(algorithm))?.[1];
  return hash === undefined ? null : createHash(hash).update(shown.raw).digest();
}
