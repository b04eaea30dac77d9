package engine

import (
	"context"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/internal/redact"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// hold closes the limits that the rule names for this call's keys: for as long
// as the server asked or the rule fixes, else by the schedule of the key's own
// consecutive refusals, which many calls may have shared. Then the attempt gives back
// what it still holds.
func (r *run) hold(ctx context.Context, now time.Time) {
	d, holds := r.decision, decision.Spec(r.decision.Rule).Hold
	defer r.attempts.release(r.event, r.permit)
	if len(holds) == 0 {
		if d.Action == policy.Accept {
			r.permit.Succeeded()
		}
		return
	}
	keys := r.call.Keys
	for i := range holds {
		deciding, chance := r.deciding, r.p.engine.o.Rand() // r must not be in the closure, or it would be allocated
		hold := &holds[i]
		l := &deciding.policy.Limits[hold.Limit]
		if len(deciding.factKeys) > 0 && l.Missing(r.call.Facts) != "" {
			continue // it does not count this call
		}
		limit := l.Name
		refusal := limiter.Refusal{Sent: r.start(), Cause: r.holdCause(now), Hold: func(refusals int) time.Duration {
			return deciding.decision.HoldFor(d, hold, now, refusals, chance)
		}}
		n := r.decidingP.refuse(now, limit, keys, refusal)
		r.notifyLimit(ctx, NoticeHold, refusal.Hold(n), limit, refusal.Cause)
	}
}

// holdCause says why the decision closes a limit, for those who will wait for it.
func (r *run) holdCause(now time.Time) limiter.Cause {
	return limiter.Cause{
		Rule: r.decision.Rule.Name, Code: strings.Clone(redact.Code(r.event.Code())), Status: r.event.Status,
		Operation: r.event.Operation, At: now,
	}
}

// toldOfHold tells the observer that a limit was closed, or opened, by hand.
func (p *Provider) toldOfHold(kind NoticeKind, limit string, k limiter.Keys, until time.Time, cause []limiter.Cause) {
	if !p.engine.observed() {
		return
	}
	n := &Notice{
		Kind: kind, Time: time.Now(), Provider: p.name, Version: p.Policy().Version,
		Account: k.Account, Host: k.Host, Operation: k.Operation, Limit: limit, Until: until,
	}
	if len(cause) > 0 {
		n.Cause = cause[0]
	}
	if kind == NoticeHold {
		n.Duration = max(until.Sub(n.Time), 0)
	}
	p.engine.tell(context.Background(), n)
}
