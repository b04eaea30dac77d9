package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
)

// A request of the hook's own that is refused does not wait for the refresh that
// it is part of, and the hook is not run inside itself.
func TestReauthHookRefusedItself(t *testing.T) {
	for _, tt := range []struct {
		name string
		api  string // whose refusal begins it
		send func(ctx context.Context, e *Engine, tr http.RoundTripper) error
		want string
	}{
		{"a token endpoint that no policy claims, through Transport", gmailURL, func(ctx context.Context, e *Engine, tr http.RoundTripper) error {
			req, _ := http.NewRequestWithContext(ctx, "POST", unknownIdP, strings.NewReader("grant_type=refresh_token"))
			resp, err := tr.RoundTrip(req)
			if err != nil {
				return err
			}
			resp.Body.Close()
			if out, _ := Outcome(resp); resp.StatusCode != 401 || out.Decision.As != AsPermanent || out.Decision.Reason != decision.ReasonReauthError {
				t.Errorf("HTTP %d, %+v", resp.StatusCode, out.Decision)
			}
			return errors.New("refused")
		}, AsPermanent},
		{"the same, where the API's host is not claimed either", unknownAPI, func(ctx context.Context, e *Engine, tr http.RoundTripper) error {
			req, _ := http.NewRequestWithContext(ctx, "POST", unknownIdP, nil)
			resp, err := tr.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
				err = errors.New("refused")
			}
			return err
		}, AsPermanent},
		{"through Do: the endpoint's answer counts", gmailURL, func(ctx context.Context, e *Engine, _ http.RoundTripper) error {
			return e.Do(ctx, Call{Provider: "http", Keys: limiter.Keys{Account: "a"}, Method: "POST"}, func(context.Context) error {
				return &ResponseError{Provider: "http", Status: 401, Body: []byte(`{"error":"invalid_client"}`)}
			})
		}, "operator"},
		{"through Do: no account is disconnected", gmailURL, func(ctx context.Context, e *Engine, _ http.RoundTripper) error {
			return e.Do(ctx, Call{Provider: "http", Keys: limiter.Keys{Account: "a"}, Method: "POST"}, refused401)
		}, "200"}, // HTTP 401 without a word of OAuth is no evidence: later
		{"the new token is tried", gmailURL, func(ctx context.Context, e *Engine, tr http.RoundTripper) error {
			if as := ending(tr.RoundTrip(mustRequest(ctx, gmailURL))); as != AsPermanent {
				t.Errorf("the hook's own request ended as %q", as)
			}
			return errors.New("the new token is refused")
		}, AsPermanent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var runs atomic.Int32
				var e *Engine
				var tr http.RoundTripper
				e = builtinEngine(t, Options{Rand: func() float64 { return 0 }, Reauth: Reauth{Refresh: func(ctx context.Context, r ReauthRequest) error {
					if runs.Add(1) > 1 {
						return nil
					}
					start := time.Now()
					err := tt.send(ctx, e, tr)
					if took := time.Since(start); took > 0 {
						t.Errorf("the hook's request took %v", took)
					}
					return err
				}}})
				tr = e.Transport(answers(func(*http.Request) int {
					if runs.Load() > 1 {
						return 200
					}
					return 401
				}))
				start := time.Now()
				got := fetch(t, tr, "a", tt.api)
				if got != tt.want || got != "200" && (runs.Load() != 1 || time.Since(start) > 0) {
					t.Errorf("ended as %q after %v and %d runs, want %q after one", got, time.Since(start), runs.Load(), tt.want)
				}
			})
		})
	}
}

func mustRequest(ctx context.Context, url string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		panic(err)
	}
	return req
}

