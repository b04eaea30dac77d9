package engine

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// Every wait ends at once when the caller gives up, with everything given back
// and what the server had said in the error.
func TestCancelWakesEveryWait(t *testing.T) {
	refreshLater := func(context.Context, ReauthRequest) error {
		return &DeferError{Until: time.Now().Add(40 * time.Second), Err: errors.New("token endpoint busy")}
	}
	slow := overLoop + "limits: [{name: requests, key: account, rate: 2/m, burst: 1}]\n"
	for _, tt := range []struct {
		name    string
		yaml    string
		o       Options
		before  func(t *testing.T, e *Engine, s *server) (after func())
		replies []reply
		at      time.Duration // of the cancel
		sent    int           // requests of this call
		status  int           // of the last response, in the error
		limit   string        // that it waited for, in the error
		base    bool          // http.Request.Cancel is for the base to heed, which this one does not
	}{
		{name: "the bucket is empty", yaml: slow, at: 3 * time.Second, limit: "requests",
			before: func(t *testing.T, e *Engine, _ *server) func() { get(t, e, newServer()); return nil }},
		{name: "the limit is held", at: 3 * time.Second, limit: "requests",
			before: func(t *testing.T, e *Engine, _ *server) func() {
				p, _ := e.Provider("test")
				p.Hold("requests", limiter.Keys{Account: "a"}, time.Now().Add(30*time.Second))
				return nil
			}},
		{name: "no permit is free", at: 3 * time.Second, limit: "inflight",
			before: func(t *testing.T, e *Engine, _ *server) func() {
				var open []io.Closer
				for range 2 {
					resp, err := e.Transport(newServer()).RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
					if err != nil {
						t.Fatal(err)
					}
					open = append(open, resp.Body)
				}
				return func() { open[0].Close(); open[1].Close() }
			}},
		{name: "backoff", replies: []reply{{status: 503}}, at: 500 * time.Millisecond, sent: 1, status: 503},
		{name: "what the server asked for", replies: []reply{{status: 429, header: "Retry-After: 30"}}, at: 3 * time.Second, sent: 1, status: 429},
		{name: "the hold after its own refusal", replies: []reply{{status: 503}, {status: 200}}, at: 2 * time.Second, sent: 1, status: 503, limit: "requests",
			before: func(t *testing.T, e *Engine, _ *server) func() {
				time.AfterFunc(time.Millisecond, func() {
					p, _ := e.Provider("test")
					p.Hold("requests", limiter.Keys{Account: "a"}, time.Now().Add(30*time.Second))
				})
				return nil
			}},
		{name: "another response is undecided", at: 20 * time.Millisecond,
			before: func(t *testing.T, e *Engine, _ *server) func() {
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() {
					defer close(done)
					e.Transport(newServer(reply{status: 503, stall: true})).RoundTrip(request(t, ctx, "GET", "/items/2", ""))
				}()
				synctest.Wait()
				return func() { cancel(); <-done }
			}},
		{name: "the refresh hangs", replies: []reply{{status: 401, body: "who?"}}, at: 3 * time.Second, sent: 1, status: 401,
			o: Options{Reauth: Reauth{Refresh: func(ctx context.Context, _ ReauthRequest) error { <-ctx.Done(); return ctx.Err() }}}},
		{name: "the refresh comes later", replies: []reply{{status: 401}}, at: 3 * time.Second, sent: 1, status: 401, o: Options{Reauth: Reauth{Refresh: refreshLater}}},
		{name: "the account's refresh has failed", at: 3 * time.Second, o: Options{Reauth: Reauth{Refresh: refreshLater}, MaxInline: time.Hour},
			before: func(t *testing.T, e *Engine, _ *server) func() {
				resp, err := e.Transport(newServer(reply{status: 401})).RoundTrip(request(t, WithCall(t.Context(), Call{MaxInline: 1}), "GET", "/items/1", ""))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				return nil
			}},
		{name: "a failed response's body stalls", replies: []reply{{status: 503, body: "half", stall: true}}, at: 3 * time.Second, sent: 1, status: 503, base: true},
		{name: "the attempt", replies: []reply{{took: time.Hour}}, at: 3 * time.Second, sent: 1, base: true},
		{name: "the second attempt", replies: []reply{{status: 503}, {took: time.Hour}}, at: 3 * time.Second, sent: 2, base: true},
	} {
		run := func(t *testing.T, byRequest bool) {
			synctest.Test(t, func(t *testing.T) {
				yaml := tt.yaml
				if yaml == "" {
					yaml = loopYAML
				}
				e := testEngine(t, tt.o, yaml)
				s := newServer(tt.replies...)
				if tt.before != nil {
					if after := tt.before(t, e, s); after != nil {
						defer after()
					}
				}
				mine := errors.New("the worker is drained")
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				req := request(t, ctx, "GET", "/items/1", "")
				end := func() { cancel(mine) }
				if byRequest {
					canceled := make(chan struct{})
					//lint:ignore SA1019 it must end a wait all the same
					req.Cancel = canceled
					end = func() { close(canceled) }
				}
				start := time.Now()
				time.AfterFunc(tt.at, end)
				resp, err := e.Transport(s).RoundTrip(req)
				if took := time.Since(start); took != tt.at {
					t.Errorf("woke after %v, want %v", took, tt.at)
				}
				if err == nil {
					resp.Body.Close()
					t.Fatalf("got HTTP %d, want an error", resp.StatusCode)
				}
				gave, ok := errors.AsType[*GiveUpError](err)
				if !ok || gave.Decision.As != AsCanceled || !errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want a give-up that is context.Canceled", err)
				}
				if !byRequest && !errors.Is(err, mine) {
					t.Errorf("got %v, want the context's cause in it", err)
				}
				if wait, _ := errors.AsType[*limiter.WaitError](err); (wait != nil) != (tt.limit != "") || wait != nil && (wait.Limit != tt.limit || gave.Until.Before(start)) {
					t.Errorf("got %v, until %v; want limit %q in it", err, gave.Until, tt.limit)
				}
				if len(s.sent) != tt.sent {
					t.Errorf("sent %q, want %d", s.sent, tt.sent)
				}
				if tt.status != 0 {
					last, ok := errors.AsType[*ResponseError](err)
					if !ok || last.Status != tt.status || gave.Event == nil || gave.Event.Status != tt.status {
						t.Errorf("the error has not the last response, HTTP %d: %v", tt.status, err)
					}
				}
				if n := s.open.Load(); n != 0 {
					t.Errorf("%d bodies left open", n)
				}
				time.Sleep(2 * time.Minute) // a refresh under way is not cut off: it would be one of unknown outcome
			})
		}
		t.Run(tt.name, func(t *testing.T) { run(t, false) })
		if !tt.base {
			t.Run(tt.name+", http.Request.Cancel", func(t *testing.T) { run(t, true) })
		}
	}
}

