// The story of held statements that are killed at random moments, for one process or several.
// Invariant: no change without its record, none made twice, no hold that was told to anybody lost.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import pg from 'pg';
import type { ApproverClient } from '../../approver/client.ts';
import type { DecisionEntry, Entry } from '../../ledger/contract.ts';
import type { Verified } from '../../ledger/verify.ts';
import { dice } from '../peers/cutter.ts';
import { type PostgresServer, sharedPostgres } from '../setup/postgres.ts';

/** Statements in flight at each kill, each begun a little later than the one before. */
const AT_ONCE = 10;
/** `HOLDPOINT_KILLS=100` for a whole night; what is random comes from `HOLDPOINT_SEED`. */
const KILLS = Number(process.env.HOLDPOINT_KILLS ?? 10);
const SEED = Number(process.env.HOLDPOINT_SEED ?? 20_261_121);

export interface Killable {
  readonly url: string;
  signer(): Promise<ApproverClient>;
  /** kill -9 of something; `roll` chooses what, where there is a choice. */
  kill(roll: (bound: number) => number): Promise<void>;
  /** Starts again whatever is not running. */
  start(): Promise<void>;
  stop(): Promise<void>;
  close(): Promise<void>;
  entries(): Promise<Entry[]>;
  verifyLedger(): Promise<Verified>;
}

export type StartKillable = (server: PostgresServer, database: string) => Promise<Killable>;

let server: PostgresServer;
let holdpoint: Killable;
let behind: pg.Client;

function statement(id: number): string {
  return `update held_counter set n = n + 1 where id = ${id}`;
}

/** What a client was told. `done`: the change was confirmed to it; `held`: it was given a hold. */
interface Told {
  done: boolean;
  hold: string | null;
}

async function connected(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: holdpoint.url });
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** Asks on a connection that is there, and closes it. */
async function ask(client: pg.Client, id: number, told: Told): Promise<void> {
  const heard = (text: string | undefined) => {
    told.hold ??= /\bh-[a-z2-7]{16}\b/.exec(text ?? '')?.[0] ?? null;
  };
  client.on('notice', (notice) => heard(notice.message));
  try {
    await client.query(statement(id));
    told.done = true;
  } catch (error) {
    heard(error instanceof Error ? error.message : '');
  } finally {
    await client.end().catch(() => {});
  }
}

