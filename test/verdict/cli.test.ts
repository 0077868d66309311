// `holdpoint policy test|explain|build` as people run it.
// Invariant: through cli/main.ts, in a folder that is not the project's.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { holdpoint } from './command.ts';
import { effect, object, scopedDelete } from './example.ts';
import { directory, test } from './opened.ts';

function line(parts: object): string {
  return `${JSON.stringify({ id: 'a', class: 'read', complete: true, effects: [], ...parts })}\n`;
}

test('policy test runs the committed tests, in opa and compiled', async () => {
  const { code, out, err } = await holdpoint(directory, ['test']);
  assert.equal(code, 0, err);
  assert.match(out, /PASS: (\d+)\/\1\nPASS: \1 in the compiled module too/);
  assert.doesNotMatch(out, /warning/);
});

test('policy test says what fails, and fails', async () => {
  const failing = join(directory, 'failing_test.rego');
  await writeFile(failing, 'package t\ntest_not_so if false\n');
  const { code, err } = await holdpoint(directory, ['test', '--tests', failing]);
  assert.equal(code, 1);
  assert.match(err, /fails its tests[\s\S]*test_not_so/);
});

test('policy build --check holds the committed module to the committed policy', async () => {
  const fine = await holdpoint(directory, ['build', '--check']);
  assert.equal(fine.code, 0, fine.err);
  const other = join(directory, 'other.rego');
  await writeFile(other, 'package holdpoint.policy\nallow contains {"rule": "a", "reason": "b"}\n');
  const differs = await holdpoint(directory, ['build', '--check', '--policy', other]);
  assert.equal(differs.code, 1);
  assert.match(differs.err, /run `holdpoint policy build` and commit/);
});

test('policy explain names the rules and the facts they read', async () => {
  const unscoped = {
    class: 'destructive',
    effects: [{ ...scopedDelete, scoped: false, verb: 'delete' }],
  };
  const given = line(unscoped) + line({ effects: [effect()] });
  const { code, out, err } = await holdpoint(
    directory,
    ['explain', '--environment', 'production'],
    given,
  );
  assert.equal(code, 0, err);
  assert.match(out, /^deny: unscoped-production-deletes: it empties a production table\n/);
  assert.match(out, /deny unscoped-production-deletes \(policies\.rego:\d+\)/);
  assert.match(out, /hold unscoped-production-losses \(policies\.rego:\d+\)/);
  assert.match(out, /input\.target\.environment = "production"/);
  assert.match(out, /input\.effect\.scoped = false/);
  assert.match(out, /\nallow: reads: /);
  const elsewhere = await holdpoint(
    directory,
    ['explain', '--environment', 'development', '--json'],
    line(unscoped),
  );
  const explanation = JSON.parse(elsewhere.out) as { decision: { verdict: { rule: string } } };
  assert.equal(explanation.decision.verdict.rule, 'disposable');
  const mode = await holdpoint(directory, ['explain', '--mode', 'killed'], line(unscoped));
  assert.match(mode.out, /^deny: mode-killed/);
});

test('policy explain judges what a line leaves out as the worst', async () => {
  const bare = line({ effects: [{ class: 'write', objects: [object({ access: 'update' })] }] });
  const { out } = await holdpoint(directory, ['explain', '--environment', 'staging'], bare);
  assert.match(out, /^hold: unscoped-writes/);
  const incomplete = line({ effects: [effect()], complete: false });
  assert.match((await holdpoint(directory, ['explain'], incomplete)).out, /^hold: not-understood/);
});

test('policy explain refuses what is no operation', async () => {
  for (const odd of ['{', '[]', '{}', '{"effects": 7}', '{"effects": [{"class": "x"}]}']) {
    const { code, err } = await holdpoint(directory, ['explain'], `${odd}\n`);
    assert.equal(code, 1, odd);
    assert.match(err, /not an operation/);
    assert.doesNotMatch(err, /at .*\.ts:/);
  }
});
