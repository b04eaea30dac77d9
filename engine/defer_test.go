package engine

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
)

// What must wait longer than a worker may be held is handed back at once, with
// the time to come back and the State to come back with.
func TestDeferral(t *testing.T) {
	defer10 := overLoop + "rules: [{name: throttled, when: status == 429, action: wait, max_wait: 10s, hold: requests}]\n"
	fail10 := overLoop + "rules: [{name: throttled, when: status == 429, action: wait, max_wait: 10s, over: fail, hold: requests}]\n"
	for _, tt := range []struct {
		name   string
		yaml   string
		o      Options
		call   Call
		hint   string
		until  time.Duration // 0 = not deferred
		took   time.Duration
		as     string
		reason Reason
	}{
		{name: "longer than a minute", hint: "61", until: 61 * time.Second, reason: decision.ReasonInline},
		{name: "a minute", hint: "60", took: 60 * time.Second},
		{name: "longer than the options allow", o: Options{MaxInline: 5 * time.Second}, hint: "6", until: 6 * time.Second, reason: decision.ReasonInline},
		{name: "longer than the call allows", call: Call{MaxInline: time.Second}, hint: "6", until: 6 * time.Second, reason: decision.ReasonInline},
		{name: "the call allows more", o: Options{MaxInline: 5 * time.Second}, call: Call{MaxInline: time.Hour}, hint: "600", took: 600 * time.Second},
		{name: "over max_wait defers", yaml: defer10, hint: "11", until: 11 * time.Second, reason: decision.ReasonMaxWait},
		{name: "within max_wait", yaml: defer10, hint: "10", took: 10 * time.Second},
		{name: "over max_wait fails", yaml: fail10, hint: "11", as: AsExhausted, reason: decision.ReasonMaxWait},
		{name: "too many waits in all", call: Call{State: State{Attempts: 20, Waits: 20}}, hint: "2", as: AsExhausted, reason: decision.ReasonWaits},
		{name: "longer than a day in all", call: Call{State: State{Attempts: 3, Waits: 2, Waited: 24*time.Hour - time.Second}}, hint: "2", as: AsExhausted, reason: decision.ReasonTotalWait},
		{name: "deferred although the deadline is near", call: Call{}, hint: "120", until: 120 * time.Second, reason: decision.ReasonInline},
	} {
		for _, way := range []string{"Transport", "Do"} {
			t.Run(tt.name+"/"+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					yaml := tt.yaml
					if yaml == "" {
						yaml = loopYAML
					}
					tt.o.Rand = func() float64 { return 0 }
					e := testEngine(t, tt.o, yaml)
					call := tt.call
					call.Provider, call.Account, call.Method = "test", "a", "GET"
					ctx := t.Context()
					if strings.Contains(tt.name, "deadline") {
						var cancel func()
						ctx, cancel = context.WithTimeout(ctx, time.Second)
						defer cancel()
					}
					ctx = WithCall(ctx, call)
					s := newServer(reply{status: 429, header: "Retry-After: " + tt.hint, body: "slow down"})
					start := time.Now()
					var (
						until  time.Time
						got    Decision
						status int
					)
					if way == "Transport" {
						req := request(t, ctx, "GET", "/items/1", "").WithContext(ctx)
						resp, err := e.Transport(s).RoundTrip(req)
						if err != nil {
							t.Fatal(err)
						}
						b, _ := io.ReadAll(resp.Body)
						resp.Body.Close()
						if status = resp.StatusCode; status == 429 && string(b) != "slow down" {
							t.Errorf("the body came as %q", b)
						}
						out, _ := Outcome(resp)
						until, got = out.Until, out.Decision
					} else {
						err := e.Do(ctx, call, func(ctx context.Context) error {
							resp, err := s.RoundTrip(request(t, ctx, "GET", "/items/1", ""))
							if err != nil {
								return err
							}
							defer resp.Body.Close()
							status = resp.StatusCode
							p, _ := e.Provider("test")
							return p.CheckResponse(ctx, resp)
						})
						later, isDefer := errors.AsType[*DeferError](err)
						gave, isGiveUp := errors.AsType[*GiveUpError](err)
						switch {
						case isDefer:
							until, got = later.Until, later.Decision
							if r, ok := errors.AsType[*ResponseError](err); !ok || r.Status != 429 || later.State != later.Decision.State {
								t.Errorf("got %+v", later)
							}
						case isGiveUp:
							got = gave.Decision
						case err != nil:
							t.Fatal(err)
						}
					}
					took := time.Since(start)
					if took < tt.took || took > tt.took+10*time.Millisecond { // the bucket is empty after a hold
						t.Errorf("took %v, want %v", took, tt.took)
					}
					if tt.until > 0 && (!got.Defer || until.Sub(start) != tt.until || got.State.Waits != 1 || got.State.Waited != tt.until || got.State.Attempts != 1) {
						t.Errorf("deferred %v until %v with %+v, want after %v", got.Defer, until.Sub(start), got.State, tt.until)
					}
					if tt.until == 0 && !until.IsZero() || got.As != tt.as || got.Reason != tt.reason && tt.reason != 0 {
						t.Errorf("until %v, as %q (%v); want as %q (%v)", until, got.As, got.Reason, tt.as, tt.reason)
					}
					if tt.took > 0 && status != 200 {
						t.Errorf("ended with HTTP %d", status)
					}
				})
			})
		}
	}
}

