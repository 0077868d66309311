// ALTER TABLE and its subcommands: which of them lose data, which change who may do what, which run
// code.
// Invariant: the table has a line for every subcommand of the grammar; a new one does not compile.
import type {
  AlterTableCmd,
  AlterTableStmt,
  AlterTableType,
  ColumnDef,
  RangeVar,
  TypeName,
} from '@pgsql/types';
import type { EffectClass } from '../../effect/effect.ts';
import { type Column, FIRST_USER_OID, type Relation } from '../catalog/snapshot.ts';
import { conditionOf, indexExpressions } from './computed.ts';
import { boundsCompared, joined, references, runBy } from './ddl.ts';
import { cascade, cascadeAny } from './drop.ts';
import { walk } from './expression.ts';
import type { Draft, Judge } from './judge.ts';
import { altered, alteredEverything, alteredKeys, always } from './local.ts';
import { computed } from './maintenance.ts';
import { DEPARSED_PATH, findRelation, findTypes, parts, type RelationMeaning } from './names.ts';
import { descendants, label, readMeaning } from './relation.ts';
import { expressionText } from './routine.ts';
import { meetType, meetTypeName } from './type.ts';

/** `attaches`: what a row set off may be different afterwards. */
type Line = readonly [effect: EffectClass, attaches?: 'attaches'];

const SUBCOMMANDS: { readonly [T in AlterTableType]: Line } = {
  AT_AddColumn: ['ddl', 'attaches'],
  AT_AddColumnToView: ['ddl'],
  AT_ColumnDefault: ['ddl', 'attaches'],
  AT_CookedColumnDefault: ['ddl', 'attaches'],
  AT_DropNotNull: ['ddl'],
  AT_SetNotNull: ['ddl'],
  AT_SetExpression: ['destructive', 'attaches'],
  AT_DropExpression: ['ddl'],
  AT_SetStatistics: ['ddl'],
  AT_SetOptions: ['ddl'],
  AT_ResetOptions: ['ddl'],
  AT_SetStorage: ['ddl'],
  AT_SetCompression: ['ddl'],
  AT_DropColumn: ['destructive'],
  AT_AddIndex: ['ddl'],
  AT_ReAddIndex: ['ddl'],
  AT_AddConstraint: ['ddl', 'attaches'],
  AT_ReAddConstraint: ['ddl'],
  AT_ReAddDomainConstraint: ['ddl'],
  AT_AlterConstraint: ['ddl'],
  AT_ValidateConstraint: ['ddl'],
  AT_AddIndexConstraint: ['ddl'],
  AT_DropConstraint: ['ddl'],
  AT_ReAddComment: ['ddl'],
  AT_AlterColumnType: ['destructive', 'attaches'],
  AT_AlterColumnGenericOptions: ['ddl'],
  AT_ChangeOwner: ['admin'],
  AT_ClusterOn: ['ddl'],
  AT_DropCluster: ['ddl'],
  AT_SetLogged: ['ddl'],
  AT_SetUnLogged: ['ddl'],
  AT_DropOids: ['ddl'],
  AT_SetAccessMethod: ['ddl'],
  AT_SetTableSpace: ['ddl'],
  AT_SetRelOptions: ['ddl'],
  AT_ResetRelOptions: ['ddl'],
  AT_ReplaceRelOptions: ['ddl'],
  AT_EnableTrig: ['admin', 'attaches'],
  AT_EnableAlwaysTrig: ['admin', 'attaches'],
  AT_EnableReplicaTrig: ['admin', 'attaches'],
  AT_DisableTrig: ['admin'],
  AT_EnableTrigAll: ['admin', 'attaches'],
  AT_DisableTrigAll: ['admin'],
  AT_EnableTrigUser: ['admin', 'attaches'],
  AT_DisableTrigUser: ['admin'],
  AT_EnableRule: ['admin', 'attaches'],
  AT_EnableAlwaysRule: ['admin', 'attaches'],
  AT_EnableReplicaRule: ['admin', 'attaches'],
  AT_DisableRule: ['admin'],
  AT_AddInherit: ['ddl'],
  AT_DropInherit: ['ddl'],
  AT_AddOf: ['ddl'],
  AT_DropOf: ['ddl'],
  AT_ReplicaIdentity: ['ddl'],
  AT_EnableRowSecurity: ['admin', 'attaches'],
  AT_DisableRowSecurity: ['admin'],
  AT_ForceRowSecurity: ['admin', 'attaches'],
  AT_NoForceRowSecurity: ['admin'],
  AT_GenericOptions: ['ddl'],
  AT_AttachPartition: ['ddl'],
  AT_DetachPartition: ['destructive'],
  AT_DetachPartitionFinalize: ['destructive'],
  AT_AddIdentity: ['ddl'],
  AT_SetIdentity: ['ddl'],
  AT_DropIdentity: ['ddl'],
  AT_ReAddStatistics: ['ddl'],
};

