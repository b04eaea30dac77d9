package limiter_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/recourse-go/recourse/limiter"
)

// taken has the takes that a store was asked for.
type taken struct {
	Store
	mu    sync.Mutex
	takes []StoreTake
	ends  []StoreEnd
}

func (s *taken) Take(ctx context.Context, t *StoreTake) (StoreAnswer, error) {
	s.mu.Lock()
	c := *t
	c.Parts = slices.Clone(t.Parts)
	s.takes = append(s.takes, c)
	s.mu.Unlock()
	return s.Store.Take(ctx, t)
}

func (s *taken) End(ctx context.Context, ends []StoreEnd) error {
	s.mu.Lock()
	s.ends = append(s.ends, ends...)
	s.mu.Unlock()
	return s.Store.End(ctx, ends)
}

func (s *taken) reset() {
	s.mu.Lock()
	s.takes, s.ends = nil, nil
	s.mu.Unlock()
}

// watched is a limiter over f's store that notes what it asks.
func (f *fleet) watched(t *testing.T, limits ...Limit) (*Limiter, *taken) {
	t.Helper()
	s := &taken{Store: f.store}
	m := NewMember(s, MemberOptions{})
	l, err := New(limits, Options{Member: m, Namespace: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return l, s
}

// Limits of one account are asked about in one take, others after it, and what is kept by
// the process not at all. Where a later one refuses, the account's units are given back, and
// it is asked first the next time.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := []Limit{
			{Name: "app", Key: []Dimension{App}, Rate: 1, Burst: 1},
			{Name: "user", Key: byAccount, Rate: 10, Burst: 10},
			{Name: "folder", Key: []Dimension{Account, Operation}, Rate: 10, Burst: 10},
			{Name: "own", Key: byAccount, Rate: 10, Burst: 10, Process: true},
		}
		f := newFleet(t, 0, MemberOptions{})
		l, s := f.watched(t, limits...)
		r := request(Use{Limit: "app", Cost: 1}, Use{Limit: "user", Cost: 1}, Use{Limit: "folder", Cost: 1}, Use{Limit: "own", Cost: 1})
		r.Keys.App, r.Keys.Operation = "sync", "messages.get"
		asked := func() (names [][]string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, t := range s.takes {
				var in []string
				for _, p := range t.Parts {
					for _, u := range p.Uses {
						in = append(in, u.Limit.Name)
					}
				}
				names = append(names, in)
			}
			s.takes = nil
			return names
		}
		p, ok := l.TryAcquire(r)
		if got := asked(); !ok || len(got) != 2 || !slices.Equal(got[0], []string{"user", "folder"}) || !slices.Equal(got[1], []string{"app"}) {
			t.Errorf("asked about %v", got)
		}
		p.Complete()
		f.other(t, limits, "app") // somebody else uses the app's units
		time.Sleep(time.Second)
		f.other(t, limits, "app")
		if _, ok := l.TryAcquire(r); ok {
			t.Error("passes although the app's limit is used up")
		}
		asked()
		time.Sleep(2 * time.Millisecond)
		s.mu.Lock()
		if len(s.ends) != 1 || s.ends[0].Ending != StoreCancelled || len(s.ends[0].Parts) != 2 {
			t.Errorf("ends %+v, want what the account has given back", s.ends)
		}
		s.mu.Unlock()
		time.Sleep(1100 * time.Millisecond)
		p, ok = l.TryAcquire(r)
		if got := asked(); !ok || len(got) != 2 || !slices.Equal(got[0], []string{"app"}) {
			t.Errorf("after a refusal asked about %v (%t)", got, ok)
		}
		p.Complete()
	})
}

// other takes one unit in another process.
func (f *fleet) other(t *testing.T, limits []Limit, limit string) {
	t.Helper()
	l, _ := f.watched(t, limits...)
	r := request(Use{Limit: limit, Cost: 1})
	r.Keys.App = "sync"
	if _, err := l.Acquire(context.Background(), r); err != nil {
		t.Fatal(err)
	}
}