// With a context that is not the hook's, its refused request waits for the very
// refresh that it is part of, but no longer than any call does.
func TestReauthHookRefusedUnknowingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr http.RoundTripper
		e := builtinEngine(t, Options{MaxInline: time.Second, Reauth: Reauth{Refresh: func(ctx context.Context, r ReauthRequest) error {
			return errors.New("the hook's request: " + ending(tr.RoundTrip(mustRequest(WithAccount(context.Background(), r.Account), gmailURL))))
		}}})
		tr = e.Transport(answers(func(*http.Request) int { return 401 }))
		start := time.Now()
		if got := fetch(t, tr, "a", gmailURL); got != "deferred" || time.Since(start) > time.Minute+credential.Grace {
			t.Errorf("ended as %q after %v", got, time.Since(start))
		}
		synctest.Wait()
		if got := fetch(t, tr, "a", gmailURL); got != AsPermanent {
			t.Errorf("after the hook has returned: %q", got)
		}
	})
}

// What a hook needs of other accounts and providers is refreshed as ever.
func TestReauthInsideReauth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr http.RoundTripper
		var mu sync.Mutex
		have := map[string]bool{}
		var order []string
		e := builtinEngine(t, Options{Reauth: Reauth{Refresh: func(ctx context.Context, r ReauthRequest) error {
			who := r.Provider + " " + r.Account
			if who == "gmail a" { // gets its tokens from a broker that has credentials of its own, and looks at another API
				if got := ending(tr.RoundTrip(mustRequest(WithAccount(ctx, "broker"), "https://vault.example.com/a"))); got != "200" {
					t.Errorf("the broker: %s", got)
				}
				if got := ending(tr.RoundTrip(mustRequest(ctx, calendarURL))); got != "200" {
					t.Errorf("the calendar: %s", got)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			have[who] = true
			order = append(order, who)
			return nil
		}}})
		tr = e.Transport(answers(func(req *http.Request) int {
			who := map[string]string{"gmail.googleapis.com": "gmail", "vault.example.com": "http", "www.googleapis.com": "google_calendar"}[req.URL.Host] + " " + callFrom(req.Context()).Account
			mu.Lock()
			defer mu.Unlock()
			if !have[who] {
				return 401
			}
			return 200
		}))
		if got := fetch(t, tr, "a", gmailURL); got != "200" {
			t.Errorf("ended as %s", got)
		}
		if want := []string{"http broker", "google_calendar a", "gmail a"}; !slices.Equal(order, want) {
			t.Errorf("refreshed %q, want %q", order, want)
		}
	})
}

// What a hook sends for its account is never stopped by a failed refresh, since
// it is what may end that. Other accounts' calls are, and the hook's own once it
// has returned.
func TestReauthHookIsNotStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e *Engine
		var tr http.RoundTripper
		var leaked context.Context
		e = builtinEngine(t, Options{MaxInline: time.Millisecond, Reauth: Reauth{Refresh: func(ctx context.Context, r ReauthRequest) error {
			if r.Provider == "http" {
				return RetryAfter(time.Second, errors.New("busy"))
			}
			leaked = context.WithoutCancel(ctx)
			for account, want := range map[string]string{"a": "gone", "b": "deferred"} {
				if got := ending(tr.RoundTrip(mustRequest(WithAccount(ctx, account), unknownIdP))); got != want {
					t.Errorf("the hook's request for %s ended as %q, want %q", account, got, want)
				}
			}
			return errors.New("no")
		}}})
		var idp int
		tr = e.Transport(answers(func(req *http.Request) int {
			if req.URL.Host == "idp.example.com" {
				idp++
				return 404
			}
			return 401
		}))
		for _, account := range []string{"a", "b"} { // both are stopped at hosts that no policy claims
			if got := fetch(t, tr, account, unknownAPI); got != "deferred" {
				t.Errorf("%s ended as %q", account, got)
			}
		}
		if got := fetch(t, tr, "a", gmailURL); got != AsPermanent || idp != 1 {
			t.Errorf("ended as %q, %d requests of the hook's were sent; want permanent and 1", got, idp)
		}
		if got := ending(tr.RoundTrip(mustRequest(leaked, unknownIdP))); got != "deferred" || idp != 1 {
			t.Errorf("after the hook: ended as %q, %d requests sent", got, idp)
		}
	})
}

