package limiter_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/recourse-go/recourse/limiter"
)

// A call inside another one asks the store only for what it takes itself, and a slot
// outlives the permit that it was granted to if a call inside still has it.
func TestNestedCallsOverStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := []Limit{{Name: "inflight", Key: byAccount, Concurrency: 1}, {Name: "user", Key: byAccount, Rate: 10, Burst: 10}}
		f := newFleet(t, 1, MemberOptions{}, limits...)
		l, s := f.watched(t, limits...)
		slot := Use{Limit: "inflight"}
		outer, err := l.Acquire(context.Background(), request(slot, Use{Limit: "user", Cost: 3}))
		if err != nil {
			t.Fatal(err)
		}
		s.reset()
		inside := request(slot, Use{Limit: "user", Cost: 5})
		inside.Inside = outer.Lend(nil)
		inner, err := l.Acquire(context.Background(), inside)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.takes) != 1 || len(s.takes[0].Parts) != 1 || len(s.takes[0].Parts[0].Uses) != 1 || s.takes[0].Parts[0].Uses[0].Cost != 2 {
			t.Errorf("the call inside asked for %+v, want 2 units", s.takes)
		}
		outer.Complete()
		time.Sleep(time.Second)
		if err := f.try(0, -1, slot); err == nil {
			t.Error("the slot was given back although the call inside has it")
		}
		inner.Complete()
		time.Sleep(10 * time.Millisecond)
		if err := f.try(0, time.Second, slot); err != nil {
			t.Errorf("the slot was not given back: %v", err)
		}
	})
}

// A call that waits for a call inside it keeps no slot from other processes meanwhile.
func TestNestedCallsDoNotLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := []Limit{{Name: "a", Key: byAccount, Concurrency: 1}, {Name: "b", Key: byAccount, Concurrency: 1}}
		f := newFleet(t, 2, MemberOptions{}, limits...)
		var wg sync.WaitGroup
		for i, names := range [][2]string{{"a", "b"}, {"b", "a"}} {
			wg.Go(func() {
				l := f.limiters[i]
				outer, err := l.Acquire(context.Background(), request(Use{Limit: names[0]}))
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(10 * time.Millisecond)
				r := request(Use{Limit: names[1]})
				r.Inside = outer.Lend(nil)
				inner, err := l.Acquire(context.Background(), r)
				if err != nil {
					t.Error(err)
				}
				time.Sleep(10 * time.Millisecond)
				inner.Complete()
				outer.Complete()
			})
		}
		began := time.Now()
		wg.Wait()
		if d := time.Since(began); d > time.Second {
			t.Errorf("it took %v", d)
		}
		time.Sleep(10 * time.Millisecond)
		if s := f.state(); s.Leases != 0 {
			t.Errorf("%d leases are out", s.Leases)
		}
		for _, name := range []string{"a", "b"} {
			if err := f.try(0, -1, Use{Limit: name}); err != nil {
				t.Errorf("limit %q: %v", name, err)
			}
		}
	})
}

// What a call gives back, it gives back in the store, too: neither more nor less than here.
func TestNestedRefundsOverStore(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(outer, inner Permit)
		back int64 // of the 6 units
	}{
		{"the lender gives back what it has not lent", func(outer, inner Permit) { outer.Cancel(); inner.Complete() }, 2},
		{"the lender refunds what it has not lent", func(outer, inner Permit) { outer.Refund(); outer.Complete(); inner.Complete() }, 2},
		{"the lender gives back what was not spent", func(outer, inner Permit) { inner.Complete(); outer.Cancel() }, 2},
		{"the call inside gives back to the lender", func(outer, inner Permit) { inner.Cancel(); outer.Cancel() }, 6},
		{"the call inside gives back to a lender that has ended", func(outer, inner Permit) { outer.Complete(); inner.Cancel() }, 4},
		{"the call inside refunds to a lender that has ended", func(outer, inner Permit) { outer.Complete(); inner.Refund(); inner.Release() }, 4},
		{"neither", func(outer, inner Permit) { outer.Complete(); inner.Complete() }, 0},
		{"both, the lender first: the store takes one refund of it", func(outer, inner Permit) { outer.Cancel(); inner.Cancel() }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2, MemberOptions{}, Limit{Name: "user", Key: byAccount, Rate: 1, Burst: 6})
				outer, err := f.limiters[0].Acquire(context.Background(), request(Use{Limit: "user", Cost: 6}))
				if err != nil {
					t.Fatal(err)
				}
				r := request(Use{Limit: "user", Cost: 4})
				r.Inside = outer.Lend(nil)
				inner, err := f.limiters[0].Acquire(context.Background(), r)
				if err != nil {
					t.Fatal(err)
				}
				c.end(outer, inner)
				time.Sleep(10 * time.Millisecond)
				got := int64(0)
				for f.try(1, -1, Use{Limit: "user", Cost: 1}) == nil {
					got++
				}
				if got != c.back {
					t.Errorf("another process gets %d units, want %d", got, c.back)
				}
			})
		})
	}
}

