// The thread that long texts are judged on: catalogs are handed over as the rows they were built
// of, those that differ from what it has.
// Invariant: one text at a time, in the order asked; nothing is kept of it.
import { parentPort } from 'node:worker_threads';
import { unknownEffect } from '../../effect/effect.ts';
import { buildSnapshot, factsOf } from '../catalog/build.ts';
import { assembled, type Piece } from '../catalog/hand-over.ts';
import { NO_FACTS } from '../catalog/rows.ts';
import type { CatalogSnapshot } from '../catalog/snapshot.ts';
import { grammarBack, loadParser, trimParser } from '../parser.ts';
import type { SessionChange, SessionContext, Statement } from '../statement.ts';
import { judgeText } from './analyze.ts';

/** What the thread is told, in this order: a catalog's rows, that they are all, a text. */
export type Task =
  | { readonly kind: 'rows'; readonly slice: readonly Piece[] }
  | {
      readonly kind: 'catalog';
      readonly version: number;
      /** The one that the rows make it of, and in which ranges it is another. */
      readonly before: number | null;
      readonly ranges: readonly number[];
      readonly forget: number | null;
    }
  | {
      readonly kind: 'text';
      readonly text: string;
      readonly context: SessionContext;
      /** Of the catalog to go by; null: names can't be looked up. */
      readonly version: number | null;
    };

/** What it says of a text. It says `null` when it is ready for the next task. */
export interface Answer {
  readonly statements: readonly Statement[];
  readonly normalized: string;
  readonly fingerprint: string;
}

const catalogs = new Map<number, CatalogSnapshot>();
let handed: Piece[] = [];

async function done(task: Task): Promise<Answer | null | undefined> {
  switch (task.kind) {
    case 'rows':
      handed.push(...task.slice);
      return undefined;
    case 'catalog': {
      const before = task.before === null ? null : (catalogs.get(task.before) ?? null);
      const known = before === null ? NO_FACTS : factsOf(before);
      const facts = assembled(known, task.ranges, handed);
      handed = [];
      if (task.forget !== null) catalogs.delete(task.forget);
      catalogs.set(task.version, buildSnapshot(facts, task.version, before));
      return null;
    }
    case 'text':
      await grammarBack();
      return judged(task.text, task.context, task.version);
  }
}

function judged(text: string, context: SessionContext, version: number | null): Answer {
  const catalog = version === null ? null : catalogs.get(version);
  if (catalog === undefined) throw new Error(`catalog ${version} was not handed over`);
  const { parsed } = judgeText(text, context, catalog);
  const { statements, normalized, fingerprint } = parsed;
  trimParser();
  return { statements: statements.map(kept), normalized, fingerprint };
}

/** What a long text prepares or declares is not kept: running it is not understood. */
function kept(statement: Statement): Statement {
  const opaque = unknownEffect('it was prepared or declared in a long text');
  const changes = statement.changes.map((change): SessionChange => {
    if (change.kind !== 'prepare' && change.kind !== 'declare') return change;
    const { query: _, ...known } = change.statement;
    return { ...change, statement: { ...known, text: '', effects: [opaque], changes: [] } };
  });
  return { ...statement, changes };
}

await loadParser();
parentPort?.on('message', async (task: Task) => {
  const answer = await done(task);
  if (answer !== undefined) parentPort?.postMessage(answer);
});
parentPort?.postMessage(null);
