package limiter

import (
	"context"
	"testing"
	"time"
)

// A call that need not wait allocates nothing, from Acquire to Release.
func TestAllocs(t *testing.T) {
	l := mustNew(t,
		Limit{Name: "user", Key: byAccount, Rate: 1e9, Burst: 1e9},
		Limit{Name: "minute", Key: byAccount, Quota: 1e12, Window: time.Minute},
		Limit{Name: "inflight", Key: byAccount, Concurrency: 10},
		Limit{Name: "project", Key: byApp, Rate: 1e9, Burst: 1e9},
		Limit{Name: "host", Key: []Dimension{Host, Operation}, Concurrency: 10},
		Limit{Name: "gate", Key: byAccount},
		Limit{Name: "few", Key: byAccount, Quota: 1e9, Window: time.Second, Burst: 1e9},
		Limit{Name: "empty", Key: byAccount, Quota: 1, Window: time.Hour},
		Limit{Name: "tenant", Key: []Dimension{Tenant}, Rate: 1e9, Burst: 1e9},
	)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	keys := Keys{Account: "someone@example.com", App: "sync", Host: "mail.example.com", Operation: "messages.get"}
	held := keys
	held.Account = "held@example.com"
	l.Hold(nameOf(l, 5), held, time.Now().Add(time.Millisecond))
	l.TryAcquire(&Request{Keys: keys, Uses: []Use{{Limit: nameOf(l, 7), Cost: 1}}})
	one := []Use{{Limit: nameOf(l, 0), Cost: 5}, {Limit: nameOf(l, 1), Cost: 5}, {Limit: nameOf(l, 2)}}
	empty := []Use{{Limit: nameOf(l, 0), Cost: 1}, {Limit: nameOf(l, 7), Cost: 1}}
	gmail := []Use{{Limit: nameOf(l, 3), Cost: 5}, {Limit: nameOf(l, 4)}, {Limit: nameOf(l, 8), Cost: 5}, {Limit: nameOf(l, 0), Cost: 5}, {Limit: nameOf(l, 1), Cost: 5}, {Limit: nameOf(l, 2)}}
	many := append([]Use{{Limit: nameOf(l, 3), Cost: 5}, {Limit: nameOf(l, 4)}, {Limit: nameOf(l, 5)}}, one...)
	call := func(r Request) func() {
		return func() {
			p, err := l.Acquire(ctx, &r)
			if err != nil {
				t.Fatal(err)
			}
			p.Succeeded()
			p.Complete()
		}
	}
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"one key, in no special state", call(Request{Keys: Keys{Account: "another@example.com"}, Uses: one})},
		{"three keys, in no special state", call(Request{Keys: Keys{Account: "another@example.com", App: "another", Tenant: "x"}, Uses: append([]Use{{Limit: "project", Cost: 1}, {Limit: "tenant", Cost: 1}}, one...)})},
		{"one key", call(Request{Keys: keys, Uses: one})},
		{"three keys", call(Request{Keys: keys, Uses: many})},
		{"four keys", call(Request{Keys: keys, Uses: gmail})}, // as many as a pack has
		{"backfill", call(Request{Keys: keys, Uses: many, Priority: Backfill, N: 3, Parallel: 3})},
		{"quota", call(Request{Keys: keys, Uses: []Use{{Limit: nameOf(l, 6), Cost: 1}}})},
		{"refund", func() {
			p, ok := l.TryAcquire(&Request{Keys: keys, Uses: many})
			if !ok {
				t.Fatal("refused")
			}
			p.Refund()
			p.Cancel()
		}},
		{"refused", func() {
			if _, ok := l.TryAcquire(&Request{Keys: keys, Uses: empty}); ok {
				t.Fatal("granted")
			}
		}},
		{"refused, with its wait", func() {
			if _, _, ok := l.TryAcquireAt(time.Now(), &Request{Keys: keys, Uses: empty}); ok {
				t.Fatal("granted")
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if n := testing.AllocsPerRun(200, c.f); n != 0 {
				t.Errorf("%g allocations, want 0", n)
			}
		})
	}
}
