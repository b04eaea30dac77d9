package storetest

import "github.com/recourse-go/recourse/limiter"

// advance updates s to the time now: it ends what has run out.
func (s *state) advance(now int64) {
	s.learned.advance(now)
	if s.hold != 0 && now >= s.hold {
		s.recover(s.hold)
		end := s.hold
		s.hold = 0
		switch {
		case s.kind == limiter.StoreBucket:
			s.tat = max(s.tat, end+s.time) // the bucket is empty at the end of the hold
		case s.kind == limiter.StoreFixed && s.last != 0 && s.refusedAt <= s.last && s.last <= end:
			// The provider has begun a new window since it refused, so no probes are needed.
		default:
			s.allowed, s.lapse, s.probes = 1, end+probeLapse, nil
		}
	}
	if s.lifted != 0 && now >= s.lifted+liftedFor {
		s.lifted = 0
	}
	s.probes = keep(s.probes, func(p probe) bool { return now < p.until })
	if s.allowed > 0 && len(s.probes) == 0 && now >= s.lapse {
		s.open()
	}
	s.recover(now)
	if s.credit > 0 && now >= s.wanted+wantedFor {
		s.credit = 0
	}
	s.log = keep(s.log, func(e entry) bool { return e.at+s.time >= now })
	s.claims = keep(s.claims, func(c claim) bool { return now < c.until })
	s.slots.advance(now)
}

// open ends the limit on concurrent calls that follows a hold.
func (s *state) open() { s.allowed, s.probes = 0, nil }

// close closes s until the given time. It returns false if that changes nothing.
func (s *state) close(until int64, cause limiter.Cause, now int64) bool {
	if until <= now || until <= s.hold {
		return false
	}
	s.hold, s.cause = until, cause
	s.open()
	return true
}

// restore restores a limit that the store has lost from what a process knows about it. It
// does nothing if the limit's hold was lifted after the process learned of it.
func (s *state) restore(l *limiter.StoreLease, now int64) {
	st := &l.State
	age := max(0, span(st.Age, false))
	if s.lifted != 0 && now-age <= s.lifted {
		return
	}
	s.close(now+span(st.Held, true), st.Cause, now)
	if n := min(int64(st.Refusals), maxRefusals); n > s.refusals {
		s.refusals, s.refusedAt = n, now
	}
	if n := min(st.Lowered, whole-adaptFloor); n > s.cut {
		s.cut, s.cutAt = n, now
	}
	if l.Limit.Learn {
		s.relearn(span(st.Reset, true), units(st.Left), units(st.Quota), age, units(l.Limit.Units), now)
	}
}

// lift ends a hold as if it had never been. That is remembered for liftedFor, and at least until the hold
// would have ended: so long a process may know of it that was not told.
func (s *state) lift(now int64) {
	s.lifted = max(now, s.hold-liftedFor)
	s.hold, s.cause = 0, limiter.Cause{}
	s.open()
	s.learned.forget()
}

// refuse counts a refusal of a call that was sent the time sent ago. A call that was sent
// before the last refusal does not count again; sent below 0 always counts.
func (s *state) refuse(sent int64, adapt bool, now int64) {
	if s.refusals > 0 && now >= s.refusedAt+refusalLapse {
		s.refusals = 0
	}
	if s.refusals > 0 && sent >= 0 && now-sent < s.refusedAt {
		return
	}
	s.refusals = min(s.refusals+1, maxRefusals)
	s.refusedAt = now
	if adapt && now >= s.cutNext {
		s.cut = whole - max(adaptFloor, (whole-s.cut)*adaptCut/whole)
		s.cutAt, s.cutNext = now, now+adaptEvery
	}
}

// recover raises a lowered limit by the time that has passed.
func (s *state) recover(now int64) {
	if n := (now - s.cutAt) / adaptTick; s.cut > 0 && n > 0 {
		s.cut = max(0, s.cut-n)
		s.cutAt += n * adaptTick
	}
}

// lowered returns what n units are lowered to after refusals; at least 1.
func (s *state) lowered(n int64) int64 {
	if s.cut == 0 {
		return n
	}
	return max(1, int64(float64(n)*float64(whole-s.cut)/whole))
}

// probed ends the probe of a permit, if it has one. good is false if the request was not
// sent or its units came back, so that it proves nothing.
func (s *state) probed(id limiter.StoreID, good bool, l *limiter.StoreLimit, now int64) {
	had := len(s.probes)
	s.probes = keep(s.probes, func(p probe) bool { return p.id != id })
	if len(s.probes) == had || !good {
		return
	}
	// Each probe that ends allows one more concurrent call, until a hold closes the limit
	// again. So the allowed calls double in each round.
	s.allowed++
	s.lapse = now + probeLapse
	if s.allowed > maxProbes || s.kind == limiter.StoreSlots && s.allowed >= units(l.Units) {
		s.open()
	}
}
