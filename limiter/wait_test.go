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

func mustNew(t testing.TB, limits ...Limit) *Limiter {
	t.Helper()
	l, err := New(limits, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var byAccount, byApp = []Dimension{Account}, []Dimension{App}

// TestTenThousandWaiters: in order, each within 1 ms of its time, nothing
// left unused and never over.
func TestTenThousandWaiters(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits []Limit
		first  time.Duration // when the first waiter's turn is
		every  time.Duration
	}{
		{"bucket", []Limit{{Name: "user", Key: byAccount, Rate: 250, Burst: 50}}, 4 * time.Millisecond, 4 * time.Millisecond},
		{"bucket, project and concurrency", []Limit{
			{Name: "user", Key: byAccount, Rate: 250, Burst: 50},
			{Name: "project", Key: byApp, Rate: 5000, Burst: 5000},
			{Name: "inflight", Key: byAccount, Concurrency: 4},
		}, 4 * time.Millisecond, 4 * time.Millisecond},
		{"quota", []Limit{{Name: "minute", Key: byAccount, Quota: 6000, Window: time.Minute, Burst: 600}}, time.Second / 90, time.Second / 90},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 10_000
				l := mustNew(t, c.limits...)
				r := &Request{Keys: Keys{Account: "ann", App: "sync"}}
				for i := range c.limits {
					r.Uses = append(r.Uses, Use{Limit: nameOf(l, i), Cost: 1})
				}
				for { // empty the bucket
					p, ok := l.TryAcquire(r)
					if !ok {
						break
					}
					p.Release()
				}
				start := time.Now()
				var mu sync.Mutex
				var order []int
				var at []time.Duration
				for i := range n {
					go func() {
						p, err := l.Acquire(context.Background(), r)
						if err != nil {
							t.Error(err)
						}
						mu.Lock()
						order, at = append(order, i), append(at, time.Since(start))
						mu.Unlock()
						p.Release()
					}()
					synctest.Wait() // so that they come in this order
				}
				if now := l.Peek(nameOf(l, 0), r.Keys).Waiting; now != n {
					t.Fatalf("%d calls wait, want %d", now, n)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if len(order) != n || !slices.IsSorted(order) {
					t.Fatalf("%d of %d passed, in order: %v", len(order), n, slices.IsSorted(order))
				}
				for i, got := range at {
					want := c.first + time.Duration(i)*c.every
					if d := (got - want).Abs(); d > time.Millisecond {
						t.Fatalf("call %d passed at %v, its time is %v", i, got, want)
					}
				}
				if use := float64(c.every) * n / float64(at[n-1]); use < 0.99 || use > 1.0001 {
					t.Errorf("used %.2f %% of what the bucket allows", 100*use)
				}
				check(t, l)
			})
		})
	}
}

// TestBlockedElsewhere: one exhausted mailbox never slows another, and a call
// that waits for one limit keeps nobody from its others.
func TestBlockedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t,
			Limit{Name: "user", Key: byAccount, Rate: 1, Burst: 5},
			Limit{Name: "project", Key: byApp, Rate: 100, Burst: 10},
			Limit{Name: "inflight", Key: byAccount, Concurrency: 2},
			Limit{Name: "sending", Key: byAccount},
		)
		ann, bob := Keys{Account: "ann", App: "x"}, Keys{Account: "bob", App: "x"}
		uses := []Use{{Limit: nameOf(l, 0), Cost: 1}, {Limit: nameOf(l, 1), Cost: 1}, {Limit: nameOf(l, 2)}}
		for range 5 {
			p, ok := l.TryAcquire(&Request{Keys: ann, Uses: uses})
			if !ok {
				t.Fatal("refused")
			}
			p.Release()
		}
		for range 100 { // ann's bucket is empty: these wait
			if _, err := l.Reserve(&Request{Keys: ann, Uses: uses}); err != nil {
				t.Fatal(err)
			}
		}
		l.Hold(nameOf(l, 3), bob, time.Now().Add(time.Hour))
		if _, err := l.Reserve(&Request{Keys: bob, Uses: append([]Use{{Limit: nameOf(l, 3)}}, uses...)}); err != nil {
			t.Fatal(err)
		}
		for i := range 5 { // bob and the project have nothing to do with that
			p, ok := l.TryAcquire(&Request{Keys: bob, Uses: uses})
			if !ok {
				t.Fatalf("call %d of bob was refused: %+v %+v", i, l.Peek(nameOf(l, 1), bob), l.Peek(nameOf(l, 2), bob))
			}
			p.Release()
		}
		p, ok := l.TryAcquire(&Request{Keys: ann, Uses: []Use{{Limit: nameOf(l, 2)}}})
		if !ok {
			t.Error("a call of ann that needs no unit was refused")
		}
		p.Release()
		if s := l.Peek(nameOf(l, 1), ann); s.InFlight != 0 || s.Waiting != 0 {
			t.Errorf("somebody waits for the project: %+v", s)
		}
		if s := l.Peek(nameOf(l, 2), ann); s.InFlight != 0 {
			t.Errorf("calls that wait hold permits: %+v", s)
		}
		check(t, l)
	})
}

