// SQLAlchemy's reflection and Django's inspectdb and migration plan: all that they ask is a read.
// Invariant: what they see through Holdpoint is what they see on the server itself.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { type PostgresServer, skipWithoutPostgres, VERSIONS } from '../../setup/postgres.ts';
import { program, skipWithout } from '../../setup/programs.ts';
import { look, shopServer, urlOf } from './looking.ts';

const missing = skipWithout('sqlalchemy', 'django');

async function python(
  name: 'sqlalchemy' | 'django',
  file: string,
  args: readonly string[],
): Promise<string> {
  const script = join(import.meta.dirname, file);
  const options = { maxBuffer: 64 << 20, env: { PATH: process.env.PATH, PYTHONHASHSEED: '0' } };
  const { stdout } = await promisify(execFile)(program(name), ['-B', script, ...args], options);
  return stdout;
}

for (const version of VERSIONS) {
  describe(`PostgreSQL ${version}`, { skip: missing || skipWithoutPostgres(version) }, () => {
    let server: PostgresServer;
    before(async () => {
      server = await shopServer(version);
    });
    after(() => server.stop());

    test('SQLAlchemy reflects', async () => {
      const looked = await look(server, (place) =>
        python('sqlalchemy', 'sqlalchemy_reflect.py', [urlOf(place)]),
      );
      assert.deepEqual(JSON.parse(looked.through), JSON.parse(looked.straight));
      assert.match(looked.straight, /customers/);
      assert.ok(looked.operations > 50, `only ${looked.operations} operations`);
    });

    test('Django inspects and plans', async () => {
      const looked = await look(server, ({ host, port, user, password, database }) =>
        python('django', 'django_inspect.py', [host, String(port), user, password, database]),
      );
      assert.equal(looked.through, looked.straight);
      assert.match(looked.straight, /class Customers\(models\.Model\)/);
      assert.ok(looked.operations > 30, `only ${looked.operations} operations`);
    });
  });
}