/** They compute what hangs on the rows that are there. */
const REWRITES: ReadonlySet<AlterTableType> = new Set<AlterTableType>([
  'AT_AddColumn',
  'AT_AlterColumnType',
  'AT_AttachPartition',
  'AT_SetAccessMethod',
  'AT_SetExpression',
  'AT_SetLogged',
  'AT_SetNotNull',
  'AT_SetUnLogged',
  'AT_ValidateConstraint',
]);

const KINDS = {
  OBJECT_INDEX: 'index',
  OBJECT_SEQUENCE: 'sequence',
  OBJECT_VIEW: 'view',
  OBJECT_TYPE: 'type',
} as const;

export function alterTable(judge: Judge, node: AlterTableStmt): void {
  const draft = judge.open('alter', 'ddl');
  const meaning = findRelation(
    judge,
    node.relation?.schemaname ?? null,
    node.relation?.relname ?? '',
  );
  for (const relation of meaning.relations) {
    judge.relation(relation, 'alter');
    if (node.relation?.inh === true)
      for (const child of descendants(judge, relation))
        judge.relation(child, 'alter', { via: [`child of ${label(relation)}`] });
  }
  if (meaning.relations.length === 0) {
    const kind =
      node.objtype !== undefined && node.objtype in KINDS
        ? KINDS[node.objtype as keyof typeof KINDS]
        : 'table';
    judge.object(kind, meaning.schema, meaning.name, 'alter');
  }
  for (const command of node.cmds ?? []) {
    if ('AlterTableCmd' in command) subcommand(judge, draft, meaning, command.AlterTableCmd, node);
    judge.draft = draft;
  }
}

