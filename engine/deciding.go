package engine

import (
	"context"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/policy"
)

// decide fills r.decision from the facts.
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

// announce remembers the failed attempt for Engine.Recent, and tells the observer of it
// and of the decision.
func (r *run) announce(ctx context.Context, now time.Time) {
	r.record(now)
	if r.p.engine.observed() {
		r.notify(ctx, NoticeAttempt, now.Sub(r.start()), r.err)
		n := r.notice(NoticeDecision, r.decision.Delay)
		n.Err, n.Before, n.Policy = r.err, r.failure.before, r.deciding.policy
		r.p.engine.tell(ctx, n)
	}
}
