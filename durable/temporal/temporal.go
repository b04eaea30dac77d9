package recoursetemporal

import (
	"context"
	"errors"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/policy"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
)

// MaxInline is the longest wait that a call of an activity sits out inside the attempt.
const MaxInline = time.Second

// TypeDeferred is the type of the failure of an activity whose call was deferred. The types
// of other failures are labels.
const TypeDeferred = "deferred"

// The delays until the next attempt for errors that name no time. 0 would mean that of the
// RetryPolicy.
const (
	soon              = time.Millisecond
	canceledDelay     = time.Second
	unknownDelay      = time.Minute
	exhaustedDelay    = time.Hour
	misconfiguredWait = 5 * time.Minute
	longestDelay      = 365 * 24 * time.Hour
)

// State returns the State that an earlier attempt of the running activity has recorded; false
// = there is none, since this is the first attempt, or other code has recorded the details.
func State(ctx context.Context) (engine.State, bool) {
	if !activity.IsActivity(ctx) || !activity.HasHeartbeatDetails(ctx) {
		return engine.State{}, false
	}
	var s engine.State
	if err := activity.GetHeartbeatDetails(ctx, &s); err != nil {
		return engine.State{}, false
	}
	return s, true
}

// Call returns the Call to make the running activity's request with: it waits inline for
// MaxInline at most, records its State as heartbeat details before each attempt, and
// resumes with the State of the activity's attempt before. Fill in the provider, the account
// and what else is known. Outside of an activity, as in a test, it is a new call that
// records nothing.
func Call(ctx context.Context) engine.Call {
	c := engine.Call{MaxInline: MaxInline}
	if !activity.IsActivity(ctx) {
		return c
	}
	c.State, _ = State(ctx)
	c.Checkpoint = func(ctx context.Context, s engine.State) { activity.RecordHeartbeat(ctx, s) }
	return c
}

// Finish records the State in err as heartbeat details, for the next attempt, and
// returns Error(err), for the activity to return.
func Finish(ctx context.Context, err error) error {
	if activity.IsActivity(ctx) {
		if s, ok := next(err); ok {
			activity.RecordHeartbeat(ctx, s)
		}
	}
	return Error(err)
}

// next returns the State with which the next attempt begins; false = err has none.
func next(err error) (engine.State, bool) {
	var later *engine.DeferError
	var gaveUp *engine.GiveUpError
	switch {
	case errors.As(err, &later):
		return later.State, true
	case errors.As(err, &gaveUp) && gaveUp.Decision.As == engine.AsExhausted:
		return engine.State{}, true
	case errors.As(err, &gaveUp):
		return gaveUp.Decision.State, true
	}
	return engine.State{}, false
}

// Stopped is for an activity whose errors come from an SDK above engine.Transport. It returns
// a *engine.DeferError or *engine.GiveUpError around err if result says that the call ended
// in that way, else err. result is what Call.Outcome points to.
func Stopped(err error, result engine.Result) error {
	d := result.Decision
	switch {
	case err == nil:
		return nil
	case d.Defer:
		return &engine.DeferError{Until: result.Until, State: d.State, Decision: d, Event: result.Event, Err: err}
	case d.Action == policy.Fail && d.As != "":
		return &engine.GiveUpError{Decision: d, Attempts: result.Attempts, Until: result.Until, Event: result.Event, Err: err}
	}
	return err
}

// Error returns the error for an activity to return. If err has a *engine.DeferError or
// *engine.GiveUpError in it, that is a *temporal.ApplicationError as the package's table
// says, else err itself. Temporal stores the error's texts, so its cause has only the text
// of the engine's error, which shows no secrets. Its details are the State, for workflows
// that pass it to another activity.
func Error(err error) error { return errorAt(err, time.Now()) }

func errorAt(err error, now time.Time) error {
	var later *engine.DeferError
	if errors.As(err, &later) {
		return failure(err, later.Error(), TypeDeferred, later.State, temporal.ApplicationErrorOptions{
			NextRetryDelay: delay(later.Until, now), Category: temporal.ApplicationErrorCategoryBenign,
		})
	}
	var gaveUp *engine.GiveUpError
	if !errors.As(err, &gaveUp) {
		return err
	}
	var o temporal.ApplicationErrorOptions
	switch as := gaveUp.Decision.As; as {
	case engine.AsUnavailable, engine.AsBudget, engine.AsDeadline:
		until := gaveUp.Until
		if until.IsZero() {
			until = now.Add(unknownDelay)
		}
		o.NextRetryDelay, o.Category = delay(until, now), temporal.ApplicationErrorCategoryBenign
	case engine.AsExhausted:
		o.NextRetryDelay = exhaustedDelay
	case engine.AsMisconfigured:
		o.NextRetryDelay = misconfiguredWait
	case engine.AsCanceled:
		o.NextRetryDelay = canceledDelay // unless the activity was cancelled: Temporal sees that in the cause
	default:
		o.NonRetryable = true
	}
	return failure(err, gaveUp.Error(), gaveUp.Decision.As, gaveUp.Decision.State, o)
}

func failure(err error, text, label string, s engine.State, o temporal.ApplicationErrorOptions) error {
	o.Cause, o.Details = &cause{err, text}, []any{s}
	return temporal.NewApplicationErrorWithOptions(label, label, o)
}

// cause is an error whose text Temporal stores. Package errors can look into it; Temporal,
// which uses Unwrap, cannot.
type cause struct {
	err  error
	text string
}

func (c *cause) Error() string        { return c.text }
func (c *cause) Is(target error) bool { return errors.Is(c.err, target) }
func (c *cause) As(target any) bool   { return errors.As(c.err, target) }

// delay returns the time from now to until, rounded up to milliseconds, which is Temporal's
// unit. It is never 0, which would mean the delay of the RetryPolicy.
func delay(until, now time.Time) time.Duration {
	d := min(max(until.Sub(now), soon), longestDelay)
	return (d + time.Millisecond - 1).Truncate(time.Millisecond)
}
