package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// builtinEngine has the built-in packs.
func builtinEngine(t testing.TB, o Options) *Engine {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nothingLeft(t, e) })
	return e
}

const (
	gmailURL    = "https://gmail.googleapis.com/gmail/v1/users/me/messages/1"
	calendarURL = "https://www.googleapis.com/calendar/v3/calendars/primary/events"
	unknownAPI  = "https://api.example.com/x"
	unknownIdP  = "https://idp.example.com/oauth/token"
)

// fetch is one request of an account, and how it ended.
func fetch(t testing.TB, tr http.RoundTripper, account, url string) string {
	req, err := http.NewRequestWithContext(WithAccount(t.Context(), account), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ending(tr.RoundTrip(req))
}

// answers is a base whose answer to a request is a status.
func answers(f func(*http.Request) int) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: f(req), Header: http.Header{}, Body: http.NoBody, Request: req}, nil
	})
}

// isSpent reports whether an account's refresh token may be spent.
func isSpent(t testing.TB, e *Engine, provider, account string) bool {
	p, err := e.Provider(provider)
	if err != nil {
		t.Fatal(err)
	}
	key := p.authKey(account)
	sh := p.auth.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	acc := sh.accounts[key]
	return acc != nil && acc.failed != nil && acc.failed.spent
}

// refused401 is what Do's function returns for a refused token.
func refused401(context.Context) error { return &ResponseError{Status: 401} }

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
			if out, _ := Outcome(resp); resp.StatusCode != 401 || out.Decision.As != AsPermanent || out.Decision.Reason != ReasonReauthError {
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
			return e.Do(ctx, Call{Provider: "http", Account: "a", Method: "POST"}, func(context.Context) error {
				return &ResponseError{Provider: "http", Status: 401, Body: []byte(`{"error":"invalid_client"}`)}
			})
		}, "operator"},
		{"through Do: no account is disconnected", gmailURL, func(ctx context.Context, e *Engine, _ http.RoundTripper) error {
			return e.Do(ctx, Call{Provider: "http", Account: "a", Method: "POST"}, refused401)
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
				e = builtinEngine(t, Options{Rand: func() float64 { return 0 }, Reauth: func(ctx context.Context, r ReauthRequest) error {
					if runs.Add(1) > 1 {
						return nil
					}
					start := time.Now()
					err := tt.send(ctx, e, tr)
					if took := time.Since(start); took > 0 {
						t.Errorf("the hook's request took %v", took)
					}
					return err
				}})
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
		e := builtinEngine(t, Options{MaxInline: time.Second, Reauth: func(ctx context.Context, r ReauthRequest) error {
			return errors.New("the hook's request: " + ending(tr.RoundTrip(mustRequest(WithAccount(context.Background(), r.Account), gmailURL))))
		}})
		tr = e.Transport(answers(func(*http.Request) int { return 401 }))
		start := time.Now()
		if got := fetch(t, tr, "a", gmailURL); got != "deferred" || time.Since(start) > time.Minute+hookGrace {
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
		e := builtinEngine(t, Options{Reauth: func(ctx context.Context, r ReauthRequest) error {
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
		}})
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
		e = builtinEngine(t, Options{MaxInline: time.Millisecond, Reauth: func(ctx context.Context, r ReauthRequest) error {
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
		}})
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
		e := testEngine(t, Options{Authorize: s.put, Reauth: func(ctx context.Context, r ReauthRequest) error {
			runs++
			s.renew(r.Account)
			leaked = context.WithoutCancel(ctx)
			return nil
		}})
		tr := e.Transport(s)
		s.do(t, tr, Call{Account: "a"})
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
			e := builtinEngine(t, Options{Reauth: func(ctx context.Context, r ReauthRequest) error {
				runs.Add(1)
				time.Sleep(time.Second)
				other := map[string]string{"a": "b", "b": "a"}[r.Account]
				return fmt.Errorf("cannot: %s", ending(tr.RoundTrip(mustRequest(WithAccount(ctx, other), gmailURL))))
			}})
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
				most = time.Minute // ReauthTimeout
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
				e := testEngine(t, Options{Authorize: s.put, MaxInline: time.Second, Reauth: func(_ context.Context, r ReauthRequest) error {
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
				}})
				tr := e.Transport(s)
				start := time.Now()
				var wg sync.WaitGroup
				for range 5 {
					wg.Go(func() {
						if got := s.do(t, tr, Call{Account: "a"}); got != "deferred" {
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
					if got := s.do(t, tr, Call{Account: "a"}); got != "deferred" {
						t.Errorf("while the hook runs on: %s", got)
					}
					time.Sleep(30 * time.Second)
				}
				if n := s.sent.Load() - sent; n < 8 || n > 12 {
					t.Errorf("while the hook runs on: %d requests in 50 minutes, want about 10", n)
				}
				s.renew("b")
				if got := s.do(t, tr, Call{Account: "b"}); got != "200" {
					t.Errorf("another account: %s", got)
				}

				blocked <- result
				synctest.Wait()
				want := "200"
				if result != nil {
					want = AsNeedsUser
				}
				if got := s.do(t, tr, Call{Account: "a"}); got != want || runs.Load() != 1 {
					t.Errorf("when it has returned: %s after %d refreshes, want %s after 1", got, runs.Load(), want)
				}
			})
		})
	}
}

