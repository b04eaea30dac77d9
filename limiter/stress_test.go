package limiter

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestNoLostWakeUp runs many goroutines in parallel over limits that cross
// each other, with cancellations, holds, lifts, refunds and reloads. In a
// bubble, a wake-up that is lost or a deadlock leaves everyone blocked, which
// fails the test.
func TestNoLostWakeUp(t *testing.T) {
	limits := func(i int) []Limit {
		return []Limit{
			{Name: "user", Key: byAccount, Rate: []float64{200, 1000}[i%2], Burst: 20, Adapt: true},
			{Name: "project", Key: byApp, Rate: 2000, Burst: 50},
			{Name: "inflight", Key: byAccount, Concurrency: int64(2 + i%2)},
			{Name: "host", Key: []Dimension{Host}, Concurrency: 5},
			{Name: "gate", Key: []Dimension{Account, Operation}},
			{Name: "few", Key: []Dimension{App, Operation}, Quota: 300, Window: time.Second, Burst: 300},
		}
	}
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			l := mustNew(t, limits(0)...)
			var granted, gaveUp atomic.Int64
			var wg sync.WaitGroup
			for g := range uint64(64) {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, g))
					for range 60 {
						k := Keys{
							Account:   []string{"a", "b", "c", "d", "e"}[rnd.IntN(5)],
							App:       "app",
							Host:      []string{"x", "y"}[rnd.IntN(2)],
							Operation: []string{"get", "send"}[rnd.IntN(2)],
						}
						r := &Request{Keys: k, N: 1 + rnd.IntN(3), Parallel: 1 + rnd.IntN(2), Priority: Priority(rnd.IntN(2))}
						for i := range 6 {
							if rnd.IntN(3) > 0 {
								r.Uses = append(r.Uses, Use{Limit: nameOf(l, i), Cost: int64(rnd.IntN(4))})
							}
						}
						rnd.Shuffle(len(r.Uses), func(i, j int) { r.Uses[i], r.Uses[j] = r.Uses[j], r.Uses[i] })
						ctx, cancel := context.Background(), func() {}
						if rnd.IntN(4) == 0 {
							ctx, cancel = context.WithCancel(ctx)
							stop := cancel
							after := time.Duration(rnd.Int64N(int64(50 * time.Millisecond)))
							go func() {
								time.Sleep(after)
								stop()
							}()
						}
						if rnd.IntN(4) == 0 {
							r.MaxWait = time.Duration(rnd.Int64N(int64(100 * time.Millisecond)))
						}
						p, err := l.Acquire(ctx, r)
						if err != nil {
							gaveUp.Add(1)
						} else {
							granted.Add(1)
							time.Sleep(time.Duration(rnd.Int64N(int64(5 * time.Millisecond))))
						}
						switch rnd.IntN(12) {
						case 0:
							l.Hold(nameOf(l, rnd.IntN(6)), k, time.Now().Add(time.Duration(rnd.Int64N(int64(40*time.Millisecond)))))
						case 1:
							l.Lift(nameOf(l, rnd.IntN(6)), k)
						case 2:
							p.Refund()
						case 3:
							p.Cancel()
						case 4:
							l.Refuse(nameOf(l, rnd.IntN(6)), k, Refusal{})
						case 5:
							p.Succeeded()
						case 8:
							p.Complete()
						case 6:
							l.Sweep()
						case 7:
							if err := l.Update(limits(rnd.IntN(2))); err != nil {
								t.Error(err)
							}
						}
						p.Release()
						cancel()
					}
				})
			}
			wg.Wait()
			synctest.Wait()
			check(t, l)
			for s := range l.All() {
				if s.InFlight != 0 || s.Waiting != 0 {
					t.Errorf("at the end: %+v", s)
				}
			}
			if granted.Load() < 2000 || gaveUp.Load() < 100 {
				t.Errorf("%d calls passed, %d gave up: the test tests little", granted.Load(), gaveUp.Load())
			}
			time.Sleep(3 * time.Hour)
			l.Sweep()
			if n := l.Len(); n != 0 {
				t.Errorf("%d keys are left", n)
			}
		})
	}
}
