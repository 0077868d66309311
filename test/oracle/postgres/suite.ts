// One test a family: what the server did is compared with what was said before.
// Invariant: a family with statements of which hardly any changed the server proves nothing, and
// fails.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { skipWithoutPostgres, startPostgres, versionAsked } from '../../setup/postgres.ts';
import { consult, type Finding } from './oracle.ts';
import { FAMILIES } from './statements.ts';

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
