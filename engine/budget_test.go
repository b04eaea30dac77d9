package engine

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Under a full outage the extra load is the ratio of the first attempts plus
// min a second, however many workers there are, also where it comes after a
// long time without a failure.
func TestBudgetUnderOutage(t *testing.T) {
	yaml := unlimited + "budget: {ratio: 0.2, min: 10/s}\n"
	for _, healthy := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			e := testEngine(t, Options{}, yaml)
			if healthy > 0 {
				for range 1000 {
					e.Do(t.Context(), Call{Provider: "test", Method: "GET"}, func(context.Context) error { return nil })
					time.Sleep(healthy / 1000)
				}
			}
			var first, retries, exhausted, other atomic.Int64
			outage := 10 * time.Minute
			ctx, cancel := context.WithTimeout(t.Context(), outage)
			defer cancel()
			var wg sync.WaitGroup
			for i := range 1000 {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * time.Millisecond)
					for ctx.Err() == nil {
						err := e.Do(ctx, Call{Provider: "test", Method: "GET"}, func(ctx context.Context) error {
							if Attempt(ctx) == 1 {
								first.Add(1)
							} else {
								retries.Add(1)
							}
							time.Sleep(100 * time.Millisecond)
							return io.ErrUnexpectedEOF
						})
						var gave *GiveUpError
						switch {
						case !errors.As(err, &gave):
							other.Add(1)
						case !errors.Is(err, io.ErrUnexpectedEOF) && gave.Decision.As != AsDeadline:
							t.Errorf("the original error is lost: %v", err)
						case gave.Decision.As == AsBudget:
							exhausted.Add(1)
						}
						time.Sleep(10 * time.Second) // the next job
					}
				})
			}
			wg.Wait()
			limit := 0.2*float64(first.Load()) + 10*outage.Seconds() + 20 // what was saved
			if float64(retries.Load()) > limit {
				t.Errorf("%d retries of %d first attempts, at most %.0f allowed", retries.Load(), first.Load(), limit)
			}
			if float64(retries.Load()) < 0.9*limit || exhausted.Load() == 0 || other.Load() != 0 {
				t.Errorf("%d retries of %.0f allowed, %d calls over the budget, %d other ends", retries.Load(), limit, exhausted.Load(), other.Load())
			}
		})
	}
}

// A budget is asked before the wait, waits that the server asked for are exempt,
// and a retry that is not made after all costs nothing. One that is handed back
// is made, later or elsewhere.
func TestBudgetIsAskedBeforeTheWait(t *testing.T) {
	yaml := overLoop + "budget: {ratio: 0, min: 1/h, key: host}\n"
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{}, yaml)
		run := func(ctx context.Context, rs ...reply) (string, time.Duration) {
			start := time.Now()
			req := request(t, ctx, "GET", "/items/1", "")
			as := ending(e.Transport(newServer(rs...)).RoundTrip(req))
			return as, time.Since(start)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if as, took := run(short, reply{status: 503}); as != AsDeadline || took != 0 {
			t.Errorf("no time: %s after %v", as, took)
		}
		stopped, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, stop)
		if as, took := run(stopped, reply{status: 503}); as != AsCanceled || took != time.Millisecond {
			t.Errorf("cancelled while it waits: %s after %v", as, took)
		}
		if as, took := run(t.Context(), reply{status: 503}); as != "200" || took < time.Second {
			t.Errorf("with the one retry that there is: %s after %v", as, took)
		}
		if as, took := run(t.Context(), reply{status: 503}); as != AsBudget || took != 0 {
			t.Errorf("without one: %s after %v", as, took)
		}
		if as, took := run(t.Context(), reply{status: 429, header: "Retry-After: 5"}); as != "200" || took < 5*time.Second {
			t.Errorf("a wait that was asked for: %s after %v", as, took)
		}
		req := request(t, t.Context(), "GET", "/items/1", "")
		req.URL.Host = "other.test"
		if as := ending(e.Transport(newServer(reply{status: 503})).RoundTrip(req.WithContext(WithCall(t.Context(), Call{Provider: "test"})))); as != "200" {
			t.Errorf("another host: %s", as)
		}
		for i, want := range []string{"deferred", AsBudget} {
			req.URL.Host = "third.test"
			deferring := WithCall(t.Context(), Call{Provider: "test", MaxInline: time.Millisecond})
			if as := ending(e.Transport(newServer(reply{status: 503})).RoundTrip(req.WithContext(deferring))); as != want {
				t.Errorf("deferred call %d: %s, want %s", i+1, as, want)
			}
		}
	})
}

// Calls that are handed back and come again with their State stay within the
// budget too, however short the longest wait of a worker is.
func TestBudgetOfDeferredCalls(t *testing.T) {
	yaml := unlimited + "budget: {ratio: 0.1, min: 1/m}\n"
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{MaxInline: 500 * time.Millisecond}, yaml)
		var first, retries atomic.Int64
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				for call := (Call{Provider: "test", Method: "GET"}); ; {
					err := e.Do(t.Context(), call, func(ctx context.Context) error {
						if Attempt(ctx) == 1 {
							first.Add(1)
						} else {
							retries.Add(1)
						}
						return io.ErrUnexpectedEOF
					})
					var later *DeferError
					if !errors.As(err, &later) {
						return
					}
					call.State = later.State
					time.Sleep(time.Until(later.Until))
				}
			})
		}
		wg.Wait()
		// A key saves up the retries of 100 first attempts, so what it gives at least
		// is 10, however the calls take turns.
		if n, most := retries.Load(), first.Load()/10+5; n > most || n < 10 {
			t.Errorf("%d retries of %d first attempts, want 10 to %d", n, first.Load(), most)
		}
	})
}
