// What a change does to the rows that refer to it: cascades, SET NULL, SET DEFAULT.
// Invariant: a key is left alone only when none of its columns can change.
import type { ForeignKey, Relation } from '../catalog/snapshot.ts';
import { changedColumns } from './changed.ts';
import type { Judge } from './judge.ts';
import { converts } from './operand.ts';
import { uniqueRows } from './unique.ts';
import { type Write, writeRelation } from './write.ts';

const ACTIONS: { readonly [action: string]: string } = {
  c: 'cascade',
  n: 'set null',
  d: 'set default',
};

/** Of one row. */
export function followKeys(judge: Judge, relation: Relation, write: Write): void {
  for (const key of relation.keys_in) {
    const action = write.event === 'delete' ? key.on_delete : key.on_update;
    const words = ACTIONS[action];
    const child = judge.catalog?.relations.get(key.relation);
    if (words === undefined || child === undefined || !touches(judge, relation, key, write))
      continue;
    const via = [`foreign key ${key.name} on ${write.event} ${words}`];
    const cascades = write.event === 'delete' && action === 'c';
    const before = judge.draft;
    const draft = judge.open(
      cascades ? 'delete' : 'update',
      cascades || action !== 'c' ? 'destructive' : 'write',
    );
    draft.predicate = 'filter';
    const names = child.columns.filter((c) => key.columns.includes(c.number)).map((c) => c.name);
    const columns = new Set(names);
    // One row here is the parent of any number there, unless the key that refers is unique.
    draft.rows_max = uniqueRows(
      judge,
      child,
      new Map(names.map((name) => [name, { values: 1, exact: !converted(judge, child, key) }])),
      child.kind !== 'p',
    );
    writeRelation(judge, child, {
      event: cascades ? 'delete' : 'update',
      columns: cascades ? null : columns,
      via,
      only: false,
      rows: draft.rows_max,
      defaults: action === 'd' ? columns : undefined,
    });
    judge.draft = before;
  }
}

/** Values of the child's that differ may be the same to the parent: `float8 = bigint`. */
function converted(judge: Judge, child: Relation, key: ForeignKey): boolean {
  const parent = judge.catalog?.relations.get(key.referenced);
  return key.columns.some((number, index) => {
    const own = child.columns.find((column) => column.number === number);
    const wanted = key.referenced_columns[index];
    const other = parent?.columns.find((column) => column.number === wanted);
    return own === undefined || other === undefined || converts(judge, own, other);
  });
}

function touches(judge: Judge, relation: Relation, key: ForeignKey, write: Write): boolean {
  if (write.event === 'delete') return true;
  const changed = changedColumns(judge, relation, write.columns);
  if (changed === null) return true;
  return relation.columns.some(
    (c) => key.referenced_columns.includes(c.number) && changed.has(c.name),
  );
}
