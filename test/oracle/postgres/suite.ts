// One test a family: what the server did is compared with what was said before.
// Invariant: a family with statements of which hardly any changed the server proves nothing, and
// fails.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { skipWithoutPostgres, startPostgres, versionAsked } from '../../setup/postgres.ts';
import { consult, type Finding, type World } from './oracle.ts';
import { FAMILIES, type Tried } from './statements.ts';

/** The server to ask: the newest there is, or the one the environment names. */
export const VERSION = versionAsked(process.env.HOLDPOINT_ORACLE_POSTGRES, 18);

const READS = 'what tools and people read';

function told(findings: readonly Finding[]): string {
  return findings
    .map((f) => `${f.statement}\n    judged ${f.told}: ${f.wrong.join('; ')}`)
    .join('\n');
}

export function oracleTest(tag: string, names: readonly string[]): void {
  test(`oracle: ${tag}`, { skip: skipWithoutPostgres(VERSION) }, async () => {
    const families = FAMILIES.filter((family) => names.includes(family.name));
    assert.equal(families.length, names.length, 'a family of this name is missing');
    const server = await startPostgres({
      version: VERSION,
      settings: { wal_level: 'logical', max_prepared_transactions: '2' },
    });
    const findings: Finding[] = [];
    try {
      await consult(
        (database) => server.url(database),
        families,
        tag,
        (f) => findings.push(f),
      );
    } finally {
      await server.stop();
    }
    const wrong = findings.filter((finding) => finding.wrong.length > 0);
    assert.equal(
      wrong.length,
      0,
      `${wrong.length} of ${findings.length} are wrong:\n${told(wrong)}`,
    );
    for (const family of families) {
      const mine = findings.filter((finding) => finding.family === family.name);
      const changed = mine.filter(
        (f) => f.change.tables.length + f.change.catalogs.length + f.change.others.length > 0,
      );
      if (family.name !== READS) {
        assert.ok(
          changed.length * 3 > mine.length,
          `${family.name}: only ${changed.length} of ${mine.length} did anything`,
        );
      }
    }
  });
}

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

function allowed({ statement, wrong, change }: Finding, most: number): string {
  const tables = change.tables.map((t) => `${t.table} -${t.removed} +${t.added}`).join(', ');
  return `${statement}\n    allows for ${most}; ${wrong.join('; ')} (${tables})`;
}

/** The statements of a world's own text: see rows.txt. */
export function countedTest(world: World): void {
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
    assert.equal(wrong.length, 0, `\n${wrong.map((f) => allowed(f, f.most)).join('\n')}`);
    const refused = findings.filter((f) => f.error !== null);
    assert.deepEqual(
      refused.map((f) => `${f.statement}: ${f.error}`),
      [],
    );
  });
}
