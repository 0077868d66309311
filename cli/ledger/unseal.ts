// `holdpoint ledger sealing-key | unseal`: the key that a target's literals are sealed to, and what
// it opens.
// Invariant: the private key is used here and nowhere else; what it opens is printed and not kept.
import { readFileSync, writeFileSync } from 'node:fs';
import { compactDecrypt, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose';
import type { SealedStatement } from '../../proxy/record/seal.ts';
import { bodyAndEntry, type SourceOptions } from './source.ts';

/** Writes the private key to a new file and prints the public one, for a target's `seal_to`. */
export async function sealingKeyCommand(options: { readonly out: string }): Promise<void> {
  const { privateKey, publicKey } = await generateKeyPair('ECDH-ES', {
    crv: 'X25519',
    extractable: true,
  });
  const file = `${JSON.stringify(await exportJWK(privateKey))}\n`;
  writeFileSync(options.out, file, { mode: 0o600, flag: 'wx' });
  console.log(JSON.stringify(await exportJWK(publicKey)));
}

function readKey(file: string): JWK {
  const key = JSON.parse(readFileSync(file, 'utf8')) as JWK;
  if (key.d === undefined) throw new Error(`${file} holds no private key: it can't open anything`);
  return key;
}

export async function unsealCommand(
  index: string,
  options: SourceOptions & { readonly keyFile: string },
): Promise<void> {
  const { entry, body } = await bodyAndEntry(options, Number(index));
  if (entry.kind !== 'decision' || entry.statement.literals !== 'sealed' || body === null)
    throw new Error(`entry ${index} has nothing sealed`);
  const jwk = readKey(options.keyFile);
  const key = await importJWK(jwk, jwk.kty === 'RSA' ? 'RSA-OAEP-256' : 'ECDH-ES');
  let plaintext: Uint8Array;
  try {
    ({ plaintext } = await compactDecrypt(body, key));
  } catch {
    throw new Error(
      `${options.keyFile} does not open entry ${index}: it was sealed to another key`,
    );
  }
  const opened = JSON.parse(Buffer.from(plaintext).toString()) as SealedStatement;
  if (opened.operation !== entry.operation)
    throw new Error(`what is sealed beside entry ${index} is of another operation`);
  const { operation, parameters, stated, reason } = opened;
  const statement = Buffer.from(opened.statement, 'base64').toString();
  console.log(JSON.stringify({ operation, statement, parameters, stated, reason }, null, 2));
}
