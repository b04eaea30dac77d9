package engine

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// busyBase is a server that counts how many requests it has at once, each from
// its arrival until its response's body is read or closed.
type busyBase struct {
	mu              sync.Mutex
	now, most, sent int
	takes           time.Duration
	answer          func(*http.Request) int // nil = 200
}

func (b *busyBase) RoundTrip(req *http.Request) (*http.Response, error) {
	b.mu.Lock()
	b.now++
	b.sent++
	b.most = max(b.most, b.now)
	b.mu.Unlock()
	status := 200
	select {
	case <-time.After(b.takes):
		if b.answer != nil {
			status = b.answer(req)
		}
	case <-req.Context().Done():
		b.left()
		return nil, req.Context().Err()
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Request: req,
		Body: &leavingBody{Reader: strings.NewReader("{}"), closed: b.left},
	}, nil
}

func (b *busyBase) left() {
	b.mu.Lock()
	b.now--
	b.mu.Unlock()
}

type leavingBody struct {
	io.Reader
	once   sync.Once
	closed func()
}

func (b *leavingBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil {
		b.once.Do(b.closed)
	}
	return n, err
}

func (b *leavingBody) Close() error { b.once.Do(b.closed); return nil }

const lendYAML = `
version: 1
provider: lend
operations:
  - {method: GET, path: "/items/*", operation: items.get}
  - {method: GET, path: "/big/*", operation: big.get}
  - {method: GET, path: "/other/*", operation: other.get}
costs:
  units: {default: 1, big.get: 5}
backoff:
  default: {initial: 1s, max: 1s, jitter: none, attempts: 3}
limits:
  - {name: user, key: account, quota: 100000/1h, burst: 1000, cost: units}
  - {name: inflight, key: account, concurrency: 1}
  - {name: other, key: account, concurrency: 1, operations: [other.get]}
rules:
  - {name: throttled, when: status == 429, action: wait, wait: 5s, hold: inflight}
  - {name: busy, when: status >= 500, action: retry}
default: fail
`

func lendEngine(t testing.TB, slots int) *Engine {
	provider := func(name string) string {
		return fmt.Sprintf("version: 1\nprovider: %s\nextends: [lend]\nmatch: [{host: %[1]s.example}]\nlimits: [{name: inflight, key: account, concurrency: %d}]\n", name, slots)
	}
	return testEngine(t, Options{Rand: func() float64 { return 0 }}, lendYAML, provider("one"), provider("two"))
}

// levels are what a provider's limits have left for an account, and the slots in use.
func levels(t testing.TB, e *Engine, provider, account string) (units float64, slots int64) {
	t.Helper()
	p, err := e.Provider(provider)
	if err != nil {
		t.Fatal(err)
	}
	k := limiter.Keys{Account: account}
	return p.Peek("user", k).Level, p.Peek("inflight", k).InFlight
}

func getURL(ctx context.Context, rt http.RoundTripper, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return nil, err
	}
	return rt.RoundTrip(req)
}

