package limiter_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/recourse-go/recourse/limiter"
)

// stopped is a store that may answer nothing, as a server that is stopped.
type stopped struct {
	Store
	is, cut *atomic.Bool
}

func (s stopped) wait(ctx context.Context) error {
	if s.is.Load() || s.cut.Load() {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (s stopped) Take(ctx context.Context, t *StoreTake) (StoreAnswer, error) {
	if err := s.wait(ctx); err != nil {
		return StoreAnswer{}, err
	}
	return s.Store.Take(ctx, t)
}

func (s stopped) End(ctx context.Context, ends []StoreEnd) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.Store.End(ctx, ends)
}

func (s stopped) Change(ctx context.Context, c *StoreChange) (StoreState, error) {
	if err := s.wait(ctx); err != nil {
		return StoreState{}, err
	}
	return s.Store.Change(ctx, c)
}

func (s stopped) Renew(ctx context.Context, r *StoreRenewal) (StoreRenewed, error) {
	if err := s.wait(ctx); err != nil {
		return StoreRenewed{}, err
	}
	return s.Store.Renew(ctx, r)
}

func (s stopped) Watch(ctx context.Context, m StoreID, g func(StoreEvent)) error {
	if s.cut.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Store.Watch(ctx, m, g)
}

func (f *fleet) stop() { f.stopped.Store(true) }

func (f *fleet) resume() { f.stopped.Store(false) }

// try acquires for at most so long, and ends the call at once.
func (f *fleet) try(i int, wait time.Duration, uses ...Use) error {
	r := request(uses...)
	r.MaxWait = wait
	p, err := f.limiters[i].Acquire(context.Background(), r)
	p.Complete()
	return err
}

func (f *fleet) told(kind StoreNoticeKind) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.notices {
		if v.Kind == kind {
			n++
		}
	}
	return n
}

// warm lets every process find the store and the others.
func (f *fleet) warm(t *testing.T, uses ...Use) {
	t.Helper()
	for i := range f.limiters {
		if err := f.try(i, time.Second, uses...); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(20 * time.Second)
	for i, m := range f.members {
		if n := m.State().Members; n != len(f.members) {
			t.Fatalf("process %d knows %d members, want %d", i, n, len(f.members))
		}
	}
}

// No call waits for a store that does not answer for longer than its timeout, and after the
// first none does.
func TestOutageIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, MemberOptions{}, Limit{Name: "user", Key: byAccount, Rate: 10, Burst: 10, OnOutage: OutageOpen})
		use := Use{Limit: "user", Cost: 1}
		f.warm(t, use)
		f.stop()
		for i, want := range []time.Duration{50 * time.Millisecond, 0, 0} {
			began := time.Now()
			if err := f.try(0, time.Second, use); err != nil || time.Since(began) > want {
				t.Errorf("call %d in the outage took %v, error %v; want at most %v", i, time.Since(began), err, want)
			}
		}
		if s := f.members[0].State(); s.Outage == 0 || s.Outages != 1 || s.Share == 0 {
			t.Errorf("state in the outage is %+v", s)
		}
		time.Sleep(5 * time.Second)
		f.resume()
		time.Sleep(5 * time.Second)
		if s := f.members[0].State(); s.Outage != 0 || s.Share != 1 {
			t.Errorf("state after the outage is %+v", s)
		}
		if began, ended := f.told(StoreOutageBegan), f.told(StoreOutageEnded); began == 0 || began != ended {
			t.Errorf("%d notices of outages that began, %d of ends", began, ended)
		}
	})
}

// What passes in an outage is what the limit says.
func TestOutageModes(t *testing.T) {
	bucket := Limit{Name: "user", Key: byAccount, Rate: 40, Burst: 40, MaxCost: 2}
	for _, c := range []struct {
		name      string
		limit     func(m *Limit)
		processes int
		workers   int
		cold      bool // the processes start in the outage
		want      [2]int
	}{
		{name: "share", processes: 4, want: [2]int{340, 365}},
		{name: "share that holds no request", processes: 4, limit: func(m *Limit) { m.Burst = 4 }, want: [2]int{340, 365}},
		{name: "closed", processes: 4, limit: func(m *Limit) { m.OnOutage = OutageClosed }, want: [2]int{0, 0}},
		{name: "open", processes: 4, limit: func(m *Limit) { m.OnOutage = OutageOpen }, want: [2]int{4 * 400, 4*440 + 1}},
		{name: "scope process", processes: 4, cold: true, limit: func(m *Limit) { m.Process = true }, want: [2]int{4 * 400, 4*440 + 1}},
		{name: "nobody knows how many", processes: 4, cold: true, want: [2]int{0, 0}},
		{name: "workers are told", processes: 4, cold: true, workers: 8, want: [2]int{170, 181}},
		{name: "quota by a log", processes: 4, limit: func(m *Limit) { m.Rate, m.Burst, m.Quota, m.Window = 0, 0, 60, time.Second }, want: [2]int{340, 541}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limit := bucket
				if c.limit != nil {
					c.limit(&limit)
				}
				f := newFleet(t, c.processes, MemberOptions{Workers: c.workers}, limit)
				use := Use{Limit: "user", Cost: 1}
				if !c.cold {
					f.warm(t, use)
				}
				f.stop()
				for i := range f.limiters {
					_ = f.try(i, -1, use) // finds out
				}
				n := f.count(t, 10*time.Second, use)
				if n < c.want[0] || n > c.want[1] {
					t.Errorf("%d calls in 10 s of outage, want %v", n, c.want)
				}
			})
		})
	}
}

