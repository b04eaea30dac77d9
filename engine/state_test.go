package engine

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/rules"
)

// Two processes share the attempts of one call.
func TestStateAcrossProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unreachable := errors.New("dial tcp: connection refused")
		run := func(row string) (string, error) {
			call := Call{Provider: "test", Method: "GET", MaxInline: time.Millisecond}
			if row != "" {
				if err := json.Unmarshal([]byte(row), &call.State); err != nil {
					t.Fatal(err)
				}
			}
			n := 0
			err := testEngine(t, Options{Rand: func() float64 { return 0 }}).Do(t.Context(), call, func(ctx context.Context) error {
				n++
				if want := call.State.Attempts + 1; Attempt(ctx) != want {
					t.Errorf("attempt %d, want %d", Attempt(ctx), want)
				}
				return unreachable
			})
			if n != 1 {
				t.Errorf("%d attempts in one process, want 1", n)
			}
			later, ok := errors.AsType[*DeferError](err)
			if !ok {
				return "", err
			}
			b, err := json.Marshal(later.State)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(later.Until))
			return string(b), later
		}
		row, hops := "", 0
		start := time.Now()
		var err error
		for {
			if row, err = run(row); row == "" {
				break
			}
			if hops++; hops > 10 {
				t.Fatal("it never ends")
			}
			time.Sleep(time.Hour) // in the queue: no time spent trying
		}
		gave, ok := errors.AsType[*GiveUpError](err)
		if !ok || gave.Decision.As != AsExhausted || gave.Attempts != 4 || hops != 3 || !errors.Is(err, unreachable) {
			t.Errorf("after %d deferrals: %v", hops, err)
		}
		if s := gave.Decision.State; !s.Began.Equal(start.Truncate(time.Millisecond)) || s.Spent != 7*time.Second {
			t.Errorf("began %v, spent %v; want %v, 7 s", s.Began, s.Spent, start)
		}
	})
}

// failedThrice is the State of a call that has burnt three attempts of the backoff `default`.
func failedThrice(t *testing.T) (s State) {
	t.Helper()
	p, err := testEngine(t, Options{}).Provider("test")
	if err != nil {
		t.Fatal(err)
	}
	return p.Decide(s, &rules.Event{Protocol: "http", Status: 500, Idempotent: true, Attempt: 3}, 0).State
}
