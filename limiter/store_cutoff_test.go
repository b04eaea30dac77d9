package limiter_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/recourse-go/recourse/limiter"
)

// load is what processes do with a bucket, or with slots that each call has for so long.
type load struct {
	mu        sync.Mutex
	n         []int // by process
	out, most int
}

func (f *fleet) load(t *testing.T, d, hold time.Duration, workers int, use Use) *load {
	t.Helper()
	var wg sync.WaitGroup
	r, end := &load{n: make([]int, len(f.limiters))}, time.Now().Add(d)
	for i, l := range f.limiters {
		for range workers {
			wg.Go(func() {
				for time.Now().Before(end) {
					q := request(use)
					q.MaxWait = max(1, time.Until(end))
					p, err := l.Acquire(context.Background(), q)
					if err != nil {
						time.Sleep(10 * time.Millisecond)
						continue
					}
					r.mu.Lock()
					r.n[i]++
					r.out++
					r.most = max(r.most, r.out)
					r.mu.Unlock()
					time.Sleep(hold)
					r.mu.Lock()
					r.out--
					r.mu.Unlock()
					p.Complete()
				}
			})
		}
	}
	wg.Wait()
	return r
}

func (r *load) all() (n int) {
	for _, k := range r.n {
		n += k
	}
	return n
}

// In a partition those that are cut off have their shares, the others leave these to them, and
// after 30 s the others have everything. One that has died is not waited for.
func TestPartition(t *testing.T) {
	const rate = 100
	limits := []Limit{{Name: "rate", Key: byAccount, Rate: rate, Burst: 20}, {Name: "slots", Key: byAccount, Concurrency: 4}}
	units, slot := Use{Limit: "rate", Cost: 1}, Use{Limit: "slots"}
	cut := func(t *testing.T, use Use) *fleet {
		f := newFleet(t, 4, MemberOptions{}, limits...)
		f.load(t, 10*time.Second, 20*time.Millisecond, 2, use)
		f.cut[0].Store(true)
		f.cut[1].Store(true)
		return f
	}
	t.Run("units", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := cut(t, units)
			f.load(t, 13*time.Second, 0, 2, units) // until the others have noticed
			r := f.load(t, 11*time.Second, 0, 2, units)
			if n := r.all(); n > 11*rate*102/100+20 || n < 11*rate*9/10 {
				t.Errorf("%d units in 11 s, want at most %d, and about that", n, 11*rate)
			}
			if n := r.n[0]; n < 11*rate*9/40-5 || n > 11*rate*9/40+25 {
				t.Errorf("%d units of a process that is cut off, want nine tenths of a quarter", n)
			}
			time.Sleep(7 * time.Second)
			r = f.load(t, 14*time.Second, 0, 2, units)
			if r.n[0] != 0 || r.n[1] != 0 {
				t.Errorf("after 30 s: %d and %d units of the processes that are cut off, want none", r.n[0], r.n[1])
			}
			f.load(t, 5*time.Second, 0, 2, units)
			if n := f.load(t, 10*time.Second, 0, 2, units).all(); n < 10*rate*95/100 || n > 10*rate+20 {
				t.Errorf("after 30 s: %d units in 10 s, want %d", n, 10*rate)
			}
		})
	})
	t.Run("slots", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := cut(t, slot)
			r := f.load(t, 29*time.Second, 50*time.Millisecond, 2, slot)
			if r.most > 4 {
				t.Errorf("%d calls at once, want at most 4", r.most)
			}
			if r.n[0] == 0 && r.n[1] == 0 {
				t.Error("no call of the processes that are cut off, want some of those that own a slot")
			}
			f.load(t, 10*time.Second, 50*time.Millisecond, 2, slot)
			if r = f.load(t, 10*time.Second, 50*time.Millisecond, 4, slot); r.most != 4 {
				t.Errorf("after 30 s: %d calls at once, want 4", r.most)
			}
		})
	})
	t.Run("died", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, 4, MemberOptions{}, limits...)
			f.load(t, 10*time.Second, 0, 2, units)
			f.cut[0].Store(true)
			f.store.Disconnect() // and it does not come back
			dead := f.members[0]
			defer dead.Close(context.Background())
			f.members, f.limiters = f.members[1:], f.limiters[1:]
			f.load(t, 10*time.Second, 0, 2, units)
			if n := f.load(t, 10*time.Second, 0, 2, units).all(); n < 10*rate*97/100 {
				t.Errorf("%d units in 10 s, want %d", n, 10*rate)
			}
		})
	})
}

