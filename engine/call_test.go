package engine

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// What a Call says reaches the limits: whose, how many, how dear, how large.
func TestCallTakesOfItsLimits(t *testing.T) {
	const yaml = `
version: 1
provider: test
match: [{host: api.test}]
operations: [{method: POST, path: /send, operation: send}]
costs: {units: {default: 5, send: 100}}
backoff: {default: {initial: 1s, attempts: 2}}
limits:
  - {name: units, key: account, rate: 1/m, burst: 1000, cost: units}
  - {name: requests, key: [app, tenant], rate: 1/m, burst: 1000}
  - {name: upload, key: device, rate: 1/m, burst: 1000, cost: bytes}
  - {name: inflight, key: host, concurrency: 20}
  - {name: mild, key: host, rate: 1/m, burst: 1000, operations: ["*", "!send"]}
default: fail
`
	for _, tt := range []struct {
		name                                    string
		call                                    Call
		body                                    string
		units, requests, upload, inflight, mild float64
	}{
		{name: "one", units: 5, requests: 1, inflight: 1, mild: 1},
		{name: "an operation with a price", body: "mail", units: 100, requests: 1, upload: 4, inflight: 1},
		{name: "a batch", call: Call{N: 10, Parallel: 4}, units: 50, requests: 10, inflight: 4, mild: 10},
		{name: "a price of its own", call: Call{Cost: 30, N: 2}, units: 60, requests: 2, inflight: 1, mild: 2},
		{name: "a size of its own", call: Call{Bytes: 300}, units: 5, requests: 1, upload: 300, inflight: 1, mild: 1},
		{name: "an operation of its own", call: Call{Keys: limiter.Keys{Operation: "send"}}, units: 100, requests: 1, inflight: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := testEngine(t, Options{}, yaml)
				p, _ := e.Provider("test")
				call := tt.call
				call.Account, call.App, call.Tenant, call.Device = "ann", "sync", "contoso", "phone"
				method, path := "GET", "/items/1"
				if tt.body != "" {
					method, path = "POST", "/send"
				}
				checked := false
				base := roundTripper(func(r *http.Request) (*http.Response, error) {
					checked = true
					for i, want := range []struct {
						keys limiter.Keys
						used float64
					}{
						{limiter.Keys{Account: "ann"}, tt.units}, {limiter.Keys{App: "sync", Tenant: "contoso"}, tt.requests},
						{limiter.Keys{Device: "phone"}, tt.upload}, {limiter.Keys{Host: "api.test"}, tt.inflight}, {limiter.Keys{Host: "api.test"}, tt.mild},
					} {
						st := p.Peek(p.Policy().Limits[i].Name, want.keys)
						used := 1000 - st.Level
						if i == 3 {
							used = float64(st.InFlight)
						}
						if used != want.used {
							t.Errorf("limit %q: %v used, want %v", st.Limit, used, want.used)
						}
					}
					return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
				})
				req := request(t, t.Context(), method, path, tt.body)
				if got := ending(e.Transport(base).RoundTrip(req.WithContext(WithCall(t.Context(), call)))); got != "200" || !checked {
					t.Errorf("ended as %s", got)
				}
			})
		})
	}
}

// Where calls wait for one limit, interactive ones go before backfill.
func TestCallPriority(t *testing.T) {
	yaml := overLoop + "limits: [{name: requests, key: account, rate: 1/s, burst: 1}]\n"
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{}, yaml)
		var mu sync.Mutex
		var order []limiter.Priority
		var wg sync.WaitGroup
		start := func(p limiter.Priority) {
			wg.Go(func() {
				err := e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Priority: p}, func(context.Context) error {
					mu.Lock()
					order = append(order, p)
					mu.Unlock()
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		start(limiter.Interactive) // takes what there is
		for range 3 {
			start(limiter.Backfill)
		}
		for range 3 {
			start(limiter.Interactive)
		}
		wg.Wait()
		backfill := 0
		for _, p := range order[:4] {
			if p == limiter.Backfill {
				backfill++
			}
		}
		if backfill > 1 {
			t.Errorf("went in the order %v", order)
		}
	})
}

// One account's numbers can differ at run time.
func TestLimitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{LimitFor: func(limit string, k limiter.Keys) (limiter.Limit, bool) {
			return limiter.Limit{Concurrency: 1}, limit == "inflight" && k.Account == "small"
		}})
		for account, want := range map[string]int32{"small": 1, "a": 2} {
			var inside, most atomic.Int32
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: account}}, func(context.Context) error {
						n := inside.Add(1)
						for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
						}
						time.Sleep(time.Second)
						inside.Add(-1)
						return nil
					})
				})
			}
			wg.Wait()
			if most.Load() != want {
				t.Errorf("%s: %d at once, want %d", account, most.Load(), want)
			}
		}
	})
}

