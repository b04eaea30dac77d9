package pause

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// Pauses are bounded, and one too many is not in force anywhere.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(nil)
		a, b := join(t, store, true), join(t, store, true)
		begun(a, b)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				for j := range limiter.MaxPauses / 50 {
					if err := a.Pause(Pause{Account: fmt.Sprint(i, " ", j)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := a.Pause(Pause{Account: "one more"}); err != ErrTooMany {
			t.Errorf("got %v, want ErrTooMany", err)
		}
		c := join(t, store, false) // knows nothing yet
		if err := c.Pause(Pause{Account: "one more"}); err != ErrTooMany {
			t.Errorf("by one that knows nothing: got %v, want ErrTooMany", err)
		}
		c.is(t, "one too many", "one more", false)
		time.Sleep(2 * time.Second)
		for who, p := range map[string]*process{"a": a, "b": b, "c": c} {
			p.is(t, who+": one too many", "one more", false)
			p.is(t, who+": one of them", "49 199", true)
			if n := len(p.All()); n != limiter.MaxPauses {
				t.Errorf("%s: %d pauses", who, n)
			}
		}
		if got := strings.Count(c.notices(), "one more"); got != 0 {
			t.Errorf("told of one that is not: %d times", got)
		}
		b.Resume("49 199")
		if err := b.Pause(Pause{Account: "one more"}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		c.is(t, "there was room", "one more", true)
	})
}

// Changes that the store does not answer are bounded: what comes after does nothing, and says so.
func TestBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := join(t, storetest.NewMemory(nil), true)
		begun(p)
		p.link.set(down)
		change := func(account string) (paused, resumed error) {
			return p.Pause(Pause{Account: account}), p.Resume(account)
		}
		if paused, resumed := change("0"); !errors.Is(paused, ErrUntold) || !errors.Is(resumed, ErrUntold) {
			t.Fatalf("without the store: got %v and %v, want ErrUntold", paused, resumed)
		}
		p.mu.Lock() // each of these would wait for the store
		for i := 1; i < mostKept; i++ {
			p.askLocked(p.addLocked(fmt.Sprint(i)), time.Now())
		}
		p.mu.Unlock()
		if paused, resumed := change("one more"); paused != ErrBehind || resumed != ErrBehind {
			t.Errorf("one too many: got %v and %v, want ErrBehind", paused, resumed)
		}
		p.is(t, "one too many", "one more", false)
		if n := len(p.keys); n != mostKept {
			t.Errorf("got %d entries, want %d", n, mostKept)
		}
		if err := p.Pause(Pause{Account: "7"}); !errors.Is(err, ErrUntold) {
			t.Errorf("an account that it knows: got %v, want ErrUntold", err)
		}
		p.link.set(nil)
		time.Sleep(time.Minute)
		if paused, resumed := change("one more"); paused != nil || resumed != nil {
			t.Errorf("once the store answers: got %v and %v", paused, resumed)
		}
	})
}
