package limiter_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/recourse-go/recourse/limiter"
)

// Where processes have other numbers the lower ones hold for all, also while one of them
// reloads, and are told; when the process with the lower ones is gone the others have theirs.
func TestLowerNumbersWin(t *testing.T) {
	high := []Limit{
		{Name: "rate", Key: byAccount, Rate: 100, Burst: 20},
		{Name: "slots", Key: byAccount, Concurrency: 8},
		{Name: "only", Key: byAccount, Concurrency: 3},
	}
	low := []Limit{
		{Name: "rate", Key: byAccount, Rate: 20, Burst: 40},
		{Name: "slots", Key: byAccount, Concurrency: 5},
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, MemberOptions{}, high...)
		rate := func(over time.Duration) float64 {
			var mu sync.Mutex
			var wg sync.WaitGroup
			n, end := 0, time.Now().Add(over)
			for i := range f.limiters {
				wg.Go(func() {
					for time.Now().Before(end) {
						p, err := f.limiters[i].Acquire(context.Background(), request(Use{Limit: "rate", Cost: 1}))
						if err != nil {
							t.Error(err)
							return
						}
						p.Complete()
						mu.Lock()
						n++
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			return float64(n) / over.Seconds()
		}
		slots := func() int {
			n := 0
			for range 10 {
				if p, ok := f.limiters[0].TryAcquire(request(Use{Limit: "slots"})); ok {
					defer p.Release()
					n++
				}
			}
			return n
		}
		rate(time.Second)
		wantAbout := func(what string, got, want float64) {
			t.Helper()
			if got < want*0.9 || got > want*1.1 {
				t.Errorf("%s: %.1f a second, want about %v", what, got, want)
			}
		}
		wantAbout("the same numbers", rate(10*time.Second), 100)
		f.add(t, MemberOptions{}, low...)
		rate(6 * time.Second) // until all have heard of it
		wantAbout("a process with lower ones", rate(10*time.Second), 20)
		if n := slots(); n != 5 {
			t.Errorf("a process with fewer slots: %d, want 5", n)
		}
		if f.told(StoreNumbersDiffer) < 3 {
			t.Errorf("%d were told that numbers differ, want all 3", f.told(StoreNumbersDiffer))
		}
		if p, ok := f.limiters[0].TryAcquire(request(Use{Limit: "only"})); !ok {
			t.Error("a limit that one process has: refused")
		} else {
			p.Release()
		}
		if err := f.limiters[2].Update(high); err != nil {
			t.Fatal(err)
		}
		rate(6 * time.Second)
		wantAbout("it has the higher ones now", rate(10*time.Second), 100)
		if err := f.limiters[2].Update(low); err != nil {
			t.Fatal(err)
		}
		rate(6 * time.Second)
		last := len(f.members) - 1
		_ = f.members[last].Close(context.Background())
		f.members, f.limiters = f.members[:last], f.limiters[:last]
		rate(6 * time.Second)
		wantAbout("it has left", rate(10*time.Second), 100)
		if n := slots(); n != 8 {
			t.Errorf("it has left: %d slots, want 8", n)
		}
	})
}

// Numbers that a key has of its own are not lowered to those of other processes' limits.
func TestOwnNumbersWhereOthersDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := []Limit{{Name: "inflight", Key: byAccount, Concurrency: 1}, {Name: "other", Key: byAccount, Concurrency: 1}}
		f := newFleet(t, 0, MemberOptions{})
		for i := range 2 {
			limits[1].Concurrency = int64(1 + i)
			m := NewMember(f.store, MemberOptions{})
			l, err := New(limits, Options{Member: m, Namespace: "test", LimitFor: func(limit string, k Keys) (Limit, bool) {
				return Limit{Concurrency: 3}, limit == "inflight"
			}})
			if err != nil {
				t.Fatal(err)
			}
			f.members, f.limiters = append(f.members, m), append(f.limiters, l)
			if err := f.try(i, -1, Use{Limit: "inflight"}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(30 * time.Second)
		for range 3 {
			p, err := f.limiters[0].Acquire(context.Background(), request(Use{Limit: "inflight"}))
			if err != nil {
				t.Fatal(err)
			}
			defer p.Complete()
		}
	})
}
