package engine

import (
	"context"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine/internal/redact"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// hold closes the limits that the rule names for this call's keys: for as long
// as the server asked or the rule fixes, else by the schedule of the key's own
// consecutive refusals, which many calls may have shared. Then the attempt lets
// go of what it still has.
func (r *run) hold(ctx context.Context, now time.Time) {
	d := r.decision
	defer r.attempts.settle(r.event, r.permit)
	if len(d.Rule.spec.Hold) == 0 {
		if d.Action == policy.Accept {
			r.permit.Succeeded()
		}
		return
	}
	keys := r.call.keys()
	for _, i := range d.Rule.spec.Hold {
		deciding, chance := r.deciding, r.p.engine.o.Rand() // r must not be in the closure, or it would be allocated
		limit, length := deciding.policy.Limits[i].Name, time.Duration(0)
		refusal := limiter.Refusal{Sent: r.start(), Cause: r.holdCause(now), Hold: func(refusals int) time.Duration {
			length = deciding.holdFor(d, refusals, chance)
			return length
		}}
		r.decidingP.limits().RefuseAt(now, limit, keys, refusal)
		r.notifyLimit(ctx, NoticeHold, length, limit, refusal.Cause)
	}
}

// holdCause says why the decision closes a limit, for those who will wait for it.
func (r *run) holdCause(now time.Time) limiter.Cause {
	return limiter.Cause{
		Rule: r.decision.Rule.Name, Code: strings.Clone(redact.Code(r.event.Code())), Status: r.event.Status,
		Operation: r.event.Operation, At: now,
	}
}

// holdFor is how long a decision closes a limit whose key was refused n times
// in a row.
func (c *compiled) holdFor(d *Decision, n int, u float64) time.Duration {
	if asked := d.asked(); asked > 0 {
		return asked
	}
	s := &fallbackSchedule
	if b := d.Rule.spec.Backoff; b >= 0 {
		s = &c.schedules[b]
	}
	return s.delay(n, u, s.base(n-1))
}

// fallbackSchedule is how long a hold without a hint, a wait or a backoff lasts.
var fallbackSchedule = newSchedule(policy.Backoff{
	Initial: time.Second, Min: time.Second, Max: time.Minute, Multiplier: 2, Jitter: policy.JitterEqual, Attempts: 8,
})
