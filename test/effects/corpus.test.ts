// The shared corpus of effects, when HOLDPOINT_CORPUS names its folder.
// Invariant: no row may be judged milder than it allows, but for those that the server itself
// refuses.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadParser } from '../../proxy/postgres/parser.ts';
import { skipWithoutPostgres, startPostgres } from '../setup/postgres.ts';
import { judgeRows, readCorpus, report, Setups } from './corpus.ts';

const FOLDER = process.env.HOLDPOINT_CORPUS ?? '';
const FILE = join(FOLDER, 'postgres.jsonl');
const NO_CORPUS =
  FOLDER === '' || !existsSync(FILE)
    ? 'HOLDPOINT_CORPUS names no folder with postgres.jsonl'
    : false;
/** Rows judged more severely than fair, out of a hundred. */
const MOST_OVER = 3;

test('the shared corpus, against PostgreSQL 15', {
  skip: NO_CORPUS || skipWithoutPostgres(15),
}, async (t) => {
  await loadParser();
  const server = await startPostgres({ version: 15 });
  const setups = new Setups((database) => server.url(database));
  try {
    const judged = await judgeRows(readCorpus(FILE), setups);
    const count = (verdict: string) => judged.filter((j) => j.verdict === verdict).length;
    t.diagnostic(
      `right ${count('right')}, over ${count('over')}, under ${count('under')}, ` +
        `under but refused ${count('under-refused')}`,
    );
    assert.equal(count('under'), 0, report(judged));
    assert.ok(count('over') * 100 <= judged.length * MOST_OVER, report(judged));
  } finally {
    await server.stop();
  }
});
