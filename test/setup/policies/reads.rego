# For tests: reads and what changes only the session pass, all else is refused.
package holdpoint.policy

allow contains {"rule": "reads", "reason": "it changes nothing"} if input.effect.class == "read"

allow contains {"rule": "session", "reason": "it changes only its own session"} if {
	input.effect.class == "session"
}

deny contains {"rule": "changes", "reason": "only reads pass here"} if {
	not input.effect.class in {"read", "session"}
}
