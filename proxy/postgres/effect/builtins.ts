// What PostgreSQL's built-in functions do. builtins.txt knows every name; this table says what the
// volatile ones, and the few others that run text or user code, do beyond returning a value.
// Invariant: a volatile built-in without a line here is `unknown`; a test holds that none is
// without one.
import { readFileSync } from 'node:fs';
import type { Access, EffectClass, ObjectKind } from '../../effect/effect.ts';

/** How a function runs text or reads what its arguments name: see sql-text.ts. */
export type RunsText =
  | 'query'
  | 'relation'
  | 'schema'
  | 'database'
  | 'cursor'
  | 'tsquery'
  | 'setting'
  | 'type'
  | 'types'
  | 'json'
  | 'text'
  | 'indexes'
  | 'xpath'
  | 'connectby'
  | 'hypothetical'
  | 'spatial_ref_sys';

export interface BuiltinEffect {
  readonly class: EffectClass;
  readonly verb: string;
  /** The thing that argument `argument` names. */
  readonly kind: ObjectKind;
  readonly argument: number;
  readonly access: Access;
  readonly runs: RunsText | null;
}

const names = (text: string): string[] => text.trim().split(/\s+/);

type Line = readonly [
  names: string,
  effect: EffectClass,
  verb: string,
  kind?: ObjectKind,
  argument?: number,
  access?: Access,
];

/**
 * Volatile, and harmless: clocks, randomness, sizes, states of the server (with what WAL, slots and
 * temporary files there are, which monitoring asks for), trigger and sampling internals.
 */
const READS = names(`
  amvalidate array_sample array_shuffle bernoulli brinhandler bthandler ginhandler gisthandler
  hashhandler
  heap_tableam_handler spghandler system clock_timestamp current_query currtid2 currval lastval
  dsnowball_init
  dsnowball_lexize gen_random_uuid uuidv4 uuidv7 random random_normal timeofday timezone txid_status
  plpgsql_validator plpgsql_call_handler plpgsql_inline_handler unique_key_recheck
  suppress_redundant_updates_trigger tsvector_update_trigger tsvector_update_trigger_column
  RI_FKey_cascade_del RI_FKey_cascade_upd RI_FKey_check_ins RI_FKey_check_upd RI_FKey_noaction_del
  RI_FKey_noaction_upd RI_FKey_restrict_del RI_FKey_restrict_upd RI_FKey_setdefault_del
  RI_FKey_setdefault_upd
  RI_FKey_setnull_del RI_FKey_setnull_upd
  lo_get lo_close lo_lseek lo_lseek64 lo_tell lo_tell64 loread
  pg_available_wal_summaries pg_blocking_pids pg_collation_actual_version pg_control_checkpoint
  pg_control_init
  pg_control_recovery pg_control_system pg_current_logfile pg_current_wal_flush_lsn
  pg_current_wal_insert_lsn
  pg_current_wal_lsn pg_database_collation_actual_version pg_database_size pg_get_aios
  pg_get_backend_memory_contexts pg_get_loaded_modules pg_get_multixact_members pg_get_sequence_data
  pg_get_shmem_allocations pg_get_shmem_allocations_numa pg_get_wait_events
  pg_get_wal_replay_pause_state
  pg_get_wal_resource_managers pg_get_wal_summarizer_state pg_hba_file_rules pg_ident_file_mappings
  pg_indexes_size pg_is_in_backup pg_is_in_recovery pg_is_wal_replay_paused
  pg_isolation_test_session_is_blocked
  pg_jit_available pg_ls_archive_statusdir pg_ls_logicalmapdir pg_ls_logicalsnapdir
  pg_ls_replslotdir pg_ls_summariesdir pg_ls_tmpdir pg_ls_waldir pg_last_committed_xact
  pg_last_wal_receive_lsn pg_last_wal_replay_lsn
  pg_last_xact_replay_timestamp pg_lock_status pg_logical_slot_peek_binary_changes
  pg_logical_slot_peek_changes
  pg_notification_queue_usage pg_partition_ancestors pg_partition_tree pg_prepared_xact
  pg_relation_size
  pg_replication_origin_progress pg_replication_origin_session_is_setup
  pg_replication_origin_session_progress
  pg_safe_snapshot_blocking_pids pg_sequence_last_value pg_show_all_file_settings
  pg_show_replication_origin_status pg_sleep pg_sleep_for pg_sleep_until pg_stat_get_backend_io
  pg_stat_get_backend_wal pg_stat_get_io pg_stat_get_recovery_prefetch
  pg_stat_get_xact_blocks_fetched
  pg_stat_get_xact_blocks_hit pg_stat_get_xact_function_calls pg_stat_get_xact_function_self_time
  pg_stat_get_xact_function_total_time pg_stat_get_xact_numscans pg_stat_get_xact_tuples_deleted
  pg_stat_get_xact_tuples_fetched pg_stat_get_xact_tuples_hot_updated
  pg_stat_get_xact_tuples_inserted
  pg_stat_get_xact_tuples_newpage_updated pg_stat_get_xact_tuples_returned
  pg_stat_get_xact_tuples_updated
  pg_stat_have_stats pg_table_size pg_tablespace_size pg_total_relation_size pg_wal_summary_contents
  pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status`);