function subcommand(
  judge: Judge,
  draft: Draft,
  meaning: RelationMeaning,
  cmd: AlterTableCmd,
  node: AlterTableStmt,
): void {
  const line = cmd.subtype === undefined ? undefined : SUBCOMMANDS[cmd.subtype];
  if (line === undefined || cmd.subtype === undefined) {
    judge.opaque('a form of ALTER TABLE that is not understood');
    return;
  }
  const { relations } = meaning;
  const effect = cmd.subtype === 'AT_AlterColumnType' ? retyped(judge, relations, cmd) : line[0];
  judge.worsen(draft, effect);
  if (effect === 'destructive') draft.predicate = 'none';
  const composite = node.objtype === 'OBJECT_TYPE';
  for (const each of relations.length === 0 ? [null] : relations) runs(judge, each, cmd);
  if (REWRITES.has(cmd.subtype)) for (const local of meaning.locals) computed(judge, local);
  switch (cmd.subtype) {
    case 'AT_AlterColumnType':
      alteredKeys(judge);
      break;
    case 'AT_DropColumn':
      alteredKeys(judge);
      for (const owner of meaning.relations) {
        judge.object('column', owner.schema, `${owner.name}.${cmd.name ?? ''}`, 'drop');
        const number = owner.columns.find((column) => column.name === cmd.name)?.number;
        if (cmd.behavior === 'DROP_CASCADE')
          cascade(judge, draft, `pg_class ${owner.oid}`, number ?? 0);
      }
      break;
    case 'AT_AttachPartition':
    case 'AT_DetachPartition':
      partition(judge, meaning, cmd);
      break;
    case 'AT_AddInherit':
      if (cmd.def !== undefined && 'RangeVar' in cmd.def)
        joined(
          judge,
          named(judge, cmd.def.RangeVar),
          meaning,
          runBy(judge, (inner) => readMeaning(inner, meaning, 'read')),
        );
      break;
    case 'AT_AddConstraint':
      for (const column of relations.flatMap((each) => each.columns))
        meetType(judge, column.type, 'seen');
      if (cmd.def !== undefined) references(judge, meaning, [cmd.def]);
      break;
    case 'AT_AddColumn':
      if (cmd.def !== undefined) references(judge, meaning, [cmd.def]);
      break;
    case 'AT_DropConstraint':
      alteredKeys(judge);
      if (cmd.behavior === 'DROP_CASCADE')
        judge.object('constraint', meaning.schema, cmd.name ?? '', 'drop');
      // Views may group by a key.
      if (cmd.behavior === 'DROP_CASCADE') cascadeAny(judge, draft, 'pg_constraint');
      break;
    default:
  }
  if (composite && effect === 'destructive' && cmd.behavior === 'DROP_CASCADE')
    draft.scoped = false;
  if (cmd.subtype === 'AT_GenericOptions' || cmd.subtype === 'AT_AlterColumnGenericOptions')
    altered(judge, meaning);
  if (line[1] === 'attaches') attached(judge, meaning, cmd, composite);
}

/** What rows of the table are put through from now on. */
function attached(
  judge: Judge,
  meaning: RelationMeaning,
  { subtype, def }: AlterTableCmd,
  type: boolean,
): void {
  if (subtype === 'AT_EnableRowSecurity' || subtype === 'AT_ForceRowSecurity') {
    const policies = meaning.relations.flatMap((relation) => relation.policies);
    const found = policies.flatMap(({ reads, writes }) => [reads, writes]);
    const effects = runBy(judge, (inner) => {
      for (const text of found)
        if (text !== null) expressionText(inner.inside({ path: DEPARSED_PATH }), text);
    });
    altered(judge, meaning, always(effects), effects);
  } else if (subtype?.startsWith('AT_Enable') === true) altered(judge, meaning);
  else {
    const effects = runBy(judge, (inner) => walk(inner, def));
    // A column of a row type: values of the type are made anywhere.
    if (type) alteredEverything(judge, 'a type', effects);
    else altered(judge, meaning, always(effects));
  }
}

function named(judge: Judge, range: RangeVar | undefined): RelationMeaning {
  return findRelation(judge, range?.schemaname ?? null, range?.relname ?? '');
}

function partition(judge: Judge, parent: RelationMeaning, { subtype, def }: AlterTableCmd): void {
  if (def === undefined || !('PartitionCmd' in def)) return;
  const { name, bound } = def.PartitionCmd;
  const meaning = named(judge, name);
  for (const relation of meaning.relations) judge.relation(relation, 'alter');
  if (meaning.relations.length === 0) judge.object('table', meaning.schema, meaning.name, 'alter');
  walk(judge, bound);
  if (subtype !== 'AT_AttachPartition') return;
  boundsCompared(judge, parent);
  const reads = runBy(judge, (inner) => readMeaning(inner, meaning, 'read'));
  joined(judge, parent, meaning, reads);
}

/** Rows that are there are held against checks: anew, where what they look at has another value. */
const CHECKS: ReadonlySet<AlterTableType | undefined> = new Set([
  'AT_ValidateConstraint',
  'AT_AttachPartition',
  'AT_SetNotNull',
  'AT_AlterColumnType',
  'AT_SetExpression',
]);

