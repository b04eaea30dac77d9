package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// What an observer is told of a call, one line a notice.
func TestNotices(t *testing.T) {
	for _, c := range []struct {
		name    string
		replies []reply
		want    []string
	}{
		{"success", []reply{{status: 200}}, []string{
			"attempt 1 status=200 decided=-",
		}},
		{"a retry that succeeds", []reply{{status: 503}, {status: 200}}, []string{
			"attempt 1 status=503 decided=retry by server",
			"decision 1 status=503 decided=retry by server",
			"wait 1 status=503 decided=retry by server",
			"attempt 2 status=200 decided=-",
		}},
		{"a failure for good", []reply{{status: 400}}, []string{
			"attempt 1 status=400 decided=fail by default",
			"decision 1 status=400 decided=fail by default",
			"give-up 1 status=400 decided=fail by default",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []string
				e := testEngine(t, Options{Observer: ObserverFunc(func(_ context.Context, n *Notice) {
					status, decided := fmt.Sprint(n.Status), "-"
					if n.Event != nil && n.Event.Status != n.Status {
						t.Errorf("%v: status %d beside an event of %d", n.Kind, n.Status, n.Event.Status)
					}
					if success := n.Kind == NoticeAttempt && n.Status == 200; success != (n.Event == nil) {
						t.Errorf("%v %d: status %d, event %v", n.Kind, n.Attempt, n.Status, n.Event)
					}
					if d := n.Decision; d != nil {
						decided = fmt.Sprintf("%v by %s", d.Action, d.Rule.Name)
					}
					got = append(got, fmt.Sprintf("%v %d status=%s decided=%s", n.Kind, n.Attempt, status, decided))
					if n.Provider != "test" || n.Account != "a" || n.Operation != "items.get" || n.Method != "GET" || n.Host != "api.test" {
						t.Errorf("%v: provider %q, account %q, operation %q, method %q, host %q",
							n.Kind, n.Provider, n.Account, n.Operation, n.Method, n.Host)
					}
				})})
				resp, err := e.Transport(newServer(c.replies...)).RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if !slices.Equal(got, c.want) {
					t.Errorf("told\n%q\nwant\n%q", got, c.want)
				}
			})
		})
	}
}

// A call that is kept back before an attempt says so, and one that is not does not.
func TestNoticeQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		e := testEngine(t, Options{
			Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error { return RetryAfter(7*time.Second, errors.New("busy")) }},
			Observer: ObserverFunc(func(_ context.Context, n *Notice) {
				if n.Kind == NoticeQueued {
					got = append(got, fmt.Sprintf("%s %s %d %v", n.Account, n.Operation, n.Attempt, n.Duration))
				}
			}),
		})
		p, err := e.Provider("test")
		if err != nil {
			t.Fatal(err)
		}
		do := func(account string, fn func(n int) error) {
			t.Helper()
			err := p.Do(t.Context(), Call{Keys: limiter.Keys{Account: account, Operation: "items.get"}, Method: "GET"}, func(ctx context.Context) error { return fn(Attempt(ctx)) })
			if err != nil {
				t.Error(err)
			}
		}
		p.Hold("requests", limiter.Keys{Account: "ann"}, time.Now().Add(3*time.Second))
		do("ben", func(int) error { return nil })
		do("ann", func(int) error { return nil })
		refused := make(chan struct{})
		var first sync.WaitGroup
		first.Go(func() {
			do("cat", func(n int) error {
				if n == 1 {
					close(refused)
					return &ResponseError{Status: 401}
				}
				return nil
			})
		})
		<-refused
		synctest.Wait() // the refresh has failed; the next may begin 30 s after it
		do("cat", func(int) error { return nil })
		first.Wait()
		if want := []string{"ann items.get 0 3.01s", "cat items.get 0 30s"}; !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

func TestObserversTellsAll(t *testing.T) {
	var told []int
	count := func(i int) Observer {
		return ObserverFunc(func(context.Context, *Notice) { told = append(told, i) })
	}
	Observers{count(1), nil, count(2)}.Observe(t.Context(), &Notice{Decision: &Decision{Action: policy.Retry}})
	if !slices.Equal(told, []int{1, 2}) {
		t.Errorf("told %v, want [1 2]", told)
	}
}

