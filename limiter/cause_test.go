package limiter

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever waits for a limit is told which one it is and what has closed it,
// however the wait ends.
func TestCause(t *testing.T) {
	hold := func(l *Limiter, d time.Duration) Cause {
		cause := Cause{Rule: "throttled", Code: "tooMany", Status: 429, Operation: "items.get", At: time.Now()}
		l.Hold(nameOf(l, 1), Keys{Account: "a"}, time.Now().Add(d), cause)
		return cause
	}
	for _, tt := range []struct {
		name  string
		wait  time.Duration // MaxWait
		ends  time.Duration // of the context; 0 = it does not
		later bool          // the hold comes after the call
		err   error
		text  string // in the error's text; "" = no error
	}{
		{name: "too long a wait", wait: time.Second, text: "exceeds the longest wait allowed"},
		{name: "too long for the deadline", ends: time.Second, err: context.DeadlineExceeded, text: "exceeds the context's deadline"},
		{name: "a hold that comes later is too long a wait", wait: 5 * time.Second, later: true, text: "exceeds the longest wait allowed"},
		{name: "a hold that comes later is too long for the deadline", ends: 5 * time.Second, later: true, err: context.DeadlineExceeded, text: "exceeds the context's deadline"},
		{name: "it passes"},
		{name: "it passes, held later", later: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := mustNew(t, Limit{Name: "inflight", Key: []Dimension{Account}, Concurrency: 1}, Limit{Name: "user", Key: []Dimension{Account}, Rate: 10, Burst: 10})
				k := Keys{Account: "a"}
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if tt.ends > 0 {
					ctx, cancel = context.WithTimeout(ctx, tt.ends)
				}
				defer cancel()
				var want Cause
				if tt.later {
					first, ok := l.TryAcquire(&Request{Keys: k, Uses: []Use{{Limit: nameOf(l, 0)}}})
					if !ok {
						t.Fatal("no permit")
					}
					time.AfterFunc(time.Second, func() { want = hold(l, 20*time.Second); first.Release() })
				} else {
					want = hold(l, 20*time.Second)
				}
				p, err := l.Acquire(ctx, &Request{Keys: k, Uses: []Use{{Limit: nameOf(l, 0)}, {Limit: nameOf(l, 1), Cost: 1}}, MaxWait: tt.wait})
				if tt.text == "" {
					limit, cause := p.Waited()
					if err != nil || limit != "user" || cause != want {
						t.Errorf("got %v, waited for %q, %+v; want user, %+v", err, limit, cause, want)
					}
					p.Release()
					return
				}
				var wait *WaitError
				if !errors.As(err, &wait) || wait.Limit != "user" || wait.Cause != want || wait.ended || !errors.Is(err, tt.err) && tt.err != nil {
					t.Fatalf("got %#v, want limit user, %+v, %v", err, want, tt.err)
				}
				for _, part := range []string{tt.text, `limit "user" closed by rule "throttled" (status 429, code "tooMany", operation items.get, at 2000-01-01T00:00:0`} {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%s\nwant %q in it", err, part)
					}
				}
			})
		})
	}
}

// A context that ends while a call waits is not one that ends too soon.
func TestWaitEnded(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(context.Context) (context.Context, context.CancelFunc)
		want error
	}{
		{"cancelled", context.WithCancel, context.Canceled},
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := mustNew(t, Limit{Name: "inflight", Key: []Dimension{Account}, Concurrency: 1})
				first, _ := l.TryAcquire(&Request{Keys: Keys{Account: "a"}, Uses: []Use{{Limit: nameOf(l, 0)}}})
				defer first.Release()
				ctx, cancel := tt.end(t.Context())
				defer cancel()
				if tt.want == context.Canceled {
					time.AfterFunc(time.Second, cancel)
				}
				_, err := l.Acquire(ctx, &Request{Keys: Keys{Account: "a"}, Uses: []Use{{Limit: nameOf(l, 0)}}})
				var wait *WaitError
				if !errors.As(err, &wait) || wait.Limit != "inflight" || !wait.ended || !errors.Is(err, tt.want) ||
					!strings.Contains(err.Error(), "gave up waiting") {
					t.Errorf("got %#v: %v", err, err)
				}
			})
		})
	}
}

