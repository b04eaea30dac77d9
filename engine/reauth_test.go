package engine

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
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

func TestReauth(t *testing.T) {
	run := func(name string, f func(*testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
	run("once for everybody on the account", func(t *testing.T) {
		var refreshed atomic.Int32
		var token atomic.Int32
		e := testEngine(t, Options{Reauth: Reauth{Refresh: func(ctx context.Context, r ReauthRequest) error {
			refreshed.Add(1)
			time.Sleep(time.Second)
			token.Store(1)
			return nil
		}}})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				err := e.Do(t.Context(), Call{Provider: "test", Method: "GET", Keys: limiter.Keys{Account: "a"}}, func(context.Context) error {
					had := token.Load()
					time.Sleep(10 * time.Millisecond)
					if had == 0 {
						return &ResponseError{Status: 401}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := refreshed.Load(); n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
	})
	run("a second refusal needs the user", func(t *testing.T) {
		n := 0
		e := testEngine(t, Options{Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error { n++; return nil }}})
		err := e.Do(t.Context(), Call{Provider: "test", Method: "GET"}, func(context.Context) error { return &ResponseError{Status: 401} })
		var gave *GiveUpError
		if !errors.As(err, &gave) || gave.Decision.As != AsNeedsUser || n != 1 {
			t.Errorf("got %v after %d refreshes", err, n)
		}
	})
	run("a failed refresh is not repeated for a while", func(t *testing.T) {
		n := 0
		e := testEngine(t, Options{Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error {
			n++
			return &GiveUpError{Decision: Decision{As: AsNeedsUser}, Err: errors.New("invalid_grant")}
		}}})
		do := func(account string) (as string) {
			err := e.Do(t.Context(), Call{Provider: "test", Method: "GET", Keys: limiter.Keys{Account: account}}, func(context.Context) error { return &ResponseError{Status: 401} })
			var gave *GiveUpError
			if errors.As(err, &gave) {
				as = gave.Decision.As
			}
			return as
		}
		if a, b := do("a"), do("a"); a != AsNeedsUser || b != AsNeedsUser || n != 1 {
			t.Errorf("got %q, %q after %d refreshes, want needs_user twice after 1", a, b, n)
		}
		if do("b"); n != 2 {
			t.Errorf("another account was not refreshed: %d refreshes, want 2", n)
		}
		time.Sleep(time.Minute)
		if do("a"); n != 3 {
			t.Errorf("%d refreshes after a minute, want 3", n)
		}
	})
}

// tokens is a provider whose access tokens count up; a request is refused
// unless it has the newest.
type tokens struct {
	mu      sync.Mutex
	good    int // what the provider takes
	have    map[string]int
	refused atomic.Int32
	sent    atomic.Int32
}

func (s *tokens) put(req *http.Request, account string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	req.Header.Set("Authorization", fmt.Sprint("Bearer ", s.have[account]))
	return nil
}

func (s *tokens) RoundTrip(req *http.Request) (*http.Response, error) {
	s.sent.Add(1)
	s.mu.Lock()
	ok := req.Header.Get("Authorization") == fmt.Sprint("Bearer ", s.good)
	s.mu.Unlock()
	time.Sleep(10 * time.Millisecond)
	if !ok {
		s.refused.Add(1)
		return &http.Response{StatusCode: 401, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("who?")), Request: req}, nil
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

func (s *tokens) renew(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.have == nil {
		s.have = map[string]int{}
	}
	s.have[account] = s.good
}

func (s *tokens) expire() {
	s.mu.Lock()
	s.good++
	s.mu.Unlock()
}

// do runs one request of an account and tells how it ended: a status, or the
// label of a give-up, or "deferred".
func (s *tokens) do(t testing.TB, tr http.RoundTripper, call Call) string {
	req, _ := http.NewRequestWithContext(WithCall(t.Context(), call), "GET", "http://api.test/items/1", nil)
	resp, err := tr.RoundTrip(req)
	return ending(resp, err)
}

func ending(resp *http.Response, err error) string {
	if resp != nil {
		resp.Body.Close()
		if out, ok := Outcome(resp); ok && out.Decision.Defer {
			return "deferred"
		} else if ok {
			return out.Decision.As
		}
		return fmt.Sprint(resp.StatusCode)
	}
	if gave, ok := errors.AsType[*GiveUpError](err); ok {
		return gave.Decision.As
	}
	if _, ok := errors.AsType[*DeferError](err); ok {
		return "deferred"
	}
	return fmt.Sprint(err)
}

// The hook is told all it needs, on a context that is its own.
func TestReauthRequest(t *testing.T) {
	claims := base64.StdEncoding.EncodeToString([]byte(`{"access_token":{"nbf":{"essential":true,"value":"1"}}}`))
	if !strings.HasSuffix(claims, "=") {
		t.Fatal("the claims need no padding: the test proves nothing")
	}
	for _, status := range []int{401, 403} { // Microsoft documents both
		synctest.Test(t, func(t *testing.T) {
			yaml := overLoop + "rules: [{name: token, when: 'status in [401, 403]', action: reauth}]\n"
			type key struct{}
			var got ReauthRequest
			ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "trace"))
			seen := &notices{}
			e := testEngine(t, Options{Observer: seen, Reauth: Reauth{Refresh: func(hook context.Context, r ReauthRequest) error {
				got = r
				cancel() // the caller goes away, the refresh does not
				if err := hook.Err(); err != nil {
					t.Errorf("the hook's context ended with its caller: %v", err)
				}
				dl, ok := hook.Deadline()
				if !ok || time.Until(dl) != time.Minute {
					t.Errorf("the hook has until %v", dl)
				}
				c := callFrom(hook)
				if hook.Value(key{}) != "trace" || c.Account != "ann" || c.Tenant != "contoso" || c.Provider != "" || c.Operation != "" || c.N != 0 || c.State.Attempts != 0 || Attempt(hook) != 1 {
					t.Errorf("the hook's requests would be part of the call: %+v", c)
				}
				return nil
			}}}, yaml)
			call := Call{Provider: "test", Keys: limiter.Keys{Operation: "items.get", Account: "ann", Tenant: "contoso"}, N: 2, State: State{Attempts: 3}}
			s := newServer(reply{status: status, header: `WWW-Authenticate: Bearer realm="", error="insufficient_claims", claims="` + claims + `"`})
			req := request(t, ctx, "GET", "/items/1", "")
			if as := ending(e.Transport(s).RoundTrip(req.WithContext(WithCall(ctx, call)))); as != AsCanceled {
				t.Errorf("ended as %q", as)
			}
			if got.Provider != "test" || got.Account != "ann" || got.Claims != claims || got.Generation != 0 || got.Event == nil || got.Event.Status != status {
				t.Errorf("the hook got %+v", got)
			}
			synctest.Wait()
		})
	}
}

// A refusal of an old token that arrives after a refresh only repeats the call.
func TestReauthOldToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokens{good: 1}
		n := 0
		e := testEngine(t, Options{Authorize: s.put, Reauth: Reauth{Refresh: func(_ context.Context, r ReauthRequest) error {
			n++
			s.renew(r.Account)
			return nil
		}}})
		slow := roundTripper(func(req *http.Request) (*http.Response, error) {
			if s.sent.Load() == 0 {
				s.sent.Add(1)
				time.Sleep(2 * time.Minute) // the refusal comes long after somebody else's refresh
				return &http.Response{StatusCode: 401, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
			}
			return s.RoundTrip(req)
		})
		var wg sync.WaitGroup
		wg.Go(func() {
			if got := s.do(t, e.Transport(slow), Call{Keys: limiter.Keys{Account: "a"}}); got != "200" {
				t.Errorf("the late refusal: %s", got)
			}
		})
		time.Sleep(time.Second)
		if got := s.do(t, e.Transport(slow), Call{Keys: limiter.Keys{Account: "a"}}); got != "200" || n != 1 {
			t.Errorf("the other call: %s after %d refreshes", got, n)
		}
		wg.Wait()
		if n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
	})
}

