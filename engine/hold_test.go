package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
)

// A hold closes what its rule names, and nothing else.
func TestHoldAtTheRulesScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{Rand: func() float64 { return 0 }})
		base := newServer(reply{status: 403, header: "Retry-After: 10", body: `{"error":{"code":"sendQuota"}}`})
		tr := e.Transport(base)
		start := time.Now()
		call := func(method, path string, want time.Duration) {
			body := ""
			if method == "POST" {
				body = "x"
			}
			resp, err := tr.RoundTrip(request(t, t.Context(), method, path, body))
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			if took := time.Since(start); took != want {
				t.Errorf("%s %s went out after %v, want %v", method, path, took, want)
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() { call("POST", "/send", 10*time.Second) }) // the refused one, and the probe that ends the hold
		synctest.Wait()
		wg.Go(func() { call("POST", "/send", 10*time.Second) })
		wg.Go(func() { call("GET", "/items/1", 0) })
		wg.Go(func() { call("POST", "/mark", 0) })
		wg.Wait()
	})
}

// When a hold ends, those who waited go at the limit's rate, not all at once.
func TestHoldReleasesAtTheRate(t *testing.T) {
	yaml := overLoop + "limits: [{name: inflight, key: account, concurrency: 100}, {name: requests, key: account, rate: 2/s, burst: 20}]\n"
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{Rand: func() float64 { return 0 }}, yaml)
		s := newServer(reply{status: 429, header: "Retry-After: 10"})
		tr := e.Transport(s)
		var wg sync.WaitGroup
		worker := func() {
			resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
		}
		wg.Go(worker)
		synctest.Wait()
		for range 9 {
			wg.Go(worker)
		}
		wg.Wait()
		if len(s.times) != 11 {
			t.Fatalf("sent %d requests, want 11", len(s.times))
		}
		slices.Sort(s.times)
		for i, at := range s.times[1:] {
			if want := 10*time.Second + time.Duration(i+1)*500*time.Millisecond; at < want-time.Millisecond || at > want+5*time.Millisecond {
				t.Errorf("request %d went out at %v, want %v", i+1, at, want)
			}
		}
	})
}

// Throttles without a hint hold the key longer and longer, whichever calls they
// hit, and a success starts anew.
func TestHoldEscalatesByKey(t *testing.T) {
	for _, way := range []string{"Transport", "Do"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := &notices{}
				e := testEngine(t, Options{Observer: seen, Rand: func() float64 { return 0 }})
				p, _ := e.Provider("test")
				one := func(status int) {
					call := Call{Provider: "test", Keys: limiter.Keys{Account: "a", Operation: "items.get"}, Method: "GET", MaxAttempts: 1}
					if way == "Do" {
						e.Do(t.Context(), call, func(context.Context) error {
							if status == 200 {
								return nil
							}
							return &ResponseError{Status: status}
						})
						return
					}
					resp, err := e.Transport(newServer(reply{status: status})).RoundTrip(request(t, t.Context(), "GET", "/items/1", "").WithContext(WithCall(t.Context(), call)))
					if err != nil {
						t.Fatal(err)
					}
					resp.Body.Close()
				}
				for range 5 {
					one(429) // a new call each time
				}
				one(503) // no refusal, and no proof either
				one(429)
				one(200)
				one(429)
				var got []time.Duration
				for _, n := range seen.of(NoticeHold) {
					if n.Limit != "requests" || n.Decision == nil || n.Decision.Rule.Name != "throttled" || n.Version == "" {
						t.Errorf("told %+v", n)
					}
					got = append(got, n.Duration)
				}
				if want := "[1s 2s 4s 8s 8s 8s 1s]"; fmt.Sprint(got) != want {
					t.Errorf("held for %v, want %v", got, want)
				}
				if st := p.Peek("requests", limiter.Keys{Account: "a"}); st.Refused != 1 {
					t.Errorf("%d refusals in a row, want 1", st.Refused)
				}
			})
		})
	}
}

