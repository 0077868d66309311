// Input made to hurt: too long, too deep, not text at all. Each is judged or refused in bounded
// time, nobody else waits meanwhile, and the next statement is judged.
import assert from 'node:assert/strict';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { after, before, describe, test } from 'node:test';
import { EFFECT_LIMITS } from '../../proxy/limits.ts';
import { type CatalogSnapshot, openCatalog } from '../../proxy/postgres/catalog.ts';
import { analyze, initialContext, loadParser } from '../../proxy/postgres/effect/analyze.ts';
import { applyChange } from '../../proxy/postgres/effect/context.ts';
import { ahead, understand } from '../../proxy/postgres/effect/long.ts';
import { type ThreadLimits, Threads } from '../../proxy/postgres/effect/long-threads.ts';
import type { Parsed } from '../../proxy/postgres/statement.ts';
import { RawClient } from '../peers/client.ts';
import { extended, query, sync } from '../peers/messages.ts';
import { type Holdpoint, MARKED_POLICY, startHoldpoint } from '../setup/holdpoint.ts';
import { type PostgresServer, startPostgres } from '../setup/postgres.ts';

before(loadParser);

const context = initialContext({ user: 'postgres' });

/** As a session does it: what is long is waited for. */
async function judged(text: string): Promise<Parsed> {
  await ahead(text, context, null);
  return understand(text, context, null);
}

const broken = [0x73, 0x65, 0x6c, 0x65, 0x63, 0x74, 0x20, 0x27, 0xff, 0xfe, 0x27];
const MEGABYTE = 1_048_576;

const REFUSED: readonly (readonly [what: string, text: string])[] = [
  ['64,000 terms', `select ${'1+'.repeat(64_000)}1`],
  ['8,000 terms', `select ${'1+'.repeat(8_000)}1`],
  ['4,000 terms', `select ${'1+'.repeat(4_000)}1`],
  ['10,000 parentheses', `select ${'('.repeat(10_000)}1${')'.repeat(10_000)}`],
  ['10,000 brackets', `select ${'array['.repeat(10_000)}1${']'.repeat(10_000)}`],
  ['10,000 nots', `select ${'not '.repeat(10_000)}true`],
  ['10,000 cases', `select ${'case when '.repeat(10_000)}true${' then 1 end'.repeat(10_000)}`],
  ['1 MB of string', `select '${'x'.repeat(MEGABYTE)}'`],
  ['1 MB of list', `select 1 where 1 in (${'1,'.repeat(524_288)}1)`],
  ['1 MB of statements', 'select 1;'.repeat(110_000)],
  ['1 MB of subscripts', `select a${'[1]'.repeat(200_000)}`],
  ['1 MB of casts', `select 1${'::int'.repeat(70_000)}`],
  ['an EXECUTE in a long text', `${' '.repeat(20_000)} execute p`],
  ['a NUL', 'select 1\0; delete from users'],
  ['bytes that are not UTF-8', Buffer.from(broken).toString('utf8')],
  ['long, and not UTF-8', `select '${'\ufffd'.repeat(20_000)}'`],
  ['an open string', "select 'abc"],
  ['a long open string', `select '${'x'.repeat(100_000)}`],
  ['an open comment', 'select 1 /* /* */'],
  ['an open dollar quote', 'select $a$ b'],
  ['nonsense', '\u0001\u0002)(*&^%'],
];

const LONG: readonly (readonly [what: string, text: string, found?: string])[] = [
  ['a long literal', `select '${'x'.repeat(900_000)}'`, 'read'],
  ['a long comment', `delete from users where id = 1 --${'x'.repeat(900_000)}`, 'destructive'],
  ['a long list', `delete from users where id in (${'1,'.repeat(8_000)}1)`, 'destructive'],
  ['many rows', `insert into t (a, b) values ${"(1,'a'),".repeat(4_000)}(1,'a')`, 'write'],
  ['many statements', `${"select 'abc';".repeat(998)} drop table users`, 'destructive'],
  ['semicolons that end nothing', quotedSemicolons(), 'destructive'],
  ['joins', `delete from t using ${names(500)} where ${'a1.x = t.x and '.repeat(900)} a2.x=1`],
];

function quotedSemicolons(): string {
  const many = ';'.repeat(2_000);
  const quoted = [`'${many}''${many}'`, `E'\\'${many}'`, `$a$${many}$$$a$`, `"${many}"`];
  return `delete from t where (${quoted}) = 1 /* /* ' */ ${many} */ -- ${many}\n; select f$1$`;
}

