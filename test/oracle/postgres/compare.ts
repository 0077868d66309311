// Holds what a statement did, by the server's counters, against what was said of it.
// Invariant: whatever lasting change the effects do not account for is told; temporary objects are
// the session's own and need no more than class `session`.
import {
  type Access,
  type Effect,
  type EffectClass,
  severity,
  worst,
} from '../../../proxy/effect/effect.ts';
import type { Counted, Counts } from './counters.ts';

/** Catalogs of the server's, not of a database's schema. */
const ADMIN = new Set([
  'pg_authid',
  'pg_auth_members',
  'pg_db_role_setting',
  'pg_database',
  'pg_tablespace',
  'pg_subscription',
  'pg_replication_origin',
  'pg_parameter_acl',
  'pg_seclabel',
  'pg_shseclabel',
  'pg_event_trigger',
  'pg_publication',
  'pg_default_acl',
  'pg_extension',
  'pg_foreign_server',
  'pg_user_mapping',
]);

const LARGE_OBJECTS = new Set(['pg_largeobject', 'pg_largeobject_metadata']);

/** Rows that ANALYZE and temporary objects write, and what follows other rows. */
const FOLLOWS = /^pg_(statistic|statistic_ext_data|depend|shdepend|toast.*)$/;

/** What goes with other things that are dropped. */
const FALLS = /^pg_(policy|publication_rel|seclabel|default_acl|database|db_role_setting)$/;

export interface Miss {
  readonly least: EffectClass;
  readonly why: string;
}

export function missing(effects: readonly Effect[], counts: Counts): Miss[] {
  const told = worst(effects.map((effect) => effect.class));
  if (effects.some((effect) => effect.opaque !== null)) return [];
  const wrong: Miss[] = [];
  const atLeast = (least: EffectClass, why: string) => {
    if (severity(told) < severity(least)) wrong.push({ least, why });
  };
  const named = namesOf(effects, null);
  const updated = namesOf(effects, 'update');
  const deleted = namesOf(effects, 'delete');
  // What a prepared transaction did was judged when it did it; its end does not tell.
  const [only] = effects;
  if (effects.length === 1 && only?.class === 'admin' && /^(commit|rollback)$/.test(only.verb))
    return [];
  const refreshed = effects.some((effect) => effect.verb === 'refresh');
  for (const table of counts.tables) {
    const what = `${table.schema}.${table.name}: ${amounts(table)}`;
    if (table.temporary) {
      atLeast('session', what);
      continue;
    }
    const name = `${table.schema}.${table.name}`;
    // A row that an UPDATE moves to another partition is deleted where it was.
    const moved = refreshed || (updated.has(name) && !deleted.has(name));
    const lost = (table.deleted > 0 && !moved) || (table.emptied && !refreshed);
    atLeast(lost ? 'destructive' : 'write', what);
    const rows = table.inserted + table.updated + table.deleted;
    const most = mostRows(effects, name);
    if (!table.fresh && rows > most)
      wrong.push({ least: 'write', why: `${what}, more than ${most} rows` });
    if (!table.fresh && !named.has(name))
      wrong.push({ least: 'write', why: `${what}, and it is not among the objects` });
  }
  for (const sequence of counts.sequences) atLeast('write', `sequence ${sequence}`);
  // What stands on a table goes with it.
  const dropped = effects.some((effect) => effect.verb === 'drop');
  for (const catalog of counts.catalogs) {
    if (dropped && FALLS.test(catalog)) atLeast(counts.lasting ? 'ddl' : 'session', catalog);
    else if (ADMIN.has(catalog)) atLeast('admin', catalog);
    else if (LARGE_OBJECTS.has(catalog)) atLeast('write', catalog);
    else if (!FOLLOWS.test(catalog)) atLeast(counts.lasting ? 'ddl' : 'session', catalog);
  }
  return wrong;
}

/** Relations named with some access that changes them, or with a certain one. */
function namesOf(effects: readonly Effect[], access: Access | null): ReadonlySet<string> {
  const names = new Set<string>();
  for (const effect of effects)
    for (const object of effect.objects)
      if (object.access !== 'read' && (access === null || object.access === access))
        names.add(`${object.schema}.${object.name}`);
  return names;
}

/** How many rows of a table the effects let it change. */
function mostRows(effects: readonly Effect[], name: string): number {
  let most = 0;
  for (const { objects, rows_max } of effects)
    if (objects.some((o) => o.access !== 'read' && `${o.schema}.${o.name}` === name))
      most += rows_max ?? Infinity;
  return most;
}

function amounts(table: Counted): string {
  const parts = [
    table.inserted > 0 ? `${table.inserted} inserted` : '',
    table.updated > 0 ? `${table.updated} updated` : '',
    table.deleted > 0 ? `${table.deleted} deleted` : '',
    table.emptied ? 'emptied' : '',
  ];
  return parts.filter((part) => part !== '').join(', ');
}

export function didNothing(counts: Counts): boolean {
  return counts.tables.length + counts.catalogs.length + counts.sequences.length === 0;
}
