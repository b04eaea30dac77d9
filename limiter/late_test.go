package limiter

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A call that waited and goes on late counts from when it goes on, in a log of
// the window as in a bucket.
func TestWokenLate(t *testing.T) {
	for _, c := range []struct {
		name   string
		limit  Limit
		window time.Duration
		late   int // how many wait
		most   int
	}{
		{"log", Limit{Name: "few", Quota: 3, Window: 50 * time.Millisecond, Burst: 3}, 50 * time.Millisecond, 3, 3},
		{"bucket", Limit{Name: "user", Rate: 60, Burst: 3}, 50 * time.Millisecond, 1, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // whose timers do not run
				now := time.Unix(0, 0)
				l, err := New([]Limit{c.limit}, Options{Clock: func() time.Time { return now }})
				if err != nil {
					t.Fatal(err)
				}
				r := &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}}
				var at []time.Time
				for range 3 {
					p, _ := l.TryAcquire(r)
					at = append(at, p.Granted())
					p.Release()
				}
				var waits []Reservation
				for range c.late {
					v, err := l.Reserve(r)
					if err != nil {
						t.Fatal(err)
					}
					waits = append(waits, v)
				}
				now = now.Add(51 * time.Millisecond) // all three may pass, and their goroutines are late
				for _, v := range waits {
					if _, ok := v.PermitAt(now); !ok {
						t.Fatal("refused")
					}
				}
				now = now.Add(49 * time.Millisecond)
				for _, v := range waits {
					p, err := v.Wait(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					at = append(at, p.Granted())
					p.Release()
				}
				for range 20 {
					now = now.Add(2 * time.Millisecond)
					if p, ok := l.TryAcquire(r); ok {
						at = append(at, p.Granted())
						p.Release()
					}
				}
				for i := range at {
					n := 0
					for _, u := range at[i:] {
						if u.Sub(at[i]) <= c.window {
							n++
						}
					}
					if n > c.most {
						t.Errorf("%d within %v, want at most %d: %v", n, c.window, c.most, at)
					}
				}
			})
		})
	}
}

// A call that goes on later than a window after it was granted finds others in its
// place: it waits once more, in its order and within its deadline.
func TestWokenAWindowLate(t *testing.T) {
	for _, c := range []struct {
		name    string
		others  int           // take what has been forgotten
		maxWait time.Duration // 0 = no bound
		want    time.Duration // when the late ones go on; 0 = one fails
	}{
		{"nobody has come", 0, 0, 102 * time.Millisecond},
		{"others have come", 3, 0, 152*time.Millisecond + 1},
		{"others have come, no time is left", 3, 120 * time.Millisecond, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				l := mustNew(t, Limit{Name: "few", Quota: 3, Window: 50 * time.Millisecond, Burst: 3}, Limit{Name: "inflight", Concurrency: 3})
				r := &Request{Uses: []Use{{Limit: "few", Cost: 1}, {Limit: "inflight"}}, MaxWait: c.maxWait}
				take := func(n int) {
					for range n {
						p, ok := l.TryAcquire(&Request{Uses: []Use{{Limit: "few", Cost: 1}}})
						if !ok {
							t.Fatal("refused")
						}
						p.Release()
					}
				}
				take(3)
				var waits []Reservation
				for range 3 {
					v, err := l.Reserve(r)
					if err != nil {
						t.Fatal(err)
					}
					waits = append(waits, v)
				}
				time.Sleep(102 * time.Millisecond) // they could pass after 50 ms
				take(c.others)
				for i, v := range waits {
					p, err := v.Wait(t.Context())
					if (err != nil) != (c.want == 0) {
						t.Fatalf("call %d: %v", i, err)
					}
					if at := p.Granted().Sub(start); err == nil && at != c.want {
						t.Errorf("call %d goes on after %v, want %v", i, at, c.want)
					}
					p.Release()
				}
				if s := l.Peek("inflight", Keys{}); s.InFlight != 0 || s.Waiting != 0 {
					t.Errorf("%d permits out and %d waiting at the end", s.InFlight, s.Waiting)
				}
			})
		})
	}
}

