package storetest

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// pauseTests are about accounts that are paused, for stores that are a [limiter.PauseStore].
var pauseTests = []suiteTest{
	{"a pause is told to all, and so is its end", false, func(s *suite) {
		a, b := s.pauser(), s.pauser()
		k := s.key()
		done := a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: k, Left: time.Hour, Reason: "a\x00b'é\xff"}})
		for what, e := range map[string]limiter.AccountPause{"who pauses": done.AccountPause, "another process": b.entry(k), "one that comes later": s.pauser().entry(k)} {
			if e.Account.Name != k.Name || e.Resumed || e.Version == 0 || e.Reason != "a\x00b'é\xff" || e.Left <= 0 || e.Left > time.Hour || e.Ago < 0 || e.Ago > patience {
				s.Errorf("%s: got %+v, want the pause", what, e)
			}
		}
		if got := b.ask(); len(got) != 0 {
			s.Errorf("asked again: got %+v, want nothing", got)
		}
		a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: k}})
		if e := b.entry(k); e.Resumed || e.Left != 0 || e.Reason != "" || e.Version <= done.Version {
			s.Errorf("paused anew, without an end: got %+v", e)
		}
		b.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: k, Resumed: true, Reason: "none"}})
		if e := a.entry(k); !e.Resumed || e.Reason != "" || e.Left <= 0 || e.Left > limiter.PauseKept {
			s.Errorf("resumed: got %+v", e)
		}
	}},
	{"an entry that is put back replaces an older one only", false, func(s *suite) {
		a, b := s.pauser(), s.pauser()
		k, other := s.key(), s.key()
		old := a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: k, Left: time.Hour}}).AccountPause
		now := a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: k, Resumed: true}}).AccountPause
		b.ask()
		for range 2 {
			if got := b.told(limiter.PauseChange{AccountPause: old}); !got.Resumed || got.Version != now.Version {
				s.Errorf("an old pause: got %+v, want that it was resumed", got)
			}
		}
		if got := a.ask(); len(got) != 0 {
			s.Errorf("nothing has changed: got %+v", got)
		}
		newer := old
		newer.Version, newer.Ago, newer.Reason = now.Version+1000, time.Minute, "newer"
		if got := b.told(limiter.PauseChange{AccountPause: newer}); got.Resumed || got.Version != newer.Version || got.Reason != "newer" || got.Ago < time.Minute {
			s.Errorf("a newer pause: got %+v, want it", got)
		}
		if e := a.entry(k); e.Resumed || e.Version != newer.Version {
			s.Errorf("a newer pause, as another process sees it: got %+v", e)
		}
		for _, after := range []uint64{0, now.Version} {
			got := b.request(limiter.PauseChange{After: after, AccountPause: limiter.AccountPause{Account: k, Resumed: true}}).Changed[0]
			if !got.Newer || got.Resumed || got.Version != newer.Version {
				s.Errorf("a change by somebody who does not know the newer one, %d: got %+v, want that it is newer", after, got)
			}
		}
		if got := b.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: k, Resumed: true}}); got.Newer || !got.Resumed || got.Version <= newer.Version {
			s.Errorf("a change by somebody who knows it: got %+v", got)
		}
		if got := b.told(limiter.PauseChange{After: 1 << 51, AccountPause: limiter.AccountPause{Account: s.key(), Resumed: true}}); got.Version <= 1<<51 {
			s.Errorf("what the store does not know any more is replaced, too: got %+v", got)
		}
		if got := b.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: other, Resumed: true}}); !got.Resumed || got.Version == 0 {
			s.Errorf("what was never paused is noted as resumed, too: got %+v", got)
		}
	}},
	{"a change that comes late", false, func(s *suite) {
		a, b := s.pauser(), s.pauser()
		late := func(k limiter.StoreKey, resumed bool, ago time.Duration, after uint64) limiter.PauseResult {
			s.Helper()
			return b.told(limiter.PauseChange{Late: true, After: after, AccountPause: limiter.AccountPause{Account: k, Resumed: resumed, Ago: ago, Reason: "late"}})
		}
		k := s.key()
		if got := late(k, false, time.Minute, 0); got.Resumed || got.Reason != "late" || got.Ago < time.Minute {
			s.Errorf("nothing is known: got %+v, want the pause", got)
		}
		s.advance(short)
		now := a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: k, Resumed: true}})
		if got := late(k, false, time.Minute, 0); !got.Resumed || got.Version != now.Version {
			s.Errorf("a later one is known: got %+v, want that one", got)
		}
		if got := late(k, false, time.Minute, now.Version); got.Resumed || got.Version <= now.Version {
			s.Errorf("whoever made it knew that one: got %+v, want the pause", got)
		}
		k = s.key()
		by := newID()
		numbered := func(n uint64, late, resumed bool, after uint64) limiter.PauseResult {
			s.Helper()
			s.advance(ms)
			return a.request(limiter.PauseChange{Late: late, After: after, AccountPause: limiter.AccountPause{Account: k, Resumed: resumed, By: by, Number: n}}).Changed[0]
		}
		first := numbered(1, false, false, 0)
		if first.Resumed || first.Version == 0 || first.By != by || first.Number != 1 {
			s.Errorf("the first one: got %+v, want it", first)
		}
		for _, late := range []bool{true, false} {
			if got := numbered(1, late, false, first.Version); got.Version != first.Version || got.Newer {
				s.Errorf("asked twice, since the answer was lost: got %+v, want %+v", got, first)
			}
		}
		if got := numbered(3, false, true, 0); !got.Resumed || got.Newer || got.Number != 3 {
			s.Errorf("a process knows its own changes, whether it was told of them or not: got %+v", got)
		}
		for _, late := range []bool{true, false} {
			if got := numbered(2, late, false, first.Version); !got.Resumed || got.Newer || got.Number != 3 {
				s.Errorf("a request that comes after a later one of the same process: got %+v", got)
			}
		}
	}},
	{"a pause ends by itself", false, func(s *suite) {
		a, b := s.pauser(), s.pauser()
		k := s.key()
		a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: k, Left: short}})
		s.advance(short)
		if e := b.entry(k); !e.Resumed || e.Reason != "" || e.Left > limiter.PauseKept || e.Left < limiter.PauseKept-time.Hour {
			s.Errorf("after its end: got %+v, want that it is over", e)
		}
		if got := a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: s.key(), Left: -1}}); got.Version != 0 || got.Full {
			s.Errorf("a pause that is over: got %+v, want nothing", got)
		}
	}},
	{"more than one answer holds", false, func(s *suite) {
		a, b := s.pauser(), s.pauser()
		keys := map[[16]byte]bool{}
		var changes []limiter.PauseChange
		for range limiter.MaxPausesTold + 100 {
			k := s.key()
			keys[k.Name] = true
			changes = append(changes, limiter.PauseChange{AccountPause: limiter.AccountPause{Account: k, Left: time.Hour}})
		}
		for from := 0; from < len(changes); from += limiter.MaxPauseChanges {
			a.request(changes[from:min(from+limiter.MaxPauseChanges, len(changes))]...)
		}
		if _, err := a.store.Pause(context.Background(), &limiter.PauseRequest{Changes: make([]limiter.PauseChange, limiter.MaxPauseChanges+1)}); err == nil {
			s.Error("too many changes in a request: got no error")
		}
		got := b.request()
		if len(got.Entries) != limiter.MaxPausesTold || !got.More || got.Lost {
			s.Errorf("the first answer: got %d entries, more %v, lost %v", len(got.Entries), got.More, got.Lost)
		}
		b.request(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: s.key(), Left: time.Hour}}) // a change amid the pages
		for _, e := range append(got.Entries, b.all...) {
			delete(keys, e.Account.Name)
		}
		for b.more {
			b.request()
		}
		for _, e := range b.all {
			delete(keys, e.Account.Name)
		}
		if len(keys) != 0 || b.lost {
			s.Errorf("%d entries were not told, lost %v", len(keys), b.lost)
		}
	}},
	{"what a process knew is put back when the store has lost it", false, func(s *suite) {
		if s.h.Forget == nil {
			s.Skip("the store cannot forget")
		}
		a := s.pauser()
		k := s.key()
		e := a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: k, Left: time.Hour, Reason: "why"}}).AccountPause
		a.ask()
		s.h.Forget()
		s.advance(ms)
		if c := s.pauser(); c.lost || c.entry(k).Version != 0 {
			s.Error("one that knows nothing: got an entry, or that something was lost")
		}
		for range 2 { // until something is known again
			a.lost = false
			if got := a.request(); !got.Lost || len(got.Entries) != 0 {
				s.Errorf("who knew something: got lost %v and %+v, want true and nothing", got.Lost, got.Entries)
			}
			a.mark = limiter.PauseMark{Store: e.Version, Change: e.Version}
		}
		other := s.pauser()
		other.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: s.key()}})
		if got := a.told(limiter.PauseChange{AccountPause: e}); got.Version != e.Version || got.Reason != "why" {
			s.Errorf("put back: got %+v, want %+v", got, e)
		}
		if got := other.entry(k); got.Version != e.Version {
			s.Errorf("put back, as another process sees it: got %+v", got)
		}
		if s.h.Restore != nil {
			s.h.Restore()
		}
	}},
	{"a mark that is old is as good as none", false, func(s *suite) {
		a, b := s.pauser(), s.pauser()
		k := s.key()
		a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: k}})
		a.ask()
		for range 300 {
			b.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: k, Left: time.Hour}})
		}
		if got := a.request(); !got.Lost {
			s.Error("300 changes later: got lost false, want true")
		}
		for a.more {
			a.request()
		}
		a.lost = false
		if e := a.entry(k); e.Left == 0 || a.lost {
			s.Errorf("then: got %+v, lost %v, want the pause", e, a.lost)
		}
	}},
	{"pauses are bounded", false, func(s *suite) {
		a := s.pauser()
		var keys []limiter.StoreKey
		full := false
		for !full && len(keys) <= limiter.MaxPauses {
			var changes []limiter.PauseChange
			for range limiter.MaxPauseChanges {
				changes = append(changes, limiter.PauseChange{AccountPause: limiter.AccountPause{Account: s.key(), Left: time.Hour}})
			}
			for i, r := range a.request(changes...).Changed {
				if full = full || r.Full; !r.Full {
					keys = append(keys, changes[i].Account)
				} else if r.Version != 0 {
					s.Errorf("one too many: got %+v, want nothing", r)
				}
			}
		}
		if !full || len(keys) < limiter.MaxPauses/2 {
			s.Fatalf("full %v after %d pauses, want %d", full, len(keys), limiter.MaxPauses)
		}
		if got := a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: keys[0], Left: 2 * time.Hour}}); got.Full || got.Left <= time.Hour {
			s.Errorf("one that is paused is paused anew: got %+v", got)
		}
		a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: keys[0], Resumed: true}})
		if got := a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: s.key(), Left: short}}); got.Full {
			s.Error("one was resumed: got full")
		}
		if got := a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: keys[0]}}); !got.Full || !got.Resumed {
			s.Errorf("full again: got %+v, want full, and that it was resumed", got)
		}
		s.advance(short)
		if got := a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: keys[0], Left: time.Hour}}); got.Full {
			s.Error("one is over: got full")
		}
		for from := 0; from < len(keys); from += limiter.MaxPauseChanges {
			var changes []limiter.PauseChange
			for _, k := range keys[from:min(from+limiter.MaxPauseChanges, len(keys))] {
				changes = append(changes, limiter.PauseChange{After: 1 << 51, AccountPause: limiter.AccountPause{Account: k, Resumed: true}})
			}
			a.request(changes...)
		}
		if e := s.pauser().entry(keys[len(keys)-1]); !e.Resumed {
			s.Errorf("all are resumed: got %+v", e)
		}
	}},
	{"hostile pauses", false, func(s *suite) {
		a := s.pauser()
		numbers := []uint64{0, 1, 1 << 53, math.MaxUint64}
		times := []time.Duration{math.MinInt64, -1, 0, 1, time.Microsecond, time.Hour, math.MaxInt64}
		k := s.key()
		n := 0
		for _, v := range numbers {
			for _, after := range numbers {
				for _, d := range times {
					n++
					r := limiter.PauseRequest{Known: limiter.PauseMark{Store: numbers[n%4], Change: numbers[n/2%4], Page: numbers[n/3%4]}}
					r.Changes = []limiter.PauseChange{{Late: n%2 == 0, After: after, AccountPause: limiter.AccountPause{
						Account: k, Version: v, Resumed: n%3 == 0, Ago: times[n%len(times)], Left: d, Reason: string(make([]byte, n*7))}}}
					got, err := a.store.Pause(context.Background(), &r)
					if err != nil || len(got.Changed) != 1 || got.Changed[0].Ago < 0 || got.Changed[0].Left < 0 || len(got.Changed[0].Reason) > limiter.MaxPauseReason {
						s.Fatalf("%+v: got %+v, %v", r, got, err)
					}
				}
			}
		}
		if got := a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: k, Resumed: true}}); !got.Resumed {
			s.Errorf("then: got %+v, want that it is resumed", got)
		}
		if got := a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: k, Left: time.Hour}}); got.Resumed || got.Left > time.Hour {
			s.Errorf("then: got %+v, want that it is paused", got)
		}
		a.told(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: k, Resumed: true}})
	}},
	{"who watches is told that accounts were paused", false, func(s *suite) {
		e := s.watch(newID())
		a := s.pauser()
		k := s.key()
		for _, c := range []limiter.AccountPause{{Account: k}, {Account: k, Resumed: true}} {
			a.told(limiter.PauseChange{AccountPause: c})
			e.wantPaused(s)
		}
	}},
	{"many pause at once", false, func(s *suite) {
		var wg sync.WaitGroup
		keys := []limiter.StoreKey{s.key(), s.key(), s.key()}
		for i := range 8 {
			a := s.pauser()
			wg.Go(func() {
				for j := range 30 {
					a.request(limiter.PauseChange{AccountPause: limiter.AccountPause{Account: keys[(i+j)%3], Resumed: j%2 == 0, Reason: fmt.Sprint(i, j)}})
				}
			})
		}
		wg.Wait()
		a, b := s.pauser(), s.pauser()
		for _, k := range keys {
			if x, y := a.entry(k), b.entry(k); x.Version != y.Version || x.Reason != y.Reason || x.Version == 0 {
				s.Errorf("got %+v and %+v, want the same", x, y)
			}
		}
	}},
}

