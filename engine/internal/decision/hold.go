package decision

import (
	"time"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// HoldFor is how long a decision closes a limit whose key was refused n times
// in a row.
func (p *Policy) HoldFor(d *Decision, h *policy.Hold, now time.Time, n int, u float64) time.Duration {
	if fixed := FixedHold(d, h, now, u); fixed > 0 {
		return fixed
	}
	s := &fallbackSchedule
	if b := d.Rule.spec.Backoff; b >= 0 {
		s = &p.schedules[b]
	}
	return s.Delay(n, u, s.base(n-1))
}

// FixedHold is how long a decision closes a limit where that does not depend on
// the key's refusals: for as long as the rule says or the server asked, whichever
// is longer; 0 = it depends on them.
func FixedHold(d *Decision, h *policy.Hold, now time.Time, u float64) time.Duration {
	asked := min(d.Hint, MaxAsked)
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
	p := d.Rule.by
	if p == nil {
		return nil // the engine's own rules close nothing
	}
	u = Clamp(u)
	var holds []Hold
	for i := range d.Rule.spec.Hold {
		h := &d.Rule.spec.Hold[i]
		holds = append(holds, Hold{p.policy.Limits[h.Limit].Name, p.HoldFor(d, h, e.Now, 1, u)})
	}
	return holds
}

// fallbackSchedule is how long a hold without a hint, a wait or a backoff lasts.
var fallbackSchedule = newSchedule(policy.Backoff{
	Initial: time.Second, Min: time.Second, Max: time.Minute, Multiplier: 2, Jitter: policy.JitterEqual, Attempts: 8,
})
