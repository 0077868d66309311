// The oracle's question of numbers: how many rows a statement changes, through whatever it sets
// off, is held against how many the judgement allows for.
// Invariant: the judgement never allows for fewer rows than there were, nor, where rows.txt has a
// number, for more than that.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { skipWithoutPostgres, startPostgres } from '../../setup/postgres.ts';
import { consult, type Finding, type World } from './oracle.ts';
import type { Tried } from './statements.ts';
import { VERSION } from './suite.ts';

interface Counted extends Tried {
  readonly most: number;
}

/** Lines of `most | before ;; before ;; statement`; those of other worlds begin with its name. */
function counted(name: World): Counted[] {
  const text = readFileSync(new URL(`./${name}.txt`, import.meta.url), 'utf8');
  return text.split('\n').flatMap((line): Counted[] => {
    const found = /^(\d+|\*) \| (.+)$/.exec(line);
    if (found === null) return [];
    const [statement = '', ...prior] = (found[2] ?? '').split(' ;; ').reverse();
    return [
      { statement, prior: prior.reverse(), most: found[1] === '*' ? Infinity : Number(found[1]) },
    ];
  });
}

function told({ statement, wrong, change }: Finding, most: number): string {
  const tables = change.tables.map((t) => `${t.table} -${t.removed} +${t.added}`).join(', ');
  return `${statement}\n    allows for ${most}; ${wrong.join('; ')} (${tables})`;
}

for (const world of ['rows', 'folding'] as const) {
  test(`oracle: ${world}`, { skip: skipWithoutPostgres(VERSION) }, async () => {
    const tried = counted(world);
    const server = await startPostgres({ version: VERSION });
    const findings: Finding[] = [];
    try {
      const families = [{ name: world, tried }];
      const url = (database: string) => server.url(database);
      await consult(url, families, world, (finding) => findings.push(finding), world);
    } finally {
      await server.stop();
    }
    const wrong = findings.filter((f, i) => f.wrong.length > 0 || f.most > (tried[i]?.most ?? 0));
    assert.equal(wrong.length, 0, `\n${wrong.map((f) => told(f, f.most)).join('\n')}`);
    const refused = findings.filter((f) => f.error !== null);
    assert.deepEqual(
      refused.map((f) => `${f.statement}: ${f.error}`),
      [],
    );
  });
}
