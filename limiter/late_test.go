package limiter

import (
	"context"
	"errors"
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
			now := time.Unix(0, 0)
			l, err := New([]Limit{c.limit}, Options{Clock: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			r := &Request{Uses: []Use{{Cost: 1}}}
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
					r := &Request{Uses: []Use{{Limit: 0}}}
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
					if n := l.Peek(0, Keys{}).InFlight; n != 0 {
						t.Fatalf("%d permits out at the end", n)
					}
				}
			})
		})
	}
	t.Run("granted reservation", func(t *testing.T) {
		l := mustNew(t, Limit{Name: "inflight", Concurrency: 1})
		v, err := l.Reserve(&Request{Uses: []Use{{Limit: 0}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if p, err := v.Wait(ctx); p != (Permit{}) || !errors.Is(err, context.Canceled) || l.Peek(0, Keys{}).InFlight != 0 {
			t.Errorf("permit %v and error %v, want none and context.Canceled", p, err)
		}
	})
}
