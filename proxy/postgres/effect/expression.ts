// Walks expressions and whatever stands in them: calls, operators, casts, sub-selects, functional
// notation.
// Invariant: the table has a line for every node kind of the grammar that is not a statement; a new
// kind does not compile, and a kind that parsing should not give is `unknown`.
import type { A_Expr, ColumnRef, Node, SortBy, SubLink, TypeCast, TypeName } from '@pgsql/types';
import {
  callFunction,
  callOperator,
  callSupport,
  fieldCall,
  formerCall,
  selectedCall,
} from './call.ts';
import { constantText } from './fold.ts';
import { rowType, sourceNamed } from './infer.ts';
import type { Judge } from './judge.ts';
import { findRelation, parts } from './names.ts';
import { readRangeVar } from './relation.ts';
import { joinExpr, rows } from './select.ts';
import { rangeVar } from './sql-text.ts';
import { judgeStatement, type StatementKind } from './statements.ts';
import { meetJson, meetText, meetType, meetTypeName } from './type.ts';

export type KindsOf<U> = U extends unknown ? keyof U : never;
export type NodeKind = KindsOf<Node> & string;
export type BodyOf<K extends NodeKind> = Extract<Node, { [k in K]: unknown }>[K];
type ExpressionKind = Exclude<NodeKind, StatementKind>;

type Handler<K extends NodeKind> = (judge: Judge, node: BodyOf<K>) => void;

const within = (judge: Judge, node: unknown) => walkFields(judge, node);
/**
 * JSON is made of whatever stands in it. Servers older than the syntax take it for a call of a
 * function of that name.
 */
const json =
  (since: number, ...names: readonly string[]) =>
  (judge: Judge, node: unknown) => {
    formerCall(judge, since, names);
    walkFields(judge, node);
    meetJson(judge);
  };
const nothing = () => undefined;
/** Only the server's own analysis makes these; text does not parse to them. */
const never = (judge: Judge) => judge.opaque('a syntax node that is not understood');