// get makes one request that succeeds.
func get(t *testing.T, e *Engine, base http.RoundTripper) {
	t.Helper()
	resp, err := e.Transport(base).RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// A deadline is never slept past: what does not fit fails at once.
func TestDeadlineIsNeverPassed(t *testing.T) {
	hold := func(d time.Duration) func(*Engine) {
		return func(e *Engine) {
			p, _ := e.Provider("test")
			p.Hold("requests", limiter.Keys{Account: "a"}, time.Now().Add(d))
		}
	}
	for _, tt := range []struct {
		name    string
		o       Options
		before  func(*Engine)
		replies []reply
		took    time.Duration
		status  int // 0 = an error, since there was no response
		sent    int
	}{
		{name: "a limiter's wait", before: hold(20 * time.Second)},
		{name: "a hint", replies: []reply{{status: 429, header: "Retry-After: 20", body: "slow down"}}, status: 429, sent: 1},
		{name: "backoff", replies: []reply{{status: 500}, {status: 500}, {status: 500, body: "busy"}, {status: 500, body: "busy"}}, took: 7 * time.Second, status: 500, sent: 4},
		{name: "the refresh comes later", replies: []reply{{status: 401, body: "who?"}}, status: 401, sent: 1,
			o: Options{Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error { return RetryAfter(20*time.Second, io.EOF) }}}},
		{name: "a hold after its own failure", replies: []reply{{status: 500, body: "x"}}, took: time.Second, status: 500, sent: 1,
			before: func(e *Engine) { time.AfterFunc(time.Millisecond, func() { hold(20 * time.Second)(e) }) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.o.Rand = func() float64 { return 0 }
				e := testEngine(t, tt.o)
				if tt.before != nil {
					tt.before(e)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				s := newServer(tt.replies...)
				start := time.Now()
				resp, err := e.Transport(s).RoundTrip(request(t, ctx, "GET", "/items/1", ""))
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if len(s.sent) != tt.sent {
					t.Errorf("sent %q, want %d", s.sent, tt.sent)
				}
				if tt.status == 0 {
					gave, ok := errors.AsType[*GiveUpError](err)
					if !ok || gave.Decision.As != AsDeadline || !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("got %v, want a give-up as deadline", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				out, _ := Outcome(resp)
				if resp.StatusCode != tt.status || err != nil || out.Decision.As != AsDeadline && out.Decision.As != AsExhausted || tt.replies[len(tt.replies)-1].body != string(b) {
					t.Errorf("got HTTP %d %q as %q, %v; want %d as it came, as deadline", resp.StatusCode, b, out.Decision.As, err, tt.status)
				}
			})
		})
	}
}

// An attempt that the caller's deadline cut off is no failure of the provider.
func TestDeadlineInsideTheAttempt(t *testing.T) {
	bare := overLoop + "remove: [network]\n"
	for name, yaml := range map[string]string{"a rule retries timeouts": loopYAML, "no rule knows them": bare} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := testEngine(t, Options{}, yaml)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				err := e.Do(ctx, Call{Provider: "test", Method: "GET"}, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
				gave, ok := errors.AsType[*GiveUpError](err)
				if !ok || gave.Decision.As != AsDeadline || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want a give-up as deadline", err)
				}
			})
		})
	}
}