function names(count: number): string {
  return Array.from({ length: count }, (_, i) => `t a${i}`).join(',');
}

for (const [what, text] of REFUSED) {
  test(`${what}: unknown, with a reason`, async () => {
    const parsed = await judged(text);
    assert.equal(parsed.class, 'unknown');
    assert.equal(parsed.complete, false);
    const reasons = parsed.effects.flatMap((effect) => effect.opaque ?? []);
    assert.ok(reasons.length > 0 && reasons.every((reason) => reason.length < 1000));
    assert.equal(typeof parsed.normalized, 'string');
    assert.match(parsed.fingerprint, /^[0-9a-f]{16}$/);
    assert.equal(
      (await judged(`delete from users where id = ${text.length}`)).class,
      'destructive',
    );
  });
}

for (const [what, text, found = 'destructive'] of LONG) {
  test(`${what}: judged as it would be here`, async () => {
    const there = await judged(text);
    const here = analyze(text, context, null);
    assert.equal(there.class, found);
    assert.equal(there.fingerprint, here.fingerprint);
    assert.equal(there.normalized, here.normalized);
    assert.deepEqual(there.effects, here.effects);
    assert.deepEqual(there.statements, here.statements);
  });
}

test('what a long text prepares is not understood when it is run', async () => {
  const parsed = await judged(`prepare p as select ${'1,'.repeat(5_000)}1`);
  const [change] = parsed.statements.flatMap((statement) => statement.changes);
  assert.equal(change?.kind, 'prepare');
  assert.ok(change?.kind === 'prepare' && change.statement.query === undefined);
  assert.equal(change.statement.effects[0]?.class, 'unknown');
});

test('what is short can not be made much', () => {
  const tables = Array.from({ length: 1300 }, (_, i) => `t${i}`).join(',');
  const [prepared] = analyze(`prepare p as select 1 from ${tables}`, context, null).statements;
  const after = (prepared?.changes ?? []).reduce(applyChange, context);
  const list = `select ${'1,'.repeat(1900)}1`;
  for (const text of [
    'execute p;'.repeat(800),
    'explain execute p;'.repeat(400),
    `do $$declare x text := '${list}'; begin ${'execute x;'.repeat(400)} end$$`,
  ]) {
    assert.ok(text.length <= EFFECT_LIMITS.here_characters);
    const parsed = analyze(text, after, null);
    assert.equal(parsed.effects[0]?.opaque, 'more syntax nodes than can be judged');
  }
  assert.equal(analyze('execute p', after, null).class, 'read');
});

describe('threads', () => {
  const long = (text: string) => `${text} --${'x'.repeat(EFFECT_LIMITS.here_characters)}`;
  const heavy = `select ${'(select 1),'.repeat(48_000)}1`;
  const only = (limits: Partial<ThreadLimits>) =>
    new Threads({ ...EFFECT_LIMITS, threads: 1, ...limits });
  const judge = (threads: Threads, text: string) => threads.judge(text, context, null);

  /** The next text is judged, however slow the machine. */
  async function judgesAgain(threads: Threads): Promise<void> {
    for (;;) {
      const answer = await judge(threads, long('delete from users'));
      if (typeof answer === 'string') continue;
      assert.equal(answer.statements[0]?.effects[0]?.verb, 'delete');
      return;
    }
  }

  test('one that takes too long is given up, and another judges what comes next', async () => {
    const threads = only({ thread_ms: 150 });
    await judgesAgain(threads);
    assert.equal(await judge(threads, heavy), 'it takes too long to judge');
    await judgesAgain(threads);
  });

  test('one that runs out of memory takes nobody with it', async () => {
    const threads = only({ thread_heap_mb: 24, thread_ms: 60_000 });
    await judgesAgain(threads);
    assert.match(String(await judge(threads, heavy)), /^its thread (failed|ended)$/);
    await judgesAgain(threads);
  });

  test('only so many texts wait', async () => {
    const threads = only({ thread_waiting: 2 });
    const asked = [1, 2, 3, 4, 5].map((n) => judge(threads, long(`select ${n}`)));
    const answers = await Promise.all(asked);
    const refused = answers.map((answer) => typeof answer === 'string');
    assert.deepEqual(refused, [false, false, false, true, true]);
  });

  describe('with a catalog', () => {
    let server: PostgresServer;
    before(async () => {
      server = await startPostgres();
    });
    after(() => server?.stop());

    test('they judge by it, and by the newest', async () => {
      const database = await server.createDatabase(`
        create table users (id int primary key, name text);
        create table lines (user_id int references users on delete cascade);
        create view active as select * from users where name is not null;`);
      const reader = await openCatalog(server.url(database));
      const client = await server.connect(database);
      const threads = only({});
      try {
        // More catalogs than a thread keeps, the first of them once more at the end.
        const first = reader.current();
        for (let round = 0; round <= EFFECT_LIMITS.thread_catalogs + 1; round++) {
          await client.query(`create table lines_${round} (user_id int references users)`);
          // What differs from the one before is handed over, or all of it.
          await (round % 3 === 2 ? reader.refresh() : reader.probe());
          await same(threads, reader.current());
        }
        await same(threads, first);
      } finally {
        await client.end();
        await reader.close();
      }
    });

    async function same(threads: Threads, catalog: CatalogSnapshot | null): Promise<void> {
      for (const text of [
        'delete from users where id = 1',
        'select * from active',
        'drop table t',
      ]) {
        const answer = await threads.judge(long(text), context, catalog);
        assert.ok(typeof answer !== 'string', String(answer));
        assert.deepEqual(answer.statements, analyze(long(text), context, catalog).statements);
      }
    }
  });
});

