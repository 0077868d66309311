// Byte streams that clients send, each complete in itself and repeatable on one connection.
// Invariant: a stream leaves session and database as it found them, so that it can be sent again,
// cut anywhere.
import {
  bind,
  close,
  copyData,
  copyDone,
  copyFail,
  describe,
  execute,
  extended,
  flush,
  parse,
  query,
  sync,
} from '../peers/messages.ts';

export interface Fixture {
  readonly name: string;
  readonly stream: Buffer;
  /** ReadyForQuery messages that answer it. */
  readonly ready: number;
}

export const SETUP = `
  create table items (id int primary key, name text);
  insert into items select i, 'item ' || i from generate_series(1, 20) i;`;

function fixture(name: string, ready: number, ...messages: readonly Buffer[]): Fixture {
  return { name, ready, stream: Buffer.concat(messages) };
}

const INT4 = Buffer.from([0, 0, 0, 7]);
const IN = 'copy items from stdin';
const rollback = query('rollback');

const simple: readonly Fixture[] = [
  fixture('a simple select', 1, query("select id, name from items where id < 4 order by id, '☃'")),
  fixture('two statements', 1, query('select 1; select 2 as two')),
  fixture('nothing at all', 1, query('')),
  fixture('only a comment and semicolons', 1, query(' ; /* nothing */ ;; -- at all')),
  fixture('a syntax error', 1, query('selec 1')),
  fixture('an error after a result', 1, query('select 1; select 1 / 0; select 3')),
  fixture('two messages at once', 2, query('select 1'), query('select 2')),
  fixture(
    'a transaction rolled back',
    4,
    query('begin'),
    query("insert into items values (100, 'new') returning *"),
    query('delete from items where id < 10'),
    rollback,
  ),
  fixture(
    'a failed transaction',
    4,
    query('begin'),
    query('select 1 / 0'),
    query('select 2'),
    rollback,
  ),
  fixture('a savepoint', 1, query('begin; savepoint s; select 1; rollback to s; rollback')),
  fixture(
    'a cursor',
    4,
    query('begin'),
    query('declare c cursor for select * from items'),
    query('fetch 3 from c'),
    rollback,
  ),
  fixture(
    'a setting that is reported',
    2,
    query("set application_name = 'x'"),
    query('reset application_name'),
  ),
  fixture(
    'show and explain',
    2,
    query('show server_encoding'),
    query('explain (costs off) select 1'),
  ),
  fixture('a long value', 1, query("select repeat('x', 20000) as long")),
];

const extendedOnes: readonly Fixture[] = [
  fixture(
    'one extended statement',
    1,
    extended('select $1::int + 1 as n, $2::text as t', ['41', null]),
    sync(),
  ),
  fixture(
    'an empty statement and an empty value',
    1,
    extended(''),
    extended('select $1::text', ['']),
    sync(),
  ),
  fixture(
    'a named statement, described, run twice, closed',
    3,
    parse('select id, name from items where id = $1', 's1'),
    describe('statement', 's1'),
    sync(),
    bind(['3'], { statement: 's1' }),
    execute(),
    bind(['4'], { statement: 's1' }),
    describe('portal'),
    execute(),
    sync(),
    close('statement', 's1'),
    sync(),
  ),
  fixture(
    'binary parameters and results',
    1,
    parse('select $1::int4 as a, $2::text as b', '', [23]),
    bind([INT4, 'text'], { formats: [1, 0], results: [1, 0] }),
    describe('portal'),
    execute(),
    sync(),
  ),
  fixture(
    'three in one unit',
    1,
    extended('select 1'),
    extended('select 2'),
    extended('select 3'),
    sync(),
  ),
  fixture(
    'an error in the middle of a unit',
    2,
    extended('select 1'),
    extended('select 1 / $1::int', ['0']),
    extended('select 3'),
    sync(),
    extended('select 4'),
    sync(),
  ),
  fixture(
    'a portal taken in portions, in a transaction',
    4,
    query('begin'),
    parse('select id from items order by id', 'p'),
    bind([], { portal: 'c', statement: 'p' }),
    execute('c', 2),
    execute('c', 3),
    sync(),
    execute('c', 0),
    close('portal', 'c'),
    close('statement', 'p'),
    sync(),
    rollback,
  ),
  fixture(
    'a portal does not outlive its unit',
    2,
    parse('select id from items order by id'),
    bind([], { portal: 'gone' }),
    execute('gone', 2),
    sync(),
    close('portal', 'gone'),
    sync(),
  ),
  fixture(
    'flush in the middle',
    1,
    extended('select 1'),
    flush(),
    extended('select 2'),
    flush(),
    sync(),
  ),
  fixture('sync twice', 3, sync(), sync(), extended('select 1'), sync()),
  fixture('a close of nothing', 1, close('statement', 'never'), close('portal', 'never'), sync()),
  fixture(
    'a describe of nothing',
    2,
    describe('statement', 'never'),
    extended('select 1'),
    sync(),
    query('select 2'),
  ),
  fixture('a bind of nothing', 1, bind([], { statement: 'never' }), execute(), sync()),
  fixture('too few parameters', 1, parse('select $1::int'), bind([]), execute(), sync()),
  fixture('two statements in one Parse', 1, parse('select 1; select 2'), sync()),
  fixture(
    'a write and a read in one unit, undone by an error',
    1,
    extended("insert into items values (200, 'never')"),
    extended('select count(*) from items'),
    extended('select 1 / 0'),
    sync(),
  ),
  fixture(
    'writes in an explicit transaction',
    3,
    query('begin'),
    extended('update items set name = $1 where id = $2 returning name', ['changed', '1']),
    extended('delete from items where id = $1', ['2']),
    sync(),
    rollback,
  ),
];

const copies: readonly Fixture[] = [
  fixture('COPY out', 1, query('copy (select * from items order by id limit 5) to stdout')),
  fixture('COPY out, extended', 1, extended('copy items to stdout'), sync()),
  fixture(
    'COPY in',
    3,
    query('begin'),
    query(IN),
    copyData('500\tfive hundred\n501\t'),
    copyData('\\N\n'),
    copyDone(),
    rollback,
  ),
  fixture(
    'COPY in, given up',
    2,
    query(IN),
    copyData('600\tx\n'),
    copyFail('no more'),
    query('select 1'),
  ),
  fixture('COPY in, a bad row', 2, query(IN), copyData('bad\n'), copyDone(), query('select 1')),
];

export const FIXTURES: readonly Fixture[] = [...simple, ...extendedOnes, ...copies];
