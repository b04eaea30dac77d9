package recourseriver

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// MaxInline is the longest wait that a call of a job sits out inside the run. Snoozing a
// job and fetching it again takes about that long, and a longer wait would be lost with
// the process.
const MaxInline = time.Second

// Options say what to do with a job that was stopped. The zero value is usable.
type Options struct {
	// On has, by label, a function that is called when a call is given up with that label,
	// instead of what the package would do: for "resync" it may drop the sync state, for
	// "gone" remove the message here too. Its result is the run's result: nil completes the
	// job, river.JobSnooze(0) starts it again. For one call, such functions run at most
	// MaxRounds times in a row.
	On map[string]func(context.Context) error
	// MaxRounds is how often all attempts of one call may be used up before the job is
	// cancelled; 0 = 10.
	MaxRounds int
	// MaxAge is how long after its first run a job may be snoozed; 0 = 7 days.
	MaxAge time.Duration
	// Logger logs jobs that are misconfigured; nil = slog.Default().
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.MaxRounds <= 0 {
		o.MaxRounds = 10
	}
	if o.MaxAge <= 0 {
		o.MaxAge = 7 * 24 * time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Work runs fn as the work of a job, and returns what the worker must return to River: see
// the package's table. fn makes the job's calls with the result of Call. Work looks for a
// *engine.GiveUpError or *engine.DeferError in the error of fn. If there is none, since an
// SDK above engine.Transport made the error, the outcome of the latest Call decides. Errors
// of River, such as that of river.JobSnooze, go to River as they are. Only the first of
// options is read.
func Work[T river.JobArgs](ctx context.Context, job *river.Job[T], fn func(context.Context) error, options ...Options) error {
	var o Options
	if len(options) > 0 {
		o = options[0]
	}
	return work(ctx, job.JobRow, o, fn)
}

// Middleware does what Work does for all workers of a client, or of one that returns it
// from its method Middleware.
func Middleware(o Options) rivertype.WorkerMiddleware { return &middleware{o: o} }

type middleware struct {
	river.MiddlewareDefaults
	o Options
}

func (m *middleware) Work(ctx context.Context, row *rivertype.JobRow, doInner func(context.Context) error) error {
	return work(ctx, row, m.o, doInner)
}

// run is one run of a job.
type run struct {
	row *rivertype.JobRow
	o   Options

	mu      sync.Mutex
	status  Status
	value   json.RawMessage
	of      string         // the name of the latest Call
	outcome *engine.Result // where Transport tells the latest Call how it ended
	failed  error          // why a State could not be saved
	end     context.CancelCauseFunc
	aside   bool // a run inside this one handles the job
}

type runKey struct{}

// Call returns the Call to make a request of the running job with: it waits inline for
// MaxInline at most, saves its State before each attempt, and resumes with the State that
// the job carries. Fill in the provider, the account and what else is known, and use it
// with Engine.Do, or with Transport by engine.WithCall. It is good for one request.
//
// of names what the call is about, such as a message's id, so that a State comes back to
// the same call, and not to another one of the job. It may be "" if the job makes one
// call only. A job should not make calls concurrently: make these jobs of their own.
//
// Outside of Work, as in a test of a worker, it is a new call that saves nothing.
func Call(ctx context.Context, of string) engine.Call {
	c := engine.Call{MaxInline: MaxInline}
	r, _ := ctx.Value(runKey{}).(*run)
	if r == nil {
		return c
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of, r.outcome = of, new(engine.Result)
	c.Outcome = r.outcome
	for _, kept := range []CallStatus{r.status.Running, r.status.Stopped} {
		if kept.Of == of && kept.State != nil {
			c.State = *kept.State
			break
		}
	}
	c.Checkpoint = func(ctx context.Context, s engine.State) { r.checkpoint(ctx, of, s) }
	return c
}

// checkpoint saves a call's State. If that fails it ends the run's context, so that no
// attempt is made without a saved State.
func (r *run) checkpoint(ctx context.Context, of string, s engine.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.Stopped.Of == of {
		r.status.Stopped.State, r.status.Running = &s, CallStatus{}
	} else {
		r.status.Running = CallStatus{Of: of, State: &s}
	}
	if err := save(ctx, r.row.ID, r.outputLocked()); err != nil && ctx.Err() == nil {
		r.failed = err
		r.end(err)
	}
}

func (r *run) outputLocked() output {
	status := r.status
	return output{Recourse: &status, Value: r.value}
}

// work runs a job.
func work(ctx context.Context, row *rivertype.JobRow, o Options, fn func(context.Context) error) error {
	kept, err := readOutput(row)
	if err != nil {
		return err
	}
	if around, _ := ctx.Value(runKey{}).(*run); around != nil {
		around.stepAside()
	}
	r := &run{row: row, o: o.withDefaults(), value: kept.Value}
	if kept.Recourse != nil {
		r.status = *kept.Recourse
	}
	if r.status.Began.IsZero() {
		r.status.Began = time.Now()
	}
	inner, end := context.WithCancelCause(context.WithValue(ctx, runKey{}, r))
	defer end(nil)
	r.end = end
	label, err := r.finish(ctx, fn(inner))
	if label != "" {
		own := r.o.On[label]
		r.o.On = nil // what stops the function itself is decided by the table alone
		_, err = r.finish(ctx, own(inner))
	}
	return err
}

// stepAside leaves the job to a run inside this one, such as that of a worker that uses
// Work below the middleware.
func (r *run) stepAside() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.aside = true
}

// finish returns what to return to River for fn's error, and records what stopped the job.
// If it returns a label, the caller must run the job's own function for that first.
func (r *run) finish(ctx context.Context, err error) (label string, told error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.aside {
		return "", err
	}
	v := verdict{kind: passOn, err: err}
	stop, stopped := stopOf(err, r.outcome)
	switch {
	case r.failed != nil:
		v.err = errors.Join(err, r.failed)
	case stopped:
		if r.status.Stopped.Of != r.of {
			r.status.Stopped = CallStatus{Of: r.of}
		}
		v = stop.verdict(situation{
			now: time.Now(), began: r.status.Began, rounds: r.status.Stopped.Rounds, asked: r.status.Stopped.Asked,
			ended: context.Cause(ctx), chance: rand.Float64(), o: &r.o,
		})
	}
	if v.kind != passOn {
		r.note(stop, v)
	}
	switch v.kind {
	case own:
		r.outcome = nil // it is dealt with
		return stop.label, nil
	case snooze:
		if stop.label == engine.AsMisconfigured {
			r.o.Logger.ErrorContext(ctx, "recourseriver: a job is misconfigured", "job", r.row.ID, "kind", r.row.Kind, "error", stop.text)
		}
		v.err = river.JobSnooze(v.wait)
	case cancel:
		v.err = river.JobCancel(v.err)
	}
	if v.err == nil {
		r.status = Status{Began: r.status.Began}
	}
	if failed := river.RecordOutput(ctx, r.outputLocked()); failed != nil {
		return "", errors.Join(v.err, failed)
	}
	return "", v.err
}

// note records what stopped the job.
func (r *run) note(s stop, v verdict) {
	r.status.Label, r.status.Rule, r.status.Error = s.label, s.rule, s.text
	r.status.Until = time.Time{}
	if v.kind == snooze {
		r.status.Until = time.Now().Add(v.wait)
	}
	r.status.Running = CallStatus{}
	r.status.Stopped.Rounds, r.status.Stopped.Asked = v.rounds, v.asked
	r.status.Stopped.State = nil
	if !v.fresh {
		state := s.state
		r.status.Stopped.State = &state
	}
}