func TestAllOrNothing(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	limits := []Limit{
		{Name: "user", Key: byAccount, Rate: 10, Burst: 10},
		{Name: "minute", Key: byAccount, Quota: 100, Window: time.Minute},
		{Name: "project", Key: byApp, Rate: 100, Burst: 100},
		{Name: "inflight", Key: byAccount, Concurrency: 1},
		{Name: "once", Key: byAccount, Quota: 1, Window: time.Minute},
		{Name: "gate", Key: byAccount},
	}
	for refusing := range limits {
		t.Run(limits[refusing].Name, func(t *testing.T) {
			l, err := New(limits, Options{Clock: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			k := Keys{Account: "ann", App: "x"}
			l.HoldAt(now, nameOf(l, refusing), k, now.Add(time.Minute))
			want := make([]State, len(limits))
			for i := range limits {
				want[i] = l.PeekAt(now, nameOf(l, i), k)
			}
			// Every limit is asked before and after the one that refuses.
			for first := range limits {
				r := &Request{Keys: k}
				for i := range limits {
					r.Uses = append(r.Uses, Use{Limit: nameOf(l, (first+i)%len(limits)), Cost: 1})
				}
				if _, wait, ok := l.TryAcquireAt(now, r); ok || wait < time.Minute {
					t.Fatalf("got %v, %v", wait, ok)
				}
			}
			for i := range limits {
				if got := l.PeekAt(now, nameOf(l, i), k); got != want[i] {
					t.Errorf("a refused call changed\n%+v to\n%+v", want[i], got)
				}
			}
		})
	}
}

// TestCancelledWait: calls that are cancelled while they wait burn nothing, and
// the calls behind them go on.
func TestCancelledWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Limit{Name: "user", Key: byAccount, Rate: 10, Burst: 10}, Limit{Name: "inflight", Key: byAccount, Concurrency: 1})
		r := &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}, {Limit: nameOf(l, 1)}}}
		holder, ok := l.TryAcquire(r)
		if !ok {
			t.Fatal("refused")
		}
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(context.Background())
		errs := make(chan error, 10)
		for range 10 {
			go func() {
				_, err := l.Acquire(ctx, r)
				errs <- err
			}()
		}
		synctest.Wait()
		last, err := l.Reserve(r)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		for range 10 {
			err := <-errs
			var wait *WaitError
			if !errors.Is(err, context.Canceled) || !errors.As(err, &wait) || wait.Limit == "" {
				t.Errorf("got %v, want a *WaitError that is context.Canceled", err)
			}
		}
		if got := l.Peek(nameOf(l, 0), Keys{}).Level; got != 10 {
			t.Errorf("cancelled calls have burnt quota: %g of 10 left", got)
		}
		check(t, l)
		holder.Release()
		p, err := last.Wait(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if s := l.Peek(nameOf(l, 0), Keys{}); s.Level != 9 {
			t.Errorf("level %g after one call, want 9", s.Level)
		}
		p.Cancel()
		if s := l.Peek(nameOf(l, 0), Keys{}); s.Level != 10 {
			t.Errorf("level %g after that call was taken back, want 10", s.Level)
		}
		if s := l.Peek(nameOf(l, 1), Keys{}); s.InFlight != 0 {
			t.Errorf("%d permits out, want 0", s.InFlight)
		}
	})
}

func TestMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Limit{Name: "user", Key: byAccount, Rate: 1, Burst: 1}, Limit{Name: "inflight", Key: byAccount, Concurrency: 1})
		bucket := Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}, MaxWait: 2500 * time.Millisecond}
		l.TryAcquire(&bucket)
		start := time.Now()
		var until []time.Duration
		for range 4 {
			v, err := l.Reserve(&bucket)
			var wait *WaitError
			if errors.As(err, &wait) {
				if errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v is no context's deadline", err)
				}
				until = append(until, -wait.Until.Sub(start))
				continue
			}
			until = append(until, v.Until().Sub(start))
		}
		if want := []time.Duration{1e9, 2e9, -3e9, -3e9}; !slices.Equal(until, want) {
			t.Errorf("the calls may expect to pass at %v, want %v (negative: refused)", until, want)
		}

		// For a permit nobody can tell: it waits as long as it may.
		few := Request{Uses: []Use{{Limit: nameOf(l, 1)}}, MaxWait: 2500 * time.Millisecond}
		p, _ := l.TryAcquire(&few)
		_, err := l.Acquire(context.Background(), &few)
		var wait *WaitError
		if got := time.Since(start); !errors.As(err, &wait) || wait.Limit != "inflight" || got != few.MaxWait {
			t.Errorf("got %v after %v", err, got)
		}
		p.Release()

		// A hold that comes while they wait tells those who can't be in time.
		p, _ = l.TryAcquire(&few)
		got := make(chan error, 2)
		for _, m := range []time.Duration{time.Minute, 2 * time.Hour} {
			go func() {
				p, err := l.Acquire(context.Background(), &Request{Uses: few.Uses, MaxWait: m})
				p.Release()
				got <- err
			}()
		}
		synctest.Wait()
		start = time.Now()
		l.Hold(nameOf(l, 1), Keys{}, time.Now().Add(time.Hour))
		if err := <-got; !errors.As(err, &wait) || wait.Until.Sub(start) != time.Hour || time.Since(start) != 0 {
			t.Errorf("got %v after %v, want an error at once, for 1h from now", err, time.Since(start))
		}
		p.Release()
		if err := <-got; err != nil || time.Since(start) != time.Hour {
			t.Errorf("the call that may wait got %v after %v", err, time.Since(start))
		}

		none := Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}, MaxWait: -1}
		l.TryAcquire(&none)
		if _, err := l.Acquire(context.Background(), &none); !errors.As(err, &wait) {
			t.Errorf("a call that must not wait got %v", err)
		}
	})
}

// TestUntilIsNotPast: a call that gives up is told what it waited for, and a
// time that is not over, whatever clock the limiter goes by.
func TestUntilIsNotPast(t *testing.T) {
	limits := []Limit{
		{Name: "requests", Key: byAccount, Rate: 10, Burst: 10},
		{Name: "slow", Key: byAccount, Rate: 0.01, Burst: 1},
		{Name: "inflight", Key: byApp, Concurrency: 1},
		{Name: "gate", Key: byAccount},
	}
	const requests, slow, inflight, gate = 0, 1, 2, 3
	k := Keys{Account: "ann", App: "sync"}
	take := func(t *testing.T, l *Limiter, limit int) {
		if _, ok := l.TryAcquire(&Request{Keys: k, Uses: []Use{{Limit: nameOf(l, limit), Cost: 1}}}); !ok {
			t.Fatalf("%s was refused", limits[limit].Name)
		}
	}
	for _, c := range []struct {
		name    string
		before  func(t *testing.T, l *Limiter, now time.Time) // at 0s
		during  func(l *Limiter, now time.Time)               // at 30s
		uses    []int
		maxWait time.Duration
		limit   string
		until   time.Duration // the call gives up at 1m
	}{
		{
			name:    "a permit is out",
			before:  func(t *testing.T, l *Limiter, _ time.Time) { take(t, l, inflight) },
			uses:    []int{requests, inflight, gate},
			maxWait: time.Minute,
			limit:   "inflight", until: time.Minute,
		},
		{
			name:   "a permit is out, and the context ends",
			before: func(t *testing.T, l *Limiter, _ time.Time) { take(t, l, inflight) },
			uses:   []int{requests, gate, inflight},
			limit:  "inflight", until: time.Minute,
		},
		{
			name: "a probe is out",
			before: func(t *testing.T, l *Limiter, now time.Time) {
				l.Hold(nameOf(l, gate), k, now.Add(time.Second))
				time.Sleep(time.Second)
				take(t, l, gate)
			},
			uses:    []int{inflight, requests, gate},
			maxWait: time.Minute,
			limit:   "gate", until: time.Minute,
		},
		{
			name:   "a permit is out, and the units are used up meanwhile",
			before: func(t *testing.T, l *Limiter, _ time.Time) { take(t, l, inflight) },
			during: func(l *Limiter, _ time.Time) {
				l.TryAcquire(&Request{Keys: k, Uses: []Use{{Limit: nameOf(l, slow), Cost: 1}}})
			},
			uses:    []int{slow, inflight},
			maxWait: time.Minute,
			limit:   "inflight", until: 130 * time.Second,
		},
		{
			name:   "a permit is out, and its limit held",
			before: func(t *testing.T, l *Limiter, _ time.Time) { take(t, l, inflight) },
			during: func(l *Limiter, now time.Time) { l.Hold(nameOf(l, inflight), k, now.Add(time.Hour)) },
			uses:   []int{requests, inflight},
			limit:  "inflight", until: time.Hour + 30*time.Second,
		},
		{
			name:   "for units",
			before: func(t *testing.T, l *Limiter, _ time.Time) { take(t, l, slow) },
			uses:   []int{inflight, slow, requests},
			limit:  "slow", until: 100 * time.Second,
		},
		{
			name:    "must not wait",
			before:  func(t *testing.T, l *Limiter, _ time.Time) { time.Sleep(time.Minute); take(t, l, inflight) },
			uses:    []int{requests, gate, inflight},
			maxWait: -1,
			limit:   "inflight", until: time.Minute,
		},
	} {
		for _, behind := range []time.Duration{0, 24 * time.Hour} {
			t.Run(fmt.Sprint(c.name, "/clock behind by ", behind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var o Options
					if behind > 0 {
						o.Clock = func() time.Time { return time.Now().Add(-behind) }
					}
					l, err := New(limits, o)
					if err != nil {
						t.Fatal(err)
					}
					begin := time.Now()
					c.before(t, l, begin.Add(-behind))
					r := &Request{Keys: k, MaxWait: c.maxWait}
					if r.MaxWait > 0 {
						r.MaxWait -= time.Since(begin)
					}
					for _, i := range c.uses {
						r.Uses = append(r.Uses, Use{Limit: nameOf(l, i), Cost: 1})
					}
					ctx, cancel := context.WithCancel(context.Background())
					if c.maxWait == 0 {
						time.AfterFunc(time.Minute-time.Since(begin), cancel)
					}
					if c.during != nil {
						time.AfterFunc(30*time.Second-time.Since(begin), func() { c.during(l, time.Now().Add(-behind)) })
					}
					_, err = l.Acquire(ctx, r)
					cancel()
					var wait *WaitError
					if got := time.Since(begin); !errors.As(err, &wait) || got != time.Minute {
						t.Fatalf("got %v after %v, want a *WaitError after 1m", err, got)
					}
					if got := wait.Until.Sub(begin.Add(-behind)); got != c.until || wait.Limit != c.limit {
						t.Errorf("wait for %s until %v, want %s until %v", wait.Limit, got, c.limit, c.until)
					}
				})
			})
		}
	}
}

