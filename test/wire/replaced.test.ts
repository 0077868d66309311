// What was signed is replaced before it runs: under the same name and the same OID.
// Invariant: an approval holds for what the names meant when people signed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { marked } from '../setup/marked.ts';

const start = marked({
  wait: '0s',
  setup: `
    create function held_f() returns int language sql
      as 'delete from open_t where id = 1; select 1';
    create view held_v as select held_f() as f;`,
});

async function refusal(client: pg.Client, statement: string): Promise<string> {
  const error: unknown = await client.query(statement).then(
    () => null,
    (e) => e,
  );
  assert.ok(error instanceof pg.DatabaseError, `${statement} ran`);
  return `${error.code} ${error.message}`;
}

for (const [what, statement, replacement] of [
  [
    'a function',
    'select held_f()',
    `create or replace function held_f() returns int language sql
       as 'delete from open_t where id in (2, 3); select 1'`,
  ],
  ['a view', 'select * from held_v', 'create or replace view held_v as select held_f() + 1 as f'],
] as const) {
  test(`${what} is replaced between signature and run`, async () => {
    const { holdpoint, behind, count } = await start();
    const client = new pg.Client(holdpoint.login);
    await client.connect();
    try {
      const first = await refusal(client, statement);
      const hold = /h-[a-z2-7]{16}/.exec(first)?.[0];
      assert.ok(hold, first);
      await holdpoint.approve(hold);
      await behind.query(replacement);
      const second = await refusal(client, statement);
      // Noticed in time it is held anew; noticed as the approval is used, that is void.
      if (second.startsWith('ZH001 ')) {
        assert.ok(!second.includes(hold), 'the signed hold was used for something else');
      } else assert.match(second, new RegExp(`^ZH008 .*Hold ${hold}: .*the approval is void`));
      assert.equal(await count('open_t'), 3);
    } finally {
      await client.end();
    }
  });
}
