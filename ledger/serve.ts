// One ledger process: active when it has the lock, standby until then.
// Invariant: nothing is signed before the lock is held (lock.ts), so two instances over one
// directory never both append.
import type { Principal } from './access.ts';
import { LedgerError, reasonOf } from './errors.ts';
import { Keeper, type KeeperOptions } from './keeper.ts';
import { type Ledger, openLedger } from './ledger.ts';
import { STANDBY_EVERY_MS } from './limits.ts';
import { LedgerMetrics } from './metrics.ts';
import { ledgerServer, type ServerOptions } from './server.ts';
import type { WitnessOptions } from './witness.ts';
import { Witnesses } from './witness.ts';

export interface ServeOptions {
  readonly directory: string;
  readonly origin: string;
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  readonly principals: readonly Principal[];
  readonly publicLog?: boolean;
  readonly tls?: NonNullable<ServerOptions['tls']>;
  /** true: wait for the lock instead of failing when another instance has it. */
  readonly standby?: boolean;
  readonly witnesses?: readonly WitnessOptions[];
  /** How often they are asked; milliseconds. */
  readonly witnessEvery?: number;
  /** URL of a PostgreSQL database to search in. */
  readonly searchIn?: string;
  /** By default nothing is ever removed. */
  readonly retention?: KeeperOptions['retention'];
  /** Entries in a shard as a power of two; tests make it small. */
  readonly shardLevel?: number;
  readonly warn?: (message: string) => void;
}

export interface Serving {
  readonly port: number;
  /** null while this is the standby. */
  readonly ledger: Ledger | null;
  /** Resolves when this instance has become the active one. */
  readonly active: Promise<void>;
  close(): Promise<void>;
}

class Service implements Serving {
  ledger: Ledger | null = null;
  readonly active: Promise<void>;
  readonly #options: ServeOptions;
  readonly #warn: (message: string) => void;
  readonly #metrics: LedgerMetrics;
  readonly #server: ReturnType<typeof ledgerServer>;
  #witnesses: Witnesses | null = null;
  #keeper: Keeper | null = null;
  #closing = false;
  #sleep: (() => void) | null = null;

  constructor(options: ServeOptions) {
    this.#options = options;
    this.#warn = options.warn ?? (() => {});
    this.#metrics = new LedgerMetrics(() => this.ledger);
    this.#server = ledgerServer({
      ledger: () => this.ledger,
      keeper: () => this.#keeper,
      directory: options.directory,
      principals: options.principals,
      metrics: this.#metrics,
      ...(options.publicLog === undefined ? {} : { publicLog: options.publicLog }),
      ...(options.tls === undefined ? {} : { tls: options.tls }),
    });
    this.active = this.#activate();
  }

  get port(): number {
    return portOf(this.#server);
  }

  async listen(): Promise<void> {
    if (this.#options.standby !== true) await this.active;
    else
      this.active.catch((error) => this.#warn(`The standby can't take over: ${reasonOf(error)}`));
    await this.#server.listen({ host: this.#options.host, port: this.#options.port });
  }

  /**
   * Takes the lock, at once or when the other instance has gone; then recovers and appends like any
   * start.
   */
  async #activate(): Promise<void> {
    for (;;) {
      try {
        this.ledger = await openLedger({
          directory: this.#options.directory,
          origin: this.#options.origin,
          warn: this.#warn,
          ...(this.#options.searchIn === undefined ? {} : { searchIn: this.#options.searchIn }),
          ...(this.#options.shardLevel === undefined
            ? {}
            : { shardLevel: this.#options.shardLevel }),
          committed: (entries, milliseconds) => this.#metrics.committed(entries, milliseconds),
        });
        break;
      } catch (error) {
        const held = error instanceof LedgerError && error.code === 'locked';
        if (!held || this.#options.standby !== true) throw error;
      }
      await new Promise<void>((resolve) => {
        this.#sleep = resolve;
        setTimeout(resolve, STANDBY_EVERY_MS);
      });
      if (this.#closing) return;
    }
    if (this.#closing) return this.ledger.close();
    const { witnesses = [], witnessEvery } = this.#options;
    this.#witnesses = Witnesses.start(this.ledger, witnesses, this.#warn, witnessEvery);
    this.#keeper = new Keeper(this.ledger, {
      retention: this.#options.retention ?? null,
      metrics: this.#metrics,
      warn: this.#warn,
    });
  }

  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#sleep?.();
    await this.#server.close();
    await this.active.catch(() => {});
    await this.#witnesses?.close();
    await this.#keeper?.close();
    await this.ledger?.close();
  }
}

function portOf(server: ReturnType<typeof ledgerServer>): number {
  const address = server.server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

export async function serveLedger(options: ServeOptions): Promise<Serving> {
  const service = new Service(options);
  try {
    await service.listen();
  } catch (error) {
    await service.close();
    throw error;
  }
  return service;
}
