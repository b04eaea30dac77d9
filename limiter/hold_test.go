package limiter

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestHold(t *testing.T) {
	start := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	ann, bob := Keys{Account: "ann"}, Keys{Account: "bob"}
	r := &Request{Keys: ann, Uses: []Use{{Limit: "user", Cost: 1}}}
	for _, c := range []struct {
		name  string
		do    func(l *Limiter)
		waits map[time.Duration]time.Duration // at a time: how long a call would wait
	}{
		{"closes the key, and leaves the bucket empty",
			func(l *Limiter) { l.HoldAt(start, nameOf(l, 0), ann, start.Add(time.Minute)) },
			map[time.Duration]time.Duration{0: 60*time.Second + 100*time.Millisecond, 59 * time.Second: 1100 * time.Millisecond, time.Minute: 100 * time.Millisecond, time.Minute + 100*time.Millisecond: 0}},
		{"is extended, never shortened",
			func(l *Limiter) {
				l.HoldAt(start, nameOf(l, 0), ann, start.Add(time.Minute))
				l.HoldAt(start, nameOf(l, 0), ann, start.Add(time.Second))
				l.HoldAt(start.Add(time.Second), nameOf(l, 0), ann, start.Add(2*time.Minute))
				l.HoldAt(start.Add(time.Second), nameOf(l, 0), ann, start)
			},
			map[time.Duration]time.Duration{time.Minute: time.Minute + 100*time.Millisecond, 2*time.Minute + 100*time.Millisecond: 0}},
		{"that lies in the past changes nothing",
			func(l *Limiter) {
				l.HoldAt(start, nameOf(l, 0), ann, start)
				l.HoldAt(start, nameOf(l, 0), ann, start.Add(-time.Hour))
			},
			map[time.Duration]time.Duration{0: 0}},
		{"can be lifted, as if it had never been",
			func(l *Limiter) {
				l.HoldAt(start, nameOf(l, 0), ann, start.Add(time.Minute))
				l.LiftAt(start.Add(time.Second), nameOf(l, 0), ann)
			},
			map[time.Duration]time.Duration{time.Second: 0}},
		{"that ended can't be lifted",
			func(l *Limiter) {
				l.HoldAt(start, nameOf(l, 0), ann, start.Add(time.Minute))
				l.LiftAt(start.Add(time.Minute), nameOf(l, 0), ann)
			},
			map[time.Duration]time.Duration{time.Minute: 100 * time.Millisecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := New([]Limit{{Name: "user", Key: byAccount, Rate: 10, Burst: 5}}, Options{Clock: func() time.Time { return start }})
			if err != nil {
				t.Fatal(err)
			}
			c.do(l)
			var at []time.Duration
			for d := range c.waits {
				at = append(at, d)
			}
			slices.Sort(at)
			for _, d := range at {
				p, wait, ok := l.TryAcquireAt(start.Add(d), r)
				if want := c.waits[d]; ok != (want == 0) || wait != want {
					t.Errorf("at %v a call would wait %v, want %v", d, wait, want)
				}
				p.Release()
			}
			if _, _, ok := l.TryAcquireAt(start, &Request{Keys: bob, Uses: r.Uses}); !ok {
				t.Error("a hold of ann closes the limit for bob")
			}
		})
	}
}

// TestHoldWakesInOrder: after a hold, those who waited go one after another at
// the limit's rate.
func TestHoldWakesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Limit{Name: "user", Key: byAccount, Rate: 100, Burst: 50})
		start := time.Now()
		l.Hold(nameOf(l, 0), Keys{}, start.Add(20*time.Minute))
		var mu sync.Mutex
		var order []int
		var at []time.Duration
		for i := range 100 {
			go func() {
				p, err := l.Acquire(context.Background(), &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order, at = append(order, i), append(at, time.Since(start))
				p.Release()
			}()
			synctest.Wait()
		}
		if got, want := l.Peek(nameOf(l, 0), Keys{}).Held, start.Add(20*time.Minute); !got.Equal(want) {
			t.Errorf("held until %v, want %v", got, want)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if !slices.IsSorted(order) || len(order) != 100 {
			t.Errorf("order %v", order)
		}
		for i, got := range at {
			if want := 20*time.Minute + time.Duration(i+1)*10*time.Millisecond; got-want > time.Microsecond || got < want {
				t.Fatalf("call %d passed at %v, want %v", i, got, want)
			}
		}
	})
}

