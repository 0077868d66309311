// Every statement kind of PostgreSQL's grammar, and what it does.
// Invariant: the table has a line for each kind; a new kind does not compile, and one that is not
// understood is `unknown`.
import type { Node } from '@pgsql/types';
import { alterTable } from './alter.ts';
import {
  createForeignTable,
  createIndex,
  createSchema,
  createTable,
  createTableAs,
  createType,
  createView,
  option,
  runBy,
} from './ddl.ts';
import {
  alterOperator,
  alterOperatorFamily,
  createCast,
  createOperatorClass,
  createRule,
  createTrigger,
  define,
  policy,
} from './define.ts';
import {
  copyStatement,
  deleteStatement,
  insertStatement,
  mergeStatement,
  truncateStatement,
  updateStatement,
} from './dml.ts';
import { DROPS, dropStatement } from './drop.ts';
import { alterEventTrigger, createEventTrigger, fireEventTriggers } from './event-trigger.ts';
import { type BodyOf, type NodeKind, walk } from './expression.ts';
import { alterFunction, createFunction, doBlock } from './function.ts';
import { absorb, type Judge } from './judge.ts';
import { ANYTHING, altered, alteredEverything, always, placeOf, saidBy } from './local.ts';
import { maintainCluster, maintainReindex, maintainVacuum, refreshView } from './maintenance.ts';
import { findTypes, localNamed, parts } from './names.ts';
import {
  about,
  changing,
  moved,
  named,
  one,
  ownedBy,
  renamed,
  roleName,
  roles,
  serverChange,
} from './naming.ts';
import { alone, select, selectStatement } from './select.ts';
import {
  closeCursor,
  deallocate,
  declareCursor,
  discard,
  execute,
  explain,
  fetchCursor,
  prepare,
  transaction,
} from './session.ts';
import { variableSet } from './settings.ts';
import { meetType } from './type.ts';

export type StatementKind = Extract<NodeKind, `${string}Stmt`>;

type Handler<K extends StatementKind> = (judge: Judge, node: BodyOf<K>) => void;

const notSql = (judge: Judge) => judge.opaque('a syntax node that is not a statement of its own');

