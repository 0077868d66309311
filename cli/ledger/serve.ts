// `holdpoint ledger serve`: the ledger as its own process.
// Invariant: who may do what comes from one file, which holds digests of tokens and never a token.
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { RIGHTS, tokenDigest } from '../../ledger/access.ts';
import { KINDS } from '../../ledger/entry.ts';
import { serveLedger } from '../../ledger/serve.ts';
import { policyFile } from './keep.ts';

const digest = z
  .string()
  .regex(/^[0-9a-fA-F]{64}$/, 'write a SHA-256 as 64 hex digits')
  .nullable();

const accessFile = z.array(
  z.strictObject({
    name: z.string().min(1),
    rights: z.array(z.enum(RIGHTS)).min(1),
    kinds: z
      .array(z.string().refine((kind) => KINDS.some((known) => known === kind), 'no such kind'))
      .nullable()
      .default(null),
    writes_as: z.array(z.string().min(1)).min(1).nullable().default(null),
    token_sha256: digest.default(null),
    certificate_sha256: digest.default(null),
  }),
);

export interface ServeArguments {
  readonly directory: string;
  readonly origin: string;
  readonly listen: string;
  readonly access: string;
  readonly publicLog?: boolean;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly standby?: boolean;
  readonly searchIn?: string;
  readonly retention?: string;
  readonly archive?: string;
  readonly witness: readonly string[];
}

function addressOf(listen: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(listen);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) throw new Error('--listen is HOST:PORT, for example 127.0.0.1:8090');
  return { host, port: Number(match?.[3]) };
}

function witnessOf(given: string): { url: string; key: string } {
  const [url, key] = given.split('=', 2);
  if (url === undefined || key === undefined) throw new Error('--witness is URL=VKEY');
  return { url, key: given.slice(url.length + 1) };
}

export async function serveCommand(options: ServeArguments): Promise<void> {
  const { tlsCert, tlsKey, clientCa } = options;
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new Error('--tls-cert and --tls-key go together');
  }
  const principals = accessFile.parse(JSON.parse(readFileSync(options.access, 'utf8')));
  const warn = (message: string): void => console.error(`holdpoint ledger: ${message}`);
  const serving = await serveLedger({
    directory: options.directory,
    origin: options.origin,
    ...addressOf(options.listen),
    principals: principals.map((principal) => ({
      ...principal,
      kinds:
        principal.kinds === null ? null : KINDS.filter((kind) => principal.kinds?.includes(kind)),
    })),
    publicLog: options.publicLog === true,
    standby: options.standby === true,
    ...(options.searchIn === undefined
      ? {}
      : { searchIn: readFileSync(options.searchIn, 'utf8').trim() }),
    retention:
      options.retention === undefined
        ? null
        : {
            policy: policyFile.parse(JSON.parse(readFileSync(options.retention, 'utf8'))),
            archive: options.archive ?? null,
          },
    witnesses: options.witness.map(witnessOf),
    warn,
    ...(tlsCert === undefined || tlsKey === undefined
      ? {}
      : {
          tls: {
            cert: readFileSync(tlsCert, 'utf8'),
            key: readFileSync(tlsKey, 'utf8'),
            clientCa: clientCa === undefined ? null : readFileSync(clientCa, 'utf8'),
          },
        }),
  });
  const tell = (): void =>
    warn(`active with ${serving.ledger?.size} entries, key ${serving.ledger?.publicKey}`);
  warn(`listening on port ${serving.port}${serving.ledger === null ? ', standby' : ''}`);
  serving.active.then(tell, () => {});
  await new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
  await serving.close();
}

/** The line of an access file for a token that is read from standard input and shown nowhere. */
export function digestCommand(): void {
  console.log(tokenDigest(readFileSync(0, 'utf8').trim()));
}
