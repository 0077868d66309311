// One suite for both buses: what holds in one process holds over a real NATS server.
// Invariant: no case asks which bus it runs on.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { type Bus, BusUnavailable } from '../../bus/bus.ts';
import { MemoryBus } from '../../bus/memory.ts';
import { type NatsBus, openNatsBus } from '../../bus/nats.ts';
import { matches, streamOf } from '../../bus/streams.ts';
import { type RunningNats, startNats } from '../setup/nats.ts';

const REQUESTED = 'holdpoint.holds.requested';

async function until(what: string, ready: () => boolean, ms = 60_000): Promise<void> {
  const end = Date.now() + ms;
  while (!ready()) {
    if (Date.now() > end) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function suite(open: () => Promise<Bus>): void {
  let bus: Bus;
  before(async () => {
    bus = await open();
  });
  after(async () => {
    await bus.close();
  });

  it('keeps a durable message until its consumer comes, and a failed one comes again', async () => {
    const mark = randomUUID();
    await bus.publish(REQUESTED, { mark, n: 1 }, randomUUID());
    await bus.publish(REQUESTED, { mark, n: 2 }, randomUUID());
    const handled: unknown[] = [];
    let failures = 2;
    const sub = await bus.consume(`late-${mark}`, REQUESTED, async (_subject, body) => {
      const b = body as { mark: string; n: number };
      if (b.mark !== mark) return;
      if (b.n === 1 && failures-- > 0) throw new Error('not now');
      handled.push(b.n);
    });
    await until('both handled', () => handled.length === 2);
    assert.deepEqual(handled.toSorted(), [1, 2]);
    await sub.close();
  });

  it('gives each message to one of a durable name’s consumers, to each name once', async () => {
    const mark = randomUUID();
    const a: number[] = [];
    const b: number[] = [];
    const other: number[] = [];
    const into = (list: number[]) => async (_: string, body: unknown) => {
      const x = body as { mark: string; n: number };
      if (x.mark === mark) list.push(x.n);
    };
    const subs = [
      await bus.consume(`team-${mark}`, REQUESTED, into(a)),
      await bus.consume(`team-${mark}`, REQUESTED, into(b)),
      await bus.consume(`other-${mark}`, REQUESTED, into(other)),
    ];
    for (let n = 0; n < 20; n++) await bus.publish(REQUESTED, { mark, n }, randomUUID());
    await until('all handled', () => a.length + b.length === 20 && other.length === 20);
    assert.equal(new Set([...a, ...b]).size, 20);
    for (const s of subs) await s.close();
  });

  it('takes a second publish of the same id as the same message', async () => {
    const mark = randomUUID();
    const seen: unknown[] = [];
    const sub = await bus.consume(`dup-${mark}`, REQUESTED, async (_, body) => {
      if ((body as { mark: string }).mark === mark) seen.push(body);
    });
    await bus.publish(REQUESTED, { mark, n: 1 }, `id-${mark}`);
    await bus.publish(REQUESTED, { mark, n: 1 }, `id-${mark}`);
    await bus.publish(REQUESTED, { mark, n: 2 }, `id2-${mark}`);
    await until('two seen', () => seen.length >= 2);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(seen.length, 2);
    await sub.close();
  });

  it('fans out to every listener from now on, with wildcards, and not after close', async () => {
    const id = randomUUID();
    const one: string[] = [];
    const two: string[] = [];
    await bus.publish(`holdpoint.holds.decided.before-${id}`, {}, `before-${id}`);
    const s1 = await bus.listen('holdpoint.holds.decided.>', async (s) => void one.push(s));
    const s2 = await bus.listen(`holdpoint.holds.decided.${id}`, async (s) => void two.push(s));
    await bus.publish(`holdpoint.holds.decided.${id}`, { a: 1 }, id);
    await until('both heard', () => two.length === 1 && one.some((s) => s.endsWith(id)));
    assert.ok(!one.some((s) => s.includes('before-')));
    await s1.close();
    await s2.close();
    await bus.publish(`holdpoint.holds.decided.${id}`, { a: 2 }, `${id}-2`);
    await new Promise((resolve) => setTimeout(resolve, 60));
    assert.equal(two.length, 1);
  });

  it('asks and answers; nobody, a failing one and a slow one are BusUnavailable', async () => {
    const subject = `holdpoint.holds.test-${randomUUID()}`;
    await assert.rejects(bus.request(subject, {}, 300), BusUnavailable);
    const sub = await bus.respond(subject, async (_, body) => {
      const b = body as { n: number; how?: string };
      if (b.how === 'fail') throw new Error('deliberate\nfailure');
      if (b.how === 'slow') await new Promise((resolve) => setTimeout(resolve, 500));
      return { n: b.n + 1 };
    });
    assert.deepEqual(await bus.request(subject, { n: 1 }, 30_000), { n: 2 });
    await assert.rejects(bus.request(subject, { n: 1, how: 'fail' }, 30_000), /deliberate failure/);
    await assert.rejects(bus.request(subject, { n: 1, how: 'slow' }, 50), BusUnavailable);
    await sub.close();
    await assert.rejects(bus.request(subject, { n: 1 }, 300), BusUnavailable);
  });

  it('carries JSON only, refuses what no stream keeps and what is too large', async () => {
    const got: unknown[] = [];
    const id = randomUUID();
    const subject = `holdpoint.holds.decided.${id}`;
    const sub = await bus.listen(subject, async (_, body) => void got.push(body));
    await bus.publish(subject, { u: undefined, d: new Date(0), s: '\u2028é🔏' }, id);
    await until('heard', () => got.length === 1);
    assert.deepEqual(got[0], { d: '1970-01-01T00:00:00.000Z', s: '\u2028é🔏' });
    await sub.close();
    await assert.rejects(bus.publish('holdpoint.nowhere', {}, 'x'), /bus\/streams\.ts/);
    await assert.rejects(bus.publish(REQUESTED, 'x'.repeat(1_000_001), 'big'), /over the bus/);
  });

  it('says so when it is closed', async () => {
    const another = await open();
    assert.equal(another.unavailable, null);
    await another.close();
    assert.match(another.unavailable ?? '', /closed/);
    await assert.rejects(another.publish(REQUESTED, {}, 'x'), BusUnavailable);
    await assert.rejects(another.request('holdpoint.holds.find', {}, 100), BusUnavailable);
  });
}

describe('the in-process bus', () => suite(async () => new MemoryBus()));

describe('the NATS bus', () => {
  let nats: RunningNats;
  before(async () => {
    nats = await startNats();
  });
  after(async () => {
    await nats.close();
  });
  suite(() => openNatsBus({ servers: [nats.url] }));
});

describe('the bus of one process', () => {
  it('accepts a message only once its consumer has it: memory dies with the process', async () => {
    const bus = new MemoryBus();
    const stored: unknown[] = [];
    let failures = 1;
    await bus.consume('store', REQUESTED, async (_subject, body) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      if (failures-- > 0) throw new Error('disk full');
      stored.push(body);
    });
    await bus.publish(REQUESTED, 1, 'one');
    assert.deepEqual(stored, [1]);
    await bus.close();
  });

  it('refuses a message that its consumer never takes, and takes it when sent again', async () => {
    const bus = new MemoryBus();
    let full = true;
    const stored: unknown[] = [];
    await bus.consume('store', REQUESTED, async (_subject, body) => {
      if (full) throw new Error('disk full');
      stored.push(body);
    });
    await assert.rejects(bus.publish(REQUESTED, 1, 'one'), BusUnavailable);
    full = false;
    await bus.publish(REQUESTED, 1, 'one');
    assert.ok(stored.includes(1));
    await bus.close();
  });
});

describe('the NATS bus when the server goes', () => {
  let nats: RunningNats;
  let bus: NatsBus | null = null;
  before(async () => {
    nats = await startNats();
  });
  after(async () => {
    await bus?.close();
    await nats.close();
  });

  it('refuses while it is away, and serves every registration again when it is back', async () => {
    await nats.kill();
    bus = await openNatsBus({ servers: [nats.url] });
    assert.match(bus.unavailable ?? '', /can't be used/);
    const consumed: unknown[] = [];
    const heard: unknown[] = [];
    await bus.consume('c', REQUESTED, async (_, body) => void consumed.push(body));
    await bus.listen('holdpoint.holds.decided.>', async (_, body) => void heard.push(body));
    await bus.respond('holdpoint.holds.find', async () => ({ hold: null }));
    await assert.rejects(bus.publish(REQUESTED, 0, '0'), BusUnavailable);
    const b = bus;
    for (let round = 1; round <= 2; round++) {
      await nats.restart();
      await until(`round ${round} connected`, () => b.unavailable === null);
      await b.publish(REQUESTED, round, `r${round}`);
      await b.publish('holdpoint.holds.decided.x', round, `d${round}`);
      await until(`round ${round} consumed`, () => consumed.includes(round));
      await until(`round ${round} heard`, () => heard.length === round);
      assert.deepEqual(await b.request('holdpoint.holds.find', {}, 30_000), { hold: null });
      await nats.kill();
      await until(`round ${round} noticed`, () => b.unavailable !== null);
      await assert.rejects(b.publish(REQUESTED, 9, '9'), BusUnavailable);
    }
    // A server that is killed may have forgotten what was acknowledged: it comes again.
    assert.deepEqual([...new Set(consumed)], [1, 2]);
  });
});

describe('subjects', () => {
  it('match as NATS does', () => {
    assert.ok(matches('a.>', 'a.b'));
    assert.ok(matches('a.>', 'a.b.c'));
    assert.ok(!matches('a.>', 'a'));
    assert.ok(matches('a.*.c', 'a.b.c'));
    assert.ok(!matches('a.*', 'a.b.c'));
    assert.ok(!matches('a.b', 'a.b.c'));
    assert.ok(!matches('a.b.c', 'a.b'));
  });
  it('of requests are in no stream', () => {
    for (const s of ['holdpoint.holds.find', 'holdpoint.holds.redeem', 'holdpoint.holds.state']) {
      assert.throws(() => streamOf(s), /no durable stream/);
    }
  });
});
