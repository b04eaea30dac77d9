package recoursetemporal_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	recoursetemporal "github.com/recourse-go/recourse/durable/temporal"
	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/policy"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"
)

func gaveUp(as string, until time.Time) error {
	d := engine.Decision{Action: policy.Fail, As: as, State: engine.State{Attempts: 3}}
	return &engine.GiveUpError{Decision: d, Until: until, Err: errors.New("secret of the SDK's")}
}

// TestError holds what becomes of an activity, for every label.
func TestError(t *testing.T) {
	later := time.Now().Add(20 * time.Minute)
	deferred := &engine.DeferError{Until: later, State: engine.State{Attempts: 3}, Decision: engine.Decision{Defer: true}, Err: errors.New("secret of the SDK's")}
	plain := errors.New("a database")
	tests := []struct {
		name  string
		err   error
		label string // "" = the error itself
		delay time.Duration
		final bool
		calm  bool
	}{
		{name: "success"},
		{name: "another error", err: plain},
		{name: "a deferral", err: deferred, label: recoursetemporal.TypeDeferred, delay: 20 * time.Minute, calm: true},
		{name: "one inside another error", err: fmt.Errorf("secret: %w", deferred), label: recoursetemporal.TypeDeferred, delay: 20 * time.Minute, calm: true},
		{name: "one until a time that is past", err: &engine.DeferError{Until: later.Add(-time.Hour)}, label: recoursetemporal.TypeDeferred, delay: time.Millisecond, calm: true},
		{name: "one for centuries", err: &engine.DeferError{Until: later.AddDate(500, 0, 0)}, label: recoursetemporal.TypeDeferred, delay: 365 * 24 * time.Hour, calm: true},
		{name: "unavailable", err: gaveUp(engine.AsUnavailable, later), label: "unavailable", delay: 20 * time.Minute, calm: true},
		{name: "unavailable, until nobody knows when", err: gaveUp(engine.AsUnavailable, time.Time{}), label: "unavailable", delay: time.Minute, calm: true},
		{name: "budget", err: gaveUp(engine.AsBudget, later), label: "budget", delay: 20 * time.Minute, calm: true},
		{name: "deadline", err: gaveUp(engine.AsDeadline, later), label: "deadline", delay: 20 * time.Minute, calm: true},
		{name: "exhausted", err: gaveUp(engine.AsExhausted, time.Time{}), label: "exhausted", delay: time.Hour},
		{name: "misconfigured", err: gaveUp(engine.AsMisconfigured, time.Time{}), label: "misconfigured", delay: 5 * time.Minute},
		{name: "canceled", err: gaveUp(engine.AsCanceled, time.Time{}), label: "canceled", delay: time.Second},
		{name: "permanent", err: gaveUp(engine.AsPermanent, time.Time{}), label: "permanent", final: true},
		{name: "ambiguous", err: gaveUp(engine.AsAmbiguous, time.Time{}), label: "ambiguous", final: true},
		{name: "needs_user", err: gaveUp(engine.AsNeedsUser, time.Time{}), label: "needs_user", final: true},
		{name: "resync", err: gaveUp(engine.AsResync, time.Time{}), label: "resync", final: true},
		{name: "a label of the policy's own", err: gaveUp("operator", time.Time{}), label: "operator", final: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := recoursetemporal.Error(tt.err)
			var got *temporal.ApplicationError
			if tt.label == "" {
				if err != tt.err {
					t.Errorf("got %v, want it as it was", err)
				}
				return
			}
			if !errors.As(err, &got) {
				t.Fatalf("got %T, want an ApplicationError", err)
			}
			calm := got.Category() == temporal.ApplicationErrorCategoryBenign
			early, late := tt.delay-time.Minute, tt.delay
			if got.Type() != tt.label || got.NextRetryDelay() < early || got.NextRetryDelay() > late || got.NonRetryable() != tt.final || calm != tt.calm {
				t.Errorf("got %s, delay %v, final %v, benign %v; want %s, %v, %v, %v",
					got.Type(), got.NextRetryDelay(), got.NonRetryable(), calm, tt.label, tt.delay, tt.final, tt.calm)
			}
			if tt.delay > 0 && got.NextRetryDelay() <= 0 {
				t.Errorf("delay %v: the RetryPolicy's own", got.NextRetryDelay())
			}
			if !errors.Is(err, tt.err) {
				t.Errorf("%v does not find what it is made of", err)
			}
			if tt.label == engine.AsCanceled && !errors.Is(err, context.Canceled) {
				t.Error("Temporal does not see a cancelled activity")
			}
			stored := temporal.GetDefaultFailureConverter().ErrorToFailure(err).String()
			if strings.Contains(stored, "secret") {
				t.Errorf("Temporal stores %s", stored)
			}
		})
	}
}

