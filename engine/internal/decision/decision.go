package decision

import (
	"time"

	"github.com/recourse-go/recourse/policy"
)

// The labels of Decision.As that the engine gives. Package engine says what they mean.
const (
	AsPermanent = "permanent"
	AsNeedsUser = "needs_user"
	AsResync    = "resync"
	AsAmbiguous = "ambiguous"
	AsExhausted = "exhausted"
	AsBudget    = "budget"
	AsDeadline  = "deadline"
	AsCanceled  = "canceled"

	AsUnavailable   = "unavailable"
	AsMisconfigured = "misconfigured"
)

// Decision is what to do after one attempt, and why. It is a plain value.
type Decision struct {
	Action policy.Action
	As     string // with Fail: one of the As constants or the policy's own label

	Rule *Rule // the rule that matched, or one of the engine's own; nil only in the zero Decision

	Delay    time.Duration // wait so long before the next attempt; jitter is included
	MinDelay time.Duration // the least that Delay could have been
	Hint     time.Duration // what the server asked for; 0 = nothing, or nothing that the rule goes by

	Defer     bool // the hint is longer than the rule's max_wait: hand the call back with a time to resume
	Exhausted bool // the rule wanted to go on, but what it may use is used up

	Reason Reason // how the rule's action became this one
	State  State  // the call's state after this decision

	askedFor bool // the wait was asked for by the server or fixed by the rule: it burns no attempt
}

// Rule names the rule that a Decision goes by.
type Rule struct {
	Policy string // that the rule stands in; "" = it is one of the engine's own
	Name   string
	Pos    policy.Position // where the policy's file says it
	Action policy.Action   // that it asks for; the Decision's may be another
	As     string          // with Fail: its label

	spec *policy.Rule
	by   *Policy // that it stands in; nil = it is one of the engine's own
}

func ruleOf(policyName string, spec *policy.Rule) Rule {
	return Rule{Policy: policyName, Name: spec.Name, Pos: spec.Pos, Action: spec.Action, As: spec.As, spec: spec}
}

// OwnRule makes a rule of the engine's own.
func OwnRule(spec policy.Rule) *Rule {
	spec.Backoff = -1
	rule := ruleOf("", &spec)
	return &rule
}

// Spec is the rule as the policy has it. It is a function, and so are those that change a
// Decision or a State, since their methods are the API of package engine.
func Spec(r *Rule) *policy.Rule { return r.spec }

// AskedFor reports whether d waits because the server asked for it or the rule fixes a
// wait. Such a wait burns no attempt.
func AskedFor(d *Decision) bool { return d.askedFor }

// Fail makes d give the call up.
func Fail(d *Decision, as string, why Reason) {
	d.Action, d.As, d.Reason = policy.Fail, as, why
	d.Delay, d.MinDelay, d.Defer, d.askedFor = 0, 0, false, false
}

// Exhaust makes d give the call up, which the rule wanted to go on, since what the call
// may use is used up.
func Exhaust(d *Decision, why Reason) {
	d.Exhausted = true
	Fail(d, AsExhausted, why)
}
