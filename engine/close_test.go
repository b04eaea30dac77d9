package engine

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
)

// Calls that wait when the engine is closed are handed back at once, with what they
// waited for.
func TestCloseHandsWaitingCallsBack(t *testing.T) {
	for _, tt := range []struct {
		name    string
		o       Options
		replies []reply
		before  func(t *testing.T, e *Engine)
		sent    int
		until   time.Duration
	}{
		{name: "between two attempts", replies: []reply{{status: 429, header: "Retry-After: 40"}}, sent: 1, until: 40 * time.Second},
		{name: "for a limit", until: 30 * time.Second, before: func(t *testing.T, e *Engine) {
			p, _ := e.Provider("test")
			if err := p.Hold("requests", limiter.Keys{Account: "a"}, time.Now().Add(30*time.Second)); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "for credentials", o: Options{Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error {
			return RetryAfter(50*time.Second, io.EOF)
		}}}, replies: []reply{{status: 401}}, sent: 1, until: 50 * time.Second},
		{name: "for a refresh of credentials", o: Options{Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error {
			time.Sleep(40 * time.Second)
			return nil
		}}}, replies: []reply{{status: 401}}, sent: 1, until: 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.o.Rand = func() float64 { return 0 }
				e, s := testEngine(t, tt.o), newServer(tt.replies...)
				if tt.before != nil {
					tt.before(t, e)
				}
				time.AfterFunc(10*time.Second, func() { e.Close(); e.Close() })
				start := time.Now()
				var out Result
				resp, err := e.Transport(s).RoundTrip(request(t, WithCall(t.Context(), Call{Keys: limiter.Keys{Account: "a"}, Outcome: &out}), "GET", "/items/1", ""))
				if err == nil {
					resp.Body.Close()
				} else if !errors.Is(err, ErrClosed) {
					t.Errorf("got %v, want it to be ErrClosed", err)
				}
				if time.Since(start) != 10*time.Second || len(s.sent) != tt.sent {
					t.Errorf("ended after %v and %d requests, want 10s and %d", time.Since(start), len(s.sent), tt.sent)
				}
				if got := out.Until.Sub(start); !out.Decision.Defer || out.Decision.Reason != decision.ReasonClosed || got.Truncate(time.Second) != tt.until {
					t.Errorf("deferred %v (%v) until in %v, want until in %v", out.Decision.Defer, out.Decision.Reason, got, tt.until)
				}
				time.Sleep(time.Minute) // a refresh is not cut
				nothingLeft(t, e)
			})
		})
	}
}

// An attempt that is under way when the engine is closed ends as it would have, and a
// call that would have to wait then is handed back.
func TestCloseCutsNoAttempt(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"a success", nil, ""},
		{"a failure for good", &ResponseError{Status: 404}, "permanent"},
		{"one that is repeated", &ResponseError{Status: 503}, "deferred"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, n := testEngine(t, Options{}), 0
				err := e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Method: "GET"}, func(context.Context) error {
					n++
					e.Close()
					return tt.err
				})
				if got := ending(nil, err); n != 1 || err == nil != (tt.want == "") || err != nil && got != tt.want {
					t.Errorf("%d attempts, %v; want one, %q", n, err, tt.want)
				}
			})
		})
	}
}

// What begins after Close is not sent, and says why.
func TestClosed(t *testing.T) {
	e := testEngine(t, Options{})
	p, err := e.Provider("test")
	if err != nil {
		t.Fatal(err)
	}
	unread := builtinEngine(t, Options{})
	never, err := unread.Provider("rick")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []*Engine{e, unread} {
		for range 2 {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	send := func(e *Engine, url string) error {
		req := request(t, t.Context(), "POST", "/send", "mail")
		if url != "" {
			req.URL.Host = url
		}
		resp, err := e.Transport(newServer()).RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	fn := func(context.Context) error { t.Error("the function was called"); return nil }
	for name, err := range map[string]error{
		"Engine.Do":                    e.Do(t.Context(), Call{Provider: "test"}, fn),
		"Provider.Do":                  p.Do(t.Context(), Call{}, fn),
		"a policy that was never used": never.Do(t.Context(), Call{}, fn),
		"Transport":                    send(e, ""),
		"an unknown host":              send(e, "unknown.test"),
		"an unknown host, built-in":    send(unread, "unknown.test"),
		"Watch":                        e.Watch(t.Context(), WatchOptions{Dir: t.TempDir(), Interval: time.Hour}),
		"Replace":                      e.Replace(e.Policies()),
	} {
		if !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "the engine was closed") {
			t.Errorf("%s: got %v, want ErrClosed", name, err)
		}
		if gave, ok := errors.AsType[*GiveUpError](err); ok && gave.Decision.As != AsCanceled {
			t.Errorf("%s: given up as %q, want canceled", name, gave.Decision.As)
		}
	}
}