// TestBatches: N requests cost N times as much, and at most as many permits as there are.
func TestBatches(t *testing.T) {
	l := mustNew(t, Limit{Name: "mailbox", Key: byAccount, Quota: 10_000, Window: 10 * time.Minute},
		Limit{Name: "inflight", Key: byAccount, Concurrency: 4},
		Limit{Name: "upload", Key: byAccount, Quota: 150 << 20, Window: 5 * time.Minute, Burst: 15 << 20},
		Limit{Name: "narrow", Key: byAccount, Rate: 1, Burst: 70},
		Limit{Name: "few", Key: byAccount, Quota: 10, Window: time.Minute, Burst: 10})
	uses := []Use{{Limit: nameOf(l, 0), Cost: 1}, {Limit: nameOf(l, 1)}, {Limit: nameOf(l, 2), Bytes: true}}
	for _, c := range []struct {
		name                string
		r                   Request
		units, permits, bts float64
	}{
		{"one", Request{}, 1, 1, 0},
		{"unordered batch of 20", Request{N: 20, Parallel: 20, Bytes: 1000}, 20, 4, 1000},
		{"unordered batch of 3", Request{N: 3, Parallel: 3}, 3, 3, 0},
		{"ordered batch of 20", Request{N: 20, Bytes: -5}, 20, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.r.Keys = Keys{Account: c.name}
			c.r.Uses = uses
			p, ok := l.TryAcquire(&c.r)
			if !ok {
				t.Fatal("refused")
			}
			units, bts := 100-l.Peek(nameOf(l, 0), c.r.Keys).Level, 15<<20-l.Peek(nameOf(l, 2), c.r.Keys).Level
			permits := float64(l.Peek(nameOf(l, 1), c.r.Keys).InFlight)
			if units > c.units || units < c.units-1 || permits != c.permits || bts > c.bts || bts < 0 {
				t.Errorf("took %g units, %g permits, %g bytes; want %g, %g, %g", units, permits, bts, c.units, c.permits, c.bts)
			}
			p.Release()
		})
	}
	for _, c := range []struct {
		name string
		r    Request
		maxN int
	}{
		{"units", Request{N: 101}, 100},
		{"dear", Request{N: 26, Uses: []Use{{Limit: nameOf(l, 0), Cost: 4}}}, 25},
		{"far too many", Request{N: 1 << 62, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1 << 62}}}, 0},
		{"bytes", Request{N: 2, Bytes: 1 << 40}, 0},
		{"of two limits the smaller one", Request{N: 300, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}, {Limit: nameOf(l, 3), Cost: 1}}}, 70},
		{"in either order", Request{N: 300, Uses: []Use{{Limit: nameOf(l, 3), Cost: 1}, {Limit: nameOf(l, 0), Cost: 1}}}, 70},
		{"units and bytes", Request{N: 300, Bytes: 1 << 40, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}, {Limit: nameOf(l, 2), Bytes: true}}}, 0},
		{"a remembered window", Request{N: 11, Uses: []Use{{Limit: nameOf(l, 4), Cost: 1}}}, 10},
		{"a remembered window, dear", Request{Uses: []Use{{Limit: nameOf(l, 4), Cost: 20}}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.r.Uses == nil {
				c.r.Uses = uses
			}
			_, err := l.Acquire(context.Background(), &c.r)
			var large *TooLargeError
			if !errors.As(err, &large) || large.MaxN != c.maxN {
				t.Errorf("got %v, want MaxN %d", err, c.maxN)
			}
			if _, ok := l.TryAcquire(&c.r); ok {
				t.Error("granted what can never pass")
			}
		})
	}
}

