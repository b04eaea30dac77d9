package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// pausing is an observer that keeps what it is told of pauses.
type pausing struct {
	mu   sync.Mutex
	told []string
}

func (o *pausing) Observe(_ context.Context, n *Notice) {
	if n.Kind == NoticePaused || n.Kind == NoticeResumed {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.told = append(o.told, fmt.Sprintf("%v %s %v", n.Kind, n.Account, n.Err))
	}
}

// Calls of an account that another process pauses are handed back within a second, wherever they
// wait, with all that is known; those that begin are not sent; and credentials are not refreshed.
func TestPauseInFleet(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events bool
	}{{"told", true}, {"events are lost", false}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen pausing
				refreshes := 0
				store, es := fleetEngines(t, 2, Options{Observer: &seen, Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error { refreshes++; return nil }}})
				if !tt.events {
					store.SetFault(func(op string) (f storetest.Fault) {
						if op == "event" {
							f.Before = errors.New("lost")
						}
						return f
					})
				}
				var s fleetServer
				for _, e := range es {
					if err := fleetCall(t.Context(), e, &s); err != nil {
						t.Fatal(err)
					}
				}
				if es[1].pauses.Any() {
					t.Error("nobody is paused, and calls ask for it")
				}
				p, err := es[1].Provider("fleet")
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Hold("requests", limiter.Keys{Account: "ann"}, time.Now().Add(30*time.Second)); err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				paused := time.Now().Add(5 * time.Second)
				until := paused.Add(time.Hour)
				for _, account := range []string{"ann", "bob"} {
					wg.Go(func() {
						err := es[1].Do(t.Context(), Call{Provider: "fleet", Keys: limiter.Keys{Account: account, Operation: "items.get"}}, func(context.Context) error {
							if account == "bob" { // between two attempts, and nobody's pause
								return &ResponseError{Status: 429}
							}
							return errors.New("sent")
						})
						late := time.Since(paused)
						later, ok := errors.AsType[*DeferError](err)
						cause, is := errors.AsType[*PausedError](err)
						if account == "ann" && (!ok || !is || cause.Reason != "spam" || cause.Account != "ann" || later.Until.Sub(until).Abs() > time.Second || late > time.Second || late < 0) {
							t.Errorf("%v after the pause: %v", late, err)
						}
						if account == "bob" && is {
							t.Errorf("another account: %v", err)
						}
					})
				}
				time.Sleep(5 * time.Second)
				if err := es[0].PauseAccount("ann", until, "spam"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				n := len(s.seen)
				for _, e := range es {
					err := fleetCall(t.Context(), e, &s)
					if _, ok := errors.AsType[*PausedError](err); !ok {
						t.Errorf("a call that begins: %v", err)
					}
					if w := e.Why("ann"); w.Paused == nil || w.Paused.Reason != "spam" || !strings.Contains(w.String(), "spam") {
						t.Errorf("Why: %+v", w)
					}
					if list := e.Paused(); len(list) != 1 || list[0].Account != "ann" || list[0].Until.Sub(until).Abs() > time.Second {
						t.Errorf("Paused: %+v", list)
					}
				}
				if len(s.seen) != n || refreshes > 0 {
					t.Errorf("%d were sent, and %d refreshes", len(s.seen)-n, refreshes)
				}
				wg.Wait()

				if err := es[1].ResumeAccount("ann"); err != nil {
					t.Error(err)
				}
				if err := p.Lift("requests", limiter.Keys{Account: "ann"}); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
				for _, e := range es {
					if err := fleetCall(t.Context(), e, &s); err != nil {
						t.Errorf("resumed: %v", err)
					}
					if e.pauses.Any() {
						t.Error("nobody is paused any more, and calls ask for it")
					}
				}
				text := "ann engine: the account is paused until " + until.UTC().Format(time.RFC3339) + ": spam"
				seen.mu.Lock()
				defer seen.mu.Unlock()
				if got, want := strings.Join(seen.told, "\n"), strings.Join([]string{"paused " + text, "paused " + text, "resumed " + text, "resumed " + text}, "\n"); got != want {
					t.Errorf("told:\n%s\nwant\n%s", got, want)
				}
			})
		})
	}
}

// While a process refuses a call for its credentials another one pauses the account: nothing is refreshed.
func TestPauseInFleetForbidsRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refreshes := 0
		o := Options{Store: storetest.NewMemory(nil), Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error { refreshes++; return nil }}}
		time.Sleep(time.Hour)
		a, b := testEngine(t, o), testEngine(t, o)
		defer a.Close()
		defer b.Close()
		tr := b.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
			if err := a.PauseAccount("a", time.Time{}, ""); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			return &http.Response{StatusCode: 401, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
		}))
		resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
		if err == nil {
			resp.Body.Close()
		}
		if out := resultOf(resp, err); refreshes != 0 || !out.Decision.Defer {
			t.Errorf("%d refreshes, %+v, want none and the call handed back", refreshes, out.Decision)
		}
	})
}

