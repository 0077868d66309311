// psql as people and scripts use it: descriptions, COPY, several statements in a message, errors,
// cancel.
// Invariant: what psql prints through Holdpoint is what it prints on the server itself.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { program, skipWithout } from '../setup/programs.ts';
import { type Door, routes, running } from '../setup/routes.ts';

const SETUP = `
  create table items (id int primary key, name text not null, price numeric(8,2));
  insert into items select i, 'item ' || i, i * 1.5 from generate_series(1, 10) i;
  create index items_name on items (name);
  create view cheap as select * from items where price < 5;
  create function twice(int) returns int language sql immutable as 'select $1 * 2';`;

interface Ran {
  readonly out: string;
  readonly err: string;
  readonly code: number | null;
}

const missing = skipWithout('psql');
const folder = mkdtempSync(join(tmpdir(), 'holdpoint-psql-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function psql(door: Door, input: string, args: readonly string[] = []): Promise<Ran> {
  return start(door, input, args).done;
}

function start(door: Door, input: string, args: readonly string[] = []) {
  const options = ['-X', '-A', '-t', '-v', 'VERBOSITY=default', ...args, '-d', door.url];
  const child = spawn(program('psql'), options, {
    env: { ...process.env, PSQL_PAGER: '', PGOPTIONS: '', LC_ALL: 'C' },
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (err += text));
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const done = new Promise<Ran>((resolve) =>
    child.once('close', (code) => resolve({ out, err, code })),
  );
  return { child, done };
}

for (const route of routes()) {
  describe(`psql to ${route.name}`, { skip: route.skip || missing }, () => {
    test('describes tables, views, indexes, functions, databases and roles', async () => {
      const door = await route.open(SETUP);
      const commands = [
        '\\d items',
        '\\d cheap',
        '\\dt',
        '\\di',
        '\\df twice',
        '\\dn',
        '\\dv',
        '\\du',
      ];
      const { out, err, code } = await psql(door, `${commands.join('\n')}\n`);
      assert.equal(err, '');
      assert.equal(code, 0);
      for (const seen of [
        'price|numeric(8,2)',
        'items_name',
        'cheap',
        'twice',
        'public',
        'postgres',
      ]) {
        assert.ok(out.includes(seen), `no ${seen} in\n${out}`);
      }
    });

    test('several statements in one message answer each, and fail together', async () => {
      const door = await route.open(SETUP);
      const all = await psql(door, '', ['-c', "select 1; select 'a', 'b'; select 3"]);
      assert.deepEqual(all, { out: '1\na|b\n3\n', err: '', code: 0 });
      const failing = 'insert into items values (100); insert into items values (1); select 9';
      const failed = await psql(door, '', ['-c', failing]);
      assert.match(failed.err, /null value in column "name"/);
      assert.equal((await psql(door, 'select count(*) from items;')).out, '10\n');
    });

    test('an error names its place, and the next statement runs', async () => {
      const door = await route.open(SETUP);
      const { out, err } = await psql(
        door,
        'select nothing from items;\nselect 7;\n\\errverbose\n',
      );
      assert.match(
        err,
        /ERROR: {2}column "nothing" does not exist\nLINE 1: select nothing from items;\n\s+\^/,
      );
      assert.match(err, /42703/);
      assert.equal(out, '7\n');
    });

    test('COPY in and out, in SQL and with \\copy', async () => {
      const door = await route.open(SETUP);
      const file = join(folder, `${route.version}-${route.guarded}.csv`);
      writeFileSync(
        file,
        Array.from({ length: 5000 }, (_, i) => `${i + 100},"n, ${i}",1\n`).join(''),
      );
      const loaded = await psql(
        door,
        `\\copy items from '${file}' csv\ncopy items from stdin;\n11\televen\t\\N\n\\.\n` +
          'select count(*), sum(id) from items;\n' +
          `\\copy (select * from items order by id) to '${file}' csv\n` +
          'copy (select id from items where id < 3 order by id) to stdout;\n',
      );
      assert.equal(loaded.err, '');
      assert.equal(loaded.out, 'COPY 5000\nCOPY 1\n5011|12997566\nCOPY 5011\n1\n2\n');
      assert.equal(readFileSync(file, 'utf8').trimEnd().split('\n').length, 5011);
      const bad = await psql(door, 'copy items from stdin;\n1\tagain\t1\n\\.\nselect 5;\n');
      assert.match(bad.err, /duplicate key value violates unique constraint "items_pkey"/);
      assert.equal(bad.out, '5\n');
    });

    test('\\gdesc, \\gset, \\gexec, FETCH_COUNT and AUTOCOMMIT off', async () => {
      const door = await route.open(SETUP);
      const { out, err } = await psql(
        door,
        [
          'select id, name, price from items \\gdesc',
          'select count(*) as n from items \\gset',
          '\\echo :n',
          "select 'select ' || i from generate_series(1, 2) i \\gexec",
          '\\set FETCH_COUNT 3',
          'select id from items order by id;',
          '\\set FETCH_COUNT 0',
          '\\set AUTOCOMMIT off',
          'delete from items where id = 1;',
          'rollback;',
          'select count(*) from items;',
        ].join('\n'),
      );
      assert.equal(err, '');
      const ids = Array.from({ length: 10 }, (_, i) => i + 1).join('\n');
      const described = 'id|integer\nname|text\nprice|numeric(8,2)';
      assert.equal(out, `${described}\n10\n1\n2\n${ids}\nDELETE 1\nROLLBACK\n10\n`);
    });

    test('Ctrl-C cancels the running statement', async () => {
      const door = await route.open(SETUP);
      const { child, done } = start(door, "select 'on';\nselect pg_sleep(30);\n");
      await new Promise((resolve) => child.stdout.once('data', resolve));
      await running(door, 'pg_sleep(30)');
      const asked = performance.now();
      child.kill('SIGINT');
      const { out, err } = await done;
      assert.ok(performance.now() - asked < 25_000, 'the cancel came too late');
      assert.match(err, /canceling statement due to user request/);
      assert.equal(out, 'on\n');
    });

    test('LISTEN and NOTIFY reach the session', async () => {
      const door = await route.open();
      const { out } = await psql(door, "listen news;\nnotify news, 'now';\nselect 1;\n");
      assert.match(out, /Asynchronous notification "news" with payload "now" received/);
    });
  });
}
