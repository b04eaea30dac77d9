package storetest

import (
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// holdTests are about holds, refusals, and what replies tell.
var holdTests = []suiteTest{
	{"a hold closes a limit", false, func(s *suite) {
		for _, u := range []limiter.StoreUse{gate("gate"), bucketOf(10, 10*time.Hour, 1), logOf(10, time.Hour, 1), fixedOf(10, time.Hour, 1), slotsOf(10, 1)} {
			k := s.key()
			from := s.now()
			st := s.hold(k, u, time.Hour)
			s.waits(u.Limit.Name, st.Held, time.Hour, from)
			s.wantCause(u.Limit.Name, st.Cause)
			p := s.refused(u.Limit.Name, s.ask(caller{maxWait: day}, part(k, named("other", bucketOf(1, time.Hour, 1)), u)))
			s.waits(u.Limit.Name, p.Wait, time.Hour, from)
			s.wantCause(u.Limit.Name, p.Cause)
			if !p.Held || p.Part != 0 || p.Use != 1 {
				s.Errorf("%s: got held %v, part %d, use %d, want true, 0, 1", u.Limit.Name, p.Held, p.Part, p.Use)
			}
			s.granted("the other limit", s.ask(caller{}, part(k, named("other", bucketOf(1, time.Hour, 1)))))
			if st := s.hold(k, u, time.Minute); st.Held < 50*time.Minute {
				s.Errorf("%s: an earlier end: got held for %v, want an hour", u.Limit.Name, st.Held)
			}
			from = s.now()
			st = s.hold(k, u, 2*time.Hour)
			s.waits(u.Limit.Name+" extended", st.Held, 2*time.Hour, from)
			st = s.change(limiter.StoreChange{Kind: limiter.StoreLifted, Key: k, Limit: u.Limit})
			if st.Held != 0 || st.Cause != (limiter.Cause{}) {
				s.Errorf("%s: lifted: got %+v", u.Limit.Name, st)
			}
			if u.Cost = 10; u.Limit.Kind == limiter.StoreGate {
				u.Cost = 0
			}
			s.granted(u.Limit.Name+" as if it had never been held", s.ask(caller{}, part(k, u)))
		}
	}},
	{"a hold of no length closes nothing", false, func(s *suite) {
		k := s.key()
		for _, d := range []time.Duration{0, -time.Hour, -1 << 63} {
			if st := s.hold(k, gate("gate"), d); st.Held != 0 {
				s.Errorf("a hold of %v: got held for %v", d, st.Held)
			}
		}
		s.granted("open", s.ask(caller{}, part(k, gate("gate"))))
		if st := s.hold(k, gate("gate"), 1<<63-1); st.Held < 365*day {
			s.Errorf("the longest hold: got held for %v", st.Held)
		}
	}},
	{"a lift of what is not there", false, func(s *suite) {
		if st := s.change(limiter.StoreChange{Kind: limiter.StoreLifted, Key: s.key(), Limit: gate("gate").Limit}); st != (limiter.StoreState{Version: st.Version}) {
			s.Errorf("got %+v", st)
		}
	}},
	{"a hold is told, and a lift", false, func(s *suite) {
		k := s.key()
		e := s.watch(newID())
		s.hold(k, gate("gate"), time.Hour)
		if ev := e.want(s, "held", k, false); ev.Lifted {
			s.Error("held: got told of a lift")
		}
		s.hold(k, gate("gate"), time.Minute)
		e.none(s, "an earlier end", k, false)
		s.change(limiter.StoreChange{Kind: limiter.StoreLifted, Key: k, Limit: gate("gate").Limit})
		if ev := e.want(s, "lifted", k, false); !ev.Lifted {
			s.Error("lifted: got told of a hold")
		}
	}},
	{"a bucket is empty after a hold", true, func(s *suite) {
		k := s.key()
		u := bucketOf(10, 10*time.Second, 1)
		s.hold(k, u, time.Minute)
		s.advance(time.Minute)
		p := s.refused("at its end", s.ask(caller{}, part(k, u)))
		s.waits("at its end", p.Wait, time.Second, s.now())
		s.advance(time.Second)
		s.granted("a second later", s.ask(caller{}, part(k, u)))
		s.advance(9 * time.Second)
		s.granted("then it fills", s.ask(caller{}, part(k, bucketOf(10, 10*time.Second, 9))))
	}},
	{"probes after a hold", false, func(s *suite) {
		for _, u := range []limiter.StoreUse{gate("gate"), logOf(1000, time.Hour, 1), fixedOf(1000, time.Hour, 1), slotsOf(1000, 1)} {
			for _, good := range []limiter.StoreEnding{limiter.StoreReleased, limiter.StoreCompleted, limiter.StoreSucceeded} {
				k := s.key()
				s.hold(k, u, short)
				s.advance(short)
				var out []permit
				for _, n := range []int{1, 2, 4} {
					for range n {
						out = append(out, s.granted(u.Limit.Name+", a probe", s.ask(caller{}, part(k, u))))
					}
					p := s.refused(u.Limit.Name+", as many as are let through", s.ask(caller{}, part(k, u)))
					if p.Held || p.Wait != 0 {
						s.Errorf("%s: got %s, want refused until somebody ends", u.Limit.Name, p)
					}
					s.wantCause(u.Limit.Name, p.Cause)
					for _, p := range out {
						p.end(good)
						p.end(good)
					}
					out = nil
				}
				s.hold(k, u, short)
				s.advance(short)
				s.granted(u.Limit.Name+", after another hold", s.ask(caller{}, part(k, u)))
				s.refused(u.Limit.Name+", one again", s.ask(caller{}, part(k, u)))
			}
		}
	}},
	{"a probe that did not reach the provider makes room for another", false, func(s *suite) {
		k := s.key()
		s.hold(k, gate("gate"), short)
		s.advance(short)
		for _, ending := range []limiter.StoreEnding{limiter.StoreCancelled, limiter.StoreRefunded, limiter.StoreCancelled} {
			p := s.granted("a probe", s.ask(caller{}, part(k, gate("gate"))))
			s.refused("no other", s.ask(caller{}, part(k, gate("gate"))))
			p.end(ending)
		}
	}},
	{"probes open a limit in the end", true, func(s *suite) {
		for _, u := range []limiter.StoreUse{gate("gate"), slotsOf(4, 1)} {
			k := s.key()
			s.hold(k, u, time.Second)
			s.advance(time.Second)
			atOnce := func() (n int) {
				for n < 100 && s.ask(caller{}, part(k, u)).Granted {
					n++
				}
				return n
			}
			for range 64 {
				p := s.granted("a probe", s.ask(caller{}, part(k, u)))
				p.end(limiter.StoreReleased)
			}
			want := 100
			if u.Limit.Units > 0 {
				want = int(u.Limit.Units)
			}
			if got := atOnce(); got != want {
				s.Errorf("%s: after many probes: got %d at once, want %d", u.Limit.Name, got, want)
			}
			k = s.key()
			s.hold(k, u, time.Second)
			s.advance(time.Second + time.Minute)
			if got := atOnce(); got != want {
				s.Errorf("%s: when nobody has tried for a minute: got %d at once, want %d", u.Limit.Name, got, want)
			}
		}
	}},
	{"a probe that nobody ends runs out", true, func(s *suite) {
		k := s.key()
		s.hold(k, gate("gate"), time.Second)
		s.advance(time.Second)
		s.granted("a probe", s.ask(caller{}, part(k, gate("gate"))))
		s.advance(time.Minute - ms)
		s.refused("not yet", s.ask(caller{}, part(k, gate("gate"))))
		s.advance(ms)
		s.granted("it has run out", s.ask(caller{}, part(k, gate("gate"))))
	}},
	{"refusals in a row", false, func(s *suite) {
		k := s.key()
		refused := limiter.StoreChange{Kind: limiter.StoreRefused, Key: k, Limit: gate("gate").Limit, Sent: -1, Cause: cause,
			Steps: []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute}}
		for i, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 4 * time.Minute} {
			from := s.now()
			st := s.change(refused)
			if st.Refusals != i+1 {
				s.Errorf("got %d refusals, want %d", st.Refusals, i+1)
			}
			s.waits("step", st.Held, want, from)
			s.wantCause("step", st.Cause)
		}
		refused.Sent = time.Hour
		if st := s.change(refused); st.Refusals != 4 {
			s.Errorf("of a call from before: got %d refusals, want 4", st.Refusals)
		}
		k = s.key()
		refused.Key, refused.Sent, refused.Steps = k, -1, nil
		st := s.change(refused)
		if st.Refusals != 1 || st.Held != 0 {
			s.Errorf("without steps: got %+v, want 1 refusal and no hold", st)
		}
		s.granted("without steps", s.ask(caller{}, part(k, gate("gate"))))
	}},
	{"a success ends the row of refusals", false, func(s *suite) {
		for _, c := range []struct {
			ending limiter.StoreEnding
			want   int
		}{
			{limiter.StoreReleased, 2}, {limiter.StoreCancelled, 2}, {limiter.StoreRefunded, 2},
			{limiter.StoreCompleted, 1}, {limiter.StoreSucceeded, 1},
		} {
			k := s.key()
			refused := limiter.StoreChange{Kind: limiter.StoreRefused, Key: k, Limit: gate("gate").Limit, Sent: -1}
			before := s.granted("before", s.ask(caller{}, part(k, gate("gate"))))
			s.advance(ms)
			s.change(refused)
			before.end(limiter.StoreSucceeded)
			s.advance(ms)
			p := s.granted("after", s.ask(caller{}, part(k, gate("gate"))))
			if p.NoEnd {
				s.Error("a refusal is counted, but the store does not want to hear of a success")
			}
			p.end(c.ending)
			if st := s.change(refused); st.Refusals != c.want {
				s.Errorf("ending %d: got %d refusals, want %d", c.ending, st.Refusals, c.want)
			}
		}
	}},
	{"refusals an hour apart are not in a row", true, func(s *suite) {
		refused := limiter.StoreChange{Kind: limiter.StoreRefused, Key: s.key(), Limit: gate("gate").Limit, Sent: -1}
		s.change(refused)
		s.advance(time.Hour - ms)
		if st := s.change(refused); st.Refusals != 2 {
			s.Errorf("within an hour: got %d, want 2", st.Refusals)
		}
		s.advance(time.Hour)
		if st := s.change(refused); st.Refusals != 1 {
			s.Errorf("after an hour: got %d, want 1", st.Refusals)
		}
	}},
	{"only what must be heard of an end is wanted", false, func(s *suite) {
		k := s.key()
		units := []limiter.StoreUse{gate("gate"), bucketOf(100, time.Hour, 1), logOf(50, time.Hour, 1), fixedOf(10, time.Hour, 1)}
		if p := s.granted("units", s.ask(caller{}, part(k, units...))); !p.NoEnd {
			s.Error("units alone: got NoEnd false, want true")
		}
		if p := s.granted("a slot", s.ask(caller{}, part(k, append(units, slotsOf(1, 1))...))); p.NoEnd {
			s.Error("a slot: got NoEnd true, want false")
		}
		s.hold(k, gate("gate"), short)
		s.advance(short)
		if p := s.granted("a probe", s.ask(caller{}, part(k, units...))); p.NoEnd {
			s.Error("a probe: got NoEnd true, want false")
		}
	}},
	{"refusals lower a limit", true, func(s *suite) {
		count := func(k limiter.StoreKey, u limiter.StoreUse) (n int) {
			for s.ask(caller{}, part(k, u)).Granted {
				n++
			}
			return n
		}
		for _, u := range []limiter.StoreUse{bucketOf(100, 1000*time.Second, 1), logOf(50, 100*time.Second, 1), fixedOf(100, 100*time.Second, 1), slotsOf(10, 1)} {
			u.Limit.Adapt = true
			k := s.key()
			refused := limiter.StoreChange{Kind: limiter.StoreRefused, Key: k, Limit: u.Limit, Sent: -1}
			s.change(refused)
			s.change(refused) // within a second
			got, want := count(k, u), int(u.Limit.Units*7/10)
			if u.Limit.Kind == limiter.StoreBucket && got == want-1 {
				got = want // what each call takes of the bucket's time is rounded up
			}
			if got != want {
				s.Errorf("%s: after one refusal: got %d, want %d", u.Limit.Name, got, want)
			}
			k = s.key()
			refused.Key = k
			for range 20 {
				s.change(refused)
				s.advance(time.Second)
			}
			if u.Limit.Kind == limiter.StoreFixed || u.Limit.Kind == limiter.StoreSlots {
				if got, want := count(k, u), max(1, int(u.Limit.Units*5/100)); got != want {
					s.Errorf("%s: at worst: got %d, want %d", u.Limit.Name, got, want)
				}
			}
			dear := u
			dear.Cost = u.Limit.Units
			k = s.key()
			refused.Key = k
			s.change(refused)
			s.granted(u.Limit.Name+": the dearest call passes still", s.ask(caller{}, part(k, dear)))
			k = s.key()
			refused.Key = k
			s.change(refused)
			s.advance(60 * time.Second)
			if got, want := count(k, u), int(u.Limit.Units); got != want {
				s.Errorf("%s: a minute later: got %d, want %d", u.Limit.Name, got, want)
			}
			k = s.key()
			refused.Key, refused.Limit.Adapt = k, false
			s.change(refused)
			if got, want := count(k, u), int(u.Limit.Units); got != want {
				s.Errorf("%s: without Adapt: got %d, want %d", u.Limit.Name, got, want)
			}
		}
	}},
	{"what replies tell", true, func(s *suite) {
		for _, u := range []limiter.StoreUse{bucketOf(100, 100*time.Second, 1), logOf(60, 100*time.Second, 1), fixedOf(100, 100*time.Second, 1)} {
			u.Limit.Learn = true
			k := s.key()
			learned := limiter.StoreChange{Kind: limiter.StoreLearned, Key: k, Limit: u.Limit, Reset: 50 * time.Second}
			p := s.granted("first", s.ask(caller{}, part(k, u)))
			if len(p.Counts) != 1 {
				s.Fatalf("%s: got counts %v, want one", u.Limit.Name, p.Counts)
			}
			for range 3 {
				s.granted("later", s.ask(caller{}, part(k, u)))
			}
			learned.Remaining, learned.Count = 5, p.Counts[0]
			s.change(learned) // 3 of the 5 are granted by now
			learned.Remaining = 90
			s.change(learned) // more until the same reset: an older reply
			learned.Remaining, learned.Reset = 1, 10*time.Second
			s.change(learned) // an earlier window
			s.granted("two are left", s.ask(caller{}, part(k, u)))
			s.granted("one is left", s.ask(caller{}, part(k, u)))
			p = s.refused(u.Limit.Name+": none is left", s.ask(caller{maxWait: day}, part(k, u)))
			s.waits(u.Limit.Name, p.Wait, 50*time.Second, s.now())
			s.advance(50 * time.Second)
			s.granted(u.Limit.Name+": after the reset", s.ask(caller{}, part(k, u)))

			learned = limiter.StoreChange{Kind: limiter.StoreLearned, Key: s.key(), Limit: u.Limit, Remaining: 0, Reset: time.Hour}
			s.change(learned)
			s.refused(u.Limit.Name+": nothing is left", s.ask(caller{}, part(learned.Key, u)))
			learned.Kind = limiter.StoreLifted
			s.change(learned)
			s.granted(u.Limit.Name+": lifted", s.ask(caller{}, part(learned.Key, u)))

			for _, bad := range []limiter.StoreChange{{Remaining: -1, Reset: time.Hour}, {Reset: -1}, {Reset: 8 * day}} {
				bad.Kind, bad.Key, bad.Limit = limiter.StoreLearned, s.key(), u.Limit
				s.change(bad)
				s.granted(u.Limit.Name+": what can't be is ignored", s.ask(caller{}, part(bad.Key, u)))
			}
		}
	}},
	{"what replies tell without a reset", true, func(s *suite) {
		k := s.key()
		u := bucketOf(100, 100*time.Second, 1)
		u.Limit.Learn = true
		s.change(limiter.StoreChange{Kind: limiter.StoreLearned, Key: k, Limit: u.Limit, Remaining: 2})
		for range 2 {
			s.granted("two are left", s.ask(caller{}, part(k, u)))
		}
		p := s.refused("none is left", s.ask(caller{}, part(k, u)))
		s.waits("it fills", p.Wait, time.Second, s.now())
		k = s.key()
		u = fixedOf(100, 100*time.Second, 1)
		u.Limit.Learn = true
		s.change(limiter.StoreChange{Kind: limiter.StoreLearned, Key: k, Limit: u.Limit, Remaining: 1})
		s.granted("one is left", s.ask(caller{}, part(k, u)))
		p = s.refused("none is left", s.ask(caller{}, part(k, u)))
		s.waits("a whole window", p.Wait, 100*time.Second, s.now())
	}},
	{"a reply tells a lower quota", true, func(s *suite) {
		k := s.key()
		u := fixedOf(100, 100*time.Second, 1)
		u.Limit.Learn = true
		s.change(limiter.StoreChange{Kind: limiter.StoreLearned, Key: k, Limit: u.Limit, Remaining: 50, Reset: time.Second, Quota: 10})
		s.advance(time.Second)
		n := 0
		for s.ask(caller{}, part(k, u)).Granted {
			n++
		}
		if n != 10 {
			s.Errorf("got %d, want 10", n)
		}
	}},
}