// A limit that would hold the worker too long hands the call back too: before
// anything is sent, and while the call waits already.
func TestDeferralFromLimits(t *testing.T) {
	hold := func(e *Engine, d time.Duration) {
		p, _ := e.Provider("test")
		p.Hold("requests", limiter.Keys{Account: "a"}, time.Now().Add(d))
	}
	for _, tt := range []struct {
		name    string
		replies []reply
		before  func(*Engine)
		took    time.Duration
		until   time.Duration
		sent    int
		status  int
	}{
		{name: "before anything is sent", before: func(e *Engine) { hold(e, 20*time.Minute) }, until: 20 * time.Minute},
		{name: "a hold that comes while it waits", before: func(e *Engine) {
			hold(e, 30*time.Second)
			time.AfterFunc(10*time.Second, func() { hold(e, 20*time.Minute) })
		}, took: 10 * time.Second, until: 20*time.Minute + 10*time.Second},
		{name: "a hold that comes while it backs off", replies: []reply{{status: 503, body: "busy"}}, before: func(e *Engine) {
			time.AfterFunc(time.Millisecond, func() { hold(e, 20*time.Minute) })
		}, took: time.Second, until: 20*time.Minute + time.Millisecond, sent: 1, status: 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := testEngine(t, Options{Rand: func() float64 { return 0 }})
				s := newServer(tt.replies...)
				start := time.Now()
				tt.before(e)
				resp, err := e.Transport(s).RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				var until time.Time
				if tt.status != 0 {
					if err != nil {
						t.Fatal(err)
					}
					resp.Body.Close()
					out, _ := Outcome(resp)
					until = out.Until
					if !out.Decision.Defer || resp.StatusCode != tt.status || out.Decision.As != "" || out.Decision.State.Attempts != 1 {
						t.Errorf("HTTP %d, %+v", resp.StatusCode, out.Decision)
					}
				} else {
					later, ok := errors.AsType[*DeferError](err)
					if !ok {
						t.Fatalf("got %v, want a deferral", err)
					}
					until = later.Until
					if later.Decision.Rule == nil {
						t.Errorf("no rule in %+v", later.Decision)
					}
				}
				if len(s.sent) != tt.sent {
					t.Errorf("sent %q", s.sent)
				}
				if d := until.Sub(start); d < tt.until || d > tt.until+20*time.Millisecond {
					t.Errorf("until %v, want %v", d, tt.until)
				}
			})
		})
	}
}

