package limiter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestUpdate(t *testing.T) {
	start := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	k := Keys{Account: "ann"}
	base := func() []Limit {
		return []Limit{
			{Name: "user", Key: byAccount, Rate: 10, Burst: 100},
			{Name: "inflight", Key: byAccount, Concurrency: 4},
		}
	}
	take := func(t *testing.T, l *Limiter, limit int, cost int64) Permit {
		t.Helper()
		p, ok := l.TryAcquire(&Request{Keys: k, Uses: []Use{{Limit: nameOf(l, limit), Cost: cost}}})
		if !ok {
			t.Fatalf("a cost of %d was refused", cost)
		}
		return p
	}
	for _, c := range []struct {
		name  string
		used  int64
		next  []Limit
		level float64 // at once, of the limit "user"
		later float64 // 1 s later
	}{
		{"a higher burst grants nothing", 50, []Limit{{Name: "user", Key: byAccount, Rate: 10, Burst: 1000}}, 50, 60},
		{"not to a full bucket either", 0, []Limit{{Name: "user", Key: byAccount, Rate: 10, Burst: 1000}}, 100, 110},
		{"a higher rate fills from now on", 50, []Limit{{Name: "user", Key: byAccount, Rate: 20, Burst: 100}}, 50, 70},
		{"a lower burst cuts", 0, []Limit{{Name: "user", Key: byAccount, Rate: 10, Burst: 30}}, 30, 30},
		{"a quota instead of a rate is kept by the same bucket", 50, []Limit{{Name: "user", Key: byAccount, Quota: 700, Window: time.Minute, Burst: 100}}, 50, 60},
		{"places may change", 50, []Limit{{Name: "inflight", Key: byAccount, Concurrency: 4}, {Name: "user", Key: byAccount, Rate: 10, Burst: 100}}, 50, 60},
		{"another key is another limit", 50, []Limit{{Name: "user", Key: byApp, Rate: 10, Burst: 100}}, 100, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := start
			l, err := New(base(), Options{Clock: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			if c.used > 0 {
				take(t, l, 0, c.used)
			}
			if err := l.Update(c.next); err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(c.next, func(m Limit) bool { return m.Name == "user" })
			if got := l.Peek(nameOf(l, i), k).Level; got != c.level {
				t.Errorf("level %g, want %g", got, c.level)
			}
			if got := l.Peek(nameOf(l, i), Keys{Account: "new"}).Level; got > max(100, c.level) {
				t.Errorf("a new key has %g: more than a full one before", got)
			}
			now = now.Add(time.Second)
			if got := l.Peek(nameOf(l, i), k).Level; got != c.later {
				t.Errorf("a second later the level is %g, want %g", got, c.later)
			}
		})
	}

	t.Run("permits and holds stay", func(t *testing.T) {
		now := start
		l, err := New(base(), Options{Clock: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		a, b := take(t, l, 1, 0), take(t, l, 1, 0)
		l.Hold(nameOf(l, 0), k, now.Add(time.Hour))
		l.Refuse(nameOf(l, 0), k, Refusal{})
		next := []Limit{{Name: "new", Key: byAccount, Rate: 1}, {Name: "inflight", Key: byAccount, Concurrency: 2}, {Name: "user", Key: byAccount, Rate: 1, Burst: 1}}
		if err := l.Update(next); err != nil {
			t.Fatal(err)
		}
		if s := l.Peek(nameOf(l, 1), k); s.InFlight != 2 || s.Concurrency != 2 {
			t.Errorf("%+v: want 2 of 2 permits out", s)
		}
		if s := l.Peek(nameOf(l, 2), k); !s.Held.Equal(now.Add(time.Hour)) || s.Refused != 1 {
			t.Errorf("%+v: the hold or the refusal is gone", s)
		}
		if _, ok := l.TryAcquire(&Request{Keys: k, Uses: []Use{{Limit: nameOf(l, 1)}}}); ok {
			t.Error("a third permit of 2")
		}
		a.Release()
		if err := l.Update(next[:1]); err != nil { // the limit is gone: its permits stay good
			t.Fatal(err)
		}
		b.Release()
		if err := l.Update(next); err != nil {
			t.Fatal(err)
		}
		if s := l.Peek(nameOf(l, 1), k); s.InFlight != 0 {
			t.Errorf("%+v: want no permit out", s)
		}
		if s := l.Peek(nameOf(l, 2), k); s.Held.IsZero() {
			t.Errorf("%+v: a limit that comes back has lost its hold", s)
		}
		check(t, l)
	})

	t.Run("an error changes nothing", func(t *testing.T) {
		l := mustNew(t, base()...)
		err := l.Update([]Limit{{Name: "user", Rate: -1}, {Name: "user"}})
		if err == nil || l.Peek(nameOf(l, 0), k).Rate != 10 || l.Peek(nameOf(l, 1), k).Concurrency != 4 {
			t.Errorf("%v; %+v", err, l.Peek(nameOf(l, 0), k))
		}
	})

	t.Run("those who wait are timed anew", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := mustNew(t, base()...)
			take(t, l, 0, 100)
			start := time.Now()
			var mu sync.Mutex
			got := map[int64]error{}
			at := map[int64]time.Duration{}
			for _, cost := range []int64{80, 10} {
				go func() {
					_, err := l.Acquire(context.Background(), &Request{Keys: k, Uses: []Use{{Limit: nameOf(l, 0), Cost: cost}}})
					mu.Lock()
					defer mu.Unlock()
					got[cost], at[cost] = err, time.Since(start)
				}()
				synctest.Wait()
			}
			time.Sleep(time.Second)
			if err := l.Update([]Limit{{Name: "user", Key: byAccount, Rate: 5, Burst: 50}}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			var large *TooLargeError
			if !errors.As(got[80], &large) || at[80] != time.Second {
				t.Errorf("a call that the new burst can't let pass got %v after %v", got[80], at[80])
			}
			if got[10] != nil || at[10] != time.Second {
				t.Errorf("the call behind it got %v after %v", got[10], at[10])
			}
			check(t, l)
		})
	})
}

// TestUpdateWhileBusy changes the numbers under load, from many goroutines.
func TestUpdateWhileBusy(t *testing.T) {
	limits := func(i int) []Limit {
		m := []Limit{
			{Name: "user", Key: byAccount, Rate: 1e6 + float64(i), Burst: 1e6, Adapt: true},
			{Name: "inflight", Key: byAccount, Concurrency: int64(2 + i%3)},
			{Name: "project", Key: byApp, Rate: 1e6, Burst: 1e6},
		}
		for j := range i % 3 {
			m = append(m, Limit{Name: string(rune('a' + j)), Key: byAccount, Rate: 1e6})
		}
		return m
	}
	l := mustNew(t, limits(0)...)
	ctx := context.Background()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			k := Keys{Account: string(rune('a' + g%4)), App: "x"}
			for i := range 500 {
				p, err := l.Acquire(ctx, &Request{Keys: k, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}, {Limit: nameOf(l, 1)}, {Limit: nameOf(l, 2), Cost: 1}}})
				if err != nil {
					t.Error(err)
					return
				}
				switch i % 5 {
				case 0:
					p.Cancel()
				case 1:
					p.Succeeded()
				case 2:
					l.Refuse(nameOf(l, 0), k, Refusal{})
				case 3:
					l.Peek(nameOf(l, 0), k)
				}
				p.Release()
			}
		})
	}
	for i := range 200 {
		if err := l.Update(limits(i)); err != nil {
			t.Fatal(err)
		}
		for range l.All() {
		}
	}
	wg.Wait()
	check(t, l)
	for s := range l.All() {
		if s.InFlight != 0 || s.Waiting != 0 {
			t.Errorf("at the end: %+v", s)
		}
	}
}

