package engine

import (
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/rules"
)

// The values of Decision.As that the engine itself gives. A policy may say
// permanent, needs_user, resync, ambiguous and labels of its own; the others
// are the engine's alone, and package policy refuses them in `as:`.
const (
	AsPermanent = decision.AsPermanent // a repeat cannot help
	AsNeedsUser = decision.AsNeedsUser // only the user (or an administrator) can help
	AsResync    = decision.AsResync    // the sync state is lost: start a full sync
	AsAmbiguous = decision.AsAmbiguous // it may have happened; a repeat could do it twice
	AsExhausted = decision.AsExhausted // the attempts, the time or the waits are used up
	AsBudget    = decision.AsBudget    // too many calls are retrying already
	AsDeadline  = decision.AsDeadline  // the wait does not fit before the caller's deadline
	AsCanceled  = decision.AsCanceled  // the caller gave up

	AsUnavailable   = decision.AsUnavailable   // the circuit breaker is open: nothing was sent
	AsMisconfigured = decision.AsMisconfigured // not the call is wrong but how the engine is set up
)

// Decision is what to do after one attempt, and why. It is a plain value; see
// [decision.Decision] for its fields.
type Decision = decision.Decision

// Rule names the rule that a Decision goes by; see [decision.Rule].
type Rule = decision.Rule

// Reason says how a rule's action became a decision.
type Reason = decision.Reason

// Hold is a limit that a decision closes, and for how long.
type Hold = decision.Hold

// State is what one call has used up so far: attempts by backoff, waits,
// re-authentications, time. It is a small value without pointers; Decide takes
// one and returns the next. The zero value is a call that has not failed yet.
//
// It marshals to JSON of less than 210 bytes, whatever it holds, so a job row
// can carry it from one process to another: a deferred call that resumes with
// its State goes on where it stopped instead of starting to count anew. In JSON
// times count in milliseconds and up to a year, attempts and waits up to 65,535. See [decision.State] for its fields.
type State = decision.State

// Decide says what to do after an attempt. It is pure: s is the call's state
// before the attempt ended, e what happened, u in [0,1) the chance that jitter
// uses, which is clamped to that. It reads no clock, sleeps for nothing,
// allocates nothing, and may be called by any number of goroutines at once.
//
// e.Attempt 0 means s.Attempts+1; e.Elapsed is the time spent trying so far,
// this attempt included. A fresh State with e.Attempt > 1 counts the attempts
// before as failures of whichever backoff the matched rule names.
func (p *Provider) Decide(s State, e *rules.Event, u float64) (d Decision) {
	d.State = s
	c := p.current().decision
	c.Apply(&d, c.Rule(e), e, decision.Clamp(u))
	return d
}
