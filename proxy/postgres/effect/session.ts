// Statements about the session itself, and statements that carry others: transactions, prepared
// statements, cursors, EXPLAIN.
// Invariant: what is prepared or declared is judged when it is made and again when it is run.
import type {
  ClosePortalStmt,
  DeallocateStmt,
  DeclareCursorStmt,
  DiscardStmt,
  ExecuteStmt,
  ExplainStmt,
  FetchStmt,
  Node,
  PrepareStmt,
  TransactionStmt,
} from '@pgsql/types';
import type { Effect } from '../../effect/effect.ts';
import type { CatalogSnapshot } from '../catalog/snapshot.ts';
import type { SessionContext, Statement } from '../statement.ts';
import { OPENED } from './context.ts';
import { option, optionText } from './ddl.ts';
import { dropTemporary } from './drop.ts';
import { walk } from './expression.ts';
import { absorb, type Draft, type Findings, type Judge, noFindings } from './judge.ts';
import { parts } from './names.ts';
import { INFERRED } from './operand.ts';
import { judgeStatement, kindOf } from './statements.ts';

/** What a query inside would do, judged apart. */
function judgedApart(judge: Judge, query: Node, planning: boolean): Findings {
  const findings = noFindings();
  const draft: Draft = { ...judge.draft, objects: [], class: 'read' };
  const inner = judge.inside({ findings, draft, planning, times: 1 });
  judgeStatement(inner, query);
  judge.findings.highest_parameter = Math.max(
    judge.findings.highest_parameter,
    findings.highest_parameter,
  );
  return findings;
}

function asStatement(query: Node, findings: Findings, types?: readonly Node[]): Statement {
  const [node] = kindOf(query);
  return {
    query,
    ...(types === undefined ? {} : { types }),
    text: '',
    node,
    effects: findings.effects,
    changes: findings.changes,
    own_transaction: findings.own_transaction,
    needs_read_write: findings.needs_read_write,
    highest_parameter: findings.highest_parameter,
  };
}

export function transaction(judge: Judge, node: TransactionStmt): void {
  const name = node.savepoint_name ?? '';
  const chain = node.chain === true;
  const catalog_version = judge.catalog?.version ?? 0;
  switch (node.kind) {
    case 'TRANS_STMT_BEGIN':
    case 'TRANS_STMT_START':
      judge.open('begin', 'session');
      judge.change({ kind: 'begin', read_only: readOnly(node.options) });
      return;
    case 'TRANS_STMT_COMMIT':
      judge.open('commit', 'session');
      judge.change({ kind: 'commit', chain, catalog_version });
      return;
    case 'TRANS_STMT_ROLLBACK':
      judge.open('rollback', 'session');
      judge.change({ kind: 'rollback', chain, catalog_version });
      return;
    case 'TRANS_STMT_SAVEPOINT':
      judge.open('savepoint', 'session');
      judge.change({ kind: 'savepoint', name });
      return;
    case 'TRANS_STMT_RELEASE':
      judge.open('release', 'session');
      judge.change({ kind: 'release', name });
      return;
    case 'TRANS_STMT_ROLLBACK_TO':
      judge.open('rollback', 'session');
      judge.change({ kind: 'rollback-to', name });
      return;
    case 'TRANS_STMT_PREPARE':
      // It goes on without the session, locks and all, until somebody ends it.
      judge.open('prepare', 'write');
      judge.object('other', null, node.gid ?? '', 'create');
      judge.change({ kind: 'commit', chain: false, catalog_version });
      return;
    case 'TRANS_STMT_COMMIT_PREPARED':
    case 'TRANS_STMT_ROLLBACK_PREPARED':
      // What the prepared transaction holds was judged in some other session, or by nobody.
      judge.open(node.kind === 'TRANS_STMT_COMMIT_PREPARED' ? 'commit' : 'rollback', 'admin');
      judge.object('other', null, node.gid ?? '', 'use');
      judge.findings.own_transaction = true;
      return;
    default:
      judge.opaque('a transaction statement that is not understood');
  }
}

function readOnly(options: readonly Node[] | undefined): boolean | null {
  const arg = option(options, 'transaction_read_only')?.arg;
  if (arg === undefined || !('A_Const' in arg)) return null;
  return (arg.A_Const.ival?.ival ?? 0) !== 0;
}