// TestUpdateUnguards has a guarded call fail in the moment in which new limits are in
// force and its keys have not followed yet: what waits at these keys is left to the reload.
func TestUpdateUnguards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := []Limit{{Name: "user", Key: byAccount, Rate: 1, Burst: 1}, {Name: "few", Key: byApp, Quota: 1, Window: time.Minute}}
		l, keys := mustNew(t, limits...), Keys{Account: "a", App: "x"}
		request := func(maxWait time.Duration, names ...string) *Request {
			r := &Request{Keys: keys, MaxWait: maxWait}
			for _, name := range names {
				r.Uses = append(r.Uses, Use{Limit: name, Cost: 1})
			}
			return r
		}
		if _, ok := l.TryAcquire(request(0, "user", "few")); !ok {
			t.Fatal("the first call is refused")
		}
		var late, other error
		go func() { _, late = l.Acquire(t.Context(), request(time.Hour, "user", "few")) }()
		go func() { _, other = l.Acquire(t.Context(), request(2*time.Hour, "few")) }()
		synctest.Wait()
		cfg := l.config.Load()
		group := cfg.groups[cfg.limits[0].group]
		hash, shard := l.locate(group, &keys)
		for _, calls := range l.shards[shard].table.find(hash, group, &keys).cold.queues {
			l.guard.Store(&guarded{calls, l.now() + int64(time.Hour)})
		}
		limits[1] = Limit{Name: "few", Key: byApp, Rate: 1}
		cfg, err := cfg.with(limits, l.now())
		if err != nil {
			t.Fatal(err)
		}
		l.config.Store(cfg) // as Update begins
		l.Hold("user", keys, time.Now().Add(2*time.Hour))
		synctest.Wait()
		if _, ok := errors.AsType[*WaitError](late); !ok || l.guard.Load() != nil {
			t.Errorf("the guarded call ended with %v, guard %v; want a WaitError and no guard", late, l.guard.Load())
		}
		if err := l.Update(limits); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if other != nil {
			t.Errorf("the other call ended with %v", other)
		}
		check(t, l)
	})
}

