// A statement that is denied or held between others: replies owed first, then the error, then
// nothing up to Sync.
// Invariant: nothing of an implicit transaction with a refused part remains in the database.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import pg from 'pg';
import { RawClient } from '../peers/client.ts';
import { bind, close, execute, extended, flush, parse, query, sync } from '../peers/messages.ts';
import { marked } from '../setup/marked.ts';

/** What is answered at once is answered long before this. */
const start = marked({ wait: '120s' });

/** The type letters of a transcript, and the SQLSTATE of each error: `1 2 D C E(ZH002) Z(I)`. */
function shape(lines: readonly string[]): string {
  return lines
    .map((line) => {
      const [type = '', , code = ''] = line.split(' ');
      if (type === 'E' || type === 'N') return `${type}(${code})`;
      return type === 'Z' ? `Z(${line.slice(3, 4)})` : type;
    })
    .filter((type) => type !== 'S')
    .join(' ');
}

async function exchange(ready: number, ...messages: readonly Buffer[]): Promise<string> {
  const { holdpoint } = await start();
  const client = await RawClient.login(holdpoint.login);
  client.send(...messages);
  const seen = shape(await client.replies(ready));
  client.send(query('select 1'));
  assert.match(shape(await client.replies()), /^(T D C Z\([IT]\)|E\(25P02\) Z\(E\))$/);
  await client.end();
  return seen;
}

describe('refused', () => {
  afterEach(async () => {
    const { reset } = await start();
    await reset();
  });

  test('alone, simple and extended', async () => {
    const { count } = await start();
    assert.equal(await exchange(1, query('delete from denied_t')), 'E(ZH002) Z(I)');
    assert.equal(await exchange(1, extended('delete from denied_t'), sync()), '1 E(ZH002) Z(I)');
    assert.equal(await count('denied_t'), 3);
  });

  test('second of two statements in a message: the first is undone', async () => {
    const { count } = await start();
    const both = query('delete from open_t; delete from denied_t');
    assert.equal(await exchange(1, both), 'E(ZH002) Z(I)');
    assert.equal(await count('open_t'), 3);
  });

  test('in the middle of a unit: replies owed come first, all of it is undone', async () => {
    const { count } = await start();
    const seen = await exchange(
      2,
      extended('select 1'),
      extended('insert into open_t values (4)'),
      extended('delete from denied_t where id = $1', ['1']),
      extended('insert into open_t values (5)'),
      sync(),
      extended('select 2'),
      sync(),
    );
    assert.equal(seen, '1 2 T D C 1 2 n C 1 E(ZH002) Z(I) 1 2 T D C Z(I)');
    assert.equal(await count('open_t'), 3);
    assert.equal(await count('denied_t'), 3);
  });

  test('with Flush before it, the replies owed are already there', async () => {
    const { count, holdpoint } = await start();
    const client = await RawClient.login(holdpoint.login);
    client.send(extended('insert into open_t values (4)'), flush());
    await client.until((m) => m.type === 'C');
    assert.equal(await count('open_t'), 3, 'committed before Sync');
    client.send(extended('delete from denied_t'), extended('select 3'), sync());
    assert.equal(shape(await client.replies()), '1 2 n C 1 E(ZH002) Z(I)');
    assert.equal(await count('open_t'), 3);
    await client.end();
  });

  test('in an explicit transaction: it fails as after any error', async () => {
    const { count } = await start();
    const seen = await exchange(
      5,
      query('begin'),
      query('insert into open_t values (4)'),
      query('delete from denied_t'),
      query('select 1'),
      query('commit'),
    );
    assert.equal(seen, 'C Z(T) C Z(T) E(ZH002) Z(E) E(25P02) Z(E) C Z(I)');
    assert.equal(await count('open_t'), 3);
  });

  test('after a savepoint: the transaction goes on from there', async () => {
    const { count } = await start();
    const seen = await exchange(
      5,
      query('begin; insert into open_t values (4); savepoint s'),
      extended('delete from denied_t'),
      sync(),
      query('rollback to savepoint s'),
      query('insert into open_t values (5)'),
      query('commit'),
    );
    assert.equal(seen, 'C C C Z(T) 1 E(ZH002) Z(E) C Z(T) C Z(T) C Z(I)');
    assert.equal(await count('open_t'), 5);
  });

  test('a named statement refused at each Bind, and other statements beside it', async () => {
    const { count } = await start();
    const seen = await exchange(
      4,
      parse('delete from denied_t where id = $1', 'd'),
      parse('insert into open_t values ($1::int)', 'i'),
      sync(),
      bind(['1'], { statement: 'd' }),
      execute(),
      sync(),
      bind(['9'], { statement: 'i' }),
      execute(),
      sync(),
      bind(['2'], { statement: 'd' }),
      execute(),
      bind(['10'], { statement: 'i' }),
      execute(),
      close('statement', 'd'),
      sync(),
    );
    assert.equal(seen, '1 1 Z(I) E(ZH002) Z(I) 2 C Z(I) E(ZH002) Z(I)');
    assert.equal(await count('open_t'), 4);
    assert.equal(await count('denied_t'), 3);
  });

  test('fifty units at once, every third refused', async () => {
    const { count } = await start();
    const units = Array.from({ length: 50 }, (_, i) =>
      Buffer.concat([
        extended(i % 3 === 2 ? 'delete from denied_t' : `insert into open_t values (${i})`),
        sync(),
      ]),
    );
    const wanted = units.map((_, i) => (i % 3 === 2 ? '1 E(ZH002) Z(I)' : '1 2 n C Z(I)'));
    assert.equal(await exchange(50, ...units), wanted.join(' '));
    assert.equal(await count('open_t'), 3 + 34);
  });

  test('COPY into a denied table, with the data already behind it', async () => {
    const { count, holdpoint } = await start();
    const client = await RawClient.login(holdpoint.login);
    client.send(query('copy denied_t from stdin'));
    assert.equal(shape(await client.replies()), 'E(ZH002) Z(I)');
    client.send(query('copy denied_t to stdout'), query('select 1'));
    assert.equal(shape(await client.replies(2)), 'E(ZH002) Z(I) T D C Z(I)');
    assert.equal(await count('denied_t'), 3);
    await client.end();
  });
});