// TestProbes: a limit without a rate opens with one call, then twice as many a round.
func TestProbes(t *testing.T) {
	for _, m := range []Limit{{Name: "gate", Key: byAccount}, {Name: "inflight", Key: byAccount, Concurrency: 16}} {
		t.Run(m.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := mustNew(t, m)
				l.Hold(nameOf(l, 0), Keys{}, time.Now().Add(time.Minute))
				time.Sleep(30 * time.Second)
				var most []int
				var running atomic.Int32
				for range 200 {
					go func() {
						p, err := l.Acquire(context.Background(), &Request{Uses: []Use{{Limit: nameOf(l, 0)}}})
						if err != nil {
							t.Error(err)
						}
						running.Add(1)
						time.Sleep(time.Second)
						running.Add(-1)
						p.Release()
					}()
				}
				time.Sleep(30*time.Second + time.Second/2)
				for range 5 {
					synctest.Wait()
					most = append(most, int(running.Load()))
					time.Sleep(time.Second)
				}
				want := []int{1, 2, 4, 8, 16}
				if !slices.Equal(most, want) {
					t.Errorf("%v calls ran in the first rounds after a hold, want %v", most, want)
				}
				check(t, l)
				time.Sleep(time.Minute)

				// A refusal closes it again, and the next opening starts over.
				l.Hold(nameOf(l, 0), Keys{}, time.Now().Add(time.Second))
				time.Sleep(time.Second)
				p, ok := l.TryAcquire(&Request{Uses: []Use{{Limit: nameOf(l, 0)}}})
				if _, more := l.TryAcquire(&Request{Uses: []Use{{Limit: nameOf(l, 0)}}}); !ok || more {
					t.Fatalf("the first probe: %v, a second one: %v", ok, more)
				}
				l.Hold(nameOf(l, 0), Keys{}, time.Now().Add(time.Second))
				p.Release()
				time.Sleep(time.Second)
				p, ok = l.TryAcquire(&Request{Uses: []Use{{Limit: nameOf(l, 0)}}})
				if _, more := l.TryAcquire(&Request{Uses: []Use{{Limit: nameOf(l, 0)}}}); !ok || more {
					t.Fatalf("after another hold the first probe: %v, a second one: %v", ok, more)
				}
				p.Release()

				// Nobody probes: after a minute it is open.
				time.Sleep(2 * time.Minute)
				for range 10 {
					if _, ok := l.TryAcquire(&Request{Uses: []Use{{Limit: nameOf(l, 0)}}}); !ok {
						t.Fatal("still not open")
					}
				}
			})
		})
	}
}