// A context that outlives its hook makes no calls of the hook's.
func TestReauthHookContextOutlivesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokens{good: 1}
		var leaked context.Context
		runs := 0
		e := testEngine(t, Options{Authorize: s.put, Reauth: Reauth{Refresh: func(ctx context.Context, r ReauthRequest) error {
			runs++
			s.renew(r.Account)
			leaked = context.WithoutCancel(ctx)
			return nil
		}}})
		tr := e.Transport(s)
		s.do(t, tr, Call{Keys: limiter.Keys{Account: "a"}})
		s.expire()
		time.Sleep(time.Hour)
		if got := ending(tr.RoundTrip(mustRequest(leaked, "http://api.test/items/1"))); got != "200" || runs != 2 {
			t.Errorf("ended as %q after %d refreshes, want 200 after 2", got, runs)
		}
	})
}

// Hooks that wait for each other end: at once where one has begun the other,
// and with their own time where two calls have.
func TestReauthHooksInACircle(t *testing.T) {
	for _, together := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var tr http.RoundTripper
			var runs atomic.Int32
			e := builtinEngine(t, Options{Reauth: Reauth{Refresh: func(ctx context.Context, r ReauthRequest) error {
				runs.Add(1)
				time.Sleep(time.Second)
				other := map[string]string{"a": "b", "b": "a"}[r.Account]
				return fmt.Errorf("cannot: %s", ending(tr.RoundTrip(mustRequest(WithAccount(ctx, other), gmailURL))))
			}}})
			tr = e.Transport(answers(func(*http.Request) int { return 401 }))
			start := time.Now()
			var wg sync.WaitGroup
			for _, account := range []string{"a", "b"} {
				if account == "b" && !together {
					break
				}
				wg.Go(func() {
					if got := fetch(t, tr, account, gmailURL); got == "200" || got == AsNeedsUser {
						t.Errorf("account %s ended as %s", account, got)
					}
				})
			}
			wg.Wait()
			took, most := time.Since(start), 2*time.Second
			if together {
				most = time.Minute // Reauth.Timeout
			}
			if took > most || runs.Load() != 2 {
				t.Errorf("together %v: %v and %d runs, want at most %v and 2", together, took, runs.Load(), most)
			}
		})
	}
}

// A hook that does not heed its context keeps nobody waiting, no second one runs
// beside it, and what it brings in the end counts.
func TestReauthHookReturnsLate(t *testing.T) {
	for name, result := range map[string]error{
		"with credentials": nil,
		"with an error":    &GiveUpError{Decision: Decision{As: AsNeedsUser}, Err: errors.New("invalid_grant")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &tokens{good: 1}
				var runs atomic.Int32
				blocked := make(chan error)
				e := testEngine(t, Options{Authorize: s.put, MaxInline: time.Second, Reauth: Reauth{Refresh: func(_ context.Context, r ReauthRequest) error {
					if runs.Add(1) > 1 {
						t.Error("a second refresh beside the first")
					}
					err := <-blocked
					if r.Event.Status != 401 {
						t.Errorf("the hook's event has become %+v", r.Event)
					}
					if err == nil {
						s.renew(r.Account)
					}
					return err
				}}})
				tr := e.Transport(s)
				start := time.Now()
				var wg sync.WaitGroup
				for range 5 {
					wg.Go(func() {
						if got := s.do(t, tr, Call{Keys: limiter.Keys{Account: "a"}}); got != "deferred" {
							t.Errorf("ended as %s", got)
						}
					})
				}
				wg.Wait()
				if took := time.Since(start); took > time.Minute+2*time.Second {
					t.Errorf("they waited for %v", took)
				}

				// From time to time one call finds out that it still runs; the others are not sent.
				sent := s.sent.Load()
				for range 100 { // in 50 minutes
					if got := s.do(t, tr, Call{Keys: limiter.Keys{Account: "a"}}); got != "deferred" {
						t.Errorf("while the hook runs on: %s", got)
					}
					time.Sleep(30 * time.Second)
				}
				if n := s.sent.Load() - sent; n < 8 || n > 12 {
					t.Errorf("while the hook runs on: %d requests in 50 minutes, want about 10", n)
				}
				s.renew("b")
				if got := s.do(t, tr, Call{Keys: limiter.Keys{Account: "b"}}); got != "200" {
					t.Errorf("another account: %s", got)
				}

				blocked <- result
				synctest.Wait()
				want := "200"
				if result != nil {
					want = AsNeedsUser
				}
				if got := s.do(t, tr, Call{Keys: limiter.Keys{Account: "a"}}); got != want || runs.Load() != 1 {
					t.Errorf("when it has returned: %s after %d refreshes, want %s after 1", got, runs.Load(), want)
				}
			})
		})
	}
}

