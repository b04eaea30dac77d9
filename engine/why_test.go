package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// Why puts together what keeps an account waiting, and nothing of another one.
func TestWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{
			Recent: 100, MaxInline: time.Minute, Rand: func() float64 { return 0 },
			Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error {
				return RetryAfter(20*time.Second, errors.New("token=secret"))
			}},
		}, overLoop+"limits: [{name: app, key: app, rate: 10/s}]\n")
		p, err := e.Provider("test")
		if err != nil {
			t.Fatal(err)
		}
		do := func(account string, replies ...error) chan error {
			ended := make(chan error, 1)
			go func() {
				ended <- p.Do(t.Context(), Call{Keys: limiter.Keys{Account: account, App: "sync", Operation: "items.get"}, Method: "GET"}, func(context.Context) error {
					if len(replies) == 0 {
						return nil
					}
					reply := replies[0]
					replies = replies[1:]
					return reply
				})
			}()
			synctest.Wait()
			return ended
		}
		expect := func(name, account string, want ...string) {
			t.Helper()
			got := e.Why(account).String()
			for _, part := range want {
				if !strings.Contains(got, part) {
					t.Errorf("%s: got\n%s\nwant %q in it", name, got, part)
				}
			}
			if strings.Contains(got, "secret") {
				t.Errorf("%s: a secret in\n%s", name, got)
			}
		}
		nothing := `nothing that this process knows keeps account "ann" waiting`
		expect("unknown", "ann", nothing)
		<-do("ann")
		expect("idle", "ann", nothing)

		throttled := do("ann", &ResponseError{Status: 429, Provider: "test", Operation: "items.get"})
		more := do("ann")
		expect("held", "ann",
			`test: limit "requests" held until 2000-01-01T00:00:01Z, closed by rule "throttled" (status 429, operation items.get, at 2000-01-01T00:00:00Z), 1 waiting`,
			`2000-01-01T00:00:00Z test items.get, status 429: rule "throttled" says retry`)
		expect("another account", "ben", `nothing that this process knows keeps account "ben" waiting`)
		<-throttled
		<-more

		var permits []limiter.Permit
		for range 2 {
			permit, ok := p.Limiter().TryAcquire(&limiter.Request{Keys: limiter.Keys{Account: "ann"}, Uses: []limiter.Use{{Limit: "inflight"}}})
			if !ok {
				t.Fatal("no permit")
			}
			permits = append(permits, permit)
		}
		expect("no slot", "ann", `test: limit "inflight" has all 2 calls at once`)
		for _, permit := range permits {
			permit.Release()
		}

		if err := p.Hold("app", limiter.Keys{App: "sync"}, time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		expect("shared", "ann", `test: limit "app" shared with other accounts, held until `)
		if err := p.Lift("app", limiter.Keys{App: "sync"}); err != nil {
			t.Fatal(err)
		}

		time.Sleep(time.Second) // the bucket has filled since its hold
		refused := do("ann", &ResponseError{Status: 401, Provider: "test"})
		expect("credentials", "ann", "test: the credentials cannot be refreshed before ")
		<-refused

		if err := e.PauseAccount("ann", time.Time{}, "asked by its owner"); err != nil {
			t.Fatal(err)
		}
		expect("paused", "ann", `account "ann" is paused until it is resumed, since `, ": asked by its owner")
		w := e.Why("ann")
		if w.Paused == nil || w.Paused.Reason != "asked by its owner" || len(w.Decisions) != 2 || w.Account != "ann" || w.Time.IsZero() {
			t.Errorf("got %+v", w)
		}
	})
}

// A limit that a reply says to be used up is told with that reply.
func TestWhyLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{}, learningPolicy)
		p, err := e.Provider("test")
		if err != nil {
			t.Fatal(err)
		}
		a := &headerServer{header: told("X-RateLimit-Resource: core", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: @300s")}
		if err := listening[0].make(t.Context(), p, a, "GET", "/any"); err != nil {
			t.Fatal(err)
		}
		got := e.Why("ann").String()
		if want := `test: limit "core" used up until 2000-01-01T00:05:00Z, closed by rule "learn" (status 200, operation any, at 2000-01-01T00:00:00Z)`; !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant %q in it", got, want)
		}
		err = p.Do(t.Context(), Call{Keys: limiter.Keys{Account: "ann", Operation: "any"}}, func(context.Context) error { return nil })
		w, ok := errors.AsType[*limiter.WaitError](err)
		if later, deferred := errors.AsType[*DeferError](err); !ok || !deferred || w.Limit != "core" || w.Cause.Rule != "learn" || w.Cause.Status != 200 || !later.Until.Equal(w.Until) {
			t.Errorf("got %v, want it handed back by core because of the reply", err)
		}
	})
}
