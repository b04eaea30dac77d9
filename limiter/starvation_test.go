package limiter

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestPassedOver has one caller that needs two limits, each of which others
// use up as soon as there is something of it.
func TestPassedOver(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits []Limit
	}{
		{"concurrency", []Limit{{Name: "a", Concurrency: 1}, {Name: "b", Concurrency: 1}}},
		{"buckets", []Limit{{Name: "a", Rate: 10, Burst: 1}, {Name: "b", Rate: 7, Burst: 1}}},
		{"buckets with a burst", []Limit{{Name: "a", Rate: 10, Burst: 20}, {Name: "b", Rate: 7, Burst: 20}}},
		{"a bucket and concurrency", []Limit{{Name: "a", Rate: 10, Burst: 1}, {Name: "b", Concurrency: 2}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := mustNew(t, c.limits...)
				ctx, cancel := context.WithCancel(t.Context())
				var got [3]atomic.Int64
				var longest time.Duration
				var wg sync.WaitGroup
				both := []Use{{Limit: nameOf(l, 0), Cost: 1}, {Limit: nameOf(l, 1), Cost: 1}}
				for i, uses := range [][]Use{both[:1], both[1:], both} {
					for j := range []int{5, 5, 1}[i] {
						wg.Go(func() {
							for k := 0; ; k++ {
								began := time.Now()
								p, err := l.Acquire(ctx, &Request{Uses: uses})
								if err != nil {
									return
								}
								got[i].Add(1)
								if i == 2 {
									longest = max(longest, time.Since(began))
								}
								time.Sleep(time.Duration(100+i*7+j*3+k%11) * time.Millisecond)
								p.Release()
							}
						})
					}
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				check(t, l)
				if a, b, both := got[0].Load(), got[1].Load(), got[2].Load(); both < 30 || longest > 10*time.Second {
					t.Errorf("%d calls that need both passed, beside %d and %d others; the longest wait was %v", both, a, b, longest)
				} else if a+both < 1000 || b+both < 750 {
					t.Errorf("others lost: %d and %d passed", a+both, b+both)
				}
				cancel()
				wg.Wait()
				synctest.Wait()
				check(t, l)
				if turn := l.guard.Load(); turn != nil && l.now() < turn.until {
					t.Error("the turn of a call that is gone goes on")
				}
			})
		})
	}
}
