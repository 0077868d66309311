// Everything that `holdpoint start` starts, in order, and its end in the opposite order.
// Invariant: what is opened is on the stack before the next thing is opened, so that a failed start
// leaves nothing.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { embeddedConfig, loadConfig } from '../../proxy/config.ts';
import { UserError } from '../../proxy/errors.ts';
import { takeLock } from '../../proxy/lock.ts';
import type { Shop } from '../demo/shop.ts';
import { openLedgerHere, openRecord } from './record.ts';
import { loadAhead, openApprover, openBus, openPeople, openProxy } from './rooms.ts';
import { step } from './told.ts';
import { type Facts, welcome } from './welcome.ts';

export const SERVICES = ['proxy', 'approver', 'ledger'] as const;
export type Service = (typeof SERVICES)[number];

export interface StartOptions {
  readonly config?: string;
  readonly state: string;
  readonly port?: number;
  readonly pagePort?: number;
  /** One service of the configuration alone; the others run elsewhere. */
  readonly only?: Service;
}

export interface Running {
  /** What to print when all is up. */
  welcome(milliseconds: number): string;
  /** Resolves with a reason when it can't go on, with null when it was closed. */
  readonly failed: Promise<string | null>;
  close(): Promise<void>;
}

/** `leaving` cuts a wait short that may last as long as it likes: a standby's for its turn. */
export async function startAll(options: StartOptions, leaving?: AbortSignal): Promise<Running> {
  const stack = new AsyncDisposableStack();
  try {
    return await build(options, stack, leaving ?? new AbortController().signal);
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

async function build(
  options: StartOptions,
  stack: AsyncDisposableStack,
  leaving: AbortSignal,
): Promise<Running> {
  const given = options.config === undefined ? null : loadConfig(options.config);
  const state = given?.state ?? resolve(options.state);
  lockState(state, options.only ?? 'start', stack);
  if (options.only !== undefined) {
    if (!given) throw new UserError('--only needs --config: the demo runs as a whole');
    const { startOne } = await import('./one.ts');
    const lines = await startOne(given, options.only, stack, leaving);
    return running(() => lines.join('\n'), null, stack);
  }

  const shop = given ? null : await openShop(state, stack);
  const config = given ?? embeddedConfig(state, shopTarget(shop), ports(options));
  const own = config.ledger.kind === 'files' ? await openLedgerHere(config, stack, leaving) : null;
  const ledger = own ?? (await openRecord(config, stack));
  const bus = await openBus(config, stack);
  const store = await openPeople(config, stack);
  const first = given ? null : await import('./first.ts');
  const people = first ? await first.firstPeople(state, store) : null;
  const approver = await openApprover(config, { store, bus, ledger }, stack);
  const rooms = { bus, ledger, keys: () => approver.jwks() };
  const { proxy, tls } = await openProxy(config, rooms, approver.url, stack);

  const here = (path: string): string => relative(process.cwd(), path) || '.';
  const facts: Facts = {
    state: here(state),
    address: proxy.address,
    certificate: tls?.self_signed ? here(tls.self_signed) : null,
    page: approver.url,
    invite: people === null ? null : await approver.invite(people.signer),
    ledger: own && { publicKey: own.publicKey, directory: here(own.directory) },
    targets: config.targets.map((target) => target.name),
    people,
  };
  return running((milliseconds) => welcome(facts, milliseconds), shop, stack);
}

function running(
  said: Running['welcome'],
  shop: Shop | null,
  stack: AsyncDisposableStack,
): Running {
  let closing: Promise<void> | null = null;
  const { promise: failed, resolve: settle } = Promise.withResolvers<string | null>();
  void shop?.ended.then(() => {
    if (!closing) settle('the demo’s PostgreSQL has ended by itself; see demo/postgres.log');
  });
  return {
    welcome: said,
    failed,
    close: () => {
      closing ??= stack.disposeAsync().finally(() => settle(null));
      return closing;
    },
  };
}

/**
 * Held by the operating system for as long as this process lives; the file beside says who it is.
 */
function lockState(state: string, name: 'start' | Service, stack: AsyncDisposableStack): void {
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const who = join(state, `${name}.pid`);
  const lock = takeLock(join(state, `${name}.lock`));
  if (!lock) {
    let pid = 'unknown';
    try {
      pid = readFileSync(who, 'utf8').trim();
    } catch {
      // It has only just begun.
    }
    throw new UserError(
      `another holdpoint (process ${pid}) runs on ${state}: stop it, ` +
        'or choose another state directory',
    );
  }
  writeFileSync(who, `${process.pid}\n`, { mode: 0o600 });
  stack.defer(() => {
    rmSync(who, { force: true });
    lock.release();
  });
}

async function openShop(state: string, stack: AsyncDisposableStack): Promise<Shop> {
  const { startShop } = await import('../demo/shop.ts');
  const starting = step('start the demo database', () => startShop(state));
  loadAhead();
  const shop = await starting;
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
