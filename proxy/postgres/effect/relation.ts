// Relations: what reading one runs (views, policies, foreign servers), and what writing to one runs
// besides (triggers, rules, foreign keys, partitions, checks, defaults, index expressions).
// Invariant: everything that hangs on a relation is either judged or `unknown`; temporary shadows
// come first.
import type { RangeVar } from '@pgsql/types';
import type { Access } from '../../effect/effect.ts';
import type { Relation } from '../catalog/snapshot.ts';
import { ParseFailure, parse } from '../parser.ts';
import { planned } from './computed.ts';
import { walk } from './expression.ts';
import { absorb, type Judge, type Source } from './judge.ts';
import { DEPARSED_PATH, findRelation, type RelationMeaning } from './names.ts';
import { absorbFunction, apart, expressionText, pathKey, remembered, takeIn } from './routine.ts';
import { meetType } from './type.ts';

export function label(relation: Relation): string {
  return `${relation.temporary ? 'pg_temp' : relation.schema}.${relation.name}`;
}

export function columnNames(relation: Relation): ReadonlySet<string> {
  let names = columns.get(relation);
  if (names === undefined) {
    names = new Set(relation.columns.map((column) => column.name));
    columns.set(relation, names);
  }
  return names;
}
const columns = new WeakMap<Relation, ReadonlySet<string>>();

function isCte(judge: Judge, name: string): boolean {
  for (let scope = judge.scope; scope !== null; scope = scope.parent)
    if (scope.ctes.has(name)) return true;
  return false;
}

/** A relation in FROM: a CTE, a temporary one, or one of the catalog. */
export function readRangeVar(judge: Judge, range: RangeVar): Source {
  const name = range.relname ?? '';
  const alias = range.alias?.aliasname ?? name;
  const renamed = range.alias?.colnames !== undefined;
  let source: Source = { alias, relation: null, columns: null, target: false };
  if (range.schemaname !== undefined || !isCte(judge, name)) {
    const meaning = findRelation(judge, range.schemaname ?? null, name);
    readMeaning(judge, meaning, 'read');
    const only =
      meaning.relations.length === 1 && meaning.locals.length === 0
        ? (meaning.relations[0] ?? null)
        : null;
    const relation = renamed ? null : only;
    source = {
      alias,
      relation,
      columns: relation === null ? null : columnNames(relation),
      target: false,
    };
  }
  judge.scope?.sources.push(source);
  return source;
}

/** Reading a relation, whatever its name turned out to mean. */
export function readMeaning(judge: Judge, meaning: RelationMeaning, access: Access): void {
  if (meaning.unclear !== null) judge.opaque(meaning.unclear);
  for (const relation of meaning.relations) readRelation(judge, relation, access);
  for (const local of meaning.locals) {
    if (meaning.relations.length === 0) judge.object('table', local.schema, local.name, access);
    absorb(judge, local.on_read, [`view ${local.name}`]);
  }
  if (meaning.relations.length === 0 && meaning.locals.length === 0) {
    judge.object(meaning.system ? 'table' : 'table', meaning.schema, meaning.name, access);
  }
}

function readRelation(judge: Judge, relation: Relation, access: Access): void {
  judge.relation(relation, access);
  const found = readFindings(judge, relation);
  if (found !== null) takeIn(judge, found, []);
}

/** What reading runs; null for a plain table. */
export function readFindings(
  judge: Judge,
  relation: Relation,
): ReturnType<typeof remembered> | null {
  if (relation.kind === 'S') return null;
  const key = `r${relation.oid} ${judge.planning ? 'p' : ''} ${pathKey(judge.runtime)}`;
  const found = remembered(judge, key, (findings) => {
    const inner = apart(judge, findings, judge.runtime).inside({ planning: judge.planning });
    if (relation.kind === 'v') viewRead(inner, relation);
    if (relation.kind === 'f') foreign(inner, relation);
    const via = `policy on ${label(relation)}`;
    for (const policy of relation.row_security ? relation.policies : []) {
      if (policy.reads !== null) texts(inner, [policy.reads], via);
    }
    for (const column of relation.columns) {
      meetType(inner, column.type, 'seen');
      if (column.generated === 'v' && column.expression !== null) {
        texts(inner, [column.expression], `generated column ${label(relation)}.${column.name}`);
      }
    }
    for (const each of [relation, ...descendants(judge, relation)]) {
      searched(inner, each);
      planned(inner, each);
    }
    for (const child of descendants(judge, relation)) {
      if (child.kind === 'f') {
        inner.relation(child, 'read', { via: [`partition of ${label(relation)}`] });
        foreign(inner, child);
      }
    }
  });
  const says = found.effects.length > 1 || (found.effects[0]?.objects.length ?? 0) > 0;
  return says || found.types.size > 0 ? found : null;
}