const EXPRESSIONS: { readonly [K in ExpressionKind]: Handler<K> } = {
  // Leaves.
  Integer: nothing,
  Float: nothing,
  Boolean: nothing,
  String: nothing,
  BitString: nothing,
  A_Const: nothing,
  A_Star: nothing,
  Alias: nothing,
  SQLValueFunction: nothing,
  SetToDefault: nothing,
  MergeSupportFunc: json(17, 'merge_action'),
  CaseTestExpr: nothing,
  JsonFormat: nothing,
  RoleSpec: nothing,
  CurrentOfExpr: nothing,
  TriggerTransition: nothing,
  CTESearchClause: nothing,
  ReturningOption: nothing,

  // Calls, written out or hidden.
  FuncCall: (judge, node) => {
    callFunction(judge, node);
    within(judge, node);
  },
  A_Expr: expression,
  TypeCast: (judge, node) => {
    meetTypeName(judge, node.typeName);
    regclass(judge, node);
    walk(judge, node.arg);
  },
  TypeName: (judge, node) => meetTypeName(judge, node),
  ColumnRef: columnRef,
  A_Indirection: (judge, node) => {
    (node.indirection ?? []).forEach((item, index) => {
      const value = index === 0 ? node.arg : undefined;
      if ('String' in item) selectedCall(judge, value, item.String.sval ?? '');
    });
    within(judge, node);
  },
  ParamRef: (judge, node) => {
    if (!judge.body && (node.number ?? 0) > judge.findings.highest_parameter) {
      judge.findings.highest_parameter = node.number ?? 0;
    }
  },
  SubLink: subLink,
  SortBy: sortBy,
  CaseExpr: (judge, node) => {
    if (node.arg !== undefined) callOperator(judge, null, '=');
    within(judge, node);
  },
  JoinExpr: joinExpr,
  RangeVar: (judge, node) => {
    readRangeVar(judge, node);
  },
  RangeTableSample: (judge, node) => {
    callSupport(judge, parts(node.method));
    within(judge, node);
  },
  IndexElem: (judge, node) => {
    walk(judge, node.expr);
  },
  CTECycleClause: (judge) => callOperator(judge, null, '='),

  // Containers: what they hold is walked.
  List: within,
  OidList: nothing,
  IntList: nothing,
  BoolExpr: within,
  CollateClause: (judge, node) => walk(judge, node.arg),
  A_Indices: within,
  A_ArrayExpr: within,
  ResTarget: within,
  MultiAssignRef: within,
  WindowDef: within,
  RangeSubselect: rows,
  RangeFunction: rows,
  RangeTableFunc: rows,
  RangeTableFuncCol: within,
  ColumnDef: within,
  DefElem: within,
  NamedArgExpr: within,
  CaseWhen: within,
  RowExpr: within,
  CoalesceExpr: within,
  MinMaxExpr: within,
  XmlExpr: within,
  XmlSerialize: within,
  NullTest: within,
  BooleanTest: within,
  GroupingFunc: within,
  GroupingSet: within,
  InferClause: within,
  OnConflictClause: within,
  ReturningClause: within,
  JsonOutput: within,
  JsonReturning: within,
  JsonValueExpr: within,
  JsonConstructorExpr: json(16),
  JsonIsPredicate: within,
  JsonBehavior: within,
  JsonExpr: within,
  JsonTablePath: nothing,
  JsonTablePathScan: nothing,
  JsonTableSiblingJoin: within,
  JsonArgument: within,
  JsonFuncExpr: json(17, 'json_exists', 'json_query', 'json_value'),
  JsonTablePathSpec: within,
  JsonTable: rows,
  JsonTableColumn: within,
  JsonKeyValue: within,
  JsonParseExpr: json(17, 'json'),
  JsonScalarExpr: json(17, 'json_scalar'),
  JsonSerializeExpr: json(17, 'json_serialize'),
  JsonObjectConstructor: json(16, 'json_object'),
  JsonArrayConstructor: json(16, 'json_array'),
  JsonArrayQueryConstructor: json(16, 'json_array'),
  JsonAggConstructor: within,
  JsonObjectAgg: json(16, 'json_objectagg'),
  JsonArrayAgg: json(16, 'json_arrayagg'),
  PartitionElem: within,
  PartitionSpec: within,
  PartitionBoundSpec: within,
  PartitionRangeDatum: within,
  Constraint: within,
  StatsElem: within,
  FunctionParameter: within,

  // Taken apart by the statements they belong to; reached in no other way.
  WithClause: never,
  CommonTableExpr: never,
  IntoClause: never,
  LockingClause: nothing,
  MergeWhenClause: never,
  TableLikeClause: nothing,
  PartitionCmd: never,
  AlterTableCmd: never,
  ATAlterConstraint: nothing,
  ObjectWithArgs: nothing,
  AccessPriv: nothing,
  CreateOpClassItem: nothing,
  VacuumRelation: nothing,
  PublicationTable: nothing,
  PublicationObjSpec: nothing,
  InferenceElem: never,
  ReturningExpr: never,

  // Made by analysis and planning only.
  ParseResult: never,
  ScanResult: never,
  TableFunc: never,
  Var: never,
  Param: never,
  Aggref: never,
  WindowFunc: never,
  WindowFuncRunCondition: never,
  SubscriptingRef: never,
  FuncExpr: never,
  OpExpr: never,
  DistinctExpr: never,
  NullIfExpr: never,
  ScalarArrayOpExpr: never,
  SubPlan: never,
  AlternativeSubPlan: never,
  FieldSelect: never,
  FieldStore: never,
  RelabelType: never,
  CoerceViaIO: never,
  ArrayCoerceExpr: never,
  ConvertRowtypeExpr: never,
  CollateExpr: never,
  ArrayExpr: never,
  RowCompareExpr: never,
  MergeAction: never,
  CoerceToDomain: never,
  CoerceToDomainValue: never,
  NextValueExpr: never,
  TargetEntry: never,
  RangeTblRef: never,
  FromExpr: never,
  OnConflictExpr: never,
  Query: never,
  RangeTblEntry: never,
  RTEPermissionInfo: never,
  RangeTblFunction: never,
  TableSampleClause: never,
  WithCheckOption: never,
  SortGroupClause: never,
  WindowClause: never,
  RowMarkClause: never,
  InlineCodeBlock: never,
  CallContext: never,
  ScanToken: never,
  SummaryResult: never,
  Table: never,
  Function: never,
  FilterColumn: never,
};

// The table is typed line by line; the walk looks lines up by a key that is only known when it
// runs.
const handlers = new Map<string, (judge: Judge, node: unknown) => void>(
  Object.entries(EXPRESSIONS) as unknown as [string, (judge: Judge, node: unknown) => void][],
);