// count is how many calls pass in so long where all processes want more than there is.
func (f *fleet) count(t *testing.T, d time.Duration, uses ...Use) (n int) {
	t.Helper()
	end := time.Now().Add(d)
	done := make(chan int)
	for i := range f.limiters {
		go func() {
			n := 0
			for {
				rest := time.Until(end)
				if rest <= 0 {
					break
				}
				ctx, cancel := context.WithDeadline(context.Background(), end)
				p, err := f.limiters[i].Acquire(ctx, request(uses...))
				cancel()
				if err == nil {
					n++
					p.Complete()
				} else if w := (*WaitError)(nil); errors.As(err, &w) {
					if w.Until.Before(time.Now()) || w.Limit != uses[0].Limit {
						t.Errorf("limit %q until %v ago", w.Limit, time.Since(w.Until))
					}
					time.Sleep(min(time.Until(end), 100*time.Millisecond))
				} else {
					t.Error(err)
					break
				}
			}
			done <- n
		}()
	}
	for range f.limiters {
		n += <-done
	}
	return n
}

// After an outage no more passes than before it: what was granted by share is charged.
func TestOutageEndsWithoutBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 4, MemberOptions{}, Limit{Name: "user", Key: byAccount, Rate: 40, Burst: 40})
		use := Use{Limit: "user", Cost: 1}
		f.warm(t, use)
		time.Sleep(time.Minute)
		f.stop()
		for i := range f.limiters {
			_ = f.try(i, -1, use)
		}
		in := f.count(t, 10*time.Second, use)
		f.resume()
		after := f.count(t, 10*time.Second, use)
		if most := 40 + 20*40; in+after > most {
			t.Errorf("%d calls in an outage of 10 s and %d in the 10 s after it, want at most %d together", in, after, most)
		}
		if after < 300 {
			t.Errorf("only %d calls in the 10 s after the outage", after)
		}
	})
}

// What cannot be divided has as many owners as it has slots, once the others' leases are over.
func TestOutageOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 5, MemberOptions{}, Limit{Name: "inflight", Key: byAccount, Concurrency: 2})
		use := Use{Limit: "inflight"}
		f.warm(t, use)
		f.stop()
		for i := range f.limiters {
			if err := f.try(i, -1, use); err == nil {
				t.Errorf("process %d has a slot while others may have it", i)
			}
		}
		time.Sleep(16 * time.Second)
		owners := 0
		for _, l := range f.limiters {
			r := request(use)
			r.MaxWait = -1
			p, err := l.Acquire(context.Background(), r)
			if err != nil {
				continue
			}
			owners++
			if _, err := l.Acquire(context.Background(), r); err == nil {
				t.Error("an owner has two slots")
			}
			defer p.Release()
		}
		if owners != 2 {
			t.Errorf("%d owners, want 2", owners)
		}
		time.Sleep(20 * time.Second) // nobody counts them any more
		for i := range f.limiters {
			if err := f.try(i, -1, use); err == nil {
				t.Errorf("process %d has a slot although its membership is over", i)
			}
		}
	})
}

// A hold that is known stays in force while the store does not answer.
func TestOutageKeepsHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, MemberOptions{}, Limit{Name: "user", Key: byAccount, Rate: 40, Burst: 40, OnOutage: OutageOpen})
		use := Use{Limit: "user", Cost: 1}
		f.warm(t, use)
		f.limiters[0].Hold("user", Keys{Account: "ann@example.com"}, time.Now().Add(time.Hour), Cause{Rule: "test"})
		for i := range f.limiters {
			if err := f.try(i, time.Second, use); err == nil {
				t.Fatalf("process %d passes a hold", i)
			}
		}
		f.stop()
		time.Sleep(time.Minute)
		for i := range f.limiters {
			var w *WaitError
			if err := f.try(i, time.Second, use); !errors.As(err, &w) || w.Cause.Rule != "test" || time.Until(w.Until) < 50*time.Minute {
				t.Errorf("process %d in the outage: %v", i, err)
			}
		}
	})
}