/** Looking rows up compares: for the partitions that a condition leaves, and in indexes. */
function searched(judge: Judge, relation: Relation): void {
  const classes = [
    ...(relation.partition_classes ?? []),
    ...relation.indexes.flatMap((index) => index.classes),
  ];
  for (const opclass of classes)
    for (const code of judge.catalog?.classes.get(opclass)?.functions ?? [])
      absorbFunction(judge, code, [`operator class on ${label(relation)}`]);
}

export function texts(
  judge: Judge,
  expressions: readonly string[],
  via: string,
  times: number | null = null,
): void {
  const inner = judge.inside({ path: DEPARSED_PATH, via: [...judge.via, via], times });
  for (const expression of expressions) expressionText(inner, expression);
}

function viewRead(judge: Judge, view: Relation): void {
  const inner = judge.inside({ path: DEPARSED_PATH, via: [...judge.via, `view ${label(view)}`] });
  try {
    for (const raw of parse(view.definition ?? '').stmts ?? []) walk(inner, raw.stmt);
  } catch (error) {
    if (!(error instanceof ParseFailure)) throw error;
    inner.opaque(`the definition of view ${label(view)} can't be parsed (${error.message})`);
  }
}

export function foreign(judge: Judge, relation: Relation): void {
  if (relation.wrapper === 'file_fdw') {
    judge.aside('read', 'admin').objects.push({
      kind: 'file',
      database: null,
      schema: null,
      name: `foreign table ${label(relation)}`,
      columns: [],
      access: 'read',
      via: judge.via,
      tags: [],
      identity: relation.identity,
    });
    return;
  }
  const behind = loopback(judge, relation);
  if (behind !== null) {
    const via = [
      ...judge.via,
      `foreign table ${label(relation)} of server ${relation.server ?? '?'}`,
    ];
    readRelation(judge.inside({ via }), behind, 'read');
    return;
  }
  judge.opaque(
    `${label(relation)} is a table of server ${relation.server ?? '?'}: ` +
      "what runs there can't be seen",
  );
}

/** A foreign table whose server is this very database: the table that it stands for. */
export function loopback(judge: Judge, relation: Relation): Relation | null {
  const { catalog } = judge;
  if (catalog === null || relation.wrapper !== 'postgres_fdw') return null;
  const options = new Map(
    [...(relation.server_options ?? []), ...(relation.table_options ?? [])].map((option) => {
      const at = option.indexOf('=');
      return [option.slice(0, at), option.slice(at + 1)] as const;
    }),
  );
  const host = options.get('host') ?? options.get('hostaddr') ?? 'localhost';
  if (!/^(localhost|127\.0\.0\.1|::1|\/.*)$/.test(host) || options.has('service')) return null;
  if (options.get('dbname') !== catalog.database) return null;
  if ((options.get('port') ?? catalog.port) !== catalog.port) return null;
  const schema = options.get('schema_name') ?? relation.schema;
  const name = options.get('table_name') ?? relation.name;
  return catalog.relations_named.get(name)?.find((r) => r.schema === schema) ?? null;
}

export function descendants(judge: Judge, relation: Relation): readonly Relation[] {
  if (relation.children.length === 0) return [];
  const found = new Map<string, Relation>();
  const wait = [...relation.children];
  for (let oid = wait.pop(); oid !== undefined; oid = wait.pop()) {
    const child = judge.catalog?.relations.get(oid);
    if (child === undefined || found.has(oid)) continue;
    found.set(oid, child);
    wait.push(...child.children);
  }
  return [...found.values()];
}