/** Approves whatever is pending, until told to stop; a dead approver is tried again. */
function keepApproving(): { stop: () => Promise<void> } {
  let stopped = false;
  const loop = async () => {
    const signer = await holdpoint.signer();
    while (!stopped) {
      try {
        const { holds } = await signer.list({ state: 'pending' });
        for (const { id } of holds) await signer.decide(await signer.show(id), 'approve', null);
      } catch {
        // It is being killed or started.
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const done = loop();
  return {
    stop: () => {
      stopped = true;
      return done;
    },
  };
}

async function counters(): Promise<Map<number, number>> {
  const { rows } = await behind.query('select id, n from held_counter');
  return new Map(rows.map((row) => [row.id, row.n]));
}

export function killing(name: string, start: StartKillable): void {
  before(async () => {
    server = await sharedPostgres(18);
    const database = await server.createDatabase(`
      create table held_counter (id int primary key, n int not null default 0);
      insert into held_counter select generate_series(0, ${AT_ONCE * KILLS});`);
    behind = await server.connect(database);
    holdpoint = await start(server, database);
  });

  after(async () => {
    await behind?.end();
    await holdpoint?.close();
    await server?.stop();
  });

  describe(`${name} (${KILLS} kills, seed ${SEED})`, () => story());
}

type Stories = Map<number, Told>;

async function killAndRestart(told: Stories): Promise<void> {
  const roll = dice(SEED);
  const undisturbed = keepApproving();
  const began = performance.now();
  await ask(await connected(), 0, { done: false, hold: null });
  const whole = performance.now() - began;
  await undisturbed.stop();
  for (let kill = 0; kill < KILLS; kill++) {
    const ids = Array.from({ length: AT_ONCE }, (_, i) => kill * AT_ONCE + i + 1);
    const clients = await Promise.all(ids.map(connected));
    const approving = keepApproving();
    const at = roll(Math.ceil(2 * whole));
    const killed = new Promise((resolve) => setTimeout(resolve, at)).then(() =>
      holdpoint.kill(roll),
    );
    const asking = ids.map(async (id, i) => {
      const client = clients[i];
      assert.ok(client);
      const one: Told = { done: false, hold: null };
      told.set(id, one);
      await new Promise((resolve) => setTimeout(resolve, (i * whole) / AT_ONCE));
      await ask(client, id, one);
    });
    await killed;
    await holdpoint.start();
    await Promise.all(asking);
    await approving.stop();
    for (const [id, n] of await counters()) {
      assert.ok(n <= 1, `statement ${id} ran ${n} times by kill ${kill}, ${at} ms in`);
      if (told.get(id)?.done === true) assert.equal(n, 1, `${id} was confirmed and is not there`);
    }
  }
}

function stagesHit(told: Stories): void {
  const stages = [...told.values()];
  const none = stages.filter((one) => one.hold === null && !one.done).length;
  const held = stages.filter((one) => one.hold !== null && !one.done).length;
  const done = stages.filter((one) => one.done).length;
  assert.ok(none + held > 0 && done > 0, `before ${none}, held ${held}, done ${done}`);
}

async function toldHoldsAreThere(told: Stories): Promise<void> {
  const signer = await holdpoint.signer();
  for (const { hold } of told.values()) {
    if (hold !== null) assert.ok((await signer.show(hold)).id === hold);
  }
}

/** Does the work for each, a few at a time. */
async function each(ids: Iterable<number>, work: (id: number) => Promise<void>): Promise<void> {
  const left = [...ids];
  const one = async () => {
    for (let id = left.pop(); id !== undefined; id = left.pop()) await work(id);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

async function askAgainAlone(told: Stories): Promise<void> {
  const doubtful = [...told].filter(([, one]) => !one.done).map(([id]) => id);
  await each(doubtful, async (id) => {
    const client = await connected();
    // Told that it waits for people, it goes: not sooner, or what is approved already could run
    // after the counters below are read.
    client.on('notice', () => void client.end().catch(() => {}));
    await client.query(statement(id)).catch(() => {});
    await client.end().catch(() => {});
  });
  for (const [id, n] of await counters()) assert.ok(n <= 1, `statement ${id} ran ${n} times`);
}

async function askAgainApproved(told: Stories): Promise<void> {
  const before = await counters();
  const approving = keepApproving();
  const doubtful: number[] = [];
  const left = [...told.keys()].filter((id) => before.get(id) === 0);
  await each(left, async (id) => {
    const again: Told = { done: false, hold: null };
    await ask(await connected(), id, again);
    if (!again.done) doubtful.push(id);
  });
  await approving.stop();
  const now = await counters();
  for (const id of told.keys()) assert.equal(now.get(id), 1, `statement ${id}`);
  assert.deepEqual(doubtful, []);
}

async function changesAreRecorded(): Promise<void> {
  await holdpoint.stop();
  const redeemed = (await holdpoint.entries()).filter(
    (entry): entry is DecisionEntry =>
      entry.kind === 'decision' && entry.disposition === 'redeemed',
  );
  const recorded = new Map<string, number>();
  for (const { statement: said } of redeemed) {
    recorded.set(said.text ?? '', (recorded.get(said.text ?? '') ?? 0) + 1);
  }
  for (const [id, n] of await counters()) {
    if (n > 0) assert.ok((recorded.get(statement(id)) ?? 0) >= 1, `no record of ${id}`);
  }
  const receipts = redeemed.map((entry) => entry.receipt);
  assert.equal(new Set(receipts).size, receipts.length, 'a receipt was recorded as used twice');
  const verified = await holdpoint.verifyLedger();
  assert.deepEqual([verified.ok, verified.findings], [true, []]);
}

function story(): void {
  const told: Stories = new Map();
  test('nothing runs twice, whenever it comes', () => killAndRestart(told));
  test('the kills hit every stage', () => stagesHit(told));
  test('every hold that a client was told of is still there', () => toldHoldsAreThere(told));
  test('asked again with nobody there to approve, nothing runs a second time', () =>
    askAgainAlone(told));
  test('asked again and approved, what had not run runs, once', () => askAgainApproved(told));
  test('every change has its decision in a ledger that verifies', () => changesAreRecorded());
}
