package credential

import (
	"context"
	"time"
)

// Flight is a refresh whose caller gets the credential, at times that it gives: for a
// simulation, which has no goroutine that could wait.
type Flight struct {
	set *Set
	key Key
	f   *flight
	end *flightEnd
}

// RefreshAt is Refresh at the time now without any waiting. Where the call has to wait
// for a refresh, it returns that instead of a result: begun says that the caller has to
// make it, and to end it by Flight.End. r.Hook is not used.
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

// End ends the refresh; failure nil = there is a new credential.
func (v *Flight) End(now time.Time, failure *Failure) {
	sh := v.set.shard(v.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	v.set.endLocked(sh.entries[v.key], v.f, failure, now)
}

// Result is what becomes of a call that has waited for the refresh, once that has ended.
func (v *Flight) Result(r *Refusal, waited bool) Result { return v.f.resultOf(v.end, r, waited) }
