// Package credential keeps what an engine knows about the credentials of its calls: the
// refresh that is under way, how the latest one ended, and whether the new credential has
// worked for a call since.
//
// There is at most one refresh of a credential at a time, and all calls that need it wait
// for the same one. A refresh gives the credential a new generation. If an attempt with an
// older generation is refused, it is simply repeated. After a failed refresh the credential
// is in backoff: no other refresh of it begins, and no call that needs it is sent, until a
// time that grows with each failure in a row.
package credential

import (
	"context"
	"hash/maphash"
	"iter"
	"sync"
	"sync/atomic"
	"time"
)

// Key names a credential. It is that of an account at one provider or, if Provider is "",
// one that the caller has named.
type Key struct{ Provider, Name string }

// Set holds the credentials of one engine. It is made by [New] and safe for concurrent use.
type Set struct {
	interval, timeout time.Duration
	done              <-chan struct{}
	fleet             *Fleet // nil = no other process shares the credentials

	generation atomic.Uint64 // counts new credentials: refreshes that succeeded, and calls of Renewed
	inBackoff  atomic.Int64  // how many credentials are in backoff
	watched    atomic.Int64  // how many credentials have watched set
	_          [64]byte      // keeps the counters, which every call reads, off the cache line of the locks
	shards     [64]shard
}

// New makes an empty Set. interval is the least time between two refreshes of one
// credential, timeout the longest that one may take. When done is closed, calls stop waiting
// for refreshes, and none begins; a nil done is never closed. fleet says with which processes
// the credentials are shared; nil = with none.
func New(interval, timeout time.Duration, done <-chan struct{}, fleet *Fleet) *Set {
	return &Set{interval: interval, timeout: timeout, done: done, fleet: fleet}
}

func (s *Set) closed() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// shard holds a part of the credentials, under a lock of its own.
type shard struct {
	mu      sync.Mutex
	entries map[Key]*entry
}

// entry is what is known of one credential. Its shard's lock guards it.
type entry struct {
	generation uint64      // the value of Set.generation when the credential was last renewed
	claims     string      // the claims challenge for which the latest successful refresh was made
	finished   time.Time   // when the latest refresh ended, successful or not; zero after Renewed
	renewed    time.Time   // when Renewed was last called
	unproven   bool        // the latest refresh succeeded, but no call has succeeded since it began
	settled    time.Time   // from then on a refusal of the new credential is proof: see maxSettling
	refused    Fingerprint // the credential before the latest refresh
	watched    bool        // a success would say something about the credential; counted in Set.watched
	backoff    backoff
	flight     *flight // the refresh that is under way; nil = none
	shared     *uint64 // the fleet's generation of the credential that this process has loaded; nil = not known
}

// maxEntries is how many credentials a shard has before it looks for old ones to remove.
// memory is how long it keeps a credential at least.
const (
	maxEntries = 1024
	memory     = time.Hour
)

var seed = maphash.MakeSeed()

func (s *Set) shard(k Key) *shard {
	return &s.shards[maphash.Comparable(seed, k)%uint64(len(s.shards))]
}

// entryLocked returns a credential's entry, and makes it if there is none.
func (s *Set) entryLocked(sh *shard, k Key, now time.Time) *entry {
	e := sh.entries[k]
	if e != nil {
		return e
	}
	if sh.entries == nil {
		sh.entries = map[Key]*entry{}
	}
	if len(sh.entries) >= maxEntries {
		s.forgetLocked(sh, now)
	}
	e = &entry{}
	sh.entries[k] = e
	return e
}

// forgetLocked removes old entries. It looks at eight only, so that no call pays for
// looking at all.
func (s *Set) forgetLocked(sh *shard, now time.Time) {
	looked := 0
	for k, e := range sh.entries {
		if e.oldLocked(now) {
			e.unproven = false
			s.clearBackoffLocked(e)
			delete(sh.entries, k)
		}
		if looked++; looked == 8 {
			break
		}
	}
}

// oldLocked reports whether the entry can be removed without harm: it delays no call, and
// its latest event is older than any call that is likely to be under way.
func (e *entry) oldLocked(now time.Time) bool {
	if e.flight != nil {
		return false
	}
	latest := e.finished
	if e.renewed.After(latest) {
		latest = e.renewed
	}
	if f := e.backoff.failure; f != nil {
		if f.Spent {
			return false
		}
		if f.Until.After(latest) {
			latest = f.Until
		}
	}
	return now.Sub(latest) > memory
}

