// The proxy as a service: its rooms put together, its ports opened, its end in order.
// Invariant: nothing listens before policy, record and holds are there; at the end sessions close
// before the record does.

import { join } from 'node:path';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Bus } from '../bus/bus.ts';
import type { LedgerWriter, PolicyEntry } from '../ledger/contract.ts';
import type { Agents } from './agents.ts';
import type { Address, Config } from './config.ts';
import { ENGINES, type Engine } from './engine.ts';
import type { ApproverKeys } from './hold/receipt.ts';
import { type Pinned, pinnedFrom } from './hold/signers.ts';
import { Holds } from './hold/wait.ts';
import { LIMITS } from './limits.ts';
import { loadParser } from './postgres/parser.ts';
import { Recorder } from './record/recorder.ts';
import { recordingOf, servicesOf } from './services.ts';
import { listen } from './session/listen.ts';
import { openPolicy, type Policy } from './verdict/policy.ts';

export interface ProxyParts {
  readonly config: Config;
  readonly agents: Agents;
  readonly bus: Bus;
  readonly ledger: LedgerWriter;
  /** The approver's public keys: receipts are checked against them. */
  readonly keys: ApproverKeys;
  /** PEM of the listener's certificate and key; null declines TLS. */
  readonly tls: { readonly cert: string; readonly key: string } | null;
  /** For the log: what went wrong where. Never a secret, never a statement. */
  readonly problem: (where: string, error: unknown) => void;
}

export interface Proxy {
  readonly address: Address;
  readonly policy: Policy;
  readonly sessions: number;
  close(): Promise<void>;
}

export async function startProxy(parts: ProxyParts): Promise<Proxy> {
  const { config, agents, bus, ledger, keys, problem } = parts;
  const by = `proxy/${config.instance}`;
  const warn = (message: string): void => problem('record', new Error(message));
  const parser = loadParser();
  const recorder = await Recorder.open({
    writer: ledger,
    by,
    spool: join(config.state, 'spool'),
    warn,
  });
  const noted = policyRecord(recorder, by, problem);
  const policy = await openPolicy({
    rego: config.policy.rego,
    data: config.policy.data,
    ...(config.policy.tests === null ? {} : { tests: config.policy.tests }),
    stateDirectory: join(config.state, 'policy'),
    onRejected: (message, digest) => {
      problem('policy', new Error(message));
      noted({ digest: digest ?? '', previous: null, accepted: false, message });
    },
  });
  noted({ digest: policy.digest, previous: null, accepted: true, message: null });
  policy.onChange(({ digest, previous }) => {
    if (digest !== previous) noted({ digest, previous, accepted: true, message: null });
  });
  await parser;
  const holds = new Holds({ bus, instance: config.instance, keys, ...(await signersOf(config)) });
  await holds.start();
  const services = servicesOf({
    policy,
    recorder,
    holds,
    by,
    page: config.approver.url,
    ...(await recordingOf(config.targets)),
    problem,
  });
  const tls: SecureContext | null = parts.tls === null ? null : createSecureContext(parts.tls);
  const tlsRequired = config.listen.tls.mode === 'require';
  const engine: Engine = ENGINES.postgres({
    services,
    agents,
    targets: config.targets,
    tls,
    tlsRequired,
  });
  const port = await listen(
    config.listen.postgres,
    LIMITS.sessions,
    (socket) => engine.accept(socket),
    (socket) => engine.turnAway(socket),
  );
  return {
    address: port.address,
    policy,
    get sessions() {
      return engine.sessions;
    },
    close: async () => {
      const closed = port.close();
      await engine.close();
      await closed;
      await holds.close();
      policy.close();
      await recorder.close();
    },
  };
}

/** A list that can't be read is told at the start, not with the first approval. */
async function signersOf(config: Config): Promise<{ signers?: () => Promise<Pinned> }> {
  if (config.approver.signers === null) return {};
  const signers = pinnedFrom(config.approver.signers);
  await signers();
  return { signers };
}

type Noted = Pick<PolicyEntry, 'digest' | 'previous' | 'accepted' | 'message'>;

/** Which policy decides, from the first one on, and which was not taken, is in the ledger. */
function policyRecord(
  recorder: Recorder,
  by: string,
  problem: (where: string, error: unknown) => void,
): (noted: Noted) => void {
  return (noted) => {
    const time = new Date().toISOString();
    const entry: PolicyEntry = { v: 1, time, by, kind: 'policy', ...noted };
    recorder
      .entry(`${by}/policy/${noted.digest}/${time}`, entry)
      .catch((error: unknown) => problem('policy', error));
  };
}