// pauser is a process that makes requests about pauses.
type pauser struct {
	s     *suite
	id    limiter.StoreID
	n     uint64 // changes
	store limiter.PauseStore
	mark  limiter.PauseMark
	more  bool
	lost  bool
	all   []limiter.AccountPause // that were told
}

// pauser returns a process that knows all entries of the store.
func (s *suite) pauser() *pauser {
	s.Helper()
	store, ok := s.h.Store.(limiter.PauseStore)
	if !ok {
		s.Skip("the store knows no pauses")
	}
	p := &pauser{s: s, store: store, id: newID()}
	for p.more = true; p.more; {
		p.request()
	}
	return p
}

// request makes one request with these changes.
func (p *pauser) request(changes ...limiter.PauseChange) limiter.PauseAnswer {
	p.s.Helper()
	for i := range changes {
		if c := &changes[i]; c.Version == 0 && c.Number == 0 {
			p.n++
			c.By, c.Number = p.id, p.n
		}
	}
	a, err := p.store.Pause(context.Background(), &limiter.PauseRequest{Known: p.mark, Changes: changes})
	if err != nil {
		p.s.Fatalf("Pause: %v", err)
	}
	if len(a.Changed) != len(changes) {
		p.s.Fatalf("Pause: got %d results of %d changes", len(a.Changed), len(changes))
	}
	p.mark, p.more, p.lost, p.all = a.Known, a.More, p.lost || a.Lost, append(p.all, a.Entries...)
	return a
}

