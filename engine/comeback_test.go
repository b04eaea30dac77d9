package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
)

// What is given up for want of time, of budget or of a host that is up says when
// it is worth coming back, by Transport as by Do; and what is given up as
// deadline is a context.DeadlineExceeded, however it came to that.
func TestComeBack(t *testing.T) {
	hold := func(d time.Duration) func(*Engine) {
		return func(e *Engine) {
			p, _ := e.Provider("test")
			p.Hold("requests", limiter.Keys{Account: "a"}, time.Now().Add(d), limiter.Cause{Rule: "throttled", Status: 429})
		}
	}
	down := func(e *Engine) {
		_ = e.Do(context.Background(), Call{Provider: "test", Keys: limiter.Keys{Account: "a", Host: "api.test"}, MaxAttempts: 1},
			func(context.Context) error { return &ResponseError{Status: 503} })
	}
	const breaker = "breaker: {failures: 1, open: 30s, probes: 1}\n"
	refreshLater := func(context.Context, ReauthRequest) error { return RetryAfter(40*time.Second, errors.New("busy")) }
	for _, tt := range []struct {
		name     string
		yaml     string
		o        Options
		before   func(*Engine)
		deadline time.Duration
		replies  []reply
		as       string
		reason   Reason
		until    time.Duration // from the start
		limit    string
		text     string // in Do's error
	}{
		{name: "an open breaker", yaml: loopYAML + breaker, before: down, as: AsUnavailable, reason: decision.ReasonBreaker, until: 30 * time.Second,
			text: `gave up as unavailable (rule "breaker": the circuit breaker is open)`},
		{name: "it opens meanwhile", yaml: loopYAML + breaker, replies: []reply{{status: 503}}, as: AsUnavailable, reason: decision.ReasonBreaker, until: 30 * time.Second,
			text: `after 1 attempt (rule "server": the circuit breaker is open)`},
		{name: "no budget", yaml: overLoop + "budget: {ratio: 0, min: 1/20s}\n", replies: []reply{{status: 503}, {status: 503}},
			as: AsBudget, reason: decision.ReasonBudget, until: 20 * time.Second, text: "the retry budget is used up"},
		{name: "the backoff is longer than what the budget takes", yaml: overLoop + "budget: {ratio: 0, min: 0.99/s}\n",
			replies: []reply{{status: 503}, {status: 503}}, as: AsBudget, reason: decision.ReasonBudget, until: 3 * time.Second, text: "the retry budget is used up"},
		{name: "a hint does not fit", deadline: 10 * time.Second, replies: []reply{{status: 429, header: "Retry-After: 20"}}, as: AsDeadline, reason: decision.ReasonDeadline, until: 20 * time.Second,
			text: "the wait does not fit before the caller's deadline"},
		{name: "a backoff does not fit", deadline: 10 * time.Second, replies: []reply{{status: 503}, {status: 503}, {status: 503, took: 5 * time.Second}}, as: AsDeadline, reason: decision.ReasonDeadline, until: 12 * time.Second,
			text: "the wait does not fit before the caller's deadline"},
		{name: "a hold does not fit", deadline: 10 * time.Second, before: hold(20 * time.Second), as: AsDeadline, reason: decision.ReasonDeadline, until: 20*time.Second + 10*time.Millisecond, limit: "requests",
			text: `the wait does not fit before the caller's deadline): limiter: limit "requests" closed by rule "throttled" (status 429)`},
		{name: "a refresh does not fit", deadline: 10 * time.Second, o: Options{Reauth: Reauth{Refresh: refreshLater}}, replies: []reply{{status: 401}}, as: AsDeadline, reason: decision.ReasonDeadline, until: 40 * time.Second,
			text: "the wait does not fit before the caller's deadline"},
		{name: "the deadline comes in the attempt", deadline: 10 * time.Second, replies: []reply{{took: time.Hour}}, as: AsDeadline, reason: decision.ReasonTimeUp, until: 10 * time.Second,
			text: "the caller's deadline has come"},
		{name: "it comes in the second attempt", deadline: 10 * time.Second, replies: []reply{{status: 503}, {took: time.Hour}}, as: AsDeadline, reason: decision.ReasonTimeUp, until: 10 * time.Second,
			text: "the caller's deadline has come"},
		{name: "it comes while no permit is free", deadline: 10 * time.Second, as: AsDeadline, reason: decision.ReasonTimeUp, until: 10 * time.Second, limit: "inflight",
			before: func(e *Engine) {
				p, _ := e.Provider("test")
				for range 2 {
					permit, _ := p.Limiter().TryAcquire(&limiter.Request{Keys: limiter.Keys{Account: "a"}, Uses: []limiter.Use{{Limit: "inflight"}}})
					time.AfterFunc(time.Minute, permit.Release)
				}
			}, text: `the caller's deadline has come): limiter: limit "inflight": gave up waiting: context deadline exceeded`},
	} {
		for _, by := range []string{"Do", "Transport"} {
			t.Run(tt.name+"/"+by, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tt.o.Rand = func() float64 { return 0 }
					if tt.yaml == "" {
						tt.yaml = loopYAML
					}
					e := testEngine(t, tt.o, tt.yaml)
					if tt.before != nil {
						tt.before(e)
					}
					ctx := t.Context()
					mine := errors.New("the job's own time is up")
					if tt.deadline > 0 {
						c, cancel := context.WithTimeoutCause(ctx, tt.deadline, mine)
						defer cancel()
						ctx = c
					}
					start := time.Now()
					s := newServer(tt.replies...)
					req := request(t, WithCall(ctx, Call{Keys: limiter.Keys{Account: "a", Host: "api.test"}}), "GET", "/items/1", "")
					var got Result
					var err error
					if by == "Do" {
						err = e.Do(ctx, Call{Provider: "test", Keys: limiter.Keys{Account: "a", Host: "api.test"}, Method: "GET"}, func(ctx context.Context) error {
							resp, err := s.RoundTrip(req.WithContext(ctx))
							if err != nil {
								return err
							}
							defer resp.Body.Close()
							return e.CheckResponse(ctx, resp)
						})
						if err == nil || !strings.Contains(err.Error(), tt.text) {
							t.Errorf("got %v\nwant %q in it", err, tt.text)
						}
						got = resultOf(nil, err)
					} else {
						resp, failed := e.Transport(s).RoundTrip(req)
						if err = failed; err == nil {
							resp.Body.Close()
						}
						got = resultOf(resp, err)
						if resp != nil {
							err = e.CheckResponse(ctx, resp)
						}
					}
					if until := got.Until.Sub(start); got.Decision.As != tt.as || got.Decision.Reason != tt.reason || until.Round(10*time.Millisecond) != tt.until {
						t.Errorf("gave up as %s (%v) until %v, want %s (%v) until %v", got.Decision.As, got.Decision.Reason, until, tt.as, tt.reason, tt.until)
					}
					if gave, ok := errors.AsType[*GiveUpError](fmt.Errorf("sync: %w", err)); !ok || !gave.Until.Equal(got.Until) || gave.Until.Before(time.Now()) {
						t.Errorf("errors.As does not give the time %v, or it is past: %v", got.Until, err)
					}
					if is := errors.Is(err, context.DeadlineExceeded); is != (tt.as == AsDeadline) {
						t.Errorf("deadline exceeded: %v: %v", is, err)
					}
					if ended := tt.reason == decision.ReasonTimeUp; errors.Is(err, mine) != ended {
						t.Errorf("the context's cause in it: %v, want %v: %v", !ended, ended, err)
					}
					if wait, _ := errors.AsType[*limiter.WaitError](err); (wait != nil) != (tt.limit != "") || wait != nil && wait.Limit != tt.limit {
						t.Errorf("got %v, want limit %q in it", err, tt.limit)
					}
					time.Sleep(2 * time.Minute) // a refresh or a permit of before is over
				})
			})
		}
	}
}

