package limiter_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// fleet is processes that share a store.
type fleet struct {
	store    *storetest.Memory
	members  []*Member
	limiters []*Limiter
	notices  []StoreNotice
	mu       sync.Mutex
	stopped  atomic.Bool
	cut      []*atomic.Bool // of each process: it alone does not reach the store
}

var byAccount = []Dimension{Account}

// newFleet starts n processes over a store that has known its keys for long.
func newFleet(t *testing.T, n int, o MemberOptions, limits ...Limit) *fleet {
	t.Helper()
	f := &fleet{store: storetest.NewMemory(nil)}
	time.Sleep(24 * time.Hour)
	for range n {
		f.add(t, o, limits...)
	}
	t.Cleanup(f.close)
	return f
}

func (f *fleet) add(t *testing.T, o MemberOptions, limits ...Limit) *Limiter {
	t.Helper()
	o.Notify = func(n StoreNotice) {
		f.mu.Lock()
		f.notices = append(f.notices, n)
		f.mu.Unlock()
	}
	cut := &atomic.Bool{}
	m := NewMember(stopped{f.store, &f.stopped, cut}, o)
	f.cut = append(f.cut, cut)
	l, err := New(limits, Options{Member: m, Namespace: "test"})
	if err != nil {
		t.Fatal(err)
	}
	f.members, f.limiters = append(f.members, m), append(f.limiters, l)
	return l
}

func (f *fleet) close() {
	f.store.SetFault(nil)
	f.resume()
	for _, m := range f.members {
		_ = m.Close(context.Background())
	}
}

func (f *fleet) state() (s MemberState) {
	for _, m := range f.members {
		st := m.State()
		s.Takes += st.Takes
		s.Grants += st.Grants
		s.Refusals += st.Refusals
		s.Requests += st.Requests
		s.Leases += st.Leases
	}
	return s
}

// wantShared fails where some process got much less than others, or a grant took more requests
// than most.
func (f *fleet) wantShared(t *testing.T, per []int, most float64) {
	t.Helper()
	sum := 0
	for _, n := range per {
		sum += n
	}
	for i, n := range per {
		if mean := sum / len(per); n < mean*9/10 || n > mean*11/10 {
			t.Errorf("process %d got %d grants, want about the mean of %d: %v", i, n, mean, per)
		}
	}
	s := f.state()
	if trips := float64(s.Takes) / float64(s.Grants); trips > most {
		t.Errorf("%.2f takes a grant (%d for %d), want at most %v", trips, s.Takes, s.Grants, most)
	}
}

func request(uses ...Use) *Request {
	return &Request{Keys: Keys{Account: "ann@example.com"}, Uses: uses, MaxWait: time.Minute}
}

// No more passes than the limits let through, however many processes ask, and each process
// gets its part for about one request a grant.
func TestFleetKeepsBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 8, MemberOptions{}, Limit{Name: "user", Key: byAccount, Rate: 50, Burst: 50})
		var mu sync.Mutex
		var grants []time.Time
		per := make([]int, 8)
		var wg sync.WaitGroup
		end := time.Now().Add(20 * time.Second)
		for i, l := range f.limiters {
			for range 8 {
				wg.Go(func() {
					for time.Now().Before(end) {
						p, err := l.Acquire(context.Background(), request(Use{Limit: "user", Cost: 1}))
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						grants = append(grants, time.Now())
						per[i]++
						mu.Unlock()
						time.Sleep(3 * time.Millisecond)
						p.Complete()
					}
				})
			}
		}
		wg.Wait()
		slices.SortFunc(grants, time.Time.Compare)
		for i := range grants {
			for _, w := range []time.Duration{0, 100 * time.Millisecond, time.Second, 5 * time.Second} {
				n := 0
				for j := i; j < len(grants) && grants[j].Sub(grants[i]) <= w; j++ {
					n++
				}
				if most := 50 + int(50*w.Seconds()) + 1; n > most {
					t.Fatalf("%d grants within %v, want at most %d", n, w, most)
				}
			}
		}
		f.wantShared(t, per, 1.1)
	})
}

func TestFleetKeepsSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 8, MemberOptions{}, Limit{Name: "inflight", Key: byAccount, Concurrency: 4})
		var out, most atomic.Int64
		var mu sync.Mutex
		per := make([]int, 8)
		var wg sync.WaitGroup
		end := time.Now().Add(20 * time.Second)
		for i, l := range f.limiters {
			for range 8 {
				wg.Go(func() {
					for time.Now().Before(end) {
						p, err := l.Acquire(context.Background(), request(Use{Limit: "inflight"}))
						if err != nil {
							t.Error(err)
							return
						}
						n := out.Add(1)
						for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
						}
						time.Sleep(20 * time.Millisecond)
						mu.Lock()
						per[i]++
						mu.Unlock()
						out.Add(-1)
						p.Complete()
					}
				})
			}
		}
		wg.Wait()
		if most.Load() > 4 {
			t.Fatalf("%d at once", most.Load())
		}
		f.wantShared(t, per, 2.2)
	})
}

// slow is a store that takes so long for everything.
func slow(d time.Duration) func(string) storetest.Fault {
	return func(op string) storetest.Fault {
		if op == "event" {
			return storetest.Fault{}
		}
		return storetest.Fault{Delay: d}
	}
}

// Interactive calls of one process go before backfill of another, and backfill is not starved.
func TestFleetPriorities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 4, MemberOptions{}, Limit{Name: "user", Key: byAccount, Rate: 50, Burst: 50})
		var wg sync.WaitGroup
		var mu sync.Mutex
		backfill := 0
		var waits []time.Duration
		end := time.Now().Add(20 * time.Second)
		for _, l := range f.limiters {
			for range 8 {
				wg.Go(func() {
					for time.Now().Before(end) {
						r := request(Use{Limit: "user", Cost: 1})
						r.Priority = Backfill
						p, err := l.Acquire(context.Background(), r)
						if err != nil {
							t.Error(err)
							return
						}
						p.Complete()
						mu.Lock()
						backfill++
						mu.Unlock()
					}
				})
			}
			wg.Go(func() { // 5 a second, in the processes that also do backfill
				for time.Now().Before(end) {
					began := time.Now()
					p, err := l.Acquire(context.Background(), request(Use{Limit: "user", Cost: 1}))
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					waits = append(waits, time.Since(began))
					mu.Unlock()
					p.Complete()
					time.Sleep(200 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		slices.Sort(waits)
		if w := waits[len(waits)*99/100]; w > 20*time.Millisecond || len(waits) < 350 {
			t.Errorf("%d interactive calls waited for up to %v", len(waits), w)
		}
		if backfill < 20*50*8/10-len(waits) {
			t.Errorf("%d calls of backfill beside %d", backfill, len(waits))
		}
		if s := f.state(); float64(s.Takes)/float64(s.Grants) > 1.3 {
			t.Errorf("%d takes for %d grants", s.Takes, s.Grants)
		}
	})
}