describe('held', () => {
  afterEach(async () => {
    const { reset } = await start();
    await reset();
  });

  test('behind reads in its unit: approved, the unit runs whole and in order', async () => {
    const { holdpoint, count } = await start();
    const client = await RawClient.login(holdpoint.login);
    client.send(
      extended('select 1'),
      extended('delete from held_t where id = $1', ['1']),
      extended('insert into open_t values (5)'),
      sync(),
      query('select 2'),
    );
    const id = await holdpoint.held('held_t');
    assert.equal(await count('held_t'), 3, 'it ran before it was signed');
    await holdpoint.approve(id);
    const seen = await client.replies(2);
    const notice = seen.find((line) => line.startsWith('N '));
    assert.ok(notice?.includes(id), `no notice of ${id} in ${seen.join('\n')}`);
    const rest = seen.filter((line) => !line.startsWith('N '));
    assert.equal(shape(rest), '1 2 T D C 1 2 n C 1 2 n C Z(I) T D C Z(I)');
    assert.deepEqual([await count('held_t'), await count('open_t')], [2, 4]);
    await client.end();
  });

  test('behind a change in its unit, which has locks: an error at once', async () => {
    const { holdpoint, count } = await start();
    const client = await RawClient.login(holdpoint.login);
    const unit = [
      extended('insert into open_t values (4)'),
      extended('delete from held_t'),
      sync(),
    ];
    client.send(...unit);
    const seen = await client.replies();
    assert.equal(shape(seen), '1 2 n C 1 E(ZH001) Z(I)');
    assert.deepEqual([await count('open_t'), await count('held_t')], [3, 3]);
    await holdpoint.approve(await holdpoint.held('held_t'));
    client.send(...unit);
    assert.equal(shape(await client.replies()), '1 2 n C 1 2 n C Z(I)');
    assert.deepEqual([await count('open_t'), await count('held_t')], [4, 0]);
    await client.end();
  });

  test('denied by a signer: the unit fails there and leaves nothing', async () => {
    const { holdpoint, count } = await start();
    const client = await RawClient.login(holdpoint.login);
    client.send(extended('select 1'), extended('delete from held_t'), extended('select 2'), sync());
    await holdpoint.deny(await holdpoint.held('held_t'), 'wrong table');
    const seen = await client.replies();
    assert.equal(shape(seen.filter((l) => !l.startsWith('N '))), '1 2 T D C 1 E(ZH003) Z(I)');
    assert.ok(seen.some((line) => line.includes('wrong table')));
    assert.equal(await count('held_t'), 3);
    await client.end();
  });

  test('several statements in a message are one hold, and run as one', async () => {
    const { holdpoint, count } = await start();
    const client = await RawClient.login(holdpoint.login);
    client.send(query('insert into open_t values (4); delete from held_t; select 7'));
    await holdpoint.approve(await holdpoint.held('held_t'));
    const seen = await client.replies();
    assert.equal(shape(seen.filter((l) => !l.startsWith('N '))), 'C C T D C Z(I)');
    assert.deepEqual([await count('open_t'), await count('held_t')], [4, 0]);
    await client.end();
  });

  test('in an open transaction: an error at once that names the hold', async () => {
    const { holdpoint, count } = await start();
    const client = await RawClient.login(holdpoint.login);
    client.send(query('begin'), query('delete from held_t where id = 2'), query('rollback'));
    const seen = await client.replies(3);
    assert.equal(shape(seen), 'C Z(T) E(ZH001) Z(E) C Z(I)');
    const id = await holdpoint.held('id = 2');
    assert.ok(seen.some((line) => line.includes(id)));
    assert.equal(await count('held_t'), 3);
    await holdpoint.deny(id);
    await client.end();
  });

  test('a client that is cut while it is held gets its cut bytes right', async () => {
    const { holdpoint, count } = await start();
    const client = await RawClient.login(holdpoint.login);
    const stream = Buffer.concat([
      query('delete from held_t where id = 3'),
      extended('select $1::text', ['x'.repeat(50)]),
      sync(),
      query('select 3'),
    ]);
    const cuts = Array.from(stream.keys()).slice(1);
    const sending = client.sendCut(stream, cuts, 0);
    await holdpoint.approve(await holdpoint.held('id = 3'));
    await sending;
    const seen = await client.replies(3);
    assert.equal(
      shape(seen.filter((l) => !l.startsWith('N '))),
      'C Z(I) 1 2 T D C Z(I) T D C Z(I)',
    );
    assert.equal(await count('held_t'), 2);
    await client.end();
  });
});

