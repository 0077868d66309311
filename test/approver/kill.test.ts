// kill -9 of the approver, and of NATS, at random points while people sign and proxies redeem:
// nothing lost, nothing twice; on both stores.
// Invariant: after every night each hold is approved once on record, told with one receipt, and
// used by one operation.
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import type { Card } from '../../approver/card.ts';
import { ApproverClient, loadPerson } from '../../approver/client.ts';
import type { HoldRequest } from '../../approver/contract.ts';
import { openStore } from '../../approver/store.ts';
import { openNatsBus } from '../../bus/nats.ts';
import { addSigner } from '../../cli/signer.ts';
import { openLedger } from '../../ledger/ledger.ts';
import type { HoldAnswer } from '../../proxy/contract.ts';
import { Holds } from '../../proxy/hold/wait.ts';
import { held, operation, storePlaces, until } from '../setup/holds.ts';
import { type RunningNats, startNats } from '../setup/nats.ts';
import { freePort } from '../setup/port.ts';

const KILLS = Number(process.env.HOLDPOINT_KILLS ?? 4);
const SEED = Number(process.env.HOLDPOINT_SEED ?? 7);

/** Numbers that come again for the same seed (mulberry32). */
function random(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** The approver, as often as it is killed. */
function processOf(folder: string, nats: string, port: number, place: string) {
  let child: ChildProcess | null = null;
  const start = async () => {
    child = fork(join(import.meta.dirname, 'process.ts'), [folder, nats, String(port), place]);
    const up = child;
    await new Promise<void>((resolve, reject) => {
      up.once('message', () => resolve());
      up.once('exit', (code) => reject(new Error(`the approver ended with ${code}`)));
    });
    up.removeAllListeners('exit');
  };
  const kill = async () => {
    const up = child;
    child = null;
    if (!up) return;
    const gone = new Promise((resolve) => up.once('exit', resolve));
    up.kill('SIGKILL');
    await gone;
  };
  return { start, kill };
}

/** Each hold has one end and one use, in the store and on record. */
async function inOrder(folder: string, place: string, used: ReadonlyMap<string, string>) {
  const after = await openStore(place);
  const ledger = await openLedger({
    directory: join(folder, 'ledger'),
    origin: 'example.com/killed',
  });
  const told = new Map<string, string[]>();
  for (let i = 0; i < ledger.size; i++) {
    const e = await ledger.read(i);
    if (e.kind !== 'hold') continue;
    const by = e.state === 'redeemed' ? ` by ${e.operation}` : '';
    told.set(e.hold, [...(told.get(e.hold) ?? []), `${e.state}${by}`]);
  }
  for (const [id, operation] of used) {
    const hold = await after.holds.get(id);
    assert.equal(hold?.state, 'redeemed');
    assert.equal(hold.redeemed_by, operation);
    assert.deepEqual(told.get(id), ['approved', `redeemed by ${operation}`]);
  }
  await ledger.close();
  await after.close();
}

for (const place of storePlaces())
  it(`survives ${KILLS} kills on ${place.name} (seed ${SEED})`, {
    skip: place.skip,
    timeout: KILLS * 90_000,
  }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdpoint-kill-'));
    const nats = await startNats();
    try {
      await nights(folder, nats, (await place.place()) ?? join(folder, 'approver.db'));
    } finally {
      await nats.close();
      await rm(folder, { recursive: true, force: true });
      await place.close();
    }
  });

async function nights(folder: string, nats: RunningNats, place: string): Promise<void> {
  const port = await freePort();
  const chance = random(SEED);
  const { start, kill } = processOf(folder, nats.url, port, place);
  const bus = await openNatsBus({ servers: [nats.url] });
  try {
    const store = await openStore(place);
    const keyFile = join(folder, 'ann.pem');
    await addSigner(store, { name: 'Ann', groups: ['db-owners'], keyFile });
    await store.close();
    const ann = new ApproverClient(`http://localhost:${port}`, await loadPerson('Ann', keyFile));
    const holds = new Holds({ bus, instance: 'kill', keys: async () => ({ keys: [] }) });
    const answers = new Map<string, Set<string>>();
    await bus.listen('holdpoint.holds.decided.>', async (_s, body) => {
      const answer = body as HoldAnswer;
      const all = answers.get(answer.hold) ?? new Set();
      answers.set(answer.hold, all.add(JSON.stringify(answer)));
    });
    await start();
    const used = new Map<string, string>();
    // Each round has two: while people sign, and while proxies redeem.
    for (let n = 0; n < KILLS / 2; n++) {
      const statement = `DELETE FROM t WHERE n = ${n}`;
      const request = holds.request(operation({ statement }), held());
      const during = async (work: () => Promise<unknown>) => {
        const busy = work().catch(() => {});
        await new Promise((resolve) => setTimeout(resolve, chance() * 60));
        if (chance() < 0.15) await nats.restart();
        await kill();
        await busy;
        await start();
        await until('connected again', () => bus.unavailable === null);
      };
      await during(async () => {
        await holds.open(request);
        await until('shown', async () => (await shown(ann, request.id)) !== null, 3000);
        await ann.decide(await ann.show(request.id), 'approve', null);
      });
      await approvedAtLast(ann, holds, request);
      // Two proxies want it at once; who was told yes before the kill is the one it was given to.
      const yes = new Set<string>();
      const redeem = async (by: string) => {
        const { id, digest, agent } = request;
        const answer = await holds.redeem(id, digest, agent.name, by).catch(() => null);
        if (answer?.ok) yes.add(by);
        return answer;
      };
      const both = [`${n}-a`, `${n}-b`];
      await during(() => Promise.all(both.map(redeem)));
      await until(`hold ${n} answered`, async () =>
        (await Promise.all(both.map(redeem))).every((answer) => answer !== null),
      );
      assert.equal(yes.size, 1, `hold ${n} was given to ${[...yes].join(' and ') || 'nobody'}`);
      for (const by of yes) used.set(request.id, by);
    }
    await allTold(ann, used, answers);
    await kill();
    await inOrder(folder, place, used);
  } finally {
    await kill();
    await bus.close();
  }
}

/** Every hold was answered in one way, and the ledger has its use. */
async function allTold(
  ann: ApproverClient,
  used: ReadonlyMap<string, string>,
  answers: ReadonlyMap<string, ReadonlySet<string>>,
): Promise<void> {
  await until('all told', () => [...used.keys()].every((id) => answers.has(id)));
  for (const id of used.keys()) {
    assert.equal(answers.get(id)?.size, 1, `${id} was answered in two ways`);
  }
  await until('all on record', async () => {
    const cards = await Promise.all([...used.keys()].map((id) => shown(ann, id)));
    return cards.every((card) => card?.state === 'redeemed');
  });
}

async function shown(ann: ApproverClient, id: string): Promise<Card | null> {
  return await ann.show(id).catch(() => null);
}

/** What the bus had not accepted is asked again, as an agent does; what was signed stays so. */
async function approvedAtLast(ann: ApproverClient, holds: Holds, request: HoldRequest) {
  await until(`${request.id} approved`, async () => {
    const card = await shown(ann, request.id);
    if (card === null) await holds.open(request).catch(() => {});
    if (card?.state === 'pending') await ann.decide(card, 'approve', null).catch(() => {});
    return card?.state === 'approved';
  });
}
