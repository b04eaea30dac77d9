package decision

import (
	"time"

	"github.com/recourse-go/recourse/internal/jitter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// HoldFor returns how long a decision closes a limit whose key was refused n times in a
// row. u, in [0,1), is the random number for jitter.
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

// FixedHold returns how long a decision closes a limit if that does not depend on the
// number of the key's refusals: as long as the rule says or the server asked for, whichever
// is longer. 0 = it depends on that number. now is the time; zero = unknown.
func FixedHold(d *Decision, h *policy.Hold, now time.Time, u float64) time.Duration {
	asked := min(d.Hint, MaxAsked)
	switch {
	case h.For > 0:
		return max(asked, h.For)
	case !h.Until.IsZero():
		rest := 24 * time.Hour // without the time, long enough in any case
		if !now.IsZero() {
			rest = h.Until.Next(now).Sub(now)
		}
		return max(asked, rest+time.Duration(u*float64(untilSpread)))
	}
	return d.asked()
}

// untilSpread is how long after a given time of day a limit opens at the latest. The exact
// moment is random, so that not all accounts of a provider come back at once.
const untilSpread = 5 * time.Minute

// Hold is a limit that a decision closes, and for how long.
type Hold struct {
	Limit string // the limit's name
	For   time.Duration
}

// Holds returns the limits that the decision about e closes for the call's keys. u, in
// [0,1), is the random number for jitter. A hold that grows with a key's refusals is as long
// as after the first refusal. Do and Transport close these limits by themselves; a program
// that calls Decide must do it.
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

// fallbackSchedule says how long a hold lasts if there is neither a hint nor a wait or a
// backoff of the rule.
var fallbackSchedule = newSchedule(policy.Backoff{
	Initial: time.Second, Min: time.Second, Max: time.Minute, Multiplier: 2, Jitter: jitter.Equal, Attempts: 8,
})
