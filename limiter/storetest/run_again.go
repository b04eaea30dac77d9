package storetest

import (
	"context"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// againTests are about calls that come twice, late, or in another order.
var againTests = []suiteTest{
	{"a take asked twice counts once", false, func(s *suite) {
		k := s.key()
		p := s.granted("units", s.ask(caller{}, part(k, bucketOf(2, time.Hour, 1), logOf(2, time.Hour, 1), fixedOf(2, time.Hour, 1))))
		for range 3 {
			p.again()
			s.granted("again", p)
		}
		s.granted("one is left", s.ask(caller{}, part(k, bucketOf(2, time.Hour, 1), logOf(2, time.Hour, 1), fixedOf(2, time.Hour, 1))))

		k = s.key()
		p = s.granted("a slot", s.ask(caller{}, part(k, slotsOf(2, 1))))
		p.again()
		s.granted("again", p)
		s.granted("one is left", s.ask(caller{}, part(k, slotsOf(2, 1))))
		p.end(limiter.StoreReleased)
		s.granted("one lease, one end", s.ask(caller{}, part(k, slotsOf(2, 1))))
		s.refused("no more", s.ask(caller{}, part(k, slotsOf(2, 1))))

		k = s.key()
		from := s.now()
		s.granted("all", s.ask(caller{}, part(k, bucketOf(1, time.Hour, 1))))
		p = s.ask(caller{maxWait: day}, part(k, bucketOf(1, time.Hour, 1)))
		p.again()
		s.waits("a reservation", p.Wait, time.Hour, from)
		if !p.Granted {
			s.Errorf("a reservation: got %s, want granted", p)
		}
	}},
	{"a take that is forgotten counts again, and once", true, func(s *suite) {
		k := s.key()
		slow, u := bucketOf(1, 5*time.Second, 1), named("other", bucketOf(3, time.Hour, 1))
		s.granted("all", s.ask(caller{}, part(k, slow)))
		if p := s.ask(caller{maxWait: day}, part(k, slow)); !p.Granted { // it is remembered for longer than what comes after
			s.Fatalf("a reservation: got %s, want granted", p)
		}
		p := s.granted("one", s.ask(caller{}, part(k, u)))
		s.advance(2100 * ms)
		for range 3 {
			p.again()
			s.granted("one more", p)
		}
		s.granted("the last", s.ask(caller{}, part(k, u)))
		s.refused("more", s.ask(caller{}, part(k, u)))
	}},
	{"a refused take can be asked again", false, func(s *suite) {
		k := s.key()
		p := s.granted("all", s.ask(caller{}, part(k, bucketOf(1, short, 1))))
		q := s.ask(caller{}, part(k, bucketOf(1, short, 1)))
		s.advance(short)
		q.again()
		if !q.Granted {
			s.Errorf("got %s, want granted", q)
		}
		_ = p
	}},
	{"an end before its take makes that void", false, func(s *suite) {
		for _, ending := range []limiter.StoreEnding{limiter.StoreReleased, limiter.StoreCompleted, limiter.StoreCancelled} {
			k := s.key()
			p := permit{s: s, at: s.now(), StoreTake: limiter.StoreTake{ID: newID(), Member: newID(), Lease: 20 * time.Second,
				Parts: []limiter.StorePart{part(k, slotsOf(1, 1), bucketOf(1, time.Hour, 1))}}}
			p.end(ending)
			p.again()
			s.refused("late", p)
			s.granted("it took nothing", s.ask(caller{}, p.Parts...))
		}
	}},
	{"a cancelled take that comes again is void", false, func(s *suite) {
		k := s.key()
		p := s.granted("a slot", s.ask(caller{}, part(k, slotsOf(1, 1), gate("gate"))))
		p.end(limiter.StoreCancelled)
		p.again()
		s.refused("again", p)
		s.granted("the slot is free", s.ask(caller{}, part(k, slotsOf(1, 1))))
	}},
	{"units are given back once, whatever the order", false, func(s *suite) {
		for _, u := range []limiter.StoreUse{bucketOf(4, time.Hour, 2), logOf(4, time.Hour, 2), fixedOf(4, time.Hour, 2)} {
			k := s.key()
			p := s.granted("two", s.ask(caller{}, part(k, u)))
			s.granted("two more", s.ask(caller{}, part(k, u)))
			for range 3 { // its reply was lost
				p.end(limiter.StoreRefunded)
			}
			p.end(limiter.StoreCompleted)
			p.end(limiter.StoreCancelled)
			p.end(limiter.StoreRefunded)
			u.Cost = 1
			s.granted(u.Limit.Name+": one came back", s.ask(caller{}, part(k, u)))
			if u.Limit.Kind == limiter.StoreBucket && !s.h.Exact { // what it got since is not given twice, so a little may be missing
				u.Cost = 2
			} else {
				s.granted(u.Limit.Name+": and another", s.ask(caller{}, part(k, u)))
			}
			s.refused(u.Limit.Name+": and no more", s.ask(caller{}, part(k, u)))
		}
	}},
	{"ends come in batches", false, func(s *suite) {
		var ends []limiter.StoreEnd
		keys := make([]limiter.StoreKey, 20)
		for i := range keys {
			keys[i] = s.keyAt(s.Name() + string(rune('a'+i)))
			p := s.granted("a slot", s.ask(caller{}, part(keys[i], slotsOf(1, 1))))
			ends = append(ends, limiter.StoreEnd{ID: p.ID, Member: p.Member, Parts: p.Parts, Lease: p.Lease})
		}
		ends = append(ends, ends...)
		for range 2 {
			if err := s.h.Store.End(context.Background(), ends); err != nil {
				s.Fatal(err)
			}
		}
		for _, k := range keys {
			s.granted("free", s.ask(caller{}, part(k, slotsOf(1, 1))))
		}
		if err := s.h.Store.End(context.Background(), nil); err != nil {
			s.Error(err)
		}
	}},
	{"a context that has ended", false, func(s *suite) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		k := s.key()
		if _, err := s.h.Store.Take(ctx, &limiter.StoreTake{ID: newID(), Parts: []limiter.StorePart{part(k, bucketOf(1, time.Hour, 1))}}); err == nil {
			s.Error("Take: got no error")
		}
		if err := s.h.Store.End(ctx, []limiter.StoreEnd{{ID: newID(), Parts: []limiter.StorePart{part(k, slotsOf(1, 1))}}}); err == nil {
			s.Error("End: got no error")
		}
		if _, err := s.h.Store.Change(ctx, &limiter.StoreChange{Kind: limiter.StoreHeld, Key: k, Hold: time.Hour}); err == nil {
			s.Error("Change: got no error")
		}
		if _, err := s.h.Store.Renew(ctx, &limiter.StoreRenewal{Member: newID()}); err == nil {
			s.Error("Renew: got no error")
		}
		if err := s.h.Store.Watch(ctx, newID(), func(limiter.StoreEvent) {}); err == nil {
			s.Error("Watch: got no error")
		}
	}},
}
