// Proxy, approver and ledger as three processes of `holdpoint start --only`, over NATS and HTTP.
// Invariant: each is started with its own part of one configuration, so that what differs is only
// the processes.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ApproverClient } from '../../approver/client.ts';
import type { Entry } from '../../ledger/contract.ts';
import type { Verified } from '../../ledger/verify.ts';
import { endOf, type Holdpoint } from '../setup/holdpoint.ts';
import type { RunningNats } from '../setup/nats.ts';
import { freePort } from '../setup/port.ts';
import type { Killable } from './killing.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'cli', 'main.ts');
const START_MS = 120_000;
/** In the order in which they start. */
const SERVICES = ['ledger', 'approver', 'proxy'] as const;
type Service = (typeof SERVICES)[number];
const VICTIMS = [...SERVICES, 'nats'] as const;

interface Settings {
  readonly [name: string]: unknown;
  readonly approver: { readonly listen: { readonly host: string; readonly port: number } };
}

export class Apart implements Killable {
  readonly #holdpoint: Holdpoint;
  readonly #nats: RunningNats;
  readonly #children = new Map<Service, ChildProcess>();
  #written = false;
  complaints = '';

  constructor(prepared: Holdpoint, nats: RunningNats) {
    this.#holdpoint = prepared;
    this.#nats = nats;
  }

  get url(): string {
    return this.#holdpoint.url;
  }

  signer(): Promise<ApproverClient> {
    return this.#holdpoint.signer();
  }

  async start(): Promise<void> {
    if (!this.#written) await this.#writeSettings();
    this.#written = true;
    await this.#nats.start();
    for (const service of SERVICES) {
      const child = this.#children.get(service);
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) {
        await this.#startOne(service);
      }
    }
  }

  async kill(roll: (bound: number) => number): Promise<void> {
    const victim = VICTIMS[roll(VICTIMS.length)] ?? 'proxy';
    if (victim === 'nats') {
      await this.#nats.kill();
      return;
    }
    const child = this.#children.get(victim);
    if (child !== undefined) await endOf(child, 'SIGKILL');
  }

  async stop(): Promise<void> {
    for (const service of SERVICES.toReversed()) {
      const child = this.#children.get(service);
      if (child !== undefined) await endOf(child, 'SIGTERM');
    }
  }

  async close(): Promise<void> {
    await this.stop();
    await this.#holdpoint.close();
  }

  entries(): Promise<Entry[]> {
    return this.#holdpoint.entries();
  }

  verifyLedger(): Promise<Verified> {
    return this.#holdpoint.verifyLedger();
  }

  async #startOne(service: Service): Promise<void> {
    const file = join(this.#holdpoint.state, `${service}.yaml`);
    const flags = ['--disable-warning=ExperimentalWarning', MAIN, 'start', '--only', service];
    const child = spawn(process.execPath, [...flags, '--config', file], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.#children.set(service, child);
    child.stderr?.setEncoding('utf8').on('data', (text) => (this.complaints += text));
    let out = '';
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${service} is not ready`)), START_MS);
      child.stdout?.setEncoding('utf8').on('data', (text) => {
        out += text;
        const ready = new RegExp(`${service} is ready: (\\S+)`).exec(out);
        if (ready === null) return;
        if (service === 'ledger') this.#holdpoint.vkey = ready[1] ?? '';
        clearTimeout(late);
        resolve();
      });
      child.once('exit', (code, signal) => {
        clearTimeout(late);
        reject(new Error(`${service} ended (${code ?? signal}):\n${out}${this.complaints}`));
      });
    });
  }

  /** The parts of the one configuration that each service needs. */
  async #writeSettings(): Promise<void> {
    const { state, file } = this.#holdpoint;
    const whole: Settings = JSON.parse(await readFile(file, 'utf8'));
    const { instance, bus, targets, policy, listen, approver, ledger } = whole;
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const page = `http://${approver.listen.host}:${approver.listen.port}`;
    for (const name of ['proxy', 'approver']) {
      await writeFile(join(state, `${name}.token`), randomBytes(24).toString('hex'), {
        mode: 0o600,
      });
    }
    const client = (name: string, may: string[], kinds: string[]) => ({
      name,
      token: { file: `${name}.token` },
      may,
      kinds,
    });
    const remote = (name: string) => ({
      kind: 'http',
      urls: [url],
      token: { file: `${name}.token` },
    });
    const common = { instance, state: '.' };
    const all: { readonly [S in Service]: unknown } = {
      ledger: {
        ...common,
        ledger: {
          ...(ledger as object),
          listen: { host: '127.0.0.1', port },
          clients: [
            client('proxy', ['append'], ['decision', 'outcome', 'reads', 'policy', 'mode']),
            client('approver', ['append', 'read'], ['signature', 'hold', 'administration', 'mode']),
          ],
        },
      },
      approver: {
        ...common,
        bus,
        approver: { ...approver, url: page },
        ledger: remote('approver'),
      },
      proxy: {
        ...common,
        listen,
        targets,
        policy,
        bus,
        approver: { url: page, keys_url: `${page}/.well-known/jwks.json` },
        ledger: remote('proxy'),
      },
    };
    for (const service of SERVICES) {
      await writeFile(join(state, `${service}.yaml`), JSON.stringify(all[service], null, 2));
    }
  }
}
