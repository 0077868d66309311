// psql's backslash commands and pg_dump: all that they ask is a read. Those beside the server's
// programs are used where the environment names their folder (HOLDPOINT_POSTGRES_18=…/bin).
// Invariant: every command of psql's that describes anything is run; what it prints is the
// server's own.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  findBinaries,
  type PostgresServer,
  skipWithoutPostgres,
  VERSIONS,
  type Version,
} from '../../setup/postgres.ts';
import { program, skipWithout } from '../../setup/programs.ts';
import { look, type Place, shopServer } from './looking.ts';

/** Each as it is, with S (system objects), + (more), both, and with a pattern. */
const DESCRIBE =
  `d dA dAc dAf dAo dAp db dc dC dd dD ddp dE des det deu dew df dfa dfn dfp dft dfw dF dFd dFp dFt
  dg di dl dL dm dn do dO dp dP dPi dPt dPn drds drg dRp dRs ds dt dT du dv dx dX dy l z dconfig sf
  sv lo_list dtvmsE`
    .trim()
    .split(/\s+/);

const NAMES: { readonly [command: string]: string } = {
  sf: 'plus',
  sv: 'big_orders',
  dconfig: 'work_mem',
};

function commands(thorough: boolean): string[] {
  const all: string[] = [];
  for (const command of DESCRIBE) {
    const fixed = NAMES[command];
    if (fixed !== undefined) {
      all.push(`\\${command} ${fixed}`, `\\${command}+ ${fixed}`);
      continue;
    }
    all.push(`\\${command}`, `\\${command}+`);
    if (thorough && command.startsWith('d')) all.push(`\\${command}S+`, `\\${command} *.*`);
  }
  for (const table of [
    'customers',
    'sales.orders',
    'logs',
    'child',
    'totals',
    'big_orders',
    'outside.far',
  ])
    all.push(`\\d ${table}`, `\\d+ ${table}`, `\\dp ${table}`);
  return [...all, '\\dn+ sales', '\\df+ pl*', '\\dt+ *.*', '\\encoding', '\\lo_list+'];
}

interface Ran {
  readonly out: string;
  readonly err: string;
}

async function run(file: string, place: Place, args: readonly string[], input = ''): Promise<Ran> {
  const child = spawn(file, [...args], {
    env: {
      PATH: process.env.PATH,
      LC_ALL: 'C',
      PGHOST: place.host,
      PGPORT: String(place.port),
      PGUSER: place.user,
      PGPASSWORD: place.password,
      PGDATABASE: place.database,
      PSQL_PAGER: '',
    },
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (err += text));
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const code = await new Promise((resolve) => child.once('close', resolve));
  assert.equal(code, 0, err);
  return { out, err };
}

/** Without the dump's own token, and sizes, which differ each time. */
function common({ out, err }: Ran): Ran {
  const text = out.replaceAll(/^\\(un)?restrict .*$/gm, '');
  return { out: text.replaceAll(/\d+ (bytes|kB|MB)/g, 'size'), err };
}

const missing = skipWithout('psql');

/** The server's own psql, pg_dump or pg_dumpall; else the one that is installed. */
function client(version: Version, name: string): string {
  const own = join(findBinaries(version) ?? '', name);
  return existsSync(own) ? own : program('psql').replace(/psql$/, name);
}

/** pg_dump refuses servers newer than itself. */
function canDump(version: Version): boolean {
  if (missing !== false || skipWithoutPostgres(version) !== false) return version === 15;
  const told = execFileSync(client(version, 'pg_dump'), ['--version'], { encoding: 'utf8' });
  return Number(/\d+/.exec(told)?.[0]) >= version;
}

for (const version of VERSIONS) {
  describe(`PostgreSQL ${version}`, { skip: missing || skipWithoutPostgres(version) }, () => {
    let server: PostgresServer;
    before(async () => {
      server = await shopServer(version);
    });
    after(() => server.stop());

    test('psql describes everything', async () => {
      const input = `${commands(version === 18).join('\n')}\n`;
      const looked = await look(server, async (place) =>
        common(
          await run(client(version, 'psql'), place, ['-X', '-A', '-v', 'ON_ERROR_STOP=0'], input),
        ),
      );
      assert.deepEqual(looked.through, looked.straight);
      assert.ok(looked.operations > 250, `only ${looked.operations} operations`);
    });
  });
}

const STATISTICS = ['--statistics', '--no-blobs'];
const DUMPS = [['--no-blobs'], ['-s', '-C'], ['--inserts', '--no-blobs'], ['-n', 'sales']];

for (const version of VERSIONS.filter(canDump)) {
  const skip = missing || skipWithoutPostgres(version);
  describe(`pg_dump of PostgreSQL ${version}`, { skip }, () => {
    let server: PostgresServer;
    before(async () => {
      server = await shopServer(version);
    });
    after(() => server.stop());

    for (const args of version < 18 ? DUMPS : [...DUMPS, STATISTICS]) {
      test(`pg_dump ${args.join(' ')}`, async () => {
        const dump = client(version, 'pg_dump');
        const looked = await look(server, async (at) => common(await run(dump, at, args)));
        assert.deepEqual(looked.through, looked.straight);
        assert.ok(looked.straight.out.includes('CREATE TABLE sales.orders'));
        assert.ok(looked.operations > 30, `only ${looked.operations} operations`);
      });
    }

    test('pg_dumpall -g', async () => {
      const dump = client(version, 'pg_dumpall');
      const looked = await look(server, async (at) =>
        common(await run(dump, at, ['-g', '-l', 'shop'])),
      );
      assert.deepEqual(looked.through, looked.straight);
      assert.match(looked.straight.out, /CREATE ROLE postgres/);
    });
  });
}
