package storetest

import (
	"math"
	"slices"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/internal/storecodec"
)

// value is what a store keeps for a key.
type value struct {
	version int64
	seen    int64 // the newest time at which it has been changed
	since   int64 // a limit that is new to the value begins as if it had been used up at this time
	restore int64 // until then processes restore what the store has lost, and no slots are granted
	limits  []*state
	recent  []grant // newest last
	void    []void  // newest last
}

// grant is a permit that was granted a short time ago.
type grant struct {
	id limiter.StoreID
	at int64
}

// void is a permit whose take, should it come late or again, must take nothing, or a debt that
// was charged.
type void struct {
	id    limiter.StoreID
	until int64
	ended bool // the permit has ended; false = its units were given back, but its call goes on
}

// state is one limit of a key.
type state struct {
	name       string
	kind       limiter.StoreKind
	time, most int64 // the limit's Time and Units when it was last used

	tat    int64   // of a bucket: when it is full
	claims []claim // of a bucket, by arrival
	// reserved is when a bucket is full again after what is reserved of it, as if that were all
	// that passes. What is given back meanwhile makes it full no sooner.
	reserved int64
	log      []entry // of a log, by time
	at       int64   // of a log: the newest grant's instant, which may be ahead

	slots

	hold    int64 // 0 = none
	cause   limiter.Cause
	allowed int64 // how many concurrent calls are allowed after a hold; 0 = any number
	lapse   int64 // when that ends by itself
	probes  []probe

	lifted int64 // holds that were known before this time were lifted; 0 = none was, or long ago

	refusals, refusedAt int64 // refusals in a row, and the time of the last
	cut, cutAt, cutNext int64 // by how many millionths refusals have lowered the limit; as of when; not again before
	credit, wanted      int64 // what backfill is owed, in thousandths of a unit; when it was last refused
	granted             int64 // all units granted since the store knows the limit
	learned
}

// entry is units of a log.
type entry struct{ at, units int64 }

// probe is a call that tests whether the provider accepts calls after a hold.
type probe struct {
	id    limiter.StoreID
	until int64
}

func newState(l *limiter.StoreLimit, since, now int64) *state {
	s := &state{name: l.Name}
	s.become(l, since, now)
	return s
}

// become turns s into a limit of the kind of l, as if it had been used up at the time since.
func (s *state) become(l *limiter.StoreLimit, since, now int64) {
	s.kind, s.time, s.most = l.Kind, window(l), units(l.Units)
	s.tat, s.reserved, s.claims, s.log, s.at, s.slots = 0, 0, nil, nil, 0, slots{}
	s.learned = learned{}
	s.useUp(l, since, now)
}

// useUp empties a bucket and fills a log, as of the time at.
func (s *state) useUp(l *limiter.StoreLimit, at, now int64) {
	if at+s.time <= now {
		return
	}
	switch s.kind {
	case limiter.StoreBucket:
		s.tat = max(s.tat, at+s.time)
	case limiter.StoreLog:
		// It is not known when the units were granted. Spread them evenly over the window that ended at the time at.
		n := units(l.Units)
		parts := min(n, logExact)
		s.log, s.at = nil, max(s.at, at)
		for i := int64(1); i <= parts; i++ {
			e := entry{at - s.time + s.time*i/parts, (n + parts - 1) / parts}
			if e.at+s.time >= now {
				s.log = append(s.log, e)
			}
		}
	}
}

func window(l *limiter.StoreLimit) int64 { return max(1, span(l.Time, true)) }

// find returns the state of a limit, or nil.
func (v *value) find(name string) *state {
	for _, s := range v.limits {
		if s.name == name {
			return s
		}
	}
	return nil
}

// state returns the state of a limit, as it is at the time now.
func (v *value) state(l *limiter.StoreLimit, now int64) *state {
	s := v.find(l.Name)
	if s == nil {
		s = newState(l, v.since, now)
		v.limits = append(v.limits, s)
	} else if s.kind != l.Kind {
		s.become(l, now, now) // the use so far cannot be converted to the new kind
	}
	s.advance(now)
	s.tune(l, now)
	return s
}

