// psycopg 3, that is libpq: pipeline mode, server-side cursors, binary both ways, COPY, cancel.
// Invariant: what it sees through Holdpoint is what it sees on the server itself.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { program, skipWithout } from '../setup/programs.ts';
import { routes } from '../setup/routes.ts';

const SETUP = `
  create table things (id int primary key, name text);
  insert into things select i, 'thing ' || i from generate_series(0, 99) i;`;

const EXPECTED = {
  pipeline: 2450,
  pipeline_error: '22012',
  left: 0,
  server_side: 100,
  binary_in: [2 ** 40, 'é☃', 1.5],
  binary_out: [3, 'thing 3', [0, 255]],
  copied_out: 1100,
  copy_error: '22P02',
  many: 50,
  prepared: 3,
  cancel: '57014',
  notify: 'hello',
  status: 'IDLE',
};

const missing = skipWithout('psycopg');

for (const route of routes()) {
  describe(`psycopg to ${route.name}`, { skip: route.skip || missing }, () => {
    test('pipelines, cursors, binary, COPY, cancel, notifications', async () => {
      const door = await route.open(SETUP);
      const script = join(import.meta.dirname, 'python-client.py');
      const python = program('psycopg');
      const { stdout } = await promisify(execFile)(python, [script, door.url, door.behind]);
      assert.deepEqual(JSON.parse(stdout), EXPECTED);
    });
  });
}
