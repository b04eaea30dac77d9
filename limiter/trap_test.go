package limiter

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

// The traps of golang.org/x/time/rate. Each case shows what its plain use
// does, so that it fails when the trap has gone, and that the limiter is not caught.

var trapStart = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

func one(t *testing.T, m Limit) (*Limiter, Request) {
	t.Helper()
	l, err := New([]Limit{m}, Options{Clock: func() time.Time { return trapStart }})
	if err != nil {
		t.Fatal(err)
	}
	return l, Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}}
}

// A stale now moves the bucket's clock back, and the time between is given
// out twice (golang/go#65508).
func TestTrapStaleNow(t *testing.T) {
	run := func(try func(now time.Time) bool) (granted int) {
		for ms := range 10_000 {
			now := trapStart.Add(time.Duration(ms) * time.Millisecond)
			for i := range 4 {
				at := now
				if i%2 == 1 {
					at = now.Add(-20 * time.Millisecond) // read before a lock that took long
				}
				if try(at) {
					granted++
				}
			}
		}
		return granted
	}
	const most = 10 + 10*100 // burst + 10 s of 100/s
	b := rate.NewLimiter(100, 10)
	if got := run(func(now time.Time) bool { return b.AllowN(now, 1) }); got < 2*most {
		t.Errorf("the plain bucket granted %d of %d: the trap has gone", got, most)
	}
	l, r := one(t, Limit{Name: "user", Rate: 100, Burst: 10})
	got := run(func(now time.Time) bool { _, _, ok := l.TryAcquireAt(now, &r); return ok })
	if got > most || got < most-1 {
		t.Errorf("granted %d, want %d", got, most)
	}
}

// Time that runs backwards: 200 grants in two seconds, at 1/s.
func TestTrapBackwards(t *testing.T) {
	run := func(try func(now time.Time) bool) (granted int) {
		for range 100 {
			for _, d := range []time.Duration{2 * time.Second, 0} {
				if try(trapStart.Add(d)) {
					granted++
				}
			}
		}
		return granted
	}
	b := rate.NewLimiter(1, 2)
	if got := run(func(now time.Time) bool { return b.AllowN(now, 1) }); got < 150 {
		t.Errorf("the plain bucket granted %d: the trap has gone", got)
	}
	l, r := one(t, Limit{Name: "user", Rate: 1, Burst: 2})
	if got := run(func(now time.Time) bool { _, _, ok := l.TryAcquireAt(now, &r); return ok }); got != 2 {
		t.Errorf("granted %d, want 2 (time stays at the newest seen)", got)
	}
}

// A cancelled reservation gives nothing back once its time has passed, even by
// 1 ns: taking several limits one after another burns quota when the last refuses.
func TestTrapCancelRefundsNothing(t *testing.T) {
	user, project := rate.NewLimiter(10, 10), rate.NewLimiter(1, 1)
	project.AllowN(trapStart, 1)
	for i := range 10 {
		now := trapStart.Add(time.Duration(i) * time.Nanosecond)
		v := user.ReserveN(now, 1)
		if !project.AllowN(now.Add(time.Nanosecond), 1) {
			v.CancelAt(now.Add(time.Nanosecond))
		}
	}
	if got := user.TokensAt(trapStart.Add(10)); got > 1 {
		t.Errorf("the plain bucket has %g left: the trap has gone", got)
	}
	l, err := New([]Limit{{Name: "user", Rate: 10, Burst: 10}, {Name: "project", Rate: 1, Burst: 1}}, Options{Clock: func() time.Time { return trapStart }})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := l.TryAcquireAt(trapStart, &Request{Uses: []Use{{Limit: nameOf(l, 1), Cost: 1}}}); !ok {
		t.Fatal("the full bucket refused")
	}
	for i := range 10 {
		now := trapStart.Add(time.Duration(i) * time.Nanosecond)
		if _, _, ok := l.TryAcquireAt(now, &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}, {Limit: nameOf(l, 1), Cost: 1}}}); ok {
			t.Fatal("the empty bucket granted")
		}
	}
	if got := l.PeekAt(trapStart.Add(10), nameOf(l, 0), Keys{}).Level; got != 10 {
		t.Errorf("refused calls have burnt quota: %g of 10 left", got)
	}
}