// A call that was kept back says by which limit, and what had closed it.
func TestNoticesNameTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &notices{}
		e := testEngine(t, Options{Observer: seen, Rand: func() float64 { return 0 }})
		get := func(s *server) {
			resp, err := e.Transport(s).RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
			if err == nil {
				resp.Body.Close()
			}
		}
		want := limiter.Cause{Rule: "throttled", Code: "tooMany", Status: 429, Operation: "items.get", At: time.Now()}
		go get(newServer(reply{status: 429, header: "Retry-After: 5", body: `{"error":{"code":"tooMany"}}`}, reply{status: 200}))
		synctest.Wait()
		get(newServer())
		time.Sleep(time.Minute)
		get(newServer(reply{status: 429, header: "Retry-After: 300"}))
		get(newServer())
		told := func(n Notice) bool { return n.Limit == "requests" && n.Cause == want }
		queued := seen.of(NoticeQueued)
		if hold := seen.of(NoticeHold)[0]; !told(hold) || !slices.ContainsFunc(queued, told) {
			t.Errorf("held by %+v, queued %+v, want %+v in both", hold, queued, want)
		}
		handed := seen.of(NoticeDefer)
		if len(handed) != 2 || handed[1].Limit != "requests" || handed[1].Cause.Status != 429 {
			t.Errorf("handed back %+v", handed)
		}
	})
}