// Inside Do, a failed response is decided with the operation that
// CheckResponse has found, and an error in a success is found too.
func TestCheckResponse(t *testing.T) {
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	gmail, _ := e.Provider("gmail")
	for _, tt := range []struct {
		name   string
		call   Call
		path   string
		status int
		body   string
		as     string // "" = success
	}{
		{name: "the operation from the request", path: "/gmail/v1/users/me/history", status: 404, body: `{"error":{"errors":[{"reason":"notFound"}]}}`, as: AsResync},
		{name: "the same of another operation", path: "/gmail/v1/users/me/messages/1", status: 404, body: `{"error":{"errors":[{"reason":"notFound"}]}}`, as: "gone"},
		{name: "the operation from the call", call: Call{Keys: limiter.Keys{Operation: "history.list"}}, path: "/proxy", status: 404, body: `{"error":{"errors":[{"reason":"notFound"}]}}`, as: AsResync},
		{name: "a success", path: "/gmail/v1/users/me/messages/1", status: 200, body: "x"},
		{name: "a redirect", path: "/gmail/v1/users/me/messages/1", status: 304},
	} {
		t.Run(tt.name, func(t *testing.T) {
			closed := false
			call := tt.call
			call.Method = "GET"
			var got *http.Response
			err := gmail.Do(t.Context(), call, func(ctx context.Context) error {
				req, _ := http.NewRequestWithContext(ctx, "GET", "https://gmail.googleapis.com"+tt.path, nil)
				got = &http.Response{StatusCode: tt.status, Header: http.Header{"Content-Type": {"application/json"}}, Request: req,
					Body: &closer{strings.NewReader(tt.body), func() { closed = true }}}
				return e.CheckResponse(ctx, got)
			})
			gave, _ := errors.AsType[*GiveUpError](err)
			if tt.as == "" {
				if err != nil || closed {
					t.Errorf("got %v, closed: %v; want the response as it is", err, closed)
				}
				return
			}
			resp, ok := errors.AsType[*ResponseError](err)
			if gave == nil || gave.Decision.As != tt.as || !ok || resp.Status != tt.status || string(resp.Body) != tt.body || !closed {
				t.Errorf("got %v, closed: %v; want a give-up as %q", err, closed, tt.as)
			}
		})
	}
}

// Throttling burns none of a call's own attempts, and failures do.
func TestMaxAttempts(t *testing.T) {
	throttled := reply{status: 429, header: "Retry-After: 1"}
	for _, c := range []struct {
		most    int
		replies []reply
		as      string
		sent    int
	}{
		{1, []reply{throttled, throttled}, "200", 3},
		{1, []reply{{status: 401}}, "200", 2},
		{1, []reply{{status: 503}}, AsExhausted, 1},
		{2, []reply{throttled, throttled, {status: 503}}, "200", 4},
		{2, []reply{throttled, {status: 503}, {status: 503}}, AsExhausted, 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(c.replies...)
			tr := testEngine(t, Options{Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error { return nil }}}).Transport(s)
			as := ending(tr.RoundTrip(request(t, WithCall(t.Context(), Call{MaxAttempts: c.most}), "GET", "/items/1", "")))
			if as != c.as || len(s.sent) != c.sent {
				t.Errorf("%d at most, %+v: %s after %d requests, want %s after %d", c.most, c.replies, as, len(s.sent), c.as, c.sent)
			}
		})
	}
}

// Attempts are counted by call, also in one that is made inside another's repeat.
func TestAttemptOfInnerCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{AttemptHeader: "X-Attempt"})
		err := e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Method: "GET"}, func(ctx context.Context) error {
			if Attempt(ctx) == 1 {
				return io.ErrUnexpectedEOF
			}
			err := e.Do(ctx, Call{Provider: "test", Keys: limiter.Keys{Account: "b"}, Method: "GET"}, func(ctx context.Context) error {
				if n := Attempt(ctx); n != 1 {
					t.Errorf("the first attempt of an inner Do is number %d", n)
				}
				return nil
			})
			if err != nil {
				return err
			}
			resp, err := e.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
				if n, h := Attempt(r.Context()), r.Header.Get("X-Attempt"); n != 1 || h != "1" {
					t.Errorf("the first attempt of an inner request is number %d, its header %s", n, h)
				}
				return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
			})).RoundTrip(request(t, ctx, "GET", "/items/1", ""))
			if err == nil {
				resp.Body.Close()
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}
