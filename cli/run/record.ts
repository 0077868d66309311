// The ledger as `holdpoint start` opens it: in this process, served to others, or another
// process's.
// Invariant: the files of a log are opened by one process; who comes over HTTP has a token or a
// certificate.
import type { LedgerWriter } from '../../ledger/contract.ts';
import type { Ledger } from '../../ledger/ledger.ts';
import type { Address, Config } from '../../proxy/config.ts';
import { UserError } from '../../proxy/errors.ts';
import type { LedgerClient, LedgerFiles } from '../../proxy/neighbours.ts';
import { problem, step } from './told.ts';

const TOKEN_LEAST = 16;
const warn = (message: string): void => problem('ledger', message);

/** The ledger in this process, served to others where it listens. */
export async function openLedgerHere(
  config: Config,
  stack: AsyncDisposableStack,
  leaving: AbortSignal,
): Promise<Ledger> {
  const { ledger: from } = config;
  if (from.kind !== 'files') {
    const message = 'ledger.kind: only `files` can be written by this process';
    throw new UserError(`${config.file}: ${message}`);
  }
  if (from.listen !== null) return serve(from, from.listen, stack, leaving);
  const { directory, origin } = from;
  const { openLedger } = await import('../../ledger/ledger.ts');
  const ledger = await step('open the ledger', () => openLedger({ directory, origin, warn }));
  stack.defer(() => ledger.close());
  const { Keeper } = await import('../../ledger/keeper.ts');
  const keeper = await step('keep the ledger', async () => {
    return new Keeper(ledger, { retention: from.retention, metrics: null, warn });
  });
  stack.defer(() => keeper.close());
  return ledger;
}

async function serve(
  from: LedgerFiles,
  listen: Address,
  stack: AsyncDisposableStack,
  leaving: AbortSignal,
): Promise<Ledger> {
  const { directory, origin, standby, witnesses, tls } = from;
  const { serveLedger } = await import('../../ledger/serve.ts');
  const principals = await Promise.all(from.clients.map(principalOf));
  const serving = await step(`serve the ledger on ${listen.host}:${listen.port}`, () =>
    serveLedger({
      directory,
      origin,
      ...listen,
      principals,
      standby,
      witnesses,
      retention: from.retention,
      publicLog: from.public_log,
      ...(tls === null ? {} : { tls: { cert: tls.cert, key: tls.key, clientCa: tls.client_ca } }),
      warn,
    }),
  );
  stack.defer(() => serving.close());
  if (standby) process.stdout.write(`ledger stands by on port ${serving.port}\n`);
  await Promise.race([serving.active, aborted(leaving)]);
  if (!serving.ledger) throw new UserError('the ledger was closed before it was active');
  return serving.ledger;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function principalOf(client: LedgerClient) {
  const { tokenDigest } = await import('../../ledger/access.ts');
  const token = client.token();
  if (token !== undefined && token.length < TOKEN_LEAST) {
    const message = `the token of ${client.name} has fewer than ${TOKEN_LEAST} characters`;
    throw new UserError(`ledger.clients: ${message}`);
  }
  return {
    name: client.name,
    rights: client.may,
    kinds: client.kinds,
    writes_as: client.writes_as,
    token_sha256: token === undefined ? null : tokenDigest(token),
    certificate_sha256: client.certificate,
  };
}

/** Another process's ledger. */
export async function openRecord(
  config: Config,
  stack: AsyncDisposableStack,
): Promise<LedgerWriter> {
  const { ledger: from } = config;
  if (from.kind !== 'http') throw new UserError(`${config.file}: ledger.kind: http is wanted here`);
  const { RemoteLedger } = await import('../../ledger/client.ts');
  const token = from.token();
  const { ca, cert, key } = from.tls;
  const tls = {
    ...(ca === null ? {} : { ca }),
    ...(cert === null ? {} : { cert }),
    ...(key === null ? {} : { key }),
  };
  const ledger = new RemoteLedger({
    urls: from.urls,
    tls,
    ...(token === undefined ? {} : { token }),
  });
  stack.defer(() => ledger.close());
  return ledger;
}