// TestUpdateFixed holds that a smaller quota counts in the window that has begun.
func TestUpdateFixed(t *testing.T) {
	fixed := func(quota int64) Limit {
		return Limit{Name: "hour", Quota: quota, Window: time.Hour, Fixed: true}
	}
	l, r, now := mustNew(t, fixed(10)), &Request{Uses: []Use{{Limit: "hour", Cost: 1}}}, time.Now()
	take := func() (n int) {
		for ; n < 20; n++ {
			if _, _, ok := l.TryAcquireAt(now, r); !ok {
				break
			}
		}
		return n
	}
	if _, _, ok := l.TryAcquireAt(now, r); !ok {
		t.Fatal("the first call is refused")
	}
	if err := l.Update([]Limit{fixed(3)}); err != nil {
		t.Fatal(err)
	}
	if n := take(); n != 3 {
		t.Errorf("%d calls passed after a reload to 3 an hour, want 3", n)
	}
}

func TestLimitFor(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	var vip Limit // its Rate or Concurrency is 0 when there is none
	l, err := New([]Limit{
		{Name: "user", Key: byAccount, Rate: 10, Burst: 10},
		{Name: "inflight", Key: byAccount, Concurrency: 1},
	}, Options{
		Clock: func() time.Time { return now },
		LimitFor: func(limit string, k Keys) (Limit, bool) {
			return vip, k.Account == "vip" && limit == "user" && (vip.Rate != 0 || vip.Concurrency != 0)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	try := func(account string, n int) bool {
		p, ok := l.TryAcquire(&Request{Keys: Keys{Account: account}, N: n, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}, {Limit: nameOf(l, 1)}}})
		p.Release()
		return ok
	}
	type step struct {
		name   string
		vip    Limit
		sleep  time.Duration
		cost   int
		ok     bool
		burst  int64
		atMost float64
	}
	for _, s := range []step{
		{"a key with more: full from the start", Limit{Rate: 100, Burst: 100}, 0, 60, true, 100, 40},
		{"kept while it is so", Limit{Rate: 100, Burst: 100}, 0, 60, false, 100, 40},
		{"less: the level is cut", Limit{Rate: 20, Burst: 20}, 0, 20, true, 20, 0},
		{"more again: no burst", Limit{Rate: 100, Burst: 100}, 0, 1, false, 100, 0},
		{"but it fills", Limit{Rate: 100, Burst: 100}, time.Second / 2, 50, true, 100, 0},
		{"another form is ignored", Limit{Concurrency: 7}, time.Second, 10, true, 10, 0},
		{"a wrong one too", Limit{Rate: -7}, time.Second, 10, true, 10, 0},
		{"none: the limit's own numbers", Limit{}, time.Second, 10, true, 10, 0},
	} {
		t.Run(s.name, func(t *testing.T) {
			vip = s.vip
			now = now.Add(s.sleep)
			if ok := try("vip", s.cost); ok != s.ok {
				t.Errorf("a cost of %d: %v, want %v", s.cost, ok, s.ok)
			}
			if st := l.Peek(nameOf(l, 0), Keys{Account: "vip"}); st.Burst != s.burst || st.Level > s.atMost {
				t.Errorf("%+v, want a burst of %d, level at most %g", st, s.burst, s.atMost)
			}
			if st := l.Peek(nameOf(l, 0), Keys{Account: "other"}); st.Burst != 10 {
				t.Errorf("another key: %+v", st)
			}
		})
	}
}

// TestUpdateForm changes a limit between the two ways to keep a quota, at a
// random load, and holds every window over the change against the larger of
// both limits.
func TestUpdateForm(t *testing.T) {
	const window = time.Minute
	bucket := Limit{Name: "q", Quota: 100, Window: window, Burst: 10}
	exact := Limit{Name: "q", Quota: 100, Window: window, Burst: 100}
	perSecond := Limit{Name: "q", Rate: 1.5, Burst: 10}
	gate := Limit{Name: "q"}
	for _, c := range []struct {
		name   string
		limits []Limit
		load   int // one call in so many ms
	}{
		{"bucket to window", []Limit{bucket, exact}, 40},
		{"window to bucket", []Limit{exact, bucket}, 40},
		{"rate to window", []Limit{perSecond, exact}, 40},
		{"there and back", []Limit{bucket, exact, bucket, exact}, 40},
		{"there and back at once", []Limit{exact, bucket, exact, bucket}, 1000},
		{"a little at a time", []Limit{bucket, exact, bucket}, 700},
	} {
		for _, flip := range []int{1, 7, 29, 61, 90} { // s between two changes
			t.Run(fmt.Sprint(c.name, flip), func(t *testing.T) {
				now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
				l, err := New(c.limits[:1], Options{Clock: func() time.Time { return now }})
				if err != nil {
					t.Fatal(err)
				}
				var grants []time.Time
				next := 1
				for ms := range 400_000 / c.load {
					now = now.Add(time.Duration(c.load) * time.Millisecond)
					if at := ms * c.load / 1000; next < len(c.limits) && at >= flip*next {
						if err := l.Update(c.limits[next : next+1]); err != nil {
							t.Fatal(err)
						}
						next++
					}
					if p, ok := l.TryAcquire(&Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}}); ok {
						grants = append(grants, now)
						p.Release()
					}
				}
				from := 0
				for to := range grants {
					for grants[to].Sub(grants[from]) > window {
						from++
					}
					if n := to - from + 1; n > 100 {
						t.Fatalf("%d granted in the window until %v, want at most 100", n, grants[to])
					}
				}
				if want := min(400_000/c.load, 400) * 3 / 4; len(grants) < want {
					t.Errorf("%d granted, want at least %d", len(grants), want)
				}
			})
		}
	}

	t.Run("a limit that comes back", func(t *testing.T) {
		now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
		l, err := New([]Limit{bucket}, Options{Clock: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		p, _ := l.TryAcquire(&Request{N: 10, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}})
		for _, m := range []Limit{gate, exact, gate, bucket} {
			if err := l.Update([]Limit{m}); err != nil {
				t.Fatal(err)
			}
		}
		p.Cancel()
		if s := l.Peek(nameOf(l, 0), Keys{}); s.Level != 0 {
			t.Errorf("its level is %g, want 0", s.Level)
		}
	})

	t.Run("a permit that comes back meanwhile", func(t *testing.T) {
		now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
		l, err := New([]Limit{exact}, Options{Clock: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		p, _ := l.TryAcquire(&Request{N: 10, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}})
		l.Hold(nameOf(l, 0), Keys{}, now.Add(time.Second))
		now = now.Add(2 * time.Second)
		cfg, err := l.config.Load().with([]Limit{bucket}, l.now())
		if err != nil {
			t.Fatal(err)
		}
		l.config.Store(cfg) // as in the middle of Update
		p.Cancel()
		if s := l.Peek(nameOf(l, 0), Keys{}); s.Level > 0 || s.Burst != 10 {
			t.Errorf("%+v, want an empty bucket of 10", s)
		}
	})

	t.Run("calls that wait follow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := mustNew(t, bucket)
			l.TryAcquire(&Request{N: 10, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}})
			start := time.Now()
			done := make(chan time.Duration)
			go func() {
				p, err := l.Acquire(t.Context(), &Request{N: 10, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}})
				if err != nil {
					t.Error(err)
				}
				p.Release()
				done <- time.Since(start)
			}()
			synctest.Wait()
			if err := l.Update([]Limit{exact}); err != nil {
				t.Fatal(err)
			}
			if d := <-done; d > 10*time.Second {
				t.Errorf("it passed after %v", d)
			}
			check(t, l)
		})
	})
}