// Those who wait behind a call that is cancelled keep their delays.
func TestTrapCancelledHead(t *testing.T) {
	b := rate.NewLimiter(1, 5)
	b.AllowN(trapStart, 5)
	head := b.ReserveN(trapStart, 5)
	next := b.ReserveN(trapStart, 1)
	head.CancelAt(trapStart)
	if got := next.DelayFrom(trapStart); got != 6*time.Second {
		t.Errorf("plain: the next waits %v: the trap has gone", got)
	}
	synctest.Test(t, func(t *testing.T) {
		l, err := New([]Limit{{Name: "user", Rate: 1, Burst: 5}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		big, small := &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 5}}}, &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}}
		if _, ok := l.TryAcquire(big); !ok {
			t.Fatal("the full bucket refused")
		}
		start := time.Now()
		head, err := l.Reserve(big)
		if err != nil {
			t.Fatal(err)
		}
		next, err := l.Reserve(small)
		if err != nil {
			t.Fatal(err)
		}
		if got := next.Until().Sub(start); got != 6*time.Second {
			t.Errorf("behind the head the call expects to wait %v, want 6s", got)
		}
		head.Cancel()
		if _, err := next.Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got != time.Second {
			t.Errorf("after the head was cancelled the next waited %v, want 1s", got)
		}
	})
}

// A cost above the burst waits for ever where it is not checked, and the error
// of a deadline that is too short is no context.DeadlineExceeded.
func TestTrapErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second/2)
		defer cancel()
		b := rate.NewLimiter(1, 1)
		b.Allow()
		if err := b.WaitN(ctx, 1); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("plain: %v: the trap has gone", err)
		}
		l, err := New([]Limit{{Name: "user", Rate: 1, Burst: 1}, {Name: "batch", Rate: 10, Burst: 100}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel = context.WithTimeout(context.Background(), 1500*time.Millisecond)
		defer cancel()
		r := &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}}
		l.TryAcquire(r)
		l.Reserve(r)
		start := time.Now()
		_, err = l.Acquire(ctx, r)
		var wait *WaitError
		if !errors.As(err, &wait) || !errors.Is(err, context.DeadlineExceeded) || wait.Limit != "user" || wait.Until.Sub(start) != 2*time.Second {
			t.Errorf("got %v, want a *WaitError for 2s from now that is context.DeadlineExceeded", err)
		}
		_, err = l.Acquire(ctx, &Request{N: 26, Uses: []Use{{Limit: nameOf(l, 1), Cost: 4}}})
		var large *ErrTooLarge
		if !errors.As(err, &large) || large.MaxN != 25 || large.Limit != "batch" || large.Cost != 104 || large.Max != 100 {
			t.Errorf("got %v, want MaxN 25", err)
		}
		if time.Since(start) != 0 {
			t.Errorf("it took %v to say so", time.Since(start))
		}
	})
}

