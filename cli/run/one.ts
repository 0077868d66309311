// `holdpoint start --only SERVICE`: one service of a configuration, its neighbours somewhere else.
// Invariant: a service that runs apart never falls back to an embedded neighbour: it would judge or
// record on its own.
import type { Config } from '../../proxy/config.ts';
import { UserError } from '../../proxy/errors.ts';
import { openLedgerHere, openRecord } from './record.ts';
import { openApprover, openBus, openPeople, openProxy } from './rooms.ts';
import type { Service } from './start.ts';

/** Starts it and answers the lines to print. */
export async function startOne(
  config: Config,
  service: Service,
  stack: AsyncDisposableStack,
  leaving: AbortSignal,
): Promise<readonly string[]> {
  if (service === 'ledger') {
    const ledger = await openLedgerHere(config, stack, leaving);
    return [`ledger is ready: ${ledger.publicKey}`];
  }
  if (config.bus.kind !== 'nats') {
    throw new UserError(
      `${config.file}: bus.kind: ${service} alone needs nats to reach the others`,
    );
  }
  if (config.ledger.kind !== 'http') {
    throw new UserError(
      `${config.file}: ledger.kind: ${service} alone needs http: the files have one writer`,
    );
  }
  const ledger = await openRecord(config, stack);
  const bus = await openBus(config, stack);
  if (service === 'approver') {
    const store = await openPeople(config, stack);
    const approver = await openApprover(config, { store, bus, ledger }, stack);
    return [`approver is ready: ${approver.url}`];
  }
  const { keysFrom } = await import('../../proxy/hold/receipt.ts');
  const keys = keysFrom(config.approver.keys_url);
  const { proxy } = await openProxy(config, { bus, ledger, keys }, config.approver.url, stack);
  return [`proxy is ready: ${proxy.address.host}:${proxy.address.port}`];
}