// A hook that heeds its context has its own error told.
func TestReauthHookTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := builtinEngine(t, Options{Reauth: func(ctx context.Context, r ReauthRequest) error {
			<-ctx.Done()
			time.Sleep(100 * time.Millisecond) // it takes its time
			return &url.Error{Op: "Post", URL: unknownIdP, Err: ctx.Err()}
		}})
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
func (h hostileError) Error() string   { h.may("Error"); return "hostile" }
func (h hostileError) Unwrap() error   { h.may("Unwrap"); return nil }
func (h hostileError) Is(error) bool   { h.may("Is"); return false }
func (h hostileError) As(any) bool     { h.may("As"); return false }
func (h hostileError) Timeout() bool   { h.may("Timeout"); return false }
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
					Reauth: func(context.Context, ReauthRequest) error { hook = true; return tt.err },
				})
				for range 2 { // the second is stopped by the first's failure
					err := e.Do(t.Context(), Call{Provider: "gmail", Account: "a", MaxInline: 1}, refused401)
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

// Calls of one credential share its refreshes, whatever their provider and
// account; without a Credential, and for whom it names none, each has its own.
func TestCredential(t *testing.T) {
	grant := func(provider, account string) string {
		if provider == "gmail" || provider == "google_calendar" {
			return "google/" + strings.TrimSuffix(account, "@example.com")
		}
		return ""
	}
	for _, tt := range []struct {
		name       string
		credential func(provider, account string) string
		want       []string
	}{
		{"none", nil, []string{"gmail a", "gmail b", "google_calendar a", "google_calendar a@example.com", "http a"}},
		{"one of Google's", grant, []string{"google a", "google b", "http a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var ran []string
				inside, fresh := map[string]int{}, map[string]bool{}
				name := func(provider, account string) string {
					if tt.credential != nil && tt.credential(provider, account) != "" {
						return strings.ReplaceAll(tt.credential(provider, account), "/", " ")
					}
					return provider + " " + account
				}
				e := builtinEngine(t, Options{Credential: tt.credential, Reauth: func(_ context.Context, r ReauthRequest) error {
					who := name(r.Provider, r.Account)
					mu.Lock()
					ran = append(ran, who)
					if inside[who]++; inside[who] > 1 {
						t.Errorf("%s: two refreshes at once", who)
					}
					mu.Unlock()
					time.Sleep(time.Second)
					mu.Lock()
					inside[who]--
					fresh[who] = true
					mu.Unlock()
					return nil
				}})
				tr := e.Transport(answers(func(req *http.Request) int {
					provider := map[string]string{"gmail.googleapis.com": "gmail", "www.googleapis.com": "google_calendar", "api.example.com": "http"}[req.URL.Host]
					mu.Lock()
					defer mu.Unlock()
					if fresh[name(provider, callFrom(req.Context()).Account)] {
						return 200
					}
					return 401
				}))
				var wg sync.WaitGroup
				for _, c := range [][2]string{{gmailURL, "a"}, {calendarURL, "a"}, {calendarURL, "a@example.com"}, {gmailURL, "b"}, {unknownAPI, "a"}} {
					for range 3 {
						wg.Go(func() {
							if got := fetch(t, tr, c[1], c[0]); got != "200" {
								t.Errorf("%s of %s: %s", c[0], c[1], got)
							}
						})
					}
				}
				wg.Wait()
				slices.Sort(ran)
				if !slices.Equal(ran, tt.want) {
					t.Errorf("refreshed %q, want %q", ran, tt.want)
				}
			})
		})
	}
}