// What attempts cost of the limits adds up: a call inside another is paid once, and what was
// never sent costs nothing.
func TestNoticeUnits(t *testing.T) {
	const yaml = overLoop + `
costs: {units: {default: 5, send: 100}}
limits:
  - {name: user, key: account, rate: 250/s, burst: 250, cost: units}
  - {name: bytes, key: account, quota: 100MB/1h, cost: bytes}
`
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, ctx context.Context, e *Engine, tr http.RoundTripper)
		want map[string]int64 // by operation
	}{
		{"a success", func(t *testing.T, ctx context.Context, e *Engine, tr http.RoundTripper) {
			resp, err := tr.RoundTrip(request(t, ctx, "GET", "/items/1", ""))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}, map[string]int64{"items.get": 5}},
		{"two attempts", func(t *testing.T, ctx context.Context, e *Engine, tr http.RoundTripper) {
			n := 0
			e.Do(ctx, Call{Provider: "test", Keys: limiter.Keys{Account: "a", Operation: "items.get"}, Method: "GET"}, func(context.Context) error {
				if n++; n == 1 {
					return &ResponseError{Status: 503}
				}
				return nil
			})
		}, map[string]int64{"items.get": 10}},
		{"several in one", func(t *testing.T, ctx context.Context, e *Engine, tr http.RoundTripper) {
			e.Do(ctx, Call{Provider: "test", Keys: limiter.Keys{Account: "a", Operation: "items.get"}, N: 7}, func(context.Context) error { return nil })
		}, map[string]int64{"items.get": 35}},
		{"never sent", func(t *testing.T, ctx context.Context, e *Engine, tr http.RoundTripper) {
			e.Do(ctx, Call{Provider: "test", Keys: limiter.Keys{Account: "a", Operation: "send"}, MaxAttempts: 1}, func(context.Context) error {
				return &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
			})
		}, map[string]int64{"send": 0}},
		{"a call inside another", func(t *testing.T, ctx context.Context, e *Engine, tr http.RoundTripper) {
			e.Do(ctx, Call{Provider: "test", Keys: limiter.Keys{Account: "a", Operation: "items.get"}, Method: "GET"}, func(ctx context.Context) error {
				for range 2 { // the second pays for itself
					resp, err := tr.RoundTrip(request(t, ctx, "GET", "/items/1", ""))
					if err != nil {
						return err
					}
					resp.Body.Close()
				}
				return nil
			})
		}, map[string]int64{"items.get": 10}},
		{"no limit that counts units", func(t *testing.T, ctx context.Context, e *Engine, tr http.RoundTripper) {
			e.Do(ctx, Call{Provider: "bare", Keys: limiter.Keys{Account: "a"}}, func(context.Context) error { return nil })
		}, map[string]int64{"": 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := map[string]int64{}
				e := testEngine(t, Options{Observer: ObserverFunc(func(_ context.Context, n *Notice) {
					if n.Kind == NoticeAttempt {
						got[n.Operation] += n.Units
					} else if n.Units != 0 {
						t.Errorf("%v has %d units", n.Kind, n.Units)
					}
				})}, yaml, "version: 1\nprovider: bare\ndefault: fail\n")
				tr := e.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
				}))
				tt.run(t, t.Context(), e, tr)
				if !maps.Equal(got, tt.want) {
					t.Errorf("got %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// Whatever makes a call wait or ends it says by which limit, until when, and why.
func TestNoticesKnowTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []Notice
		e := testEngine(t, Options{
			Rand:     func() float64 { return 0 },
			Observer: ObserverFunc(func(_ context.Context, n *Notice) { told = append(told, *n) }),
			Reauth:   Reauth{Refresh: func(context.Context, ReauthRequest) error { return RetryAfter(7*time.Second, errors.New("busy")) }},
		}, overLoop+"limits: [{name: large, key: account, rate: 1/s, burst: 2, operations: [huge]}]\n")
		p, err := e.Provider("test")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		do := func(ctx context.Context, c Call, replies ...error) error {
			c.Account = "a"
			return p.Do(ctx, c, func(context.Context) error {
				if len(replies) == 0 {
					return nil
				}
				reply := replies[0]
				replies = replies[1:]
				return reply
			})
		}
		get := Call{Keys: limiter.Keys{Operation: "items.get"}, Method: "GET"}
		huge := Call{Keys: limiter.Keys{Operation: "huge"}, N: 3}
		throttled := &ResponseError{Status: 429, Header: http.Header{"Retry-After": {"30"}}}
		for _, tt := range []struct {
			name string
			run  func()
			kind NoticeKind
			want func(n Notice) bool
		}{
			{"hold", func() { do(t.Context(), get, throttled) }, NoticeHold, func(n Notice) bool {
				return n.Limit == "requests" && n.Cause.Rule == "throttled" && n.Cause.Status == 429 && n.Cause.Operation == "items.get" && !n.Cause.At.IsZero() && n.Until.Sub(n.Time) == n.Duration
			}},
			{"wait", func() { do(t.Context(), get, throttled) }, NoticeWait, func(n Notice) bool {
				return n.Decision.Rule.Name == "throttled" && n.Status == 429 && n.Operation == "items.get" && n.Duration > 0 && n.Until.Sub(n.Time) == n.Duration
			}},
			{"the context ends in the queue", func() {
				p.Hold("requests", limiter.Keys{Account: "a"}, time.Now().Add(30*time.Second), limiter.Cause{Rule: "throttled", Status: 429})
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				err := do(ctx, get)
				if w, ok := errors.AsType[*limiter.WaitError](err); !ok || w.Limit != "requests" || w.Cause.Rule != "throttled" {
					t.Errorf("given up as %v", err)
				}
			}, NoticeGiveUp, func(n Notice) bool {
				return n.Limit == "requests" && n.Cause.Rule == "throttled" && n.Until.After(n.Time)
			}},
			{"handed back by a hold", func() {
				p.Hold("requests", limiter.Keys{Account: "a"}, time.Now().Add(time.Hour), limiter.Cause{Rule: "throttled", Status: 429})
				do(t.Context(), get)
				p.Lift("requests", limiter.Keys{Account: "a"})
			}, NoticeDefer, func(n Notice) bool {
				return n.Limit == "requests" && n.Cause.Rule == "throttled" && n.Until.Sub(n.Time).Round(time.Second) == time.Hour
			}},
			{"too large", func() { do(t.Context(), huge) }, NoticeGiveUp, func(n Notice) bool { return n.Limit == "large" }},
			{"kept back by credentials", func() {
				do(t.Context(), Call{Keys: limiter.Keys{Operation: "items.get"}, Method: "GET", MaxInline: time.Second}, &ResponseError{Status: 401})
				do(t.Context(), get)
			}, NoticeQueued, func(n Notice) bool { return n.Limit == "" && n.Err != nil && strings.Contains(n.Err.Error(), "busy") }},
		} {
			told = nil
			tt.run()
			found := false
			for _, n := range told {
				found = found || n.Kind == tt.kind && tt.want(n)
			}
			if !found {
				t.Errorf("%s: got %+v, want a %v that knows it (began %v)", tt.name, told, tt.kind, start)
			}
		}
	})
}
