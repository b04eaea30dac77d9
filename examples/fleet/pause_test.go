//go:build !race

package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// pausing is a process of TestPause.
type pausing struct{ *engine.Engine }

func newPausing(t *testing.T, s *failing) pausing {
	t.Helper()
	set, problems := policy.Load([]policy.File{{Name: providerFile, Data: providerYAML}}, policy.LoadOptions{Over: policy.Builtin()})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	store, err := openStore(t.Context(), s.redisAddr, s.postgresURL)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Options{Policies: set, Store: store, StoreTimeout: busy, StoreLease: lease, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return pausing{e}
}

// sends reports whether a call of an account is sent: it is neither where the account is paused.
func (e pausing) sends(t *testing.T, account string) (sent, paused bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := e.Do(ctx, engine.Call{Provider: "fleet", Keys: limiter.Keys{Account: account, Operation: "messages.get"}, Method: "GET", MaxInline: time.Millisecond},
		func(context.Context) error { sent = true; return nil })
	_, paused = errors.AsType[*engine.PausedError](err)
	return sent, paused
}

// until waits until it is so, and returns how long that took.
func until(t *testing.T, what string, most time.Duration, so func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !so() {
		if time.Since(began) > most {
			t.Fatalf("%s: not after %v", what, most)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began)
}

// A pause is in force in all processes within a second, also in those that start later, and after the
// server was killed and restarted; one that was made meanwhile, too. The bounds are
// those that docs/fleet.md names, thrice, since a busy machine is late.
func TestPause(t *testing.T) {
	t.Parallel()
	test := func(t *testing.T, s *failing) {
		a, b := newPausing(t, s), newPausing(t, s)
		for _, e := range []pausing{a, b} {
			until(t, "a worker sends", time.Minute, func() bool { sent, _ := e.sends(t, "ann"); return sent })
		}
		is := func(e pausing, account string, want bool) func() bool {
			return func() bool { _, paused := e.sends(t, account); return paused == want }
		}
		if err := a.PauseAccount("ann", time.Time{}, "a loop"); err != nil {
			t.Fatal(err)
		}
		t.Logf("another process: paused after %v", until(t, "paused", 3*time.Second, is(b, "ann", true)))
		starts := func() pausing { // a process, that has heard of the pauses
			e := newPausing(t, s)
			until(t, "a process that starts later knows", 3*time.Second, func() bool { return len(e.Paused()) > 0 })
			return e
		}
		if sent, paused := starts().sends(t, "ann"); sent || !paused {
			t.Errorf("a process that starts later: sent %v, paused %v", sent, paused)
		}

		s.kill()
		if err := a.PauseAccount("bob", time.Now().Add(time.Hour), "in the outage"); !errors.Is(err, engine.ErrFleetUntold) {
			t.Errorf("without the store: got %v, want ErrFleetUntold", err)
		}
		for account, e := range map[string]pausing{"ann": b, "bob": a} {
			if sent, paused := e.sends(t, account); sent || !paused {
				t.Errorf("%s, without the store: sent %v, paused %v", account, sent, paused)
			}
		}
		s.restart()
		t.Logf("paused in the outage: another process knows after %v", until(t, "paused in the outage", 6*time.Second, is(b, "bob", true)))
		time.Sleep(2 * time.Second) // in which all have put back what they know
		later := starts()
		for _, account := range []string{"ann", "bob"} {
			for who, e := range map[string]pausing{"a": a, "b": b, "one that starts after the restart": later} {
				if sent, paused := e.sends(t, account); sent || !paused {
					t.Errorf("%s, %s: sent %v, paused %v", account, who, sent, paused)
				}
			}
		}

		if err := later.ResumeAccount("ann"); err != nil {
			t.Fatal(err)
		}
		for _, e := range []pausing{a, b} {
			t.Logf("another process: resumed after %v", until(t, "resumed", 3*time.Second, is(e, "ann", false)))
		}
		s.kill() // what was resumed stays so
		s.restart()
		time.Sleep(3 * time.Second)
		for _, e := range []pausing{a, b, later, starts()} {
			if w := e.Why("ann"); w.Paused != nil {
				t.Errorf("resumed, after another restart: %+v", w.Paused)
			}
			if _, paused := e.sends(t, "bob"); !paused {
				t.Error("bob is not paused any more, after another restart")
			}
		}
	}
	for _, program := range []string{"redis-server", "valkey-server"} {
		t.Run(program, func(t *testing.T) { t.Parallel(); test(t, failingRedis(t, program)) })
	}
	t.Run("postgres", func(t *testing.T) { t.Parallel(); test(t, failingPostgres(t)) })
}
