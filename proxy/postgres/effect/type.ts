// Types met in a statement: domains with checks, casts and operator classes made by users.
// Invariant: user code that PostgreSQL runs because of a value's type is found by the type,
// wherever the value comes from.
import type { TypeName } from '@pgsql/types';
import type { CatalogSnapshot } from '../catalog/snapshot.ts';
import type { Judge } from './judge.ts';
import { DEPARSED_PATH, findTypes, parts } from './names.ts';
import { absorbFunction, apart, expressionText, remembered, takeIn } from './routine.ts';

/** A type is named: a cast to it (or a column of it) is `wanted`. */
export function meetTypeName(judge: Judge, node: TypeName | undefined, wanted: boolean): void {
  const { catalog } = judge;
  if (node === undefined || catalog === null) return;
  const names = parts(node.names);
  if (names[0] === 'pg_catalog') {
    if (wanted) ambientCasts(judge, catalog);
    return;
  }
  for (const type of findTypes(judge, names)) meetType(judge, type.oid);
}

/** Whether any user code hangs on types at all; most databases have none. */
function eventful(catalog: CatalogSnapshot): Set<string> {
  let types = eventfulTypes.get(catalog);
  if (types !== undefined) return types;
  types = new Set();
  const code = (oid: string) => catalog.routines.has(oid) || catalog.builtins.has(oid);
  for (const type of catalog.types.values())
    if (type.checks.length > 0 || type.preset !== null) types.add(type.oid);
  for (const opclass of catalog.classes.values())
    if (opclass.functions.some(code)) types.add(opclass.type);
  for (const cast of catalog.casts) {
    if (!code(cast.function)) continue;
    if (Number(cast.source) < USER && Number(cast.function) < USER) continue;
    types.add(cast.source);
    types.add(cast.target);
  }
  eventfulTypes.set(catalog, types);
  return types;
}
const eventfulTypes = new WeakMap<CatalogSnapshot, Set<string>>();

export function meetType(judge: Judge, oid: string): void {
  const { catalog } = judge;
  if (catalog === null || oid === '0') return;
  const { types } = judge.findings;
  for (let at: string | undefined = oid, steps = 0; at !== undefined && steps < 32; steps++) {
    if (types.has(at)) return;
    types.add(at);
    if (eventful(catalog).has(at)) runType(judge, catalog, at);
    const type = catalog.types.get(at);
    if (type === undefined) return;
    if (type.kind === 'c' && type.relation !== '0') {
      for (const column of catalog.relations.get(type.relation)?.columns ?? [])
        meetType(judge, column.type);
    }
    at = type.base !== '0' ? type.base : type.element !== '0' ? type.element : undefined;
  }
}

function runType(judge: Judge, catalog: CatalogSnapshot, oid: string): void {
  const type = catalog.types.get(oid);
  const label = `type ${type?.schema ?? '?'}.${type?.name ?? oid}`;
  const found = remembered(judge, `t${oid} ${judge.runtime?.join(',') ?? '*'}`, (findings) => {
    const inner = apart(judge, findings, judge.runtime);
    for (const check of type?.checks ?? []) {
      expressionText(
        inner.inside({ path: DEPARSED_PATH }),
        check.definition.replace(/^CHECK\s*|\s*NOT VALID$/g, ''),
      );
    }
    if (type !== undefined && type.preset !== null) {
      expressionText(inner.inside({ path: DEPARSED_PATH }), type.preset);
    }
    for (const opclass of catalog.classes.values()) {
      if (opclass.type === oid && opclass.is_default) {
        for (const code of opclass.functions) absorbFunction(inner, code, []);
      }
    }
  });
  takeIn(judge, found, [label]);
  for (const cast of catalog.casts) {
    if (cast.source !== oid && cast.target !== oid) continue;
    // A cast needs both its types; one that a user made has to be in sight.
    const other = cast.source === oid ? cast.target : cast.source;
    if (Number(oid) < USER && Number(other) >= USER) continue;
    if (Number(other) >= USER && !judge.findings.types.has(other)) continue;
    absorbFunction(judge, cast.function, [label]);
  }
}

/** Types from here on were made by users. */
const USER = 16384;

/** Casts between built-in types that users have added: they may run wherever such values meet. */
export function ambientCasts(judge: Judge, catalog: CatalogSnapshot): void {
  let types = ambient.get(catalog);
  if (types === undefined) {
    types = catalog.casts
      .filter((cast) => catalog.routines.has(cast.function) && Number(cast.target) < USER)
      .map((cast) => cast.source)
      .filter((source) => Number(source) < USER);
    ambient.set(catalog, types);
  }
  for (const type of types) meetType(judge, type);
}
const ambient = new WeakMap<CatalogSnapshot, readonly string[]>();