// getAll makes a request, reads the answer, and expects 200.
func getAll(ctx context.Context, rt http.RoundTripper, url string) error {
	resp, err := getURL(ctx, rt, url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != 200 {
		return fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	return nil
}

// Nested calls pass as plain ones do, pay once, and never exceed the limit.
func TestNestedLikePlain(t *testing.T) {
	for _, slots := range []int{1, 4} {
		for _, c := range []struct {
			name string
			call func(e *Engine, base http.RoundTripper, ctx context.Context) error
		}{
			{"plain", func(e *Engine, base http.RoundTripper, ctx context.Context) error {
				return getAll(ctx, e.Transport(base), "https://one.example/items/1")
			}},
			{"Transport inside Do", func(e *Engine, base http.RoundTripper, ctx context.Context) error {
				return e.Do(ctx, Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}, Method: "GET"}, func(ctx context.Context) error {
					return getAll(ctx, e.Transport(base), "https://one.example/items/1")
				})
			}},
			{"Transport around Transport", func(e *Engine, base http.RoundTripper, ctx context.Context) error {
				return getAll(ctx, e.Transport(e.Transport(base)), "https://one.example/items/1")
			}},
			{"Do in Do", func(e *Engine, base http.RoundTripper, ctx context.Context) error {
				call := Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}, Method: "GET"}
				return e.Do(ctx, call, func(ctx context.Context) error {
					return e.Do(ctx, call, func(ctx context.Context) error { return getAll(ctx, base, "https://one.example/items/1") })
				})
			}},
			{"three levels", func(e *Engine, base http.RoundTripper, ctx context.Context) error {
				call := Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}, Method: "GET"}
				return e.Do(ctx, call, func(ctx context.Context) error {
					return getAll(ctx, e.Transport(e.Transport(base)), "https://one.example/items/1")
				})
			}},
			{"in turn", func(e *Engine, base http.RoundTripper, ctx context.Context) error {
				return e.Do(ctx, Call{Provider: "two", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}, Method: "GET"}, func(ctx context.Context) error {
					return getAll(ctx, e.Transport(base), "https://one.example/items/1")
				})
			}},
		} {
			t.Run(fmt.Sprint(c.name, "/", slots), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := lendEngine(t, slots)
					base := &busyBase{takes: 50 * time.Millisecond}
					var wg sync.WaitGroup
					start := time.Now()
					for range 8 {
						wg.Go(func() {
							for range 20 {
								if err := c.call(e, base, WithAccount(t.Context(), "ann")); err != nil {
									t.Error(err)
								}
							}
						})
					}
					wg.Wait()
					if got, want := time.Since(start), 160*50*time.Millisecond/time.Duration(slots); got != want {
						t.Errorf("took %v, want %v", got, want)
					}
					if base.sent != 160 || base.most != slots {
						t.Errorf("%d requests, %d at once, want 160, %d", base.sent, base.most, slots)
					}
					units, inFlight := levels(t, e, "one", "ann")
					accrued := (100000 - 1000) / 3600.0 * time.Since(start).Seconds()
					if want := min(1000-160+accrued, 1000); units < want-1 || units > want+1 || inFlight != 0 {
						t.Errorf("%v units left and %d slots in use, want %v and 0", units, inFlight, want)
					}
				})
			})
		}
	}
}

// With the Graph pack: 8 workers with 20 calls each.
func TestNestedGraph(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := builtinEngine(t, Options{})
		base := &busyBase{takes: 50 * time.Millisecond}
		tr := e.Transport(base)
		start := time.Now()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 20 {
					call := Call{Provider: "microsoft_graph", Keys: limiter.Keys{Account: "ann", Operation: "messages.get"}, Method: "GET"}
					if err := e.Do(WithAccount(t.Context(), "ann"), call, func(ctx context.Context) error {
						return getAll(ctx, tr, "https://graph.microsoft.com/v1.0/me/messages/1")
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if got, want := time.Since(start), 2*time.Second; got != want {
			t.Errorf("took %v, want %v", got, want)
		}
		if base.sent != 160 || base.most != 4 {
			t.Errorf("%d requests, %d at once, want 160, 4", base.sent, base.most)
		}
	})
}

// What is sent inside beyond what the outer call has paid pays for itself.
func TestNestedUnits(t *testing.T) {
	for _, c := range []struct {
		name  string
		outer string
		cost  int64
		inner []string
		want  float64
	}{
		{"one inside", "items.get", 0, []string{"items"}, 1},
		{"three inside", "items.get", 0, []string{"items", "items", "items"}, 3},
		{"a dearer one inside", "items.get", 0, []string{"big"}, 5},
		{"cheaper ones inside", "big.get", 0, []string{"items", "items"}, 5},
		{"beyond what was paid", "big.get", 0, []string{"items", "big"}, 6},
		{"none inside", "big.get", 0, nil, 5},
		{"cost of its own", "items.get", 3, []string{"items", "items", "items", "items"}, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := lendEngine(t, 1)
				tr := e.Transport(&busyBase{})
				err := e.Do(WithAccount(t.Context(), "ann"), Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: c.outer}, Cost: c.cost}, func(ctx context.Context) error {
					for _, path := range c.inner {
						if err := getAll(ctx, tr, "https://one.example/"+path+"/1"); err != nil {
							return err
						}
					}
					return nil
				})
				units, slots := levels(t, e, "one", "ann")
				if err != nil || 1000-units != c.want || slots != 0 {
					t.Errorf("%v: %v units spent, %d slots in use, want nil, %v, 0", err, 1000-units, slots, c.want)
				}
			})
		})
	}
}

