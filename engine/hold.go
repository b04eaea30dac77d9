package engine

import (
	"context"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine/internal/redact"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// hold closes the limits that the rule names for this call's keys: for as long
// as the server asked or the rule fixes, else by the schedule of the key's own
// consecutive refusals, which many calls may have shared. Then the attempt gives back
// what it still holds.
func (r *run) hold(ctx context.Context, now time.Time) {
	d := r.decision
	defer r.attempts.release(r.event, r.permit)
	if len(d.Rule.spec.Hold) == 0 {
		if d.Action == policy.Accept {
			r.permit.Succeeded()
		}
		return
	}
	keys := r.call.Keys
	for i := range d.Rule.spec.Hold {
		deciding, chance := r.deciding, r.p.engine.o.Rand() // r must not be in the closure, or it would be allocated
		hold, length := &d.Rule.spec.Hold[i], time.Duration(0)
		l := &deciding.policy.Limits[hold.Limit]
		if len(deciding.factKeys) > 0 && l.Missing(r.call.Facts) != "" {
			continue // it does not count this call
		}
		limit := l.Name
		refusal := limiter.Refusal{Sent: r.start(), Cause: r.holdCause(now), Hold: func(refusals int) time.Duration {
			length = deciding.holdFor(d, hold, now, refusals, chance)
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
func (c *compiled) holdFor(d *Decision, h *policy.Hold, now time.Time, n int, u float64) time.Duration {
	if fixed := d.holdFixed(h, now, u); fixed > 0 {
		return fixed
	}
	s := &fallbackSchedule
	if b := d.Rule.spec.Backoff; b >= 0 {
		s = &c.schedules[b]
	}
	return s.delay(n, u, s.base(n-1))
}

// holdFixed is how long a decision closes a limit where that does not depend on
// the key's refusals: for as long as the rule says or the server asked, whichever
// is longer; 0 = it depends on them.
func (d *Decision) holdFixed(h *policy.Hold, now time.Time, u float64) time.Duration {
	asked := min(d.Hint, maxAsked)
	switch {
	case h.For > 0:
		return max(asked, h.For)
	case !h.Until.IsZero():
		rest := 24 * time.Hour // enough, whatever the time is
		if !now.IsZero() {
			rest = h.Until.Next(now).Sub(now)
		}
		return max(asked, rest+time.Duration(u*float64(untilSpread)))
	}
	return d.asked()
}

// untilSpread is how long after a time of day limits open, by chance: the
// accounts of a provider whose day ends at one time must not all come back then.
const untilSpread = 5 * time.Minute

// Hold is a limit that a decision closes, and for how long.
type Hold struct {
	Limit string
	For   time.Duration
}

// Holds are the limits that the decision about e closes for the call's keys, by the
// chance u in [0,1). What goes by the schedule of a key's refusals is as long as at
// the first of them. Do and Transport close them; who calls Decide does that himself.
func (d *Decision) Holds(e *rules.Event, u float64) []Hold {
	c := d.Rule.by
	if c == nil {
		return nil // the engine's own rules close nothing
	}
	u = clampChance(u)
	var holds []Hold
	for i := range d.Rule.spec.Hold {
		h := &d.Rule.spec.Hold[i]
		holds = append(holds, Hold{c.policy.Limits[h.Limit].Name, c.holdFor(d, h, e.Now, 1, u)})
	}
	return holds
}

// fallbackSchedule is how long a hold without a hint, a wait or a backoff lasts.
var fallbackSchedule = newSchedule(policy.Backoff{
	Initial: time.Second, Min: time.Second, Max: time.Minute, Multiplier: 2, Jitter: policy.JitterEqual, Attempts: 8,
})
