package engine

import (
	"context"
	"time"

	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/policy"
)

// The decision about a call, and the State in it. Everything that changes them stands in this
// file; the arithmetic is in engine/internal/decision. The other files only read them.

// state returns what the call has used up so far: the State of the latest decision, or,
// before the first decision, the one that the caller passed.
func (r *run) state() *State {
	if r.decision != nil {
		return &r.decision.State
	}
	return &r.call.State
}

// ownDecision returns the call's decision, and makes it if there is none yet.
func (r *run) ownDecision() *Decision {
	if r.decision == nil {
		r.decideIn(&r.fails().decision)
	}
	return r.decision
}

// decideIn makes d the call's decision. From then on d has the call's State, which is copied
// nowhere else.
func (r *run) decideIn(d *Decision) {
	r.decision = d
	d.State = r.call.State
}

// decide decides about the latest failure, from its facts.
func (r *run) decide(ctx context.Context, now time.Time) {
	e, d := r.event, r.ownDecision()
	if r.p.engine.observed() {
		before := d.State
		r.fails().before = &before
	}
	u := r.p.engine.o.Rand()
	if rule, why := r.override(now); rule == nil {
		candidate := r.candidate(ctx, u, now)
		r.deciding.decision.Decide(d, e, u)
		r.compare(ctx, candidate, now)
	} else {
		r.c.decision.Apply(d, rule, e, u)
		if d.Reason == decision.ReasonRule {
			d.Reason = why
		}
	}
	if d.Action == policy.Fail && d.As == AsPermanent && d.Reason == decision.ReasonRule && e.Status == 0 && errtree.Is(ctx.Err(), context.DeadlineExceeded) {
		d.As, d.Reason = AsDeadline, decision.ReasonTimeUp
	}
	if m := r.call.MaxAttempts; m > 0 && d.Action == policy.Retry && decision.Retries(&d.State) >= m {
		decision.Exhaust(d, decision.ReasonAttempts)
	}
	if d.State.Began.IsZero() {
		d.State.Began = r.start()
	}
}

// leaveToCredentials makes the decision reauth again where the State says that the credentials
// were refused a second time: a call that goes on knows more about them than its State does.
func (r *run) leaveToCredentials() {
	if decision.LeaveToCredentials(r.decision) {
		r.refreshed = true
	}
}

// outcomeUnknown notes that an attempt may have been carried out.
func (r *run) outcomeUnknown() { decision.OutcomeUnknown(r.state()) }

// notReauthed takes back that the decision counts a re-authentication.
func (r *run) notReauthed() { decision.NotReauthed(&r.decision.State) }

// waitToReauth makes the decision a wait until the refresh that has failed can be tried again,
// or gives the call up if it has then waited too often or too long.
func (r *run) waitToReauth(failed *credential.Failure) {
	why := decision.ReasonReauthError
	if failed.Early {
		why = decision.ReasonReauthSoon
	}
	delay := max(failed.Until.Sub(r.p.engine.time()), 0)
	r.c.decision.WaitToReauth(r.decision, delay, r.p.engine.o.Rand(), why)
}

// conclude makes the decision agree with the end of the call.
func (r *run) conclude(end *outcome) {
	if r.decision == nil {
		r.ownDecision().Rule = end.rule
	}
	switch d := r.decision; {
	case end.kind == deferred:
		r.concludeDeferred(end)
	case end.as != "":
		d.Exhausted = d.Exhausted || end.reason == decision.ReasonBudget
		decision.Fail(d, end.as, end.reason)
	}
}

// concludeDeferred is conclude for a call that is handed back.
func (r *run) concludeDeferred(end *outcome) {
	d := r.decision
	if d.Action != policy.Retry {
		d.Action = policy.Wait
	}
	d.As, d.Defer = "", true
	decision.ForgetReauths(&d.State) // when the call comes back, it may have other credentials
	if end.reason != decision.ReasonRule {
		d.Reason = end.reason
	}
	if r.wait != nil || end.reason == decision.ReasonPaused { // else the delay was decided
		d.Delay = max(end.until.Sub(r.p.engine.time()), 0)
		d.MinDelay = d.Delay
	}
}