// SetLimit does not reach those who wait, and SetLimit(0) parks them for ever:
// a pause must be a hold, and new numbers must re-time the queue.
func TestTrapSetLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rate.NewLimiter(1, 1)
		b.Allow()
		start := time.Now()
		go func() { time.Sleep(50 * time.Millisecond); b.SetLimit(1000) }()
		b.Wait(context.Background())
		if got := time.Since(start); got != time.Second {
			t.Errorf("plain: waited %v: the trap has gone", got)
		}
		for b.Allow() {
		}
		b.SetLimit(0)
		if v := b.ReserveN(time.Now(), 1); !v.OK() || v.Delay() < 1e6*time.Hour {
			t.Errorf("plain: a limit of 0 delays by %v: the trap has gone", v.Delay())
		}

		l, err := New([]Limit{{Name: "user", Rate: 1, Burst: 1}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}}
		l.TryAcquire(r)
		start = time.Now()
		go func() {
			time.Sleep(50 * time.Millisecond)
			if err := l.Update([]Limit{{Name: "user", Rate: 1000, Burst: 1}}); err != nil {
				t.Error(err)
			}
		}()
		if _, err := l.Acquire(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		if got, want := time.Since(start), 50950*time.Microsecond; got != want {
			t.Errorf("waited %v, want %v: 50 ms at 1/s, the rest at 1000/s", got, want)
		}
		if _, err := New([]Limit{{Name: "closed", Rate: 0, Burst: 1}}, Options{}); err == nil {
			t.Error("a rate of 0 is no error")
		}
	})
}

// A bucket with the whole quota as its burst lets twice the quota through in
// some windows.
func TestTrapQuotaAsBurst(t *testing.T) {
	const quota, window = 10_000, 600 * time.Second
	run := func(try func(now time.Time, n int64) bool) (worst int64) {
		var at []time.Duration
		var units []int64
		first, sum := 0, int64(0)
		for s := 0; s < 3000; s++ {
			now := time.Duration(s) * time.Second
			if s < 600 {
				continue // idle, then as fast as possible
			}
			for try(trapStart.Add(now), 10) {
				at, units, sum = append(at, now), append(units, 10), sum+10
				for at[first] < now-window {
					sum -= units[first]
					first++
				}
				worst = max(worst, sum)
			}
		}
		return worst
	}
	b := rate.NewLimiter(rate.Limit(float64(quota)/window.Seconds()), quota)
	if got := run(func(now time.Time, n int64) bool { return b.AllowN(now, int(n)) }); got < quota*19/10 {
		t.Errorf("plain: %d in a window: the trap has gone", got)
	}
	for _, burst := range []int64{0, 1000, quota} {
		t.Run(fmt.Sprint("burst ", burst), func(t *testing.T) {
			l, _ := one(t, Limit{Name: "mailbox", Quota: quota, Window: window, Burst: burst})
			got := run(func(now time.Time, n int64) bool {
				_, _, ok := l.TryAcquireAt(now, &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: n}}})
				return ok
			})
			if got > quota || got < quota*96/100 {
				t.Errorf("%d units in the fullest window, want at most %d and about that", got, quota)
			}
		})
	}
}

// Polling starves the dear call: while others spend each unit as it comes, a
// big one never finds enough.
func TestTrapStarvation(t *testing.T) {
	b := rate.NewLimiter(1000, 100)
	b.AllowN(trapStart, 100)
	big := 0
	for ms := range 1000 {
		now := trapStart.Add(time.Duration(ms) * time.Millisecond)
		for b.AllowN(now, 1) {
		}
		if b.AllowN(now, 100) {
			big++
		}
	}
	if big != 0 {
		t.Errorf("plain: the big call got through %d times: the trap has gone", big)
	}
	synctest.Test(t, func(t *testing.T) {
		l, err := New([]Limit{{Name: "user", Rate: 1000, Burst: 100}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 950*time.Millisecond)
		defer cancel()
		var big, small atomic.Int64
		for i := range 20 {
			r, n := &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}}, &small
			if i == 0 {
				r, n = &Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 100}}}, &big
			}
			go func() {
				for {
					p, err := l.Acquire(ctx, r)
					if err != nil {
						return
					}
					n.Add(1)
					p.Release()
				}
			}()
		}
		<-ctx.Done()
		synctest.Wait()
		if big, small := big.Load(), small.Load(); big < 5 || small < 100 || big*100+small < 1020 {
			t.Errorf("big calls passed %d times, small ones %d times", big, small)
		}
	})
}
