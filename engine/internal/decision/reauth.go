package decision

import (
	"time"

	"github.com/recourse-go/recourse/policy"
)

// LeaveToCredentials turns a second refusal of the credentials, which Decide has called
// needs_user, back into reauth, and reports whether it was one: Decide does not know the
// state of the credentials, and who calls it may.
func LeaveToCredentials(d *Decision) bool {
	if d.Reason != ReasonReauthed {
		return false
	}
	d.Action, d.As, d.Reason = policy.Reauth, "", ReasonRule
	d.State.reauths++
	return true
}

// NotReauthed takes a re-authentication back out of the count, since none was made.
func NotReauthed(s *State) { s.reauths-- }

// ForgetReauths lets the call re-authenticate anew.
func ForgetReauths(s *State) { s.reauths = 0 }

// WaitToReauth makes d a wait of at least delay, after which the credentials can be
// refreshed. It gives the call up instead where that has waited too often or too long.
func (p *Policy) WaitToReauth(d *Decision, delay time.Duration, u float64, why Reason) {
	d.Action, d.askedFor, d.Reason = policy.Wait, true, why
	d.MinDelay, d.Delay = delay, delay+jitter(delay, u)
	NotReauthed(&d.State)
	p.wait(d, delay)
}
