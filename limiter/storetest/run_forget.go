package storetest

import (
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// forgetTests are about data that a store has lost and processes restore.
var forgetTests = []suiteTest{
	{"what was lowered and learned is put back", true, func(s *suite) {
		low, learned := slotsOf(100, 1), fixedOf(100, time.Hour, 1)
		low.Limit.Adapt, learned.Limit.Learn = true, true
		k := s.key()
		st := s.change(limiter.StoreChange{Kind: limiter.StoreRefused, Key: k, Limit: low.Limit, Sent: -1})
		if st.Lowered != 300_000 {
			s.Errorf("refused: got lowered by %d millionths, want 300000", st.Lowered)
		}
		told := s.change(limiter.StoreChange{Kind: limiter.StoreLearned, Key: k, Limit: learned.Limit, Remaining: 7, Reset: time.Minute, Quota: 50})
		if told.Left != 7 || told.Reset != time.Minute || told.Quota != 50 {
			s.Errorf("learned: got %d left until %v of %d, want 7 until 1m of 50", told.Left, told.Reset, told.Quota)
		}
		s.forgetAll()
		s.granted("a fixed window begins unused", s.ask(caller{}, part(k, learned)))
		stricter := told
		stricter.Left, stricter.Reset, stricter.Age = 5, told.Reset-time.Second, time.Second
		for _, st := range []limiter.StoreState{told, stricter, told} { // whoever comes last, and again
			s.renew(limiter.StoreRenewal{Lease: 30 * time.Second, Leases: []limiter.StoreLease{{Key: k, Limit: learned.Limit, State: st}}})
		}
		s.renew(limiter.StoreRenewal{Lease: 30 * time.Second, Leases: []limiter.StoreLease{{Key: k, Limit: low.Limit, State: st}}})
		for i := range 4 {
			if p := s.ask(caller{}, part(k, learned)); !p.Granted {
				s.Fatalf("%d of 5 units after one that was granted: got %s", i+1, p)
			}
		}
		p := s.refused("all that was left is used", s.ask(caller{}, part(k, learned)))
		s.waits("all that was left is used", p.Wait, time.Minute, s.now())
		s.advance(10 * time.Second)
		member := newID()
		for i := range 75 { // 70 at first, and half a hundredth more a second
			if p := s.ask(caller{member: member}, part(k, low)); !p.Granted {
				s.Fatalf("slot %d of 75: got %s", i+1, p)
			}
		}
		s.refused("the limit is still lowered", s.ask(caller{member: member}, part(k, low)))
		s.advance(50 * time.Second)
		s.granted("the window has begun anew", s.ask(caller{}, part(k, fixedLearn(100, time.Hour, 50))))
		s.refused("the provider's number", s.ask(caller{}, part(k, learned)))
		s.restored()
	}},
	{"nothing is put back that is lower or was learned later than what is known by now", true, func(s *suite) {
		u := fixedLearn(100, time.Hour, 1)
		k := s.key()
		old := s.change(limiter.StoreChange{Kind: limiter.StoreLearned, Key: k, Limit: u.Limit, Remaining: 40, Reset: 30 * time.Second})
		s.forgetAll()
		s.change(limiter.StoreChange{Kind: limiter.StoreLearned, Key: k, Limit: u.Limit, Remaining: 3, Reset: time.Minute})
		s.renew(limiter.StoreRenewal{Lease: 30 * time.Second, Leases: []limiter.StoreLease{{Key: k, Limit: u.Limit, State: old}}})
		s.granted("three are left", s.ask(caller{}, part(k, fixedLearn(100, time.Hour, 3))))
		p := s.refused("of a later window", s.ask(caller{}, part(k, u)))
		s.waits("of a later window", p.Wait, time.Minute, s.now())
		s.restored()
	}},
	{"a hold that was lifted is not put back until it would have ended", true, func(s *suite) {
		k, u := s.key(), gate("gate")
		const length = 24 * time.Hour
		st := s.hold(k, u, length)
		s.change(limiter.StoreChange{Kind: limiter.StoreLifted, Key: k, Limit: u.Limit})
		for _, passed := range []time.Duration{0, ms, 19 * time.Minute, 2 * time.Minute, 12 * time.Hour, 11 * time.Hour} { // by one that was not told
			s.advance(passed)
			st.Age += passed
			st.Held = length - st.Age
			if r := s.renew(limiter.StoreRenewal{Leases: []limiter.StoreLease{{Key: k, Limit: u.Limit, Version: st.Version, State: st}}}); r.Forgot {
				s.Errorf("%v after the lift: the value was forgotten", st.Age)
			}
			if q := s.ask(caller{}, part(k, u)); !q.Granted {
				s.Fatalf("%v after the lift: got %s, want granted", st.Age, q)
			}
		}
	}},
	{"what was lifted since is not put back", true, func(s *suite) {
		for _, forget := range []struct {
			name string
			all  bool
		}{{"all", true}, {"one key", false}} {
			k, u := s.key(), gate("gate")
			st := s.hold(k, u, time.Hour)
			if forget.all {
				s.forgetAll()
			} else if s.h.ForgetKey == nil {
				continue
			} else {
				s.h.ForgetKey(k)
			}
			e := s.watch(newID())
			s.advance(ms)
			s.change(limiter.StoreChange{Kind: limiter.StoreLifted, Key: k, Limit: u.Limit})
			e.want(s, forget.name+": who may know of a hold is told that it is lifted", k, false)
			s.advance(time.Second)
			st.Age = time.Second + ms
			again := limiter.StoreRenewal{Lease: 30 * time.Second, Leases: []limiter.StoreLease{{Key: k, Limit: u.Limit, Version: st.Version + 5, State: st}}}
			again.Leases[0].State.Held -= st.Age
			s.renew(again)
			s.granted(forget.name+": it was lifted after it was known", s.ask(caller{}, part(k, u)))
			again.Leases[0].State.Age = 500 * ms
			s.renew(again)
			p := s.refused(forget.name+": it was set after that", s.ask(caller{}, part(k, u)))
			s.waits(forget.name+": it was set after that", p.Wait, time.Hour-time.Second-ms, s.now())
			s.restored()
		}
	}},
}

func fixedLearn(units int64, d time.Duration, cost int64) limiter.StoreUse {
	u := fixedOf(units, d, cost)
	u.Limit.Learn = true
	return u
}

// forgetAll loses all that the store knows, or skips the test.
func (s *suite) forgetAll() {
	s.Helper()
	if s.h.Forget == nil {
		s.Skip("the store cannot forget")
	}
	s.h.Forget()
}

// restored calls Harness.Restore, if there is one.
func (s *suite) restored() {
	if s.h.Restore != nil {
		s.h.Restore()
	}
}
