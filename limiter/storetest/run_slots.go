package storetest

import (
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// slotTests are about slots and those who wait for them.
var slotTests = []suiteTest{
	{"slots are given out and come back", false, func(s *suite) {
		k := s.key()
		var all []permit
		for range 3 {
			all = append(all, s.granted("free", s.ask(caller{}, part(k, slotsOf(3, 1)))))
		}
		me := newID()
		p := s.refused("none is free", s.ask(caller{member: me}, part(k, slotsOf(3, 1))))
		if p.Wait != 0 || p.Held {
			s.Errorf("got %s, want refused until somebody ends", p)
		}
		for i, ending := range []limiter.StoreEnding{limiter.StoreReleased, limiter.StoreCompleted, limiter.StoreCancelled} {
			all[i].end(limiter.StoreSucceeded)
			s.refused("still used", s.ask(caller{member: me}, part(k, slotsOf(3, 1))))
			all[i].end(ending)
			p := s.granted("free again", s.ask(caller{member: me}, part(k, slotsOf(3, 1))))
			all[i].end(ending)
			s.refused("ended twice", s.ask(caller{member: me}, part(k, slotsOf(3, 1))))
			p.end(limiter.StoreReleased)
			s.granted("once more", s.ask(caller{member: me}, part(k, slotsOf(3, 1))))
		}
	}},
	{"a call gets no more slots than there are", false, func(s *suite) {
		k := s.key()
		p := s.granted("all", s.ask(caller{}, part(k, slotsOf(2, 100))))
		s.refused("none is left", s.ask(caller{}, part(k, slotsOf(2, 1))))
		s.granted("no slots", s.ask(caller{}, part(k, slotsOf(2, 0))))
		p.end(limiter.StoreReleased)
		s.refused("none at all", s.ask(caller{}, part(s.key(), slotsOf(0, 1))))
	}},
	{"all or nothing with slots", false, func(s *suite) {
		a, b := s.key(), s.key()
		p := s.granted("used", s.ask(caller{}, part(b, slotsOf(1, 1))))
		uses := []limiter.StorePart{part(a, slotsOf(1, 1), bucketOf(1, time.Hour, 1)), part(b, slotsOf(1, 1))}
		q := s.refused("one is used", s.ask(caller{}, uses...))
		if q.Part != 1 || q.Use != 0 {
			s.Errorf("got part %d, use %d, want 1, 0", q.Part, q.Use)
		}
		p.end(limiter.StoreReleased)
		q.again()
		s.granted("both are free", q)
	}},
	{"a lease runs out", false, func(s *suite) {
		k := s.key()
		s.granted("a lease", s.ask(caller{lease: short}, part(k, slotsOf(1, 1))))
		s.advance(short)
		p := s.granted("it has run out", s.ask(caller{lease: 20 * time.Second}, part(k, slotsOf(1, 1))))
		if !s.h.Exact {
			return
		}
		s.advance(20*time.Second - ms)
		me := caller{member: newID()}
		s.refused("not yet", s.ask(me, part(k, slotsOf(1, 1))))
		s.renew(limiter.StoreRenewal{Member: p.Member, Leases: []limiter.StoreLease{p.lease()}})
		s.advance(20*time.Second - ms)
		s.refused("renewed", s.ask(me, part(k, slotsOf(1, 1))))
		s.advance(ms)
		s.granted("at the end", s.ask(me, part(k, slotsOf(1, 1))))
	}},
	{"who is next is told, and gets the slot", false, func(s *suite) {
		k := s.key()
		first, second, third := newID(), newID(), newID()
		e2, e3 := s.watch(second), s.watch(third)
		p := s.granted("free", s.ask(caller{member: first}, part(k, slotsOf(1, 1))))
		s.refused("second", s.ask(caller{member: second}, part(k, slotsOf(1, 1))))
		s.refused("third", s.ask(caller{member: third}, part(k, slotsOf(1, 1))))
		p.end(limiter.StoreReleased)
		e2.want(s, "second", k, true)
		if s.h.Exact {
			s.refused("first again", s.ask(caller{member: first}, part(k, slotsOf(1, 1))))
			s.refused("third", s.ask(caller{member: third}, part(k, slotsOf(1, 1))))
		}
		p = s.granted("second", s.ask(caller{member: second}, part(k, slotsOf(1, 1))))
		e3.none(s, "third", k, true)
		s.refused("third", s.ask(caller{member: third}, part(k, slotsOf(1, 1))))
		p.end(limiter.StoreCancelled)
		e3.want(s, "third", k, true)
		s.granted("third", s.ask(caller{member: third}, part(k, slotsOf(1, 1))))
	}},
	{"a slot is not kept for long", false, func(s *suite) {
		k := s.key()
		first, second, third := newID(), newID(), newID()
		p := s.granted("free", s.ask(caller{member: first}, part(k, slotsOf(1, 1))))
		s.refused("second", s.ask(caller{member: second}, part(k, slotsOf(1, 1))))
		p.end(limiter.StoreReleased)
		s.advance(250 * ms)
		s.granted("second did not come", s.ask(caller{member: third}, part(k, slotsOf(1, 1))))
	}},
	{"who does not ask again does not wait any more", false, func(s *suite) {
		k := s.key()
		first, second, third := newID(), newID(), newID()
		p := s.granted("free", s.ask(caller{member: first}, part(k, slotsOf(1, 1))))
		s.refused("second", s.ask(caller{member: second}, part(k, slotsOf(1, 1))))
		s.advance(time.Second)
		p.end(limiter.StoreReleased)
		s.granted("nobody waits", s.ask(caller{member: third}, part(k, slotsOf(1, 1))))
	}},
	{"interactive calls go before backfill", true, func(s *suite) {
		k := s.key()
		p := s.granted("free", s.ask(caller{}, part(k, slotsOf(1, 1))))
		back, inter := newID(), newID()
		s.refused("backfill", s.ask(caller{member: back, backfill: true}, part(k, slotsOf(1, 1))))
		s.refused("interactive", s.ask(caller{member: inter}, part(k, slotsOf(1, 1))))
		p.end(limiter.StoreReleased)
		s.refused("backfill", s.ask(caller{member: back, backfill: true}, part(k, slotsOf(1, 1))))
		p = s.granted("interactive", s.ask(caller{member: inter}, part(k, slotsOf(1, 1))))
		p.end(limiter.StoreReleased)
		s.granted("backfill", s.ask(caller{member: back, backfill: true}, part(k, slotsOf(1, 1))))
	}},
	{"backfill gets its share of slots", true, func(s *suite) {
		for _, share := range []float64{0.1, 0.5} {
			k := s.key()
			back, inter := newID(), [2]limiter.StoreID{newID(), newID()}
			p := s.granted("free", s.ask(caller{}, part(k, slotsOf(1, 1))))
			var got [2]float64
			for range 300 {
				s.refused("backfill", s.ask(caller{member: back, backfill: true, share: share}, part(k, slotsOf(1, 1))))
				s.refused("interactive", s.ask(caller{member: inter[0], share: share}, part(k, slotsOf(1, 1))))
				s.refused("interactive", s.ask(caller{member: inter[1], share: share}, part(k, slotsOf(1, 1))))
				p.end(limiter.StoreReleased)
				s.advance(10 * ms)
				if p = s.ask(caller{member: back, backfill: true, share: share}, part(k, slotsOf(1, 1))); p.Granted {
					got[1]++
					continue
				}
				for i := range inter {
					if p = s.ask(caller{member: inter[i], share: share}, part(k, slotsOf(1, 1))); p.Granted {
						got[0]++
						break
					}
				}
				if !p.Granted {
					s.Fatalf("nobody got the slot: %s", p)
				}
			}
			if part := got[1] / (got[0] + got[1]); part < share-0.02 || part > share+0.02 {
				s.Errorf("backfill got %.3f of the slots, want %v", part, share)
			}
		}
	}},
	{"who wants many slots does not starve", true, func(s *suite) {
		k := s.key()
		big := newID()
		small := []permit{s.ask(caller{}, part(k, slotsOf(2, 1))), s.ask(caller{}, part(k, slotsOf(2, 1)))}
		s.refused("both are used", s.ask(caller{member: big}, part(k, slotsOf(2, 2))))
		small[0].end(limiter.StoreReleased)
		s.refused("one is free, but not for a newcomer", s.ask(caller{}, part(k, slotsOf(2, 1))))
		s.refused("one is free", s.ask(caller{member: big}, part(k, slotsOf(2, 2))))
		small[1].end(limiter.StoreReleased)
		s.granted("both are free", s.ask(caller{member: big}, part(k, slotsOf(2, 2))))
	}},
	{"members take turns", true, func(s *suite) {
		const members, slots = 20, 4
		k := s.key()
		ids := make([]limiter.StoreID, members)
		for i := range ids {
			ids[i] = newID()
		}
		var out []permit
		got, last, worst := map[limiter.StoreID]int{}, map[limiter.StoreID]time.Duration{}, time.Duration(0)
		for range 1000 {
			for i := range ids { // all always want one; the first ask first
				for len(out) <= slots {
					p := s.ask(caller{member: ids[i]}, part(k, slotsOf(slots, 1)))
					if !p.Granted {
						break
					}
					out = append(out, p)
					got[ids[i]]++
					worst = max(worst, s.now()-last[ids[i]])
					last[ids[i]] = s.now()
				}
			}
			if len(out) != slots {
				s.Fatalf("%d slots are used, want %d", len(out), slots)
			}
			s.advance(10 * ms)
			out[0].end(limiter.StoreReleased)
			out = out[1:]
		}
		for _, id := range ids {
			if n := got[id]; n < 1000/members-2 || n > 1000/members+4 {
				s.Errorf("a member got %d of 1000 slots, want %d", n, 1000/members)
			}
		}
		if worst > (members+slots)*10*ms {
			s.Errorf("somebody waited %v for a turn that comes each %v", worst, members*10*ms)
		}
	}},
	{"nobody is kept out of the order by those who have a place in it", true, func(s *suite) {
		k := s.key()
		wait := func(what string, c caller) { s.refused(what, s.ask(c, part(k, slotsOf(1, 1)))) }
		p := s.granted("free", s.ask(caller{}, part(k, slotsOf(1, 1))))
		var first caller
		for i := range waiterMost {
			c := caller{member: newID()}
			if wait("one of the order", c); i == 0 {
				first = c
			}
		}
		late, back := caller{member: newID()}, caller{member: newID(), backfill: true}
		s.advance(time.Second - ms)
		wait("who comes late", late)
		wait("the other priority", back)
		wait("the first", first)
		s.advance(2 * ms) // now the others do not wait any more
		p.end(limiter.StoreReleased)
		wait("a newcomer", caller{})
		p = s.granted("the first", s.ask(first, part(k, slotsOf(1, 1))))
		p.end(limiter.StoreReleased)
		p = s.granted("who came late", s.ask(late, part(k, slotsOf(1, 1))))
		s.advance(250 * ms) // the newcomer's slot is not kept any longer
		p.end(limiter.StoreReleased)
		s.advance(250 * ms)
		wait("a newcomer of the other priority", caller{backfill: true})
		s.granted("the other priority", s.ask(back, part(k, slotsOf(1, 1))))
	}},
	{"nobody is kept from claiming units by those who have", true, func(s *suite) {
		k := s.key()
		ask := func(c caller) permit { return s.ask(c, part(k, bucketOf(1, 10*ms, 1), slotsOf(1, 1))) }
		p := s.granted("the unit", ask(caller{}))
		p.end(limiter.StoreReleased)
		var first caller
		for i := range waiterMost {
			c := caller{member: newID()}
			if s.refused("who claims one", ask(c)); i == 0 {
				first = c
			}
		}
		late := caller{member: newID()}
		p = s.refused("who comes late", ask(late))
		if want := (waiterMost+1)*10*ms + 5*ms; p.Wait != want {
			s.Errorf("who comes late waits %v, want %v", p.Wait, want)
		}
		s.advance(15 * ms)
		p = s.granted("the first", ask(first))
		p.end(limiter.StoreReleased)
		s.refused("a newcomer", ask(caller{}))
		s.advance(waiterMost * 10 * ms)
		s.refused("another newcomer", ask(caller{}))
		s.granted("who came late", ask(late))
	}},
	{"slots are kept from when the units come on, not before", true, func(s *suite) {
		k := s.key()
		cheap, dear := caller{member: newID()}, caller{member: newID()}
		askFor := func(c caller, cost int64) permit {
			return s.ask(c, part(k, bucketOf(100, time.Second, cost), slotsOf(1, 1)))
		}
		p := s.granted("the slot", askFor(caller{}, 100))
		s.refused("cheap, which waits for the slot", s.ask(cheap, part(k, slotsOf(1, 1))))
		p.end(limiter.StoreReleased) // cheap is told
		s.refused("dear, which lacks units", askFor(dear, 50))
		s.refused("cheap, whose units come after those", askFor(cheap, 1))
		p = s.granted("another, which needs no units", s.ask(caller{}, part(k, slotsOf(1, 1))))
		p.end(limiter.StoreReleased)
		s.advance(505 * ms)
		s.refused("another, once the dear one's units have come", s.ask(caller{}, part(k, slotsOf(1, 1))))
		p = s.granted("dear", askFor(dear, 50))
		s.advance(10 * ms)
		p.end(limiter.StoreReleased)
		s.granted("cheap", askFor(cheap, 1))
	}},
	{"who lacks units for long does not wait for slots", true, func(s *suite) {
		k := s.key()
		p := s.granted("free", s.ask(caller{}, part(k, slotsOf(1, 1), bucketOf(1, 2*time.Second, 0))))
		me, other := caller{member: newID()}, caller{member: newID()}
		s.refused("no slot", s.ask(me, part(k, slotsOf(1, 1), bucketOf(1, 2*time.Second, 1))))
		s.granted("the unit", s.ask(caller{}, part(k, bucketOf(1, 2*time.Second, 1))))
		s.refused("no unit", s.ask(me, part(k, slotsOf(1, 1), bucketOf(1, 2*time.Second, 1))))
		p.end(limiter.StoreReleased)
		s.granted("nobody waits", s.ask(other, part(k, slotsOf(1, 1))))
	}},
	{"two priorities of a member wait apart", true, func(s *suite) {
		k := s.key()
		me := newID()
		p := s.granted("free", s.ask(caller{}, part(k, slotsOf(2, 2))))
		s.refused("interactive", s.ask(caller{member: me}, part(k, slotsOf(2, 1))))
		s.refused("backfill", s.ask(caller{member: me, backfill: true}, part(k, slotsOf(2, 1))))
		p.end(limiter.StoreReleased)
		s.refused("both are kept", s.ask(caller{}, part(k, slotsOf(2, 1))))
		s.granted("interactive", s.ask(caller{member: me}, part(k, slotsOf(2, 1))))
		s.granted("backfill", s.ask(caller{member: me, backfill: true}, part(k, slotsOf(2, 1))))
	}},
}
