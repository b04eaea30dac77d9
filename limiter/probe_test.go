package limiter

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// probing are limits without a rate, which open with probes after a hold.
var probing = []Limit{
	{Name: "gate", Key: byAccount},
	{Name: "inflight", Key: byAccount, Concurrency: 16},
	{Name: "few", Key: byAccount, Quota: 100, Window: 24 * time.Hour, Burst: 100},
}

// passing takes as many permits as there are at once.
func passing(l *Limiter, r *Request) (ps []Permit) {
	for len(ps) < 100 {
		p, ok := l.TryAcquire(r)
		if !ok {
			break
		}
		ps = append(ps, p)
	}
	return ps
}

// TestProbeEnds: how a probe ends says how many calls may be on their way
// after it, while others of the request's limits are in other shards.
func TestProbeEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(p Permit)
		want int
	}{
		{"still out", func(Permit) {}, 0},
		{"succeeded, still out", Permit.Succeeded, 2},
		{"completed", Permit.Complete, 2},
		{"released", Permit.Release, 2},
		{"succeeded and released", func(p Permit) { p.Succeeded(); p.Release() }, 2},
		{"succeeded twice", func(p Permit) { p.Succeeded(); p.Succeeded() }, 2},
		{"succeeded and completed", func(p Permit) { p.Succeeded(); p.Complete() }, 2},
		{"succeeded and cancelled", func(p Permit) { p.Succeeded(); p.Cancel() }, 2},
		{"cancelled", Permit.Cancel, 1},
		{"cancelled and released", func(p Permit) { p.Cancel(); p.Release() }, 1},
		{"refunded, still out", Permit.Refund, 1},
		{"refunded and released", func(p Permit) { p.Refund(); p.Release() }, 1},
		{"refunded and succeeded", func(p Permit) { p.Refund(); p.Succeeded() }, 1},
		{"refunded and cancelled", func(p Permit) { p.Refund(); p.Cancel() }, 1},
	} {
		for _, m := range probing {
			for shards := 1; shards <= 1024; shards *= 32 {
				t.Run(fmt.Sprint(c.name, "/", m.Name, "/", shards, " shards"), func(t *testing.T) {
					now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
					l, err := New([]Limit{
						{Name: "project", Key: byApp, Rate: 1000, Burst: 1000},
						m,
						{Name: "host", Key: []Dimension{Host}, Concurrency: 1000},
					}, Options{Shards: shards, Clock: func() time.Time { return now }})
					if err != nil {
						t.Fatal(err)
					}
					k := Keys{Account: "ann", App: "sync", Host: "mail.example.com"}
					r := &Request{Keys: k, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}, {Limit: nameOf(l, 1), Cost: 1}, {Limit: nameOf(l, 2)}}}
					l.Hold(nameOf(l, 1), k, now.Add(10*time.Second))
					now = now.Add(10 * time.Second)
					ps := passing(l, r)
					if len(ps) != 1 {
						t.Fatalf("%d probes right after the hold, want 1", len(ps))
					}
					now = now.Add(time.Second)
					c.end(ps[0])
					check(t, l)
					got := passing(l, r)
					if len(got) != c.want {
						t.Errorf("then %d calls pass at once, want %d", len(got), c.want)
					}
					check(t, l)

					// A limit of concurrency has its permit back at the release, not before.
					ps[0].Release()
					if s := l.Peek(nameOf(l, 2), k); s.InFlight != int64(len(got)) {
						t.Errorf("%d permits out, want %d", s.InFlight, len(got))
					}
				})
			}
		}
	}
}