// What a failed refresh means, Renewed and a success are the credential's too.
func TestCredentialFailureIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs, sent, good := 0, map[string]int{}, map[string]bool{}
		e := builtinEngine(t, Options{
			Credential: func(_, account string) string { return account },
			Reauth: func(context.Context, ReauthRequest) error {
				runs++
				return &GiveUpError{Decision: Decision{As: AsNeedsUser}, Err: errors.New("invalid_grant")}
			},
		})
		tr := e.Transport(answers(func(req *http.Request) int {
			sent[req.URL.Host]++
			if good[req.URL.Host] {
				return 200
			}
			return 401
		}))
		want := func(what, url, ends string, requests, refreshes int) {
			t.Helper()
			n, r := sent["gmail.googleapis.com"]+sent["www.googleapis.com"], runs
			if got := fetch(t, tr, "a", url); got != ends {
				t.Errorf("%s: ended as %q, want %q", what, got, ends)
			}
			if n, r := sent["gmail.googleapis.com"]+sent["www.googleapis.com"]-n, runs-r; n != requests || r != refreshes {
				t.Errorf("%s: %d requests and %d refreshes, want %d and %d", what, n, r, requests, refreshes)
			}
		}
		want("the refused call", gmailURL, AsNeedsUser, 1, 1)
		want("one of another provider", calendarURL, AsNeedsUser, 0, 0)
		if got := fetch(t, tr, "b", unknownAPI); got != AsNeedsUser || runs != 2 {
			t.Errorf("another account: %q after %d refreshes", got, runs)
		}
		p, _ := e.Provider("google_calendar")
		good["gmail.googleapis.com"], good["www.googleapis.com"] = true, true
		p.Renewed("a")
		want("after Renewed at the other provider", gmailURL, "200", 1, 0)

		// An access token that the other provider still takes proves nothing.
		good["gmail.googleapis.com"] = false
		want("the next one refused", gmailURL, AsNeedsUser, 1, 1)
		time.Sleep(31 * time.Second)
		want("a success elsewhere", calendarURL, "200", 1, 0)
		key := p.authKey("a")
		if acc := p.auth.shard(key).accounts[key]; acc.failed == nil || acc.failures != 1 {
			t.Errorf("a success at another provider undid the failure")
		}
		good["gmail.googleapis.com"] = true
		want("a success of its own", gmailURL, "200", 1, 0)
		if acc := p.auth.shard(key).accounts[key]; acc.failed != nil {
			t.Errorf("a success left the failure %v", acc.failed)
		}
	})
}

// While nobody's credentials are in trouble, Credential is not asked.
func TestCredentialIsNotAskedInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		e := builtinEngine(t, Options{
			Credential: func(provider, account string) string { asked++; return account },
			Reauth:     func(context.Context, ReauthRequest) error { return nil },
		})
		tr := e.Transport(answers(func(*http.Request) int { return 200 }))
		for range 10 {
			fetch(t, tr, "a", gmailURL)
		}
		if asked != 0 {
			t.Errorf("asked %d times by calls that succeed", asked)
		}
	})
}

// A Credential that panics loses no permit.
func TestCredentialPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		panics := int32(1 << 30)
		e := testEngine(t, Options{
			Credential: func(provider, account string) string {
				if asked.Add(1) >= panics {
					panic("credential")
				}
				return account
			},
			Reauth: func(context.Context, ReauthRequest) error { return errors.New("no") },
		})
		e.Do(t.Context(), Call{Provider: "test", Account: "a"}, refused401)
		for n := range int32(4) { // before its permit, after it, and after the attempt
			panics = asked.Load() + 1 + n
			func() {
				defer func() { _ = recover() }()
				e.Do(t.Context(), Call{Provider: "test", Account: "b"}, func(context.Context) error { return nil })
			}()
		}
	})
}