// However often a new token is refused, and by however many workers, an account
// is refreshed no more than once in an interval.
func TestReauthLoopGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		n := map[string]int{}
		s := &tokens{good: 1} // which nobody ever gets
		e := testEngine(t, Options{Authorize: s.put, Reauth: Reauth{Interval: 30 * time.Second, Refresh: func(_ context.Context, r ReauthRequest) error {
			mu.Lock()
			n[r.Account]++
			mu.Unlock()
			return nil
		}}})
		tr := e.Transport(s)
		var wg sync.WaitGroup
		for _, account := range []string{"a", "b"} {
			for range 20 {
				wg.Go(func() {
					for range 100 {
						if as := s.do(t, tr, Call{Keys: limiter.Keys{Account: account}}); as != AsNeedsUser {
							t.Errorf("ended as %q", as)
						}
						time.Sleep(3 * time.Second)
					}
				})
			}
		}
		wg.Wait()
		for account, n := range n { // in 5 minutes
			if n < 9 || n > 11 {
				t.Errorf("%d refreshes of %s in 5 minutes, want 10", n, account)
			}
		}
	})
}

// Renewed lets an account's calls begin at once.
func TestRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokens{good: 1}
		n := 0
		e := testEngine(t, Options{Authorize: s.put, Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error {
			n++
			return &GiveUpError{Decision: Decision{As: AsNeedsUser}, Err: errors.New("invalid_grant")}
		}}})
		tr := e.Transport(s)
		if got := s.do(t, tr, Call{Keys: limiter.Keys{Account: "a"}}); got != AsNeedsUser {
			t.Errorf("got %s", got)
		}
		s.renew("a") // the user has signed in
		if got := s.do(t, tr, Call{Keys: limiter.Keys{Account: "a"}}); got != AsNeedsUser {
			t.Errorf("got %s; without Renewed it takes the interval", got)
		}
		p, _ := e.Provider("test")
		p.Renewed("a")
		if got := s.do(t, tr, Call{Keys: limiter.Keys{Account: "a"}}); got != "200" || n != 1 {
			t.Errorf("got %s after %d refreshes", got, n)
		}
		if n := p.credentials.InBackoff(); n != 0 {
			t.Errorf("%d credentials in backoff", n)
		}
	})
}

