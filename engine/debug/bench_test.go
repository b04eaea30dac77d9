package debug

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
)

// wideLimits are limits that keep no benchmark back.
const wideLimits = `limits:
  - {name: requests, key: account, rate: 1000000/s, burst: 1000000}
  - {name: inflight, key: account, concurrency: 1000}
  - {name: project, key: app, quota: 1000000000/1h}
  - {name: sending, key: account, operations: [send]}
`

// manyKeys is a world with so many accounts' keys in use, and some of them held.
func manyKeys(tb testing.TB, accounts int) *world {
	w := newWorld(tb, Options{}, engine.Options{Policies: shopPolicy(tb, wideLimits, "")})
	p, err := w.engine.Provider("shop")
	if err != nil {
		tb.Fatal(err)
	}
	ok := func(context.Context) error { return nil }
	for i := range accounts {
		c := engine.Call{Provider: "shop", Method: "GET", Keys: limiter.Keys{Account: fmt.Sprintf("mailbox-%d@example.com", i), Operation: "get", Host: "shop.example"}}
		if err := p.Do(tb.Context(), c, ok); err != nil {
			tb.Fatal(err)
		}
		if i%100 == 0 {
			if err := p.Hold("sending", c.Keys, time.Now().Add(time.Hour), limiter.Cause{Rule: "by hand"}); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return w
}

// What a look at the page costs with so many accounts; of keys there are three times as many.
func BenchmarkLook(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := manyKeys(b, n)
			h := w.page.(*handler)
			for b.Loop() {
				h.see(time.Now())
			}
		})
	}
}

// What it costs to ask why an account waits.
func BenchmarkWhy(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := manyKeys(b, n)
			for b.Loop() {
				w.engine.Why("mailbox-500@example.com")
			}
		})
	}
}

// What a call pays while somebody looks without a pause, beside what it pays otherwise. The
// slowest of a thousand calls is told too.
func BenchmarkCallMeanwhile(b *testing.B) {
	const accounts = 100_000
	for _, bb := range []struct {
		name  string
		looks func(*handler)
	}{
		{"nobody looks", nil},
		{"page", func(h *handler) { h.see(time.Now()) }},
		{"why", func(h *handler) { h.engine.Why("mailbox-500@example.com") }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			w := manyKeys(b, accounts)
			h := w.page.(*handler)
			done := make(chan struct{})
			var looking sync.WaitGroup
			if bb.looks != nil {
				looking.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
							bb.looks(h)
						}
					}
				})
			}
			p, err := w.engine.Provider("shop")
			if err != nil {
				b.Fatal(err)
			}
			var calls []engine.Call
			for i := range 1000 {
				calls = append(calls, engine.Call{Method: "GET", Keys: limiter.Keys{Account: fmt.Sprintf("mailbox-%d@example.com", 17*i), Operation: "get", Host: "shop.example"}})
			}
			ok := func(context.Context) error { return nil }
			var took []time.Duration
			ctx, i := b.Context(), 0
			for b.Loop() {
				began := time.Now()
				if err := p.Do(ctx, calls[i%len(calls)], ok); err != nil && len(took) < 1000 {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
				i++
			}
			close(done)
			looking.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*999/1000].Nanoseconds()), "ns/slowest")
		})
	}
}

// What a call that fails pays for the page.
func BenchmarkFailure(b *testing.B) {
	for _, mounted := range []bool{false, true} {
		b.Run(fmt.Sprintf("mounted=%v", mounted), func(b *testing.B) {
			eng, err := engine.New(engine.Options{Policies: shopPolicy(b, wideLimits, "")})
			if err != nil {
				b.Fatal(err)
			}
			w := &world{t: b, engine: eng}
			if mounted {
				w.page = Handler(eng, Options{})
			}
			fn := w.answer(b.Context(), 404, `{"error": {"code": "NOT_THERE", "message": "There is no such order."}}`)
			c := engine.Call{Provider: "shop", Method: "GET", Keys: limiter.Keys{Operation: "get", Host: "shop.example"}}
			b.ReportAllocs()
			for b.Loop() {
				_ = eng.Do(b.Context(), c, fn)
			}
		})
	}
}