const LINES: readonly Line[] = [
  [
    `pg_advisory_lock pg_advisory_lock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared
    pg_try_advisory_lock
    pg_try_advisory_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared`,
    'session',
    'lock',
  ],
  ['pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared', 'session', 'unlock'],
  [
    'setseed pg_stat_clear_snapshot pg_stat_force_next_flush pg_export_snapshot lo_open',
    'session',
    'set',
  ],
  ['pg_notify', 'write', 'notify', 'channel', 0, 'use'],
  ['nextval', 'write', 'nextval', 'sequence', 0, 'update'],
  ['setval', 'write', 'setval', 'sequence', 0, 'update'],
  ['lo_create lo_creat lo_from_bytea', 'write', 'create', 'large-object', 0, 'create'],
  ['lo_put lowrite', 'write', 'update', 'large-object', 0, 'update'],
  ['lo_truncate lo_truncate64', 'destructive', 'truncate', 'large-object', 0, 'truncate'],
  ['lo_unlink', 'destructive', 'delete', 'large-object', 0, 'delete'],
  ['lo_import', 'admin', 'import', 'file', 0, 'read'],
  ['lo_export', 'admin', 'export', 'file', 1, 'create'],
  ['pg_logical_emit_message', 'write', 'emit'],
  [
    'brin_desummarize_range brin_summarize_new_values brin_summarize_range gin_clean_pending_list',
    'ddl',
    'maintain',
  ],
  [
    `pg_clear_attribute_stats pg_clear_relation_stats pg_restore_attribute_stats
    pg_restore_relation_stats`,
    'ddl',
    'maintain',
  ],
  ['pg_import_system_collations', 'admin', 'create'],
  [
    'pg_read_file pg_read_binary_file pg_read_file_old pg_stat_file pg_ls_dir pg_ls_logdir',
    'admin',
    'read',
    'file',
    0,
    'read',
  ],
  [
    'pg_cancel_backend pg_terminate_backend pg_log_backend_memory_contexts',
    'admin',
    'kill',
    'process',
    0,
    'use',
  ],
  [
    `pg_create_logical_replication_slot pg_create_physical_replication_slot
    pg_copy_logical_replication_slot
    pg_copy_physical_replication_slot`,
    'admin',
    'create',
    'slot',
    0,
    'create',
  ],
  ['pg_drop_replication_slot', 'admin', 'drop', 'slot', 0, 'drop'],
  [
    'pg_replication_slot_advance pg_logical_slot_get_binary_changes pg_logical_slot_get_changes',
    'admin',
    'advance',
    'slot',
    0,
    'update',
  ],
  [
    `pg_sync_replication_slots pg_replication_origin_advance pg_replication_origin_create
    pg_replication_origin_drop
    pg_replication_origin_session_reset pg_replication_origin_session_setup
    pg_replication_origin_xact_reset
    pg_replication_origin_xact_setup pg_log_standby_snapshot pg_promote pg_wal_replay_pause
    pg_wal_replay_resume
    pg_switch_wal pg_create_restore_point pg_backup_start pg_backup_stop pg_start_backup
    pg_stop_backup`,
    'admin',
    'replication',
  ],
  ['pg_reload_conf pg_rotate_logfile pg_rotate_logfile_old', 'admin', 'configure'],
  [
    `pg_stat_reset pg_stat_reset_backend_stats pg_stat_reset_replication_slot pg_stat_reset_shared
    pg_stat_reset_single_function_counters pg_stat_reset_single_table_counters pg_stat_reset_slru
    pg_stat_reset_subscription_stats`,
    'admin',
    'reset',
  ],
  ['pg_extension_config_dump pg_nextoid pg_stop_making_pinned_objects', 'admin', 'alter'],
  [
    `binary_upgrade_add_sub_rel_state binary_upgrade_create_empty_extension
    binary_upgrade_logical_slot_has_caught_up binary_upgrade_replorigin_advance
    binary_upgrade_set_missing_value
    binary_upgrade_set_next_array_pg_type_oid binary_upgrade_set_next_attribute_versions
    binary_upgrade_set_next_heap_pg_class_oid
    binary_upgrade_set_next_heap_relfilenode binary_upgrade_set_next_index_pg_class_oid
    binary_upgrade_set_next_index_relfilenode binary_upgrade_set_next_multirange_array_pg_type_oid
    binary_upgrade_set_next_multirange_pg_type_oid binary_upgrade_set_next_pg_authid_oid
    binary_upgrade_set_next_pg_enum_oid binary_upgrade_set_next_pg_tablespace_oid
    binary_upgrade_set_next_pg_type_oid binary_upgrade_set_next_toast_pg_class_oid
    binary_upgrade_set_next_toast_relfilenode binary_upgrade_set_record_init_privs`,
    'admin',
    'alter',
  ],
];

