package pause

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// What is paused or resumed while the store does not answer is in force here, an error says so,
// and it is told when the store is back. Later changes of others stand.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(nil)
		a, b := join(t, store, true), join(t, store, true)
		begun(a, b)
		a.Pause(Pause{Account: "old"})
		a.Pause(Pause{Account: "both"})
		time.Sleep(time.Second)
		for name, fault := range map[string]func() storetest.Fault{
			"refuses": down,
			"hangs":   func() storetest.Fault { return storetest.Fault{Delay: time.Hour} },
			"loses replies": func() storetest.Fault {
				return storetest.Fault{After: errDown}
			},
		} {
			a.link.set(fault)
			began := time.Now()
			if err := a.Pause(Pause{Account: name, Reason: "late"}); !errors.Is(err, ErrUntold) {
				t.Errorf("%s: got %v, want that the store did not answer", name, err)
			}
			if took := time.Since(began); took > toldWithin+time.Millisecond {
				t.Errorf("%s: it took %v", name, took)
			}
			a.is(t, name, name, true)
			a.is(t, "what was known stays in force", "old", true)
			if err := a.Resume("old"); err == nil {
				t.Error("resumed without the store: no error")
			}
			a.is(t, "resumed", "old", false)
			time.Sleep(10 * time.Second)
			// The other process pauses again what this one has resumed, and resumes the other.
			b.Pause(Pause{Account: "both", Reason: "again"})
			if err := a.Pause(Pause{Account: "both", Reason: "later"}); err == nil {
				t.Error("no error")
			}
			time.Sleep(time.Second)
			b.Resume("both")
			time.Sleep(10 * time.Second)
			if name != "loses replies" {
				b.is(t, "not told yet", name, false)
			}
			a.link.set(nil)
			time.Sleep(2 * time.Second)
			for who, p := range map[string]*process{"a": a, "b": b} {
				p.is(t, who+": the store is back", name, true)
				p.is(t, who+": resumed in the outage", "old", false)
				p.is(t, who+": a later change of another", "both", false)
			}
			if err := b.Pause(Pause{Account: "old"}); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
		}
	})
}

// A store that was restarted without its data has it back within a second, also for those who start then,
// and what was resumed stays resumed.
func TestForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(nil)
		ps := []*process{join(t, store, false), join(t, store, false), join(t, store, false)}
		begun(ps...)
		for i := range 1200 {
			if err := ps[i%3].Pause(Pause{Account: fmt.Sprint(i), Until: time.Now().Add(100 * time.Hour), Reason: "why"}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		// One does not hear that some are resumed.
		ps[2].link.set(down)
		for i := range 600 {
			if err := ps[0].Resume(fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		ps[2].is(t, "cut off", "0", true)
		for round := range 3 {
			store.Forget()
			ps[2].link.set(nil)
			time.Sleep(time.Second)
			ps = append(ps, join(t, store, false))
			begun(ps[len(ps)-1])
			time.Sleep(time.Second)
			for i, p := range ps {
				n := 0
				for j := range 1200 {
					if _, paused := p.Of(fmt.Sprint(j)); paused {
						if n++; j < 600 {
							t.Fatalf("round %d, process %d: %d was resumed, and is paused", round, i, j)
						}
					}
				}
				if n != 600 || len(p.All()) != 600 {
					t.Errorf("round %d, process %d: %d and %d are paused, want 600", round, i, n, len(p.All()))
				}
			}
			time.Sleep(time.Minute)
		}
		if got := strings.Count(ps[1].notices(), "paused"); got != 1200 {
			t.Errorf("told of %d pauses, want 1200", got)
		}
		if got := strings.Count(ps[2].notices(), "resumed"); got != 600 {
			t.Errorf("told of %d resumptions, want 600", got)
		}
	})
}

// A process that was away for so long that the store has forgotten what was resumed meanwhile does not
// put the pause back.
func TestAwayForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var passed time.Duration // beside what passes by itself
		store := storetest.NewMemory(func() time.Time { return time.Now().Add(passed) })
		a, b := join(t, store, true), join(t, store, true)
		begun(a, b)
		a.Pause(Pause{Account: "ann", Reason: "why"})
		time.Sleep(time.Second)
		b.link.set(down)
		a.Resume("ann")
		time.Sleep(time.Second)
		synctest.Wait()
		passed = limiter.PauseKept + time.Hour
		b.fleet.contact = b.fleet.contact.Add(-passed)
		for i := range 300 {
			a.Pause(Pause{Account: "bob", Reason: fmt.Sprint(i)})
			time.Sleep(time.Second)
		}
		b.link.set(nil)
		time.Sleep(time.Second)
		for _, p := range []*process{a, b} {
			p.is(t, "resumed long ago", "ann", false)
			p.is(t, "paused", "bob", true)
		}
		if got := b.notices(); got != "paused  why, paused  299, resumed  why" {
			t.Errorf("told %s", got)
		}
	})
}
