package limiter

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A time that one caller gives, ahead of the clock or behind it, neither stops
// the time of others nor lets them have more.
func TestTimeOfOneCaller(t *testing.T) {
	limits := []Limit{
		{Name: "user", Key: byAccount, Rate: 10, Burst: 10},
		{Name: "few", Key: byAccount, Quota: 10, Window: time.Second, Burst: 10},
		{Name: "project", Key: byApp, Rate: 10, Burst: 10},
		{Name: "gate", Key: byAccount},
		{Name: "inflight", Key: byAccount, Concurrency: 4},
	}
	for _, c := range []struct {
		name string
		do   func(l *Limiter, at time.Time, r *Request)
	}{
		{"TryAcquireAt", func(l *Limiter, at time.Time, r *Request) {
			if p, _, ok := l.TryAcquireAt(at, r); ok {
				p.Release()
			}
		}},
		{"TryAcquireAt, cancelled", func(l *Limiter, at time.Time, r *Request) {
			if p, _, ok := l.TryAcquireAt(at, r); ok {
				p.Cancel()
			}
		}},
		{"ReserveAt", func(l *Limiter, at time.Time, r *Request) {
			if v, err := l.ReserveAt(at, r); err == nil {
				v.Cancel()
			}
		}},
		{"HoldAt", func(l *Limiter, at time.Time, r *Request) {
			l.HoldAt(at, nameOf(l, 0), r.Keys, at.Add(time.Minute))
			l.Lift(nameOf(l, 0), r.Keys)
		}},
		{"LiftAt", func(l *Limiter, at time.Time, r *Request) { l.LiftAt(at, nameOf(l, 0), r.Keys) }},
		{"RefusedAt", func(l *Limiter, at time.Time, r *Request) { l.RefuseAt(at, nameOf(l, 0), r.Keys, Refusal{Sent: at}) }},
		{"PeekAt", func(l *Limiter, at time.Time, r *Request) { l.PeekAt(at, nameOf(l, 0), r.Keys) }},
		{"SweepAt", func(l *Limiter, at time.Time, r *Request) { l.SweepAt(at) }},
	} {
		for _, off := range []time.Duration{time.Hour, 10 * time.Second, 10 * time.Millisecond, -time.Hour} {
			for _, who := range []string{"ann", "bob"} {
				for use := range limits {
					t.Run(fmt.Sprint(c.name, " ", off, " ", who, " ", limits[use].Name), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							l, err := New(limits, Options{Shards: 1})
							if err != nil {
								t.Fatal(err)
							}
							uses := []Use{{Limit: nameOf(l, use), Cost: 1}}
							ann := &Request{Keys: Keys{Account: "ann", App: "sync"}, Uses: uses}
							got, want := 0, 30 // of 10/s in 2 s, from a full burst of 10
							take := func() {
								if p, ok := l.TryAcquire(ann); ok {
									got++
									p.Release()
								}
							}
							for range 10 {
								take()
							}
							c.do(l, time.Now().Add(off), &Request{Keys: Keys{Account: who, App: "sync"}, Uses: uses})
							for range 100 {
								time.Sleep(20 * time.Millisecond)
								take()
							}
							if l.limitForm(use) == gateKind || l.limitForm(use) == concurrencyKind {
								want = 110
							}
							if c.name == "SweepAt" && off == time.Hour && l.limitForm(use) != logKind {
								want += 10 // it forgets what is idle by then, as it is told to, but never a log's grants
							}
							// The log of the window keeps what a call ahead has used for a window more.
							if least := 18; got < least || got > want {
								t.Errorf("%d passed, want %d to %d", got, least, want)
							}
						})
					})
				}
			}
		}
	}
	t.Run("waiting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l, err := New(limits, Options{Shards: 1})
			if err != nil {
				t.Fatal(err)
			}
			r := &Request{Keys: Keys{Account: "ann", App: "sync"}, Uses: []Use{{Limit: nameOf(l, 0), Cost: 10}}}
			l.TryAcquire(r)
			start := time.Now()
			go l.TryAcquireAt(start.Add(time.Hour), r)
			p, err := l.Acquire(context.Background(), r)
			if took := time.Since(start); err != nil || took > 3*time.Second {
				t.Errorf("%v, %v after %v, want a permit after 1 or 2 s", p, err, took)
			}
		})
	})
}

func (l *Limiter) limitForm(i int) kind { return l.config.Load().limits[i].kind }

// A look ahead changes nothing.
func TestPeekAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t,
			Limit{Name: "user", Key: byAccount, Rate: 10, Burst: 100},
			Limit{Name: "few", Key: byAccount, Quota: 10, Window: time.Minute, Burst: 10},
			Limit{Name: "gate", Key: byAccount},
		)
		k := Keys{Account: "ann"}
		l.TryAcquire(&Request{Keys: k, Uses: []Use{{Limit: nameOf(l, 0), Cost: 100}, {Limit: nameOf(l, 1), Cost: 10}}})
		start := time.Now()
		for i := range 3 {
			l.Hold(nameOf(l, i), k, start.Add(time.Minute))
		}
		for i, level := range []float64{90 * 10, 10, 0} {
			s := l.PeekAt(start.Add(150*time.Second), nameOf(l, i), k)
			if !s.Held.IsZero() || s.Level != min(level, 100) && s.Level != level {
				t.Errorf("limit %d in 150 s: %+v, want it open, %v units", i, s, level)
			}
			if s := l.Peek(nameOf(l, i), k); s.Held != start.Add(time.Minute) || s.Level != 0 {
				t.Errorf("limit %d now: %+v, want it held, empty", i, s)
			}
		}
	})
}