// A context that has ended gets no permit, also where it could have one by then.
func TestContextEndsFirst(t *testing.T) {
	for _, c := range []struct {
		name string
		wait func(context.Context, *Limiter, *Request) (Permit, error)
	}{
		{"Acquire", func(ctx context.Context, l *Limiter, r *Request) (Permit, error) { return l.Acquire(ctx, r) }},
		{"Wait", func(ctx context.Context, l *Limiter, r *Request) (Permit, error) {
			v, err := l.Reserve(r)
			if err != nil {
				return Permit{}, err
			}
			return v.Wait(ctx)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for range 100 {
					l := mustNew(t, Limit{Name: "inflight", Concurrency: 1})
					r := &Request{Uses: []Use{{Limit: nameOf(l, 0)}}}
					p, _ := l.TryAcquire(r)
					ctx, cancel := context.WithCancel(t.Context())
					var got Permit
					var err error
					go func() { got, err = c.wait(ctx, l, r) }()
					synctest.Wait()
					cancel()
					p.Release()
					synctest.Wait()
					if !errors.Is(err, context.Canceled) || got != (Permit{}) {
						t.Fatalf("permit %v and error %v, want none and context.Canceled", got, err)
					}
					if n := l.Peek(nameOf(l, 0), Keys{}).InFlight; n != 0 {
						t.Fatalf("%d permits out at the end", n)
					}
				}
			})
		})
	}
	t.Run("granted reservation", func(t *testing.T) {
		l := mustNew(t, Limit{Name: "inflight", Concurrency: 1})
		v, err := l.Reserve(&Request{Uses: []Use{{Limit: nameOf(l, 0)}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if p, err := v.Wait(ctx); p != (Permit{}) || !errors.Is(err, context.Canceled) || l.Peek(nameOf(l, 0), Keys{}).InFlight != 0 {
			t.Errorf("permit %v and error %v, want none and context.Canceled", p, err)
		}
	})
}

// Calls that wait for a limit which a reload removed, or gave another form or
// key, do not stay: they wait for what there is now, in their order.
func TestReloadDisplaces(t *testing.T) {
	hour := Limit{Name: "limit", Key: byAccount, Quota: 1, Window: time.Hour}
	for _, c := range []struct {
		name string
		from Limit
		to   []Limit
		want time.Duration // when the three that wait have passed, after the reload
	}{
		{"removed", hour, nil, 0},
		{"a gate", hour, []Limit{{Name: "limit", Key: byAccount}}, 0},
		{"window to concurrency", hour, []Limit{{Name: "limit", Key: byAccount, Concurrency: 1}}, 2 * time.Second},
		{"rate to concurrency", Limit{Name: "limit", Key: byAccount, Rate: 0.0001, Burst: 1}, []Limit{{Name: "limit", Key: byAccount, Concurrency: 1}}, 2 * time.Second},
		{"concurrency to rate", Limit{Name: "limit", Key: byAccount, Concurrency: 1}, []Limit{{Name: "limit", Key: byAccount, Rate: 1, Burst: 1}}, 2 * time.Second},
		{"concurrency to a gate", Limit{Name: "limit", Key: byAccount, Concurrency: 1}, []Limit{{Name: "limit", Key: byAccount}}, 0},
		{"held gate removed", Limit{Name: "limit", Key: byAccount}, nil, 0},
		{"another key", hour, []Limit{{Name: "limit", Key: byApp, Rate: 1, Burst: 1}}, 2 * time.Second},
		{"another place", hour, []Limit{{Name: "first", Key: byAccount, Rate: 1, Burst: 1}, {Name: "limit", Key: byAccount, Concurrency: 3}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := mustNew(t, c.from)
				r := &Request{Keys: Keys{Account: "ann"}, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}}
				held, ok := l.TryAcquire(r)
				if !ok {
					t.Fatal("refused")
				}
				if c.from.Rate == 0 && c.from.Quota == 0 && c.from.Concurrency == 0 {
					l.Hold(nameOf(l, 0), r.Keys, time.Now().Add(time.Hour))
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var passed [3]time.Duration
				var all sync.WaitGroup
				var start time.Time
				for i := range 3 {
					all.Go(func() {
						p, err := l.Acquire(ctx, r)
						if err != nil {
							t.Errorf("call %d: %v", i, err)
						}
						passed[i] = time.Since(start)
						time.Sleep(time.Second)
						p.Release()
					})
					synctest.Wait()
				}
				start = time.Now()
				if err := l.Update(c.to); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				cancel()
				all.Wait()
				if passed[2] != c.want || !slices.IsSorted(passed[:]) {
					t.Errorf("passed after %v, want %v for the last, in order", passed, c.want)
				}
				held.Release()
			})
		})
	}
	t.Run("reservation", func(t *testing.T) {
		l := mustNew(t, hour)
		r := &Request{Keys: Keys{Account: "ann"}, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}}
		l.TryAcquire(r)
		v, err := l.Reserve(r)
		if err != nil {
			t.Fatal(err)
		}
		gone, _ := l.Reserve(r)
		if err := l.Update([]Limit{{Name: "limit", Key: byAccount, Concurrency: 1}}); err != nil {
			t.Fatal(err)
		}
		if _, ok := v.PermitAt(time.Now()); !ok {
			t.Error("refused, want a permit")
		}
		gone.Cancel()
		if s := l.Peek(nameOf(l, 0), r.Keys); s.InFlight != 1 || s.Waiting != 0 {
			t.Errorf("%d permits out and %d waiting, want 1 and 0", s.InFlight, s.Waiting)
		}
	})
}