export function prepare(judge: Judge, node: PrepareStmt): void {
  const draft = judge.open('prepare', 'session');
  const name = node.name ?? '';
  judge.object('prepared-statement', null, name, 'create');
  if (node.query !== undefined) {
    const inner = judge.inside({ body: true });
    inner.variables = declared(node.argtypes);
    const findings = judgedApart(inner, node.query, false);
    // Values are converted to the declared types when it is executed.
    const draft = { ...judge.draft, objects: [] };
    walk(judge.inside({ findings, draft, body: true }), node.argtypes);
    const statement = asStatement(node.query, findings, node.argtypes);
    judge.change({ kind: 'prepare', name, statement });
    if (findings.on_parse) absorb(judge, findings.effects, [`prepared statement ${name}`]);
  }
  judge.draft = draft;
}

/** Parameters that PREPARE gives a type; any other takes that of what it is compared with. */
function declared(types: readonly Node[] | undefined): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>([[INFERRED, []]]);
  (types ?? []).forEach((type, index) => {
    const names = 'TypeName' in type ? parts(type.TypeName.names) : [];
    const array = 'TypeName' in type && type.TypeName.arrayBounds !== undefined;
    const name = array ? undefined : names.at(-1);
    // `unknown` leaves the type to the server, as if none were given.
    if (name !== 'unknown') found.set(`$${index + 1}`, [name ?? 'record']);
  });
  return found;
}

interface Today {
  readonly session: SessionContext;
  readonly catalog: CatalogSnapshot | null;
  readonly planning: boolean;
  readonly moving: boolean;
  readonly findings: Findings;
  /** From what it was said to do when it was made. */
  readonly differs: boolean;
}
const todays = new WeakMap<Statement, Today>();

/** By today's names; a message may run the same one many times. */
function today(judge: Judge, statement: Statement, query: Node): Today {
  const { session, catalog } = judge.root;
  const known = todays.get(statement);
  const { planning } = judge;
  const same =
    known?.session === session && known.catalog === catalog && known.moving === judge.root.moving;
  // In a body, names are looked up by its own path.
  const top = judge.via.length === 0;
  if (top && same && known.planning === planning) return known;
  const inner = judge.inside({ body: true });
  inner.variables = declared(statement.types);
  const findings = judgedApart(inner, query, false);
  const differs = JSON.stringify(findings.effects) !== JSON.stringify(statement.effects);
  const { moving } = judge.root;
  const found: Today = { session, catalog, planning, moving, findings, differs };
  if (top) todays.set(statement, found);
  return found;
}

/** The statement of a name that this session prepared or declared. */
function run(
  judge: Judge,
  statement: Statement | undefined,
  what: string,
  times: number | null = null,
): void {
  judge.root.personal = true;
  if (statement === undefined) {
    judge.opaque(`${what} is not known`);
    return;
  }
  absorb(judge, statement.effects, [what], times);
  // The server may keep the old plan, or plan again by today's names: both meanings count.
  if (statement.query !== undefined) {
    const { findings, differs } = today(judge, statement, statement.query);
    if (differs) absorb(judge, findings.effects, [what], times);
    if (findings.needs_read_write) judge.findings.needs_read_write = true;
    if (findings.moves) judge.findings.moves = true;
    if (findings.makes) judge.findings.makes = true;
  }
  if (statement.needs_read_write) judge.findings.needs_read_write = true;
  if (statement.own_transaction) judge.findings.own_transaction = true;
  for (const change of statement.changes) judge.change(change);
}

export function execute(judge: Judge, node: ExecuteStmt): void {
  judge.open('execute', 'read');
  const name = node.name ?? '';
  judge.object('prepared-statement', null, name, 'execute');
  // They are computed, even where the statement is only planned.
  walk(judge.planning ? judge.inside({ planning: false }) : judge, node.params);
  const statement = judge.root.session.prepared.get(name);
  run(judge, statement, `prepared statement ${name}`, judge.times);
}

export function deallocate(judge: Judge, node: DeallocateStmt): void {
  judge.open('deallocate', 'session');
  judge.change({ kind: 'deallocate', name: node.name ?? null });
}

/** CURSOR_OPT_HOLD of the server's parsenodes.h. */
const HOLD = 0x0020;