const STATEMENTS: { readonly [K in StatementKind]: Handler<K> } = {
  // Rows.
  SelectStmt: selectStatement,
  InsertStmt: insertStatement,
  UpdateStmt: updateStatement,
  DeleteStmt: deleteStatement,
  MergeStmt: mergeStatement,
  TruncateStmt: truncateStatement,
  CopyStmt: copyStatement,

  // Statements that carry statements.
  ExplainStmt: explain,
  PrepareStmt: prepare,
  ExecuteStmt: execute,
  DeallocateStmt: deallocate,
  DeclareCursorStmt: declareCursor,
  FetchStmt: fetchCursor,
  ClosePortalStmt: closeCursor,
  CreateTableAsStmt: createTableAs,
  DoStmt: (judge, node) => doBlock(judge, node.args),
  CallStmt: (judge, node) => {
    judge.open('call', 'read');
    judge.findings.own_transaction = true;
    if (node.funccall !== undefined) alone(judge, { FuncCall: node.funccall });
  },
  ReturnStmt: (judge, node) => alone(judge, node.returnval),

  // The session.
  TransactionStmt: transaction,
  VariableSetStmt: variableSet,
  VariableShowStmt: one('show', 'read', 'setting', 'read', (n) => n.name),
  DiscardStmt: discard,
  ConstraintsSetStmt: (judge) => void judge.open('set', 'session'),
  ListenStmt: one('listen', 'session', 'channel', 'use', (n) => n.conditionname),
  UnlistenStmt: one('unlisten', 'session', 'channel', 'use', (n) => n.conditionname),
  NotifyStmt: (judge, node) => {
    judge.open('notify', 'write').rows_max = 0;
    judge.object('channel', null, node.conditionname ?? '', 'use');
  },
  LockStmt: (judge, node) => {
    // SHARE and what is stronger stop the changes of all others, the strongest their reads too.
    judge.open('lock', (node.mode ?? ACCESS_EXCLUSIVE) < SHARE ? 'session' : 'write');
    for (const item of node.relations ?? [])
      if ('RangeVar' in item) about(judge, item.RangeVar, 'lock');
  },

  // Things made.
  CreateStmt: createTable,
  CreateForeignTableStmt: createForeignTable,
  ViewStmt: createView,
  IndexStmt: createIndex,
  CreateFunctionStmt: createFunction,
  CreateTrigStmt: createTrigger,
  RuleStmt: createRule,
  CreateSchemaStmt: createSchema,
  CreateSeqStmt: (judge, node) => {
    judge.open('create', node.sequence?.relpersistence === 't' ? 'session' : 'ddl');
    judge.object(
      'sequence',
      node.sequence?.schemaname ?? null,
      node.sequence?.relname ?? '',
      'create',
    );
  },
  DefineStmt: define,
  CreateDomainStmt: (judge, node) => {
    createType(judge, 'a domain', parts(node.domainname).at(-1), node);
  },
  CompositeTypeStmt: (judge, node) => {
    createType(judge, 'a type', node.typevar?.relname, node.coldeflist);
  },
  CreateEnumStmt: one('create', 'ddl', 'type', 'create', (n) => parts(n.typeName)),
  CreateRangeStmt: (judge, node) => {
    createType(judge, 'a range type', parts(node.typeName).at(-1), node.params);
    // Bounds are compared by the class that is named.
    if (option(node.params, 'subtype_opclass') !== null) alteredEverything(judge, 'a range type');
  },
  CreateCastStmt: createCast,
  CreateTransformStmt: one('create', 'ddl', 'other', 'create', (n) => n.lang),
  CreateConversionStmt: one('create', 'ddl', 'other', 'create', (n) => parts(n.conversion_name)),
  CreateOpClassStmt: createOperatorClass,
  CreateOpFamilyStmt: one('create', 'ddl', 'operator', 'create', (n) => parts(n.opfamilyname)),
  CreateStatsStmt: (judge, node) => {
    judge.open('create', 'ddl');
    judge.object('statistics', null, parts(node.defnames).at(-1) ?? '', 'create');
    for (const item of node.relations ?? [])
      if ('RangeVar' in item) about(judge, item.RangeVar, 'alter');
    const compute = (inner: Judge) => walk(inner, node.exprs);
    compute(judge);
    const later = always(runBy(judge, compute));
    for (const item of node.relations ?? [])
      if ('RangeVar' in item) altered(judge, placeOf(item.RangeVar), later);
  },

  // Things changed.
  AlterTableStmt: alterTable,
  AlterDomainStmt: (judge, node) => {
    judge.open('alter', 'ddl');
    judge.object('type', null, parts(node.typeName).at(-1) ?? '', 'alter');
    // VALIDATE runs the checks over the rows that are there, ADD runs the new one, a default is
    // converted.
    for (const type of findTypes(judge, parts(node.typeName))) meetType(judge, type.oid, 'made');
    walk(judge, node.def);
    alteredEverything(
      judge,
      'a domain',
      runBy(judge, (inner) => walk(inner, node.def)),
    );
  },
  AlterSeqStmt: (judge, node) => {
    const restarts = option(node.options, 'restart') !== null;
    judge.open('alter', 'ddl');
    if (restarts) judge.findings.needs_read_write = true;
    judge.object(
      'sequence',
      node.sequence?.schemaname ?? null,
      node.sequence?.relname ?? '',
      'alter',
    );
  },
  AlterFunctionStmt: alterFunction,
  AlterEnumStmt: one('alter', 'ddl', 'type', 'alter', (n) => parts(n.typeName)),
  AlterTypeStmt: one('alter', 'ddl', 'type', 'alter', (n) => parts(n.typeName)),
  AlterCollationStmt: one('alter', 'ddl', 'collation', 'alter', (n) => parts(n.collname)),
  AlterOperatorStmt: alterOperator,
  AlterOpFamilyStmt: alterOperatorFamily,
  AlterStatsStmt: one('alter', 'ddl', 'statistics', 'alter', (n) => parts(n.defnames)),
  AlterTSDictionaryStmt: one('alter', 'ddl', 'text-search', 'alter', (n) => parts(n.dictname)),
  AlterTSConfigurationStmt: one('alter', 'ddl', 'text-search', 'alter', (n) => parts(n.cfgname)),
  AlterObjectDependsStmt: one('alter', 'ddl', 'other', 'alter', (n) => n.relation?.relname),
  AlterObjectSchemaStmt: (judge, node) => {
    judge.open('alter', node.objectType === 'OBJECT_EXTENSION' ? 'admin' : 'ddl');
    moved(judge, node.relation, node.object, node.objectType);
    renamed(judge, node.objectType, node, { schema: node.newschema ?? '' });
  },
  RenameStmt: (judge, node) => {
    const [, effect] = DROPS[node.renameType ?? 'OBJECT_TABLE'];
    judge.open(
      'alter',
      effect === 'admin' && node.renameType !== 'OBJECT_POLICY' ? 'admin' : 'ddl',
    );
    if (node.renameType === 'OBJECT_DATABASE') judge.worsen(judge.draft, 'admin');
    moved(judge, node.relation, node.object, node.renameType);
    if (node.subname !== undefined && node.renameType === 'OBJECT_ROLE')
      judge.object('role', null, node.subname, 'alter');
    renamed(judge, node.renameType, node, { name: node.newname ?? '' });
  },
  AlterOwnerStmt: (judge, node) => {
    judge.open('alter', 'admin');
    moved(judge, node.relation, node.object, node.objectType);
    judge.object('role', null, roleName(node.newowner) ?? '', 'use');
  },
  CommentStmt: (judge, node) => {
    judge.open('comment', 'ddl');
    named(judge, node.objtype, node.object, 'alter');
  },
  ReplicaIdentityStmt: (judge) => void judge.open('alter', 'ddl'),
  DropStmt: dropStatement,

  // Maintenance.
  VacuumStmt: maintainVacuum,
  ClusterStmt: maintainCluster,
  ReindexStmt: maintainReindex,
  RefreshMatViewStmt: refreshView,
  CheckPointStmt: (judge) => void judge.open('checkpoint', 'admin'),

  // Roles, privileges, the server.
  GrantStmt: (judge, node) => {
    judge.open(node.is_grant === true ? 'grant' : 'revoke', 'admin');
    for (const item of node.objects ?? []) {
      if ('RangeVar' in item) about(judge, item.RangeVar, 'grant');
      else named(judge, node.objtype, item, 'grant');
    }
    for (const role of roles(node.grantees)) judge.object('role', null, role, 'grant');
  },
  GrantRoleStmt: (judge, node) => {
    judge.open(node.is_grant === true ? 'grant' : 'revoke', 'admin');
    for (const role of roles(node.grantee_roles)) judge.object('role', null, role, 'grant');
  },
  AlterDefaultPrivilegesStmt: (judge) => void judge.open('grant', 'admin'),
  CreateRoleStmt: one('create', 'admin', 'role', 'create', (n) => n.role),
  AlterRoleStmt: one('alter', 'admin', 'role', 'alter', (n) => roleName(n.role)),
  AlterRoleSetStmt: one('alter', 'admin', 'role', 'alter', (n) => roleName(n.role) ?? 'all'),
  DropRoleStmt: (judge, node) => {
    judge.open('drop', 'admin');
    for (const role of roles(node.roles)) judge.object('role', null, role, 'drop');
  },
  DropOwnedStmt: (judge, node) => {
    const draft = judge.open('drop', 'admin');
    draft.scoped = false;
    for (const role of roles(node.roles)) {
      judge.object('role', null, role, 'drop');
      for (const owned of ownedBy(judge, role))
        judge.relation(owned, 'drop', { via: [`role ${role}`] });
    }
  },
  ReassignOwnedStmt: (judge, node) => {
    judge.open('alter', 'admin');
    for (const role of roles(node.roles)) {
      judge.object('role', null, role, 'alter');
      for (const owned of ownedBy(judge, role))
        judge.relation(owned, 'alter', { via: [`role ${role}`] });
    }
    judge.object('role', null, roleName(node.newrole) ?? '', 'use');
  },
  SecLabelStmt: (judge, node) => {
    judge.open('label', 'admin');
    named(judge, node.objtype, node.object, 'alter');
  },
  CreatePolicyStmt: policy('create'),
  AlterPolicyStmt: policy('alter'),
  AlterSystemStmt: one('set', 'admin', 'setting', 'set', (n) => n.setstmt?.name ?? 'all'),
  LoadStmt: one('load', 'admin', 'file', 'read', (n) => n.filename),
  CreateExtensionStmt: one('create', 'admin', 'extension', 'create', (n) => n.extname),
  AlterExtensionStmt: changing(
    'an extension',
    'alter',
    'admin',
    'extension',
    'alter',
    (n) => n.extname,
  ),
  AlterExtensionContentsStmt: one('alter', 'admin', 'extension', 'alter', (n) => n.extname),
  CreatedbStmt: one('create', 'admin', 'database', 'create', (n) => n.dbname),
  AlterDatabaseStmt: one('alter', 'admin', 'database', 'alter', (n) => n.dbname),
  AlterDatabaseSetStmt: one('alter', 'admin', 'database', 'alter', (n) => n.dbname),
  AlterDatabaseRefreshCollStmt: one('alter', 'admin', 'database', 'alter', (n) => n.dbname),
  DropdbStmt: (judge, node) => {
    judge.open('drop', 'destructive').scoped = false;
    judge.object('database', null, node.dbname ?? '', 'drop');
  },
  CreateTableSpaceStmt: one('create', 'admin', 'tablespace', 'create', (n) => n.tablespacename),
  DropTableSpaceStmt: one('drop', 'admin', 'tablespace', 'drop', (n) => n.tablespacename),
  AlterTableSpaceOptionsStmt: one('alter', 'admin', 'tablespace', 'alter', (n) => n.tablespacename),
  AlterTableMoveAllStmt: one('alter', 'admin', 'tablespace', 'alter', (n) => n.orig_tablespacename),
  CreateAmStmt: one('create', 'admin', 'access-method', 'create', (n) => n.amname),
  CreatePLangStmt: one('create', 'admin', 'language', 'create', (n) => n.plname),
  CreateEventTrigStmt: createEventTrigger,
  AlterEventTrigStmt: alterEventTrigger,

  // Other servers.
  CreateFdwStmt: one('create', 'admin', 'server', 'create', (n) => n.fdwname),
  AlterFdwStmt: changing('a foreign server', 'alter', 'admin', 'server', 'alter', (n) => n.fdwname),
  CreateForeignServerStmt: one('create', 'admin', 'server', 'create', (n) => n.servername),
  AlterForeignServerStmt: serverChange('alter'),
  CreateUserMappingStmt: serverChange('create'),
  AlterUserMappingStmt: serverChange('alter'),
  DropUserMappingStmt: serverChange('drop'),
  ImportForeignSchemaStmt: (judge, node) => {
    judge.open('create', 'ddl');
    judge.object('schema', null, node.local_schema ?? '', 'alter');
    judge.object('server', null, node.server_name ?? '', 'use');
    alteredEverything(judge, 'a foreign schema');
  },
  CreatePublicationStmt: one('create', 'admin', 'publication', 'create', (n) => n.pubname),
  AlterPublicationStmt: one('alter', 'admin', 'publication', 'alter', (n) => n.pubname),
  CreateSubscriptionStmt: one('create', 'admin', 'subscription', 'create', (n) => n.subname),
  AlterSubscriptionStmt: one('alter', 'admin', 'subscription', 'alter', (n) => n.subname),
  DropSubscriptionStmt: one('drop', 'admin', 'subscription', 'drop', (n) => n.subname),

  // Never at the top of a text.
  RawStmt: notSql,
  SetOperationStmt: notSql,
  PLAssignStmt: notSql,
};