// TestProbeKeepsItsPermit: a probe that has succeeded holds its permit of a
// limit of concurrency until it is released.
func TestProbeKeepsItsPermit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Limit{Name: "inflight", Key: byAccount, Concurrency: 2})
		r := &Request{Uses: []Use{{Limit: nameOf(l, 0)}}}
		l.Hold(nameOf(l, 0), Keys{}, time.Now().Add(time.Second))
		time.Sleep(time.Second)
		p, ok := l.TryAcquire(r)
		if !ok {
			t.Fatal("no probe")
		}
		p.Succeeded()
		if n := len(passing(l, r)); n != 1 {
			t.Errorf("%d calls pass beside the first of two, want 1", n)
		}
		p.Release()
		if n := len(passing(l, r)); n != 1 {
			t.Errorf("after its release %d more calls pass, want 1", n)
		}
	})
}

// TestProbeLetsOthersGo: those who wait for a probe go on when it has been
// answered, however long its response is read, and when it was not made.
func TestProbeLetsOthersGo(t *testing.T) {
	for _, m := range probing {
		t.Run(m.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := mustNew(t, m)
				r := &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}}
				l.Hold(nameOf(l, 0), Keys{}, time.Now().Add(time.Minute))
				time.Sleep(time.Minute)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				start := time.Now()
				passed := make(chan time.Duration, 3)
				probe, ok := l.TryAcquire(r)
				if !ok {
					t.Fatal("no probe")
				}
				for range 3 {
					go func() {
						if _, err := l.Acquire(ctx, r); err == nil { // out for ever
							passed <- time.Since(start)
						}
					}()
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if n := len(passed); n != 0 {
					t.Fatalf("%d calls passed beside the first probe", n)
				}
				probe.Refund() // it was not made: one of them probes instead
				time.Sleep(time.Second)
				synctest.Wait()
				if n := len(passed); n != 1 || <-passed != time.Second {
					t.Fatalf("%d calls passed after a refund, want one at once", n)
				}
				check(t, l)
				probe.Cancel()
				if s := l.Peek(nameOf(l, 0), Keys{}); s.Waiting != 2 || !s.Probing {
					t.Errorf("two calls should wait for the probe that is out: %+v", s)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				l := mustNew(t, m)
				r := &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}}
				l.Hold(nameOf(l, 0), Keys{}, time.Now().Add(time.Minute))
				time.Sleep(time.Minute)
				start := time.Now()
				probe, ok := l.TryAcquire(r)
				if !ok {
					t.Fatal("no probe")
				}
				passed := make(chan time.Duration, 2)
				for range 2 {
					go func() {
						p, err := l.Acquire(context.Background(), r)
						if err != nil {
							t.Error(err)
						}
						passed <- time.Since(start)
						p.Complete()
					}()
				}
				time.Sleep(time.Second)
				probe.Succeeded() // a long download begins
				for range 2 {
					if at := <-passed; at != time.Second {
						t.Errorf("beside a download, a call passed after %v, want 1s", at)
					}
				}
				time.Sleep(time.Hour)
				if n := len(passing(l, r)); n < 2 {
					t.Errorf("%d calls pass at once in the middle of the download", n)
				}
				probe.Release()
				check(t, l)
			})
		})
	}
}

// TestUnusedProbesProveNothing: however many calls give up their permits before
// they are sent, the next round has no more probes by that.
func TestUnusedProbesProveNothing(t *testing.T) {
	for _, m := range probing {
		t.Run(m.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := mustNew(t, m)
				r := &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}}
				l.Hold(nameOf(l, 0), Keys{}, time.Now().Add(10*time.Second))
				time.Sleep(10 * time.Second)
				for range 20 {
					p, ok := l.TryAcquire(r)
					if !ok {
						t.Fatal("no probe")
					}
					p.Cancel()
				}
				for range 20 {
					v, err := l.Reserve(r)
					if err != nil {
						t.Fatal(err)
					}
					v.Cancel()
				}
				ctx, cancel := context.WithCancel(context.Background())
				probe, _ := l.TryAcquire(r)
				for range 20 { // granted to those who want it no more
					go func() { l.Acquire(ctx, r) }()
				}
				synctest.Wait()
				cancel()
				probe.Cancel()
				synctest.Wait()
				if n := len(passing(l, r)); n != 1 {
					t.Errorf("%d calls at once, though none was sent since the hold; want 1", n)
				}
				check(t, l)
			})
		})
	}
}

