# Each rule of policies.rego and its edges. Run by `holdpoint policy test`, and before a change is put in force.
# The data is the tests' own, so that a change of policies.json alone fails none of them.
package holdpoint.policy_test

import data.holdpoint.policy
import data.holdpoint.verdict

environments := {
	"relaxed": ["development", "staging"],
	"disposable": ["development", "production"],
}

thresholds := {"rows": 100}

listed := ["public.ledger", "vault.*"]

table(name, access) := {
	"kind": "table", "database": "shop", "schema": "public", "name": name,
	"columns": [], "access": access, "via": [], "tags": [], "identity": null,
}

base := {
	"effect": {
		"class": "read", "verb": "select", "objects": [], "predicate": "filter",
		"scoped": true, "rows_max": null, "reversible": false, "opaque": null,
	},
	"target": {"name": "shop", "engine": "postgres", "environment": "production"},
	"agent": {"name": "bot", "capabilities": ["read", "write", "ddl"]},
	"mode": "normal",
}

# The input that differs from `base` in these parts of effect, and in this environment.
asked(environment, effect) := object.union(base, {
	"effect": effect,
	"target": {"environment": environment},
})

judged(question) := answer if {
	answer := verdict.answer with input as question
		with data.environments as environments
		with data.thresholds as thresholds
		with data.protected as listed
}

says(question, kind, rule) if {
	answer := judged(question)
	answer.kind == kind
	{said.rule | some said in answer.said} == {rule}
}

holds(question, rule, group, signatures) if {
	says(question, "hold", rule)
	some said in judged(question).said
	said.group == group
	said.signatures == signatures
}

environment_names := {"production", "staging", "development", "prod", ""}

scoped_write := {"class": "write", "verb": "update", "objects": [table("orders", "update")]}

scoped_delete := {"class": "destructive", "verb": "delete", "objects": [table("orders", "delete")]}

unscoped_delete := object.union(scoped_delete, {"predicate": "none", "scoped": false})

unscoped_update := {
	"class": "destructive", "verb": "update", "scoped": false,
	"objects": [table("orders", "update")],
}

drop_table := {
	"class": "destructive", "verb": "drop", "scoped": false,
	"objects": [table("orders", "drop")],
}

truncate := {
	"class": "destructive", "verb": "truncate", "scoped": false,
	"objects": [table("orders", "truncate")],
}

create_table := {"class": "ddl", "verb": "create", "objects": [table("orders", "create")]}

# ── Reads and sessions ────────────────────────────────────────────────────────────────────────

test_reads_pass_everywhere if {
	every name in environment_names { says(asked(name, {"class": "read"}), "allow", "reads") }
}

test_session_passes_everywhere if {
	every name in environment_names { says(asked(name, {"class": "session"}), "allow", "session") }
}

test_a_read_of_a_protected_table_passes if {
	says(asked("production", {"objects": [table("audit_log", "read")]}), "allow", "reads")
}

# ── Writes ────────────────────────────────────────────────────────────────────────────────────

test_scoped_write_passes_outside_production if {
	says(asked("staging", scoped_write), "allow", "scoped-writes")
}

test_write_at_the_threshold_passes_in_production if {
	says(asked("production", object.union(scoped_write, {"rows_max": 100})), "allow", "small-writes")
	says(asked("production", object.union(scoped_write, {"rows_max": 0})), "allow", "small-writes")
}

test_write_over_the_threshold_is_held_in_production if {
	question := asked("production", object.union(scoped_write, {"rows_max": 101}))
	holds(question, "production-writes", "db-owners|on-call", 1)
}

test_write_without_a_bound_is_held_in_production if {
	holds(asked("production", scoped_write), "production-writes", "db-owners|on-call", 1)
}

test_write_is_held_when_there_is_no_threshold if {
	question := asked("production", object.union(scoped_write, {"rows_max": 1}))
	answer := verdict.answer with input as question
		with data.environments as environments
		with data.thresholds as {}
	answer.kind == "hold"
}

test_unscoped_write_is_held_outside_production if {
	question := asked("staging", object.union(scoped_write, {"scoped": false}))
	says(question, "hold", "unscoped-writes")
}

test_unscoped_small_write_is_held_in_production if {
	question := asked("production", object.union(scoped_write, {"scoped": false, "rows_max": 1}))
	says(question, "hold", "unscoped-writes")
}

# ── Schema ────────────────────────────────────────────────────────────────────────────────────

test_schema_change_passes_outside_production if {
	says(asked("staging", create_table), "allow", "schema-changes")
}

test_schema_change_is_held_in_production if {
	holds(asked("production", create_table), "production-schema-changes", "db-owners", 1)
}

# ── Losses ────────────────────────────────────────────────────────────────────────────────────

test_scoped_delete_passes_outside_production if {
	says(asked("staging", scoped_delete), "allow", "scoped-deletes")
}

