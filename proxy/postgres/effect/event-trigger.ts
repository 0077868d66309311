// Event triggers: functions that run when a schema changes, whatever the statement.
// Invariant: a statement that event triggers can answer to gets the effects of all of them that may
// fire.
import type { AlterEventTrigStmt, CreateEventTrigStmt } from '@pgsql/types';
import { renew, withMade } from './again.ts';
import { runBy } from './ddl.ts';
import { callByName } from './define.ts';
import { absorb, Judge } from './judge.ts';
import { alteredCode, DDL } from './local.ts';
import { localNamed } from './names.ts';
import { absorbFunction } from './routine.ts';

/** Kinds that never fire an event trigger: rows, sessions, and objects that all databases share. */
const SILENT = new Set(
  `SelectStmt InsertStmt UpdateStmt DeleteStmt MergeStmt TruncateStmt CopyStmt ExplainStmt
  PrepareStmt ExecuteStmt
  DeallocateStmt DeclareCursorStmt FetchStmt ClosePortalStmt DoStmt CallStmt ReturnStmt
  TransactionStmt VariableSetStmt
  VariableShowStmt DiscardStmt ConstraintsSetStmt ListenStmt UnlistenStmt NotifyStmt LockStmt
  VacuumStmt ClusterStmt
  CheckPointStmt LoadStmt AlterSystemStmt CreatedbStmt AlterDatabaseStmt AlterDatabaseSetStmt
  DropdbStmt CreateRoleStmt
  AlterRoleStmt AlterRoleSetStmt DropRoleStmt GrantRoleStmt CreateTableSpaceStmt DropTableSpaceStmt
  AlterTableSpaceOptionsStmt CreateEventTrigStmt AlterEventTrigStmt RawStmt`
    .trim()
    .split(/\s+/),
);

/** `from`: where the changes of the session begin that the statement at hand has made. */
export function fireEventTriggers(judge: Judge, kind: string, from: number): void {
  const triggers = judge.catalog?.event_triggers ?? [];
  if (triggers.length === 0 && localNamed(judge, 'operator', DDL) === null) return;
  const { root } = judge;
  if (SILENT.has(kind) || judge.planning || root.renewing === true) return;
  const then = afterwards(judge, from);
  const local = localNamed(then, 'operator', DDL);
  if (local !== null) absorb(then, local.on_read, ['event trigger']);
  for (const trigger of triggers) {
    // Tags name commands (`DROP TABLE`); which kind gives which tag is told by its first word only.
    const first = kind.startsWith('Drop') ? 'DROP' : null;
    if (trigger.event === 'sql_drop' && first === null && !/^(Drop|Alter)/.test(kind)) continue;
    if (trigger.event === 'login') continue;
    if (
      trigger.tags !== null &&
      first !== null &&
      !trigger.tags.some((tag) => tag.startsWith(first))
    )
      continue;
    absorbFunction(then, trigger.function, [`event trigger ${trigger.name}`]);
  }
  root.nodes = then.root.nodes;
  root.personal ||= then.root.personal;
}

/** The same judgement where what the statement makes is made: most event triggers fire then. */
function afterwards(judge: Judge, from: number): Judge {
  const { root, findings, draft, path, runtime, via, planning, body, times } = judge;
  const session = withMade(root.session, findings.changes.slice(from));
  if (session === root.session) return judge;
  const then = { ...root, session, progress: null };
  const frame = { findings, draft, path, runtime, via, planning, body, times };
  return new Judge({ ...then, session: renew(new Judge(then, frame)) }, frame);
}

export function createEventTrigger(judge: Judge, node: CreateEventTrigStmt): void {
  judge.open('create', 'admin');
  judge.object('event-trigger', null, node.trigname ?? '', 'create');
  const runs = runBy(judge, (inner) => callByName(inner, node.funcname));
  alteredCode(judge, 'operator', DDL, runs);
}

export function alterEventTrigger(judge: Judge, node: AlterEventTrigStmt): void {
  judge.open('alter', 'admin');
  judge.object('event-trigger', null, node.trigname ?? '', 'alter');
  alteredCode(judge, 'operator', DDL);
}