// A request that was never sent costs nothing, whoever has paid for it.
func TestNestedRefund(t *testing.T) {
	for _, c := range []struct {
		name  string
		sends int // requests that reach the server before the one that does not
		want  float64
	}{{"nothing sent", 0, 0}, {"one sent", 1, 1}, {"two sent", 2, 2}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := lendEngine(t, 1)
				good := e.Transport(&busyBase{})
				refused := e.Transport(roundTripper(func(*http.Request) (*http.Response, error) { return nil, errRefusedDial }))
				e.Do(WithAccount(t.Context(), "ann"), Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}}, func(ctx context.Context) error {
					for range c.sends {
						if err := getAll(ctx, good, "https://one.example/items/1"); err != nil {
							t.Error(err)
						}
					}
					return Permanent(getAll(WithCall(ctx, Call{Keys: limiter.Keys{Account: "ann"}, MaxAttempts: 1}), refused, "https://one.example/items/1"))
				})
				units, slots := levels(t, e, "one", "ann")
				if 1000-units != c.want || slots != 0 {
					t.Errorf("%v units spent, %d slots in use, want %v, 0", 1000-units, slots, c.want)
				}
			})
		})
	}
}

// A body that is read on after the attempt keeps the slot that it was lent.
func TestNestedBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := lendEngine(t, 1)
		base := &busyBase{}
		var kept *http.Response
		err := e.Do(WithAccount(t.Context(), "ann"), Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}}, func(ctx context.Context) (err error) {
			kept, err = getURL(ctx, e.Transport(e.Transport(base)), "https://one.example/items/1")
			return err
		})
		if _, slots := levels(t, e, "one", "ann"); err != nil || slots != 1 {
			t.Fatalf("%v, %d slots in use while a body is open, want nil, 1", err, slots)
		}
		kept.Body.Close()
		if _, slots := levels(t, e, "one", "ann"); slots != 0 {
			t.Errorf("%d slots in use after Close, want 0", slots)
		}
	})
}

// Requests that are made side by side inside Do share its slot and take others
// of their own, and never more than there are.
func TestNestedFanOut(t *testing.T) {
	for _, slots := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(slots), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := lendEngine(t, slots)
				base := &busyBase{takes: 10 * time.Millisecond}
				tr := e.Transport(base)
				start := time.Now()
				var outer sync.WaitGroup
				for range 3 {
					outer.Go(func() {
						if err := e.Do(WithAccount(t.Context(), "ann"), Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}}, func(ctx context.Context) error {
							var wg sync.WaitGroup
							for range 8 {
								wg.Go(func() {
									for range 10 {
										if err := getAll(ctx, tr, "https://one.example/items/1"); err != nil {
											t.Error(err)
										}
									}
								})
							}
							wg.Wait()
							return nil
						}); err != nil {
							t.Error(err)
						}
					})
				}
				outer.Wait()
				if base.sent != 240 || base.most > slots {
					t.Errorf("%d requests, %d at once, want 240, %d", base.sent, base.most, slots)
				}
				if got, want := time.Since(start), 240*10*time.Millisecond/time.Duration(slots); got > want*11/10 {
					t.Errorf("took %v, want about %v", got, want)
				}
				if _, left := levels(t, e, "one", "ann"); left != 0 {
					t.Errorf("%d slots in use at the end", left)
				}
			})
		})
	}
}

// A context that is kept beyond its attempt lends nothing, also where the place
// of the attempt's permit was given to another.
func TestNestedContextKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := lendEngine(t, 1)
		base := &busyBase{takes: time.Second}
		tr := e.Transport(base)
		call := Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}}
		var kept context.Context
		if err := e.Do(WithAccount(t.Context(), "ann"), call, func(ctx context.Context) error { kept = ctx; return nil }); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			e.Do(WithAccount(t.Context(), "ann"), call, func(ctx context.Context) error {
				return getAll(ctx, base, "https://one.example/items/1")
			})
		})
		wg.Go(func() {
			time.Sleep(time.Millisecond)
			if err := getAll(kept, tr, "https://one.example/items/1"); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if base.most != 1 {
			t.Errorf("%d requests at once, want 1", base.most)
		}
	})
}

