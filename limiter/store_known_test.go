package limiter_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// passes is how many calls of a process pass at once.
func (f *fleet) passes(t *testing.T, process int, u Use, most int) int {
	t.Helper()
	for n := range most {
		p, ok := f.limiters[process].TryAcquire(request(u))
		if !ok {
			return n
		}
		t.Cleanup(p.Release)
	}
	return most
}

// What refusals have lowered and replies have told outlives a store that forgets, unless it was
// lifted.
func TestForgettingLevels(t *testing.T) {
	limits := []Limit{
		{Name: "slots", Key: byAccount, Concurrency: 20, Adapt: true},
		{Name: "window", Key: byAccount, Quota: 100, Window: time.Hour, Fixed: true, Learn: true},
	}
	slots, window := Use{Limit: "slots"}, Use{Limit: "window", Cost: 1}
	keys := Keys{Account: "ann@example.com"}
	for _, c := range []struct {
		name          string
		between       func(f *fleet) // before the store forgets
		after         func(f *fleet) // at once when it has
		slots, window int
	}{
		{"as known", nil, nil, 15, 4}, // 0.7 of 20, and half a hundredth more a second; 9 that were left, less 5
		{"lifted before by another process",
			func(f *fleet) { f.limiters[2].Lift("window", keys); time.Sleep(time.Second) }, nil, 15, 99}, // one is used here
		{"lifted by another process that has lost the event",
			func(f *fleet) {
				f.store.SetFault(func(op string) storetest.Fault {
					if op == "event" {
						return storetest.Fault{Before: context.Canceled}
					}
					return storetest.Fault{}
				})
			},
			func(f *fleet) { f.limiters[2].Lift("window", keys) }, 15, 99},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 4, MemberOptions{}, limits...)
				for i := range f.limiters {
					f.passes(t, i, window, 1)
				}
				p, err := f.limiters[0].Acquire(context.Background(), request(window))
				if err != nil {
					t.Fatal(err)
				}
				p.Learn("window", Learned{Remaining: 9, Reset: time.Now().Add(time.Minute)})
				p.Complete()
				time.Sleep(time.Second)
				f.limiters[1].Refuse("slots", keys, Refusal{})
				f.passes(t, 0, window, 5)
				if c.between != nil {
					c.between(f)
				}
				f.store.Forget()
				if c.after != nil {
					time.Sleep(time.Millisecond)
					c.after(f)
				}
				time.Sleep(11 * time.Second) // renewals, and until slots are granted again
				if n := f.passes(t, 3, slots, 30); n != c.slots {
					t.Errorf("%d slots, want %d", n, c.slots)
				}
				if n := f.passes(t, 3, window, 120); n != c.window {
					t.Errorf("%d units, want %d", n, c.window)
				}
			})
		})
	}
}
