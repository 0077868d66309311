// The approver's figures, measured: a plain table. Run it with `node test/approver/figures.ts`.
// Invariant: real processes, a real NATS server, a disk; what is printed was measured in this run.
import { type ChildProcess, fork } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startSession } from '../../approver/api/principal.ts';
import { openStore, type Store } from '../../approver/store.ts';
import { openNatsBus } from '../../bus/nats.ts';
import { addSigner } from '../../cli/signer.ts';
import { Holds } from '../../proxy/hold/wait.ts';
import { held, operation, room, signed, until } from '../setup/holds.ts';
import { startNats } from '../setup/nats.ts';
import { resumed } from './resumed.ts';

const PENDING = Number(process.env.HOLDPOINT_PENDING ?? 10_000);
const ROUNDS = Number(process.env.HOLDPOINT_ROUNDS ?? 300);
const rows: (readonly [string, string, string])[] = [];

function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

async function overNats(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'holdpoint-figures-'));
  const nats = await startNats();
  const bus = await openNatsBus({ servers: [nats.url] });
  const keyFile = join(folder, 'ann.pem');
  const store = await openStore(join(folder, 'approver.db'));
  await addSigner(store, { name: 'Ann', groups: ['db-owners'], keyFile });
  const child: ChildProcess = fork(join(import.meta.dirname, 'process.ts'), [folder, nats.url]);
  const { ready } = await new Promise<{ ready: number }>((resolve, reject) => {
    child.once('message', (m) => resolve(m as { ready: number }));
    child.once('exit', (code) => reject(new Error(`the approver ended with ${code}`)));
  });
  const url = `http://localhost:${ready}`;
  try {
    const holds = new Holds({ bus, instance: 'f', keys: async () => ({ keys: [] }) });
    await holds.start();
    await queue(holds, store, url);
    child.send('memory');
    const { rss } = await new Promise<{ rss: number }>((resolve) =>
      child.once('message', (m) => resolve(m as { rss: number })),
    );
    rows.push(['memory of the approver then', `${(rss / 2 ** 20).toFixed(0)} MB`, '≤ 300 MB']);
  } finally {
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    await store.close();
    await bus.close();
    await nats.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function latency(): Promise<void> {
  const { whole, parts, bare, cpu } = await resumed(ROUNDS);
  const ms = (values: readonly number[], q: number) => `${quantile(values, q).toFixed(1)} ms`;
  const both = (v: readonly number[]) => `${ms(v, 0.5)} / ${ms(v, 0.99)}`;
  rows.push(['decision sent to statement answered, NATS, median', ms(whole, 0.5), '']);
  rows.push(['decision sent to statement answered, NATS, p99', ms(whole, 0.99), '≤ 50 ms']);
  for (const [what, values] of parts) rows.push([`  ${what}, median / p99`, both(values), '']);
  rows.push(['  bare: four syncs of the same disk, median / p99', both(bare), '']);
  rows.push(['  computed meanwhile, all together, median / p99', both(cpu), '']);
  const ratio = (q: number) => (quantile(whole, q) / quantile(bare, q)).toFixed(1);
  rows.push(['  whole over bare, median / p99', `${ratio(0.5)} / ${ratio(0.99)}`, '']);
}

async function queue(holds: Holds, store: Store, url: string): Promise<void> {
  const began = performance.now();
  for (let i = 0; i < PENDING; i += 200) {
    const some = Array.from({ length: Math.min(200, PENDING - i) }, (_, k) =>
      holds.open(
        holds.request(
          operation({
            statement: `DELETE FROM u WHERE a = ${i + k}`,
            agentName: `agent-${k % 20}`,
          }),
          held(),
        ),
      ),
    );
    await Promise.all(some);
  }
  await until(
    'all arrived',
    async () => (await store.holds.count({ states: ['pending'] })) >= PENDING,
    120_000,
  );
  const s = (performance.now() - began) / 1000;
  rows.push([`${PENDING} holds opened and taken in`, `${(PENDING / s).toFixed(0)} a second`, '']);
  const session = await startSession({ store, origins: [], now: Date.now }, 'Ann');
  const pages: number[] = [];
  for (let i = 0; i < 20; i++) {
    const from = performance.now();
    const answer = await fetch(`${url}/api/holds?state=pending&order=oldest`, {
      headers: { cookie: `holdpoint_session=${session}` },
    });
    await answer.arrayBuffer();
    pages.push(performance.now() - from);
  }
  rows.push([
    `queue page with ${PENDING} pending, worst of 20`,
    `${Math.max(...pages).toFixed(0)} ms`,
    '≤ 200 ms',
  ]);
}

async function decisions(): Promise<void> {
  const r = await room();
  try {
    const ann = await r.person('Ann');
    const requests = [];
    for (let i = 0; i < 2000; i++) {
      const request = r.holds.request(
        operation({ statement: `DELETE FROM t${i}`, agentName: `agent-${i % 20}` }),
        held(),
      );
      await r.approver.desk.receive(request);
      requests.push(request);
    }
    const key = createPrivateKey(await readFile(ann.file));
    const given = requests.map((q) => signed({ ...ann, key }, q, 'approve'));
    const from = performance.now();
    let next = 0;
    const worker = async () => {
      for (;;) {
        const one = given[next++];
        if (!one) return;
        await r.approver.desk.decide(one);
      }
    };
    await Promise.all(Array.from({ length: 16 }, worker));
    const s = (performance.now() - from) / 1000;
    rows.push([
      'decisions on SQLite, 16 at once, recorded and told',
      `${(2000 / s).toFixed(0)} a second`,
      '≥ 200',
    ]);
  } finally {
    await r.close();
  }
}

// As holdpoint.mjs starts it; the pool is made with its first task.
process.env.UV_THREADPOOL_SIZE ??= '16';
await latency();
await overNats();
await decisions();
const width = Math.max(...rows.map(([what]) => what.length));
for (const [what, measured, wanted] of rows) {
  process.stdout.write(`${what.padEnd(width)}  ${measured.padStart(20)}  ${wanted}\n`);
}
