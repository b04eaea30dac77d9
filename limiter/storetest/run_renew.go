package storetest

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// renewTests are about members, what they hold, and what they owe.
var renewTests = []suiteTest{
	{"members are known until they leave", false, func(s *suite) {
		ids := []limiter.StoreID{newID(), newID(), newID()}
		slices.SortFunc(ids, func(a, b limiter.StoreID) int { return bytes.Compare(a[:], b[:]) })
		for i, id := range ids {
			s.renew(limiter.StoreRenewal{Member: id, Numbers: [8]byte{byte(i), 0xff}, Expiry: time.Hour})
		}
		known := func(a limiter.StoreRenewed) (got []limiter.StoreMember) {
			if !slices.IsSortedFunc(a.Members, func(a, b limiter.StoreMember) int { return bytes.Compare(a.ID[:], b.ID[:]) }) {
				s.Error("the members are not in the order of their ids")
			}
			for _, m := range a.Members {
				if slices.Contains(ids, m.ID) {
					got = append(got, m)
				}
			}
			return got
		}
		from := s.now()
		s.advance(ms)
		a := known(s.renew(limiter.StoreRenewal{Member: ids[0], Numbers: [8]byte{7}, Expiry: time.Hour}))
		if len(a) != 3 || a[0].Numbers != [8]byte{7} || a[2].Numbers != [8]byte{2, 0xff} {
			s.Errorf("got members %v, want three with their numbers", a)
		} else if a[0].Seen != 0 || a[1].Seen < ms || !s.h.Exact && a[1].Seen > s.now()-from+time.Second {
			s.Errorf("got members seen %v and %v ago, want 0 and at least %v", a[0].Seen, a[1].Seen, ms)
		}
		a = known(s.renew(limiter.StoreRenewal{Member: ids[1], Leave: true}))
		if len(a) != 2 || a[0].ID != ids[0] || a[1].ID != ids[2] {
			s.Errorf("one has left: got %v", a)
		}
		s.renew(limiter.StoreRenewal{Member: ids[2], Expiry: short})
		s.advance(short)
		a = known(s.renew(limiter.StoreRenewal{Member: newID(), Expiry: short}))
		if len(a) != 1 || a[0].ID != ids[0] {
			s.Errorf("one has run out: got %v", a)
		}
	}},
	{"members with other numbers are told of, each kind once", false, func(s *suite) {
		ids := []limiter.StoreID{newID(), newID(), newID(), newID()}
		numbers := []byte{1, 2, 2, 3} // that no other test has
		tables := func(i int, leave, apart bool) (got []string, members []limiter.StoreMember) {
			a := s.renew(limiter.StoreRenewal{Member: ids[i], Numbers: [8]byte{numbers[i], 0xfe}, Table: []byte{0, numbers[i]}, Leave: leave, Apart: apart})
			for _, t := range a.Tables {
				if len(t) == 2 && t[0] == 0 {
					got = append(got, string(t[1]+'0'))
				}
			}
			slices.Sort(got)
			return got, a.Members
		}
		for i := range ids {
			tables(i, false, i == 3)
		}
		if got, _ := tables(0, false, false); !slices.Equal(got, []string{"2", "3"}) {
			s.Errorf("got tables %q, want 2 and 3", got)
		}
		got, members := tables(1, false, false)
		if !slices.Equal(got, []string{"1", "3"}) {
			s.Errorf("got tables %q, want 1 and 3", got)
		}
		for _, m := range members {
			if i := slices.Index(ids, m.ID); i >= 0 && m.Apart != (i == 3) {
				s.Errorf("member %d: got apart %v, want %v", i, m.Apart, i == 3)
			}
		}
		tables(3, true, false)
		if got, _ := tables(0, false, false); !slices.Equal(got, []string{"2"}) {
			s.Errorf("one has left: got tables %q, want 2", got)
		}
		for i := range ids {
			tables(i, true, false)
		}
	}},
	{"who was not seen for long is gone, unless it watches", true, func(s *suite) {
		lives, gone, ctx := newID(), newID(), context.Background()
		watching, cancel := context.WithCancel(ctx)
		defer cancel()
		ready := make(chan struct{}, 10)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = s.h.Store.Watch(watching, lives, func(limiter.StoreEvent) { ready <- struct{}{} })
		}()
		<-ready
		for _, id := range []limiter.StoreID{lives, gone} {
			s.renew(limiter.StoreRenewal{Member: id})
		}
		is := func() (of [2]bool) {
			for _, m := range s.renew(limiter.StoreRenewal{}).Members {
				of[0] = of[0] || m.ID == lives && m.Gone
				of[1] = of[1] || m.ID == gone && m.Gone
			}
			return of
		}
		s.advance(10 * time.Second)
		if got := is(); got != [2]bool{} {
			s.Errorf("after half a lease: got gone %v, want none", got)
		}
		s.advance(ms)
		if got := is(); got != [2]bool{false, true} {
			s.Errorf("after more than that: got gone %v, want only who does not watch", got)
		}
		cancel()
		<-done
		for until := time.Now().Add(patience); is() != [2]bool{true, true}; {
			if time.Now().After(until) {
				s.Fatal("nobody watches: got that one is not gone")
			}
			time.Sleep(time.Millisecond)
		}
	}},
	{"renewed leases are kept", false, func(s *suite) {
		k := s.key()
		p := s.granted("a slot", s.ask(caller{lease: short}, part(k, slotsOf(1, 1))))
		a := s.renew(limiter.StoreRenewal{Member: p.Member, Lease: time.Hour, Leases: []limiter.StoreLease{p.lease()}})
		if len(a.Lost) != 0 || a.Forgot {
			s.Errorf("got lost %v, forgot %v, want none, false", a.Lost, a.Forgot)
		}
		s.advance(short)
		s.refused("it is kept", s.ask(caller{}, part(k, slotsOf(1, 1))))
	}},
	{"a lease that ran out is lost where others have it", false, func(s *suite) {
		k, free := s.key(), s.key()
		p := s.granted("a slot", s.ask(caller{lease: short}, part(k, slotsOf(1, 1))))
		q := s.granted("a slot", s.ask(caller{lease: short}, part(free, slotsOf(1, 1))))
		s.advance(short)
		other := s.granted("it has run out", s.ask(caller{}, part(k, slotsOf(1, 1))))
		l, m := p.lease(), q.lease()
		l.Version, m.Version = 0, 0
		a := s.renew(limiter.StoreRenewal{Member: p.Member, Leases: []limiter.StoreLease{l, m}})
		if len(a.Lost) != 1 || a.Lost[0] != p.ID {
			s.Errorf("got lost %v, want %v", a.Lost, p.ID)
		}
		s.refused("what nobody has taken is its own still", s.ask(caller{}, part(free, slotsOf(1, 1))))
		p.end(limiter.StoreReleased)
		s.refused("the other's lease is not ended by that", s.ask(caller{}, part(k, slotsOf(1, 1))))
		other.end(limiter.StoreReleased)
	}},
	{"a lease is not renewed after its end", false, func(s *suite) {
		k := s.key()
		p := s.granted("a slot", s.ask(caller{}, part(k, slotsOf(1, 1))))
		p.end(limiter.StoreCancelled)
		a := s.renew(limiter.StoreRenewal{Member: p.Member, Leases: []limiter.StoreLease{p.lease()}})
		if len(a.Lost) != 0 {
			s.Errorf("got lost %v, want none", a.Lost)
		}
		s.granted("free", s.ask(caller{}, part(k, slotsOf(1, 1))))
	}},
	{"who leaves gives back what it holds", false, func(s *suite) {
		k := s.key()
		p := s.granted("a slot", s.ask(caller{}, part(k, slotsOf(1, 1))))
		next := newID()
		e := s.watch(next)
		s.refused("used", s.ask(caller{member: next}, part(k, slotsOf(1, 1))))
		s.renew(limiter.StoreRenewal{Member: p.Member, Leave: true, Leases: []limiter.StoreLease{p.lease()}})
		e.want(s, "freed", k, true)
		s.granted("free", s.ask(caller{member: next}, part(k, slotsOf(1, 1))))
	}},
	{"debts are charged once", false, func(s *suite) {
		k := s.key()
		u := bucketOf(10, 10*time.Hour, 1)
		debt := limiter.StoreDebt{Key: k, Limit: u.Limit, Units: 8, ID: newID()}
		from := s.now()
		for range 3 {
			s.renew(limiter.StoreRenewal{Debts: []limiter.StoreDebt{debt}})
		}
		for range 2 {
			s.granted("two are left", s.ask(caller{}, part(k, u)))
		}
		s.refused("no more", s.ask(caller{}, part(k, u)))
		debt.ID, debt.Units = newID(), 1<<62
		s.renew(limiter.StoreRenewal{Debts: []limiter.StoreDebt{debt}})
		p := s.refused("at most the burst below empty", s.ask(caller{}, part(k, u)))
		s.waits("at most the burst below empty", p.Wait, 11*time.Hour, from)
		for _, u := range []limiter.StoreUse{fixedOf(10, time.Hour, 1), logOf(10, time.Hour, 1)} {
			debt.Key, debt.Limit = s.key(), u.Limit
			for _, n := range []int64{8, 1} {
				debt.Units, debt.ID = n, newID()
				s.renew(limiter.StoreRenewal{Debts: []limiter.StoreDebt{debt}})
			}
			s.granted(u.Limit.Name, s.ask(caller{}, part(debt.Key, u)))
			s.refused(u.Limit.Name, s.ask(caller{}, part(debt.Key, u)))
		}
		debt.Key, debt.Units, debt.ID = s.key(), -5, newID()
		s.renew(limiter.StoreRenewal{Debts: []limiter.StoreDebt{debt, {Key: s.key(), Limit: gate("gate").Limit, Units: 5, ID: newID()},
			{Key: s.key(), Limit: slotsOf(1, 1).Limit, Units: 5, ID: newID()}}})
	}},
	{"after forgetting", true, func(s *suite) {
		if s.h.Forget == nil {
			s.Skip("the store cannot forget")
		}
		k, limits := s.key(), []limiter.StoreUse{bucketOf(10, 10*time.Second, 1)}
		slot, held := s.key(), s.key()
		p := s.granted("a slot", s.ask(caller{lease: 30 * time.Second}, part(slot, slotsOf(2, 1), gate("gate"))))
		st := s.hold(held, gate("gate"), time.Hour)
		s.h.Forget()

		b := s.refused("a bucket begins empty", s.ask(caller{}, part(k, limits...)))
		s.waits("a bucket begins empty", b.Wait, time.Second, s.now())
		l := s.ask(caller{}, part(s.key(), logOf(10, 10*time.Second, 1)))
		s.refused("a log begins full", l)
		q := s.refused("no slots", s.ask(caller{lease: 30 * time.Second}, part(slot, slotsOf(2, 1))))
		s.waits("no slots", q.Wait, 10*time.Second, s.now())
		if q.Forgot {
			s.Error("nobody knew the key, but the store says that it has forgotten it")
		}
		lease := p.lease()
		a := s.renew(limiter.StoreRenewal{Member: p.Member, Lease: 30 * time.Second, Leases: []limiter.StoreLease{lease,
			{Key: held, Limit: gate("gate").Limit, Version: st.Version, State: limiter.StoreState{Held: time.Hour, Cause: st.Cause, Refusals: 3}}}})
		if !a.Forgot || len(a.Lost) != 0 {
			s.Errorf("got forgot %v, lost %v, want true, none", a.Forgot, a.Lost)
		}
		q = s.refused("the hold is back", s.ask(caller{}, part(held, gate("gate"))))
		if !q.Held {
			s.Errorf("got %s, want held", q)
		}
		s.wantCause("the hold is back", q.Cause)
		if st := s.change(limiter.StoreChange{Kind: limiter.StoreRefused, Key: held, Limit: gate("gate").Limit, Sent: -1}); st.Refusals != 4 {
			s.Errorf("got %d refusals, want 4", st.Refusals)
		}
		s.advance(10 * time.Second)
		q = s.granted("one is free", s.ask(caller{}, part(slot, slotsOf(2, 1))))
		s.refused("one is put back", s.ask(caller{member: q.Member}, part(slot, slotsOf(2, 1))))
		p.end(limiter.StoreReleased)
		s.granted("it has ended", s.ask(caller{member: q.Member}, part(slot, slotsOf(2, 1))))
		s.granted("the bucket has filled", s.ask(caller{}, part(k, bucketOf(10, 10*time.Second, 10))))
		if s.h.Restore != nil {
			s.h.Restore()
		}
	}},
	{"a forgotten key is noticed", true, func(s *suite) {
		if s.h.ForgetKey == nil {
			s.Skip("the store cannot forget a key")
		}
		k := s.key()
		p := s.granted("a slot", s.ask(caller{lease: 30 * time.Second}, part(k, slotsOf(2, 1), bucketOf(10, 10*time.Second, 1))))
		if p.Versions[0] == 0 {
			s.Fatal("got version 0")
		}
		s.h.ForgetKey(k)
		known := part(k, slotsOf(2, 1), bucketOf(10, 10*time.Second, 1))
		known.Version = p.Versions[0]
		q := s.refused("no slots", s.ask(caller{lease: 30 * time.Second}, known))
		if !q.Forgot || q.Wait != 10*time.Second || q.Versions[0] < known.Version {
			s.Errorf("got forgot %v, %s, version %d, want true, refused for 10s, at least %d", q.Forgot, q, q.Versions[0], known.Version)
		}
		q = s.refused("the bucket is empty", s.ask(caller{}, part(k, bucketOf(10, 10*time.Second, 1))))
		s.waits("the bucket is empty", q.Wait, time.Second, s.now())
		all := s.ask(caller{}, part(k, slotsOf(2, 2)))
		s.refused("no slots", all)
		a := s.renew(limiter.StoreRenewal{Member: p.Member, Lease: 30 * time.Second, Leases: []limiter.StoreLease{p.lease(),
			{Key: k, Limit: slotsOf(2, 1).Limit, ID: newID(), Slots: 2, Version: 1}}})
		if len(a.Lost) != 0 {
			s.Errorf("got lost %v, want none: all is put back, even over the limit", a.Lost)
		}
		s.advance(10 * time.Second)
		s.refused("all are used", s.ask(caller{}, part(k, slotsOf(2, 1))))
	}},
	{"versions", false, func(s *suite) {
		k := s.key()
		var last uint64
		step := func(what string, v uint64) {
			s.Helper()
			if v <= last {
				s.Errorf("%s: got version %d after %d", what, v, last)
			}
			last = v
		}
		p := s.granted("take", s.ask(caller{}, part(k, slotsOf(5, 1), gate("gate"))))
		step("take", p.Versions[0])
		step("hold", s.hold(k, gate("gate"), time.Hour).Version)
		step("refusal", s.change(limiter.StoreChange{Kind: limiter.StoreRefused, Key: k, Limit: gate("gate").Limit, Sent: -1}).Version)
		step("lift", s.change(limiter.StoreChange{Kind: limiter.StoreLifted, Key: k, Limit: gate("gate").Limit}).Version)
		known := part(k, slotsOf(5, 1))
		known.Version = last
		q := s.granted("the newest version is known", s.ask(caller{}, known))
		if q.Forgot {
			s.Error("the newest version: got forgot true")
		}
		step("take", q.Versions[0])
	}},
}
