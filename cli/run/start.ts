// Everything that `holdpoint start` starts, in order, and its end in the opposite order.
// Invariant: what is opened is on the stack before the next thing is opened, so that a failed start leaves nothing.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { startApprover } from '../../approver/main.ts';
import { openStore } from '../../approver/store.ts';
import type { Bus } from '../../bus/bus.ts';
import { MemoryBus } from '../../bus/memory.ts';
import { type Ledger, openLedger } from '../../ledger/ledger.ts';
import { Agents } from '../../proxy/agents.ts';
import { type Config, embeddedConfig, loadConfig } from '../../proxy/config.ts';
import { UserError } from '../../proxy/errors.ts';
import { takeLock } from '../../proxy/lock.ts';
import { startProxy } from '../../proxy/main.ts';
import { openTls } from '../../proxy/tls.ts';
import { type Shop, startShop } from '../demo/shop.ts';
import { type FirstPeople, firstPeople } from './first.ts';
import { type Facts, welcome } from './welcome.ts';

export interface StartOptions {
  readonly config?: string;
  readonly state: string;
  readonly port?: number;
  readonly pagePort?: number;
}

export interface Running {
  /** What to print when all is up. */
  welcome(milliseconds: number): string;
  /** Resolves with a reason when it can't go on, with null when it was closed. */
  readonly failed: Promise<string | null>;
  close(): Promise<void>;
}

/** Errors that are somebody's to mend, told by their words; anything else is ours and keeps its stack. */
const TOLD = new Set(['LedgerError', 'PolicyRejected', 'ApproverError', 'NoteError']);
const TOLD_CODES = new Set(['EADDRINUSE', 'EACCES', 'EADDRNOTAVAIL', 'ENOENT', 'ENOSPC', 'EROFS']);

async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Error) || error instanceof UserError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (!TOLD.has(error.name) && !TOLD_CODES.has(code ?? '')) throw error;
    throw new UserError(`can’t ${what}: ${error.message}`, { cause: error });
  }
}

export async function startAll(options: StartOptions): Promise<Running> {
  const stack = new AsyncDisposableStack();
  try {
    return await build(options, stack);
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

async function build(options: StartOptions, stack: AsyncDisposableStack): Promise<Running> {
  const given = options.config === undefined ? null : loadConfig(options.config);
  const state = given?.state ?? resolve(options.state);
  lockState(state, stack);

  const shop = given ? null : await openShop(state, stack);
  const config = given ?? embeddedConfig(state, shopTarget(shop), ports(options));
  const ledger = await openRecord(config, stack);
  const bus = await openBus(config, stack);
  const store = await step('open the approver’s store', () =>
    openStore(join(state, 'approver.db')),
  );
  stack.defer(() => store.close());
  const people = given ? null : await firstPeople(state, store);

  const { listen } = config.approver;
  const approver = await step(`open the page on ${listen.host}:${listen.port}`, () =>
    startApprover({
      store,
      bus,
      ledger,
      keyFile: join(state, 'keys', 'approver.pem'),
      listen,
      ...(listen.port === 0 ? {} : { publicUrl: config.approver.url }),
      instance: config.instance,
      log: (message, detail) => problem('approver', `${message} ${JSON.stringify(detail)}`),
    }),
  );
  stack.defer(() => approver.close());

  const agents = new Agents(state, config.agents);
  const tls = await openTls(config.listen.tls, state);
  const page = { listen, url: approver.url };
  const proxy = await step('start the proxy', () =>
    startProxy({
      config: { ...config, approver: page },
      agents,
      bus,
      ledger,
      keys: () => approver.jwks(),
      tls,
      problem: (where, error) => problem(where, error instanceof Error ? error.message : error),
    }),
  );
  stack.defer(() => proxy.close());

  const invite = people === null ? null : await approver.invite(people.signer);
  const facts: Facts = {
    state: relative(process.cwd(), state) || '.',
    address: proxy.address,
    certificate: tls?.self_signed ? relative(process.cwd(), tls.self_signed) : null,
    page: approver.url,
    invite,
    ledger: { publicKey: ledger.publicKey, directory: relative(process.cwd(), ledger.directory) },
    targets: config.targets.map((target) => target.name),
    people,
  };
  return running(facts, shop, stack);
}

function running(facts: Facts, shop: Shop | null, stack: AsyncDisposableStack): Running {
  let closing: Promise<void> | null = null;
  const { promise: failed, resolve: settle } = Promise.withResolvers<string | null>();
  void shop?.ended.then(() => {
    if (!closing) settle('the demo’s PostgreSQL has ended by itself; see demo/postgres.log');
  });
  return {
    welcome: (milliseconds) => welcome(facts, milliseconds),
    failed,
    close: () => {
      closing ??= stack.disposeAsync().finally(() => settle(null));
      return closing;
    },
  };
}

/** Held by the operating system for as long as this process lives; the file beside says who it is. */
function lockState(state: string, stack: AsyncDisposableStack): void {
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const who = join(state, 'start.pid');
  const lock = takeLock(join(state, 'start.lock'));
  if (!lock) {
    let pid = 'unknown';
    try {
      pid = readFileSync(who, 'utf8').trim();
    } catch {
      // It has only just begun.
    }
    throw new UserError(
      `another holdpoint (process ${pid}) runs on ${state}: stop it, or choose another state directory`,
    );
  }
  writeFileSync(who, `${process.pid}\n`, { mode: 0o600 });
  stack.defer(() => {
    rmSync(who, { force: true });
    lock.release();
  });
}

async function openShop(state: string, stack: AsyncDisposableStack): Promise<Shop> {
  const shop = await step('start the demo database', () => startShop(state));
  stack.defer(() => shop.stop());
  return shop;
}

function shopTarget(shop: Shop | null): Shop['target'] {
  if (!shop) throw new Error('the embedded start has no database');
  return shop.target;
}

function ports(options: StartOptions): { postgres?: number; page?: number } {
  return {
    ...(options.port === undefined ? {} : { postgres: options.port }),
    ...(options.pagePort === undefined ? {} : { page: options.pagePort }),
  };
}

async function openRecord(config: Config, stack: AsyncDisposableStack): Promise<Ledger> {
  if (config.ledger.kind !== 'files') {
    throw new UserError(`${config.file}: ledger.kind: only \`files\` is served yet`);
  }
  const { directory, origin } = config.ledger;
  const ledger = await step('open the ledger', () => openLedger({ directory, origin }));
  stack.defer(() => ledger.close());
  return ledger;
}

async function openBus(config: Config, stack: AsyncDisposableStack): Promise<Bus> {
  const bus = await makeBus(config);
  stack.defer(() => bus.close());
  return bus;
}

async function makeBus(config: Config): Promise<Bus> {
  if (config.bus.kind === 'memory') return new MemoryBus();
  const { servers, credentials, token } = config.bus;
  const { openNatsBus } = await import('../../bus/nats.ts');
  const secret = token();
  return openNatsBus({
    servers,
    name: `holdpoint/${config.instance}`,
    ...(credentials === null ? {} : { credentials: readFileSync(credentials, 'utf8') }),
    ...(secret === undefined ? {} : { token: secret }),
  });
}

/** One line to standard error. Callers keep secrets and statements out of it. */
function problem(where: string, what: unknown): void {
  process.stderr.write(`${new Date().toISOString()} ${where}: ${String(what)}\n`);
}

export type { FirstPeople };