// node-postgres, pgx, tokio-postgres and what models are shown of them hand on MESSAGE alone.
describe('MESSAGE alone tells the thing, the reason and the next step', () => {
  async function asked(...texts: readonly string[]): Promise<pg.DatabaseError> {
    const { holdpoint } = await start();
    const client = new pg.Client({ connectionString: holdpoint.url });
    await client.connect();
    try {
      for (const text of texts) await client.query(text);
    } catch (error) {
      assert.ok(error instanceof pg.DatabaseError);
      return error;
    } finally {
      await client.end();
    }
    throw new Error(`${texts} passed`);
  }

  test('of a denial', async () => {
    const { message, code, detail, hint } = await asked('delete from denied_t where id = 1');
    assert.equal(code, 'ZH002');
    assert.deepEqual([detail, hint], [undefined, undefined]);
    assert.equal(
      message,
      'policy denies this statement. Rule marked-denied: its name says so. Understood as: ' +
        'Deletes from table public.denied_t, the rows that a filter picks. Data is lost. ' +
        'Sending it again gives the same answer; ask for less, or ask the owners of the policy.',
    );
  });

  test('of what is not understood', async () => {
    const { message } = await asked("do $$ begin execute current_setting('a.b'); end $$");
    assert.match(message, /Understood as: What this does can’t be told: dynamic SQL in .*worst\./);
  });

  test('of a hold in a transaction', async () => {
    const { holdpoint } = await start();
    const { message, code } = await asked('begin', 'delete from held_t where id = 1 -- told');
    const id = await holdpoint.held('-- told');
    await holdpoint.deny(id);
    assert.equal(code, 'ZH001');
    const told =
      'waits for a signature of db-owners. Rule marked-held: its name says so. Understood';
    assert.ok(message.startsWith(`held as ${id}: ${told} as: `), message);
    assert.match(
      message,
      new RegExp(`held_t, .*Data is lost\\. The hold, .*/holds/${id}, is open`),
    );
    assert.match(message, /is open until 2\S+Z\. In a transaction nothing waits: roll back, and /);
    assert.match(message, /send exactly the same statement with the same parameters again\.$/);
  });
});