test_scoped_delete_is_held_in_production if {
	holds(asked("production", scoped_delete), "production-losses", "db-owners", 1)
}

test_unscoped_loss_in_production_wants_two if {
	holds(asked("production", unscoped_update), "unscoped-production-losses", "db-owners", 2)
	holds(asked("production", drop_table), "unscoped-production-losses", "db-owners", 2)
}

test_unscoped_loss_in_staging_wants_one if {
	every effect in [unscoped_update, drop_table, unscoped_delete, truncate] {
		holds(asked("staging", effect), "unscoped-losses", "db-owners", 1)
	}
}

test_unscoped_loss_passes_where_data_is_disposable if {
	every effect in [unscoped_update, drop_table, unscoped_delete, truncate] {
		says(asked("development", effect), "allow", "disposable")
	}
}

test_unscoped_delete_and_truncate_are_denied_in_production if {
	says(asked("production", unscoped_delete), "deny", "unscoped-production-deletes")
	says(asked("production", truncate), "deny", "unscoped-production-deletes")
}

test_emptying_through_another_verb_is_denied_in_production if {
	effect := object.union(unscoped_delete, {"verb": "merge"})
	says(asked("production", effect), "deny", "unscoped-production-deletes")
}

test_disposable_needs_relaxed_too if {
	# The tests' data lists production as disposable: that alone opens nothing.
	says(asked("production", drop_table), "hold", "unscoped-production-losses")
}

# ── Environments ──────────────────────────────────────────────────────────────────────────────

test_an_environment_nobody_listed_is_production if {
	every name in {"prod", "Staging", ""} {
		says(asked(name, truncate), "deny", "unscoped-production-deletes")
		says(asked(name, scoped_delete), "hold", "production-losses")
	}
}

test_without_data_all_is_production if {
	answer := verdict.answer with input as asked("staging", scoped_delete) with data.environments as {}
	answer.kind == "hold"
}

# ── Unknown and admin ─────────────────────────────────────────────────────────────────────────

test_unknown_is_held_everywhere if {
	every name in environment_names {
		holds(asked(name, {"class": "unknown", "scoped": false}), "not-understood", "db-owners", 1)
	}
}

test_admin_is_denied_everywhere if {
	every name in environment_names { says(asked(name, {"class": "admin"}), "deny", "admin") }
}

test_a_class_from_the_future_is_denied if {
	says(asked("development", {"class": "teleport"}), "deny", "nothing-said")
}

test_what_is_missing_opens_nothing if {
	question := asked("production", object.union(scoped_write, {"rows_max": 1}))
	every part in {"scoped", "class", "rows_max"} {
		judged(json.remove(question, [["effect", part]])).kind in {"hold", "deny"}
	}
}

test_missing_parts_count_as_the_worst if {
	question := asked("staging", scoped_delete)
	judged(json.remove(question, [["target", "environment"]])).kind == "hold"
	judged(json.remove(question, [["agent", "capabilities"]])).kind == "deny"
	judged(json.remove(question, [["mode"]])).kind == "deny"
}

test_nothing_asked_is_denied if judged({}).kind == "deny"

# ── Protected ─────────────────────────────────────────────────────────────────────────────────

test_protected_objects_keep_themselves_and_their_rows if {
	every access in {"drop", "truncate", "delete", "update"} {
		every environment in environment_names {
			question := asked(environment, {"class": "destructive", "objects": [table("audit_log", access)]})
			says(question, "deny", "protected")
		}
	}
}

test_what_is_protected if {
	names := {"audit", "audits", "audit_log", "orders_audit", "AUDIT_LOG", "ledger", "Ledger"}
	every name in names {
		says(asked("staging", {"class": "destructive", "objects": [table(name, "drop")]}), "deny", "protected")
	}
	every name in {"auditor", "reaudited", "ledgers", "orders"} {
		says(asked("staging", {"class": "destructive", "objects": [table(name, "drop")]}), "allow", "scoped-deletes")
	}
}

test_all_of_a_protected_schema if {
	every schema in {"audit", "vault", "Vault"} {
		object_in := object.union(table("x", "drop"), {"schema": schema})
		says(asked("staging", {"class": "destructive", "objects": [object_in]}), "deny", "protected")
	}
}

test_a_protected_schema_itself if {
	every name in {"audit", "vault"} {
		object_in := object.union(table(name, "drop"), {"kind": "schema", "schema": null})
		says(asked("staging", {"class": "destructive", "objects": [object_in]}), "deny", "protected")
	}
}

test_protected_reached_through_another_object if {
	reached := object.union(table("audit_log", "delete"), {"via": ["trigger t on public.orders"]})
	question := asked("staging", {"class": "destructive", "objects": [table("orders", "delete"), reached]})
	says(question, "deny", "protected")
}