export function declareCursor(judge: Judge, node: DeclareCursorStmt): void {
  const draft = judge.open('declare', judge.planning ? 'read' : 'session');
  const name = node.portalname ?? '';
  judge.object('cursor', null, name, 'create');
  const hold = ((node.options ?? 0) & HOLD) !== 0;
  if (node.query !== undefined) {
    // It may run as late as COMMIT, when names in bodies mean something else.
    const runner = hold ? judge.inside({ runtime: null }) : judge;
    const findings = judgedApart(runner, node.query, false);
    judge.change({ kind: 'declare', name, statement: asStatement(node.query, findings), hold });
    // A held cursor runs to its end by itself, at once or at COMMIT; any other is only planned now.
    const now = hold ? findings : judgedApart(judge, node.query, true);
    absorb(judge, now.effects, [`cursor ${name}`]);
    judge.findings.needs_read_write ||= findings.needs_read_write;
    judge.findings.makes ||= findings.makes;
    if (hold) for (const change of findings.changes) judge.change(change);
  }
  judge.draft = draft;
}

export function fetchCursor(judge: Judge, node: FetchStmt): void {
  judge.open(node.ismove === true ? 'move' : 'fetch', 'read');
  const name = node.portalname ?? '';
  judge.object('cursor', null, name, 'read');
  const { cursors } = judge.root.session;
  // A name that no DECLARE gave may be that of a cursor that a function opened.
  run(judge, cursors.get(name) ?? cursors.get(OPENED), `cursor ${name}`);
}

export function closeCursor(judge: Judge, node: ClosePortalStmt): void {
  judge.open('close', 'session');
  judge.change({ kind: 'close', name: node.portalname ?? null });
}

export function discard(judge: Judge, node: DiscardStmt): void {
  judge.open('discard', 'session');
  const what =
    node.target === 'DISCARD_PLANS'
      ? 'plans'
      : node.target === 'DISCARD_SEQUENCES'
        ? 'sequences'
        : node.target === 'DISCARD_TEMP'
          ? 'temporary'
          : 'all';
  if (what === 'temporary' || what === 'all') dropTemporary(judge);
  judge.change({ kind: 'discard', what });
}

/**
 * Truth of an option as the server reads it: absent value is true, the last of duplicates counts.
 */
function truth(options: readonly Node[] | undefined, name: string): boolean {
  const found = option(options, name);
  if (found === null) return false;
  if (found.arg === undefined) return true;
  return !/^(off|false|f|fa|fal|fals|no|n|0|of)$/i.test(optionText(found));
}

export function explain(judge: Judge, node: ExplainStmt): void {
  const draft = judge.open('explain', 'read');
  if (node.query === undefined) return;
  if (truth(node.options, 'analyze')) {
    // Explained and analysed, even a DECLARE runs its query.
    const query =
      'DeclareCursorStmt' in node.query ? node.query.DeclareCursorStmt.query : undefined;
    judgeStatement(judge.inside({ times: judge.times }), query ?? node.query);
    judge.draft = draft;
    return;
  }
  if ('ExecuteStmt' in node.query) {
    walk(judge, node.query.ExecuteStmt.params);
    judge.draft = draft;
    planned(judge, node.query);
    return;
  }
  const findings = judgedApart(judge, node.query, true);
  absorb(judge, findings.effects.map(quiet), []);
  for (const change of findings.changes) if (change.kind === 'unsettled') judge.change(change);
  judge.draft = draft;
}

/** Explained statements touch nothing: what stands in them is read. */
function quiet(effect: Effect): Effect {
  if (effect.class !== 'read') return effect;
  return {
    ...effect,
    objects: effect.objects.map((object) => ({ ...object, access: 'read' as const })),
  };
}

/** EXPLAIN EXECUTE plans the prepared statement: only what runs inside functions can happen. */
function planned(judge: Judge, query: Node): void {
  const findings = judgedApart(judge, query, false);
  const reached = findings.effects.filter(
    (effect) =>
      effect.opaque !== null ||
      effect.objects.some((o) => o.via.some((v) => v.startsWith('function '))),
  );
  absorb(judge, reached, []);
  for (const effect of findings.effects)
    for (const object of effect.objects)
      judge.object(object.kind, object.schema, object.name, 'read');
}
