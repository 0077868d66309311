// Which columns an UPDATE changes besides those that it sets: generated ones, and what BEFORE
// triggers write to the row.
// Invariant: a column is left out only when nothing that runs for the row can write to it.
import type { Node } from '@pgsql/types';
import type { Relation, Trigger } from '../catalog/snapshot.ts';
import { ParseFailure, parsePlpgsql } from '../parser.ts';
import type { Judge } from './judge.ts';
import { localNamed } from './names.ts';
import { rowWritten } from './plpgsql-constants.ts';
import { hasNode } from './reference.ts';

/** Bits of pg_trigger.tgtype: for each row, BEFORE, UPDATE. */
const BEFORE_UPDATE = 1 | 2 | 16;

/** The columns that may have changed once the row is written; null: any of them. */
export function changedColumns(
  judge: Judge,
  relation: Relation,
  set: ReadonlySet<string> | null,
): ReadonlySet<string> | null {
  if (set === null) return null;
  const more = writtenBesides(judge, relation);
  return more === null ? null : more.size === 0 ? set : new Set([...set, ...more]);
}

/** An UPDATE may put rows in another partition: those of these tables write to a partition key. */
export function movesRows(
  judge: Judge,
  parts: readonly Relation[],
  set: ReadonlySet<string> | null,
): boolean {
  const keys = parts.map((part) => part.partition_key ?? '').join();
  return parts.some((part) => {
    const columns = changedColumns(judge, part, set);
    return columns === null || [...columns].some((column) => keys.includes(column));
  });
}

const known = new WeakMap<Relation, ReadonlySet<string> | null>();

function writtenBesides(judge: Judge, relation: Relation): ReadonlySet<string> | null {
  // A trigger's function may be another one now.
  if (judge.root.session.local.size > 0) return findWritten(judge, relation);
  let found = known.get(relation);
  if (found === undefined) known.set(relation, (found = findWritten(judge, relation)));
  return found;
}

function findWritten(judge: Judge, relation: Relation): ReadonlySet<string> | null {
  const found = new Set<string>();
  for (const { name, generated } of relation.columns) if (generated !== '') found.add(name);
  for (const trigger of relation.triggers) {
    if (trigger.enabled === 'D' || (trigger.type & BEFORE_UPDATE) !== BEFORE_UPDATE) continue;
    const written = writtenBy(judge, trigger);
    if (written === null) return null;
    for (const name of written) found.add(name);
  }
  return found;
}

/** Columns of its row that a trigger writes; null: any. */
function writtenBy(judge: Judge, trigger: Trigger): ReadonlySet<string> | null {
  const routine = judge.catalog?.routines.get(trigger.function);
  const text = trigger.definition ?? '';
  // Code in C is told by its arguments which columns to write.
  if (routine === undefined || routine.language === 'c' || routine.language === 'internal') {
    const [, args = ''] = /EXECUTE (?:FUNCTION|PROCEDURE) .*?\((.*)\)$/.exec(text) ?? [];
    return new Set([...args.matchAll(/'((?:[^']|'')*)'/g)].map(([, name = '']) => name));
  }
  if (routine.language !== 'plpgsql' || localNamed(judge, 'function', routine.name) !== null)
    return null;
  judge.visit((routine.definition ?? '').length >> 3);
  try {
    return rowWritten(parsePlpgsql(routine.definition ?? ''));
  } catch (error) {
    if (error instanceof ParseFailure) return null;
    throw error;
  }
}

/** Columns that an UPDATE's list names. */
export function setColumns(list: readonly Node[] | undefined): ReadonlySet<string> {
  const names = new Set<string>();
  for (const node of list ?? [])
    if ('ResTarget' in node && node.ResTarget.name !== undefined) names.add(node.ResTarget.name);
  return names;
}

/** Columns that are set to DEFAULT, which is computed then. */
export function setDefaults(list: readonly Node[] | undefined): ReadonlySet<string> | undefined {
  const reset = list?.filter((node) => {
    const value = 'ResTarget' in node ? node.ResTarget.val : undefined;
    if (value === undefined) return false;
    if ('MultiAssignRef' in value) return hasNode(value, (kind) => kind === 'SetToDefault');
    return 'SetToDefault' in value;
  });
  return reset === undefined || reset.length === 0 ? undefined : setColumns(reset);
}