// A slot that a call gave back while one inside it waited is asked for again by the next call
// inside that takes it.
func TestSlotGivenBackIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, MemberOptions{}, Limit{Name: "a", Key: byAccount, Concurrency: 1}, Limit{Name: "b", Key: byAccount, Concurrency: 1})
		a, b := Use{Limit: "a"}, Use{Limit: "b"}
		take := func(process int, inside *Loan, u Use) (Permit, error) {
			r := request(u)
			r.Inside, r.MaxWait = inside, 5*time.Second
			return f.limiters[process].Acquire(context.Background(), r)
		}
		other, err := take(1, nil, b)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, other.Complete)
		outer, err := take(0, nil, a)
		if err != nil {
			t.Fatal(err)
		}
		loan := outer.Lend(nil)
		inner, err := take(0, loan, b) // waits for a second, and gives the slot of a back
		if err != nil {
			t.Fatal(err)
		}
		inner.Complete()
		other, err = take(1, nil, a)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := take(0, loan, a); err == nil {
			t.Error("a call inside passes by a slot that another process has")
			p.Complete()
		}
		other.Complete()
		p, err := take(0, loan, a)
		if err != nil {
			t.Error(err)
		}
		p.Complete()
		outer.Complete()
		time.Sleep(10 * time.Millisecond)
		if err := f.try(1, time.Second, a); err != nil {
			t.Errorf("the slot is lost: %v", err)
		}
	})
}

// A call inside that the store refuses gives back no slot of the calls around it.
func TestRefusedInsideLeavesSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, MemberOptions{}, Limit{Name: "a", Key: byAccount, Concurrency: 2})
		var calls [2]Permit
		for i, l := range f.limiters {
			var ok bool
			if calls[i], ok = l.TryAcquire(request(Use{Limit: "a"})); !ok {
				t.Fatal("a slot is not free")
			}
		}
		inside := request(Use{Limit: "a"})
		inside.Inside = calls[0].Lend(nil)
		borrowed, ok := f.limiters[0].TryAcquire(inside)
		if !ok {
			t.Fatal("the slot is not lent")
		}
		if _, ok := f.limiters[0].TryAcquire(inside); ok {
			t.Error("there is a third slot of two")
		}
		time.Sleep(2 * time.Second) // no slot is kept for it any more
		if err := f.try(1, -1, Use{Limit: "a"}); err == nil {
			t.Error("another process gets a slot that is in use")
		}
		borrowed.Complete()
		for _, p := range calls {
			p.Complete()
		}
	})
}

// A call inside that asks the store for nothing waits for a hold, or is not held: else its caller would
// give it back and get it again without end.
func TestHeldInsideIsOfOneMind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, MemberOptions{}, Limit{Name: "user", Key: byAccount, Rate: 1, Burst: 9}, Limit{Name: "gate", Key: byAccount})
		user := Use{Limit: "user", Cost: 1}
		outer, err := f.limiters[0].Acquire(context.Background(), request(user))
		if err != nil {
			t.Fatal(err)
		}
		defer outer.Complete()
		f.limiters[1].Hold("user", Keys{Account: "ann@example.com"}, time.Now().Add(10*time.Second))
		if err := f.try(0, -1, user); err == nil {
			t.Fatal("passes a hold")
		}
		f.limiters[1].Hold("gate", Keys{Account: "ann@example.com"}, time.Now().Add(time.Second)) // all ask anew
		time.Sleep(10 * time.Millisecond)
		r := request(user)
		r.Inside = outer.Lend(nil)
		if p, ok := f.limiters[0].TryAcquire(r); ok && p.Held() {
			t.Error("the call inside passes, and is held")
		}
	})
}

