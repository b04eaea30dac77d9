package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// What a hook's failure means is decided by the token endpoint's policy.
func TestReauthFailures(t *testing.T) {
	retrieve := func(endpoint string, status int, body string) error {
		u, _ := url.Parse(endpoint)
		return fmt.Errorf("refresh: %w", &RetrieveError{
			Response: &http.Response{StatusCode: status, Header: http.Header{}, Request: &http.Request{Method: "POST", URL: u}}, Body: []byte(body),
		})
	}
	lost := func(endpoint string) error {
		return &url.Error{Op: "Post", URL: endpoint, Err: io.ErrUnexpectedEOF}
	}
	refused := func(endpoint string) error {
		return &url.Error{Op: "Post", URL: endpoint, Err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}}
	}
	const (
		google  = "https://oauth2.googleapis.com/token"
		entra   = "https://login.microsoftonline.com/common/oauth2/v2.0/token"
		unknown = "https://id.example.com/token" // its refresh tokens may be good for one use
	)
	for _, tt := range []struct {
		name  string
		err   error
		ends  string // the first call; "" = goes on after a wait
		wait  time.Duration
		after string // a call after the interval, with another hook that would succeed
	}{
		{name: "a dead grant", err: retrieve(google, 400, `{"error":"invalid_grant"}`), ends: AsNeedsUser, after: "200"},
		{name: "a dead grant at an unknown endpoint", err: retrieve(unknown, 400, `{"error":"invalid_grant"}`), ends: AsNeedsUser, after: "200"},
		{name: "Entra's refresh loop is no dead grant", err: retrieve(entra, 400, `{"error":"invalid_grant","error_codes":[50196],"error_description":"AADSTS50196: loop"}`), ends: "deferred", after: "200"},
		{name: "the client is refused, not the grant", err: retrieve(google, 401, `{"error":"invalid_client"}`), ends: "operator", after: "200"},
		{name: "an outage", err: retrieve(google, 503, ""), wait: 30 * time.Second},
		{name: "an outage with invalid_grant inside", err: retrieve(unknown, 500, `{"error":"invalid_grant"}`), wait: 30 * time.Second},
		{name: "throttled", err: retrieve(google, 429, ""), wait: 30 * time.Second},
		{name: "lost, where refresh tokens stay good", err: lost(google), wait: 30 * time.Second},
		{name: "lost at Entra", err: lost(entra), wait: 30 * time.Second},
		{name: "lost, where a refresh token may be spent", err: lost(unknown), ends: AsAmbiguous, after: AsAmbiguous},
		{name: "never sent, where a refresh token may be spent", err: refused(unknown), wait: 30 * time.Second},
		{name: "throttled under access_denied", err: retrieve(unknown, 400, `{"error":"access_denied","error_description":"Rate limit exceeded"}`), wait: 30 * time.Second},
		{name: "throttled under unauthorized_client", err: retrieve(unknown, 400, `{"error":"unauthorized_client","error_description":"Rate limit exceeded"}`), wait: 30 * time.Second},
		{name: "two refreshes at once", err: retrieve(unknown, 400, `{"error":"invalid_grant","error_description":"token request is already being processed"}`), wait: 30 * time.Second},
		{name: "a dead grant in other words", err: retrieve(unknown, 400, `{"error":"INVALID_REFRESH_TOKEN"}`), ends: AsNeedsUser, after: "200"},
		{name: "a dead grant under invalid_request", err: retrieve(unknown, 400, `{"error":"invalid_request","error_description":"Invalid refresh_token"}`), ends: AsNeedsUser, after: "200"},
		{name: "a dead grant by a status of its own", err: retrieve(unknown, 400, `{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"}`), ends: AsNeedsUser, after: "200"},
		{name: "a dead grant in a success", err: retrieve(unknown, 200, `{"error":"bad_refresh_token"}`), ends: AsNeedsUser, after: "200"},
		{name: "a dead grant in a success, in the form encoding", err: &RetrieveError{
			Response:  &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}},
			ErrorCode: "bad_refresh_token", ErrorDescription: "The refresh token passed is incorrect or expired.", Body: []byte("error=bad_refresh_token&error_description=x"),
		}, ends: AsNeedsUser, after: "200"},
		{name: "a nonce for DPoP", err: retrieve(unknown, 400, `{"error":"use_dpop_nonce"}`), wait: 30 * time.Second},
		{name: "through Do, given up", err: &GiveUpError{Decision: Decision{As: "operator"}, Err: io.EOF}, ends: "operator", after: "200"},
		{name: "through Do, ambiguous", err: &GiveUpError{Decision: Decision{As: AsAmbiguous}, Err: io.EOF}, ends: AsAmbiguous, after: AsAmbiguous},
		{name: "through Do, handed back", err: &DeferError{Until: time.Date(2000, 1, 1, 0, 45, 0, 0, time.UTC), Err: io.EOF}, ends: "deferred", after: "200"},
		{name: "the hook says when", err: RetryAfter(40*time.Second, io.EOF), wait: 40 * time.Second},
		{name: "of unknown cause", err: errors.New("the vault is sealed"), ends: AsPermanent, after: "200"},
		{name: "ResponseError of a token request", err: &ResponseError{Provider: "google_oauth", Operation: "token.refresh", Status: 400, Body: []byte(`{"error":"invalid_grant"}`)}, ends: AsNeedsUser, after: "200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &tokens{good: 1}
				n := 0
				hook := func(_ context.Context, r ReauthRequest) error {
					if n++; n == 1 {
						return tt.err
					}
					s.renew(r.Account)
					return nil
				}
				e, err := New(Options{Authorize: s.put, Reauth: Reauth{Refresh: hook}, Rand: func() float64 { return 0 }})
				if err != nil {
					t.Fatal(err)
				}
				defer nothingLeft(t, e)
				tr := e.Transport(s)
				call := Call{Provider: "gmail", Keys: limiter.Keys{Operation: "messages.get", Account: "a"}}
				start := time.Now()
				if tt.ends == "" {
					if got := s.do(t, tr, call); got != "200" || time.Since(start).Round(time.Second) != tt.wait || n != 2 {
						t.Errorf("ended with %s after %v and %d refreshes, want 200 after %v and 2", got, time.Since(start), n, tt.wait)
					}
					return
				}
				if got := s.do(t, tr, call); got != tt.ends || n != 1 {
					t.Errorf("ended as %q after %d refreshes, want %q after 1", got, n, tt.ends)
				}

				// The account's other calls are stopped before they are sent, other accounts are not.
				sent := s.sent.Load()
				if got := s.do(t, tr, call); got != tt.ends || s.sent.Load() != sent || n != 1 {
					t.Errorf("another call of the account ended as %q with %d requests and %d refreshes, want %q with none", got, s.sent.Load()-sent, n, tt.ends)
				}
				s.renew("b")
				if got := s.do(t, tr, Call{Provider: "gmail", Keys: limiter.Keys{Account: "b"}}); got != "200" {
					t.Errorf("another account's call ended as %q", got)
				}
				time.Sleep(time.Hour)
				before := n
				if got := s.do(t, tr, call); got != tt.after || tt.after == AsAmbiguous && n != before {
					t.Errorf("after the interval: %q with %d more refreshes, want %q", got, n-before, tt.after)
				}
				if tt.after != AsAmbiguous {
					return
				}

				// A refresh that may be spent is never tried again, until the
				// credentials turn out to be good or somebody says so.
				s.renew("a")
				if got := s.do(t, tr, call); got != "200" {
					t.Errorf("with other credentials: %s", got)
				}
				s.expire()
				if got := s.do(t, tr, call); got != "200" || n != before+1 {
					t.Errorf("after a success: %s with %d refreshes", got, n-before)
				}
			})
		})
	}
}

