// Names by which what a change sets off is remembered.
// Invariant: two changes of one name set off the same; a name made once is kept, since a text made
// anew would be hashed anew for each statement.
import type { Relation } from '../catalog/snapshot.ts';
import type { Judge } from './judge.ts';
import { columnNames } from './relation.ts';
import { pathKey } from './routine.ts';
import type { Write } from './write.ts';

/** `w`: for each row; `q`: for the statement as a whole. */
export function writeKey(judge: Judge, kind: 'w' | 'q', relation: Relation, write: Write): string {
  const path = pathKey(judge.runtime);
  if (write.event !== 'update') return rowKeys(relation, path)[kind][write.event];
  const [column, more] = write.columns ?? [];
  const known = rowKeys(relation, path)[kind].update;
  const single = column !== undefined && more === undefined ? known.get(column) : undefined;
  if (single !== undefined) return single;
  // Names may hold any sign that would keep them apart.
  const columns = write.columns === null ? '*' : JSON.stringify([...write.columns].sort());
  const key = `${kind}${relation.oid} update ${columns} ${path}`;
  if (column !== undefined && more === undefined && columnNames(relation).has(column))
    known.set(column, key);
  return key;
}

interface RowKeys {
  readonly insert: string;
  readonly delete: string;
  readonly truncate: string;
  /** By the one column that is set. */
  readonly update: Map<string, string>;
}
interface Keys {
  readonly path: string;
  readonly w: RowKeys;
  readonly q: RowKeys;
}

const keysOf = new WeakMap<Relation, Keys>();

function rowKeys(relation: Relation, path: string): Keys {
  let keys = keysOf.get(relation);
  if (keys?.path !== path) {
    const of = (kind: 'w' | 'q'): RowKeys => ({
      insert: `${kind}${relation.oid} insert ${path}`,
      delete: `${kind}${relation.oid} delete ${path}`,
      truncate: `${kind}${relation.oid} truncate ${path}`,
      update: new Map(),
    });
    keys = { path, w: of('w'), q: of('q') };
    keysOf.set(relation, keys);
  }
  return keys;
}