// What is paused while the store does not answer is in force in this process, the error says so, and
// the others hear of it once it answers. A process that starts meanwhile hears of it then; one that
// starts later before it sends anything.
func TestPauseInOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, es := fleetEngines(t, 2, Options{Workers: 2})
		var s fleetServer
		for _, e := range es {
			if err := fleetCall(t.Context(), e, &s); err != nil {
				t.Fatal(err)
			}
		}
		if err := es[1].PauseAccount("old", time.Time{}, "since before"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		down := errors.New("connection refused")
		store.SetFault(func(op string) storetest.Fault { return storetest.Fault{Before: down} })
		err := es[0].PauseAccount("ann", time.Time{}, "spam")
		if !errors.Is(err, ErrFleetUntold) || !errors.Is(err, down) {
			t.Errorf("got %v, want that the fleet was not told, and why", err)
		}
		if err := fleetCall(t.Context(), es[0], &s); err == nil || es[0].Why("ann").Paused == nil {
			t.Errorf("in this process: %v", err)
		}
		if es[0].Why("old").Paused == nil {
			t.Error("what is known does not stay in force")
		}
		late := testEngine(t, Options{Store: store, Workers: 2}, fleetPolicy)
		defer late.Close()
		began := time.Now()
		late.Do(t.Context(), Call{Provider: "fleet", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}, MaxInline: time.Nanosecond}, func(context.Context) error { return nil })
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("a process that starts while the store is away: a call waited for %v", took)
		}
		if late.Why("ann").Paused != nil || len(late.Paused()) > 0 {
			t.Error("it knows what it cannot")
		}
		time.Sleep(time.Minute)
		store.Forget() // it was restarted, and lost all
		store.SetFault(nil)
		time.Sleep(2 * time.Second) // one for those who know it to tell, one for the others to hear
		for i, e := range append(es, late) {
			for _, account := range []string{"ann", "old"} {
				if w := e.Why(account); w.Paused == nil {
					t.Errorf("process %d: %s is not paused", i, account)
				}
			}
		}
		later := testEngine(t, Options{Store: store}, fleetPolicy)
		defer later.Close()
		n := len(s.seen)
		err = fleetCall(t.Context(), later, &s)
		if _, ok := errors.AsType[*PausedError](err); !ok || len(s.seen) != n {
			t.Errorf("a process that starts later: %v", err)
		}
	})
}

// Pauses are bounded, by name and reason too.
func TestPauseBounds(t *testing.T) {
	e := testEngine(t, Options{})
	for i := range limiter.MaxPauses {
		if err := e.PauseAccount(fmt.Sprint(i), time.Time{}, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.PauseAccount("more", time.Time{}, ""); err == nil || err.Error() != "engine: too many accounts are paused: at most 10000 at once" {
		t.Errorf("one too many: %v", err)
	}
	if err := e.PauseAccount("7", time.Time{}, strings.Repeat("é", 150)); err != nil || e.Why("7").Paused.Reason != strings.Repeat("é", 100) {
		t.Errorf("paused anew, with a long reason: %v, %v", err, e.Why("7").Paused)
	}
	if err := e.ResumeAccount("7"); err != nil {
		t.Error(err)
	}
	if err := e.PauseAccount("more", time.Time{}, ""); err != nil {
		t.Errorf("there is room: %v", err)
	}
	if n := len(e.Paused()); n != limiter.MaxPauses {
		t.Errorf("%d are paused", n)
	}
}

// A hold that one process sets by hand is in force in the others at once, and its lift when they are told,
// or within 30 s where that is lost; no process that was not told puts it back.
func TestHoldInFleet(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events bool
		within time.Duration
	}{{"told", true, 10 * time.Millisecond}, {"events are lost", false, 30*time.Second + 10*time.Millisecond}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, es := fleetEngines(t, 3, Options{})
				if !tt.events {
					store.SetFault(func(op string) (f storetest.Fault) {
						if op == "event" {
							f.Before = errors.New("lost")
						}
						return f
					})
				}
				var s fleetServer
				var ps []*Provider
				for _, e := range es {
					if err := fleetCall(t.Context(), e, &s); err != nil {
						t.Fatal(err)
					}
					p, err := e.Provider("fleet")
					if err != nil {
						t.Fatal(err)
					}
					ps = append(ps, p)
				}
				ann := limiter.Keys{Account: "ann"}
				for round := range 3 {
					if err := ps[0].Hold("requests", ann, time.Now().Add(24*time.Hour), limiter.Cause{Rule: "by hand"}); err != nil {
						t.Fatal(err)
					}
					n := len(s.seen)
					for i, e := range es {
						if later, ok := errors.AsType[*DeferError](fleetCall(t.Context(), e, &s)); !ok || time.Until(later.Until).Round(time.Minute) != 24*time.Hour {
							t.Errorf("round %d: process %d: got %v, want it handed back for a day", round, i, later)
						}
					}
					if len(s.seen) != n {
						t.Errorf("round %d: %d were sent", round, len(s.seen)-n)
					}
					time.Sleep(time.Hour)
					if err := ps[2].Lift("requests", ann); err != nil {
						t.Fatal(err)
					}
					time.Sleep(tt.within)
					for i, e := range es {
						began := time.Now()
						if err := fleetCall(t.Context(), e, &s); err != nil || time.Since(began) > time.Second {
							t.Errorf("round %d: process %d: lifted: after %v: %v", round, i, time.Since(began), err)
						}
					}
					time.Sleep(2 * time.Hour) // all have renewed what they know, often
					for i, e := range es {
						began := time.Now()
						if err := fleetCall(t.Context(), e, &s); err != nil || time.Since(began) > time.Second {
							t.Errorf("round %d: process %d: later: after %v: %v", round, i, time.Since(began), err)
						}
					}
				}
			})
		})
	}
}