/** Modes of LOCK, of the server's lockdefs.h. */
const SHARE = 5;
const ACCESS_EXCLUSIVE = 8;

// Typed line by line above; looked up by a key that is only known when it runs.
const handlers = new Map<string, (judge: Judge, node: unknown) => void>(
  Object.entries(STATEMENTS) as unknown as [string, (judge: Judge, node: unknown) => void][],
);

/** A node's kind and what is in it. */
export function kindOf(node: Node): readonly [kind: string, body: unknown] {
  for (const key in node) return [key, (node as { readonly [key: string]: unknown })[key]];
  return ['', undefined];
}

/** Statements whose rows and expressions may meet changed casts and operators. */
const RUNS_CODE = new Set(
  `Select Insert Update Delete Merge Copy Call Execute Fetch Declare Create CreateTableAs
  RefreshMatView Index AlterTable Reindex Cluster Vacuum`
    .split(/\s+/)
    .map((kind) => `${kind}Stmt`),
);

/** Judges one statement, wherever it stands: at the top, in a CTE, in a body, under EXPLAIN. */
export function judgeStatement(judge: Judge, node: Node): void {
  judge.visit();
  const [kind, body] = kindOf(node);
  const handler = handlers.get(kind);
  if (handler === undefined) {
    judge.opaque(`statement kind ${kind} is not understood`);
    return;
  }
  const before = judge.draft;
  const own = judge.root.session.local.size > 0 && judge.scope === null && RUNS_CODE.has(kind);
  const changed = own ? localNamed(judge, 'operator', ANYTHING) : null;
  if (changed !== null) absorb(judge, changed.on_read, []);
  // A sub-select reads for the statement that it stands in; a statement of a body has an effect of
  // its own.
  if (kind === 'SelectStmt' && judge.scope !== null)
    select(judge, body as Parameters<typeof select>[1]);
  else {
    const changes = judge.findings.changes.length;
    handler(judge, body);
    if (judge.findings.changes.length > changes) saidBy(judge, node, changes);
    fireEventTriggers(judge, kind, changes);
  }
  judge.draft = before;
}