// A call that the store refuses keeps its place and its deadline.
func TestRefusedCallKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := []Limit{{Name: "inflight", Key: byAccount, Concurrency: 1}}
		f := newFleet(t, 2, MemberOptions{}, limits...)
		slot := Use{Limit: "inflight"}
		p, err := f.limiters[0].Acquire(context.Background(), request(slot))
		if err != nil {
			t.Fatal(err)
		}
		var order []int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				p, err := f.limiters[1].Acquire(context.Background(), request(slot))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				time.Sleep(time.Millisecond)
				p.Complete()
			})
			time.Sleep(100 * time.Millisecond)
		}
		began := time.Now()
		r := request(slot)
		r.MaxWait = 300 * time.Millisecond
		if _, err := f.limiters[1].Acquire(context.Background(), r); err == nil || time.Since(began) != r.MaxWait {
			t.Errorf("a call that may wait for %v fails after %v: %v", r.MaxWait, time.Since(began), err)
		}
		p.Complete()
		wg.Wait()
		if !slices.IsSorted(order) {
			t.Errorf("calls passed in the order %v", order)
		}
	})
}

// A slot that is free is told to the process that waits, at once.
func TestFreedSlotIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, MemberOptions{}, Limit{Name: "inflight", Key: byAccount, Concurrency: 1})
		slot := Use{Limit: "inflight"}
		p, err := f.limiters[0].Acquire(context.Background(), request(slot))
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			done := make(chan Permit)
			go func() {
				p, err := f.limiters[1].Acquire(context.Background(), request(slot))
				if err != nil {
					t.Error(err)
				}
				done <- p
			}()
			time.Sleep(1234 * time.Millisecond)
			freed := time.Now()
			p.Complete()
			p = <-done
			if d := time.Since(freed); d > 5*time.Millisecond {
				t.Errorf("the slot reached the other process after %v", d)
			}
			f.limiters[0], f.limiters[1] = f.limiters[1], f.limiters[0]
		}
		p.Complete()
	})
}

// A reservation is void when a hold comes, and its units are given back.
func TestHoldVoidsReservation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := []Limit{{Name: "user", Key: byAccount, Rate: 2, Burst: 1}}
		f := newFleet(t, 2, MemberOptions{}, limits...)
		use := Use{Limit: "user", Cost: 1}
		if err := f.try(0, time.Second, use); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		done := make(chan error)
		go func() { done <- f.try(1, time.Minute, use) }() // half a second ahead
		time.Sleep(100 * time.Millisecond)
		f.limiters[0].Hold("user", Keys{Account: "ann@example.com"}, time.Now().Add(10*time.Second))
		if err := <-done; err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d < 10*time.Second || d > 12*time.Second {
			t.Errorf("the call went on after %v, want 10 s and what an empty bucket needs", d)
		}
	})
}

// Whenever a call gives up, nothing of it is left in the store.
func TestGivingUpLeavesNothing(t *testing.T) {
	for _, after := range []time.Duration{0, 1, 5 * time.Millisecond, 10 * time.Millisecond, 11 * time.Millisecond, 100 * time.Millisecond, 260 * time.Millisecond, 600 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			limits := []Limit{{Name: "user", Key: byAccount, Rate: 2, Burst: 2}, {Name: "inflight", Key: byAccount, Concurrency: 1}}
			f := newFleet(t, 2, MemberOptions{}, limits...)
			f.store.SetFault(slow(10 * time.Millisecond))
			for _, use := range []Use{{Limit: "user", Cost: 2}, {Limit: "inflight"}} {
				p, err := f.limiters[0].Acquire(context.Background(), request(use))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(after, cancel)
				_, err = f.limiters[1].Acquire(ctx, request(use))
				if w := (*WaitError)(nil); !errors.Is(err, context.Canceled) || errors.As(err, &w) && w.Limit != use.Limit {
					t.Errorf("cancelled after %v: %v", after, err)
				}
				cancel()
				p.Complete()
				time.Sleep(1500 * time.Millisecond)
				if err := f.try(0, 0, use); err != nil {
					t.Errorf("cancelled after %v: %v", after, err)
				}
				began := time.Now()
				if err := f.try(0, time.Minute, use); err != nil || time.Since(began) > 1050*time.Millisecond {
					t.Errorf("cancelled after %v, the next call waits for %v: %v", after, time.Since(began), err)
				}
				time.Sleep(10 * time.Second)
			}
			if s := f.state(); s.Leases != 0 {
				t.Errorf("cancelled after %v: %d leases are out", after, s.Leases)
			}
		})
	}
}

