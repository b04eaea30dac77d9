package storetest

import (
	"math"
	"slices"

	"github.com/recourse-go/recourse/limiter"
)

// Buckets, logs and fixed windows.

// step is what n units take of a bucket's time, rounded up.
func (s *state) step(n int64, l *limiter.StoreLimit) int64 {
	most := units(l.Units)
	if n == 0 || most == 0 {
		return 0
	}
	t := float64(n) * float64(s.time) / float64(most)
	if s.cut > 0 {
		t = t * whole / float64(whole-s.cut)
	}
	return int64(min(math.Ceil(t), float64(whole/adaptFloor*longest)))
}

// ready is when n units may pass, and headroom be left, after those who have claimed some
// of a bucket before, which takes ahead: now or later. It does not look at holds and probes. fits is false where another time than now can't be promised.
func (s *state) ready(n, headroom, ahead int64, l *limiter.StoreLimit, now int64) (at int64, fits bool) {
	at, fits = now, true
	most := units(l.Units)
	switch s.kind {
	case limiter.StoreBucket, limiter.StoreLog, limiter.StoreFixed:
		if n > most {
			return now + s.time, false // never
		}
	}
	switch s.kind {
	case limiter.StoreBucket:
		if n > 0 {
			step := s.step(n, l)
			room := max(s.time-s.step(headroom, l), step) // a full bucket lets each call through
			at = max(now, max(s.tat, now)+ahead+step-room)
		}
	case limiter.StoreLog:
		if n > 0 {
			at = s.logReady(n, s.quotaFor(n, l), now)
			fits = len(s.log) < logMost
		}
	case limiter.StoreFixed:
		if s.reset == 0 && n > s.quotaFor(n, l) {
			return now + s.time, false
		}
	default:
		return now, true
	}
	if !s.allows(n) {
		return max(at, s.reset), false
	}
	return at, fits && (at == now || s.reset == 0 || at < s.reset)
}

// quotaFor is how much of its quota a window may have given once a call of n units has
// passed. Refusals lower it, but not below the units of one call.
func (s *state) quotaFor(n int64, l *limiter.StoreLimit) int64 {
	most := units(l.Units)
	quota := most
	if s.quota != 0 {
		quota = min(quota, s.quota)
	}
	return max(s.lowered(quota), min(n, most))
}

// logReady is when n units fit into every window: after all that was granted before.
func (s *state) logReady(n, quota, now int64) int64 {
	at, used := max(now, s.at), int64(0)
	for _, e := range s.log {
		used += e.units
	}
	for _, e := range s.log {
		if e.at+s.time < at {
			used -= e.units
			continue
		}
		if used+n <= quota {
			break
		}
		used -= e.units
		at = max(at, e.at+s.time+1)
	}
	return at
}

// take takes n units as of the time at.
func (s *state) take(n int64, l *limiter.StoreLimit, at int64) {
	switch s.kind {
	case limiter.StoreBucket:
		if n > 0 {
			s.tat = max(s.tat, at) + s.step(n, l)
		}
	case limiter.StoreLog:
		s.addToLog(n, l, at)
	case limiter.StoreFixed:
		if s.reset == 0 && n > 0 {
			s.begin(s.quotaFor(n, l), at, s.time)
		}
	default:
		return
	}
	s.left -= n
	s.granted = min(s.granted+n, maxUnits)
}

func (s *state) addToLog(n int64, l *limiter.StoreLimit, at int64) {
	if n == 0 {
		return
	}
	s.at = max(s.at, at)
	if units(l.Units) > logExact { // as few entries as parts of the window, each as late as its last grant can be
		part := max(1, s.time/logParts)
		at = (at + part - 1) / part * part
	}
	if i := len(s.log) - 1; i >= 0 && s.log[i].at >= at {
		s.log[i].units += n
		return
	}
	s.log = append(s.log, entry{at, n})
}