// A failure of the hook's own store is not one of the token endpoint: nothing is
// spent, nobody is disconnected, and it is tried again.
func TestReauthHookStoreFails(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for _, tt := range []struct {
		err  error
		ends string // "200" = after a wait
	}{
		{io.EOF, "200"},
		{context.DeadlineExceeded, "200"},
		{context.Canceled, "200"},
		{fmt.Errorf("redis: %w", io.ErrUnexpectedEOF), "200"},
		{fmt.Errorf("postgres: %w", dial), "200"},
		{errors.New("redis: read tcp 10.0.0.1:6379: i/o timeout"), "200"},
		{errors.New("the vault is sealed"), AsPermanent},

		// These say that it was the endpoint, and whether it has had the request.
		{&url.Error{Op: "Post", URL: unknownIdP, Err: io.ErrUnexpectedEOF}, AsAmbiguous},
		{fmt.Errorf("refresh: %w", &url.Error{Op: "Post", URL: unknownIdP, Err: context.DeadlineExceeded}), AsAmbiguous},
		{&url.Error{Op: "Post", URL: unknownIdP, Err: dial}, "200"},
		{errors.New("oauth2: cannot fetch token: read tcp 10.0.0.2:443: connection reset by peer"), AsAmbiguous}, // all that x/oauth2 leaves
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &tokens{good: 1}
				runs := 0
				e := builtinEngine(t, Options{Authorize: s.put, Rand: func() float64 { return 0 }, Reauth: func(_ context.Context, r ReauthRequest) error {
					if runs++; runs == 1 {
						return tt.err
					}
					s.renew(r.Account)
					return nil
				}})
				start := time.Now()
				got := s.do(t, e.Transport(s), Call{Provider: "gmail", Account: "a"})
				if got != tt.ends || got == "200" && time.Since(start).Round(time.Second) != 30*time.Second {
					t.Errorf("ended as %q after %v, want %q", got, time.Since(start), tt.ends)
				}
				if spent := isSpent(t, e, "gmail", "a"); spent != (tt.ends == AsAmbiguous) {
					t.Errorf("spent: %v", spent)
				}
			})
		})
	}
}

// The same holds for the Authorize hook, for the one call.
func TestAuthorizeHookStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		e := builtinEngine(t, Options{Authorize: func(*http.Request, string) error {
			if n++; n == 1 {
				return fmt.Errorf("redis: %w", io.EOF)
			}
			return nil
		}})
		req := request(t, t.Context(), "POST", "/send", "mail")
		req = req.WithContext(WithCall(t.Context(), Call{Provider: "gmail", Operation: "messages.send", Account: "a"}))
		if got := ending(e.Transport(newServer()).RoundTrip(req)); got != "200" || n != 2 {
			t.Errorf("ended as %q after %d times", got, n)
		}
	})
}

// New credentials that come while a refresh is under way end the wait for it,
// and its failure is one of the old ones.
func TestRenewedDuringRefresh(t *testing.T) {
	for name, hook := range map[string]func(context.Context) error{
		"that fails":        func(context.Context) error { time.Sleep(10 * time.Second); return errors.New("invalid_grant") },
		"that is late":      func(context.Context) error { time.Sleep(10 * time.Minute); return errors.New("invalid_grant") },
		"that succeeds too": func(context.Context) error { time.Sleep(10 * time.Second); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &tokens{good: 1}
				var runs atomic.Int32
				e := testEngine(t, Options{Authorize: s.put, MaxInline: time.Second, Reauth: func(ctx context.Context, r ReauthRequest) error {
					runs.Add(1)
					err := hook(ctx)
					if r.Event.Status != 401 { // the call is long over
						t.Errorf("the hook's event has become %+v", r.Event)
					}
					return err
				}})
				p, _ := e.Provider("test")
				tr := e.Transport(s)
				time.AfterFunc(5*time.Second, func() {
					s.renew("a")
					p.Renewed("a")
				})
				start := time.Now()
				if got := s.do(t, tr, Call{Account: "a"}); got != "200" || time.Since(start) > 6*time.Second {
					t.Errorf("the call that waited: %s after %v", got, time.Since(start))
				}
				for time.Since(start) < 11*time.Minute {
					if got := s.do(t, tr, Call{Account: "a"}); got != "200" {
						t.Errorf("a call %v later: %s", time.Since(start), got)
					}
					time.Sleep(500 * time.Millisecond)
				}
				if n := p.auth.trouble.Load(); n != 0 || runs.Load() != 1 {
					t.Errorf("%d accounts in trouble after %d refreshes", n, runs.Load())
				}
			})
		})
	}
}