// Refusals of requests that were on their way already when the first refusal
// was counted are one refusal together.
func TestHoldCountsOneWallOnce(t *testing.T) {
	yaml := overLoop + "limits: [{name: inflight, key: account, concurrency: 100}]\n"
	synctest.Test(t, func(t *testing.T) {
		seen := &notices{}
		e := testEngine(t, Options{Observer: seen, Rand: func() float64 { return 0 }}, yaml)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Method: "GET", MaxAttempts: 1}, func(context.Context) error {
					time.Sleep(time.Duration(i+1) * 10 * time.Millisecond)
					return &ResponseError{Status: 429}
				})
			})
		}
		wg.Wait()
		for _, n := range seen.of(NoticeHold) {
			if n.Duration != time.Second {
				t.Errorf("held for %v, want 1 s each time", n.Duration)
			}
		}
	})
}

// The hold applies whatever becomes of the call that met the refusal.
func TestHoldOutlivesItsCall(t *testing.T) {
	yaml := overLoop + "rules: [{name: banned, when: status == 418, action: fail, as: banned, hold: requests}]\n"
	for _, tt := range []struct {
		name  string
		call  Call
		limit time.Duration
		reply reply
	}{
		{name: "deferred", call: Call{MaxInline: time.Second}, reply: reply{status: 429, header: "Retry-After: 30"}},
		{name: "no time left", limit: 5 * time.Second, reply: reply{status: 429, header: "Retry-After: 30"}},
		{name: "attempts used up", call: Call{State: State{Waits: 20, Attempts: 20}}, reply: reply{status: 429, header: "Retry-After: 30"}},
		{name: "the rule fails", reply: reply{status: 418, header: "Retry-After: 30"}},
		{name: "vetoed", reply: reply{status: 429, header: "X-Should-Retry: false", body: `{"error":{"wait":30}}`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := testEngine(t, Options{Rand: func() float64 { return 0 }}, yaml)
				ctx := t.Context()
				if tt.limit > 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, tt.limit)
					defer cancel()
				}
				call := tt.call
				call.Account = "a"
				start := time.Now()
				req := request(t, ctx, "GET", "/items/1", "")
				if as := ending(e.Transport(newServer(tt.reply)).RoundTrip(req.WithContext(WithCall(ctx, call)))); as == "200" {
					t.Errorf("ended as %s", as)
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("ended after %v", took)
				}
				get(t, e, newServer())
				if took := time.Since(start); took < 30*time.Second || took > 31*time.Second {
					t.Errorf("the next call went out after %v, want 30 s", took)
				}
			})
		})
	}
}

// Nobody gets a refused call's permit before the hold is there: with one permit
// no request follows a refusal.
func TestHoldBeforeThePermitGoesBack(t *testing.T) {
	yaml := overLoop + "limits: [{name: inflight, key: account, concurrency: 1}]\n"
	for _, way := range []string{"Transport", "Transport, no body", "Do"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := testEngine(t, Options{Rand: func() float64 { return 0 }, Observer: ObserverFunc(func(_ context.Context, n *Notice) {
					if n.Kind == NoticeDecision {
						time.Sleep(20 * time.Millisecond) // a slow observer, between the decision and the hold
					}
				})}, yaml)
				s := newServer(reply{status: 429, header: "Retry-After: 30"})
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						if way == "Do" {
							e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Method: "GET", MaxAttempts: 1}, func(ctx context.Context) error {
								resp, err := s.RoundTrip(request(t, ctx, "GET", "/items/1", ""))
								if err != nil {
									return err
								}
								defer resp.Body.Close()
								return e.CheckResponse(ctx, resp)
							})
							return
						}
						var base http.RoundTripper = s
						if way == "Transport, no body" {
							base = roundTripper(func(r *http.Request) (*http.Response, error) {
								resp, err := s.RoundTrip(r)
								if err == nil {
									resp.Body.Close()
									resp.Body = http.NoBody
								}
								return resp, err
							})
						}
						ending(e.Transport(base).RoundTrip(request(t, t.Context(), "GET", "/items/1", "")))
					})
				}
				wg.Wait()
				slices.Sort(s.times)
				for _, at := range s.times[1:] {
					if at < 30*time.Second {
						t.Errorf("a request went out at %v, after the refusal and before the hold ended", at)
					}
				}
			})
		})
	}
}

