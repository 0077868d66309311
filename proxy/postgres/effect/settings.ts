// Settings: what SET, RESET and set_config do to the session, and which of them are an
// administrator's.
// Invariant: a value that can't be read off the text leaves the session unsettled.
import type { A_Const, Node, VariableSetStmt } from '@pgsql/types';
import { MEANING } from './context.ts';
import { constant } from './fold.ts';
import type { Judge } from './judge.ts';

/**
 * Settings that change who one is, what triggers fire, or what the server believes of its files.
 */
const ADMIN = new Set([
  'role',
  'session_authorization',
  'session_replication_role',
  'allow_in_place_tablespaces',
  'allow_system_table_mods',
  'dynamic_library_path',
  'ignore_checksum_failure',
  'ignore_invalid_pages',
  'ignore_system_indexes',
  'lo_compat_privileges',
  'local_preload_libraries',
  'session_preload_libraries',
  'zero_damaged_pages',
  // `x = NULL` then means `x IS NULL`: predicates are no longer what they say.
  'transform_null_equals',
  // A column's name in a function may then mean a variable's value.
  'plpgsql.variable_conflict',
  // Event triggers fire, a damaged session goes on, the stack runs over: not an agent's to choose.
  'event_triggers',
  'exit_on_error',
  'max_stack_depth',
]);

/** How plain literals are read. */
export const STRINGS = 'standard_conforming_strings';

/**
 * Settings of extensions that name code to run (`plperl.on_init`, …) or where scripts come from,
 * let functions reach files, or switch an audit, a masking or another protection off.
 */
const EXTENSIONS = [
  /^(?:plperl\w*|pltcl\w*|plpython\w*|pllua|plv8|pljava|plr|preprepare|extwlist)\./,
  /^(?:orafce\.(?:sys_guid_source|umask)|postgis\.(?:gdal_\w+|enable_outdb_rasters))$/,
  /^(?:(?:pgaudit|set_user|anon|safeupdate|credcheck)\.|timescaledb\.restoring$)/,
];

/** A setting is given a value: undefined when the value can't be told, null for its default. */
export function applySetting(
  judge: Judge,
  name: string,
  value: string | null | undefined,
  local: boolean,
  called: boolean,
): void {
  // Names in what runs after it, in this very statement, may mean something else.
  const possibly = called || judge.body;
  if (possibly && MEANING.has(name) && name !== STRINGS) judge.findings.moves = true;
  // So may literals in text that is read as it runs.
  const { standard_conforming_strings: standard } = judge.root.session;
  if (possibly && name === STRINGS && !(standard === true && value === 'on'))
    judge.opaque(`${name} is set as it runs`);
  const privileged = ADMIN.has(name) || EXTENSIONS.some((rule) => rule.test(name));
  const stays = !called && name === 'role' && value !== null && value === actsAs(judge);
  const effect = privileged && !stays ? 'admin' : 'session';
  if (called) {
    const before = judge.draft;
    judge.draft = judge.aside('set', effect);
    judge.object('setting', null, name, 'set');
    judge.draft = before;
  } else {
    judge.open('set', effect);
    judge.object('setting', null, name, 'set');
  }
  if (value === undefined || (called && MEANING.has(name)))
    judge.change({ kind: 'unsettled', why: `${name} is set as it runs` });
  else if (value === null) judge.change({ kind: 'reset', name });
  else judge.change({ kind: 'set', name, value, local });
}

/** Migrators set the role that they found, when they are done. null: a body may have another. */
function actsAs({ body, root }: Judge): string | null {
  return body ? null : (root.session.role ?? root.session.user);
}

function listValue(name: string, args: readonly Node[]): string | undefined {
  const values: string[] = [];
  for (const arg of args) {
    const value = constant('TypeCast' in arg ? arg.TypeCast.arg : arg);
    if (value === null || value.kind === 'null') return undefined;
    values.push(String(value.value));
  }
  // A list setting is kept as the server writes it: each name quoted, so that it reads back as it
  // was meant.
  if (name === 'search_path') return values.map((v) => `"${v.replaceAll('"', '""')}"`).join(', ');
  return values.join(', ');
}

function transactionMode(judge: Judge, node: VariableSetStmt): void {
  judge.open('set', 'session');
  for (const arg of node.args ?? []) {
    if (!('DefElem' in arg)) continue;
    const { defname = '', arg: value } = arg.DefElem;
    judge.object('setting', null, defname, 'set');
    const session = node.name === 'SESSION CHARACTERISTICS';
    const name = session ? `default_${defname}` : defname;
    judge.change({ kind: 'set', name, value: modeText(value), local: !session });
  }
}

function modeText(node: Node | undefined): string {
  const value: A_Const | undefined =
    node !== undefined && 'A_Const' in node ? node.A_Const : undefined;
  if (value?.sval !== undefined) return value.sval.sval ?? '';
  return (value?.ival?.ival ?? 0) === 0 ? 'off' : 'on';
}

/** SET and RESET in all their forms. */
export function variableSet(judge: Judge, node: VariableSetStmt): void {
  const name = (node.name ?? '').toLowerCase();
  switch (node.kind) {
    case 'VAR_SET_VALUE':
      return applySetting(
        judge,
        name,
        listValue(name, node.args ?? []),
        node.is_local ?? false,
        false,
      );
    case 'VAR_SET_DEFAULT':
    case 'VAR_RESET':
      return applySetting(judge, name, null, node.is_local ?? false, false);
    case 'VAR_SET_CURRENT':
      judge.open('set', 'session');
      return;
    case 'VAR_RESET_ALL':
      judge.open('reset', 'session');
      judge.change({ kind: 'reset-all' });
      if (!judge.body) return;
      judge.findings.moves = true;
      judge.opaque(`${STRINGS} is reset as it runs`);
      return;
    case 'VAR_SET_MULTI':
      if (node.name === 'TRANSACTION SNAPSHOT') {
        judge.open('set', 'session');
        return;
      }
      return transactionMode(judge, node);
    default:
      judge.open('set', 'unknown').opaque = 'a form of SET that is not understood';
  }
}