// An outage of the token endpoint stretches the interval, and is over at once
// with the first success.
func TestReauthBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokens{good: 1}
		var up atomic.Bool
		var at []time.Duration
		start := time.Now()
		e := testEngine(t, Options{Authorize: s.put, MaxInline: time.Hour, Rand: func() float64 { return 0 }, Reauth: Reauth{Refresh: func(_ context.Context, r ReauthRequest) error {
			at = append(at, time.Since(start).Round(time.Second))
			if !up.Load() {
				return RetryAfter(time.Second, errors.New("busy"))
			}
			s.renew(r.Account)
			return nil
		}}})
		tr := e.Transport(s)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if got := s.do(t, tr, Call{Keys: limiter.Keys{Account: "a"}}); got != "200" {
					t.Errorf("ended with %s", got)
				}
			})
		}
		time.Sleep(5 * time.Minute)
		up.Store(true)
		wg.Wait()
		want := []time.Duration{0, 30 * time.Second, 90 * time.Second, 210 * time.Second, 450 * time.Second}
		if fmt.Sprint(at) != fmt.Sprint(want) {
			t.Errorf("refreshed at %v, want %v", at, want)
		}
		if n := s.refused.Load(); n > 10*5 {
			t.Errorf("%d requests were refused", n)
		}
	})
}

// A hook that panics, ends its goroutine or never returns stops nobody for ever.
func TestReauthHookMisbehaves(t *testing.T) {
	for name, hook := range map[string]func(context.Context, ReauthRequest) error{
		"panic": func(context.Context, ReauthRequest) error { panic("s3cret") },
		"exit":  func(context.Context, ReauthRequest) error { runtime.Goexit(); return nil },
		"hang":  func(ctx context.Context, _ ReauthRequest) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &tokens{good: 1}
				e := testEngine(t, Options{Authorize: s.put, Reauth: Reauth{Refresh: hook}})
				start := time.Now()
				got := s.do(t, e.Transport(s), Call{Keys: limiter.Keys{Account: "a"}})
				if took := time.Since(start); took > 2*time.Minute || got == "200" || got == AsNeedsUser {
					t.Errorf("ended as %q after %v", got, took)
				}
			})
		})
	}
}

