// Real parts for tests of the hold room and the approver: operations, an approver on a random port,
// signers with keys.
// Invariant: everything lives in one temporary folder and ends with close().
import {
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomUUID,
  sign,
} from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Choice, decisionBytes, type SignedDecision } from '../../approver/binding.ts';
import type { HoldRequest } from '../../approver/contract.ts';
import type { GivenDecision } from '../../approver/decide.ts';
import { type Approver, type ApproverSettings, startApprover } from '../../approver/main.ts';
import { publicJwk } from '../../approver/receipt.ts';
import { thumbprint } from '../../approver/sign.ts';
import type { Role } from '../../approver/store/signers.ts';
import { openStore, type Store } from '../../approver/store.ts';
import type { Bus } from '../../bus/bus.ts';
import { MemoryBus } from '../../bus/memory.ts';
import { type Ledger, openLedger } from '../../ledger/ledger.ts';
import type { Effect } from '../../proxy/effect/effect.ts';
import { Holds } from '../../proxy/hold/wait.ts';
import type { Operation } from '../../proxy/operation.ts';
import type { HoldDemand, HoldVerdict } from '../../proxy/verdict/verdict.ts';
import { type PostgresServer, sharedPostgres, skipWithoutPostgres } from './postgres.ts';

export const DELETE_USERS: Effect = {
  class: 'destructive',
  verb: 'delete',
  objects: [
    {
      kind: 'table',
      database: 'shop',
      schema: 'public',
      name: 'users',
      columns: [],
      access: 'delete',
      via: [],
      tags: ['pii'],
      identity: '16411',
    },
    {
      kind: 'table',
      database: 'shop',
      schema: 'public',
      name: 'orders',
      columns: [],
      access: 'delete',
      via: ['foreign key orders_user_fk on delete cascade'],
      tags: [],
      identity: '16420',
    },
  ],
  predicate: 'key',
  scoped: true,
  rows_max: 1,
  reversible: false,
  opaque: null,
};

export function operation(
  over: Partial<Omit<Operation, 'bytes'>> & {
    readonly statement?: string | Uint8Array;
    readonly onBehalfOf?: string | null;
    readonly reason?: string | null;
    readonly agentName?: string;
  } = {},
): Operation {
  const { statement, onBehalfOf, reason, agentName, ...rest } = over;
  const given = statement ?? 'DELETE FROM users WHERE id = $1';
  return {
    id: randomUUID(),
    engine: 'postgres',
    parameters: [{ type: 'int4', format: 'text', bytes: Buffer.from('42'), text: '42' }],
    analysis: {
      class: 'destructive',
      complete: true,
      unscoped: false,
      effects: [DELETE_USERS],
      normalized: 'DELETE FROM users WHERE id = $1',
      fingerprint: 'f00d',
    },
    target: {
      name: 'shop',
      engine: 'postgres',
      environment: 'production',
      database: 'shop',
      enforce: true,
      tags: [],
    },
    agent: { name: agentName ?? 'billing-agent', groups: [], capabilities: [], scopes: [] },
    session: {
      id: randomUUID(),
      application: 'psql',
      client_address: '127.0.0.1',
      started: new Date().toISOString(),
      stated: { reason: reason ?? null, task: null, on_behalf_of: onBehalfOf ?? null },
      settings: { search_path: '"$user", public' },
    },
    in_transaction: false,
    transaction_age_ms: null,
    asked: new Date().toISOString(),
    ...rest,
    bytes: typeof given === 'string' ? Buffer.from(given) : given,
  };
}

export const POLICY = 'a'.repeat(64);

export function held(
  demands: readonly HoldDemand[] = [{ rule: 'deletes', group: 'db-owners', signatures: 1 }],
  times: { readonly expires_ms?: number; readonly wait_ms?: number } = {},
) {
  const verdict: HoldVerdict = {
    kind: 'hold',
    rule: 'deletes',
    reason: 'deletes in production are signed',
    demands,
    expires_ms: times.expires_ms ?? 600_000,
    wait_ms: times.wait_ms ?? 45_000,
  };
  return { verdict, policy: POLICY, objects: ['16420', '16411'], waits: true };
}

export interface Person {
  readonly name: string;
  readonly key: KeyObject;
  readonly pem: string;
  readonly file: string;
  readonly thumbprint: string;
}

export interface Room {
  readonly folder: string;
  readonly bus: Bus;
  readonly ledger: Ledger;
  readonly store: Store;
  /** Where the store lies: a file or an address. */
  readonly place: string;
  readonly approver: Approver;
  readonly holds: Holds;
  person(name: string, groups?: readonly string[], roles?: readonly Role[]): Promise<Person>;
  /** Stops the approver and starts another on the same store. */
  restart(over?: Partial<ApproverSettings>): Promise<void>;
  close(): Promise<void>;
}

