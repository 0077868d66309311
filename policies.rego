# What agents may do to our databases. This file is security's; policies.json beside it is its data.
#
# Each rule adds an object to one of three sets. The shipped library (proxy/verdict/library.rego)
# decides: deny beats hold beats allow, and where nothing is said the answer is deny. The policy is
# asked once for each distinct effect of an operation; the worst answer counts.
#
# Capabilities of an agent: `read` (query), `write` (insert, update, delete rows), `ddl` (create,
# alter, drop, truncate). Environments: whatever policies.json does not list as relaxed is
# production, so a misspelt name is guarded, not open.
package holdpoint.policy

# ── Allow ───────────────────────────────────────────────────────────────────────────────────────

allow contains {"rule": "reads", "reason": "it changes nothing"} if input.effect.class == "read"

allow contains {"rule": "session", "reason": "it changes only its own session"} if {
	input.effect.class == "session"
}

allow contains {"rule": "scoped-writes", "reason": "a scoped write outside production"} if {
	input.effect.class == "write"
	input.effect.scoped
	not production
}

allow contains {"rule": "small-writes", "reason": "a scoped write, and provably of few rows"} if {
	input.effect.class == "write"
	input.effect.scoped
	production
	few_rows
}

allow contains {"rule": "schema-changes", "reason": "a schema change outside production"} if {
	input.effect.class == "ddl"
	not production
}

# What is lost here can be made again, or is a few rows that somebody named.
allow contains {"rule": "scoped-deletes", "reason": "a scoped loss outside production"} if {
	input.effect.class == "destructive"
	input.effect.scoped
	not production
}

allow contains {"rule": "disposable", "reason": "the data of this environment is disposable"} if {
	input.effect.class == "destructive"
	disposable
}

# ── Hold for a person ───────────────────────────────────────────────────────────────────────────

hold contains {
	"rule": "production-writes",
	"reason": "a production write that may touch more rows than the threshold",
	"group": "db-owners|on-call", "signatures": 1, "expires": "30m", "wait": "45s",
} if {
	input.effect.class == "write"
	production
	not few_rows
}

hold contains {
	"rule": "unscoped-writes",
	"reason": "nothing narrows this write",
	"group": "db-owners|on-call", "signatures": 1, "expires": "30m", "wait": "45s",
} if {
	input.effect.class == "write"
	not input.effect.scoped
}

hold contains {
	"rule": "production-schema-changes",
	"reason": "a schema change in production",
	"group": "db-owners", "signatures": 1, "expires": "30m", "wait": "45s",
} if {
	input.effect.class == "ddl"
	production
}

hold contains {
	"rule": "production-losses",
	"reason": "it loses data in production",
	"group": "db-owners", "signatures": 1, "expires": "30m", "wait": "45s",
} if {
	input.effect.class == "destructive"
	input.effect.scoped
	production
}

hold contains {
	"rule": "unscoped-production-losses",
	"reason": "it loses data in production and nothing narrows it",
	"group": "db-owners", "signatures": 2, "expires": "30m", "wait": "45s",
} if {
	input.effect.class == "destructive"
	not input.effect.scoped
	production
}

# Staging is shared: emptying it costs a team its day, so one person looks first.
hold contains {
	"rule": "unscoped-losses",
	"reason": "it loses data and nothing narrows it",
	"group": "db-owners", "signatures": 1, "expires": "30m", "wait": "45s",
} if {
	input.effect.class == "destructive"
	not input.effect.scoped
	not production
	not disposable
}

# In every environment: what could not be understood may be the worst there is.
hold contains {
	"rule": "not-understood",
	"reason": "what this would do could not be established",
	"group": "db-owners", "signatures": 1, "expires": "30m", "wait": "45s",
} if {
	input.effect.class == "unknown"
}

# ── Deny ────────────────────────────────────────────────────────────────────────────────────────

# Roles, privileges, server settings, files, programs, replication, other people's sessions.
deny contains {"rule": "admin", "reason": "administration is not for agents"} if {
	input.effect.class == "admin"
}