// What a hook panicked with may be a secret; what the runtime says is none.
func TestReauthHookPanicSaysWhat(t *testing.T) {
	for want, v := range map[string]func(){
		"engine: the Reauth hook panicked with a string":                                                     func() { panic("s3cret") },
		"engine: the Reauth hook panicked: runtime error: invalid memory address or nil pointer dereference": func() { *(*int)(nil) = 1 },
		"engine: the Reauth hook ended its goroutine":                                                        func() { runtime.Goexit() },
	} {
		synctest.Test(t, func(t *testing.T) {
			e := testEngine(t, Options{Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error { v(); return nil }}})
			err := e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}}, func(context.Context) error { return &ResponseError{Status: 401} })
			var gave *GiveUpError
			if !errors.As(err, &gave) || gave.Cause == nil || gave.Cause.Error() != want || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v (cause %v), want the cause %q", err, gave.Cause, want)
			}
		})
	}
}

// The Authorize hook's failure is one of credentials too: nothing was sent, and
// the token endpoint's policy decides.
func TestAuthorizeFails(t *testing.T) {
	u, _ := url.Parse("https://oauth2.googleapis.com/token")
	answer := func(status int, body string) error {
		return &RetrieveError{Response: &http.Response{StatusCode: status, Header: http.Header{}, Request: &http.Request{URL: u}}, Body: []byte(body)}
	}
	for _, tt := range []struct {
		name string
		err  error
		ends string
		n    int
	}{
		{"a dead grant", answer(400, `{"error":"invalid_grant"}`), AsNeedsUser, 1},
		{"an outage", answer(503, ""), "200", 2},
		{"of unknown cause", errors.New("no token for this account"), AsPermanent, 1},
		{"that the hook calls permanent", Permanent(answer(503, "")), AsPermanent, 1},
		{"given up inside", &GiveUpError{Decision: Decision{As: AsNeedsUser}, Err: io.EOF}, AsNeedsUser, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				e, err := New(Options{Authorize: func(*http.Request, string) error {
					if n++; n == 1 {
						return tt.err
					}
					return nil
				}})
				if err != nil {
					t.Fatal(err)
				}
				defer nothingLeft(t, e)
				s := newServer()
				closed := false
				req := request(t, WithCall(t.Context(), Call{Provider: "gmail", Keys: limiter.Keys{Operation: "messages.send"}}), "POST", "/send", "mail")
				body := req.Body
				req.Body = &closer{body, func() { closed = true }}
				req = req.WithContext(WithCall(t.Context(), Call{Provider: "gmail", Keys: limiter.Keys{Operation: "messages.send", Account: "a"}}))
				resp, rerr := e.Transport(s).RoundTrip(req)
				if got := ending(resp, rerr); got != tt.ends || n != tt.n || !closed {
					t.Errorf("ended as %q after %d times, body closed: %v; want %q after %d", got, n, closed, tt.ends, tt.n)
				}
				if rerr != nil && (len(s.sent) != 0 || !errors.Is(rerr, tt.err)) {
					t.Errorf("sent %q, got %v", s.sent, rerr)
				}
			})
		})
	}
}

// Everybody who waits for a refresh shares its failure, and whoever waits for a
// limit meanwhile is not sent either.
func TestReauthFailureIsShared(t *testing.T) {
	const yaml = overLoop + "limits: [{name: inflight, key: account, concurrency: 100}, {name: requests, key: account, rate: 1/s, burst: 5}]\n"
	synctest.Test(t, func(t *testing.T) {
		s := &tokens{good: 1}
		var n atomic.Int32
		e := testEngine(t, Options{Authorize: s.put, Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error {
			n.Add(1)
			time.Sleep(1500 * time.Millisecond)
			return &GiveUpError{Decision: Decision{As: AsNeedsUser}, Err: errors.New("invalid_grant")}
		}}}, yaml)
		tr := e.Transport(s)
		var wg sync.WaitGroup
		start := time.Now()
		for range 20 {
			wg.Go(func() {
				if got := s.do(t, tr, Call{Keys: limiter.Keys{Account: "a"}}); got != AsNeedsUser {
					t.Errorf("ended as %s", got)
				}
			})
		}
		wg.Wait()
		// Five at once, one more in the second and a half of the refresh.
		if sent := s.sent.Load(); n.Load() != 1 || sent > 7 || time.Since(start) > 20*time.Second {
			t.Errorf("%d refreshes, %d requests in %v; want 1 and at most 7", n.Load(), sent, time.Since(start))
		}
	})
}
