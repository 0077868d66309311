// A whole Holdpoint (proxy, approver, ledger, policy) for a test, before a target of the test's
// own.
// Invariant: it is started as `holdpoint start --config` starts it, on a state directory that goes
// with the test.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApproverClient, loadPerson } from '../../approver/client.ts';
import { openStore } from '../../approver/store.ts';
import type { Bus } from '../../bus/bus.ts';
import { MemoryBus } from '../../bus/memory.ts';
import { openApprover, openPeople, openProxy } from '../../cli/run/rooms.ts';
import { startAll } from '../../cli/run/start.ts';
import { addSigner } from '../../cli/signer.ts';
import type { Entry } from '../../ledger/contract.ts';
import type { Files } from '../../ledger/files.ts';
import { openLedger } from '../../ledger/ledger.ts';
import { parseVkey } from '../../ledger/note.ts';
import { type Verified, verifyLog } from '../../ledger/verify.ts';
import { addAgent } from '../../proxy/agents.ts';
import { loadConfig } from '../../proxy/config.ts';
import { freePort } from './port.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const START_MS = 120_000;
const ORIGIN = 'test.example/holdpoint';

/** Everything passes but what is marked by its name: `denied…` is denied, `held…` is held. */
export const MARKED_POLICY = join(import.meta.dirname, 'policies', 'marked.rego');

export interface TargetPlace {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

export interface HoldpointOptions {
  /**
   * Where the target `shop` is. Agents may write any database of it as `shop/NAME` does not exist:
   * one target, one database.
   */
  readonly target: TargetPlace;
  readonly environment?: string;
  readonly enforce?: boolean;
  readonly reads?: 'each' | 'summary';
  readonly wait?: string;
  readonly inTransaction?: boolean;
  /** Path of a Rego file; the committed default policy when absent. */
  readonly policy?: string;
  /** policies.json's text. */
  readonly data?: string;
  readonly nats?: string;
  /** true: in a process of its own, to be killed or measured. */
  readonly child?: boolean;
  /** Environment of that process. */
  readonly env?: { readonly [name: string]: string };
  /** In this process, with parts that fail: the ledger's disk, the bus. */
  readonly parts?: Parts;
  /** More of `listen:` in YAML flow style, for example `mode: require`. */
  readonly tls?: string;
}

export interface Parts {
  readonly files?: Files;
  readonly bus?: (bus: Bus) => Bus;
}

export interface AgentLogin {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

export class Holdpoint {
  readonly state: string;
  readonly login: AgentLogin;
  /** A second agent, for what one may not do with the other's. */
  readonly other: AgentLogin;
  readonly page: string;
  readonly ledgerDirectory: string;
  child: ChildProcess | null = null;
  /** What the process of its own printed to standard error. */
  complaints = '';
  readonly #options: HoldpointOptions;
  #close: (() => Promise<void>) | null = null;
  vkey = '';
  readonly file: string;

  constructor(
    state: string,
    file: string,
    port: number,
    page: number,
    passwords: readonly [string, string],
    options: HoldpointOptions,
  ) {
    this.state = state;
    this.file = file;
    this.#options = options;
    const at = { host: '127.0.0.1', port, database: 'shop' };
    this.login = { ...at, user: 'agent', password: passwords[0] };
    this.other = { ...at, user: 'other', password: passwords[1] };
    this.page = `http://127.0.0.1:${page}`;
    this.ledgerDirectory = join(state, 'ledger');
  }

  get url(): string {
    const { user, password, host, port, database } = this.login;
    return `postgres://${user}:${password}@${host}:${port}/${database}`;
  }

  async start(): Promise<void> {
    const { parts } = this.#options;
    if (parts !== undefined) {
      const stack = new AsyncDisposableStack();
      this.#close = () => stack.disposeAsync();
      this.vkey = await compose(this.file, parts, stack);
      return;
    }
    if (this.#options.child !== true) {
      const running = await startAll({ config: this.file, state: this.state });
      this.vkey = /ledger\s+(\S+)/.exec(running.welcome(0))?.[1] ?? '';
      this.#close = () => running.close();
      return;
    }
    const args = ['--disable-warning=ExperimentalWarning', join(ROOT, 'cli', 'main.ts')];
    const child = spawn(process.execPath, [...args, 'start', '--config', this.file], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...process.env, ...this.#options.env },
    });
    this.child = child;
    let out = '';
    child.stderr?.setEncoding('utf8').on('data', (text) => (this.complaints += text));
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('it is not ready in time')), START_MS);
      child.stdout?.setEncoding('utf8').on('data', (text) => {
        out += text;
        if (!/is ready[\s\S]*ledger\s+\S+\s/.test(out)) return;
        clearTimeout(timer);
        resolve();
      });
      child.once('exit', (code, signal) => {
        clearTimeout(timer);
        reject(new Error(`holdpoint ended (${code ?? signal}):\n${out}${this.complaints}`));
      });
    });
    this.vkey = /ledger\s+(\S+)/.exec(out)?.[1] ?? '';
    this.#close = () => endOf(child, 'SIGTERM');
  }

  /** kill -9 of the process of its own. */
  async kill(): Promise<void> {
    if (this.child === null)
      throw new Error('only a Holdpoint in a process of its own can be killed');
    await endOf(this.child, 'SIGKILL');
    this.#close = null;
  }

  /** Ends it in order; the state stays for another start. */
  async stop(): Promise<void> {
    await this.#close?.();
    this.#close = null;
  }

  async close(): Promise<void> {
    await this.stop();
    await rm(this.state, { recursive: true, force: true });
  }

  /** A signer's client: `ann` and `bob` are db-owners and on-call. */
  async signer(name: 'ann' | 'bob' = 'ann'): Promise<ApproverClient> {
    return new ApproverClient(this.page, await loadPerson(name, join(this.state, `${name}.pem`)));
  }

  /** Waits for a pending hold whose statement contains the text, and answers its id. */
  async held(text = '', patienceMs = 60_000): Promise<string> {
    const client = await this.signer();
    for (const deadline = Date.now() + patienceMs; Date.now() < deadline; ) {
      const { holds } = await client.list({ state: 'pending', search: text });
      const [first] = holds;
      if (first !== undefined) return first.id;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error(`no pending hold with ${JSON.stringify(text)} in ${patienceMs} ms`);
  }

  async approve(id: string, ...names: readonly ('ann' | 'bob')[]): Promise<void> {
    for (const name of names.length === 0 ? (['ann'] as const) : names) {
      const client = await this.signer(name);
      await client.decide(await client.show(id), 'approve', 'looks right');
    }
  }

  async deny(id: string, reason = 'not today'): Promise<void> {
    const client = await this.signer();
    await client.decide(await client.show(id), 'deny', reason);
  }

  /** Every entry of the log; only while it is stopped. */
  async entries(): Promise<Entry[]> {
    const ledger = await openLedger({ directory: this.ledgerDirectory, origin: ORIGIN });
    try {
      const found: Entry[] = [];
      for (let i = 0; i < ledger.size; i++) found.push(await ledger.read(i));
      return found;
    } finally {
      await ledger.close();
    }
  }

  /** Checks the whole log from files and public key, as `holdpoint ledger verify` does. */
  async verifyLedger(): Promise<Verified> {
    return await verifyLog({ directory: this.ledgerDirectory, verifier: parseVkey(this.vkey) });
  }
}