// A refusal of what was sent before Renewed is one of old credentials, also
// while the refresh of those still runs.
func TestRenewedBeforeTheRefusalCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var renewed atomic.Bool
		e := testEngine(t, Options{Reauth: func(context.Context, ReauthRequest) error {
			time.Sleep(50 * time.Second)
			return nil
		}})
		p, _ := e.Provider("test")
		time.AfterFunc(5*time.Second, func() {
			renewed.Store(true)
			p.Renewed("a")
		})
		var wg sync.WaitGroup
		for _, took := range []time.Duration{0, 10 * time.Second} {
			wg.Go(func() {
				start := time.Now()
				err := p.Do(t.Context(), Call{Account: "a"}, func(context.Context) error {
					had := renewed.Load()
					time.Sleep(took)
					if !had {
						return &ResponseError{Status: 401}
					}
					return nil
				})
				if since := time.Since(start); err != nil || since > 20*time.Second {
					t.Errorf("refused after %v, ended with %v after %v", took, err, since)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
	})
}

// Credentials that are refused while the refresh of older ones still runs wait
// for it, and then get a refresh of their own.
func TestRenewedAndRefusedDuringRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokens{good: 1}
		var runs, most, inside atomic.Int32
		e := testEngine(t, Options{Authorize: s.put, Reauth: func(_ context.Context, r ReauthRequest) error {
			most.Store(max(most.Load(), inside.Add(1)))
			defer inside.Add(-1)
			time.Sleep(10 * time.Second)
			if runs.Add(1) == 1 {
				return errors.New("invalid_grant")
			}
			s.renew(r.Account)
			return nil
		}})
		p, _ := e.Provider("test")
		time.AfterFunc(5*time.Second, func() { p.Renewed("a") }) // with credentials that are no good
		start := time.Now()
		if got := s.do(t, e.Transport(s), Call{Account: "a"}); got != "200" || runs.Load() != 2 || most.Load() != 1 {
			t.Errorf("ended as %s after %v, %d refreshes, %d at once", got, time.Since(start), runs.Load(), most.Load())
		}
	})
}

// What keeps an account's calls back is not forgotten, however long it is.
func TestAuthorizerRemembersStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		e := testEngine(t, Options{Reauth: func(context.Context, ReauthRequest) error {
			runs++
			return &DeferError{Until: time.Now().Add(6 * time.Hour), Err: errors.New("throttled")}
		}})
		p, _ := e.Provider("test")
		key := authKey{"test", "a"}
		sh := p.auth.shard(key)
		n := 0
		crowd := func() {
			sh.mu.Lock()
			defer sh.mu.Unlock()
			for range 4 * maxAuthAccounts {
				n++
				p.auth.account(sh, authKey{"test", strconv.Itoa(n)}, time.Now()).finished = time.Now()
			}
		}
		do := func() error { return e.Do(t.Context(), Call{Provider: "test", Account: "a"}, refused401) }
		do()
		for range 5 {
			time.Sleep(61 * time.Minute)
			crowd()
			if err := do(); runs != 1 {
				t.Fatalf("%d refreshes within 6 h: %v", runs, err)
			}
		}
		time.Sleep(3 * time.Hour)
		for i := 0; i < 20 && sh.accounts[key] != nil; i++ { // it looks at a few at a time
			crowd()
		}
		if sh.accounts[key] != nil || p.auth.trouble.Load() != 0 {
			t.Errorf("still remembered an hour after it: %+v, %d in trouble", sh.accounts[key], p.auth.trouble.Load())
		}

		// That it was renewed is not forgotten while a refusal may be on its way.
		p.Renewed("a")
		time.Sleep(59 * time.Minute)
		crowd()
		if acc := sh.accounts[key]; acc == nil || acc.seq == 0 {
			t.Error("Renewed was forgotten within an hour")
		}
	})
}

