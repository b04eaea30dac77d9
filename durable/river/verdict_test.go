package recourseriver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/policy"
	"github.com/riverqueue/river"
)

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func gaveUp(as string, until time.Time) error {
	d := engine.Decision{Action: policy.Fail, As: as, Rule: &engine.Rule{Policy: "gmail", Name: "rule"}, State: engine.State{Attempts: 3}}
	return &engine.GiveUpError{Decision: d, Until: until, Err: errors.New("the SDK's own")}
}

func gaveUpFor(as string, cause error) error {
	d := engine.Decision{Action: policy.Fail, As: as, State: engine.State{Attempts: 3}}
	return &engine.GiveUpError{Decision: d, Cause: cause}
}

func deferred(until time.Time) error {
	return &engine.DeferError{Until: until, State: engine.State{Attempts: 3}, Decision: engine.Decision{Action: policy.Wait, Defer: true}}
}

// TestVerdict holds what becomes of a job, for every label.
func TestVerdict(t *testing.T) {
	plain := errors.New("a database")
	later := now.Add(20 * time.Minute)
	handled := func(context.Context) error { return nil }
	tests := []struct {
		name    string
		err     error
		outcome *engine.Result
		rounds  int
		asked   int
		age     time.Duration
		ended   error
		o       Options
		want    string
	}{
		{name: "success", err: nil, want: "nothing"},
		{name: "another error", err: plain, want: "nothing"},
		{name: "a deferral", err: deferred(later), want: "snooze 20m0s, attempts 3"},
		{name: "a deferral inside another error", err: fmt.Errorf("sync: %w", deferred(later)), want: "snooze 20m0s, attempts 3"},
		{name: "a deferral until a time that is past", err: deferred(now.Add(-time.Hour)), want: "snooze 0s, attempts 3"},
		{name: "a deferral is never cut short", err: deferred(now.Add(time.Second + 1)), want: "snooze 1.001s, attempts 3"},
		{name: "a deferral of an old job", err: deferred(later), age: 8 * 24 * time.Hour, want: "cancel: deferred after 192h0m0s"},
		{name: "a deferral of a job that may grow old", err: deferred(later), age: 8 * 24 * time.Hour, o: Options{MaxAge: 30 * 24 * time.Hour}, want: "snooze 20m0s, attempts 3"},
		{name: "Transport's deferral", err: plain, outcome: &engine.Result{Until: later, Decision: engine.Decision{Defer: true}}, want: "snooze 20m0s"},
		{name: "Transport's give-up", err: plain, outcome: &engine.Result{Decision: engine.Decision{Action: policy.Fail, As: "gone"}}, want: "cancel: gone"},
		{name: "Transport's success, then another error", err: plain, outcome: &engine.Result{Decision: engine.Decision{Action: policy.Accept}}, want: "nothing"},
		{name: "Transport's failure that the job has handled", err: nil, outcome: &engine.Result{Decision: engine.Decision{Action: policy.Fail, As: "gone"}}, want: "nothing"},

		{name: "the job's own snooze", err: river.JobSnooze(0), outcome: &engine.Result{Decision: engine.Decision{Action: policy.Fail, As: "ambiguous"}}, want: "nothing"},
		{name: "the job's own cancel", err: river.JobCancel(gaveUp(engine.AsExhausted, later)), want: "nothing"},

		{name: "permanent", err: gaveUp(engine.AsPermanent, time.Time{}), want: "cancel: permanent"},
		{name: "ambiguous", err: gaveUp(engine.AsAmbiguous, time.Time{}), want: "cancel: ambiguous"},
		{name: "resync without a function", err: gaveUp(engine.AsResync, time.Time{}), want: "cancel: resync"},
		{name: "resync with one", err: gaveUp(engine.AsResync, time.Time{}), o: Options{On: map[string]func(context.Context) error{"resync": handled}}, want: "own, round 1"},
		{name: "resync again and again", err: gaveUp(engine.AsResync, time.Time{}), rounds: 10, o: Options{On: map[string]func(context.Context) error{"resync": handled}}, want: "cancel: resync after 10 rounds"},
		{name: "a label of the policy's own", err: gaveUp("operator", time.Time{}), want: "cancel: operator"},
		{name: "one with a function", err: gaveUp("gone", time.Time{}), o: Options{On: map[string]func(context.Context) error{"gone": handled}}, want: "own, round 1"},

		{name: "unavailable", err: gaveUp(engine.AsUnavailable, later), want: "snooze 20m0s, attempts 3"},
		{name: "unavailable, until nobody knows when", err: gaveUp(engine.AsUnavailable, time.Time{}), want: "snooze 1m0s, attempts 3"},
		{name: "budget", err: gaveUp(engine.AsBudget, later), want: "snooze 20m0s, attempts 3"},
		{name: "deadline", err: gaveUp(engine.AsDeadline, later), want: "snooze 20m0s, attempts 3"},
		{name: "deadline of an attempt", err: gaveUp(engine.AsDeadline, now), want: "snooze 0s, attempts 3"},
		{name: "misconfigured", err: gaveUp(engine.AsMisconfigured, time.Time{}), want: "snooze 5m0s, attempts 3"},

		{name: "canceled by a deploy", err: gaveUp(engine.AsCanceled, time.Time{}), ended: context.Canceled, want: "snooze 0s, attempts 3"},
		{name: "canceled by a deploy, an old job", err: gaveUp(engine.AsCanceled, time.Time{}), ended: context.Canceled, age: 8 * 24 * time.Hour, want: "snooze 0s, attempts 3"},
		{name: "canceled by a closed engine", err: gaveUpFor(engine.AsCanceled, engine.ErrClosed), want: "snooze 1s, attempts 3"},
		{name: "canceled through River", err: gaveUp(engine.AsCanceled, time.Time{}), ended: river.ErrJobCancelledRemotely, want: "pass on"},
		{name: "canceled by the job's own context", err: gaveUp(engine.AsCanceled, time.Time{}), want: "pass on"},

		{name: "exhausted", err: gaveUp(engine.AsExhausted, time.Time{}), want: "snooze 1m3s, fresh, round 1"},
		{name: "exhausted again", err: gaveUp(engine.AsExhausted, time.Time{}), rounds: 3, want: "snooze 8m24s, fresh, round 4"},
		{name: "exhausted for the ninth time", err: gaveUp(engine.AsExhausted, time.Time{}), rounds: 8, want: "snooze 4h28m48s, fresh, round 9"},
		{name: "exhausted for the tenth time", err: gaveUp(engine.AsExhausted, time.Time{}), rounds: 9, want: "snooze 6h18m0s, fresh, round 10"},
		{name: "exhausted once too often", err: gaveUp(engine.AsExhausted, time.Time{}), rounds: 10, want: "cancel: exhausted after 10 rounds"},
		{name: "exhausted, an old job", err: gaveUp(engine.AsExhausted, time.Time{}), age: 7 * 24 * time.Hour, want: "cancel: exhausted after 168h0m0s"},

		{name: "needs_user", err: gaveUp(engine.AsNeedsUser, time.Time{}), want: "snooze 1m3s, fresh, asked 1"},
		{name: "needs_user for days", err: gaveUp(engine.AsNeedsUser, time.Time{}), asked: 24, want: "snooze 6h18m0s, fresh, asked 25"},
		{name: "needs_user after rounds", err: gaveUp(engine.AsNeedsUser, time.Time{}), rounds: 9, want: "snooze 1m3s, fresh, round 9, asked 1"},
		{name: "exhausted after days of needs_user", err: gaveUp(engine.AsExhausted, time.Time{}), asked: 24, want: "snooze 1m3s, fresh, round 1"},
		{name: "needs_user for a week", err: gaveUp(engine.AsNeedsUser, time.Time{}), asked: 24, age: 7 * 24 * time.Hour, want: "cancel: needs_user after 168h0m0s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := verdictText(tt.err, tt.outcome, situation{
				now: now, began: now.Add(-tt.age), rounds: tt.rounds, asked: tt.asked, ended: tt.ended, chance: 0.5, o: new(tt.o.withDefaults()),
			}); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func verdictText(err error, outcome *engine.Result, at situation) string {
	s, ok := stopOf(err, outcome)
	if !ok {
		return "nothing"
	}
	v := s.verdict(at)
	switch v.kind {
	case passOn:
		return "pass on"
	case own:
		return fmt.Sprintf("own, round %d", v.rounds)
	case cancel:
		var c *CancelError
		if !errors.As(v.err, &c) || !errors.Is(v.err, err) {
			return fmt.Sprintf("cancelled by %v", v.err)
		}
		if c.Why == "" {
			return "cancel: " + c.Label
		}
		return "cancel: " + c.Label + " " + c.Why
	}
	text := fmt.Sprintf("snooze %v", v.wait)
	switch {
	case v.fresh:
		text += ", fresh"
		if v.rounds > 0 {
			text += fmt.Sprintf(", round %d", v.rounds)
		}
		if v.asked > 0 {
			text += fmt.Sprintf(", asked %d", v.asked)
		}
	case s.state.Attempts > 0:
		text += fmt.Sprintf(", attempts %d", s.state.Attempts)
	}
	return text
}

// TestVerdictNeverPanics holds that River, which panics at a negative snooze, is never
// given one.
func TestVerdictNeverPanics(t *testing.T) {
	for _, until := range []time.Time{{}, now.Add(-1), now, time.Unix(0, 0), now.AddDate(500, 0, 0)} {
		for _, err := range []error{deferred(until), gaveUp(engine.AsDeadline, until), gaveUp(engine.AsBudget, until)} {
			s, _ := stopOf(err, nil)
			v := s.verdict(situation{now: now, began: now, o: new(Options{}.withDefaults())})
			if v.kind != snooze || v.wait < 0 {
				t.Errorf("%T until %v: got %+v", err, until, v)
			}
			_ = river.JobSnooze(v.wait)
		}
	}
}

// TestTexts holds that what River stores of an error shows no secrets, however the job's
// function has wrapped it.
func TestTexts(t *testing.T) {
	asked := &url.Error{Op: "Get", URL: "https://gmail.googleapis.com/?access_token=secret", Err: gaveUp(engine.AsPermanent, time.Time{})}
	fail := &engine.Result{Decision: engine.Decision{Action: policy.Fail, As: engine.AsPermanent}}
	for name, s := range map[string]struct {
		err     error
		outcome *engine.Result
	}{
		"net/http's error around the engine's": {asked, nil},
		"an SDK's error":                       {errors.New("secret"), fail},
	} {
		t.Run(name, func(t *testing.T) {
			stopped, ok := stopOf(s.err, s.outcome)
			if !ok {
				t.Fatal("the engine has not stopped it")
			}
			v := stopped.verdict(situation{now: now, began: now, o: new(Options{}.withDefaults())})
			if text := v.err.Error(); strings.Contains(text, "secret") || !strings.HasPrefix(text, "recourseriver: permanent: ") || !errors.Is(v.err, s.err) {
				t.Errorf("got %q, want the label, no secret, and the error inside", text)
			}
			if strings.Contains(stopped.text, "secret") || stopped.text == "" {
				t.Errorf("the status's text: got %q", stopped.text)
			}
		})
	}
}