// Peek tells the cause for as long as the limit is closed by it.
func TestPeekCause(t *testing.T) {
	l := mustNew(t, Limit{Name: "gate", Key: []Dimension{Account}}, Limit{Name: "user", Key: []Dimension{Account}, Rate: 1, Burst: 1})
	k, start := Keys{Account: "a"}, time.Now()
	cause := Cause{Rule: "throttled", Status: 429, At: start}
	for i := range 2 {
		now := start.Add(time.Duration(i) * time.Minute)
		l.HoldAt(now, nameOf(l, i), k, now.Add(10*time.Second), cause)
		l.HoldAt(now, nameOf(l, i), k, now.Add(5*time.Second), Cause{Rule: "shorter"}) // changes nothing
		if s := l.PeekAt(now.Add(9*time.Second), nameOf(l, i), k); s.Cause != cause {
			t.Errorf("%s held: %+v", s.Limit, s)
		}
		if s := l.PeekAt(now.Add(11*time.Second), nameOf(l, i), k); (s.Cause == cause) != s.Probing || s.Probing != (i == 0) {
			t.Errorf("%s after it: %+v", s.Limit, s)
		}
		l.HoldAt(now.Add(12*time.Second), nameOf(l, i), k, now.Add(20*time.Second)) // by hand
		if s := l.PeekAt(now.Add(13*time.Second), nameOf(l, i), k); s.Held.IsZero() || s.Cause != (Cause{}) {
			t.Errorf("%s held by hand: %+v", s.Limit, s)
		}
		l.HoldAt(now.Add(13*time.Second), nameOf(l, i), k, now.Add(30*time.Second), cause)
		l.LiftAt(now.Add(14*time.Second), nameOf(l, i), k)
		if s := l.PeekAt(now.Add(14*time.Second), nameOf(l, i), k); s.Cause != (Cause{}) {
			t.Errorf("%s lifted: %+v", s.Limit, s)
		}
	}
}

// So is whoever waits because of what a reply told.
func TestCauseLearned(t *testing.T) {
	why := Cause{Rule: "learn", Status: 200, Operation: "items.get", At: time.Unix(1, 0)}
	for _, kind := range learningKinds {
		for _, tt := range []struct {
			name  string
			wait  time.Duration // MaxWait
			ends  time.Duration // of the context; 0 = it does not
			later bool          // the reply comes after the call
			text  string        // in the error's text; "" = it passes
		}{
			{name: "too long a wait", wait: time.Second, text: `limit "core" closed by rule "learn" (status 200, operation items.get, at `},
			{name: "too long for the deadline", ends: time.Second, text: "exceeds the context's deadline"},
			{name: "it passes"},
		} {
			t.Run(kind.name+"/"+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLearning(t, kind.limit)
					p := l.begin()
					if !p.Learn("core", Learned{Remaining: 0, Reset: in(30 * time.Second), Cause: why}) {
						t.Fatal("the reply was not believed")
					}
					p.Release()
					if got := l.Peek("core", l.keys).Cause; got != why {
						t.Errorf("Peek: got %+v, want %+v", got, why)
					}
					ctx, cancel := t.Context(), context.CancelFunc(func() {})
					if tt.ends > 0 {
						ctx, cancel = context.WithTimeout(ctx, tt.ends)
					}
					defer cancel()
					r := l.request()
					r.MaxWait = tt.wait
					p, err := l.Acquire(ctx, r)
					if tt.text == "" {
						if limit, cause := p.Waited(); err != nil || limit != "core" || cause != why {
							t.Errorf("got %v, waited for %q, %+v, want core, %+v", err, limit, cause, why)
						}
						p.Release()
						if got := l.Peek("core", l.keys).Cause; got != (Cause{}) {
							t.Errorf("Peek after the reset: got %+v, want none", got)
						}
						return
					}
					w, ok := errors.AsType[*WaitError](err)
					if !ok || w.Cause != why || !strings.Contains(err.Error(), tt.text) {
						t.Errorf("got %v, want %q, because of %+v", err, tt.text, why)
					}
				})
			})
		}
	}
}

// Calls that wait already, and calls whose context ends, are told too; a call that waits for
// the limit's own count is not.
func TestCauseLearnedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := Cause{Rule: "learn", Status: 403, At: time.Unix(1, 0)}
		l, err := New([]Limit{
			{Name: "core", Key: []Dimension{Account}, Quota: 60, Window: time.Minute, Burst: 60, Learn: true},
			{Name: "inflight", Key: []Dimension{Account}, Concurrency: 1},
		}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		keys := Keys{Account: "ann"}
		r := func() *Request {
			return &Request{Keys: keys, Uses: []Use{{Limit: "core", Cost: 2}, {Limit: "inflight"}}}
		}
		first, ok := l.TryAcquire(r())
		if !ok {
			t.Fatal("the first call does not pass")
		}
		ends := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, err := l.Acquire(ctx, r()); ends <- err }()
		synctest.Wait()
		first.Learn("core", Learned{Remaining: 1, Reset: in(30 * time.Second), Cause: why})
		first.Release()
		synctest.Wait()
		cancel()
		if w, ok := errors.AsType[*WaitError](<-ends); !ok || w.Limit != "core" || w.Cause != why {
			t.Errorf("got %+v, want core, because of %+v", w, why)
		}
		time.Sleep(31 * time.Second)
		for range 50 { // its own count
			if p, ok := l.TryAcquire(r()); ok {
				p.Release()
			}
		}
		patient := r()
		patient.MaxWait = time.Second
		_, err = l.Acquire(t.Context(), patient)
		if w, ok := errors.AsType[*WaitError](err); !ok || w.Limit != "core" || w.Cause != (Cause{}) {
			t.Errorf("got %v, want that core is used up, because of nothing", err)
		}
	})
}