// Every operation of the built-in packs is a request for tokens or is none. A
// name that has just come into a pack belongs into one of the lists.
func TestTokenOperations(t *testing.T) {
	oauth := []string{
		"", "authorize", "token.client", "token.device", "token.exchange", "token.jwt",
		"token.password", "token.refresh", "token.swap",
	}
	want := map[string][]string{
		"oauth2": oauth, "entra": append([]string{"device.code"}, oauth...),
		"google_oauth": append([]string{"device.code", "token.info", "token.revoke"}, oauth...),
		"zoho":         oauth[1:], // its API is in the same policy
		"icloud":       {"accountLogin", "signin"},
		"nylas_v2":     {"connect.authorize", "connect.revoke", "connect.token"},
		"nylas_v3":     {"connect.auth", "connect.custom", "connect.refresh", "connect.revoke", "connect.token", "connect.tokeninfo"},
		"rick":         {"authorize", "token.exchange", "token.refresh"},
		"slack":        {"oauth.v2.access"},
	}
	suspicious := []string{"token", "refresh", "auth", "revoke", "login", "signin", "connect.", "device", "grant", "credential"}
	plain := []string{ // which sound like one
		"auth.test", "grants.delete", "grants.get", "grants.list", "grants.update", "subscriptions.reauthorize", "delta.cursor",
	}
	for _, p := range policy.Builtin().Policies() {
		names := []string{""}
		for _, o := range p.Operations {
			names = append(names, o.Operation)
		}
		slices.Sort(names)
		var got []string
		for _, name := range slices.Compact(names) {
			if p.IsToken(name) {
				got = append(got, name)
			} else if !slices.Contains(plain, name) && slices.ContainsFunc(suspicious, func(s string) bool { return strings.Contains(strings.ToLower(name), s) }) {
				t.Errorf("%s: is %q a request for tokens?", p.Name, name)
			}
		}
		slices.Sort(want[p.Name])
		if !slices.Equal(got, want[p.Name]) {
			t.Errorf("%s: requests for tokens %q, want %q", p.Name, got, want[p.Name])
		}
		for _, name := range []string{"calendar.refresh", "refreshToken.list", "tokens.list", "sync.token", "Token.Refresh.View"} {
			if p.IsToken(name) && got[0] != "" {
				t.Errorf("%s: %q is taken for a request for tokens", p.Name, name)
			}
		}
	}
}

// A policy of one's own says which its token requests are.
func TestTokenOperationsOfOnesOwn(t *testing.T) {
	idp := "version: 1\nprovider: idp\nmatch: [{host: idp.test}]\noperations: [{method: POST, path: /token, form: {grant_type: refresh_token}, operation: renew, token: true}]\nrules: [{name: gone, when: status == 410, action: accept}]\ndefault: fail\n"
	e := testEngine(t, Options{}, sessionYAML, idp)
	for _, tt := range []struct {
		provider, operation string
		want                bool
	}{
		{"test", "session.renew", true},
		{"test", "token.refresh", false}, // a name alone says nothing
		{"test", "items.get", false},
		{"test", "calendar.refresh", false},
		{"test", "", false},
		{"idp", "renew", true},
		{"idp", "", true}, // a policy of nothing else
		{"idp", "whatever", true},
	} {
		p, err := e.Provider(tt.provider)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Policy().IsToken(tt.operation); got != tt.want {
			t.Errorf("%s %q: %v, want %v", tt.provider, tt.operation, got, tt.want)
		}
	}
	u, _ := url.Parse("https://idp.test/token")
	if p, op, claimed := e.endpoint(u); p == nil || p.name != "idp" || op != "renew" || !claimed {
		t.Errorf("endpoint(%s): %v %q %v", u, p, op, claimed)
	}
	u, _ = url.Parse("https://idp.test/other")
	if p, op, claimed := e.endpoint(u); p == nil || p.name != "idp" || op != refreshOperation || !claimed {
		t.Errorf("endpoint(%s): %v %q %v", u, p, op, claimed)
	}
}

// sessionYAML is an API that has a request for tokens of its own.
const sessionYAML = `
version: 1
provider: test
operations: [{method: POST, path: /session, operation: session.renew, token: true}]
rules: [{name: token, when: 'status == 401 and operation != "session.renew"', action: reauth}]
default: fail
`

