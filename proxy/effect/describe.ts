// An effect as an English sentence for a person who must decide about it.
// Invariant: nothing in an effect that could change the decision is left out: what, to what, how
// narrowed, through what, how sure.
import type { Access, Effect, EffectObject, ObjectKind } from './effect.ts';

const VERBS: { readonly [A in Access]: string } = {
  read: 'reads',
  insert: 'inserts into',
  update: 'updates',
  delete: 'deletes from',
  truncate: 'empties',
  create: 'creates',
  alter: 'alters',
  drop: 'drops',
  lock: 'locks',
  execute: 'calls',
  grant: 'changes privileges of',
  set: 'sets',
  use: 'uses',
};

function nameOf(object: EffectObject): string {
  const name = [object.database, object.schema, object.name]
    .filter((part) => part !== null)
    .join('.');
  const kind = object.kind === 'other' ? '' : `${object.kind} `;
  const through = object.via.length === 0 ? '' : ` (through ${object.via.join(', then ')})`;
  return `${kind}${name}${through}`;
}

function list(items: readonly string[]): string {
  if (items.length <= 1) return items[0] ?? '';
  return `${items.slice(0, -1).join(', ')} and ${items[items.length - 1]}`;
}

/** Things that have no rows to speak of. */
const ROWLESS: ReadonlySet<ObjectKind> = new Set(['sequence', 'channel']);

function rows(effect: Effect): string {
  if (effect.objects.every(({ kind }) => ROWLESS.has(kind)) && effect.scoped) return '';
  const most = effect.rows_max;
  if (most !== null)
    return most === 0 ? ', no row' : most === 1 ? ', at most one row' : `, at most ${most} rows`;
  switch (effect.predicate) {
    case 'none':
      return effect.scoped ? '' : ', with nothing that narrows it: every row';
    case 'tautology':
      return ', under a condition that is always true: every row';
    case 'key':
      return ', the rows of one key';
    case 'filter':
      return effect.scoped
        ? ', the rows that a filter picks'
        : ', under a condition that may let every row through';
    case 'not-applicable':
      return effect.scoped ? '' : ', whole';
  }
}

const ENDINGS: { readonly [C in Effect['class']]: string } = {
  read: '',
  session: ' Only the session changes.',
  write: '',
  ddl: ' The schema changes; no data is lost.',
  destructive: ' Data is lost.',
  admin: ' This is an administrator’s act.',
  unknown: '',
};

/** One sentence (and its weight) for an effect of any engine. */
export function describe(effect: Effect): string {
  if (effect.opaque !== null)
    return `What this does can’t be told: ${effect.opaque}. It is treated as the worst.`;
  const byAccess = new Map<Access, string[]>();
  for (const object of effect.objects) {
    const names = byAccess.get(object.access) ?? [];
    names.push(nameOf(object));
    byAccess.set(object.access, names);
  }
  // What is changed stands before what is only read.
  const order = [...byAccess].sort(([a], [b]) => Number(a === 'read') - Number(b === 'read'));
  const changes = order.filter(([access]) => access !== 'read').length;
  const clauses = order.map(([access, names], index) => {
    const narrowed = access !== 'read' && index === changes - 1 ? rows(effect) : '';
    return `${VERBS[access]} ${list(names)}${narrowed}`;
  });
  const deed = clauses.length === 0 ? `${capital(effect.verb)}s` : capital(list(clauses));
  const undo = effect.class === 'destructive' && effect.reversible ? ' It can be undone.' : '';
  return `${deed}.${ENDINGS[effect.class]}${undo}`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