// A store that always takes long is used as long as each answer comes within the timeout, and else
// not at all: then the processes go by their shares, without coming and going.
func TestSlowStore(t *testing.T) {
	limits := []Limit{{Name: "rate", Key: byAccount, Rate: 100, Burst: 100}, {Name: "slots", Key: byAccount, Concurrency: 4}}
	units, slot := Use{Limit: "rate", Cost: 1}, Use{Limit: "slots"}
	for _, c := range []struct {
		answers, timeout time.Duration
		outage           bool
		rate, slots      int // a second, about: units; calls that have a slot for 100 ms
	}{
		{20 * time.Millisecond, 0, false, 100, 28},
		{45 * time.Millisecond, 0, false, 100, 20},
		{100 * time.Millisecond, 0, true, 90, 35},
		{200 * time.Millisecond, 0, true, 90, 35},
		{100 * time.Millisecond, 250 * time.Millisecond, false, 100, 13},
		{200 * time.Millisecond, 250 * time.Millisecond, false, 100, 8},
	} {
		t.Run(c.answers.String()+" within "+c.timeout.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 8, MemberOptions{Timeout: c.timeout}, limits...)
				f.warm(t, units)
				f.store.SetFault(slow(c.answers))
				defer time.Sleep(time.Second) // until the store has done what nobody waits for
				defer f.close()
				f.load(t, 20*time.Second, 0, 4, units)
				n := f.load(t, 20*time.Second, 0, 4, units).all() / 20
				f.load(t, 20*time.Second, 100*time.Millisecond, 2, slot)
				r := f.load(t, 20*time.Second, 100*time.Millisecond, 2, slot)
				outages := int64(0)
				for _, m := range f.members {
					outages += m.State().Outages
				}
				t.Logf("%d units and %d calls with a slot a second, %d outages %v", n, r.all()/20, outages, r.n)
				if n < c.rate*93/100 || n > 101 || r.all()/20 < c.slots*9/10 || r.most > 4 {
					t.Errorf("%d units and %d calls with a slot a second, %d at once; want about %d, %d, at most 4", n, r.all()/20, r.most, c.rate, c.slots)
				}
				if want := int64(0); c.outage && outages != 8 || !c.outage && outages != want {
					t.Errorf("%d outages, want one of each process: %v", outages, c.outage)
				}
			})
		})
	}
}

// After an outage slots are asked for as soon as all that were known before go by the store again.
func TestSlotsAfterOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 4, MemberOptions{}, Limit{Name: "slots", Key: byAccount, Concurrency: 4})
		slot := Use{Limit: "slots"}
		f.warm(t, slot)
		time.Sleep(6 * time.Second)
		f.stop()
		for i := range f.limiters {
			_ = f.try(i, time.Second, slot)
		}
		time.Sleep(10 * time.Second)
		f.resume()
		began := time.Now()
		for f.told(StoreOutageEnded) < 4 {
			time.Sleep(10 * time.Millisecond)
		}
		ended := time.Now()
		if err := f.try(0, 10*time.Second, slot); err != nil {
			t.Fatal(err)
		}
		t.Logf("the outage ended after %v, and a slot was granted %v later", ended.Sub(began), time.Since(ended))
		if d := time.Since(ended); d > 500*time.Millisecond {
			t.Errorf("a slot was granted %v after the last outage had ended, want within 500 ms", d)
		}
	})
}