/** Functions that run text, or read what an argument names; stable ones among them. */
const RUNS: readonly (readonly [names: string, runs: RunsText])[] = [
  ['query_to_xml query_to_xmlschema query_to_xml_and_xmlschema ts_stat', 'query'],
  ['ts_rewrite', 'tsquery'],
  ['table_to_xml table_to_xmlschema table_to_xml_and_xmlschema', 'relation'],
  // It hashes by the classes of the table's partition key.
  ['satisfies_hash_partition', 'relation'],
  ['schema_to_xml schema_to_xmlschema schema_to_xml_and_xmlschema', 'schema'],
  ['database_to_xml database_to_xmlschema database_to_xml_and_xmlschema', 'database'],
  ['cursor_to_xml cursor_to_xmlschema', 'cursor'],
  ['set_config', 'setting'],
  // A type's input function by itself runs the checks of the domains in it.
  [
    `domain_in domain_recv array_in array_recv record_in record_recv range_in range_recv
    multirange_in multirange_recv pg_input_is_valid pg_input_error_info`,
    'type',
  ],
  // Its row's columns may be of domains.
  [
    `json_populate_record json_populate_recordset jsonb_populate_record jsonb_populate_recordset
    jsonb_populate_record_valid`,
    'types',
  ],
  [
    `to_json to_jsonb row_to_json array_to_json json_agg json_agg_strict jsonb_agg
    jsonb_agg_strict json_build_array jsonb_build_array json_build_object jsonb_build_object
    json_object_agg json_object_agg_strict json_object_agg_unique json_object_agg_unique_strict
    jsonb_object_agg jsonb_object_agg_strict jsonb_object_agg_unique
    jsonb_object_agg_unique_strict json_agg_transfn json_agg_strict_transfn jsonb_agg_transfn
    jsonb_agg_strict_transfn json_object_agg_transfn jsonb_object_agg_transfn`,
    'json',
  ],
  ['brin_summarize_new_values brin_summarize_range', 'indexes'],
  // They convert any value to text, as an explicit cast does.
  ['quote_literal quote_nullable', 'text'],
];

export interface Builtin {
  readonly name: string;
  readonly volatility: string;
  /** Result type where all overloads agree (`set` for set-returning); null otherwise. */
  readonly result: string | null;
  /** null: it does nothing beyond returning a value. */
  readonly effect: BuiltinEffect | null;
}

const UNREVIEWED: BuiltinEffect = {
  class: 'unknown',
  verb: 'call',
  kind: 'function',
  argument: -1,
  access: 'execute',
  runs: null,
};

function reviewed(): Map<string, BuiltinEffect | null> {
  const table = new Map<string, BuiltinEffect | null>();
  for (const name of READS) table.set(name, null);
  for (const [list, effect, verb, kind, argument, access] of LINES) {
    const entry: BuiltinEffect = {
      class: effect,
      verb,
      kind: kind ?? 'other',
      argument: argument ?? -1,
      access: access ?? 'use',
      runs: null,
    };
    for (const name of names(list)) table.set(name, entry);
  }
  for (const [list, runs] of RUNS) {
    for (const name of names(list)) {
      const known = table.get(name) ?? { ...UNREVIEWED, class: 'read', verb: 'run' };
      table.set(name, { ...known, runs });
    }
  }
  return table;
}

const builtins = new Map<string, Builtin>();
const symbols = new Map<string, Builtin>();

function load(): void {
  const table = reviewed();
  const text = readFileSync(new URL('./builtins.txt', import.meta.url), 'utf8');
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [name = '', volatility = 'v', result = '*'] = line.split(' ');
    const known = table.get(name);
    const effect = known === undefined ? (volatility === 'v' ? UNREVIEWED : null) : known;
    const builtin = { name, volatility, result: result === '*' ? null : result, effect };
    builtins.set(name, builtin);
    symbols.set(name, builtin);
  }
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [name = '', , , others = ''] = line.split(' ');
    const builtin = builtins.get(name);
    if (builtin === undefined) continue;
    for (const symbol of others === '' ? [] : others.split(',')) {
      // One C function may serve several names: the worst of them counts.
      if (symbols.get(symbol)?.effect == null) symbols.set(symbol, builtin);
    }
  }
}
load();

/**
 * The built-in function of this name, in whatever overload; undefined when PostgreSQL 14 to 18 have
 * none.
 */
export function builtinNamed(name: string): Builtin | undefined {
  return builtins.get(name);
}

/** The built-in function behind a C symbol, as LANGUAGE internal names it. */
export function builtinBehind(symbol: string): Builtin | undefined {
  return symbols.get(symbol);
}

/** Volatile built-ins that the table above does not speak of: a test holds that there are none. */
export function unreviewed(): string[] {
  return [...builtins.values()].filter((b) => b.effect === UNREVIEWED).map((b) => b.name);
}
