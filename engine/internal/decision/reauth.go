package decision

import (
	"time"

	"github.com/recourse-go/recourse/policy"
)

// LeaveToCredentials undoes the decision needs_user that Decide makes when the credentials
// are refused a second time, so that d is reauth again. It reports whether d was such a
// decision. Decide does not know the state of the credentials; a caller that does decides by
// that instead.
func LeaveToCredentials(d *Decision) bool {
	if d.Reason != ReasonReauthed {
		return false
	}
	d.Action, d.As, d.Reason = policy.Reauth, "", ReasonRule
	d.State.reauths++
	return true
}

// NotReauthed uncounts a re-authentication that was decided but not made.
func NotReauthed(s *State) { s.reauths-- }

// ForgetReauths allows the call another re-authentication.
func ForgetReauths(s *State) { s.reauths = 0 }

// WaitToReauth makes d a wait of at least delay, after which the credentials can be
// refreshed. If the call has then waited too often or too long, it is given up instead.
func (p *Policy) WaitToReauth(d *Decision, delay time.Duration, u float64, why Reason) {
	d.Action, d.askedFor, d.Reason = policy.Wait, true, why
	d.MinDelay, d.Delay = delay, delay+lengthening(delay, u)
	NotReauthed(&d.State)
	p.wait(d, delay)
}