func TestWrongRequests(t *testing.T) {
	l := mustNew(t, Limit{Name: "a", Rate: 1})
	for _, c := range []struct {
		name string
		r    Request
	}{
		{"no such limit", Request{Uses: []Use{{Limit: "b"}}}},
		{"no name", Request{Uses: []Use{{}}}},
		{"limit twice", Request{Uses: []Use{{Limit: nameOf(l, 0)}, {Limit: nameOf(l, 0)}}}},
		{"priority", Request{Uses: []Use{{Limit: nameOf(l, 0)}}, Priority: 2}},
		{"priority negative", Request{Uses: []Use{{Limit: nameOf(l, 0)}}, Priority: -1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if p, err := l.Acquire(context.Background(), &c.r); err == nil || p != (Permit{}) {
				t.Errorf("got %v, %v", p, err)
			}
			if _, ok := l.TryAcquire(&c.r); ok {
				t.Error("taken")
			}
			if _, err := l.Reserve(&c.r); err == nil {
				t.Error("reserved")
			}
		})
	}
	p, err := l.Acquire(context.Background(), &Request{})
	if err != nil {
		t.Errorf("a request that uses no limit: %v", err)
	}
	p.Release()
	var zero Permit
	zero.Release()
	zero.Cancel()
	zero.Refund()
	zero.Succeeded()
	zero.Complete()
	if got := zero.Granted(); !got.IsZero() {
		t.Errorf("the zero permit was granted at %v", got)
	}
	var v Reservation
	v.Cancel()
	if _, err := v.Wait(context.Background()); err == nil {
		t.Error("the zero Reservation was granted")
	}
	l.Hold("none", Keys{}, time.Now().Add(time.Hour))
	l.Lift("none", Keys{})
	if n := l.Refuse("none", Keys{}, Refusal{}); n != 0 {
		t.Errorf("a limit that does not exist was refused %d times", n)
	}
	if s := l.Peek("none", Keys{}); s != (State{}) {
		t.Errorf("a limit that does not exist is %+v", s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Acquire(ctx, &Request{Uses: []Use{{Limit: "none", Cost: 1}}}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// TestManyUses goes past the room on the stack.
func TestManyUses(t *testing.T) {
	var limits []Limit
	r := Request{Keys: Keys{Account: "a", App: "b", Tenant: "c", Host: "d", IP: "e", Device: "f", Operation: "g"}}
	for d := range dimensions {
		for i := range 3 {
			limits = append(limits, Limit{Name: fmt.Sprint(d, i), Key: []Dimension{d, (d + 1) % dimensions}, Concurrency: 1})
			r.Uses = append(r.Uses, Use{Limit: limits[len(limits)-1].Name})
		}
	}
	l := mustNew(t, limits...)
	for range 3 {
		p, ok := l.TryAcquire(&r)
		if !ok {
			t.Fatal("refused")
		}
		if _, ok := l.TryAcquire(&r); ok {
			t.Fatal("granted twice")
		}
		p.Release()
		check(t, l)
	}
	for i := range limits {
		if s := l.Peek(nameOf(l, i), r.Keys); s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	}
	for s := range l.All() {
		for d := range dimensions {
			if got := s.Keys.Get(d); got != "" && got != r.Keys.Get(d) {
				t.Errorf("key %v of %s reads %q", d, s.Limit, got)
			}
		}
	}
}
