package limiter

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// virtual is a clock and timers of a test's own.
type virtual struct {
	now    time.Time
	timers []*virtualTimer
}

type virtualTimer struct {
	v       *virtual
	at      time.Time
	f       func()
	pending bool
}

func (t *virtualTimer) Stop() bool {
	was := t.pending
	t.pending = false
	return was
}

func (t *virtualTimer) Reset(d time.Duration) bool {
	was := t.pending
	t.at, t.pending = t.v.now.Add(d), true
	return was
}

func (v *virtual) afterFunc(d time.Duration, f func()) Timer {
	t := &virtualTimer{v, v.now.Add(d), f, true}
	v.timers = append(v.timers, t)
	return t
}

// pass lets time pass, and runs the timers that are due, the earliest first.
func (v *virtual) pass(d time.Duration) {
	end := v.now.Add(d)
	for {
		var next *virtualTimer
		for _, t := range v.timers {
			if t.pending && !t.at.After(end) && (next == nil || t.at.Before(next.at)) {
				next = t
			}
		}
		if next == nil {
			v.now = end
			return
		}
		next.pending, v.now = false, next.at
		next.f()
	}
}

// What AcquireFunc tells, with a clock and timers of the caller's own and with real ones.
func TestAcquireFunc(t *testing.T) {
	limits := []Limit{
		{Name: "rate", Rate: 1, Burst: 1},
		{Name: "slots", Concurrency: 1},
	}
	rate, slots := []Use{{Limit: "rate", Cost: 1}}, []Use{{Limit: "slots"}}
	play := func(t *testing.T, l *Limiter, pass func(time.Duration), want []string) {
		var mu sync.Mutex // real timers run f in goroutines
		var got []string
		began := l.now()
		ask := func(name string, uses []Use, most time.Duration) (permit *Permit) {
			permit = new(Permit)
			l.AcquireFunc(&Request{Uses: uses, MaxWait: most}, func(p Permit, err error) {
				how := "passes"
				var wait *WaitError
				if errors.As(err, &wait) {
					how = "fails for " + wait.Limit
				}
				mu.Lock()
				defer mu.Unlock()
				*permit = p
				got = append(got, fmt.Sprintf("%s %s at %v", name, how, time.Duration(l.now()-began)))
			})
			return permit
		}
		ask("first", rate, 0).Release()
		ask("second", rate, 0)
		ask("third", rate, 0)
		ask("hasty", rate, time.Second)
		slot := ask("holder", slots, 0)
		ask("patient", slots, 0)
		ask("impatient", slots, 1500*time.Millisecond)
		pass(3 * time.Second)
		mu.Lock()
		holder := *slot
		mu.Unlock()
		holder.Release()
		pass(time.Second)
		mu.Lock()
		defer mu.Unlock()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	want := []string{
		"first passes at 0s", "hasty fails for rate at 0s", "holder passes at 0s", "second passes at 1s",
		"impatient fails for slots at 1.5s", "third passes at 2s", "patient passes at 3s",
	}
	t.Run("virtual", func(t *testing.T) {
		v := &virtual{now: time.Unix(1e9, 0)}
		l, err := New(limits, Options{Clock: func() time.Time { return v.now }, AfterFunc: v.afterFunc})
		if err != nil {
			t.Fatal(err)
		}
		play(t, l, v.pass, want)
	})
	t.Run("real", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l, err := New(limits, Options{})
			if err != nil {
				t.Fatal(err)
			}
			play(t, l, func(d time.Duration) { time.Sleep(d); synctest.Wait() }, want)
		})
	})
}

// A call that waits goes on by what a reload makes of its limit.
func TestAcquireFuncReload(t *testing.T) {
	v := &virtual{now: time.Unix(1e9, 0)}
	l, err := New([]Limit{{Name: "slots", Concurrency: 1}}, Options{Clock: func() time.Time { return v.now }, AfterFunc: v.afterFunc})
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for range 2 {
		l.AcquireFunc(&Request{Uses: []Use{{Limit: "slots"}}, MaxWait: time.Minute}, func(_ Permit, err error) {
			if err == nil {
				passed++
			}
		})
	}
	if err := l.Update(nil); err != nil {
		t.Fatal(err)
	}
	v.pass(0)
	if passed != 2 {
		t.Errorf("%d calls passed, want 2", passed)
	}
}
