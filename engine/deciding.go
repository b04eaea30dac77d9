package engine

import (
	"context"
	"time"

	"github.com/recourse-go/recourse/engine/internal/errtree"
	"github.com/recourse-go/recourse/policy"
)

// decide fills r.decision from the facts.
func (r *run) decide(ctx context.Context, now time.Time) {
	e, d := r.event, r.decision
	if d == nil {
		d = &r.fails().decision
		d.State = r.call.State // from here on it is the decision's
		r.decision = d
	}
	u := r.p.engine.o.Rand()
	if rule, why := r.override(now); rule == nil {
		candidate := r.candidate(ctx, u, now)
		r.deciding.apply(d, r.deciding.rule(e), e, u)
		r.compare(ctx, candidate, now)
	} else {
		r.c.apply(d, rule, e, u)
		if d.Reason == reasonRule {
			d.Reason = why
		}
	}
	if d.Action == policy.Fail && d.As == AsPermanent && d.Reason == reasonRule && e.Status == 0 && errtree.Is(ctx.Err(), context.DeadlineExceeded) {
		d.As, d.Reason = AsDeadline, reasonTimeUp
	}
	if m := r.call.MaxAttempts; m > 0 && d.Action == policy.Retry && d.State.Retries() >= m {
		d.exhaust(reasonAttempts)
	}
	if d.State.Began.IsZero() {
		d.State.Began = r.start()
	}
}

// leaveToCredentials turns a second refusal, which Decide has called needs_user, back into
// reauth: Decide does not know the state of the credentials, and reauth does.
func (r *run) leaveToCredentials() {
	if d := r.decision; d.Reason == reasonReauthed {
		d.Action, d.As, d.Reason = policy.Reauth, "", reasonRule
		d.State.reauths++
		r.refreshed = true
	}
}

// announce remembers the failed attempt for Engine.Recent, and tells the observer of it
// and of the decision.
func (r *run) announce(ctx context.Context, now time.Time) {
	r.record(now)
	if r.p.engine.o.Observer != nil {
		r.notify(ctx, NoticeAttempt, now.Sub(r.start()), r.err)
		r.notify(ctx, NoticeDecision, r.decision.Delay, r.err)
	}
}