// A call that is handed back after a refresh may refresh again when it comes
// back: by then those credentials have expired.
func TestReauthAfterDeferral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *Provider
		refreshes, good := 0, 1
		e := testEngine(t, Options{Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error {
			refreshes++
			p.Hold("requests", limiter.Keys{Account: "a"}, time.Now().Add(2*time.Hour)) // another worker was throttled
			return nil
		}}})
		p, _ = e.Provider("test")
		fn := func(context.Context) error {
			if refreshes < good {
				return &ResponseError{Status: 401, Method: "GET"}
			}
			return nil
		}
		call := Call{Keys: limiter.Keys{Account: "a"}, Method: "GET"}
		var later *DeferError
		if err := p.Do(t.Context(), call, fn); !errors.As(err, &later) {
			t.Fatal(err)
		}
		time.Sleep(time.Until(later.Until))
		call.State, good = later.State, 2
		if err := p.Do(t.Context(), call, fn); !errors.As(err, &later) || refreshes != 2 {
			t.Errorf("after %d refreshes: %v, want the second one, and its hold", refreshes, err)
		}
	})
}

// A wait that is longer than a worker may be held is handed back also where the
// caller's deadline is sooner, whoever has found the wall.
func TestDeferralBeforeDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := testEngine(t, Options{}).Provider("test")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		throttled := func(context.Context) error {
			return &ResponseError{Status: 429, Header: http.Header{"Retry-After": {"1200"}}, Method: "GET"}
		}
		for _, name := range []string{"the first", "another"} {
			err := p.Do(ctx, Call{Keys: limiter.Keys{Account: "a"}, Method: "GET"}, throttled)
			later, ok := errors.AsType[*DeferError](err)
			if !ok {
				t.Fatalf("%s: %v, want it handed back", name, err)
			}
			if wait := time.Until(later.Until); wait < 20*time.Minute || later.Decision.Delay != wait && name == "another" {
				t.Errorf("%s: until in %v with a delay of %v", name, wait, later.Decision.Delay)
			}
		}
		p.Lift("requests", limiter.Keys{Account: "a"})
		p.Hold("requests", limiter.Keys{Account: "a"}, time.Now().Add(40*time.Second)) // a worker could wait so long, the caller cannot
		err = p.Do(ctx, Call{Keys: limiter.Keys{Account: "a"}, Method: "GET"}, throttled)
		if gave, ok := errors.AsType[*GiveUpError](err); !ok || gave.Decision.As != AsDeadline {
			t.Errorf("a short hold: %v, want %s", err, AsDeadline)
		}
	})
}

// A body that only the caller has is for the caller to send again, when it is time.
func TestStreamIsHandedBack(t *testing.T) {
	for after, want := range map[string]time.Duration{"1200": 20 * time.Minute, "3": 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(reply{status: 429, header: "Retry-After: " + after})
			req, err := http.NewRequestWithContext(WithAccount(t.Context(), "a"), "POST", "http://api.test/send", io.MultiReader(strings.NewReader("mail")))
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			resp, err := testEngine(t, Options{Rand: func() float64 { return 0 }}).Transport(s).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			out, _ := Outcome(resp)
			if wait := out.Until.Sub(start); !out.Decision.Defer || out.Decision.Reason != decision.ReasonBody || wait != want || len(s.sent) != 1 || time.Since(start) != 0 {
				t.Errorf("deferred %v (%v) until in %v, want %v; %d requests", out.Decision.Defer, out.Decision.Reason, wait, want, len(s.sent))
			}
		})
	}
}

// The error of a refresh that has failed is not lost where its account cannot
// wait for the next.
func TestCredentialsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("token endpoint is down")
		e := testEngine(t, Options{Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error { return RetryAfter(40*time.Second, down) }}})
		refused := func(context.Context) error { return &ResponseError{Status: 401, Method: "GET"} }
		e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Method: "GET", MaxInline: 1}, refused)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := e.Do(ctx, Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Method: "GET"}, refused)
		if gave, ok := errors.AsType[*GiveUpError](err); !ok || gave.Decision.As != AsDeadline || !errors.Is(err, down) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %s for %v", err, AsDeadline, down)
		}
	})
}