/** What startAll does, with the given parts in the places of its own. Answers the ledger's key. */
async function compose(file: string, parts: Parts, stack: AsyncDisposableStack): Promise<string> {
  const config = loadConfig(file);
  if (config.ledger.kind !== 'files') throw new Error('a ledger in files');
  const { directory, origin } = config.ledger;
  const { files } = parts;
  const ledger = await openLedger({ directory, origin, ...(files === undefined ? {} : { files }) });
  stack.defer(() => ledger.close().catch(() => {}));
  const own = stack.adopt(new MemoryBus(), (bus) => bus.close());
  const bus = parts.bus?.(own) ?? own;
  const store = await openPeople(config, stack);
  const approver = await openApprover(config, { store, bus, ledger }, stack);
  const rooms = { bus, ledger, keys: () => approver.jwks() };
  await openProxy(config, rooms, approver.url, stack);
  return ledger.publicKey;
}

export async function endOf(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await exit;
}

/** Its state and configuration, ready to be started. */
export async function prepareHoldpoint(options: HoldpointOptions): Promise<Holdpoint> {
  const state = await mkdtemp(join(tmpdir(), 'holdpoint-state-'));
  const port = await freePort();
  const page = await freePort();
  const agent = { groups: ['demo'], capabilities: ['read', 'write', 'ddl'], scopes: [] };
  const passwords = ['agent', 'other'].map((name) =>
    addAgent(state, { ...agent, name, targets: null }),
  ) as [string, string];
  const store = await openStore(join(state, 'approver.db'));
  for (const name of ['ann', 'bob']) {
    const keyFile = join(state, `${name}.pem`);
    const roles = ['signer', 'operator'] as const;
    await addSigner(store, { name, groups: ['db-owners', 'on-call'], roles: [...roles], keyFile });
  }
  await store.close();
  const file = join(state, 'holdpoint.yaml');
  await writeFile(join(state, 'target.secret'), options.target.password, { mode: 0o600 });
  await mkdir(join(state, 'policy-source'));
  const data = options.data ?? (await readFile(join(ROOT, 'policies.json'), 'utf8'));
  await writeFile(join(state, 'policy-source', 'policies.json'), data);
  await writeFile(file, yaml(options, port, page));
  return new Holdpoint(state, file, port, page, passwords, options);
}

export async function startHoldpoint(options: HoldpointOptions): Promise<Holdpoint> {
  const holdpoint = await prepareHoldpoint(options);
  try {
    await holdpoint.start();
  } catch (cause) {
    await holdpoint.close();
    throw cause;
  }
  return holdpoint;
}

/** JSON is YAML: each value stands as JSON. */
function yaml(options: HoldpointOptions, port: number, page: number): string {
  const { host, port: upstream, user, database } = options.target;
  const data =
    options.data === undefined ? join(ROOT, 'policies.json') : 'policy-source/policies.json';
  return JSON.stringify(
    {
      instance: 'test',
      state: '.',
      listen: { postgres: { host: '127.0.0.1', port }, tls: { mode: options.tls ?? 'allow' } },
      targets: [
        {
          name: 'shop',
          host,
          port: upstream,
          user,
          database,
          password: { file: 'target.secret' },
          environment: options.environment ?? 'production',
          enforce: options.enforce ?? true,
          tls: { mode: 'disable' },
          record: { reads: options.reads ?? 'summary' },
          hold: { wait: options.wait ?? '20s', in_transaction: options.inTransaction ?? false },
        },
      ],
      policy: { rego: options.policy ?? join(ROOT, 'policies.rego'), tests: null, data },
      bus:
        options.nats === undefined ? { kind: 'memory' } : { kind: 'nats', servers: [options.nats] },
      approver: { listen: { host: '127.0.0.1', port: page } },
      ledger: { kind: 'files', directory: 'ledger', origin: ORIGIN },
    },
    null,
    2,
  );
}