// A hook that heeds its context has its own error told.
func TestReauthHookTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := builtinEngine(t, Options{Reauth: Reauth{Refresh: func(ctx context.Context, r ReauthRequest) error {
			<-ctx.Done()
			time.Sleep(100 * time.Millisecond) // it takes its time
			return &url.Error{Op: "Post", URL: unknownIdP, Err: ctx.Err()}
		}}})
		tr := e.Transport(answers(func(*http.Request) int { return 401 }))
		if got := fetch(t, tr, "a", gmailURL); got != AsAmbiguous || !isSpent(t, e, "gmail", "a") {
			t.Errorf("a token request that was cut off ended as %q", got)
		}
	})
}

// hostileError panics in a method.
type hostileError struct{ in string }

func (h hostileError) may(method string) {
	if h.in == method {
		panic("s3cret")
	}
}

func (h hostileError) Error() string { h.may("Error"); return "hostile" }

func (h hostileError) Unwrap() error { h.may("Unwrap"); return nil }

func (h hostileError) Is(error) bool { h.may("Is"); return false }

func (h hostileError) As(any) bool { h.may("As"); return false }

func (h hostileError) Timeout() bool { h.may("Timeout"); return false }

func (h hostileError) Temporary() bool { return false }

// Whatever error a hook returns, it ends the calls and not the process.
func TestReauthHookErrorPanics(t *testing.T) {
	var typedNil *url.Error
	var nilRetrieve *RetrieveError
	fine := func() float64 { return 0 }
	for name, tt := range map[string]struct {
		err  error
		rand func() float64
	}{
		"typed nil":                 {typedNil, fine},
		"typed nil inside":          {fmt.Errorf("refresh: %w", errors.Join(io.EOF, typedNil)), fine},
		"typed nil RetrieveError":   {nilRetrieve, fine},
		"RetrieveError of nothing":  {&RetrieveError{}, fine},
		"GiveUpError of a nil":      {&GiveUpError{Decision: Decision{As: AsExhausted}, Err: typedNil}, fine},
		"typed nil GiveUpError":     {(*GiveUpError)(nil), fine},
		"typed nil DeferError":      {(*DeferError)(nil), fine},
		"typed nil ResponseError":   {(*ResponseError)(nil), fine},
		"Error":                     {hostileError{"Error"}, fine},
		"Unwrap":                    {hostileError{"Unwrap"}, fine},
		"Is":                        {hostileError{"Is"}, fine},
		"As":                        {hostileError{"As"}, fine},
		"Timeout":                   {hostileError{"Timeout"}, fine},
		"Rand, while it is decided": {&url.Error{Op: "Post", URL: unknownIdP, Err: io.EOF}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hook := false
				e := builtinEngine(t, Options{
					Rand: func() float64 {
						if hook && tt.rand == nil {
							hook = false
							panic("s3cret")
						}
						return 0
					},
					Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error { hook = true; return tt.err }},
				})
				for range 2 { // the second is stopped by the first's failure
					err := e.Do(t.Context(), Call{Provider: "gmail", Keys: limiter.Keys{Account: "a"}, MaxInline: 1}, refused401)
					gave, _ := errors.AsType[*GiveUpError](err)
					later, _ := errors.AsType[*DeferError](err)
					if gave == nil && later == nil || strings.Contains(err.Error(), "s3cret") || gave != nil && gave.Decision.As == AsNeedsUser {
						t.Errorf("ended with %v", err)
					}
				}
			})
		})
	}
}
