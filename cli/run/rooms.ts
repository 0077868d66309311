// The services that `holdpoint start` can run, each opened from the configuration and put on the
// stack to be closed.
// Invariant: a service that could not be opened says which one and why, without a stack trace where
// a person can mend it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Approver } from '../../approver/main.ts';
import type { Store } from '../../approver/store.ts';
import type { Bus } from '../../bus/bus.ts';
import type { LedgerWriter } from '../../ledger/contract.ts';
import type { Ledger } from '../../ledger/ledger.ts';
import type { Config } from '../../proxy/config.ts';
import { UserError } from '../../proxy/errors.ts';
import type { ApproverKeys } from '../../proxy/hold/receipt.ts';
import type { Proxy as Door } from '../../proxy/main.ts';
import type { ServerTls } from '../../proxy/tls.ts';

/**
 * Errors that are somebody's to mend, told by their words; anything else is ours and keeps its
 * stack.
 */
const TOLD = new Set(['LedgerError', 'PolicyRejected', 'ApproverError', 'NoteError']);
const TOLD_CODES = new Set(['EADDRINUSE', 'EACCES', 'EADDRNOTAVAIL', 'ENOENT', 'ENOSPC', 'EROFS']);

export async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Error) || error instanceof UserError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (!TOLD.has(error.name) && !TOLD_CODES.has(code ?? '')) throw error;
    const why =
      code === 'EADDRINUSE'
        ? 'the port is taken; stop what listens there, or choose another ' +
          '(--help, or `listen` in the configuration)'
        : error.message;
    throw new UserError(`can’t ${what}: ${why}`, { cause: error });
  }
}

/**
 * Loads the code of all services while something else is waited for. What fails here fails again in
 * its place.
 */
export function loadAhead(): void {
  const all = [
    import('../../ledger/ledger.ts'),
    import('../../approver/main.ts'),
    import('../../proxy/main.ts'),
  ];
  void Promise.allSettled(all);
}

/** One line to standard error. Callers keep secrets and statements out of it. */
export function problem(where: string, what: unknown): void {
  const said = what instanceof Error ? what.message : String(what);
  process.stderr.write(`${new Date().toISOString()} ${where}: ${said}\n`);
}

/** The ledger in this process, served to others where it listens. */
export async function openLedgerHere(config: Config, stack: AsyncDisposableStack): Promise<Ledger> {
  const { ledger: from } = config;
  if (from.kind !== 'files') {
    throw new UserError(
      `${config.file}: ledger.kind: only \`files\` can be written by this process`,
    );
  }
  const { directory, origin, listen, standby } = from;
  if (listen === null) {
    const { openLedger } = await import('../../ledger/ledger.ts');
    const warn = (message: string): void => problem('ledger', message);
    const ledger = await step('open the ledger', () => openLedger({ directory, origin, warn }));
    stack.defer(() => ledger.close());
    return ledger;
  }
  const [{ serveLedger }, { tokenDigest }] = await Promise.all([
    import('../../ledger/serve.ts'),
    import('../../ledger/access.ts'),
  ]);
  const principals = from.clients.map((client) => ({
    name: client.name,
    rights: client.may,
    kinds: client.kinds,
    token_sha256: tokenDigest(client.token() ?? ''),
    certificate_sha256: null,
  }));
  const serving = await step(`serve the ledger on ${listen.host}:${listen.port}`, () =>
    serveLedger({
      directory,
      origin,
      ...listen,
      principals,
      standby,
      warn: (message) => problem('ledger', message),
    }),
  );
  stack.defer(() => serving.close());
  if (standby) process.stdout.write(`ledger stands by on port ${serving.port}\n`);
  await serving.active;
  if (!serving.ledger) throw new UserError('the ledger was closed before it was active');
  return serving.ledger;
}

/** The ledger wherever it is. */
export async function openRecord(
  config: Config,
  stack: AsyncDisposableStack,
): Promise<LedgerWriter> {
  const { ledger: from } = config;
  if (from.kind === 'files') return openLedgerHere(config, stack);
  const { RemoteLedger } = await import('../../ledger/client.ts');
  const token = from.token();
  const ledger = new RemoteLedger({ urls: from.urls, ...(token === undefined ? {} : { token }) });
  stack.defer(() => ledger.close());
  return ledger;
}

export async function openBus(config: Config, stack: AsyncDisposableStack): Promise<Bus> {
  const bus = await makeBus(config);
  stack.defer(() => bus.close());
  if (bus.unavailable !== null) problem('bus', bus.unavailable);
  return bus;
}

async function makeBus(config: Config): Promise<Bus> {
  if (config.bus.kind === 'memory') {
    const { MemoryBus } = await import('../../bus/memory.ts');
    return new MemoryBus();
  }
  const { servers, credentials, token } = config.bus;
  const { openNatsBus } = await import('../../bus/nats.ts');
  const secret = token();
  return step('connect to NATS', () =>
    openNatsBus({
      servers,
      name: `holdpoint/${config.instance}`,
      ...(credentials === null ? {} : { credentials: readFileSync(credentials, 'utf8') }),
      ...(secret === undefined ? {} : { token: secret }),
    }),
  );
}

export async function openPeople(config: Config, stack: AsyncDisposableStack): Promise<Store> {
  const { openStore } = await import('../../approver/store.ts');
  const place = join(config.state, 'approver.db');
  const store = await step('open the approver’s store', () => openStore(place));
  stack.defer(() => store.close());
  return store;
}

export async function openApprover(
  config: Config,
  rooms: { readonly store: Store; readonly bus: Bus; readonly ledger: LedgerWriter },
  stack: AsyncDisposableStack,
): Promise<Approver> {
  const { startApprover } = await import('../../approver/main.ts');
  const { listen } = config.approver;
  const approver = await step(`open the page on ${listen.host}:${listen.port}`, () =>
    startApprover({
      ...rooms,
      keyFile: join(config.state, 'keys', 'approver.pem'),
      listen,
      ...(listen.port === 0 ? {} : { publicUrl: config.approver.url }),
      instance: config.instance,
      log: (message, detail) => problem('approver', `${message} ${JSON.stringify(detail)}`),
    }),
  );
  stack.defer(() => approver.close());
  return approver;
}

export interface OpenedProxy {
  readonly proxy: Door;
  readonly tls: ServerTls | null;
}

/** `page`: where people look, which for a port of 0 only the approver knows. */
export async function openProxy(
  config: Config,
  rooms: { readonly bus: Bus; readonly ledger: LedgerWriter; readonly keys: ApproverKeys },
  page: string,
  stack: AsyncDisposableStack,
): Promise<OpenedProxy> {
  if (config.targets.length === 0) {
    throw new UserError(`${config.file}: targets: name at least one database for the proxy`);
  }
  const [{ startProxy }, { Agents }, { openTls }] = await Promise.all([
    import('../../proxy/main.ts'),
    import('../../proxy/agents.ts'),
    import('../../proxy/tls.ts'),
  ]);
  const agents = new Agents(config.state, config.agents);
  const tls = await openTls(config.listen.tls, config.state);
  const approver = { ...config.approver, url: page };
  const parts = { config: { ...config, approver }, agents, ...rooms, tls, problem };
  const proxy = await step('start the proxy', () => startProxy(parts));
  stack.defer(() => proxy.close());
  return { proxy, tls };
}
