// The spool under attack: a line that is cut at random, and a proxy that is killed with entries on
// disk, while it writes and while it ships.
// Invariant: what was durable arrives, once, and within a session in order.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { tokenDigest } from '../../ledger/access.ts';
import { RemoteLedger } from '../../ledger/client.ts';
import type { Append, Appended, LedgerWriter } from '../../ledger/contract.ts';
import { type Ledger, openLedger } from '../../ledger/ledger.ts';
import { serveLedger } from '../../ledger/serve.ts';
import { Recorder } from '../../proxy/record/recorder.ts';
import { decision, outcome } from './entries.ts';
import { random } from './faulty-disk.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-spool-'));
const closing: (() => Promise<void>)[] = [];
after(async () => {
  for (const close of closing) await close();
  rmSync(directory, { recursive: true, force: true });
});
/** A port that nobody listens on. */
const NOBODY = 1;
const TOKEN = 'proxy-token-0123456789';

/** Keys of the log by session, as they stand. */
async function bySession(ledger: Ledger): Promise<Map<string, string[]>> {
  const sessions = new Map<string, string[]>();
  for (let index = 0; index < ledger.size; index++) {
    const entry = await ledger.read(index);
    if (!('session' in entry)) continue;
    sessions.set(entry.session, [...(sessions.get(entry.session) ?? []), entry.key]);
  }
  return sessions;
}

/** All of `wanted` is there, once and in this order; others may stand between. */
function inOrder(found: readonly string[], wanted: readonly string[], what: string): void {
  assert.equal(new Set(found).size, found.length, `${what} has an entry twice`);
  const kept = found.filter((key) => wanted.includes(key));
  assert.deepEqual(kept, wanted, what);
}

type Cut = 'no' | 'before' | 'after' | 'seen';

test('a line cut at random: nothing doubled, nothing lost, each session in order', async () => {
  const ledger = await openLedger({ directory: join(directory, 'cut'), origin: 'example.com/cut' });
  closing.push(() => ledger.close());
  let cut: Cut = 'no';
  const line: LedgerWriter = {
    get unavailable() {
      return cut === 'seen' ? 'the line is cut' : null;
    },
    append: async (appends: readonly Append[]): Promise<readonly Appended[]> => {
      const then = cut;
      if (then === 'before' || then === 'seen') throw new Error('the line is cut');
      const answers = await ledger.append(appends);
      if (then === 'after') throw new Error('the answer is lost');
      return answers;
    },
    close: async () => {},
  };
  const spool = join(directory, 'cut-spool');
  const recorder = await Recorder.open({ writer: line, by: 'proxy/test', spool });
  const choose = random(7);
  const pick = (n: number): number => Math.floor(choose() * n);
  const wanted = new Map<string, string[]>();
  const expect = (session: string, key: string): void => {
    wanted.set(session, [...(wanted.get(session) ?? []), key]);
  };
  const cuts: readonly Cut[] = ['no', 'no', 'no', 'before', 'after', 'seen'];
  let refused = 0;
  const session = async (name: string): Promise<void> => {
    for (let step = 0; step < 60; step++) {
      if (pick(8) === 0) cut = cuts[pick(cuts.length)] ?? 'no';
      const operation = `${name}-${step}`;
      const over = { operation, session: name };
      try {
        await recorder.decision({ entry: decision(step, over), body: null });
      } catch {
        refused++;
        continue;
      }
      expect(name, `${operation}/decision/forward`);
      recorder.outcome({ ...outcome(step), ...over });
      expect(name, `${operation}/outcome`);
      if (pick(5) === 0) await new Promise((resolve) => setTimeout(resolve, pick(15)));
    }
  };
  await Promise.all(['a', 'b', 'c', 'd', 'e'].map(session));
  cut = 'no';
  await recorder.flush();
  await recorder.close();
  assert.ok(refused > 5, `${refused} decisions were refused`);
  assert.deepEqual(readdirSync(spool), []);
  const found = await bySession(ledger);
  for (const [name, keys] of wanted) inOrder(found.get(name) ?? [], keys, `session ${name}`);
});

/** The proxy of its own process: says how many outcomes are durable, until it is killed. */
function proxy(spool: string, port: number, from: number) {
  const program = join(import.meta.dirname, 'killed-proxy.ts');
  const child = spawn(process.execPath, [program, spool, `${port}`, TOKEN, `${from}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  let wake = (): void => {};
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
    wake();
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  const durable = (): number[] => {
    const lines = said.slice(0, said.lastIndexOf('\n') + 1).split('\n');
    return lines.filter((line) => line !== '').map(Number);
  };
  return {
    durable,
    /** Waits until it has said so much, then kills it. */
    kill: async (count: number): Promise<void> => {
      while (durable().length < count) await new Promise<void>((resolve) => (wake = resolve));
      child.kill('SIGKILL');
      await ended;
    },
  };
}

test('a proxy killed with a spool on disk, writing and shipping: all of it arrives', async () => {
  const spool = join(directory, 'killed-spool');
  const durable = new Set<number>();
  const keep = (numbers: readonly number[]): void => {
    for (const number of numbers) durable.add(number);
  };
  // The ledger is away: everything goes to disk.
  for (const [round, count] of [30, 1, 60].entries()) {
    const killed = proxy(spool, NOBODY, round * 10_000);
    await killed.kill(count);
    keep(killed.durable());
  }
  assert.ok(readdirSync(spool).length > 0);
  const serve = () =>
    serveLedger({
      directory: join(directory, 'killed'),
      origin: 'example.com/killed',
      host: '127.0.0.1',
      port: 0,
      principals: [
        {
          name: 'proxy',
          rights: ['append'],
          kinds: null,
          writes_as: null,
          token_sha256: tokenDigest(TOKEN),
          certificate_sha256: null,
        },
      ],
    });
  // The ledger is back: killed while it ships and takes more.
  const serving = await serve();
  closing.push(() => serving.close());
  for (const [round, count] of [1, 5].entries()) {
    const killed = proxy(spool, serving.port, 50_000 + round * 10_000);
    await killed.kill(count);
    keep(killed.durable());
  }
  const writer = new RemoteLedger({ urls: [`http://127.0.0.1:${serving.port}`], token: TOKEN });
  const recorder = await Recorder.open({ writer, by: 'proxy/test', spool });
  await recorder.flush();
  await recorder.close();
  await writer.close();
  assert.deepEqual(readdirSync(spool), []);
  const { ledger } = serving;
  assert.ok(ledger);
  const keys = [...(await bySession(ledger)).values()].flat();
  assert.equal(new Set(keys).size, keys.length);
  for (const number of durable) assert.ok(keys.includes(`op-${number}/outcome`), `${number}`);
  for (const [session, found] of await bySession(ledger)) {
    const numbers = found.map((key) => Number(key.split(/[-/]/)[1]));
    assert.deepEqual(
      numbers,
      numbers.toSorted((a, b) => a - b),
      session,
    );
  }
  assert.ok(durable.size >= 97);
});