// watchLocked updates watched after an entry has changed.
func (s *Set) watchLocked(e *entry) {
	watched := e.backoff.failure != nil || e.unproven || e.flight != nil
	switch {
	case watched && !e.watched:
		s.watched.Add(1)
	case !watched && e.watched:
		s.watched.Add(-1)
	}
	e.watched = watched
}

// Generation returns how many credentials have been renewed so far. An attempt notes it when
// it begins. If the attempt is refused, the credential of that generation was refused.
func (s *Set) Generation() uint64 { return s.generation.Load() }

// Watched reports whether a success would say something about any credential, so that
// Succeeded must be called.
func (s *Set) Watched() bool { return s.watched.Load() != 0 }

// Succeeded notes that a call of owner, a provider, has succeeded with a credential. The
// call's latest attempt began at the time began and saw generation. The success proves a new
// credential to be good. It ends a backoff only if the failed refresh was for the same owner:
// if another provider accepts its own access token, that says nothing about the grant.
func (s *Set) Succeeded(k Key, owner string, began time.Time, generation uint64) {
	sh := s.shard(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.entries[k]
	if e == nil || !e.watched {
		return
	}
	if b := &e.backoff; b.failure != nil && b.owner == owner && began.After(e.finished) {
		s.clearBackoffLocked(e)
	}
	if f := e.flight; f != nil && began.After(f.began) {
		f.proven = true
	}
	if e.unproven && generation >= e.generation {
		e.unproven = false
		s.watchLocked(e)
	}
}

// Renewed notes that there is a new credential that did not come from a refresh by this Set.
// It ends a backoff. Calls that wait for a refresh go on at once, since that is a refresh of
// the older credential.
func (s *Set) Renewed(k Key) {
	sh := s.shard(k)
	now := time.Now()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := s.entryLocked(sh, k, now)
	s.renewedLocked(e, now)
	if e.flight != nil {
		e.flight.tellLocked(nil, true)
	}
	e.shared = nil
	if s.fleet != nil {
		s.fleet.renewed(k, s.done)
	}
}

// renewedLocked notes in e that there is a new credential from elsewhere.
func (s *Set) renewedLocked(e *entry, now time.Time) {
	e.generation, e.claims, e.finished, e.renewed = s.generation.Add(1), "", time.Time{}, now
	e.unproven, e.refused = false, Fingerprint{}
	s.clearBackoffLocked(e)
}

// State is what is known of one credential.
type State struct {
	Key
	Failure    *Failure // why it is in backoff; nil = it is not
	Failures   int      // failed refreshes in a row
	Refreshing bool     // a refresh is under way
}

// All iterates over the credentials that are remembered. They are copied one shard at a time,
// so the body of the loop may call methods of the Set.
func (s *Set) All() iter.Seq[State] {
	return func(yield func(State) bool) {
		for i := range s.shards {
			for _, state := range s.shards[i].states() {
				if !yield(state) {
					return
				}
			}
		}
	}
}

// State returns what is known of a credential; ok is false if nothing is.
func (s *Set) State(k Key) (state State, ok bool) {
	sh := s.shard(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.entries[k]
	if e == nil {
		return State{}, false
	}
	return e.state(k), true
}

func (e *entry) state(k Key) State {
	return State{k, e.backoff.failure, e.backoff.failures, e.flight != nil}
}

func (sh *shard) states() []State {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	states := make([]State, 0, len(sh.entries))
	for k, e := range sh.entries {
		states = append(states, e.state(k))
	}
	return states
}

// flightKey is the key of a refresh's *flight in its context.
type flightKey struct{}

// within reports whether ctx belongs to a refresh that has not ended and for which is
// returns true. A context of a refresh inside another refresh belongs to both.
func within(ctx context.Context, is func(*flight) bool) bool {
	f, _ := ctx.Value(flightKey{}).(*flight)
	for ; f != nil; f = f.outer {
		if !f.over.Load() && is(f) {
			return true
		}
	}
	return false
}
