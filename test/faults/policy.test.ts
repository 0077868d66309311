// A policy that answers oddly, fails while it is asked, or takes too long: denied, and everybody
// else is served.
// Invariant: no answer that is not an allowance lets anything pass.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { RawClient } from '../peers/client.ts';
import { query } from '../peers/messages.ts';
import { startHoldpoint } from '../setup/holdpoint.ts';
import { type PostgresServer, sharedPostgres } from '../setup/postgres.ts';

const ALLOW = 'allow contains {"rule": "all", "reason": "yes"} if true';
const CHANGES = 'input.effect.class != "read"';

/** Reads pass under each of them; a change meets the oddity. */
const ODD: { readonly [name: string]: string } = {
  'no reason and no group': `hold contains {"rule": "h"} if ${CHANGES}`,
  'a number for a rule': `deny contains {"rule": 1, "reason": "x"} if ${CHANGES}`,
  'text instead of an object': `deny contains "no" if ${CHANGES}`,
  'a boolean instead of a set': `hold := true if ${CHANGES}`,
  'signatures below one': `hold contains {"rule": "h", "reason": "x", "group": "db-owners",
    "signatures": 0, "expires": "30m", "wait": "1s"} if ${CHANGES}`,
  'an expiry that is no duration': `hold contains {"rule": "h", "reason": "x", "group": "db-owners",
    "signatures": 1, "expires": "soon", "wait": "1s"} if ${CHANGES}`,
  'two complete values at once': `odd := 1 if ${CHANGES}
odd := 2 if ${CHANGES}
deny contains {"rule": "d", "reason": "x"} if odd == 3`,
  'work without an end': `deny contains {"rule": "d", "reason": "x"} if {
	${CHANGES}
	some a in numbers.range(1, 100000)
	some b in numbers.range(1, 100000)
	a * b == -1
}`,
};

let server: PostgresServer;
let folder: string;

before(async () => {
  server = await sharedPostgres(18);
  folder = await mkdtemp(join(tmpdir(), 'holdpoint-odd-'));
});
after(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

describe('a policy with', () => {
  for (const [name, rule] of Object.entries(ODD)) {
    test(name, async () => {
      const policy = join(folder, 'odd.rego');
      await writeFile(policy, `package holdpoint.policy\n\n${ALLOW}\n\n${rule}\n`);
      const database = await server.createDatabase('create table t (id int)');
      const target = { ...server, database };
      const started = await startHoldpoint({ target, policy, environment: 'development' }).then(
        (holdpoint) => holdpoint,
        (error: Error) => error,
      );
      if (started instanceof Error) {
        // It may also be refused at the start, with words that a person can act on.
        assert.equal(started.name, 'PolicyRejected', String(started));
        return;
      }
      try {
        const client = await RawClient.login(started.login);
        for (let i = 0; i < 3; i++) {
          client.send(query('insert into t values (1)'), query('select count(*) from t'));
          const seen = await client.replies(2);
          assert.match(seen[0] ?? '', /^E ERROR ZH002 /);
          assert.match(seen[0] ?? '', /policy-error/);
          assert.ok(seen.some((line) => line.startsWith('D ') && line.endsWith('0"')));
        }
        await client.end();
      } finally {
        await started.close();
      }
    });
  }
});
