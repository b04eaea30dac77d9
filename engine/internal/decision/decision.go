package decision

import (
	"time"

	"github.com/recourse-go/recourse/policy"
)

// The labels that the engine itself puts into Decision.As. Package engine documents them.
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

	Delay    time.Duration // the wait before the next attempt, with jitter
	MinDelay time.Duration // the least that Delay could have been
	Hint     time.Duration // the wait that the server asked for; 0 = none, or the rule ignores it

	Defer     bool // Hint is above the rule's max_wait: hand the call back with a time to resume
	Exhausted bool // the rule asks for another attempt, but the call has used up what it may use

	Reason Reason // how the rule's action became this one
	State  State  // the call's state after this decision

	askedFor bool // the server asked for the wait, or the rule fixes it: it uses up no attempt
}

// Rule names the rule that led to a Decision.
type Rule struct {
	Policy string // the policy that has the rule; "" = it is one of the engine's own
	Name   string
	Pos    policy.Position // where the rule stands in the policy's file
	Action policy.Action   // what the rule asks for; the Decision's Action may differ
	As     string          // with Fail: the rule's label

	spec *policy.Rule
	by   *Policy // the policy that has the rule; nil = it is one of the engine's own
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

// Spec returns the rule as the policy has it. Spec, and whatever changes a Decision or a
// State, is a function and not a method, since methods would be part of the API of package
// engine.
func Spec(r *Rule) *policy.Rule { return r.spec }

// AskedFor reports whether d waits because the server asked for it or the rule fixes a
// wait. Such a wait uses up no attempt.
func AskedFor(d *Decision) bool { return d.askedFor }

// Fail makes d give the call up, with the label as.
func Fail(d *Decision, as string, why Reason) {
	d.Action, d.As, d.Reason = policy.Fail, as, why
	d.Delay, d.MinDelay, d.Defer, d.askedFor = 0, 0, false, false
}

// Exhaust makes d give the call up although the rule asks for another attempt, because the
// call has used up what it may use.
func Exhaust(d *Decision, why Reason) {
	d.Exhausted = true
	Fail(d, AsExhausted, why)
}