// A panic in what the engine calls gives everything back; Goexit too.
func TestPanicLeavesNothing(t *testing.T) {
	yaml := loopYAML + "breaker: {failures: 1, open: 1s, probes: 1}\n"
	for name, boom := range map[string]func(e *Engine){
		"Do": func(e *Engine) {
			e.Do(context.Background(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}}, func(context.Context) error { panic("boom") })
		},
		"base": func(e *Engine) {
			e.Transport(roundTripper(func(*http.Request) (*http.Response, error) { panic("boom") })).
				RoundTrip(request(t, context.Background(), "GET", "/items/1", ""))
		},
		"body": func(e *Engine) {
			e.Transport(roundTripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 503, Body: io.NopCloser(panicReader{})}, nil
			})).RoundTrip(request(t, context.Background(), "GET", "/items/1", ""))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := testEngine(t, Options{}, yaml)
				for range 5 { // more than there are permits, or probes
					func() {
						defer func() {
							if recover() == nil {
								t.Error("the panic was swallowed")
							}
						}()
						boom(e)
					}()
				}
				get(t, e, newServer())
			})
		})
	}
}

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("boom") }

// net/http fails with the cause of the context's end; the caller may ask for
// either.
func TestCancelWithCause(t *testing.T) {
	mine := errors.New("the worker is drained")
	ctx, cancel := context.WithCancelCause(t.Context())
	e := testEngine(t, Options{})
	_, err := e.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
		cancel(mine)
		return nil, context.Cause(req.Context())
	})).RoundTrip(request(t, ctx, "GET", "/items/1", ""))
	gave, ok := errors.AsType[*GiveUpError](err)
	if !ok || gave.Decision.As != AsCanceled || !errors.Is(err, mine) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a *GiveUpError as %q that is %v and %v", err, AsCanceled, mine, context.Canceled)
	}
}
