package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// What ends in the middle leaves nothing behind.
func TestNestedEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(ctx context.Context, cancel func())
	}{
		{"panic", func(context.Context, func()) { panic("fn") }},
		{"Goexit", func(ctx context.Context, _ func()) { runtime.Goexit() }},
		{"cancel", func(_ context.Context, cancel func()) { cancel() }},
		{"nothing", func(context.Context, func()) {}},
	} {
		for _, takes := range []time.Duration{0, 5 * time.Millisecond, 10 * time.Millisecond, 15 * time.Millisecond} {
			t.Run(fmt.Sprint(c.name, " after ", takes), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := lendEngine(t, 1)
					base := &busyBase{takes: 10 * time.Millisecond}
					tr := e.Transport(e.Transport(base))
					done := make(chan struct{})
					go func() {
						defer close(done)
						defer func() { _ = recover() }()
						ctx, cancel := context.WithCancel(WithAccount(t.Context(), "ann"))
						defer cancel()
						e.Do(ctx, Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}}, func(ctx context.Context) error {
							for range 3 {
								go getAll(ctx, tr, "https://one.example/items/1")
							}
							time.Sleep(takes)
							c.end(ctx, cancel)
							return getAll(ctx, tr, "https://one.example/items/1")
						})
					}()
					<-done
					synctest.Wait()
					time.Sleep(time.Second)
					synctest.Wait()
					if _, slots := levels(t, e, "one", "ann"); slots != 0 {
						t.Errorf("%d slots in use at the end", slots)
					}
					if base.most > 1 {
						t.Errorf("%d requests at once, want 1", base.most)
					}
				})
			})
		}
	}
}

// What the call inside gave up the outer one does not repeat.
func TestNestedGaveUp(t *testing.T) {
	for _, c := range []struct {
		name string
		call func(ctx context.Context, e *Engine, base http.RoundTripper) error
	}{
		{"Transport around Transport", func(ctx context.Context, e *Engine, base http.RoundTripper) error {
			return getAll(ctx, e.Transport(e.Transport(base)), "https://one.example/items/1")
		}},
		{"Transport inside Do", func(ctx context.Context, e *Engine, base http.RoundTripper) error {
			return e.Do(ctx, Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}}, func(ctx context.Context) error {
				resp, err := getURL(ctx, e.Transport(base), "https://one.example/items/1")
				if err == nil {
					err = e.CheckResponse(ctx, resp)
				}
				return err
			})
		}},
		{"Do in Do", func(ctx context.Context, e *Engine, base http.RoundTripper) error {
			call := Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}}
			return e.Do(ctx, call, func(ctx context.Context) error {
				return e.Do(ctx, call, func(ctx context.Context) error {
					resp, err := getURL(ctx, base, "https://one.example/items/1")
					if err == nil {
						err = e.CheckResponse(ctx, resp)
					}
					return err
				})
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := lendEngine(t, 1)
				base := &busyBase{answer: func(*http.Request) int { return 503 }}
				err := c.call(WithAccount(t.Context(), "ann"), e, base)
				if err == nil || base.sent != 3 {
					t.Errorf("%v after %d requests, want an error after 3", err, base.sent)
				}
			})
		})
	}
}

// What an outer call holds is lent to one inside whatever the priorities, also
// past calls that wait for it.
func TestNestedPriority(t *testing.T) {
	for _, c := range []struct{ outer, inner, waits limiter.Priority }{
		{limiter.Backfill, limiter.Backfill, limiter.Interactive},
		{limiter.Backfill, limiter.Interactive, limiter.Interactive},
		{limiter.Interactive, limiter.Backfill, limiter.Interactive},
		{limiter.Interactive, limiter.Backfill, limiter.Backfill},
	} {
		t.Run(fmt.Sprint(c.outer, c.inner, c.waits), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := lendEngine(t, 1)
				base := &busyBase{takes: 10 * time.Millisecond}
				tr := e.Transport(base)
				call := Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}}
				var wg sync.WaitGroup
				var inner, other time.Duration
				start := time.Now()
				outer := call
				outer.Priority = c.outer
				err := e.Do(t.Context(), outer, func(ctx context.Context) error {
					wg.Go(func() {
						waits := call
						waits.Priority = c.waits
						if err := e.Do(t.Context(), waits, func(context.Context) error { other = time.Since(start); return nil }); err != nil {
							t.Error(err)
						}
					})
					synctest.Wait()
					err := getAll(WithCall(ctx, Call{Keys: limiter.Keys{Account: "ann"}, Priority: c.inner}), tr, "https://one.example/items/1")
					inner = time.Since(start)
					return err
				})
				wg.Wait()
				units, slots := levels(t, e, "one", "ann")
				if err != nil || inner != 10*time.Millisecond || other != inner || slots != 0 || 1000-units > 2 {
					t.Errorf("%v: inside after %v, the other after %v, %v units spent, %d slots in use; want nil, 10ms, 10ms, 2, 0",
						err, inner, other, 1000-units, slots)
				}
			})
		})
	}
}