// What never reached the provider has used nothing of its limits.
func TestUnsentCallsAreRefunded(t *testing.T) {
	yaml := overLoop + "limits: [{name: requests, key: account, rate: 1/m, burst: 2}]\n"
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{}, yaml)
		p, _ := e.Provider("test")
		s := newServer(reply{err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}})
		req := request(t, t.Context(), "GET", "/items/1", "")
		if as := ending(e.Transport(s).RoundTrip(req.WithContext(WithCall(t.Context(), Call{Keys: limiter.Keys{Account: "a"}, MaxAttempts: 1})))); as != AsExhausted {
			t.Fatalf("ended as %s", as)
		}
		if st := p.Peek("requests", limiter.Keys{Account: "a"}); st.Level < 2 {
			t.Errorf("%v units are left of 2", st.Level)
		}
	})
}

func TestBreakerHalfOpen(t *testing.T) {
	const many = overLoop + "limits: [{name: inflight, key: account, concurrency: 100}]\n"
	const yaml = many + "breaker: {failures: 2, open: 30s, probes: 1}\n"
	open := func(t *testing.T, e *Engine) {
		t.Helper()
		for range 2 {
			ending(e.Transport(newServer(reply{status: 503})).RoundTrip(one(t, "api.test")))
		}
		if gave := giveUp(t, e, newServer(), "api.test"); gave == nil || gave.Decision.Reason != decision.ReasonBreaker || gave.Decision.As != AsUnavailable || !gave.Until.After(time.Now()) || gave.Decision.Rule == nil {
			t.Fatalf("the breaker is not open: %v", gave)
		}
	}
	run := func(name string, f func(*testing.T, *Engine)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, testEngine(t, Options{}, yaml)) })
		})
	}
	run("only the host is down", func(t *testing.T, e *Engine) {
		open(t, e)
		if gave := giveUp(t, e, newServer(), "other.test"); gave != nil {
			t.Errorf("another host: %v", gave)
		}
	})
	run("refusals do not open it, answers close it", func(t *testing.T, e *Engine) {
		for range 5 {
			ending(e.Transport(newServer(reply{status: 404})).RoundTrip(one(t, "api.test")))
		}
		for range 3 {
			ending(e.Transport(newServer(reply{status: 503})).RoundTrip(one(t, "api.test")))
			ending(e.Transport(newServer(reply{status: 404})).RoundTrip(one(t, "api.test")))
		}
		if gave := giveUp(t, e, newServer(), "api.test"); gave != nil {
			t.Error(gave)
		}
	})
	run("one probe at a time", func(t *testing.T, e *Engine) {
		open(t, e)
		time.Sleep(31 * time.Second)
		s := newServer(reply{status: 200, took: time.Second})
		var wg sync.WaitGroup
		ends := map[string]int{}
		var mu sync.Mutex
		for range 10 {
			wg.Go(func() {
				as := ending(e.Transport(s).RoundTrip(one(t, "api.test")))
				mu.Lock()
				ends[as]++
				mu.Unlock()
			})
		}
		wg.Wait()
		if len(s.sent) != 1 || ends["200"] != 1 || ends[AsUnavailable] != 9 {
			t.Errorf("%d probes, ends %v; want one probe", len(s.sent), ends)
		}
		if gave := giveUp(t, e, newServer(), "api.test"); gave != nil {
			t.Errorf("after a good probe: %v", gave)
		}
	})
	run("a failed probe opens it again", func(t *testing.T, e *Engine) {
		open(t, e)
		time.Sleep(31 * time.Second)
		ending(e.Transport(newServer(reply{status: 503})).RoundTrip(one(t, "api.test")))
		if gave := giveUp(t, e, newServer(), "api.test"); gave == nil {
			t.Error("it is closed")
		}
	})
	run("a probe whose caller gave up proves nothing, and blocks nobody", func(t *testing.T, e *Engine) {
		open(t, e)
		time.Sleep(31 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		s := newServer(reply{took: time.Hour})
		if as := ending(e.Transport(s).RoundTrip(one(t, "api.test").WithContext(ctx))); as != AsCanceled {
			t.Errorf("ended as %s", as)
		}
		if gave := giveUp(t, e, newServer(), "api.test"); gave != nil {
			t.Errorf("the next probe: %v", gave)
		}
	})
	run("a reload with a call in flight", func(t *testing.T, e *Engine) {
		s := newServer(reply{status: 503}, reply{status: 503}) // an old call, which retries
		var wg sync.WaitGroup
		wg.Go(func() {
			req := one(t, "api.test")
			ending(e.Transport(s).RoundTrip(req.WithContext(WithCall(t.Context(), Call{Provider: "test"}))))
		})
		synctest.Wait()
		load(t, e, many+"breaker: {failures: 2, open: 40s, probes: 1}\n")
		open(t, e)
		wg.Wait()
		if gave := giveUp(t, e, newServer(), "api.test"); gave == nil {
			t.Error("the old call's breaker has closed the new one")
		}
	})
}

