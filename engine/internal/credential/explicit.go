package credential

import (
	"context"
	"time"
)

// Flight is a refresh that its caller makes, at times that the caller passes. It is for a
// simulation, which has no goroutines that could wait.
type Flight struct {
	set *Set
	key Key
	f   *flight
	end *flightEnd
}

// RefreshAt does what Refresh does, at the time now and without waiting. If the call has to
// wait for a refresh, RefreshAt returns that refresh instead of a result. begun says that the
// refresh begins now: then the caller must make it, and end it by Flight.End. r.Hook is not
// used.
func (s *Set) RefreshAt(now time.Time, r *Refusal) (result Result, wait *Flight, begun bool) {
	sh := s.shard(r.Key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := s.entryLocked(sh, r.Key, now)
	if result, decided := s.withoutRefreshLocked(e, r, now); decided {
		return result, nil, false
	}
	f := e.flight
	if f == nil {
		f, begun = s.beginLocked(context.Background(), e, r, now), true
	}
	return Result{}, &Flight{set: s, key: r.Key, f: f, end: f.end}, begun
}

// End ends the refresh. A nil failure means that there is a new credential.
func (v *Flight) End(now time.Time, failure *Failure) {
	sh := v.set.shard(v.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	v.set.endLocked(sh.entries[v.key], v.f, failure, now)
}

// Result returns what becomes of a call that has waited for the refresh. The refresh must
// have ended.
func (v *Flight) Result(r *Refusal, waited bool) Result { return v.f.resultOf(v.end, r, waited) }