// No request is started by a slot whose lease was not renewed for two thirds of it.
func TestStaleLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := []Limit{{Name: "inflight", Key: byAccount, Concurrency: 1}}
		f := newFleet(t, 1, MemberOptions{}, limits...)
		slot := Use{Limit: "inflight"}
		outer, err := f.limiters[0].Acquire(context.Background(), request(slot))
		if err != nil {
			t.Fatal(err)
		}
		inside := func() error {
			r := request(slot)
			r.Inside = outer.Lend(nil)
			p, err := f.limiters[0].Acquire(context.Background(), r)
			p.Complete()
			return err
		}
		time.Sleep(time.Minute)
		if err := inside(); err != nil {
			t.Errorf("while the lease is renewed: %v", err)
		}
		f.stop()
		time.Sleep(9 * time.Second)
		time.Sleep(2 * time.Second)
		var w *WaitError
		if err := inside(); !errors.As(err, &w) || w.Limit != "inflight" {
			t.Errorf("two thirds of a lease after the last renewal: %v", err)
		}
		f.resume()
		outer.Complete()
	})
}

// At random, with calls inside calls in several processes, there are never more calls under
// way than slots, and none is lost.
func TestNestedCallsAtRandom(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			limits := []Limit{{Name: "a", Key: byAccount, Concurrency: 2}, {Name: "b", Key: byAccount, Concurrency: 1}, {Name: "user", Key: byAccount, Rate: 100, Burst: 20}}
			f := newFleet(t, 3, MemberOptions{}, limits...)
			rnd := rand.New(rand.NewPCG(seed, 2))
			var mu sync.Mutex
			chance := func() float64 {
				mu.Lock()
				defer mu.Unlock()
				return rnd.Float64()
			}
			var call func(ctx context.Context, l *Limiter, outer *Loan, depth int)
			calls := 0
			call = func(ctx context.Context, l *Limiter, outer *Loan, depth int) {
				var uses []Use
				if chance() < 0.7 {
					uses = append(uses, Use{Limit: "a"})
				}
				if chance() < 0.5 {
					uses = append(uses, Use{Limit: "b"})
				}
				uses = append(uses, Use{Limit: "user", Cost: 1 + int64(3*chance())})
				r := request(uses...)
				r.Inside = outer
				if chance() < 0.2 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, time.Duration(chance()*float64(time.Second)))
					defer cancel()
				}
				p, err := l.Acquire(ctx, r)
				if err != nil {
					return
				}
				mu.Lock()
				calls++
				mu.Unlock()
				loan := p.Lend(outer)
				var inner sync.WaitGroup
				for depth < 2 && chance() < 0.5 {
					inner.Go(func() { call(ctx, l, loan, depth+1) })
					if chance() < 0.5 {
						inner.Wait()
					}
				}
				if chance() < 0.5 {
					inner.Wait()
				}
				time.Sleep(time.Duration(chance() * float64(20*time.Millisecond)))
				switch u := chance(); {
				case u < 0.1:
					p.Cancel()
				case u < 0.2:
					p.Succeeded()
					p.Release()
				default:
					p.Complete()
				}
				inner.Wait()
			}
			end := time.Now().Add(10 * time.Second)
			var wg sync.WaitGroup
			for _, l := range f.limiters {
				for range 3 {
					wg.Go(func() {
						for time.Now().Before(end) {
							call(context.Background(), l, nil, 0)
						}
					})
				}
			}
			wg.Wait()
			time.Sleep(2 * time.Second) // a slot that was kept for a call that gave up is free again
			if s := f.state(); s.Leases != 0 {
				t.Errorf("seed %d: %d leases are out", seed, s.Leases)
			}
			for _, l := range f.limiters {
				for _, name := range []string{"a", "b"} {
					r := request(Use{Limit: name})
					r.Parallel, r.MaxWait = 2, -1
					p, err := l.Acquire(context.Background(), r)
					if err != nil {
						t.Errorf("seed %d: limit %q: %v", seed, name, err)
					}
					p.Complete()
					time.Sleep(20 * time.Millisecond)
				}
			}
			if calls < 200 {
				t.Errorf("seed %d: only %d calls", seed, calls)
			}
		})
	}
}