test_protected_where_a_database_is_the_namespace if {
	object_in := object.union(table("x", "delete"), {"schema": null, "database": "audit"})
	says(asked("staging", {"class": "destructive", "objects": [object_in]}), "deny", "protected")
}

test_protected_without_any_namespace if {
	object_in := object.union(table("audit_log", "delete"), {"schema": null, "database": null})
	says(asked("staging", {"class": "destructive", "objects": [object_in]}), "deny", "protected")
}

test_a_listed_name_is_protected_where_the_schema_is_not_known if {
	object_in := object.union(table("ledger", "delete"), {"schema": null})
	question := asked("staging", {"class": "destructive", "objects": [object_in]})
	says(question, "deny", "protected")
	elsewhere := object.union(question, {"target": {"engine": "mysql"}})
	says(elsewhere, "allow", "scoped-deletes")
}

test_an_audit_table_takes_rows_and_columns if {
	insert := {"class": "write", "verb": "insert", "rows_max": 1, "objects": [table("audit_log", "insert")]}
	says(asked("production", insert), "allow", "small-writes")
	add_column := {"class": "ddl", "verb": "alter", "objects": [table("audit_log", "alter")]}
	says(asked("staging", add_column), "allow", "schema-changes")
	drop_column := object.union(add_column, {"class": "destructive"})
	says(asked("staging", drop_column), "deny", "protected")
}

test_audit_is_protected_without_data if {
	question := asked("staging", {"class": "destructive", "objects": [table("audit_log", "drop")]})
	answer := verdict.answer with input as question with data.protected as null
	answer.kind == "deny"
}

test_a_whole_database_is_never_dropped if {
	object_in := object.union(table("shop", "drop"), {"kind": "database"})
	question := asked("development", {"class": "destructive", "scoped": false, "objects": [object_in]})
	says(question, "deny", "whole-database")
}

# ── Modes ─────────────────────────────────────────────────────────────────────────────────────

test_every_mode_denies_every_change if {
	every mode in {"freeze", "read-only", "killed", "a mode from the future"} {
		every class in {"write", "ddl", "destructive", "unknown"} {
			question := object.union(asked("development", {"class": class}), {"mode": mode})
			says(question, "deny", concat("-", ["mode", mode]))
		}
	}
}

test_every_mode_lets_reads_through if {
	every mode in {"freeze", "read-only", "killed"} {
		says(object.union(asked("production", {"class": "read"}), {"mode": mode}), "allow", "reads")
		says(object.union(asked("production", {"class": "session"}), {"mode": mode}), "allow", "session")
	}
}

test_a_mode_says_why if {
	question := object.union(asked("production", scoped_write), {"mode": "killed"})
	some said in judged(question).said
	contains(said.reason, "kill switch")
}

# ── Capabilities ──────────────────────────────────────────────────────────────────────────────

without(capability, question) := object.union(question, {"agent": {"capabilities": [other |
	some other in ["read", "write", "ddl"]
	other != capability
]}})

test_reads_need_read if {
	says(without("read", asked("staging", {"class": "read"})), "deny", "no-read-capability")
}

test_rows_need_write if {
	says(without("write", asked("staging", scoped_write)), "deny", "no-write-capability")
	says(without("write", asked("staging", scoped_delete)), "deny", "no-write-capability")
	says(without("ddl", asked("staging", scoped_delete)), "allow", "scoped-deletes")
}

test_schema_needs_ddl if {
	says(without("ddl", asked("staging", create_table)), "deny", "no-ddl-capability")
	says(without("ddl", asked("development", drop_table)), "deny", "no-ddl-capability")
	says(without("ddl", asked("development", truncate)), "deny", "no-ddl-capability")
	says(without("write", asked("development", drop_table)), "allow", "disposable")
}

test_a_session_needs_nothing if {
	question := object.union(asked("production", {"class": "session"}), {"agent": {"capabilities": []}})
	says(question, "allow", "session")
}

test_people_decide_on_the_unknown_whatever_the_agent_may if {
	question := object.union(asked("production", {"class": "unknown"}), {"agent": {"capabilities": []}})
	says(question, "hold", "not-understood")
}

# ── The library ───────────────────────────────────────────────────────────────────────────────

one := {{"rule": "r", "reason": "why"}}

test_deny_beats_hold_beats_allow if {
	all := verdict.answer with policy.deny as one with policy.hold as one with policy.allow as one
	all.kind == "deny"
	two := verdict.answer with policy.deny as set() with policy.hold as one with policy.allow as one
	two.kind == "hold"
	last := verdict.answer with policy.deny as set() with policy.hold as set() with policy.allow as one
	last.kind == "allow"
}

test_nothing_said_means_deny if {
	none := verdict.answer with policy.deny as set() with policy.hold as set() with policy.allow as set()
	none == {"kind": "deny", "said": {{"rule": "nothing-said", "reason": "no rule allows this"}}}
}
