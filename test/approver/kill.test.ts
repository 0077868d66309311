// kill -9 of the approver, and of NATS, at random points while people sign: nothing lost, nothing
// twice.
// Invariant: after every night each hold has one end, on record once, told with one receipt.
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { ApproverClient, loadPerson } from '../../approver/client.ts';
import { openStore } from '../../approver/store.ts';
import { openNatsBus } from '../../bus/nats.ts';
import { addSigner } from '../../cli/signer.ts';
import { openLedger } from '../../ledger/ledger.ts';
import type { HoldAnswer } from '../../proxy/contract.ts';
import { Holds } from '../../proxy/hold/wait.ts';
import { held, operation, until } from '../setup/holds.ts';
import { startNats } from '../setup/nats.ts';
import { freePort } from '../setup/port.ts';

const KILLS = Number(process.env.HOLDPOINT_KILLS ?? 8);
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
function processOf(folder: string, nats: string, port: number) {
  let child: ChildProcess | null = null;
  const start = async () => {
    child = fork(join(import.meta.dirname, 'process.ts'), [folder, nats, String(port)]);
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

/** Each hold has one end, in the store and on record. */
async function inOrder(folder: string, ids: readonly string[]): Promise<void> {
  const after = await openStore(join(folder, 'approver.db'));
  const ledger = await openLedger({
    directory: join(folder, 'ledger'),
    origin: 'example.com/killed',
  });
  const ends = new Map<string, number>();
  for (let i = 0; i < ledger.size; i++) {
    const e = await ledger.read(i);
    if (e.kind === 'hold') ends.set(e.hold, (ends.get(e.hold) ?? 0) + 1);
  }
  for (const id of ids) {
    assert.equal((await after.holds.get(id))?.state, 'approved');
    assert.equal(ends.get(id), 1, `${id} is ${ends.get(id) ?? 0} times on record`);
  }
  await ledger.close();
  await after.close();
}

it(`survives ${KILLS} kills (seed ${SEED})`, { timeout: KILLS * 20_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'holdpoint-kill-'));
  const nats = await startNats();
  const port = await freePort();
  const chance = random(SEED);
  const { start, kill } = processOf(folder, nats.url, port);
  const bus = await openNatsBus({ servers: [nats.url] });
  try {
    const store = await openStore(join(folder, 'approver.db'));
    const keyFile = join(folder, 'ann.pem');
    await addSigner(store, { name: 'Ann', groups: ['db-owners'], keyFile });
    await store.close();
    const url = `http://localhost:${port}`;
    const ann = new ApproverClient(url, await loadPerson('Ann', keyFile));
    const holds = new Holds({ bus, instance: 'kill', keys: async () => ({ keys: [] }) });
    const answers = new Map<string, Set<string>>();
    await bus.listen('holdpoint.holds.decided.>', async (_s, body) => {
      const answer = body as HoldAnswer;
      const all = answers.get(answer.hold) ?? new Set();
      answers.set(answer.hold, all.add(JSON.stringify(answer)));
    });
    await start();
    const ids: string[] = [];
    for (let n = 0; n < KILLS; n++) {
      const request = holds.request(
        operation({ statement: `DELETE FROM t WHERE n = ${n}` }),
        held(),
      );
      ids.push(request.id);
      const signing = (async () => {
        await holds.open(request);
        await until(
          'shown',
          async () => (await ann.show(request.id).catch(() => null)) !== null,
          3000,
        );
        await ann.decide(await ann.show(request.id), 'approve', null);
      })().catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, chance() * 60));
      if (chance() < 0.15) await nats.restart();
      await kill();
      await signing;
      await start();
      await until('connected again', () => bus.unavailable === null);
      // What the bus had not accepted is asked again, as an agent does; what was signed stays so.
      await until(
        `hold ${n} approved`,
        async () => {
          const card = await ann.show(request.id).catch(() => null);
          if (card === null) await holds.open(request).catch(() => {});
          if (card?.state === 'pending') await ann.decide(card, 'approve', null).catch(() => {});
          return card?.state === 'approved';
        },
        15_000,
      );
    }
    await until('all told', () => ids.every((id) => answers.has(id)), 15_000);
    for (const id of ids) assert.equal(answers.get(id)?.size, 1, `${id} was answered in two ways`);
    await kill();
    await inOrder(folder, ids);
  } finally {
    await kill();
    await bus.close();
    await nats.close();
    await rm(folder, { recursive: true, force: true });
  }
});