describe('in a session', () => {
  let server: PostgresServer;
  let holdpoint: Holdpoint;
  before(async () => {
    server = await startPostgres();
    const database = await server.createDatabase('create table t (a int, b int)');
    const target = { ...server, database };
    holdpoint = await startHoldpoint({ target, policy: MARKED_POLICY, tls: 'off' });
  });
  after(async () => {
    await holdpoint?.close();
    await server?.stop();
  });

  const values = `insert into t values ${'(1,2),'.repeat(20_000)}(1,2)`;
  const list = `select count(*) from t where a in (${'1,'.repeat(40_000)}1)`;
  const literal = `select length('${'x y '.repeat(240_000)}')`;

  test('answers keep their order, by either protocol', async () => {
    const client = await RawClient.login(holdpoint.login);
    client.send(query(list), query('select 1'), query(`${literal}, 2`), extended(literal), sync());
    const seen = (await client.replies(4)).map((line) => line.slice(0, 100));
    const rows = seen.filter((line) => line.startsWith('D'));
    assert.deepEqual(rows.length, 4, seen.join('\n'));
    assert.match(rows[1] ?? '', /1/);
    assert.match(rows[2] ?? '', /960000.*2/);
    assert.match(rows[3] ?? '', /960000/);
    await client.end();
  });

  /** The longest that the event loop stood still meanwhile, in milliseconds. */
  async function stalled(work: () => Promise<void> | void): Promise<number> {
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    // It counts from one turn of the loop to the next.
    await new Promise((resolve) => setTimeout(resolve, 10));
    await work();
    await new Promise((resolve) => setTimeout(resolve, 10));
    delay.disable();
    return delay.max / 1e6;
  }

  /** What others waited for while these texts were judged, and how often they were answered. */
  async function beside(texts: readonly string[]) {
    const hostile = await RawClient.login(holdpoint.login);
    const other = await RawClient.login(holdpoint.other);
    let under = true;
    let answered = 0;
    let longest = 0;
    const stall = await stalled(async () => {
      const waiting = (async () => {
        for (const text of texts) {
          hostile.send(query(text));
          await hostile.replies(1);
        }
        under = false;
      })();
      while (under) {
        const began = performance.now();
        other.send(query('select 1'));
        await other.replies(1);
        longest = Math.max(longest, performance.now() - began);
        if (under) answered += 1;
      }
      await waiting;
    });
    await hostile.end();
    await other.end();
    return { stall, longest, answered };
  }

  test('nobody else waits for a long text', async (t) => {
    const textsOf = (round: number) => [
      `${values} returning ${round}`,
      ...[1, 2, 3, 4].map((n) => `${list} - ${n} + ${round}`),
      `${literal}, ${round}`,
    ];
    const told = (ms: number) => `${ms.toFixed(0)} ms`;
    await beside([`select '${'x'.repeat(10_000)}'`]);
    // What holds the loop up does so every time; what a busy machine does to it does not.
    for (let round = 0; ; round++) {
      const texts = textsOf(round);
      const { stall, longest, answered } = await beside(texts);
      const here = await stalled(() => texts.forEach((text) => void analyze(text, context, null)));
      t.diagnostic(`the longest stall was ${told(stall)}; judged on the same thread ${told(here)}`);
      t.diagnostic(`another session: ${answered} answers, the slowest after ${told(longest)}`);
      if (stall < here / 2 && longest < here / 2 && answered > texts.length) return;
      assert.ok(round < 8, 'others waited in every round');
    }
  });
});