func TestRefused(t *testing.T) {
	start := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	l, err := New([]Limit{{Name: "user", Key: byAccount, Rate: 100, Burst: 100}}, Options{Clock: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	k := Keys{Account: "ann"}
	r := &Request{Keys: k, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}}
	at := func(d time.Duration) time.Time { return start.Add(d) }
	before, _, _ := l.TryAcquireAt(at(0), r)
	for i := range 3 {
		d := time.Duration(i+1) * time.Minute
		if n := l.RefuseAt(at(d), nameOf(l, 0), k, Refusal{Sent: at(d - time.Second)}); n != i+1 {
			t.Errorf("refusal %d counts as %d", i+1, n)
		}
	}
	if n := l.RefuseAt(at(3*time.Minute+time.Second), nameOf(l, 0), k, Refusal{Sent: at(2 * time.Minute)}); n != 3 {
		t.Errorf("a call that was on its way already counts as refusal %d, want 3", n)
	}
	before.Succeeded()
	if n := l.PeekAt(at(4*time.Minute), nameOf(l, 0), k).Refused; n != 3 {
		t.Errorf("after the success of an older call the count is %d, want 3", n)
	}
	before.Release()
	p, _, _ := l.TryAcquireAt(at(5*time.Minute), r)
	p.Succeeded()
	p.Release()
	if n := l.RefuseAt(at(6*time.Minute), nameOf(l, 0), k, Refusal{Sent: at(6 * time.Minute)}); n != 1 {
		t.Errorf("after a success a refusal counts as %d, want 1", n)
	}
	if n := l.RefuseAt(at(6*time.Minute+time.Duration(refusalLapse)), nameOf(l, 0), k, Refusal{Sent: at(6*time.Minute + time.Duration(refusalLapse))}); n != 1 {
		t.Errorf("long after the last, a refusal counts as %d, want 1", n)
	}
	if n := l.PeekAt(at(6*time.Minute), nameOf(l, 0), Keys{Account: "bob"}).Refused; n != 0 {
		t.Errorf("bob was refused %d times", n)
	}
}

// TestComplete: to complete a permit is to report the success and to release
// it, also where its keys are in several shards.
func TestComplete(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	for shards := 1; shards <= 1024; shards *= 32 {
		l, err := New([]Limit{
			{Name: "user", Key: byAccount, Rate: 100, Burst: 100},
			{Name: "inflight", Key: byAccount, Concurrency: 1},
			{Name: "project", Key: byApp, Rate: 100, Burst: 100},
			{Name: "host", Key: []Dimension{Host}, Concurrency: 1},
		}, Options{Shards: shards, Clock: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		k := Keys{Account: "ann", App: "sync", Host: "mail.example.com"}
		r := &Request{Keys: k, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}, {Limit: nameOf(l, 1)}, {Limit: nameOf(l, 2), Cost: 1}, {Limit: nameOf(l, 3)}}}
		old, ok := l.TryAcquire(r)
		if !ok {
			t.Fatal("the first call was refused")
		}
		now = now.Add(time.Second)
		for i := range 4 {
			l.Refuse(nameOf(l, i), k, Refusal{})
		}
		old.Complete()
		for i := range 4 {
			if s := l.Peek(nameOf(l, i), k); s.Refused != 1 || s.InFlight != 0 {
				t.Errorf("%d shards, limit %d: after an older call's success %d refusals and %d in use, want 1 and 0", shards, i, s.Refused, s.InFlight)
			}
		}
		p, ok := l.TryAcquire(r)
		if !ok {
			t.Fatal("the second call was refused")
		}
		old.Complete() // a second time
		if n := l.Peek(nameOf(l, 1), k).InFlight; n != 1 {
			t.Errorf("%d shards: an old permit that is completed again leaves %d in use, want 1", shards, n)
		}
		p.Complete()
		for i := range 4 {
			if s := l.Peek(nameOf(l, i), k); s.Refused != 0 || s.InFlight != 0 {
				t.Errorf("%d shards, limit %d: after a success %d refusals and %d in use, want none", shards, i, s.Refused, s.InFlight)
			}
		}
	}
}

// TestAdapt: × 0.7 at most once a second, + 0.5 % a second, floor 5 %, never
// above what is configured.
func TestAdapt(t *testing.T) {
	start := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	for _, m := range []Limit{
		{Name: "user", Key: byAccount, Rate: 200, Burst: 200, Adapt: true},
		{Name: "minute", Key: byAccount, Quota: 15000, Window: time.Minute, Adapt: true},
		{Name: "inflight", Key: byAccount, Concurrency: 1000, Adapt: true},
		{Name: "few", Key: byAccount, Quota: 1000, Window: time.Minute, Burst: 1000, Adapt: true},
	} {
		t.Run(m.Name, func(t *testing.T) {
			l, err := New([]Limit{m}, Options{Clock: func() time.Time { return start }})
			if err != nil {
				t.Fatal(err)
			}
			now := start
			refuse := func() { l.RefuseAt(now, nameOf(l, 0), Keys{}, Refusal{Sent: now}) }
			factor := func() float64 {
				s := l.PeekAt(now, nameOf(l, 0), Keys{})
				var got float64
				switch base := l.PeekAt(now, nameOf(l, 0), Keys{Account: "fresh"}); {
				case m.Concurrency > 0:
					got = float64(s.Concurrency) / 1000
				case m.Burst == 1000:
					got = float64(s.Burst) / 1000
				default:
					got = s.Rate / base.Rate
				}
				if d := got - s.Factor; d > 0.001 || d < -0.001 {
					t.Errorf("the factor is %g, in effect it is %g", s.Factor, got)
				}
				return s.Factor
			}
			expect := func(want float64) {
				t.Helper()
				if got := factor(); got < want-1e-9 || got > want+1e-9 {
					t.Fatalf("at %v the factor is %g, want %g", now.Sub(start), got, want)
				}
			}
			expect(1)
			refuse()
			expect(0.7)
			refuse()
			now = now.Add(999 * time.Millisecond)
			refuse()
			expect(0.7 + 0.999*0.005)
			now = now.Add(time.Millisecond)
			refuse()
			expect(0.705 * 0.7)
			now = now.Add(10 * time.Second)
			expect(0.705*0.7 + 0.05)
			now = now.Add(time.Hour)
			expect(1)
			for range 20 {
				now = now.Add(time.Second)
				refuse()
			}
			if got := factor(); got < 0.05 || got > 0.06 {
				t.Errorf("after 20 refusals the factor is %g, want about 0.05", got)
			}
			if _, _, ok := l.TryAcquireAt(now, &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}}); !ok && m.Burst == 0 {
				t.Error("nothing passes any more")
			}
		})
	}
}