// A refresh for the others was not asked for with this call's claims: they get
// a refresh of their own, when the account may have one.
func TestReauthClaimsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		start := time.Now()
		var satisfied atomic.Bool
		e := testEngine(t, Options{Rand: func() float64 { return 0 }, Reauth: Reauth{Refresh: func(_ context.Context, r ReauthRequest) error {
			got = append(got, fmt.Sprintf("%v %s", time.Since(start).Round(time.Second), r.Claims))
			time.Sleep(time.Second)
			satisfied.CompareAndSwap(false, r.Claims != "")
			return nil
		}}})
		var wg sync.WaitGroup
		run := func(header string) {
			wg.Go(func() {
				refused := false
				err := e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Method: "GET"}, func(context.Context) error {
					if header != "" && !satisfied.Load() || header == "" && !refused {
						refused = true
						return &ResponseError{Status: 401, Header: http.Header{"Www-Authenticate": {header}}}
					}
					return nil
				})
				if err != nil {
					t.Errorf("with %q: %v", header, err)
				}
			})
			time.Sleep(100 * time.Millisecond)
		}
		run("")
		run(`Bearer claims="YQ=="`)
		wg.Wait()
		if want := "[0s  31s YQ==]"; fmt.Sprint(got) != want {
			t.Errorf("refreshed %v, want %s", got, want)
		}
	})
}

// Nothing of the refused attempt is held while the token endpoint is asked,
// over the same single connection.
func TestReauthHoldsNothing(t *testing.T) {
	yaml := overLoop + "limits: [{name: inflight, key: account, concurrency: 1}]\n"
	for name, size := range map[string]int{"small": 10, "huge": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var open atomic.Int32
				n := 0
				base := roundTripper(func(req *http.Request) (*http.Response, error) {
					n++
					if open.Load() != 0 {
						t.Error("a request while the refused response was open")
					}
					open.Add(1)
					resp := &http.Response{StatusCode: 200, Header: http.Header{}, Request: req}
					if n == 1 {
						resp.StatusCode = 401
					}
					resp.Body = &closer{strings.NewReader(strings.Repeat("x", size)), func() { open.Add(-1) }}
					return resp, nil
				})
				var tr http.RoundTripper
				e := testEngine(t, Options{Reauth: Reauth{Refresh: func(ctx context.Context, r ReauthRequest) error {
					if open.Load() != 0 {
						t.Error("the refused response is open while the hook runs")
					}
					resp, err := tr.RoundTrip(request(t, ctx, "POST", "/token", ""))
					if err == nil {
						resp.Body.Close()
					}
					return err
				}}}, yaml)
				tr = e.Transport(base)
				if got := ending(tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))); got != "200" || n != 3 {
					t.Errorf("ended as %s after %d requests", got, n)
				}
			})
		})
	}
}

type closer struct {
	io.Reader
	close func()
}

func (c *closer) Close() error {
	if c.close != nil {
		c.close()
		c.close = nil
	}
	return nil
}
