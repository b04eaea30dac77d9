package limiter_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// arrivals are what a provider sees.
type arrivals struct {
	mu   sync.Mutex
	at   []time.Time
	cost []int64
	out  int64
	most int64
}

func (a *arrivals) begin(cost int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at, a.cost = append(a.at, time.Now()), append(a.cost, cost)
	a.out++
	a.most = max(a.most, a.out)
}

func (a *arrivals) end() {
	a.mu.Lock()
	a.out--
	a.mu.Unlock()
}

// worst is how many units more than burst + rate·w came in any window of length w.
func (a *arrivals) worst(burst, rate float64) float64 {
	// The largest excess over all windows, by the level of a bucket that may go below empty.
	level, last, worst := burst, time.Time{}, 0.0
	for i, t := range a.at {
		if !last.IsZero() {
			level = min(burst, level+rate*t.Sub(last).Seconds())
		}
		last = t
		level -= float64(a.cost[i])
		worst = max(worst, -level)
	}
	return worst
}

// Whatever goes wrong with the store, at no moment are there more calls under way than
// slots, no more units are used than the store and the shares of an outage have, every
// call ends, and no slot is lost for longer than a lease.
func TestFleetRandomFaults(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { randomFaults(t, seed) })
	}
}

func randomFaults(t *testing.T, seed uint64) {
	const processes, rate, burst, slots = 4, 40, 20, 4
	rnd := rand.New(rand.NewPCG(seed, 1))
	limits := []Limit{
		{Name: "user", Key: byAccount, Rate: rate, Burst: burst, MaxCost: 2},
		{Name: "inflight", Key: byAccount, Concurrency: slots},
		{Name: "app", Key: []Dimension{App}, Rate: 10 * rate, Burst: 10 * burst, MaxCost: 2},
	}
	f := newFleet(t, processes, MemberOptions{}, limits...)
	end := time.Now().Add(40 * time.Second)
	var mu sync.Mutex
	chance := func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return rnd.Float64()
	}
	faults := [...]float64{0, 0.002, 0.02}[seed%3]
	f.store.SetFault(func(op string) storetest.Fault {
		u := chance()
		switch {
		case op == "event":
			if u < 10*faults {
				return storetest.Fault{Before: errors.New("lost")}
			}
		case u < faults:
			return storetest.Fault{After: errors.New("the reply is lost")}
		case u < 2*faults:
			return storetest.Fault{Before: errors.New("the connection is reset")}
		case u < 3*faults:
			return storetest.Fault{Delay: time.Duration(chance() * float64(200*time.Millisecond))}
		}
		return storetest.Fault{Delay: time.Duration(chance() * float64(time.Millisecond))}
	})
	var seen arrivals
	var outages atomic.Int64
	var wg sync.WaitGroup
	for _, l := range f.limiters {
		for range 6 {
			wg.Go(func() {
				for time.Now().Before(end) {
					u := chance()
					r := request(Use{Limit: "user", Cost: 1 + int64(u*2)}, Use{Limit: "inflight"}, Use{Limit: "app", Cost: 1})
					r.Keys.App = "sync"
					r.MaxWait = 90 * time.Second
					if chance() < 0.3 {
						r.Priority = Backfill
					}
					ctx, cancel := context.Background(), func() {}
					if chance() < 0.2 {
						ctx, cancel = context.WithTimeout(ctx, time.Duration(chance()*float64(2*time.Second)))
					}
					p, err := l.Acquire(ctx, r)
					cancel()
					if err != nil {
						var w *WaitError
						if !errors.As(err, &w) && !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("seed %d: %v", seed, err)
							return
						}
						if errors.As(err, &w) && (w.Limit == "" || w.Until.Before(time.Now().Add(-time.Millisecond))) {
							t.Errorf("seed %d: limit %q, until %v before now: %v", seed, w.Limit, time.Since(w.Until), err)
						}
						time.Sleep(10 * time.Millisecond)
						continue
					}
					switch u := chance(); {
					case u < 0.05:
						p.Cancel()
						continue
					case u < 0.1:
						p.Refund()
						p.Release()
						continue
					}
					seen.begin(r.Uses[0].Cost)
					time.Sleep(time.Duration(chance() * float64(60*time.Millisecond)))
					seen.end()
					switch u := chance(); {
					case u < 0.3:
						p.Succeeded()
						p.Release()
					default:
						p.Complete()
					}
				}
			})
		}
	}
	wg.Wait()
	f.store.SetFault(nil)
	for _, m := range f.members {
		outages.Add(m.State().Outages)
	}
	if seen.most > slots {
		t.Errorf("seed %d: %d calls under way at once, want at most %d", seed, seen.most, slots)
	}
	if faults == 0 {
		if n := outages.Load(); n > 0 {
			t.Errorf("seed %d: %d outages without a fault", seed, n)
		}
		if over := seen.worst(burst, rate); over > rate*0.002+1 {
			t.Errorf("seed %d: %.1f units more than a burst of %d and %d a second", seed, over, burst, rate)
		}
	}
	if n := len(seen.at); faults == 0 && n < 30*rate/2 {
		t.Errorf("seed %d: only %d calls", seed, n)
	}

	// No permit leaks beyond its lease.
	time.Sleep(20 * time.Second)
	if s := f.state(); s.Leases != 0 {
		t.Errorf("seed %d: %d leases are out still", seed, s.Leases)
	}
	for range slots {
		r := request(Use{Limit: "inflight"})
		r.MaxWait = time.Second
		p, err := f.limiters[0].Acquire(context.Background(), r)
		if err != nil {
			t.Fatalf("seed %d: no free slot: %v", seed, err)
		}
		defer p.Release()
	}
}
