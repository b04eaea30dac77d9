package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// What a call is given up as goes by how its context has ended, and not by the cause
// that somebody gave for it: whatever that is, the call ends as without one, and the
// cause is found in its error, beside what went wrong before.
func TestCauseDoesNotDecide(t *testing.T) {
	own := errors.New("the worker is drained")
	const at = 3 * time.Second
	ends := []struct {
		name     string
		deadline bool
		cause    error
		make     func(ctx context.Context) (context.Context, context.CancelFunc)
	}{
		{"WithTimeout", true, context.DeadlineExceeded, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, at)
		}},
		{"WithTimeoutCause of context.Canceled", true, context.Canceled, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, at, context.Canceled)
		}},
		{"WithTimeoutCause of an error", true, own, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, at, own)
		}},
		{"WithDeadlineCause of an error", true, own, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithDeadlineCause(ctx, time.Now().Add(at), own)
		}},
		{"WithDeadlineCause of io.EOF", true, io.EOF, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithDeadlineCause(ctx, time.Now().Add(at), io.EOF)
		}},
		{"WithCancel", false, context.Canceled, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(at, cancel)
			return ctx, cancel
		}},
		{"WithCancelCause of context.DeadlineExceeded", false, context.DeadlineExceeded, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(at, func() { cancel(context.DeadlineExceeded) })
			return ctx, func() { cancel(nil) }
		}},
		{"WithCancelCause of an error", false, own, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(at, func() { cancel(own) })
			return ctx, func() { cancel(nil) }
		}},
		{"WithCancelCause of io.EOF", false, io.EOF, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(at, func() { cancel(io.EOF) })
			return ctx, func() { cancel(nil) }
		}},
	}
	noRule := overLoop + "remove: [network]\n"
	refreshLater := Options{MaxInline: time.Hour, Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error {
		return RetryAfter(40*time.Second, errors.New("token endpoint busy"))
	}}}
	hold := func(e *Engine) {
		p, _ := e.Provider("test")
		for range 2 {
			permit, _ := p.Limiter().TryAcquire(&limiter.Request{Keys: limiter.Keys{Account: "a"}, Uses: []limiter.Use{{Limit: "inflight"}}})
			time.AfterFunc(time.Minute, permit.Release)
		}
	}
	for _, tt := range []struct {
		name         string
		yaml         string
		o            Options
		method, path string
		before       func(*Engine)
		replies      []reply
		status       int // of the answer before, in the error
	}{
		{name: "in the attempt", replies: []reply{{took: time.Hour}}},
		{name: "in the attempt, no rule", yaml: noRule, replies: []reply{{took: time.Hour}}},
		{name: "in the attempt of a POST", method: "POST", path: "/send", replies: []reply{{took: time.Hour}}},
		{name: "in the attempt of a POST, no rule", yaml: noRule, method: "POST", path: "/send", replies: []reply{{took: time.Hour}}},
		{name: "in the attempt, with attempt_timeout", yaml: "attempt_timeout: 30s\n" + loopYAML, replies: []reply{{took: time.Hour}}},
		{name: "in the attempt, with a breaker", yaml: loopYAML + "breaker: {failures: 1, open: 30s, probes: 1}\n", replies: []reply{{took: time.Hour}}},
		{name: "in the second attempt", replies: []reply{{status: 503}, {took: time.Hour}}},
		{name: "while no permit is free", before: hold},
		{name: "while no permit is free for the second attempt", replies: []reply{{status: 503}}, status: 503,
			before: func(e *Engine) { time.AfterFunc(time.Millisecond, func() { hold(e) }) }},
		{name: "while the refresh hangs", replies: []reply{{status: 401}}, status: 401,
			o: Options{Reauth: Reauth{Refresh: func(ctx context.Context, _ ReauthRequest) error { <-ctx.Done(); return ctx.Err() }}}},
		{name: "in a failed response's body", replies: []reply{{status: 503, stall: true}}, status: 503},
		{name: "in backoff", o: Options{MaxInline: time.Hour}, replies: []reply{{status: 429, header: "Retry-After: 30"}}, status: 429},
		{name: "before the refresh", o: refreshLater, replies: []reply{{status: 401}}, status: 401},
	} {
		for _, by := range []string{"Transport", "Do"} {
			t.Run(tt.name+"/"+by, func(t *testing.T) {
				plain := map[bool]string{} // by deadline
				for _, end := range ends {
					synctest.Test(t, func(t *testing.T) {
						yaml := tt.yaml
						if yaml == "" {
							yaml = loopYAML
						}
						if tt.method == "" {
							tt.method, tt.path = "GET", "/items/1"
						}
						tt.o.Rand = func() float64 { return 0 }
						e := testEngine(t, tt.o, yaml)
						if tt.before != nil {
							tt.before(e)
						}
						ctx, cancel := end.make(t.Context())
						defer cancel()
						s := newServer(tt.replies...)
						var resp *http.Response
						var err error
						if by == "Do" {
							err = e.Do(ctx, Call{Provider: "test", Keys: limiter.Keys{Account: "a", Operation: map[string]string{"GET": "items.get", "POST": "send"}[tt.method]}, Method: tt.method}, func(ctx context.Context) error {
								resp, err := s.RoundTrip(request(t, ctx, tt.method, tt.path, ""))
								if err != nil {
									return err
								}
								defer resp.Body.Close()
								return e.CheckResponse(ctx, resp)
							})
						} else {
							resp, err = e.Transport(s).RoundTrip(request(t, ctx, tt.method, tt.path, ""))
						}
						out := resultOf(resp, err)
						if resp != nil { // a deadline that a wait does not fit into leaves the response
							err = e.CheckResponse(ctx, resp)
							resp.Body.Close()
						}
						got := fmt.Sprintf("%s (%v)", out.Decision.As, out.Decision.Reason)
						if want, ok := plain[end.deadline]; !ok {
							plain[end.deadline] = got
							t.Logf("%s: %s", end.name, got)
						} else if got != want {
							t.Errorf("%s: got %s, want %s: %v", end.name, got, want, err)
						}
						if out.Decision.As == AsDeadline && !errors.Is(err, context.DeadlineExceeded) || out.Decision.As == AsCanceled && !errors.Is(err, context.Canceled) {
							t.Errorf("%s: %v is not what it is called", end.name, err)
						}
						if ctx.Err() != nil && !(errors.Is(err, end.cause) && (errors.Is(err, ctx.Err()) || out.Decision.As == AsAmbiguous)) {
							t.Errorf("%s: %v in it: %v, %v in it: %v: %v", end.name, end.cause, errors.Is(err, end.cause), ctx.Err(), errors.Is(err, ctx.Err()), err)
						}
						if last, _ := errors.AsType[*ResponseError](err); tt.status != 0 && (last == nil || last.Status != tt.status) {
							t.Errorf("%s: HTTP %d is not in the error: %v", end.name, tt.status, err)
						}
						time.Sleep(2 * time.Minute) // a refresh or a permit of before is over
					})
				}
			})
		}
	}
}