// tune makes s go on with the numbers of l. A bucket keeps its level, so that a change of the
// numbers never grants units.
func (s *state) tune(l *limiter.StoreLimit, now int64) {
	t, most := window(l), units(l.Units)
	if s.time == t && s.most == most {
		return
	}
	if s.kind == limiter.StoreBucket && most > 0 && s.most > 0 {
		level := float64(s.most) - float64(max(0, s.tat-now))*float64(s.most)/float64(s.time)
		missing := math.Ceil(max(0, float64(most)-level) * float64(t) / float64(most))
		s.tat = now + int64(min(missing, float64(2*t)))
		s.reserved = min(s.reserved, s.tat)
	}
	s.time, s.most = t, most
}

// forgotten handles a loss of data, which shows when a process has seen a newer version of the
// value. Buckets are emptied, and processes may restore what they know for a while.
func (v *value) forgotten(version uint64, lease, now int64) {
	v.version = max(v.version, storecodec.Version(version))
	v.since, v.restore = now, max(v.restore, now+lease/restorePart)
	for _, s := range v.limits {
		if s.kind == limiter.StoreBucket {
			s.tat = max(s.tat, now+s.time)
		}
		s.granted, s.count = 0, 0
	}
}

// remember records that a permit was granted as of the time at.
func (v *value) remember(id limiter.StoreID, at int64) {
	v.recent = append(v.recent, grant{id, at})
	if n := len(v.recent) - recentMost; n > 0 {
		v.recent = v.recent[n:]
	}
}

// voidIt makes takes by the id void.
func (v *value) voidIt(id limiter.StoreID, ended bool, until int64) {
	for i := range v.void {
		if d := &v.void[i]; d.id == id {
			d.ended, d.until = d.ended || ended, max(d.until, until)
			return
		}
	}
	v.void = append(v.void, void{id, until, ended})
	if n := len(v.void) - voidMost; n > 0 {
		v.void = v.void[n:]
	}
}

// isVoid reports whether takes by the id are void, and whether its permit has ended.
func (v *value) isVoid(id limiter.StoreID) (is, ended bool) {
	for _, d := range v.void {
		if d.id == id {
			return true, d.ended
		}
	}
	return false, false
}

// grantOf returns as of when a permit was granted, if that is still known.
func (v *value) grantOf(id limiter.StoreID, now int64) (at int64, known bool) {
	for _, g := range v.recent {
		if g.id == id {
			return g.at, true
		}
	}
	for _, s := range v.limits {
		if i := s.leaseOf(id); i >= 0 && now < s.leases[i].until {
			return s.leases[i].at, true
		}
	}
	return 0, false
}

// newest reports whether no permit that is remembered was granted as of a later time than at.
func (v *value) newest(at int64) bool {
	return !slices.ContainsFunc(v.recent, func(g grant) bool { return g.at > at })
}

// advance drops ids that do not count any more.
func (v *value) advance(now int64) {
	v.recent = keep(v.recent, func(g grant) bool { return now < g.at+recentFor })
	v.void = keep(v.void, func(d void) bool { return now < d.until })
}

// newAt returns when the value will be the same as a missing one, so that it can be dropped.
func (v *value) newAt() int64 {
	at := v.restore
	for _, g := range v.recent {
		at = max(at, g.at+recentFor)
	}
	for _, d := range v.void {
		at = max(at, d.until)
	}
	for _, s := range v.limits {
		at = max(at, s.newAt(), v.since+s.time)
	}
	return at
}

// newAt returns when s will be the same as a new one.
func (s *state) newAt() int64 {
	at := max(s.tat, s.reset, s.slots.newAt())
	if len(s.log) > 0 {
		at = max(at, s.log[len(s.log)-1].at+s.time+1)
	}
	for _, c := range s.claims {
		at = max(at, c.until)
	}
	if s.hold != 0 {
		at = max(at, s.hold+max(probeLapse, s.time))
	}
	if s.allowed > 0 {
		at = max(at, s.lapse)
		for _, p := range s.probes {
			at = max(at, p.until)
		}
	}
	if s.refusals > 0 {
		at = max(at, s.refusedAt+refusalLapse)
	}
	if s.cut > 0 {
		at = max(at, s.cutAt+s.cut*adaptTick)
	}
	if s.credit > 0 {
		at = max(at, s.wanted+wantedFor)
	}
	if s.lifted > 0 {
		at = max(at, s.lifted+liftedFor)
	}
	if s.quota > 0 {
		at = max(at, s.heard+quotaKept)
	}
	return at
}

// keep returns the entries of list for which f is true. It reuses the memory of list.
func keep[T any](list []T, f func(T) bool) []T {
	kept := list[:0]
	for _, x := range list {
		if f(x) {
			kept = append(kept, x)
		}
	}
	return kept
}