// A bucket that refusals have lowered fills by the integral of its rising
// rate, whoever looks at it meanwhile, and a call that waits is let through at
// that time.
func TestAdaptFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Limit{Name: "user", Rate: 1, Burst: 150, Adapt: true})
		drain := &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 150}}}
		if _, ok := l.TryAcquire(drain); !ok {
			t.Fatal("refused")
		}
		for range 30 {
			l.Refuse(nameOf(l, 0), Keys{}, Refusal{})
			time.Sleep(time.Second)
		}
		s := l.Peek(nameOf(l, 0), Keys{})
		cut := 1 - s.Factor
		rising := cut / 0.005
		want := rising + (150 - s.Level - (s.Factor+1)/2*rising)
		start := time.Now()
		go func() {
			for range 1000 {
				time.Sleep(33 * time.Millisecond)
				l.Peek(nameOf(l, 0), Keys{})
			}
		}()
		if _, err := l.Acquire(context.Background(), drain); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start).Seconds(); got < want-1e-3 || got > want+1e-3 {
			t.Errorf("passed after %g s, want %g", got, want)
		}
	})
}

// provider allows rate units a second, with a second's burst, whatever its
// documentation says, and charges what it refuses.
type provider struct {
	rate  float64
	level float64
	at    time.Time
}

func (p *provider) call(now time.Time, cost float64) (ok bool, retryAfter time.Duration) {
	p.level = min(p.rate, p.level+p.rate*now.Sub(p.at).Seconds())
	p.at = now
	ok = p.level >= cost
	p.level = max(p.level-cost, -10*p.rate) // refused calls are charged too
	if !ok {
		return false, time.Duration((cost - p.level) / p.rate * 1e9)
	}
	return true, 0
}

// TestAdaptiveGoodput reproduces the simulation behind Limit.Adapt: a provider
// that really allows 100 units a second and charges what it refuses, a policy
// that says 250, 8 workers, 10 minutes. Per-request backoff gets next to
// nothing through, pausing the key a third to a half, adapting nearly all.
func TestAdaptiveGoodput(t *testing.T) {
	run := func(adapt, pause bool) (goodput, refused float64) {
		synctest.Test(t, func(t *testing.T) {
			l := mustNew(t, Limit{Name: "user", Rate: 250, Burst: 250, Adapt: adapt})
			server := &provider{rate: 100, level: 100, at: time.Now()}
			end := time.Now().Add(10 * time.Minute)
			var mu sync.Mutex
			var good, bad float64
			const cost = 5
			for i := range 8 {
				go func() {
					rnd := rand.New(rand.NewPCG(1, uint64(i)))
					for time.Now().Before(end) {
						p, err := l.Acquire(context.Background(), &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: cost}}})
						if err != nil {
							t.Error(err)
							return
						}
						sent := time.Now()
						time.Sleep(50 * time.Millisecond)
						mu.Lock()
						ok, after := server.call(time.Now(), cost)
						if ok {
							good++
						} else {
							bad++
						}
						mu.Unlock()
						if ok {
							p.Succeeded()
							p.Release()
							continue
						}
						p.Release()
						l.RefuseAt(time.Now(), nameOf(l, 0), Keys{}, Refusal{Sent: sent})
						if pause {
							l.Hold(nameOf(l, 0), Keys{}, time.Now().Add(max(after, time.Duration(rnd.Float64()*1e8))))
						} // else that message waits for its own backoff, and the worker takes the next
					}
				}()
			}
			time.Sleep(11 * time.Minute)
			synctest.Wait()
			goodput, refused = good*cost/(100*600), bad/(good+bad)
		})
		return
	}
	for _, c := range []struct {
		name         string
		adapt, pause bool
		from, to     float64 // goodput
	}{
		{"per request", false, false, 0, 0.05},
		{"pause the key", false, true, 0.2, 0.6},
		{"adapt", true, false, 0.8, 1.01},
		{"adapt and pause the key", true, true, 0.94, 1.01},
	} {
		t.Run(c.name, func(t *testing.T) {
			good, refused := run(c.adapt, c.pause)
			t.Logf("goodput %.1f %%, refused %.1f %%", 100*good, 100*refused)
			if good < c.from || good > c.to {
				t.Errorf("goodput %.1f %%, want %.0f to %.0f %%", 100*good, 100*c.from, 100*c.to)
			}
		})
	}
}