// The shadow counts what it would refuse, and refuses nothing.
func TestShadow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, MemberOptions{Shadow: true}, Limit{Name: "inflight", Key: byAccount, Concurrency: 2})
		slot := Use{Limit: "inflight"}
		var out []Permit
		for _, l := range f.limiters {
			for range 2 {
				r := request(slot)
				r.MaxWait = -1
				p, err := l.Acquire(context.Background(), r)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, p)
			}
		}
		if s := f.state(); s.Refusals != 2 || s.Grants != 2 {
			t.Errorf("%d refusals and %d grants were counted, want 2 and 2", s.Refusals, s.Grants)
		}
		f.stop()
		for _, p := range out {
			p.Complete()
		}
		if err := f.try(0, -1, slot); err != nil {
			t.Errorf("in an outage: %v", err)
		}
	})
}

// A reload in the middle changes the numbers for all, and loses nothing.
func TestReloadOverStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := []Limit{{Name: "inflight", Key: byAccount, Concurrency: 2}, {Name: "user", Key: byAccount, Rate: 100, Burst: 100}}
		f := newFleet(t, 3, MemberOptions{}, limits...)
		var seen arrivals
		var wg sync.WaitGroup
		end := time.Now().Add(14 * time.Second)
		for _, l := range f.limiters {
			for range 4 {
				wg.Go(func() {
					for time.Now().Before(end) {
						p, err := l.Acquire(context.Background(), request(Use{Limit: "inflight"}, Use{Limit: "user", Cost: 1}))
						if err != nil {
							t.Error(err)
							return
						}
						seen.begin(1)
						time.Sleep(7 * time.Millisecond)
						seen.end()
						p.Complete()
					}
				})
			}
		}
		for _, n := range []int64{1, 2, 1} {
			time.Sleep(2 * time.Second)
			limits[0].Concurrency = n
			for _, l := range f.limiters {
				if err := l.Update(limits); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(1500 * time.Millisecond) // a slot may have been kept for somebody until then
			seen.mu.Lock()
			seen.most = seen.out
			seen.mu.Unlock()
			time.Sleep(time.Second)
			seen.mu.Lock()
			if seen.most > n {
				t.Errorf("%d calls at once, want %d", seen.most, n)
			}
			seen.mu.Unlock()
		}
		wg.Wait()
		if len(seen.at) < 600 {
			t.Errorf("only %d calls", len(seen.at))
		}
	})
}

// Clocks that are an hour apart change nothing.
func TestClocksOfProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := []Limit{{Name: "user", Key: byAccount, Rate: 50, Burst: 50}, {Name: "inflight", Key: byAccount, Concurrency: 3}}
		f := newFleet(t, 0, MemberOptions{})
		for _, off := range []time.Duration{-time.Hour, 0, time.Hour} {
			m := NewMember(f.store, MemberOptions{})
			l, err := New(limits, Options{Member: m, Namespace: "test", Clock: func() time.Time { return time.Now().Add(off) }})
			if err != nil {
				t.Fatal(err)
			}
			f.members, f.limiters = append(f.members, m), append(f.limiters, l)
		}
		var seen arrivals
		var wg sync.WaitGroup
		end := time.Now().Add(10 * time.Second)
		for _, l := range f.limiters {
			for range 4 {
				wg.Go(func() {
					for time.Now().Before(end) {
						p, err := l.Acquire(context.Background(), request(Use{Limit: "user", Cost: 1}, Use{Limit: "inflight"}))
						if err != nil {
							t.Error(err)
							return
						}
						seen.begin(1)
						time.Sleep(5 * time.Millisecond)
						seen.end()
						p.Complete()
					}
				})
			}
		}
		wg.Wait()
		if over := seen.worst(50, 50); over > 1 || seen.most > 3 || len(seen.at) < 500 {
			t.Errorf("%d calls, %d at once, %.1f units too many", len(seen.at), seen.most, over)
		}
		// A hold is as long for all, whatever their clocks say.
		f.limiters[0].Refuse("user", Keys{Account: "ann@example.com"}, Refusal{Sent: time.Now().Add(-time.Hour), Hold: func(int) time.Duration { return 10 * time.Second }})
		for i := range f.limiters {
			began := time.Now()
			_ = f.try(i, 20*time.Second, Use{Limit: "user", Cost: 1})
			if d := time.Since(began); i == 0 && (d < 10*time.Second || d > 11*time.Second) || i > 0 && d > time.Second {
				t.Errorf("process %d waited for %v", i, d)
			}
		}
	})
}