# Audit tables and the list in policies.json, in every environment, whoever asks.
deny contains {"rule": "protected", "reason": "a protected object stays, and so do its rows"} if {
	some object in input.effect.objects
	loses(object)
	is_protected(object)
}

# The protected objects would go with it.
deny contains {"rule": "whole-database", "reason": "it would drop a whole database"} if {
	some object in input.effect.objects
	object.kind == "database"
	object.access == "drop"
}

deny contains {"rule": "unscoped-production-deletes", "reason": "it empties a production table"} if {
	production
	not input.effect.scoped
	empties
}

# The kill switch, an operator's setting or a freeze window of policies.json.
deny contains {"rule": concat("-", ["mode", mode]), "reason": mode_reason} if {
	changes
	mode != "normal"
}

deny contains {"rule": "no-read-capability", "reason": "this agent may not `read`"} if {
	input.effect.class == "read"
	not may("read")
}

deny contains {"rule": "no-write-capability", "reason": "this agent may not `write`"} if {
	changes_rows
	not may("write")
}

deny contains {"rule": "no-ddl-capability", "reason": "this agent may not `ddl`"} if {
	changes_schema
	not may("ddl")
}

# ── Words used above ────────────────────────────────────────────────────────────────────────────

# Both are true unless the opposite is known. Negate words like these, never a call or an `in`:
# when what they are given is undefined, the whole rule would be silent, and a silent rule guards nothing.
default production := true

production := false if input.target.environment in data.environments.relaxed

default changes := true

changes := false if input.effect.class in {"read", "session"}

disposable if {
	not production
	input.target.environment in data.environments.disposable
}

may(capability) if capability in input.agent.capabilities

few_rows if {
	is_number(input.effect.rows_max) # null: no bound is proven, which counts as more than any threshold
	input.effect.rows_max <= data.thresholds.rows
}

changes_rows if input.effect.class == "write"

changes_rows if {
	input.effect.class == "destructive"
	not changes_schema
}

changes_schema if input.effect.class == "ddl"

changes_schema if {
	input.effect.class == "destructive"
	some object in input.effect.objects
	object.access in {"create", "alter", "drop", "truncate"}
}

empties if input.effect.verb in {"delete", "truncate"}

empties if {
	some object in input.effect.objects
	object.access in {"delete", "truncate"}
}

loses(object) if object.access in {"drop", "truncate", "delete", "update"}

# A new column on an audit table is fine, a dropped one is not.
loses(object) if {
	object.access == "alter"
	input.effect.class == "destructive"
}

is_protected(object) if {
	some name in names(object)
	name in {lower(listed) | some listed in data.protected}
}

# PostgreSQL could not tell the schema: the listed object of that name may be meant.
is_protected(object) if {
	input.target.engine == "postgres"
	object.schema == null
	some listed in data.protected
	endswith(lower(listed), concat("", [".", lower(object.name)]))
}

is_protected(object) if audit(lower(namespace(object)))

is_protected(object) if audit(lower(object.name))

# The name of `audit`, `audits`, `audit_log`, `orders_audit`, …
audit(name) if {
	some word in split(name, "_")
	word in {"audit", "audits"}
}

# An entry of data.protected is `schema.name`, or `schema.*` for the schema and all in it.
names(object) := {
	lower(concat(".", [namespace(object), object.name])),
	lower(concat(".", [namespace(object), "*"])),
} if object.kind != "schema"

names(object) := {lower(concat(".", [object.name, "*"]))} if object.kind == "schema"

# MySQL and MongoDB have no schemas within a database.
namespace(object) := [name |
	some level in ["schema", "database"]
	name := object[level]
	is_string(name)
][0]

default mode := "unknown"

mode := input.mode

default mode_reason := "changes are off"

mode_reason := {
	"freeze": "changes are frozen",
	"read-only": "only reads are let through",
	"killed": "the kill switch is on: only reads are let through",
}[mode]