// A reload while the outer call runs takes nothing away from the one inside,
// and lends it nothing that is not there any more.
func TestNestedReload(t *testing.T) {
	policyOf := func(limits string) string {
		return `
version: 1
provider: one
match: [{host: one.example}]
operations: [{method: GET, path: "/items/*", operation: items.get}]
costs:
  units: {default: 1}
rules: [{name: bad, when: status >= 500, action: fail}]
default: fail
limits:
` + limits
	}
	const units, slots = "  - {name: user, key: account, quota: 100000/1h, burst: 1000, cost: units}\n", "  - {name: inflight, key: account, concurrency: 1}\n"
	for _, c := range []struct {
		name, limits string
		spent        float64
	}{
		{"the same", units + slots, 1},
		{"another order", slots + units, 1},
		{"one more before", "  - {name: first, key: account, concurrency: 1}\n" + units + slots, 1},
		{"other numbers", "  - {name: user, key: account, quota: 50000/1h, burst: 1000, cost: units}\n  - {name: inflight, key: account, concurrency: 3}\n", 1},
		{"another form", "  - {name: user, key: account, quota: 100000/1h, burst: 1000, cost: units}\n  - {name: inflight, key: account, rate: 5/s, burst: 9}\n", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := testEngine(t, Options{}, policyOf(units+slots))
				next := testEngine(t, Options{}, policyOf(c.limits)).Policies()
				tr := e.Transport(&busyBase{takes: 10 * time.Millisecond})
				start := time.Now()
				err := e.Do(t.Context(), Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}}, func(ctx context.Context) error {
					if err := e.Replace(next); err != nil {
						return err
					}
					return getAll(WithCall(ctx, Call{Keys: limiter.Keys{Account: "ann"}}), tr, "https://one.example/items/1")
				})
				p, _ := e.Provider("one")
				spent, inFlight := -1.0, int64(0)
				for s := range p.limits().All() {
					if s.Limit == "user" {
						spent = 1000 - s.Level
					}
					inFlight += s.InFlight
				}
				if took := time.Since(start); err != nil || took != 10*time.Millisecond || spent < c.spent-1 || spent > c.spent || inFlight != 0 {
					t.Errorf("%v after %v, %v units spent, %d slots in use; want nil, 10ms, %v, 0", err, took, spent, inFlight, c.spent)
				}
			})
		})
	}
}

// listError is an SDK's own type of error. It keeps what it was made from.
type listError struct {
	op   string
	errs []error
}

func (e *listError) Error() string { return e.op + " failed" }

func (e *listError) Unwrap() []error { return e.errs }

// What the call inside gave up or handed back the outer one does not repeat,
// also where an SDK between them says so by an error of its own.
func TestNestedGaveUpInSDK(t *testing.T) {
	for _, wrap := range []struct {
		name string
		of   func(error) error
	}{
		{"%w", func(err error) error { return fmt.Errorf("sdk: %w", err) }},
		{"own type", func(err error) error { return &listError{"list", []error{err}} }},
		{"joined with others", func(err error) error {
			return &listError{"list", []error{errors.New("page 3"), fmt.Errorf("request: %w", err)}}
		}},
		{"twice", func(err error) error { return &listError{"sync", []error{&listError{"list", []error{err}}}} }},
	} {
		for _, c := range []struct {
			name   string
			sent   int
			call   func(ctx context.Context, e *Engine, base http.RoundTripper) error
			status int
		}{
			{"Do gave up", 3, func(ctx context.Context, e *Engine, base http.RoundTripper) error {
				return e.Do(ctx, Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}, MaxInline: 2 * time.Second}, func(ctx context.Context) error {
					resp, err := getURL(ctx, base, "https://one.example/items/1")
					if err == nil {
						err = e.CheckResponse(ctx, resp)
					}
					return err
				})
			}, 503},
			{"Do handed back", 1, func(ctx context.Context, e *Engine, base http.RoundTripper) error {
				return e.Do(ctx, Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}, MaxInline: 2 * time.Second}, func(ctx context.Context) error {
					resp, err := getURL(ctx, base, "https://one.example/items/1")
					if err == nil {
						err = e.CheckResponse(ctx, resp)
					}
					return err
				})
			}, 429},
			{"Transport without a response", 0, func(ctx context.Context, e *Engine, base http.RoundTripper) error {
				refused := roundTripper(func(*http.Request) (*http.Response, error) { return nil, errRefusedDial })
				req, err := http.NewRequestWithContext(ctx, "GET", "https://one.example/items/1", nil)
				if err == nil {
					_, err = (&http.Client{Transport: e.Transport(refused)}).Do(req)
				}
				return err
			}, 0},
		} {
			t.Run(c.name+"/"+wrap.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := lendEngine(t, 1)
					base := &busyBase{answer: func(*http.Request) int { return c.status }}
					attempts := 0
					err := e.Do(WithAccount(t.Context(), "ann"), Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}, MaxInline: 2 * time.Second}, func(ctx context.Context) error {
						attempts++
						return wrap.of(c.call(ctx, e, base))
					})
					if err == nil || attempts != 1 || base.sent != c.sent {
						t.Errorf("%v after %d attempts and %d requests, want an error after 1 and %d", err, attempts, base.sent, c.sent)
					}
				})
			})
		}
	}
}
