// The recorder over a real ledger, and over one that goes away and comes back.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Logged } from '../../ledger/canonical.ts';
import type { Append, Appended, LedgerWriter } from '../../ledger/contract.ts';
import { type Ledger, openLedger } from '../../ledger/ledger.ts';
import type { Operation } from '../../proxy/operation.ts';
import { decisionEntry } from '../../proxy/record/decision.ts';
import { outcomeEntry } from '../../proxy/record/outcome.ts';
import { Recorder } from '../../proxy/record/recorder.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-record-'));
after(() => rmSync(directory, { recursive: true, force: true }));

/**
 * The way to the ledger, which a test can cut: before the append, or after it, when only the answer
 * is lost.
 */
class Cuttable implements LedgerWriter {
  readonly ledger: Ledger;
  cut: 'no' | 'before' | 'after' | 'seen' = 'no';

  constructor(ledger: Ledger) {
    this.ledger = ledger;
  }

  get unavailable(): string | null {
    return this.cut === 'seen' ? 'the line is cut' : this.ledger.unavailable;
  }

  async append(appends: readonly Append[]): Promise<readonly Appended[]> {
    if (this.cut === 'before' || this.cut === 'seen') throw new Error('the line is cut');
    const answers = await this.ledger.append(appends);
    if (this.cut === 'after') throw new Error('the answer is lost');
    return answers;
  }

  async close(): Promise<void> {}
}

function operation(id: string, session = 's1', over: Partial<Operation> = {}): Operation {
  const bytes = Buffer.from(`update t set a = 1 where id = '${id}'`);
  return {
    id,
    engine: 'postgres',
    bytes,
    parameters: [],
    analysis: {
      class: 'write',
      complete: true,
      unscoped: false,
      effects: [],
      normalized: 'update t …',
      fingerprint: 'f1',
    },
    target: {
      name: 'main',
      engine: 'postgres',
      environment: 'test',
      database: 'app',
      enforce: true,
      tags: [],
    },
    agent: { name: 'bot', groups: [], capabilities: [], scopes: [] },
    session: {
      id: session,
      application: null,
      client_address: '127.0.0.1',
      started: '2026-01-01T00:00:00.000Z',
      stated: { reason: null, task: null, on_behalf_of: null },
      settings: {},
    },
    in_transaction: false,
    transaction_age_ms: null,
    asked: '2026-01-01T00:00:00.000Z',
    ...over,
  };
}

const allow = { verdict: { kind: 'allow', rule: 'r', reason: 'ok' }, policy: 'p' } as const;
const detail = { disposition: 'forward', mode: 'normal', by: 'proxy/1' } as const;
const done = {
  outcome: 'done',
  answer: 'UPDATE 1',
  rows: 1,
  duration_ms: 1,
  by: 'proxy/1',
} as const;
const fields = {
  session: 's1',
  agent: 'bot',
  target: 'main',
  environment: 'test',
  engine: 'postgres',
  database: 'app',
  class: 'read',
  fingerprint: 'f',
  normalized: 'select 1',
  verdict: 'allow',
  rule: 'reads',
  policy: 'p',
  each: false,
} as const;

async function entries(ledger: Ledger): Promise<Logged[]> {
  return Promise.all(Array.from({ length: ledger.size }, (_, i) => ledger.read(i)));
}

async function setup(name: string): Promise<{
  ledger: Ledger;
  line: Cuttable;
  recorder: Recorder;
  spool: string;
  warnings: string[];
}> {
  const ledger = await openLedger({
    directory: join(directory, name),
    origin: 'example.com/record',
  });
  const line = new Cuttable(ledger);
  const spool = join(directory, `${name}-spool`);
  const warnings: string[] = [];
  const recorder = await Recorder.open({
    writer: line,
    by: 'proxy/1',
    spool,
    warn: (w) => warnings.push(w),
  });
  return { ledger, line, recorder, spool, warnings };
}

test('decision and outcome stand in order; reads are summed up', async () => {
  const { ledger, recorder } = await setup('plain');
  const tally = recorder.tally(fields);
  for (let i = 0; i < 1000; i++) tally.touch();
  for (let i = 0; i < 20; i++) {
    const op = operation(`o${i}`);
    const answer = await recorder.decision(decisionEntry(op, allow, detail));
    assert.ok(answer.size > answer.index);
    recorder.outcome(outcomeEntry(op, done));
  }
  const each = recorder.tally({ ...fields, each: true });
  for (let i = 0; i < 3; i++) each.touch();
  await recorder.close();
  const all = await entries(ledger);
  const changes = all
    .filter((e) => e.kind === 'decision' || e.kind === 'outcome')
    .map((e) => e.key);
  const wanted = Array.from({ length: 20 }, (_, i) => [
    `o${i}/decision/forward`,
    `o${i}/outcome`,
  ]).flat();
  assert.deepEqual(changes, wanted);
  const reads = all.filter((e) => e.kind === 'reads');
  assert.deepEqual(
    reads.map((e) => e.count).sort((a, b) => a - b),
    [1, 1, 1, 1000],
  );
  await ledger.close();
});

