// From a person's decision to the statement's own answer, by the real way: a client of the proxy
// waits, a signed call comes over HTTP, NATS carries the answer, PostgreSQL runs it.
// Invariant: every round is measured whole; its parts are the marks that bus and disk leave in it,
// and bare syncs of the same disk are measured between the rounds.
import { once } from 'node:events';
import { closeSync, fdatasync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import type { Bus } from '../../bus/bus.ts';
import { openNatsBus } from '../../bus/nats.ts';
import { DiskFiles, type DurableFile } from '../../ledger/files.ts';
import { MARKED_POLICY, startHoldpoint } from '../setup/holdpoint.ts';
import { startNats } from '../setup/nats.ts';
import { sharedPostgres } from '../setup/postgres.ts';

/** Syncs in the path, one after the other: store, ledger, store beside ledger, ledger. */
const SYNCS = 4;
const datasync = promisify(fdatasync);

interface Round {
  readonly writes: { from: number; to: number }[];
  told: number;
  redeem: number;
  redeemed: number;
}

export interface Resumed {
  /** Milliseconds of each round, whole. */
  readonly whole: readonly number[];
  /** By part, in order. */
  readonly parts: ReadonlyMap<string, readonly number[]>;
  /** So many bare syncs one after the other, once for each round. */
  readonly bare: readonly number[];
  /** What client, proxy, approver and ledger computed meanwhile: all are in this process. */
  readonly cpu: readonly number[];
}

/** The ledger's disk, each write marked. */
class MarkedFiles extends DiskFiles {
  readonly #marks: () => Round['writes'];
  constructor(marks: () => Round['writes']) {
    super();
    this.#marks = marks;
  }
  override openDurable(path: string): DurableFile {
    const inner = super.openDurable(path);
    return {
      write: async (...given) => {
        const from = performance.now();
        const n = await inner.write(...given);
        this.#marks().push({ from, to: performance.now() });
        return n;
      },
      close: () => inner.close(),
    };
  }
}

function marked(bus: Bus, now: () => Round): Bus {
  return {
    publish: (subject, body, id) => {
      if (subject.includes('.decided.')) now().told = performance.now();
      return bus.publish(subject, body, id);
    },
    consume: (durable, subject, handler) => bus.consume(durable, subject, handler),
    listen: (subject, handler) => bus.listen(subject, handler),
    request: async (subject, body, timeout) => {
      const round = now();
      const redeems = subject.endsWith('.redeem');
      if (redeems) round.redeem = performance.now();
      const answer = await bus.request(subject, body, timeout);
      if (redeems) round.redeemed = performance.now();
      return answer;
    },
    respond: (subject, responder) => bus.respond(subject, responder),
    get unavailable() {
      return bus.unavailable;
    },
    close: () => bus.close(),
  };
}

export async function resumed(rounds: number): Promise<Resumed> {
  let round: Round = { writes: [], told: 0, redeem: 0, redeemed: 0 };
  const nats = await startNats();
  const bus = await openNatsBus({ servers: [nats.url] });
  const server = await sharedPostgres(18);
  const database = await server.createDatabase('create table held_t (id int primary key)');
  const holdpoint = await startHoldpoint({
    target: { ...server, database },
    policy: MARKED_POLICY,
    parts: { files: new MarkedFiles(() => round.writes), bus: () => marked(bus, () => round) },
  });
  const client = new pg.Client(holdpoint.login);
  const fd = openSync(join(holdpoint.state, 'bare-syncs'), 'w');
  const parts = new Map<string, number[]>();
  const found = { whole: [] as number[], parts, bare: [] as number[], cpu: [] as number[] };
  try {
    await client.connect();
    const signer = await holdpoint.signer();
    for (let i = -10; i < rounds; i++) {
      const waits = once(client, 'notice');
      const runs = client.query(`insert into held_t values (${i})`);
      // A statement that fails before it is held has no notice: its own error is told.
      const [notice] = await Promise.race([waits, runs.then(() => Promise.reject(noHold()))]);
      const id = /h-[a-z2-7]{16}/.exec(String(notice.message))?.[0] ?? '';
      await holdpoint.held(`(${i})`);
      const card = await signer.show(id);
      round = { writes: [], told: 0, redeem: 0, redeemed: 0 };
      const cpu = process.cpuUsage();
      const from = performance.now();
      const decided = signer.decide(card, 'approve', null);
      await runs;
      const to = performance.now();
      const { user, system } = process.cpuUsage(cpu);
      if (i >= 0) found.cpu.push((user + system) / 1000);
      // The first rounds warm up what later ones have warm.
      if (i >= 0) add(found, round, from, to);
      await decided;
      const bare = await syncs(fd, i);
      if (i >= 0) found.bare.push(bare);
    }
  } finally {
    closeSync(fd);
    await client.end();
    await holdpoint.close();
    await bus.close();
    await nats.close();
    await server.stop();
  }
  return found;
}

function noHold(): Error {
  return new Error('the statement ran without a signature');
}

function add(
  found: { whole: number[]; parts: Map<string, number[]> },
  r: Round,
  from: number,
  to: number,
): void {
  const last = r.writes.findLast((w) => w.to <= to && w.from >= r.redeemed - 1) ?? r.writes.at(-1);
  const first = r.writes[0];
  if (!first || !last || r.redeemed === 0) throw new Error('a round left no marks');
  found.whole.push(to - from);
  const parts: readonly (readonly [string, number])[] = [
    ['signed call, checks, store on disk', first.from - from],
    ['ledger: signature and approval', first.to - first.from],
    ['marked, handed to NATS', r.told - first.to],
    ['answer at the proxy, names and policy asked again', r.redeem - r.told],
    ['redeemed: store beside ledger, receipt checked', r.redeemed - r.redeem],
    ['ledger: the proxy’s entry', last.to - r.redeemed],
    ['run by PostgreSQL, answered', to - last.to],
  ];
  for (const [what, ms] of parts) {
    const all = found.parts.get(what) ?? [];
    found.parts.set(what, all);
    all.push(ms);
  }
}

async function syncs(fd: number, round: number): Promise<number> {
  const page = Buffer.alloc(4096, 1);
  const from = performance.now();
  for (let i = 0; i < SYNCS; i++) {
    writeSync(fd, page, 0, page.length, ((round + 10) * SYNCS + i) * page.length);
    await datasync(fd);
  }
  return performance.now() - from;
}