// What the store has forgotten its members put back: holds, and the slots that are out.
func TestForgetting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := []Limit{{Name: "inflight", Key: byAccount, Concurrency: 2}, {Name: "gate", Key: byAccount}}
		f := newFleet(t, 3, MemberOptions{}, limits...)
		slot, gate := Use{Limit: "inflight"}, Use{Limit: "gate"}
		f.warm(t, slot)
		var out []Permit
		for range 2 {
			p, err := f.limiters[0].Acquire(context.Background(), request(slot))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, p)
		}
		other := Keys{Account: "bob@example.com"}
		f.limiters[1].Refuse("gate", other, Refusal{Hold: func(n int) time.Duration { return time.Hour }, Cause: Cause{Rule: "banned"}})
		f.store.Forget()
		time.Sleep(6 * time.Second) // a renewal
		if f.told(StoreForgot) == 0 {
			t.Error("nobody was told that the store has forgotten")
		}
		if err := f.try(2, 30*time.Second, slot); err == nil {
			t.Error("a slot was granted that is out")
		}
		r := &Request{Keys: other, Uses: []Use{gate}, MaxWait: time.Second}
		var w *WaitError
		if _, err := f.limiters[2].Acquire(context.Background(), r); !errors.As(err, &w) || w.Cause.Rule != "banned" || time.Until(w.Until) < 50*time.Minute {
			t.Errorf("the hold is gone: %v", err)
		}
		for _, p := range out {
			p.Complete()
		}
		if err := f.try(2, 30*time.Second, slot); err != nil {
			t.Errorf("no slot after the others have ended: %v", err)
		}
	})
}

// A process that ends gives its slots back and is not counted any more, but keeps those of
// calls that are under way.
func TestMemberClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, MemberOptions{}, Limit{Name: "inflight", Key: byAccount, Concurrency: 1})
		slot := Use{Limit: "inflight"}
		f.warm(t, slot)
		p, err := f.limiters[0].Acquire(context.Background(), request(slot))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			began := time.Now()
			_ = f.members[0].Close(context.Background())
			_ = f.members[1].Close(context.Background())
			if d := time.Since(began); d > 200*time.Millisecond {
				t.Errorf("Close took %v", d)
			}
		}
		time.Sleep(40 * time.Second)
		if err := f.try(2, time.Second, slot); err == nil {
			t.Error("the slot of a call under way was given away")
		}
		if n := f.members[2].State().Members; n != 2 {
			t.Errorf("%d members, want 2: the one that has ended is gone", n)
		}
		p.Complete()
		time.Sleep(time.Second)
		if err := f.try(2, time.Second, slot); err != nil {
			t.Errorf("the slot was not given back: %v", err)
		}
		time.Sleep(6 * time.Second)
		if n := f.members[2].State().Members; n != 1 {
			t.Errorf("%d members, want 1", n)
		}
		_ = NewMember(f.store, MemberOptions{}).Close(context.Background()) // it was never used
	})
}

// The number of refusals is the fleet's, and one process's refusal stops all.
func TestRefusalStopsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, MemberOptions{}, Limit{Name: "user", Key: byAccount, Rate: 40, Burst: 40})
		use, keys := Use{Limit: "user", Cost: 1}, Keys{Account: "ann@example.com"}
		f.warm(t, use)
		steps := []time.Duration{time.Second, 10 * time.Second, time.Minute}
		var got []int
		for i, l := range f.limiters {
			sent := time.Now()
			time.Sleep(time.Millisecond)
			got = append(got, l.Refuse("user", keys, Refusal{Sent: sent, Cause: Cause{Rule: "429"}, Hold: func(n int) time.Duration { return steps[min(n, 3)-1] }}))
			synctest.Wait() // until the others are told
			for j := range f.limiters {
				var w *WaitError
				err := f.try(j, -1, use)
				if !errors.As(err, &w) || w.Cause.Rule != "429" || time.Until(w.Until) > steps[i]+26*time.Millisecond { // and a bucket is empty after a hold
					t.Errorf("process %d after refusal %d: %v, want a wait of at most %v", j, i+1, err, steps[i])
				} else if j >= i && time.Until(w.Until) < steps[i]-time.Millisecond { // those before know of a shorter one, and ask again after it
					t.Errorf("process %d after refusal %d: %v, want a wait of %v", j, i+1, err, steps[i])
				}
				if st := f.limiters[j].Peek("user", keys); st.Held.IsZero() || st.Cause.Rule != "429" {
					t.Errorf("process %d reads %+v", j, st)
				}
			}
		}
		if !slices.Equal(got, []int{1, 2, 3}) {
			t.Errorf("refusals %v, want 1 2 3", got)
		}
		// A held key costs nothing but a look once in a while.
		before := f.state().Takes
		done := make(chan error)
		go func() { done <- f.try(1, time.Hour, use) }()
		time.Sleep(50 * time.Second)
		if n := f.state().Takes - before; n > 3 {
			t.Errorf("%d takes in 50 s of a hold", n)
		}
		f.limiters[2].Lift("user", keys)
		if err := <-done; err != nil || time.Since(time.Now()) > time.Second {
			t.Error(err)
		}
	})
}