// A reservation that a caller's time let through goes on by the clock all the same,
// and counts from then.
func TestWaitedForByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := mustNew(t, Limit{Name: "few", Quota: 1, Window: time.Second, Burst: 1})
		r := &Request{Uses: []Use{{Limit: "few", Cost: 1}}}
		l.TryAcquire(r)
		v, err := l.Reserve(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := v.PermitAt(start.Add(time.Hour)); !ok {
			t.Fatal("refused")
		}
		p, err := v.Wait(t.Context())
		if at := p.Granted().Sub(start); err != nil || at != time.Second+1 || time.Since(start) != at {
			t.Errorf("granted for %v after %v, error %v, want a second and a nanosecond", at, time.Since(start), err)
		}
	})
}

// A permit that is late moves in all its logs or in none: where one has no room, the
// others count it once, as before.
func TestWokenLateInTwoLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := mustNew(t,
			Limit{Name: "long", Quota: 2, Window: time.Second, Burst: 2},
			Limit{Name: "short", Quota: 1, Window: 50 * time.Millisecond, Burst: 1},
		)
		both := &Request{Uses: []Use{{Limit: "long", Cost: 1}, {Limit: "short", Cost: 1}}}
		short := &Request{Uses: []Use{{Limit: "short", Cost: 1}}}
		l.TryAcquire(short)
		v, err := l.Reserve(both)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(102 * time.Millisecond) // granted after 50 ms
		if _, ok := l.TryAcquire(short); !ok {
			t.Fatal("refused")
		}
		p, err := v.Wait(t.Context())
		if at := p.Granted().Sub(start); err != nil || at != 152*time.Millisecond+1 {
			t.Errorf("granted after %v, error %v", at, err)
		}
		if s := l.Peek("long", Keys{}); s.Level != 1 {
			t.Errorf("%v units of the long quota are left, want 1", s.Level)
		}
		p.Cancel()
		if s := l.Peek("long", Keys{}); s.Level != 2 {
			t.Errorf("%v units of the long quota are left once it is cancelled, want 2", s.Level)
		}
	})
}
