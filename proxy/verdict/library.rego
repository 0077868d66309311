# The shipped library: how three sets become one answer. Security's policy only fills the sets.
# Invariant: deny beats hold beats allow, and nothing said means deny.
package holdpoint.verdict

import data.holdpoint.policy

answer := {"kind": "deny", "said": denials} if {
	denials != set()
} else := {"kind": "hold", "said": holds} if {
	holds != set()
} else := {"kind": "allow", "said": allowances} if {
	allowances != set()
} else := {"kind": "deny", "said": {{"rule": "nothing-said", "reason": "no rule allows this"}}}

# What every rule said, for `holdpoint policy explain`.
said := {"deny": denials, "hold": holds, "allow": allowances}

# A set that the policy does not define is empty. One that is no set at all (`deny := true`) is
# passed on as it is and refused by the reader (answer.ts): an odd answer is never silence.
default denials := set()

denials := policy.deny

default holds := set()

holds := policy.hold

default allowances := set()

allowances := policy.allow