// TestStopped holds that an SDK's error is told apart by what Transport has decided.
func TestStopped(t *testing.T) {
	sdk := errors.New("the SDK's own")
	tests := []struct {
		name   string
		err    error
		result engine.Result
		want   string
	}{
		{"success", nil, engine.Result{Decision: engine.Decision{Action: policy.Fail, As: "gone"}}, "<nil>"},
		{"an error that is not a call's", sdk, engine.Result{}, "*errors.errorString"},
		{"after a success", sdk, engine.Result{Decision: engine.Decision{Action: policy.Accept}}, "*errors.errorString"},
		{"a deferral", sdk, engine.Result{Decision: engine.Decision{Action: policy.Wait, Defer: true}}, "*engine.DeferError"},
		{"a give-up", sdk, engine.Result{Decision: engine.Decision{Action: policy.Fail, As: "gone"}}, "*engine.GiveUpError"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := recoursetemporal.Stopped(tt.err, tt.result)
			if got := fmt.Sprintf("%T", err); got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %s (%v), want %s around %v", got, err, tt.want, tt.err)
			}
		})
	}
}

// refusedFirst is an engine's transport to a provider that refuses the credentials of the
// first n requests.
func refusedFirst(n int) http.RoundTripper {
	script := &enginetest.Script{}
	for range n {
		script.Add(enginetest.Reply{Status: 401, Body: `{"error":{"code":401,"errors":[{"reason":"authError"}]}}`})
	}
	eng, err := engine.New(engine.Options{})
	if err != nil {
		panic(err)
	}
	return eng.Transport(script)
}

// quiet is a suite that logs nothing.
func quiet() *testsuite.WorkflowTestSuite {
	suite := &testsuite.WorkflowTestSuite{}
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	return suite
}

// attempt is what an activity saw.
type attempt struct {
	at    time.Time // of Temporal's clock, which skips
	state engine.State
	has   bool
}