// one is a request whose call makes a single attempt.
func one(t testing.TB, host string) *http.Request {
	req, err := http.NewRequestWithContext(WithCall(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, MaxAttempts: 1}), "GET", "http://"+host+"/items/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func giveUp(t testing.TB, e *Engine, base http.RoundTripper, host string) *GiveUpError {
	resp, err := e.Transport(base).RoundTrip(one(t, host))
	if err == nil {
		resp.Body.Close()
		return nil
	}
	gave, ok := errors.AsType[*GiveUpError](err)
	if !ok {
		t.Fatal(err)
	}
	return gave
}

// Limits are named: a reload that shifts them closes the one that was meant, and
// a name that the policy does not have is an error.
func TestHoldByName(t *testing.T) {
	policyOf := func(limits string) string {
		return "version: 1\nprovider: test\nmatch: [{host: api.test}]\nlimits:\n" + limits + "rules: [{name: bad, when: status >= 400, action: fail}]\ndefault: fail\n"
	}
	e := testEngine(t, Options{}, policyOf("  - {name: first, key: account}\n  - {name: sending, key: account}\n"))
	p, err := e.Provider("test")
	if err != nil {
		t.Fatal(err)
	}
	k := limiter.Keys{Account: "a"}
	until := time.Now().Add(time.Hour)
	held := func() (names []string) {
		for s := range p.Limiter().Held() {
			names = append(names, s.Limit)
		}
		return names
	}
	if err := e.Replace(testEngine(t, Options{}, policyOf("  - {name: sending, key: account}\n  - {name: second, key: account}\n")).Policies()); err != nil {
		t.Fatal(err)
	}
	cause := limiter.Cause{Rule: "by hand"}
	if err := p.Hold("sending", k, until, cause); err != nil {
		t.Fatal(err)
	}
	if got, st := held(), p.Peek("sending", k); len(got) != 1 || got[0] != "sending" || st.Cause != cause || st.Held.Sub(until).Abs() > time.Microsecond {
		t.Errorf("held %q, %+v, want sending until %v", got, st, until)
	}
	for _, name := range []string{"first", "none", ""} {
		if p.Hold(name, k, until) == nil || p.Lift(name, k) == nil || p.Peek(name, k) != (limiter.State{}) {
			t.Errorf("limit %q: no error, though there is no such limit", name)
		}
	}
	if err := p.Lift("sending", k); err != nil || len(held()) != 0 {
		t.Errorf("%v, held %q after Lift, want nil and none", err, held())
	}
}