// A call is stopped by its account's failed refresh unless it asks for tokens.
func TestStoppedWhateverItsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{Reauth: func(context.Context, ReauthRequest) error {
			return &GiveUpError{Decision: Decision{As: AsNeedsUser}, Err: errors.New("invalid_grant")}
		}}, sessionYAML)
		p, _ := e.Provider("test")
		p.Do(t.Context(), Call{Account: "a"}, refused401)
		for operation, want := range map[string]int{"calendar.refresh": 0, "syncToken.get": 0, "items.get": 0, "token.refresh": 0, "session.renew": 1} {
			sent := 0
			p.Do(t.Context(), Call{Account: "a", Operation: operation}, func(context.Context) error { sent++; return nil })
			if sent != want {
				t.Errorf("%s: sent %d times, want %d", operation, sent, want)
			}
		}
	})
}

// The error behind a failed refresh stays in the chain of every error that it
// ends calls with, and nothing that may be a secret in their texts.
func TestReauthErrorsTellWhyButNoSecret(t *testing.T) {
	u, _ := url.Parse("https://oauth2.googleapis.com/token?client_secret=s3cret")
	retrieve := func(status int, code string) error {
		return fmt.Errorf("refresh: %w", &retrieveErrorLike{
			RetrieveError: RetrieveError{Response: &http.Response{StatusCode: status, Header: http.Header{}, Request: &http.Request{URL: u}}, Body: []byte(`{"error":"` + code + `","hint":"refresh_token s3cret"}`)},
		})
	}
	for _, tt := range []struct {
		name string
		err  error
		says string
	}{
		{"a dead grant", retrieve(400, "invalid_grant"), "oauth2: HTTP 400 Bad Request"},
		{"an outage", retrieve(503, "x"), "oauth2: HTTP 503 Service Unavailable"},
		{"lost", &url.Error{Op: "Post", URL: u.String(), Err: io.EOF}, "oauth2.googleapis.com/token"},
		{"handed back", &DeferError{Until: time.Now().AddDate(50, 0, 0), Err: &url.Error{Op: "Post", URL: u.String(), Err: io.EOF}}, "deferred"},
		{"given up", &GiveUpError{Decision: Decision{As: "operator"}, Err: retrieve(400, "invalid_client")}, "operator"},
		{"of a store", fmt.Errorf("redis: %w", io.EOF), "EOF"},
		{"of unknown cause", errors.New("sent Bearer s3cret-s3cret"), "*errors.errorString"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var notices []error
				e := builtinEngine(t, Options{
					Reauth: func(context.Context, ReauthRequest) error { return tt.err },
					Observer: ObserverFunc(func(_ context.Context, n *Notice) {
						if n.Kind == NoticeReauth {
							notices = append(notices, n.Err)
						}
					}),
				})
				check := func(what string, err error) {
					t.Helper()
					if err == nil || !errors.Is(err, tt.err) || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), tt.says) {
						t.Errorf("%s: %v, want %q in it, the hook's own error in its chain, and no secret", what, err, tt.says)
					}
				}
				call := Call{Provider: "gmail", Account: "a", MaxInline: 1}
				check("the refused call", e.Do(t.Context(), call, refused401))
				check("one that is stopped", e.Do(t.Context(), call, refused401))
				call.MaxInline = time.Hour
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				check("one whose deadline is sooner", e.Do(ctx, call, refused401))
				later, ok := errors.AsType[*DeferError](e.Do(t.Context(), Call{Provider: "gmail", Account: "a", MaxInline: 1}, refused401))
				if ok && time.Until(later.Until) > maxAsked {
					t.Errorf("handed back until %v", later.Until)
				}
				for _, err := range notices {
					check("the observer's", err)
				}
				if len(notices) != 1 {
					t.Errorf("%d notices of a refresh, want 1", len(notices))
				}
			})
		})
	}
}

// retrieveErrorLike has the text of x/oauth2's.
type retrieveErrorLike struct{ RetrieveError }

func (r *retrieveErrorLike) Unwrap() error { return &r.RetrieveError }
func (r *retrieveErrorLike) Error() string { return "oauth2: " + r.RetrieveError.Error() }

