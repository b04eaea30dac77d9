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

// labelDeferred is the label, in a job's status, of a call that was deferred.
const labelDeferred = "deferred"

// stop is why a call ended without success.
type stop struct {
	label string
	rule  string
	until time.Time // when to come back; zero = not known
	state engine.State
	err   error  // what the job's function returned
	text  string // the text of the engine's error, which shows no secrets
}

// stopOf returns what stopped a job whose function returned err. outcome is the result that
// Transport has set; nil = none. ok is false if no decision of the engine stopped the job.
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

// situation is what a verdict depends on besides the stop.
type situation struct {
	now, began time.Time
	rounds     int     // of the call, so far
	asked      int     // likewise
	ended      error   // why the job's context has ended; nil = it has not
	chance     float64 // in [0,1)
	o          *Options
}

// verdict is what to do with a job.
type verdict struct {
	kind   kind
	wait   time.Duration // of snooze
	err    error         // of passOn and cancel
	fresh  bool          // the call resumes with a new State
	rounds int           // the call's new CallStatus.Rounds
	asked  int           // the call's new CallStatus.Asked
}

type kind uint8

const (
	passOn kind = iota // return err to River
	snooze
	cancel
	own // run the job's own function for the label: see Options.On
)

// The waits of jobs whose error names no time.
const (
	firstRound        = time.Minute
	lastRound         = 6 * time.Hour
	misconfiguredWait = 5 * time.Minute
	unknownWait       = time.Minute // where an Until is missing
	closedWait        = time.Second // this process may fetch the job once more before it ends
	longestWait       = 365 * 24 * time.Hour
)

// round returns the wait of the n-th round, from 0. It doubles with each round, and has up to
// a tenth added, so that jobs that were stopped together do not come back together.
func round(n int, chance float64) time.Duration {
	d := lastRound
	if n < 9 { // 2^9 minutes are more
		d = min(firstRound<<n, lastRound)
	}
	return d + time.Duration(chance*float64(d/10))
}

// verdict returns what to do with the job.
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
			return v // a deploy: the job goes on at once, in any process
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
	// River panics at a negative snooze, and with SQLite it cuts off fractions of a millisecond.
	v.wait = min(max(until.Sub(at.now), 0), longestWait)
	v.wait = (v.wait + time.Millisecond - 1).Truncate(time.Millisecond)
	return v
}

// cancel returns the verdict that cancels the job. why is the bound that was reached.
func (s stop) cancel(why string) verdict {
	return verdict{kind: cancel, err: &CancelError{Label: s.label, Why: why, Err: s.err, text: s.text}}
}

// CancelError is the error of a job that was cancelled, in its list of errors.
type CancelError struct {
	Label string // see Status.Label
	Why   string // which bound was reached; "" = none: the label alone cancels the job
	Err   error  // what the job's function returned

	text string
}

// Error returns a text that begins with the label, for lists that show only the beginning.
// It has the text of the engine's error, which shows no secrets, and not that of Err.
func (e *CancelError) Error() string {
	text := e.Label
	if e.Why != "" {
		text += " " + e.Why
	}
	return "recourseriver: " + text + ": " + e.text
}

// Unwrap returns Err.
func (e *CancelError) Unwrap() error { return e.Err }