// TestOldProbe: a probe from before the latest hold neither fills the next
// round nor opens it, whoever has looked at the key meanwhile.
func TestOldProbe(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	k := Keys{Account: "ann"}
	type step struct {
		name string
		do   func(l *Limiter, p Permit)
	}
	for _, m := range probing {
		r := &Request{Keys: k, Uses: []Use{{Limit: m.Name, Cost: 1}}}
		for _, look := range []step{
			{"nobody looks", func(*Limiter, Permit) {}},
			{"Peek", func(l *Limiter, _ Permit) { l.Peek(nameOf(l, 0), k) }},
			{"All", func(l *Limiter, _ Permit) {
				for range l.All() {
				}
			}},
			{"Sweep", func(l *Limiter, _ Permit) { l.Sweep() }},
		} {
			for _, end := range []step{
				{"Release", func(_ *Limiter, p Permit) { p.Release() }},
				{"Succeeded", func(_ *Limiter, p Permit) { p.Succeeded() }},
				{"Complete", func(_ *Limiter, p Permit) { p.Complete() }},
				{"Cancel", func(_ *Limiter, p Permit) { p.Cancel() }},
				{"Refund", func(_ *Limiter, p Permit) { p.Refund() }},
			} {
				for _, after := range []time.Duration{0, 5 * time.Second, 10 * time.Second, 15 * time.Second} {
					t.Run(fmt.Sprint(m.Name, "/", look.name, "/", end.name, " after ", after), func(t *testing.T) {
						l, err := New([]Limit{m}, Options{Idle: time.Second, Clock: func() time.Time { return now }})
						if err != nil {
							t.Fatal(err)
						}
						l.Hold(nameOf(l, 0), k, now.Add(10*time.Second))
						now = now.Add(10 * time.Second)
						old, ok := l.TryAcquire(r)
						if !ok {
							t.Fatal("no probe")
						}
						now = now.Add(time.Second)
						l.Hold(nameOf(l, 0), k, now.Add(10*time.Second))
						now = now.Add(after)
						look.do(l, old)
						end.do(l, old)
						look.do(l, old)
						now = now.Add(15*time.Second - after)
						if n := len(passing(l, r)); n != 1 {
							t.Errorf("after the second hold %d calls pass at once, want 1", n)
						}
						check(t, l)

						// The probe of the second round is still out.
						l.Hold(nameOf(l, 0), k, now.Add(10*time.Second))
						now = now.Add(15 * time.Second)
						look.do(l, old)
						if n := len(passing(l, r)); n != 1 {
							t.Errorf("after the third hold %d calls pass at once, want 1", n)
						}
						check(t, l)
					})
				}
			}
		}
	}
}

// A probe may outlive all that is known of its key.
func TestProbeOutlivesItsKey(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	k := Keys{Account: "ann"}
	r := &Request{Keys: k, Uses: []Use{{Limit: "gate"}}}
	l, err := New([]Limit{{Name: "gate", Key: byAccount}}, Options{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	hold := func() {
		l.Hold(nameOf(l, 0), k, now.Add(10*time.Second))
		now = now.Add(10 * time.Second)
	}
	hold()
	old, ok := l.TryAcquire(r)
	if !ok {
		t.Fatal("no probe")
	}
	l.Lift(nameOf(l, 0), k)
	now = now.Add(time.Hour)
	if l.Sweep(); l.Len() != 0 {
		t.Fatalf("%d keys are left", l.Len())
	}
	hold()
	probes := passing(l, r)
	old.Complete()
	if more := passing(l, r); len(probes) != 1 || len(more) != 0 {
		t.Errorf("%d probes, and %d after the end of one of an hour ago; want 1 and 0", len(probes), len(more))
	}
	check(t, l)
}