// TestWorkflow holds that an activity waits for as long as its provider says, in Temporal's
// skipped time, that no attempts are counted for it, and that the State goes along.
func TestWorkflow(t *testing.T) {
	script := &enginetest.Script{}
	script.Add(
		enginetest.Reply{Status: 429, Header: "Retry-After: 1200", Body: `{"error":{"code":429}}`},
		enginetest.Reply{Status: 429, Header: "Retry-After: 3600", Body: `{"error":{"code":429}}`},
		enginetest.Reply{Status: 400, Body: `{"error":{"code":400}}`},
	)
	env := quiet().NewTestWorkflowEnvironment()
	var attempts []attempt
	request := func(ctx context.Context, mailbox string) error {
		s, has := recoursetemporal.State(ctx)
		attempts = append(attempts, attempt{env.Now(), s, has})
		eng, err := engine.New(engine.Options{}) // as if each attempt were made by another process
		if err != nil {
			return err
		}
		defer eng.Close()
		c := recoursetemporal.Call(ctx)
		c.Provider, c.Account, c.Method = "gmail", mailbox, http.MethodGet
		p, err := eng.Provider(c.Provider)
		if err != nil {
			return err
		}
		err = p.Do(ctx, c, func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://gmail.googleapis.com/gmail/v1/users/me/messages", nil)
			if err != nil {
				return err
			}
			resp, err := script.RoundTrip(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			return p.CheckResponse(ctx, resp)
		})
		return recoursetemporal.Finish(ctx, err)
	}
	env.RegisterActivityWithOptions(request, activity.RegisterOptions{Name: "request"})
	env.ExecuteWorkflow(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: 5 * time.Minute, ScheduleToCloseTimeout: 7 * 24 * time.Hour, HeartbeatTimeout: time.Minute,
			RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: time.Minute},
		})
		return workflow.ExecuteActivity(ctx, "request", "a@example.com").Get(ctx, nil)
	})
	var failed *temporal.ApplicationError
	if err := env.GetWorkflowError(); !errors.As(err, &failed) || failed.Type() != engine.AsPermanent || !failed.NonRetryable() {
		t.Fatalf("the workflow's error: got %v, want one of type %s", err, engine.AsPermanent)
	}
	var last engine.State
	if err := failed.Details(&last); err != nil || last.Attempts != 3 || last.Waits != 2 {
		t.Errorf("the failure's details: got %+v, %v; want three attempts and two waits", last, err)
	}
	if len(attempts) != 3 {
		t.Fatalf("attempts: got %d, want 3", len(attempts))
	}
	for i, wait := range []time.Duration{20 * time.Minute, time.Hour} {
		before, after := attempts[i], attempts[i+1]
		// Temporal's clock stood still while the activity's own waited.
		if got := after.at.Sub(before.at); got < wait-time.Second || got > wait+10*time.Minute {
			t.Errorf("wait %d: got %v, want %v", i+1, got, wait)
		}
		if !after.has || after.state.Attempts != i+1 || after.state.Waits != i+1 {
			t.Errorf("attempt %d: got %+v, %v; want %d attempts and waits", i+2, after.state, after.has, i+1)
		}
	}
	if attempts[0].has {
		t.Errorf("the first attempt has %+v", attempts[0].state)
	}
}

// TestState holds that the State of an attempt that was killed is used, and that details
// which are somebody else's are not.
func TestState(t *testing.T) {
	tests := []struct {
		name    string
		details any
		want    int
		has     bool
	}{
		{"a State", engine.State{Attempts: 3}, 3, true},
		{"none", nil, 0, false},
		{"somebody else's", "row 17", 0, false},
		{"a State of another version", map[string]int{"v": 99}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := quiet().NewTestActivityEnvironment()
			if tt.details != nil {
				env.SetHeartbeatDetails(tt.details)
			}
			var recorded []int
			env.SetOnActivityHeartbeatListener(func(_ *activity.Info, details converter.EncodedValues) {
				var s engine.State
				if err := details.Get(&s); err != nil {
					t.Error(err)
				}
				recorded = append(recorded, s.Attempts)
			})
			work := func(ctx context.Context) error {
				s, has := recoursetemporal.State(ctx)
				c := recoursetemporal.Call(ctx)
				if s.Attempts != tt.want || has != tt.has || c.State.Attempts != tt.want || c.MaxInline != recoursetemporal.MaxInline {
					t.Errorf("got %+v, %v, call %+v; want %d attempts, %v", s, has, c, tt.want, tt.has)
				}
				c.Checkpoint(ctx, engine.State{Attempts: tt.want + 1})
				return recoursetemporal.Finish(ctx, gaveUp(engine.AsExhausted, time.Time{}))
			}
			env.RegisterActivity(work)
			if _, err := env.ExecuteActivity(work); err == nil {
				t.Error("no error")
			}
			if len(recorded) == 0 || recorded[0] != tt.want+1 {
				t.Errorf("recorded attempts: got %v, want %d first", recorded, tt.want+1)
			}
		})
	}
}

// TestOutside holds that an activity's function can be tested without Temporal.
func TestOutside(t *testing.T) {
	if s, has := recoursetemporal.State(t.Context()); has {
		t.Errorf("got %+v", s)
	}
	if c := recoursetemporal.Call(t.Context()); c.Checkpoint != nil || c.MaxInline != recoursetemporal.MaxInline {
		t.Errorf("got %+v, want a new call", c)
	}
	if err := recoursetemporal.Finish(t.Context(), nil); err != nil {
		t.Errorf("got %v", err)
	}
}