/** Walks whatever is given: a node, a list, an unwrapped part of a node. */
export function walk(judge: Judge, value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    for (const item of value) walk(judge, item);
    return;
  }
  judge.visit();
  for (const key in value) {
    const child: unknown = (value as { readonly [key: string]: unknown })[key];
    const first = key.charCodeAt(0);
    if (first < 65 || first > 90) {
      walkField(judge, key, child);
      continue;
    }
    const handler = handlers.get(key);
    if (handler !== undefined) handler(judge, child);
    else judgeStatement(judge, value as Node);
  }
}

export function walkFields(judge: Judge, node: unknown): void {
  if (typeof node !== 'object' || node === null) return;
  for (const key in node) {
    const child: unknown = (node as { readonly [key: string]: unknown })[key];
    if (typeof child === 'object') walkField(judge, key, child);
  }
}

/** Some fields hold a part of a known kind without its name around it. */
function walkField(judge: Judge, key: string, child: unknown): void {
  if (key === 'typeName') meetTypeName(judge, child as TypeName);
  else walk(judge, child);
}

function expression(judge: Judge, node: A_Expr): void {
  const names = parts(node.name);
  const name = names[names.length - 1] ?? '';
  const schema = names.length > 1 ? (names[0] ?? null) : null;
  const { catalog, session } = judge.root;
  if (name === '||') meetText(judge);
  if (catalog !== null && (catalog.operators_named.size > 0 || session.local.size > 0)) {
    switch (node.kind) {
      case 'AEXPR_BETWEEN':
      case 'AEXPR_NOT_BETWEEN':
      case 'AEXPR_BETWEEN_SYM':
      case 'AEXPR_NOT_BETWEEN_SYM':
        for (const bound of ['<', '>', '<=', '>=']) callOperator(judge, null, bound);
        break;
      case 'AEXPR_DISTINCT':
      case 'AEXPR_NOT_DISTINCT':
      case 'AEXPR_NULLIF':
        callOperator(judge, null, '=');
        break;
      case 'AEXPR_OP_ANY':
      case 'AEXPR_OP_ALL':
      case 'AEXPR_IN':
        // Beside the operator stands an array of what it takes.
        callOperator(judge, schema, name, node.lexpr);
        break;
      default:
        callOperator(judge, schema, name, node.lexpr, node.rexpr);
    }
  } else if (schema !== null && schema !== 'pg_catalog' && catalog === null) {
    judge.opaque(`operator ${schema}.${name} can't be looked up without the catalog`);
  }
  walk(judge, node.lexpr);
  walk(judge, node.rexpr);
}

/** `t.f` may be a call of f with the row. */
function columnRef(judge: Judge, node: ColumnRef): void {
  const fields = node.fields ?? [];
  if (fields.length < 2) {
    const [only] = fields;
    if (only !== undefined && 'String' in only) wholeRow(judge, only.String.sval ?? '');
    return;
  }
  const names = parts(fields);
  if (names.length !== fields.length) return;
  fieldCall(judge, names[names.length - 2] ?? null, names[names.length - 1] ?? '');
}

/** A row as a value: a literal beside it is made one. */
function wholeRow(judge: Judge, name: string): void {
  const source = sourceNamed(judge.scope, name);
  if (source?.relation == null || source.columns?.has(name)) return;
  const type = rowType(judge, source.relation.oid);
  if (type !== null) meetType(judge, type, 'seen');
}

/** `'users'::regclass` names a relation. */
function regclass(judge: Judge, node: TypeCast): void {
  if (parts(node.typeName?.names).at(-1) !== 'regclass') return;
  const text = constantText(node.arg);
  const named = text === null ? null : rangeVar(text);
  if (named === null) return;
  judge.root.literal = true;
  for (const relation of findRelation(judge, named.schema, named.name).relations)
    judge.relation(relation, 'use');
}

function subLink(judge: Judge, node: SubLink): void {
  if (node.subLinkType === 'ANY_SUBLINK' || node.subLinkType === 'ALL_SUBLINK') {
    const names = parts(node.operName);
    callOperator(
      judge,
      names.length > 1 ? (names[0] ?? null) : null,
      names[names.length - 1] ?? '=',
    );
  }
  walk(judge, node.testexpr);
  walk(judge, node.subselect);
}

function sortBy(judge: Judge, node: SortBy): void {
  if (node.useOp !== undefined) {
    const names = parts(node.useOp);
    callOperator(
      judge,
      names.length > 1 ? (names[0] ?? null) : null,
      names[names.length - 1] ?? '',
    );
  }
  walk(judge, node.node);
}
