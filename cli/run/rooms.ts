// Bus, approver and proxy as `holdpoint start` runs them, each opened from the configuration and
// put on the stack to be closed.
// Invariant: a service that could not be opened says which one and why.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Approver, ApproverSettings } from '../../approver/main.ts';
import type { Store } from '../../approver/store.ts';
import type { Bus } from '../../bus/bus.ts';
import type { LedgerWriter } from '../../ledger/contract.ts';
import type { Config } from '../../proxy/config.ts';
import { UserError } from '../../proxy/errors.ts';
import type { ApproverKeys } from '../../proxy/hold/receipt.ts';
import type { Proxy as Door } from '../../proxy/main.ts';
import type { OidcConfig } from '../../proxy/neighbours.ts';
import type { ServerTls } from '../../proxy/tls.ts';
import { routingFrom } from './routing.ts';
import { problem, step } from './told.ts';

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
  const place = config.approver.store() ?? join(config.state, 'approver.db');
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
  const {
    listen,
    tls,
    oidc,
    routing,
    private_webhooks: privateWebhooks,
    trust_proxy: trustProxy,
  } = config.approver;
  const ledgerKey = config.approver.ledger_key ?? publicKeyOf(rooms.ledger);
  const approver = await step(`open the page on ${listen.host}:${listen.port}`, () =>
    startApprover({
      ...rooms,
      keyFile: join(config.state, 'keys', 'approver.pem'),
      listen: tls === null ? listen : { ...listen, tls },
      ...(listen.port === 0 ? {} : { publicUrl: config.approver.url }),
      ...(ledgerKey === null ? {} : { ledgerKey }),
      ...(oidc === null ? {} : { oidc: oidcOf(oidc) }),
      ...(routing === null ? {} : { routing: routingFrom(routing) }),
      privateWebhooks,
      trustProxy,
      instance: config.instance,
      log: (message, detail) => problem('approver', `${message} ${JSON.stringify(detail)}`),
    }),
  );
  stack.defer(() => approver.close());
  return approver;
}

/** A ledger of our own says its key; another's is for the configuration to say. */
function publicKeyOf(ledger: LedgerWriter): string | null {
  return 'publicKey' in ledger && typeof ledger.publicKey === 'string' ? ledger.publicKey : null;
}

function oidcOf(from: OidcConfig): NonNullable<ApproverSettings['oidc']> {
  const clientSecret = from.client_secret();
  return {
    issuer: from.issuer,
    clientId: from.client_id,
    ...(clientSecret === undefined ? {} : { clientSecret }),
    groupsClaim: from.groups_claim,
    groups: from.groups,
    roles: from.roles,
    create: from.create,
  };
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
