package pause

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter/storetest"
)

// A pause, and its end, is in force in all processes within a second, also where the store's
// events are lost, and is told once in each.
func TestWithinASecond(t *testing.T) {
	for _, events := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			store := storetest.NewMemory(nil)
			a, b, c := join(t, store, events), join(t, store, events), join(t, store, events)
			begun(a, b, c)
			if a.Any() || b.Any() {
				t.Error("nothing is paused, and calls ask for it")
			}
			within := time.Second
			if events {
				within = 2 * heardEvery
			}
			for range 20 {
				time.Sleep(time.Duration(rand.Int64N(int64(3 * time.Second))))
				if err := a.Pause(Pause{Account: "ann", Since: time.Now(), Reason: "why"}); err != nil {
					t.Fatal(err)
				}
				a.is(t, "who pauses", "ann", true)
				time.Sleep(within)
				b.is(t, "another", "ann", true)
				b.is(t, "of another account", "bob", false)
				if p, _ := b.Of("ann"); p.Account != "ann" || p.Reason != "why" || time.Since(p.Since) > within+time.Millisecond || !p.Until.IsZero() {
					t.Errorf("got %+v, want all that is known", p)
				}
				time.Sleep(time.Duration(rand.Int64N(int64(time.Second))))
				if err := b.Resume("ann"); err != nil {
					t.Fatal(err)
				}
				b.is(t, "who resumes", "ann", false)
				time.Sleep(within)
				a.is(t, "another, resumed", "ann", false)
				if a.Any() || b.Any() {
					t.Error("nothing is paused any more, and calls ask for it")
				}
			}
			for what, p := range map[string]*process{"a": a, "b": b} {
				want := strings.Repeat(", paused ann why, resumed ann why", 20)[2:]
				if what == "b" {
					want = strings.Replace(want, "ann", "", 1) // until it has seen a call of it
				}
				if got := p.notices(); got != want {
					t.Errorf("%s, events %v: told %s\nwant %s", what, events, got, want)
				}
			}
			if got, want := c.notices(), strings.Repeat(", paused  why, resumed  why", 20)[2:]; got != want {
				t.Errorf("who has seen no call of the account: told %s\nwant %s", got, want)
			}
			if most := int(time.Since(start) / Every * 4); c.link.requests > most {
				t.Errorf("%d requests", c.link.requests)
			}
		})
	}
}

// A process knows an account that another has paused by its digest, until it sees a call of it.
func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(nil)
		a, b := join(t, store, true), join(t, store, true)
		begun(a, b)
		a.Pause(Pause{Account: "ann", Until: time.Now().Add(time.Hour), Reason: "why"})
		time.Sleep(time.Second)
		if all := b.All(); len(all) != 1 || all[0].Account != "" || all[0].Reason != "why" || time.Until(all[0].Until).Round(time.Second) != time.Hour-time.Second {
			t.Errorf("before a call: %+v", all)
		}
		b.is(t, "no account", "", false)
		b.is(t, "a call", "ann", true)
		if all := b.All(); len(all) != 1 || all[0].Account != "ann" {
			t.Errorf("after a call: %+v", all)
		}
		// It ends by itself, of which nobody is told.
		time.Sleep(time.Hour)
		b.is(t, "after its end", "ann", false)
		a.is(t, "after its end", "ann", false)
		if a.Any() || b.Any() || len(a.All())+len(b.All()) > 0 {
			t.Error("it is over, and something is still known of it")
		}
		if got := b.notices(); got != "paused  why" {
			t.Errorf("told %s", got)
		}
	})
}

// A process that starts later knows of pauses before its first call goes on.
func TestLateJoiner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(nil)
		a := join(t, store, true)
		a.Pause(Pause{Account: "ann"})
		b := join(t, store, true)
		if !b.Any() {
			t.Error("a call would not even ask")
		}
		b.Await(context.Background())
		b.is(t, "the first call", "ann", true)

		// The store does not answer: the first calls wait a little, and it is known within a second
		// after that.
		c, d := join(t, store, true), join(t, store, true)
		c.link.set(down)
		d.link.set(func() storetest.Fault { return storetest.Fault{Delay: time.Hour} })
		for _, p := range []*process{c, d} {
			began := time.Now()
			p.Await(context.Background())
			p.is(t, "the store is away", "ann", false)
			if took := time.Since(began); took > 50*time.Millisecond {
				t.Errorf("a call waited for %v", took)
			}
		}
		time.Sleep(time.Minute)
		if c.Any() {
			t.Error("calls ask for ever")
		}
		c.link.set(nil)
		d.link.set(nil)
		time.Sleep(2 * time.Second) // a request of d is under way for one of them
		c.is(t, "the store is back", "ann", true)
		d.is(t, "the store is back", "ann", true)
	})
}

// Nothing runs before the first use, or after the end.
func TestGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(nil)
		p := join(t, store, false)
		time.Sleep(time.Minute)
		if p.link.requests != 0 {
			t.Errorf("%d requests before the first use", p.link.requests)
		}
		p.Of("ann")
		time.Sleep(time.Minute)
		synctest.Wait()
		if n, want := p.link.requests, int(time.Minute/Every); n < want || n > want+2 {
			t.Errorf("%d requests in a minute, want about %d", n, want)
		}
		close(p.done)
		time.Sleep(time.Second)
		synctest.Wait()
		n := p.link.requests
		time.Sleep(time.Minute)
		synctest.Wait()
		if p.link.requests != n {
			t.Error("requests after the end")
		}
		if err := p.Pause(Pause{Account: "ann"}); err == nil {
			t.Error("a pause after the end: no error")
		}
		p.is(t, "after the end", "ann", true)
		p.done = make(chan struct{}) // is closed by the test's end
	})
}