// refund gives n units back that were granted as of the time at, as far as they are
// missing still.
func (s *state) refund(n int64, l *limiter.StoreLimit, at, now int64) {
	switch s.kind {
	case limiter.StoreBucket:
		// If the bucket was full meanwhile, what it lacked has come back already. That
		// can't have been faster than its rate.
		if n := s.step(n, l) - max(0, now-at); n > 0 {
			s.tat = max(0, s.tat-n)
		}
	case limiter.StoreLog:
		for i := len(s.log) - 1; i >= 0; i-- { // the newest entry that is not later than the grant
			if e := &s.log[i]; e.at <= at+s.late(l) {
				if e.at >= at-refundReach {
					e.units = max(0, e.units-n)
				}
				break
			}
		}
		s.log = keep(s.log, func(e entry) bool { return e.units > 0 })
	case limiter.StoreFixed:
	default:
		return
	}
	if s.reset != 0 && at >= s.since {
		s.left += n
	}
}

// late is how much later than its grant an entry of the log can be.
func (s *state) late(l *limiter.StoreLimit) int64 {
	if units(l.Units) > logExact {
		return max(1, s.time/logParts)
	}
	return 0
}

// charge takes n units that were granted without the store. A bucket may be so far below
// empty as it has room above.
func (s *state) charge(n int64, l *limiter.StoreLimit, now int64) {
	switch s.kind {
	case limiter.StoreBucket:
		s.tat = max(s.tat, min(max(s.tat, now)+s.step(n, l), now+2*s.time))
		s.left -= n
		s.granted = min(s.granted+n, maxUnits)
	case limiter.StoreLog, limiter.StoreFixed:
		s.take(min(n, units(l.Units)), l, now)
	}
}

// What backfill is owed. It grows with what interactive calls take while backfill is
// refused, and lets backfill pass as they do, so that its share is sure.

// owed is a cost in thousandths, of at least one unit.
func owed(n int64) int64 { return max(n, 1) * 1000 }

func (s *state) owes(n int64) bool { return s.credit >= owed(n) }

// served takes note that a call of n units has passed.
func (s *state) served(priority limiter.Priority, n, share int64, l *limiter.StoreLimit, now int64) {
	switch {
	case priority == limiter.Backfill:
		s.credit = max(0, s.credit-owed(n))
	case s.wanted != 0 && now < s.wanted+wantedFor:
		more := math.Floor(float64(owed(n)) * float64(share) / float64(whole-share))
		s.credit = min(s.credit+int64(more), owed(min(units(l.Units), creditMost)))
	}
}

// A call that takes slots can't reserve units, since it would hold slots while it waits. Where
// it lacks units it claims them instead: until its time has come, and a moment longer, nobody
// else gets what it wants. So calls of several processes go one after another, also the
// dear ones.

// claim is what a member wants of a bucket.
type claim struct {
	member   limiter.StoreID
	priority limiter.Priority
	units    int64
	until    int64
}

// claimedBefore is the time that a bucket takes for what others have claimed before a member.
// Once its time has come there are units for all whose time has come, so those who are late
// do not hold it up.
func (s *state) claimedBefore(member limiter.StoreID, priority limiter.Priority, l *limiter.StoreLimit, now int64) (ahead int64) {
	own := slices.IndexFunc(s.claims, func(c claim) bool { return c.member == member && c.priority == priority })
	before := s.claims
	if own >= 0 {
		before = s.claims[:own]
	}
	for _, c := range before {
		if own < 0 || s.claims[own].until > now+keptFor || c.until > now+keptFor {
			ahead += s.step(c.units, l)
		}
	}
	return ahead
}

// claimUnits notes that a member wants n units. It keeps its place if it has claimed some.
func (s *state) claimUnits(member limiter.StoreID, priority limiter.Priority, n, until int64) {
	for i := range s.claims {
		if c := &s.claims[i]; c.member == member && c.priority == priority {
			c.units, c.until = n, until
			return
		}
	}
	if len(s.claims) < waiterMost {
		s.claims = append(s.claims, claim{member, priority, n, until})
	}
}
