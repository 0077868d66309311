# For tests: a change of rows passes only where it is known to touch few.
package holdpoint.policy

allow contains {"rule": "open", "reason": "everything else passes here"} if true

deny contains {"rule": "uncounted", "reason": "nobody knows how many rows it changes"} if {
	input.effect.class == "write"
	not is_number(input.effect.rows_max)
}
