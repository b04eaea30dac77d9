// Package credential keeps what an engine knows of the credentials that its calls use:
// the refresh that is under way, how the latest one ended, and whether the new
// credentials have worked for a call since.
//
// There is one refresh of a credential at a time, and everybody who needs it waits for
// the same one. After a refresh, a credential has another generation; a refusal of an
// older generation is answered by repeating the attempt. After a failed refresh the
// credential is in backoff: no other refresh of it begins, and no call that needs it is
// sent, until a time that grows with each failure in a row.
package credential

import (
	"context"
	"hash/maphash"
	"iter"
	"sync"
	"sync/atomic"
	"time"
)

// Key names a credential: an account's own at one provider, or one that the caller has
// named, whose Provider is "".
type Key struct{ Provider, Name string }

// Set is the credentials of one engine. It is safe for concurrent use.
type Set struct {
	interval, timeout time.Duration
	done              <-chan struct{}
	fleet             *Fleet // nil = the process is by itself

	generation atomic.Uint64 // counts new credentials, by refreshes that succeeded and by Renewed
	inBackoff  atomic.Int64  // credentials in backoff
	watched    atomic.Int64  // credentials of which a success would tell something
	_          [64]byte      // every call reads the counters, and the locks change often
	shards     [64]shard
}

// New makes an empty Set. interval is the least time between two refreshes of one
// credential, timeout the longest that one may take. From when done is closed nobody
// waits for a refresh, and none begins; nil = never. fleet is the processes that share the
// credentials; nil = there are no others.
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

// shard is some of the credentials.
type shard struct {
	mu      sync.Mutex
	entries map[Key]*entry
}

// entry is what is known of one credential. It is under its shard's lock.
type entry struct {
	generation uint64      // Set.generation when it was last new
	claims     string      // that the latest successful refresh was asked for with
	finished   time.Time   // when the latest refresh ended, in whatever way; zero after Renewed
	renewed    time.Time   // when Renewed was last called
	unproven   bool        // the latest refresh succeeded, and no call has succeeded since it began
	settled    time.Time   // from when on a refusal of the latest refresh's credential is proof: see maxSettling
	refused    Fingerprint // of the credential before the latest refresh
	watched    bool        // counted in Set.watched
	backoff    backoff
	flight     *flight // the refresh that is under way; nil = none
	shared     *uint64 // the newest generation in the fleet that the process has loaded; nil = not known
}

// maxEntries is how many credentials a shard remembers before it looks for ones to
// forget, and memory how long it remembers them at least.
const (
	maxEntries = 1024
	memory     = time.Hour
)

var seed = maphash.MakeSeed()

func (s *Set) shard(k Key) *shard {
	return &s.shards[maphash.Comparable(seed, k)%uint64(len(s.shards))]
}

// entryLocked finds or makes a credential's entry.
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

// forgetLocked forgets what is old among a few entries: so few that no call pays for
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

// oldLocked reports whether nothing is lost with what is known: no call that could ask
// began before it, and it keeps none back.
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

// watchLocked counts a credential while a success would tell something about it.
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

// Generation counts the credentials that have been renewed so far. An attempt notes it
// when it begins, and its refusal is one of the credentials of then.
func (s *Set) Generation() uint64 { return s.generation.Load() }

// Watched reports whether there is a credential of which a success would tell
// something: see Succeeded.
func (s *Set) Watched() bool { return s.watched.Load() != 0 }

// Succeeded notes that a credential was good for a call of owner's whose latest attempt
// began at a time and at a generation. It proves new credentials. It ends a backoff
// only where a refresh for the same owner has failed: that another owner still takes an
// access token of its own says nothing about the grant.
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

// Renewed notes that there is a new credential that no refresh here has brought. It ends
// a backoff, and what a refresh that is under way waits for: that is one of the older
// credential, and nobody has to wait for it any longer.
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

// renewedLocked notes that there is a new credential that no refresh here has brought.
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

// All are the credentials that are remembered. They are copied a shard at a time, so the
// loop may call the Set.
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

// State is what is known of a credential; ok is false where nothing is.
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

// flightKey is where the context of a refresh has its *flight.
type flightKey struct{}

// within reports whether ctx belongs to a refresh for which is holds and which has not
// ended. A refresh that runs inside another one belongs to both.
func within(ctx context.Context, is func(*flight) bool) bool {
	f, _ := ctx.Value(flightKey{}).(*flight)
	for ; f != nil; f = f.outer {
		if !f.over.Load() && is(f) {
			return true
		}
	}
	return false
}