test(
  'with the ledger away decisions reject; outcomes and reads are spooled and arrive later, ' +
    'once, in order',
  async () => {
    const { ledger, line, recorder, spool } = await setup('away');
    const op = operation('o1');
    await recorder.decision(decisionEntry(op, allow, detail));
    line.cut = 'before';
    recorder.outcome(outcomeEntry(op, done));
    const tally = recorder.tally(fields);
    tally.touch();
    await recorder.flush();
    assert.ok(readdirSync(spool).length > 0);
    await assert.rejects(recorder.decision(decisionEntry(operation('o2'), allow, detail)), {
      name: 'RecordUnavailable',
    });
    await assert.rejects(recorder.decision(decisionEntry(operation('o3', 's2'), allow, detail)), {
      name: 'RecordUnavailable',
    });
    assert.equal(recorder.readsBlocked, null);
    line.cut = 'no';
    // The session's decision waits for what is behind it in the spool.
    await recorder.decision(decisionEntry(operation('o4'), allow, detail));
    await recorder.close();
    const keys = (await entries(ledger)).map((e) => (e.kind === 'reads' ? 'reads' : e.key));
    assert.deepEqual(keys, ['o1/decision/forward', 'o1/outcome', 'reads', 'o4/decision/forward']);
    assert.deepEqual(readdirSync(spool), []);
    await ledger.close();
  },
);

test('a lost answer does not double an entry', async () => {
  const { ledger, line, recorder } = await setup('lost');
  const op = operation('o1');
  await recorder.decision(decisionEntry(op, allow, detail));
  line.cut = 'after';
  recorder.outcome(outcomeEntry(op, done));
  await recorder.flush();
  line.cut = 'no';
  await recorder.close();
  const keys = (await entries(ledger)).map((e) => e.key);
  assert.deepEqual(keys, ['o1/decision/forward', 'o1/outcome']);
  await ledger.close();
});

test('the spool outlives the proxy, even with a torn last line', async () => {
  const { ledger, line, recorder, spool } = await setup('restart');
  line.cut = 'seen';
  recorder.outcome(outcomeEntry(operation('o1'), done));
  recorder.outcome(outcomeEntry(operation('o2'), done));
  await recorder.close();
  const [file] = readdirSync(spool);
  assert.ok(file);
  writeFileSync(join(spool, file), '{"key":"torn', { flag: 'a' });
  line.cut = 'no';
  const next = await Recorder.open({ writer: line, by: 'proxy/1', spool });
  next.outcome(outcomeEntry(operation('o3'), done));
  await next.flush();
  await next.close();
  assert.deepEqual(
    (await entries(ledger)).map((e) => e.key),
    ['o1/outcome', 'o2/outcome', 'o3/outcome'],
  );
  await ledger.close();
});

test('a full spool stops reads until the ledger is back', async () => {
  const ledger = await openLedger({
    directory: join(directory, 'full'),
    origin: 'example.com/record',
  });
  const line = new Cuttable(ledger);
  line.cut = 'seen';
  const recorder = await Recorder.open({
    writer: line,
    by: 'p',
    spool: join(directory, 'full-spool'),
    spoolBytes: 20_000,
  });
  let reads = 0;
  while (recorder.readsBlocked === null && reads < 1000) {
    const tally = recorder.tally({ ...fields, fingerprint: `f${reads++}`, each: true });
    tally.touch();
    await recorder.flush();
  }
  assert.match(recorder.readsBlocked ?? '', /spool of records is full/);
  line.cut = 'no';
  await recorder.flush();
  assert.equal(recorder.readsBlocked, null);
  await recorder.close();
  assert.equal(ledger.size, reads);
  await ledger.close();
});

test('an entry always fits: long statements, many parameters, many effects, odd text', () => {
  const parameters = Array.from({ length: 20_000 }, (_, i) => ({
    type: 'text',
    format: 'text' as const,
    bytes: Buffer.from(`value ${i}`),
    text: `value ${i}`,
  }));
  const object = {
    kind: 'table',
    database: null,
    schema: 'public',
    name: 't',
    columns: [],
    access: 'update',
    via: [],
    tags: [],
    identity: null,
  } as const;
  const effect = {
    class: 'write',
    verb: 'update',
    objects: Array.from({ length: 3000 }, () => object),
    predicate: 'key',
    scoped: true,
    rows_max: null,
    reversible: true,
    opaque: null,
  } as const;
  const plain = operation('o1');
  const analysis = {
    ...plain.analysis,
    effects: Array.from({ length: 100 }, () => effect),
    normalized: '\ud800'.repeat(100_000),
  };
  const op = operation('o1', 's1', { bytes: Buffer.alloc(1_000_000, 65), parameters, analysis });
  const { entry, body } = decisionEntry(op, allow, detail);
  assert.ok(JSON.stringify(entry).length < 65_000);
  assert.equal(entry.statement.text, null);
  assert.equal(body?.length, 1_000_000);
  assert.match(entry.statement.parameters.at(-1)?.type ?? '', /19968 more/);
  const binary = decisionEntry(
    operation('o2', 's1', { bytes: Buffer.from([0xff, 0xfe]) }),
    allow,
    detail,
  );
  assert.equal(binary.entry.statement.base64, '//4=');
  const none = decisionEntry(operation('o3', 's1', { parameters: parameters.slice(0, 1) }), allow, {
    ...detail,
    literals: 'none',
  });
  assert.equal(none.body, null);
  assert.doesNotMatch(JSON.stringify(none.entry), /value 0|id = 'o3'/);
});

test('a ledger that does not answer is one that has not recorded', async () => {
  const hung: LedgerWriter = {
    append: () => new Promise(() => {}),
    unavailable: null,
    close: async () => {},
  };
  const spool = join(directory, 'hung-spool');
  const recorder = await Recorder.open({ writer: hung, by: 'p', spool, decisionWaitMs: 50 });
  const record = decisionEntry(operation('o1'), allow, detail);
  await assert.rejects(recorder.decision(record), /has not answered in 50 ms/);
});