// Of a token endpoint's answer the status and the code are shown, of others' errors
// the type alone.
func TestTextWithoutBodies(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&RetrieveError{}, "oauth2: no answer"},
		{&RetrieveError{Response: &http.Response{StatusCode: 599}, Body: []byte("s3cret")}, "oauth2: HTTP 599"},
		{fmt.Errorf("a: %w", &RetrieveError{Response: &http.Response{StatusCode: 400}, Body: []byte("s3cret")}), "oauth2: HTTP 400 Bad Request"},
		{&RetrieveError{Response: &http.Response{StatusCode: 400}, ErrorCode: "invalid_grant"}, "oauth2: HTTP 400 Bad Request (invalid_grant)"},
		{&RetrieveError{Response: &http.Response{StatusCode: 400}, ErrorCode: "s3cr3t-t0k3n"}, "oauth2: HTTP 400 Bad Request (…)"},
		{fmt.Errorf("b: %w", &bodyError{"HTTP 500 with body", "s3cret"}), "*engine.bodyError"},
		{&ResponseError{Status: 400, Body: []byte("400")}, "HTTP 400 Bad Request"},
		{&ResponseError{Status: 400, Code: "token s3cr3t-t0k3n is invalid"}, "HTTP 400 Bad Request (…)"},
		{errors.Join(io.EOF, &bodyError{"x", "s3cret"}), "EOF; *engine.bodyError"},
		{Permanent(io.EOF), "EOF"},
		{&httpattempt.TimedOutError{Err: context.Canceled}, "engine: attempt timed out: context canceled"},
		{&httpattempt.TimedOutError{Err: fmt.Errorf("read: %w", httpattempt.ErrTimeout)}, "engine: attempt timed out"},
		{hookPanic("s3cret"), "engine: the Reauth hook panicked with a string"},
		{&limiter.WaitError{Limit: "sending", Until: time.Unix(0, 0).UTC(), Err: context.Canceled}, `limiter: limit "sending": gave up waiting: context canceled`},
		{&limiter.WaitError{Limit: "sending", Err: errors.New("s3cret")}, "*limiter.WaitError: *errors.errorString"},
		{wrapsNil{}, "*url.Error"},
		{wrapsItself{}, "…"},
	} {
		if got := shownText(tt.err); got != tt.want {
			t.Errorf("given %v\ngot  %q\nwant %q", tt.err, got, tt.want)
		}
	}
}

// What a failure shows: the answer's facts, the error, the kind of trouble.
func TestFailureText(t *testing.T) {
	answer := &rules.Event{Protocol: "http", Status: 429, Codes: []string{"slowDown"}, Message: "Too many requests."}
	for _, tt := range []struct {
		name  string
		event *rules.Event
		err   error
		want  string
	}{
		{"nothing", nil, nil, ""},
		{"no facts", nil, io.EOF, "EOF"},
		{"response", answer, &ResponseError{Status: 429, Code: "slowDown"}, "HTTP 429 Too Many Requests (slowDown): Too many requests"},
		{"response alone", answer, nil, "HTTP 429 Too Many Requests (slowDown): Too many requests"},
		{"SDK", answer, fmt.Errorf("list: %w", &sdkError{"s3cret"}), "HTTP 429 Too Many Requests (slowDown): Too many requests: *engine.sdkError"},
		{"network", &rules.Event{Network: rules.NetworkReset}, &sdkError{"s3cret"}, "*engine.sdkError, network=reset"},
		{"SMTP", &rules.Event{Protocol: "smtp", Status: 535, Codes: []string{"5.7.8"}}, &textproto.Error{Code: 535, Msg: "s3cret"}, "SMTP 535 (5.7.8): reply 535"},
	} {
		if got := shownFailure(tt.event, tt.err); got != tt.want {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.name, got, tt.want)
		}
	}
}

type bodyError struct{ text, Body string }

func (e *bodyError) Error() string { return e.text + ": " + e.Body }

type wrapsNil struct{}

func (wrapsNil) Error() string { return "wraps" }
func (wrapsNil) Unwrap() error { return (*url.Error)(nil) }

type wrapsItself struct{}

func (wrapsItself) Error() string     { return "wraps" }
func (e wrapsItself) Unwrap() []error { return []error{e} }
