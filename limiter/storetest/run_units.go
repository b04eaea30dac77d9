package storetest

import (
	"time"

	"github.com/recourse-go/recourse/limiter"
)

const (
	day   = 24 * time.Hour
	ms    = time.Millisecond
	short = 100 * ms // a window that tests wait for
)

// unitTests are about limits of units, without what refusals do.
var unitTests = []suiteTest{
	{"a bucket lets its burst through", false, func(s *suite) {
		k := s.key()
		from := s.now()
		for range 10 {
			s.granted("within the burst", s.ask(caller{}, part(k, bucketOf(10, 10*time.Hour, 1))))
		}
		p := s.refused("beyond it", s.ask(caller{}, part(k, bucketOf(10, 10*time.Hour, 1))))
		s.waits("one unit", p.Wait, time.Hour, from)
		p = s.refused("beyond it", s.ask(caller{}, part(k, bucketOf(10, 10*time.Hour, 7))))
		s.waits("seven units", p.Wait, 7*time.Hour, from)
		if p.Held || p.Part != 0 || p.Use != 0 {
			s.Errorf("got held %v, part %d, use %d, want false, 0, 0", p.Held, p.Part, p.Use)
		}
		s.granted("another key", s.ask(caller{}, part(s.key(), bucketOf(10, 10*time.Hour, 10))))
	}},
	{"a bucket fills", false, func(s *suite) {
		k := s.key()
		s.granted("all of it", s.ask(caller{}, part(k, bucketOf(10, short, 10))))
		s.advance(short / 2)
		s.granted("half of it", s.ask(caller{}, part(k, bucketOf(10, short, 5))))
		s.advance(short)
		s.granted("all of it", s.ask(caller{}, part(k, bucketOf(10, short, 10))))
	}},
	{"a log lets its units through in any window", false, func(s *suite) {
		k := s.key()
		from := s.now()
		for range 3 {
			s.granted("within the quota", s.ask(caller{}, part(k, logOf(3, time.Hour, 1))))
		}
		p := s.refused("beyond it", s.ask(caller{}, part(k, logOf(3, time.Hour, 1))))
		s.waits("until the first is forgotten", p.Wait, time.Hour+time.Microsecond, from)
		k = s.key()
		s.granted("short", s.ask(caller{}, part(k, logOf(2, short, 2))))
		s.advance(short + time.Microsecond)
		s.granted("short", s.ask(caller{}, part(k, logOf(2, short, 2))))
	}},
	{"a large log lets its units through", false, func(s *suite) {
		k := s.key()
		for range 100 {
			s.granted("within the quota", s.ask(caller{}, part(k, logOf(1000, time.Hour, 10))))
		}
		p := s.refused("beyond it", s.ask(caller{}, part(k, logOf(1000, time.Hour, 1))))
		if p.Wait < 50*time.Minute || p.Wait > time.Hour+time.Hour/16 {
			s.Errorf("got a wait of %v, want an hour and little more", p.Wait)
		}
	}},
	{"a fixed window lets its units through and begins anew", false, func(s *suite) {
		k := s.key()
		from := s.now()
		s.granted("all at once", s.ask(caller{}, part(k, fixedOf(5, time.Hour, 5))))
		p := s.refused("beyond it", s.ask(caller{}, part(k, fixedOf(5, time.Hour, 1))))
		s.waits("until it ends", p.Wait, time.Hour, from)
		k = s.key()
		s.granted("short", s.ask(caller{}, part(k, fixedOf(5, short, 5))))
		s.advance(short)
		s.granted("the next", s.ask(caller{}, part(k, fixedOf(5, short, 5))))
	}},
	{"a gate lets everything through", false, func(s *suite) {
		k := s.key()
		for range 20 {
			s.granted("gate", s.ask(caller{}, part(k, gate("gate"))))
		}
	}},
	{"a call that takes nothing is granted", false, func(s *suite) {
		s.granted("no parts", s.ask(caller{}))
		s.granted("no uses", s.ask(caller{}, part(s.key())))
		k := s.key()
		s.granted("all", s.ask(caller{}, part(k, bucketOf(1, time.Hour, 1))))
		s.granted("no units", s.ask(caller{}, part(k, bucketOf(1, time.Hour, 0))))
	}},
	{"what can never pass is refused", false, func(s *suite) {
		for _, u := range []limiter.StoreUse{bucketOf(5, time.Hour, 6), logOf(5, time.Hour, 6), fixedOf(5, time.Hour, 6)} {
			k := s.key()
			from := s.now()
			p := s.refused(u.Limit.Name, s.ask(caller{maxWait: day}, part(k, u)))
			s.waits(u.Limit.Name, p.Wait, time.Hour, from)
			u.Cost = 5
			s.granted(u.Limit.Name+" is as before", s.ask(caller{}, part(k, u)))
		}
	}},
	{"all or nothing", false, func(s *suite) {
		a, b := s.key(), s.key()
		full := named("full", bucketOf(1, 2*time.Hour, 1))
		from := s.now()
		s.granted("fill", s.ask(caller{}, part(b, full)))
		both := []limiter.StorePart{
			part(a, bucketOf(1, time.Hour, 1), logOf(1, time.Hour, 1), fixedOf(1, time.Hour, 1)),
			part(b, gate("gate"), full, named("other", bucketOf(1, time.Hour, 1))),
		}
		p := s.refused("one is full", s.ask(caller{}, both...))
		if p.Part != 1 || p.Use != 1 {
			s.Errorf("got part %d, use %d, want 1, 1", p.Part, p.Use)
		}
		s.waits("the full one", p.Wait, 2*time.Hour, from)
		s.granted("what the refused call named", s.ask(caller{}, both[0]))
		s.granted("what the refused call named", s.ask(caller{}, part(b, named("other", bucketOf(1, time.Hour, 1)))))
		p = s.refused("now all are full", s.ask(caller{}, both...))
		if p.Part != 1 || p.Use != 1 {
			s.Errorf("got part %d, use %d, want 1, 1, which makes it wait for longest", p.Part, p.Use)
		}
	}},
	{"a reservation is granted as of a time to come", false, func(s *suite) {
		k := s.key()
		from := s.now()
		s.granted("all", s.ask(caller{}, part(k, bucketOf(10, 10*time.Hour, 10))))
		for i := range 3 {
			p := s.ask(caller{maxWait: 3*time.Hour + time.Minute}, part(k, bucketOf(10, 10*time.Hour, 1)))
			if !p.Granted {
				s.Fatalf("got %s, want granted", p)
			}
			s.waits("in turn", p.Wait, time.Duration(i+1)*time.Hour, from)
		}
		p := s.refused("too far ahead", s.ask(caller{maxWait: 3*time.Hour + time.Minute}, part(k, bucketOf(10, 10*time.Hour, 1))))
		s.waits("too far ahead", p.Wait, 4*time.Hour, from)
		s.refused("without MaxWait", s.ask(caller{}, part(k, bucketOf(10, 10*time.Hour, 1))))
		s.refused("with a slot", s.ask(caller{maxWait: day}, part(k, bucketOf(10, 10*time.Hour, 1), slotsOf(1, 1))))
		s.granted("the slot was not taken", s.ask(caller{}, part(k, slotsOf(1, 1))))
		s.refused("backfill", s.ask(caller{maxWait: day, backfill: true}, part(k, bucketOf(10, 10*time.Hour, 1))))
	}},
	{"a reservation of a log", false, func(s *suite) {
		k := s.key()
		from := s.now()
		s.granted("all", s.ask(caller{}, part(k, logOf(2, time.Hour, 2))))
		for range 2 {
			p := s.ask(caller{maxWait: day}, part(k, logOf(2, time.Hour, 1)))
			if !p.Granted {
				s.Fatalf("got %s, want granted", p)
			}
			s.waits("the next window", p.Wait, time.Hour+time.Microsecond, from)
		}
		p := s.ask(caller{maxWait: day}, part(k, logOf(2, time.Hour, 1)))
		s.waits("the window after", p.Wait, 2*(time.Hour+time.Microsecond), from)
	}},
	{"a fixed window is not reserved", false, func(s *suite) {
		k := s.key()
		s.granted("all", s.ask(caller{}, part(k, fixedOf(2, time.Hour, 2))))
		s.refused("beyond", s.ask(caller{maxWait: day}, part(k, fixedOf(2, time.Hour, 1))))
		k = s.key()
		s.granted("one", s.ask(caller{}, part(k, fixedOf(2, time.Hour, 1), bucketOf(1, 3*time.Hour, 1))))
		s.refused("the bucket is ready in another window", s.ask(caller{maxWait: day}, part(k, fixedOf(2, time.Hour, 1), bucketOf(1, 3*time.Hour, 1))))
	}},
	{"a reservation of several limits is of one instant", false, func(s *suite) {
		k := s.key()
		fast, slow := named("fast", bucketOf(2, 2*time.Hour, 1)), named("slow", bucketOf(1, 4*time.Hour, 1))
		from := s.now()
		s.granted("both", s.ask(caller{}, part(k, fast, slow)))
		p := s.ask(caller{maxWait: day}, part(k, fast, slow))
		s.waits("the slow one", p.Wait, 4*time.Hour, from)
		// What the fast one has given is given as of then: until an hour before, it fills no further.
		p = s.ask(caller{maxWait: day}, part(k, fast))
		if !p.Granted || p.Wait > 4*time.Hour {
			s.Fatalf("got %s, want granted within 4 h", p)
		}
		p = s.ask(caller{maxWait: day}, part(k, fast))
		s.waits("after both", p.Wait, 5*time.Hour, from)
	}},
	{"backfill leaves headroom", false, func(s *suite) {
		k := s.key()
		u := bucketOf(10, 10*time.Hour, 1)
		back := u
		back.Headroom = 5
		from := s.now()
		for range 5 {
			s.granted("above the headroom", s.ask(caller{backfill: true}, part(k, back)))
		}
		p := s.refused("below it", s.ask(caller{backfill: true}, part(k, back)))
		s.waits("below it", p.Wait, time.Hour, from)
		for range 5 {
			s.granted("interactive", s.ask(caller{}, part(k, u)))
		}
		s.refused("interactive", s.ask(caller{}, part(k, u)))
		k = s.key()
		back.Cost, back.Headroom = 8, 9
		s.granted("a full bucket lets each cost through", s.ask(caller{backfill: true}, part(k, back)))
	}},
	{"backfill reserves half of its headroom", true, func(s *suite) {
		u := bucketOf(20, 2*time.Second, 1)
		back := u
		back.Headroom = 10 // a second
		for _, c := range []struct {
			maxWait time.Duration
			most    int // reservations of 100 ms
		}{{0, 0}, {90 * ms, 0}, {200 * ms, 1}, {500 * ms, 2}, {time.Second, 5}, {day, 5}} {
			k := s.key()
			s.granted("down to the headroom", s.ask(caller{backfill: true}, part(k, bucketOf(20, 2*time.Second, 10))))
			for i := range c.most {
				p := s.ask(caller{backfill: true, maxWait: c.maxWait}, part(k, back))
				if want := time.Duration(i+1) * 100 * ms; !p.Granted || p.Wait != want {
					s.Fatalf("%v ahead: got %s, want granted in %v", c.maxWait, p, want)
				}
			}
			s.refused("more", s.ask(caller{backfill: true, maxWait: c.maxWait}, part(k, back)))
			left := u
			left.Cost = int64(10 - c.most)
			s.granted("interactive calls have the rest at once", s.ask(caller{}, part(k, left)))
		}
	}},
	{"backfill that can't reserve keeps its place", true, func(s *suite) {
		u := bucketOf(20, 2*time.Second, 1)
		back := u
		back.Headroom = 10
		for _, uses := range [][]limiter.StoreUse{{back}, {back, slotsOf(8, 1)}} {
			k := s.key()
			ask := func(c caller, uses ...limiter.StoreUse) permit {
				c.backfill, c.maxWait = true, 400*ms // so 200 ms ahead
				if len(uses) > 1 {
					c.maxWait = 0
				}
				return s.ask(c, part(k, uses...))
			}
			s.granted("far into the headroom", s.ask(caller{}, part(k, bucketOf(20, 2*time.Second, 14))))
			first, second := caller{member: newID()}, caller{member: newID()}
			p := s.refused("first", ask(first, uses...))
			q := s.refused("second", ask(second, uses...))
			if q.Wait <= p.Wait {
				s.Errorf("%d uses: got waits of %v and %v, want a longer one for who came later", len(uses), p.Wait, q.Wait)
			}
			s.granted("an interactive call waits for neither", s.ask(caller{}, part(k, bucketOf(20, 2*time.Second, 1))))
			s.advance(600 * ms)
			if q = ask(second, uses...); q.Granted && q.Wait == 0 {
				s.Errorf("%d uses: who came later: got %s, want a wait", len(uses), q)
			}
			if p = ask(first, uses...); !p.Granted || p.Wait > 100*ms {
				s.Errorf("%d uses: who came first: got %s, want granted, within what the other has reserved", len(uses), p)
			}
		}
	}},
	{"backfill gets its share", true, func(s *suite) {
		for _, share := range []float64{0.1, 0.25, 0.5} {
			k := s.key()
			u := bucketOf(20, 20*time.Second, 1)
			back := u
			back.Headroom = 10
			s.granted("all", s.ask(caller{}, part(k, bucketOf(20, 20*time.Second, 20))))
			var got [2]float64
			for range 1000 {
				s.advance(500 * ms)
				// Both always want more than there is.
				if p := s.ask(caller{backfill: true, share: share}, part(k, back)); p.Granted {
					got[1]++
				}
				if p := s.ask(caller{share: share}, part(k, u)); p.Granted {
					got[0]++
				}
			}
			if part := got[1] / (got[0] + got[1]); part < share-0.02 || part > share+0.02 {
				s.Errorf("backfill got %.3f of %v grants, want %v", part, got[0]+got[1], share)
			}
			if all := got[0] + got[1]; all < 499 || all > 501 {
				s.Errorf("got %v grants in 500 s, want 500", all)
			}
		}
	}},
	{"owed backfill reserves", true, func(s *suite) {
		k := s.key()
		u := bucketOf(10, 10*time.Second, 1)
		s.granted("all", s.ask(caller{}, part(k, bucketOf(10, 10*time.Second, 10))))
		s.refused("backfill", s.ask(caller{backfill: true, maxWait: day, share: 0.5}, part(k, u)))
		if p := s.ask(caller{maxWait: day, share: 0.5}, part(k, u)); !p.Granted {
			s.Fatalf("interactive: got %s, want granted", p)
		}
		p := s.ask(caller{backfill: true, maxWait: day, share: 0.5}, part(k, u))
		if !p.Granted || p.Wait != 2*time.Second {
			s.Errorf("owed backfill: got %s, want granted in 2 s", p)
		}
		s.refused("backfill that is owed no more", s.ask(caller{backfill: true, maxWait: day, share: 0.5}, part(k, u)))
		s.ask(caller{maxWait: day, share: 0.5}, part(k, u))
		s.advance(3 * time.Second)
		s.refused("backfill did not want more for long", s.ask(caller{backfill: true, maxWait: day, share: 0.5}, part(k, u)))
	}},
	{"a cancelled call gives back what it took", false, func(s *suite) {
		for _, u := range []limiter.StoreUse{bucketOf(2, time.Hour, 2), logOf(2, time.Hour, 2), fixedOf(2, time.Hour, 2), slotsOf(2, 2)} {
			for _, ending := range []limiter.StoreEnding{limiter.StoreCancelled, limiter.StoreRefunded} {
				if ending == limiter.StoreRefunded && u.Limit.Kind == limiter.StoreSlots {
					continue
				}
				k := s.key()
				me := caller{member: newID()}
				p := s.granted(u.Limit.Name, s.ask(me, part(k, u)))
				s.refused(u.Limit.Name, s.ask(me, part(k, u)))
				p.end(ending)
				again := u
				if u.Limit.Kind == limiter.StoreBucket && !s.h.Exact {
					again.Cost = 1 // what it got since is not given twice, so a little may be missing
				}
				s.granted(u.Limit.Name+" again", s.ask(me, part(k, again)))
				p.end(ending)
				p.end(limiter.StoreCancelled)
				s.refused(u.Limit.Name+", cancelled twice", s.ask(me, part(k, u)))
			}
		}
	}},
	{"a refund is only of what is missing", true, func(s *suite) {
		k := s.key()
		p := s.granted("all", s.ask(caller{}, part(k, bucketOf(4, 4*time.Second, 4))))
		s.advance(3 * time.Second) // it has 3 again
		p.end(limiter.StoreCancelled)
		s.granted("all", s.ask(caller{}, part(k, bucketOf(4, 4*time.Second, 4))))
		s.refused("more", s.ask(caller{}, part(k, bucketOf(4, 4*time.Second, 1))))

		k = s.key()
		p = s.granted("all", s.ask(caller{}, part(k, bucketOf(4, 4*time.Second, 4))))
		s.advance(3 * time.Second)
		s.granted("what came", s.ask(caller{}, part(k, bucketOf(4, 4*time.Second, 3))))
		p.end(limiter.StoreCancelled)
		s.granted("what is missing still", s.ask(caller{}, part(k, bucketOf(4, 4*time.Second, 1))))
		s.refused("more", s.ask(caller{}, part(k, bucketOf(4, 4*time.Second, 1))))

		k = s.key()
		p = s.granted("a window", s.ask(caller{}, part(k, fixedOf(4, 4*time.Second, 4))))
		s.advance(5 * time.Second)
		s.granted("the next", s.ask(caller{}, part(k, fixedOf(4, 4*time.Second, 4))))
		p.end(limiter.StoreCancelled)
		s.refused("of the next nothing was given back", s.ask(caller{}, part(k, fixedOf(4, 4*time.Second, 1))))

		k = s.key()
		p = s.granted("a log", s.ask(caller{}, part(k, logOf(4, 40*time.Second, 3))))
		s.advance(5 * time.Second)
		s.granted("a later one", s.ask(caller{}, part(k, logOf(4, 40*time.Second, 1))))
		p.end(limiter.StoreCancelled)
		s.granted("the earlier one's", s.ask(caller{}, part(k, logOf(4, 40*time.Second, 3))))
		s.refused("more", s.ask(caller{}, part(k, logOf(4, 40*time.Second, 1))))
	}},
	{"a refund makes a bucket no fuller than what is reserved of it leaves", true, func(s *suite) {
		u := func(cost int64) limiter.StoreUse { return bucketOf(10, 10*time.Second, cost) }
		for _, c := range []struct {
			name     string
			reserved []int64
			cancel   []int // of the reservations, after the call before them
			left     int64 // when the last of them begins
		}{
			{"one", []int64{4}, nil, 6},
			{"two", []int64{2, 3}, nil, 7},
			{"two, the later is cancelled", []int64{2, 3}, []int{1}, 10},
			{"two, the earlier is cancelled", []int64{2, 3}, []int{0}, 7},
			{"two, both are cancelled", []int64{2, 3}, []int{1, 0}, 10},
		} {
			k := s.key()
			p := s.granted("all", s.ask(caller{}, part(k, u(10))))
			var reserved []permit
			for _, n := range c.reserved {
				q := s.ask(caller{maxWait: day}, part(k, u(n)))
				if !q.Granted {
					s.Fatalf("%s: got %s, want granted", c.name, q)
				}
				reserved = append(reserved, q)
			}
			p.end(limiter.StoreCancelled)
			for _, i := range c.cancel {
				reserved[i].end(limiter.StoreCancelled)
			}
			s.advance(reserved[len(reserved)-1].Wait)
			s.refused(c.name+": more than is left", s.ask(caller{}, part(k, u(c.left+1))))
			s.granted(c.name+": what is left", s.ask(caller{}, part(k, u(c.left))))
		}
	}},
	{"a reservation can be given back", false, func(s *suite) {
		for _, u := range []limiter.StoreUse{bucketOf(2, 2*time.Hour, 2), logOf(2, 2*time.Hour, 2)} {
			k := s.key()
			from := s.now()
			s.granted(u.Limit.Name, s.ask(caller{}, part(k, u)))
			p := s.ask(caller{maxWait: day}, part(k, u))
			first := p.Wait
			p.end(limiter.StoreCancelled)
			p = s.ask(caller{maxWait: day}, part(k, u))
			if !p.Granted || p.Wait > first {
				s.Errorf("%s: got %s, want granted within %v", u.Limit.Name, p, first)
			}
			s.waits(u.Limit.Name, p.Wait, first, from)
		}
	}},
	{"a permit that was never granted gives nothing back", false, func(s *suite) {
		k := s.key()
		s.granted("all", s.ask(caller{}, part(k, bucketOf(2, time.Hour, 2), logOf(2, time.Hour, 2), fixedOf(2, time.Hour, 2))))
		p := s.refused("more", s.ask(caller{}, part(k, bucketOf(2, time.Hour, 2))))
		p.Parts = []limiter.StorePart{part(k, bucketOf(2, time.Hour, 2), logOf(2, time.Hour, 2), fixedOf(2, time.Hour, 2))}
		p.end(limiter.StoreCancelled)
		for _, u := range []limiter.StoreUse{bucketOf(2, time.Hour, 1), logOf(2, time.Hour, 1), fixedOf(2, time.Hour, 1)} {
			s.refused(u.Limit.Name, s.ask(caller{}, part(k, u)))
		}
	}},
	{"a limit whose numbers change keeps its level", true, func(s *suite) {
		k := s.key()
		s.granted("all", s.ask(caller{}, part(k, bucketOf(10, 10*time.Second, 10))))
		p := s.refused("a larger burst is not given at once", s.ask(caller{}, part(k, bucketOf(100, 100*time.Second, 95))))
		if p.Wait <= 0 {
			s.Errorf("got a wait of %v", p.Wait)
		}
		s.refused("another kind", s.ask(caller{}, part(k, named("bucket", logOf(3, 10*time.Second, 3)))))
		s.advance(11 * time.Second)
		s.granted("another kind", s.ask(caller{}, part(k, named("bucket", logOf(3, 10*time.Second, 3)))))
	}},
}
