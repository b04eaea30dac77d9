package storetest

import (
	"math"
	"slices"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// Buckets, logs and fixed windows.

// step returns the time in which a bucket gains n units, rounded up.
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

// ready returns when n units may pass so that headroom is left: now or later. ahead is the time
// that a bucket needs for members that have claimed units before. fits is false if a later time
// cannot be promised. ready does not look at holds and probes.
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

// aheadIn returns how far ahead backfill that is owed nothing may reserve, so that half of its
// headroom is left: half of the time in which the headroom fills, and a second, at most. A caller
// that would wait for less than a second may have that part of it.
func (s *state) aheadIn(headroom int64, maxWait time.Duration, l *limiter.StoreLimit) int64 {
	return min(s.step(headroom, l)/2, second) * min(span(maxWait, false), second) / second
}

// quotaFor returns how many units a window may have granted after a call of n units.
// Refusals lower it, but not below the units of one call.
func (s *state) quotaFor(n int64, l *limiter.StoreLimit) int64 {
	most := units(l.Units)
	quota := most
	if s.quota != 0 {
		quota = min(quota, s.quota)
	}
	return max(s.lowered(quota), min(n, most))
}

// logReady returns when n units fit into every window. That is after all grants before.
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

// refund gives back n units that were granted as of the time at, as far as they still count.
// newest says that nothing is reserved as of a later time.
func (s *state) refund(n int64, l *limiter.StoreLimit, at int64, newest bool, now int64) {
	switch s.kind {
	case limiter.StoreBucket:
		// If the bucket has been full since then, the units have come back already. They
		// cannot have come back faster than its rate.
		if n := s.step(n, l) - max(0, now-at); n > 0 {
			if at > now && newest {
				s.reserved = max(0, s.reserved-n)
			}
			s.tat = max(s.reserved, s.tat-n)
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

// late returns how much later than its grant an entry of the log can be.
func (s *state) late(l *limiter.StoreLimit) int64 {
	if units(l.Units) > logExact {
		return max(1, s.time/logParts)
	}
	return 0
}

// charge takes n units that a process has granted without the store. A bucket may go below
// empty by at most its size.
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

// Backfill is owed units while it is refused: a share of what interactive calls take. With
// enough owed, a backfill call passes like an interactive one, so that it gets its share.

// owed returns a cost in thousandths of a unit; at least that of one unit.
func owed(n int64) int64 { return max(n, 1) * 1000 }

func (s *state) owes(n int64) bool { return s.credit >= owed(n) }

// served records that a call of n units has passed.
func (s *state) served(priority limiter.Priority, n, share int64, l *limiter.StoreLimit, now int64) {
	switch {
	case priority == limiter.Backfill:
		s.credit = max(0, s.credit-owed(n))
	case s.wanted != 0 && now < s.wanted+wantedFor:
		more := math.Floor(float64(owed(n)) * float64(share) / float64(whole-share))
		s.credit = min(s.credit+int64(more), owed(min(units(l.Units), creditMost)))
	}
}

// A call that takes slots cannot reserve units, since it would hold slots while it waits. If
// units are missing it claims them instead: nobody else gets them until its time has come,
// and a moment longer. So the calls of several processes pass one after another, even those
// that cost much.

// claim is what a member wants of a bucket.
type claim struct {
	member   limiter.StoreID
	priority limiter.Priority
	spare    bool // of backfill that is owed nothing: it goes before no others
	units    int64
	until    int64
}

// claimedBefore returns the time that a bucket needs for what others have claimed before a
// member. Claims whose own time has come do not count, since the bucket has their units by
// then; so a member that is late does not delay the others.
func (s *state) claimedBefore(member limiter.StoreID, priority limiter.Priority, spare bool, l *limiter.StoreLimit, now int64) (ahead int64) {
	own := slices.IndexFunc(s.claims, func(c claim) bool { return c.member == member && c.priority == priority })
	before := s.claims
	if own >= 0 {
		before = s.claims[:own]
	}
	for _, c := range before {
		if c.spare && !spare {
			continue
		}
		if own < 0 || s.claims[own].until > now+keptFor || c.until > now+keptFor {
			ahead += s.step(c.units, l)
		}
	}
	return ahead
}

// claimUnits records that a member wants n units. It keeps its place if it has a claim already.
func (s *state) claimUnits(member limiter.StoreID, priority limiter.Priority, spare bool, n, until, now int64) {
	for i := range s.claims {
		if c := &s.claims[i]; c.member == member && c.priority == priority {
			c.spare, c.units, c.until = spare, n, until
			return
		}
	}
	if n := len(s.claims); n >= waiterMost && spare {
		return
	} else if n >= waiterMost { // as in claim
		i := n - 1 - lot(now)
		s.claims = slices.Delete(s.claims, i, i+1)
	}
	s.claims = append(s.claims, claim{member, priority, spare, n, until})
}
