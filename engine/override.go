package engine

import (
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// The rules of what the calling code decided itself. They are Safe: the code
// knows what it did.
var (
	permanentRule = decision.OwnRule(policy.Rule{Name: "permanent", Action: policy.Fail, As: AsPermanent, Safe: true})
	uploadRule    = decision.OwnRule(policy.Rule{Name: "body", Action: policy.Fail, As: AsPermanent, Safe: true})
	waitRule      = decision.OwnRule(policy.Rule{Name: "retry-after", Action: policy.Wait, Safe: true})
)

// override returns the rule by which the calling code itself decides about its error; nil =
// the policy decides. A call inside this one that was given up or handed back counts as such
// a decision: it has had its retries, and a repeat would multiply them.
func (r *run) override(now time.Time) (rule *Rule, why Reason) {
	e := r.event
	if r.err == nil {
		return r.overrideInside(now)
	}
	if e.Network == rules.NetworkCanceled || errtree.Alone(r.err) { // those below wrap another error
		return nil, 0
	}
	if _, ok := r.err.(*httpattempt.UploadError); ok {
		return uploadRule, decision.ReasonUpload
	}
	if code, ok := errtree.As[*codeError](r.err); ok {
		if code.after == 0 {
			return permanentRule, decision.ReasonCode
		}
		e.RetryAfter = max(e.RetryAfter, code.after)
		return waitRule, decision.ReasonCode
	}
	if later, ok := errtree.As[*DeferError](r.err); ok {
		e.RetryAfter = max(later.Until.Sub(now), 1)
		return waitRule, decision.ReasonInner
	}
	if gave, ok := errtree.As[*GiveUpError](r.err); ok {
		r.until = gave.Until
		return gaveUpInside(gave.Decision.As), decision.ReasonInner
	}
	if _, ok := errtree.As[*backoff.PermanentError](r.err); ok {
		return permanentRule, decision.ReasonCode
	}
	if _, ok := errtree.As[*authorizeError](r.err); ok && r.deciding == r.c {
		return permanentRule, decision.ReasonReauthError
	}
	return nil, 0
}

// gaveUpInside returns the rule for an attempt whose inner call was given up.
func gaveUpInside(as string) *Rule {
	return decision.OwnRule(policy.Rule{Name: "inner", Action: policy.Fail, As: as, Safe: true})
}

// overrideInside is override for a response about which a Transport inside this one has
// decided.
func (r *run) overrideInside(now time.Time) (*Rule, Reason) {
	out, ok := Outcome(r.attempts.response())
	switch {
	case !ok || out.Decision.Action == policy.Accept:
		return nil, 0
	case out.Decision.Defer:
		r.event.RetryAfter = max(out.Until.Sub(now), 1)
		return waitRule, decision.ReasonInner
	}
	r.until = out.Until
	return gaveUpInside(out.Decision.As), decision.ReasonInner
}
