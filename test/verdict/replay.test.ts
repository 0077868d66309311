// `holdpoint policy replay` over a real ledger that the proxy's own entries were appended to.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openLedger } from '../../ledger/ledger.ts';
import { decisionEntry } from '../../proxy/record/decision.ts';
import { holdpoint } from './command.ts';
import { effect, object, operation, scopedDelete } from './example.ts';
import { defaultPolicy, directory, rego, test } from './opened.ts';

/** A ledger with what the default policy decided about these. */
async function ledgerOf(name: string): Promise<string> {
  const policy = await defaultPolicy();
  const place = join(directory, name);
  const ledger = await openLedger({ directory: place, origin: 'test.example/replay' });
  const drop = effect({
    class: 'destructive',
    verb: 'drop',
    scoped: false,
    objects: [object({ access: 'drop' })],
  });
  try {
    const asked = [[effect()], [scopedDelete], [drop], [effect({ class: 'admin', verb: 'grant' })]];
    for (const [at, effects] of asked.entries()) {
      const one = { ...operation(effects), id: `00000000-0000-4000-8000-00000000001${at}` };
      const decision = policy.decide(one, 'normal');
      const detail = { disposition: 'forward', mode: 'normal', by: 'proxy/test' } as const;
      const { entry } = decisionEntry(one, decision, detail);
      await ledger.append([{ key: `${one.id}/decision`, entry }]);
    }
  } finally {
    await ledger.close();
  }
  return place;
}

test('replay shows what a candidate policy would have decided', async () => {
  const ledger = await ledgerOf('ledger');
  const nothing = await holdpoint(directory, ['replay', '--ledger', ledger]);
  assert.equal(nothing.code, 0, nothing.err);
  assert.match(nothing.out, /^4 decisions stay as they are\nno agents\.json/);
  const candidate = join(directory, 'candidate.rego');
  await writeFile(
    candidate,
    rego(`allow contains {"rule": "r", "reason": "w"} if input.effect.class == "read"
    allow contains {"rule": "d", "reason": "w"} if input.effect.verb == "delete"
    hold contains {"rule": "h", "reason": "w", "group": "db-owners"} if input.effect.verb == "drop"
    deny contains {"rule": "a", "reason": "w"} if input.effect.class == "admin"`),
  );
  const given = ['replay', '--ledger', ledger, '--policy', candidate];
  const changed = await holdpoint(directory, given);
  assert.equal(changed.code, 0, changed.err);
  assert.match(changed.out, /hold for 1 of db-owners \(production-losses\) → allow \(d\): w\n/);
  assert.match(changed.out, /hold for 2 of db-owners .* → hold for 1 of db-owners \(h\)/);
  assert.match(
    changed.out,
    /\n2 decisions stay as they are\n1 change: hold → allow\n1 change: hold → hold\n/,
  );
  const json = await holdpoint(directory, [...given, '--json']);
  const lines = json.out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { index: number });
  assert.deepEqual(
    lines.map((line) => line.index),
    [1, 2],
  );
  const none = await holdpoint(directory, [...given, '--agent', 'nobody']);
  assert.match(none.out, /^0 decisions stay/);
});

test('replay says what it lacks', async () => {
  const { code, err } = await holdpoint(directory, ['replay', '--ledger', join(directory, 'no')]);
  assert.equal(code, 1);
  assert.match(err, /^holdpoint: There is no checkpoint/);
});
