package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/avast/retry-go/v5"
	backoffv4 "github.com/cenkalti/backoff/v4"
	backoffv5 "github.com/cenkalti/backoff/v5"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	sethvargo "github.com/sethvargo/go-retry"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// workYAML is a policy whose retries are immediate, with a limit for the
// operation "limited" only: two buckets and a number of concurrent requests.
const workYAML = `
version: 1
provider: work
match: [{host: work.example}]
operations:
  - {method: GET, path: "/items/*", operation: free}
extract: {codes: [{json: error.code}]}
backoff:
  default: {initial: 1ms, max: 1ms, jitter: full, attempts: 4} # with Options.Rand 0: no delay
limits:
  - {name: fast, key: account, rate: 1000000000/s, burst: 1000000000, operations: [limited]}
  - {name: slow, key: account, rate: 1000000000/s, burst: 1000000000, operations: [limited]}
  - {name: inflight, key: account, concurrency: 1000, operations: [limited]}
rules:
  - {name: throttled, when: 'status == 429 and "slowDown" in codes', action: wait, backoff: default}
  - {name: busy, when: status >= 500, action: retry}
default: fail
`

func workEngine(tb testing.TB, o engine.Options) *engine.Engine {
	tb.Helper()
	set, diags := policy.Load([]policy.File{{Name: "work.yaml", Data: []byte(workYAML)}}, policy.LoadOptions{Over: policy.Builtin()})
	if set == nil {
		tb.Fatal(diags.Err())
	}
	o.Policies = set
	o.Rand = func() float64 { return 0 }
	eng, err := engine.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return eng
}

// errBusy is what a failed attempt returns; every peer retries every error.
var errBusy = errors.New("busy")

// busy says the same to Recourse: HTTP 503.
func busy(err error, e *rules.Event) bool {
	e.Protocol, e.Status = "http", 503
	return err == errBusy
}

// accounts are a million names, of which a thousand are hot.
func accounts(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("mailbox-%07d@customer-%04d.example", i, i%1000)
	}
	return all
}

func BenchmarkDo(b *testing.B) {
	ctx := context.Background()
	p, err := workEngine(b, engine.Options{Classify: busy}).Provider("work")
	if err != nil {
		b.Fatal(err)
	}
	ok := func(context.Context) error { return nil }
	b.Run("success", func(b *testing.B) {
		call := engine.Call{Keys: limiter.Keys{Account: "a", Operation: "free"}, Method: "GET"}
		b.ReportAllocs()
		for b.Loop() {
			if err := p.Do(ctx, call, ok); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("success_limited", func(b *testing.B) {
		all := accounts(1_000_000)
		call := engine.Call{Keys: limiter.Keys{Operation: "limited"}, Method: "GET"}
		for _, a := range all {
			call.Account = a
			if err := p.Do(ctx, call, ok); err != nil {
				b.Fatal(err)
			}
		}
		hot := all[:0]
		for range 1000 {
			hot = append(hot, all[rand.IntN(len(all))])
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			call.Account = hot[i%len(hot)]
			if err := p.Do(ctx, call, ok); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("one_failure", func(b *testing.B) {
		call := engine.Call{Keys: limiter.Keys{Account: "a", Operation: "free"}, Method: "GET"}
		b.ReportAllocs()
		for b.Loop() {
			failed := false
			if err := p.Do(ctx, call, func(context.Context) error {
				if !failed {
					failed = true
					return errBusy
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPeerDo(b *testing.B) {
	ctx := context.Background()
	failsafePolicy := retrypolicy.NewBuilder[any]().WithMaxRetries(3).Build()
	executor := failsafe.With(failsafePolicy)
	peers := []struct {
		name string
		do   func(fn func() error) error
	}{
		{"failsafe", func(fn func() error) error { return executor.Run(fn) }},
		{"backoff_v4", func(fn func() error) error {
			return backoffv4.Retry(fn, backoffv4.WithContext(backoffv4.WithMaxRetries(&backoffv4.ZeroBackOff{}, 3), ctx))
		}},
		{"backoff_v5", func(fn func() error) error {
			_, err := backoffv5.Retry(ctx, func() (struct{}, error) { return struct{}{}, fn() },
				backoffv5.WithBackOff(&backoffv5.ZeroBackOff{}), backoffv5.WithMaxTries(4))
			return err
		}},
		{"retry_go_v5", func(fn func() error) error {
			return retry.New(retry.Context(ctx), retry.Attempts(4), retry.Delay(0), retry.MaxJitter(0), retry.DelayType(retry.FixedDelay)).Do(fn)
		}},
		{"sethvargo", func(fn func() error) error {
			return sethvargo.Do(ctx, sethvargo.WithMaxRetries(3, sethvargo.BackoffFunc(func() (time.Duration, bool) { return 0, false })), func(context.Context) error {
				if err := fn(); err != nil {
					return sethvargo.RetryableError(err)
				}
				return nil
			})
		}},
	}
	for _, p := range peers {
		b.Run(p.name+"/success", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := p.do(func() error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(p.name+"/one_failure", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				failed := false
				if err := p.do(func() error {
					if !failed {
						failed = true
						return errBusy
					}
					return nil
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
