# For tests: everything passes but what is marked by the name of an object it touches, and what is not understood.
package holdpoint.policy

allow contains {"rule": "open", "reason": "everything passes here"} if true

deny contains {"rule": "marked-denied", "reason": "its name says so"} if {
	some object in input.effect.objects
	startswith(object.name, "denied")
}

hold contains {
	"rule": "marked-held",
	"reason": "its name says so",
	"group": "db-owners", "signatures": 1, "expires": "30m", "wait": "10s",
} if {
	some object in input.effect.objects
	startswith(object.name, "held")
}

deny contains {"rule": "not-understood", "reason": "nobody knows what it does"} if {
	input.effect.class == "unknown"
}