// Calls that need what another one holds, and the other way round, do not wait
// for each other: who waits gives its slot back.
func TestNestedCrossed(t *testing.T) {
	for _, c := range []struct{ name, provider1, url1, provider2, url2 string }{
		{"two providers", "one", "https://two.example/items/1", "two", "https://one.example/items/1"},
		{"two limits of one provider", "one", "https://one.example/other/1", "one", "https://one.example/items/1"},
		{"two providers after a hold", "one", "https://two.example/items/1", "two", "https://one.example/items/1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slots, start := 1, time.Now()
				if strings.HasSuffix(c.name, "hold") {
					slots = 4
				}
				e := lendEngine(t, slots)
				for _, name := range []string{"one", "two"} {
					if p, _ := e.Provider(name); slots > 1 {
						p.Hold("inflight", limiter.Keys{Account: "ann"}, start.Add(time.Second))
					}
				}
				bases := map[string]*busyBase{"one.example": {takes: 10 * time.Millisecond}, "two.example": {takes: 10 * time.Millisecond}}
				tr := e.Transport(roundTripper(func(req *http.Request) (*http.Response, error) { return bases[req.URL.Host].RoundTrip(req) }))
				var wg sync.WaitGroup
				for i := range 8 {
					wg.Go(func() {
						provider, url := c.provider1, c.url1
						if i%2 == 1 {
							provider, url = c.provider2, c.url2
						}
						for range 10 {
							if err := e.Do(WithAccount(t.Context(), "ann"), Call{Provider: provider, Keys: limiter.Keys{Account: "ann", Operation: "items.get"}}, func(ctx context.Context) error {
								time.Sleep(time.Millisecond)
								return getAll(ctx, tr, url)
							}); err != nil {
								t.Error(err)
							}
						}
					})
				}
				wg.Wait()
				if took := time.Since(start); took > 3*time.Second {
					t.Errorf("took %v", took)
				}
				for host, b := range bases {
					if b.most > slots {
						t.Errorf("%s: %d requests at once, want %d", host, b.most, slots)
					}
				}
				for _, p := range []string{"one", "two"} {
					if _, slots := levels(t, e, p, "ann"); slots != 0 {
						t.Errorf("%s: %d slots in use at the end", p, slots)
					}
				}
			})
		})
	}
}

// A hold that has come meanwhile stops the request inside too.
func TestNestedHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := lendEngine(t, 2)
		base := &busyBase{}
		p, _ := e.Provider("one")
		start := time.Now()
		err := e.Do(WithAccount(t.Context(), "ann"), Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}}, func(ctx context.Context) error {
			p.Hold("user", limiter.Keys{Account: "ann"}, time.Now().Add(7*time.Second))
			return getAll(ctx, e.Transport(base), "https://one.example/items/1")
		})
		units, slots := levels(t, e, "one", "ann")
		if took := time.Since(start); err != nil || took != 7*time.Second || slots != 0 {
			t.Errorf("%v after %v, %v units, %d slots; want nil after 7s, 0 slots", err, took, units, slots)
		}
	})
}

// After a hold one call tries first, and all that is inside it is a part of that,
// however deep it is and however much it sends.
func TestNestedProbe(t *testing.T) {
	for _, limit := range []string{"concurrency: 4", "quota: 2/1s", "quota: 3600/1h, burst: 60"} {
		for levels := range 4 {
			for _, others := range []int{0, 3} {
				t.Run(fmt.Sprintf("%s, %d levels, %d others", limit, levels, others), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						e := testEngine(t, Options{}, `
version: 1
provider: one
match: [{host: one.example}]
backoff: {default: {initial: 1s, max: 64s, attempts: 6}}
limits: [{name: user, key: account, `+limit+`}]
rules: [{name: throttled, when: status == 429, action: wait, hold: user}]
default: fail
`)
						base := &busyBase{takes: 10 * time.Millisecond}
						p, _ := e.Provider("one")
						p.Hold("user", limiter.Keys{Account: "ann"}, time.Now().Add(time.Second))
						start := time.Now()
						call := func() {
							var tr http.RoundTripper = e.Transport(base)
							for range levels {
								tr = wrapped{e.Transport(tr)}
							}
							if err := e.Do(WithAccount(t.Context(), "ann"), Call{Provider: "one", Keys: limiter.Keys{Account: "ann"}}, func(ctx context.Context) error {
								for range 3 {
									if err := getAll(ctx, tr, "https://one.example/items/1"); err != nil {
										return err
									}
								}
								return nil
							}); err != nil {
								t.Error(err)
							}
						}
						var wg sync.WaitGroup
						for range 1 + others {
							wg.Go(call)
						}
						wg.Wait()
						if took := time.Since(start); took > 30*time.Second || base.sent != 3+3*others {
							t.Errorf("%d requests took %v, want %d and seconds", base.sent, took, 3+3*others)
						}
					})
				})
			}
		}
	}
}

// wrapped is a base that is not known.
type wrapped struct{ http.RoundTripper }

var errRefusedDial = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