// TestLimitForQuota gives keys quotas that would be kept in the other way.
func TestLimitForQuota(t *testing.T) {
	for _, c := range []struct {
		name      string
		base, own Limit
		cost      int64 // of one call
		most      int   // calls in the first minute
		least     int
	}{
		{"the limit's dearest cost", Limit{Quota: 15000, MaxCost: 100}, Limit{Quota: 6000}, 100, 60, 58},
		{"a small quota", Limit{Quota: 15000}, Limit{Quota: 2}, 1, 2, 1},
		{"a quota of one", Limit{Quota: 15000}, Limit{Quota: 1}, 1, 1, 1},
		{"a large quota", Limit{Quota: 2}, Limit{Quota: 1000}, 1, 1000, 1000},
		{"a rate for a remembered quota", Limit{Quota: 2}, Limit{Rate: 50}, 1, 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
			c.base.Name, c.base.Window = "q", time.Minute
			if c.own.Quota != 0 {
				c.own.Window = time.Minute
			}
			l, err := New([]Limit{c.base}, Options{
				Clock:    func() time.Time { return now },
				LimitFor: func(string, Keys) (Limit, bool) { return c.own, true },
			})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for range 6001 {
				if _, ok := l.TryAcquire(&Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: c.cost}}}); ok {
					n++
				}
				now = now.Add(10 * time.Millisecond)
			}
			if n < c.least || n > c.most {
				t.Errorf("%d calls in the first minute, want %d to %d", n, c.least, c.most)
			}
		})
	}
}