export async function room(
  over: Partial<ApproverSettings> & {
    readonly makeBus?: () => Promise<Bus>;
    readonly place?: string | undefined;
  } = {},
): Promise<Room> {
  const { makeBus, place, ...settings } = over;
  const folder = await mkdtemp(join(tmpdir(), 'holdpoint-room-'));
  const bus = settings.bus ?? (await (makeBus?.() ?? Promise.resolve(new MemoryBus())));
  const ledger = await openLedger({
    directory: join(folder, 'ledger'),
    origin: 'example.com/test',
  });
  const where = place ?? join(folder, 'approver.db');
  const start = async (more: Partial<ApproverSettings> = {}) => {
    const store = await openStore(where);
    const approver = await startApprover({
      bus,
      ledger,
      keyFile: join(folder, 'approver.pem'),
      listen: { host: '127.0.0.1', port: 0 },
      ledgerKey: ledger.publicKey,
      ...settings,
      ...more,
      store,
    });
    return { store, approver };
  };
  let now = await start();
  const holds = new Holds({ bus, instance: 'test', keys: () => now.approver.jwks() });
  await holds.start();
  return {
    folder,
    place: where,
    bus,
    ledger,
    holds,
    get store() {
      return now.store;
    },
    get approver() {
      return now.approver;
    },
    person: (name, groups = ['db-owners'], roles = ['signer']) =>
      addPerson(now.store, folder, name, groups, roles),
    restart: async (more) => {
      await now.approver.close();
      await now.store.close();
      now = await start(more);
    },
    close: async () => {
      await holds.close();
      await now.approver.close();
      await now.store.close();
      await bus.close();
      await ledger.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function addPerson(
  store: Store,
  folder: string,
  name: string,
  groups: readonly string[],
  roles: readonly Role[],
): Promise<Person> {
  const { privateKey } = generateKeyPairSync('ed25519');
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' });
  const file = join(folder, `${randomUUID()}.pem`);
  await writeFile(file, pem, { mode: 0o600 });
  const jwk = publicJwk(privateKey);
  const print = await thumbprint(jwk);
  const signer = await store.signers.put(name, { groups, roles }, Date.now());
  await store.signers.addKey({
    thumbprint: print,
    signer: signer.name,
    method: 'ed25519',
    jwk,
    credential: null,
    detail: '{}',
    counter: 0,
    label: 'test',
    created: Date.now(),
  });
  return { name: signer.name, key: createPrivateKey(pem), pem, file, thumbprint: print };
}

export function signed(
  person: Person,
  hold: { readonly id: string; readonly digest: string },
  choice: Choice,
  reason: string | null = choice === 'approve' ? null : 'because',
  over: Partial<SignedDecision> = {},
): GivenDecision {
  const decision: SignedDecision = {
    v: 1,
    kind: 'holdpoint-decision',
    hold: hold.id,
    binding: hold.digest,
    decision: choice,
    reason,
    signer: person.name,
    signed: new Date().toISOString(),
    ...over,
  };
  const signature = sign(null, decisionBytes(decision), person.key).toString('base64url');
  return { decision, key: person.thumbprint, signature, evidence: null, channel: 'cli' };
}

/** A hold that waits, of a statement of its own unless one is given. */
export async function opened(
  r: Room,
  over: Parameters<typeof operation>[0] = {},
  demands?: readonly HoldDemand[],
  times?: { readonly expires_ms?: number },
): Promise<HoldRequest> {
  const unique = { statement: `DELETE FROM t -- ${randomUUID()}`, ...over };
  const request = r.holds.request(operation(unique), held(demands, times));
  await r.approver.desk.receive(request);
  return request;
}

/** A place for a store: PostgreSQL databases are fresh ones, a file lies in the room's folder. */
export interface StorePlace {
  readonly name: string;
  readonly skip: string | false;
  place(): Promise<string | undefined>;
  close(): Promise<void>;
}

export function storePlaces(): readonly StorePlace[] {
  let server: Promise<PostgresServer> | null = null;
  return [
    { name: 'SQLite', skip: false, place: async () => undefined, close: async () => {} },
    {
      name: 'PostgreSQL',
      skip: skipWithoutPostgres(18),
      place: async () => {
        server ??= sharedPostgres();
        const running = await server;
        return running.url(await running.createDatabase());
      },
      close: async () => {
        await (await server)?.stop();
      },
    },
  ];
}

export async function until(
  what: string,
  ready: () => Promise<boolean> | boolean,
  ms = 60_000,
): Promise<void> {
  const end = Date.now() + ms;
  while (!(await ready())) {
    if (Date.now() > end) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