// In an outage a process goes on with the slots that it had when it began, until their leases
// may have run out. So nothing stops, and no slot is used twice.
func TestOutageKeepsOwnSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := []Limit{{Name: "inflight", Key: byAccount, Concurrency: 3}, {Name: "user", Key: byAccount, Rate: 1000, Burst: 1000}}
		f := newFleet(t, 5, MemberOptions{}, limits...)
		uses := []Use{{Limit: "inflight"}, {Limit: "user", Cost: 1}}
		f.warm(t, uses...)
		var seen arrivals
		var mu sync.Mutex
		var wg sync.WaitGroup
		end := time.Now().Add(70 * time.Second)
		for _, l := range f.limiters {
			for range 2 {
				wg.Go(func() {
					for time.Now().Before(end) {
						r := request(uses...)
						r.MaxWait = 100 * time.Millisecond
						p, err := l.Acquire(context.Background(), r)
						if err != nil {
							time.Sleep(10 * time.Millisecond)
							continue
						}
						seen.begin(1)
						time.Sleep(200 * time.Millisecond)
						seen.end()
						p.Complete()
					}
				})
			}
		}
		passed := func(d time.Duration) int {
			mu.Lock()
			defer mu.Unlock()
			seen.mu.Lock()
			n := len(seen.at)
			seen.mu.Unlock()
			time.Sleep(d)
			seen.mu.Lock()
			defer seen.mu.Unlock()
			return len(seen.at) - n
		}
		before := passed(9100 * time.Millisecond)
		f.stop()
		for _, l := range f.limiters { // calls for others find out at once
			other := &Request{Keys: Keys{Account: "bob@example.com"}, Uses: uses[1:], MaxWait: -1}
			go func() { _, _ = l.Acquire(context.Background(), other) }()
		}
		if n := passed(4 * time.Second); n < 30 {
			t.Errorf("%d calls in the first 4 s of an outage, %d in 9 s before it", n, before)
		}
		f.resume()
		time.Sleep(4 * time.Second)
		if n := passed(9 * time.Second); n < before*8/10 {
			t.Errorf("%d calls in 9 s after an outage, %d before it", n, before)
		}
		f.stop()
		time.Sleep(18 * time.Second) // the owners have it then
		if n := passed(3 * time.Second); n < 40 {
			t.Errorf("%d calls in 3 s of the owners", n)
		}
		f.resume()
		wg.Wait()
		if seen.most > 3 {
			t.Errorf("%d calls under way at once, want at most 3", seen.most)
		}
		time.Sleep(time.Second)
		if s := f.state(); s.Leases != 0 {
			t.Errorf("%d leases are out", s.Leases)
		}
	})
}

// Where a share is too small for the dearest call, one process owns all such limits of a
// mailbox, so that a call passes that takes several.
func TestOutageOneOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 4, MemberOptions{},
			Limit{Name: "second", Key: byAccount, Rate: 100, Burst: 20, MaxCost: 20},
			Limit{Name: "minute", Key: []Dimension{App, Account}, Rate: 50, Burst: 20, MaxCost: 20})
		uses := []Use{{Limit: "second", Cost: 1}, {Limit: "minute", Cost: 1}}
		for i := range f.limiters {
			if err := f.try(i, time.Second, uses...); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(6 * time.Second) // all know of all
		f.stop()
		_ = f.try(0, time.Second, uses...)
		time.Sleep(5 * time.Second)
		for n := range 20 {
			passed := 0
			for _, l := range f.limiters {
				r := request(uses...)
				r.Keys.Account, r.MaxWait = string(rune('a'+n)), 100*time.Millisecond
				p, err := l.Acquire(context.Background(), r)
				if err == nil {
					passed++
				}
				p.Complete()
			}
			if passed != 1 {
				t.Errorf("mailbox %d: %d of 4 processes pass, want 1", n, passed)
			}
		}
	})
}