/** Expressions that run over the rows that are there. */
function runs(judge: Judge, relation: Relation | null, cmd: AlterTableCmd): void {
  const { def } = cmd;
  const inner = judge.inside({ path: DEPARSED_PATH });
  const own = relation === null ? [] : [relation, ...descendants(judge, relation)];
  // Which tables are made of a row type is not known.
  const typed = relation?.kind === 'c' && cmd.behavior === 'DROP_CASCADE';
  for (const each of typed ? (judge.catalog?.relations.values() ?? []) : own) {
    for (const check of CHECKS.has(cmd.subtype) ? each.checks : [])
      expressionText(inner, conditionOf(check.definition));
    // A table that is written anew, or joins another, has its indexes built again.
    indexExpressions(judge, each);
  }
  if (def === undefined || 'PartitionCmd' in def) return;
  if ('ColumnDef' in def) {
    meetTypeName(judge, def.ColumnDef.typeName);
    walk(judge, def.ColumnDef.raw_default);
    walk(judge, def.ColumnDef.constraints);
  } else if ('Constraint' in def) {
    walk(judge, def.Constraint.raw_expr);
    walk(judge, def.Constraint.where_clause);
    walk(judge, def.Constraint.exclusions);
  } else if (cmd.subtype === 'AT_SetExpression' || cmd.subtype === 'AT_ColumnDefault') {
    walk(judge, def);
    const column = relation?.columns.find(({ name }) => name === cmd.name);
    if (column !== undefined) meetType(judge, column.type, 'made');
  }
}

/** Wider types of the same kind keep every value; anything else may lose some. */
const WIDER: { readonly [type: string]: readonly string[] } = {
  int2: ['int2', 'int4', 'int8', 'numeric'],
  int4: ['int4', 'int8', 'numeric'],
  int8: ['int8', 'numeric'],
  float4: ['float4', 'float8'],
  varchar: ['varchar', 'text'],
  bpchar: ['bpchar'],
  text: ['text', 'varchar'],
  numeric: ['numeric'],
  date: ['date'],
  timestamp: ['timestamp'],
  timestamptz: ['timestamptz'],
};

function retyped(judge: Judge, relations: readonly Relation[], cmd: AlterTableCmd): EffectClass {
  const keeps =
    relations.length > 0 && relations.every((each) => retype(judge, each, cmd) === 'ddl');
  return keeps ? 'ddl' : 'destructive';
}

function retype(judge: Judge, relation: Relation | null, cmd: AlterTableCmd): EffectClass {
  const def: ColumnDef | undefined =
    cmd.def !== undefined && 'ColumnDef' in cmd.def ? cmd.def.ColumnDef : undefined;
  const column = relation?.columns.find((c) => c.name === cmd.name);
  if (def?.typeName === undefined || column === undefined || def.raw_default !== undefined)
    return 'destructive';
  return widens(judge, column, def.typeName) ? 'ddl' : 'destructive';
}

function widens(judge: Judge, column: Column, to: TypeName): boolean {
  const from = judge.catalog?.types.get(column.type);
  const [wanted] = findTypes(judge, parts(to.names));
  if (from === undefined || wanted === undefined || (to.arrayBounds?.length ?? 0) > 0) return false;
  // A type of users' may be called anything.
  if ([from, wanted].some(({ oid }) => Number(oid) >= FIRST_USER_OID)) return false;
  if (!(WIDER[from.name] ?? []).includes(wanted.name)) return false;
  const limits = (to.typmods ?? []).map((node) =>
    'A_Const' in node ? (node.A_Const.ival?.ival ?? 0) : -1,
  );
  if (limits.length === 0) return !(wanted.name === 'bpchar');
  if (column.typmod < 0) return false;
  if (wanted.name === 'varchar' || wanted.name === 'bpchar')
    return (limits[0] ?? 0) + 4 >= column.typmod;
  if (wanted.name === 'numeric' && from.name === 'numeric') {
    const precision = ((column.typmod - 4) >> 16) & 0xffff;
    const scale = (column.typmod - 4) & 0x7ff;
    const [p = 0, s = 0] = limits;
    return s >= scale && p - s >= precision - scale;
  }
  return false;
}