// ask returns the entries that have changed since the last request.
func (p *pauser) ask() []limiter.AccountPause {
	p.s.Helper()
	from := len(p.all)
	for p.more = true; p.more; {
		p.request()
	}
	return p.all[from:]
}

// told makes a change as a process that knows the account's entry, and returns its result.
func (p *pauser) told(c limiter.PauseChange) limiter.PauseResult {
	p.s.Helper()
	if c.Version == 0 && !c.Late && c.After == 0 {
		c.After = p.entry(c.Account).Version
	}
	return p.request(c).Changed[0]
}

// entry returns the latest entry of an account that the process got; Version is 0 if there is none.
func (p *pauser) entry(k limiter.StoreKey) (e limiter.AccountPause) {
	p.s.Helper()
	p.ask()
	for _, told := range p.all {
		if told.Account.Name == k.Name {
			e = told
		}
	}
	return e
}

// wantPaused waits for the event that accounts were paused or resumed.
func (e *events) wantPaused(s *suite) {
	s.Helper()
	deadline := time.After(patience)
	for {
		e.mu.Lock()
		for i, ev := range e.got {
			if ev.Paused {
				e.got = append(e.got[:i], e.got[i+1:]...)
				e.mu.Unlock()
				return
			}
		}
		e.mu.Unlock()
		select {
		case <-e.new:
		case <-deadline:
			s.Fatal("the event did not come")
		}
	}
}
