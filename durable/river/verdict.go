package recourseriver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/policy"
	"github.com/riverqueue/river"
)

// labelDeferred is what a job's status calls a call that was handed back.
const labelDeferred = "deferred"

// stop is why a call ended that did not succeed.
type stop struct {
	label string
	rule  string
	until time.Time // when to come back; zero = not known
	state engine.State
	err   error  // fn's
	text  string // of the engine's error, which shows no secrets
}

// stopOf says what stopped a job whose function returned err. outcome is what Transport
// has told; nil = nothing. ok is false if nothing of the engine did.
func stopOf(err error, outcome *engine.Result) (s stop, ok bool) {
	var snoozed *river.JobSnoozeError
	var cancelled *river.JobCancelError
	if err == nil || errors.As(err, &snoozed) || errors.As(err, &cancelled) { // the job knows what it wants
		return stop{}, false
	}
	s.err = err
	var d *engine.Decision
	var later *engine.DeferError
	var gaveUp *engine.GiveUpError
	switch {
	case errors.As(err, &later):
		d, s.label, s.until, s.state, s.text = &later.Decision, labelDeferred, later.Until, later.State, later.Error()
	case errors.As(err, &gaveUp):
		d, s.label, s.until, s.state, s.text = &gaveUp.Decision, gaveUp.Decision.As, gaveUp.Until, gaveUp.Decision.State, gaveUp.Error()
	case outcome != nil && outcome.Decision.Defer:
		d, s.label = &outcome.Decision, labelDeferred
		later = &engine.DeferError{Until: outcome.Until, Decision: *d, Event: outcome.Event, Err: err}
		s.until, s.state, s.text = outcome.Until, d.State, later.Error()
	case outcome != nil && outcome.Decision.Action == policy.Fail && outcome.Decision.As != "":
		d, s.label = &outcome.Decision, outcome.Decision.As
		gaveUp = &engine.GiveUpError{Decision: *d, Attempts: outcome.Attempts, Event: outcome.Event, Err: err}
		s.until, s.state, s.text = outcome.Until, d.State, gaveUp.Error()
	default:
		return stop{}, false
	}
	if d.Rule != nil {
		s.rule = d.Rule.Name
	}
	return s, true
}

// situation is what a verdict depends on beside the stop.
type situation struct {
	now, began time.Time
	rounds     int     // of the call, so far
	asked      int     // likewise
	ended      error   // why the job's context has ended; nil = it has not
	chance     float64 // in [0,1)
	o          *Options
}

// verdict is what becomes of a job.
type verdict struct {
	kind   kind
	wait   time.Duration // snooze
	err    error         // passOn, cancel
	fresh  bool          // the call resumes with a fresh State
	rounds int           // of the call, from now on
	asked  int           // likewise
}

type kind uint8

const (
	passOn kind = iota // err is River's business
	snooze
	cancel
	own // the job's own function says
)

// The waits that no error names.
const (
	firstRound        = time.Minute
	lastRound         = 6 * time.Hour
	misconfiguredWait = 5 * time.Minute
	unknownWait       = time.Minute // where an Until is missing
	closedWait        = time.Second // this process may fetch the job once more before it ends
	longestWait       = 365 * 24 * time.Hour
)

// round is the wait of the n-th round, from 0: doubled each time, and up to a tenth more,
// so that jobs which were stopped together do not come back together.
func round(n int, chance float64) time.Duration {
	d := lastRound
	if n < 9 { // 2^9 minutes are more
		d = min(firstRound<<n, lastRound)
	}
	return d + time.Duration(chance*float64(d/10))
}

// verdict says what becomes of the job.
func (s stop) verdict(at situation) verdict {
	v := verdict{kind: snooze, rounds: at.rounds}
	if at.o.On[s.label] != nil {
		if at.rounds >= at.o.MaxRounds {
			return s.cancel(fmt.Sprintf("after %d rounds", at.rounds))
		}
		return verdict{kind: own, fresh: true, rounds: at.rounds + 1}
	}
	until := s.until
	switch s.label {
	case labelDeferred:
	case engine.AsUnavailable, engine.AsBudget, engine.AsDeadline:
		if until.IsZero() {
			until = at.now.Add(unknownWait)
		}
	case engine.AsCanceled:
		switch {
		case errors.Is(s.err, engine.ErrClosed): // a deploy that has closed the engine first
			v.wait = closedWait
			return v
		case at.ended == nil, errors.Is(at.ended, river.ErrJobCancelledRemotely):
			// A job that was cancelled through River is River's business, and so is a
			// call whose own caller gave it up.
			return verdict{kind: passOn, err: s.err}
		case !errors.Is(at.ended, context.DeadlineExceeded):
			return v // a deploy: at once, by whoever is there
		}
		until = at.now
	case engine.AsMisconfigured:
		until = at.now.Add(misconfiguredWait)
	case engine.AsExhausted:
		if at.rounds >= at.o.MaxRounds {
			return s.cancel(fmt.Sprintf("after %d rounds", at.rounds))
		}
		v.fresh, v.rounds = true, at.rounds+1
		until = at.now.Add(round(at.rounds, at.chance))
	case engine.AsNeedsUser:
		v.fresh, v.asked = true, at.asked+1
		until = at.now.Add(round(at.asked, at.chance))
	default: // permanent, ambiguous, resync, and the policy's own
		return s.cancel("")
	}
	if age := at.now.Sub(at.began); age >= at.o.MaxAge {
		return s.cancel(fmt.Sprintf("after %v", age.Round(time.Second)))
	}
	// River panics at a negative snooze, and its SQLite cuts milliseconds off.
	v.wait = min(max(until.Sub(at.now), 0), longestWait)
	v.wait = (v.wait + time.Millisecond - 1).Truncate(time.Millisecond)
	return v
}

// cancel ends the job.
func (s stop) cancel(why string) verdict {
	return verdict{kind: cancel, err: &CancelError{Label: s.label, Why: why, Err: s.err, text: s.text}}
}

// CancelError is the error of a job that was cancelled, in its list of errors.
type CancelError struct {
	Label string // see Status.Label
	Why   string // which bound it was that ended it; "" = none: the label alone
	Err   error  // what the job's function returned

	text string
}

// Error names the label first, for lists that show the beginning only. It has the text
// of the engine's error, which shows no secrets, and not that of Err.
func (e *CancelError) Error() string {
	text := e.Label
	if e.Why != "" {
		text += " " + e.Why
	}
	return "recourseriver: " + text + ": " + e.text
}

// Unwrap is what the job's function returned.
func (e *CancelError) Unwrap() error { return e.Err }
