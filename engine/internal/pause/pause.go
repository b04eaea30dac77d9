// Package pause keeps the accounts that are paused, for which nothing is sent. A pause or its end
// is in force at once in the process that asked for it. With a store it soon is in all processes
// that share the store: see [Fleet].
package pause

import (
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// Pause says that nothing is sent for an account.
type Pause struct {
	Account string // "" = not known: another process has paused it, and this one has seen no call of it
	Since   time.Time
	Until   time.Time // zero = until somebody resumes it
	Reason  string
}

func (p *Pause) over(now time.Time) bool { return !p.Until.IsZero() && !now.Before(p.Until) }

// ErrTooMany is the error of Pause if limiter.MaxPauses accounts are paused already.
var ErrTooMany = errors.New("too many accounts are paused")

// ErrBehind is the error of Pause and Resume if the Set has no room for another account, because the
// store has not answered for so many changes. Nothing was done.
var ErrBehind = errors.New("too many changes of pauses wait for the store")

// Hooks are what a Set calls when pauses begin and end. No lock is held during a call, and
// several goroutines may call them at the same time.
type Hooks struct {
	// Begun is called when accounts have been paused, before Tell, so that waiting calls ask Of
	// again.
	Begun func()

	// Tell is called for each pause that has begun, and for each that was ended by a Resume, but
	// not for those whose time is over.
	Tell func(p Pause, ended bool)
}

// Set holds the pauses that a process knows. It is made by [New] and safe for concurrent use.
type Set struct {
	ask   atomic.Bool // false = no account is paused, so calls need not look
	hooks Hooks
	fleet *fleet // nil = the process is alone

	mu     sync.RWMutex
	names  map[string]*entry   // the entries whose account's name is known
	keys   map[[16]byte]*entry // all entries by their keys in the store; nil without a fleet
	hashed map[string][16]byte // a cache of the keys of accounts, emptied when none is paused
	paused int                 // how many entries have counted set
	next   time.Time           // when the next sweep is due, since a pause is over then; zero = none ends
	wake   chan struct{}       // closed when an account is paused; nil = nobody waits for that
}

// entry is what is known of an account: its latest pause, or that it was resumed. With a fleet an
// entry is kept for some time after its pause is over, so that no older pause is put back.
type entry struct {
	Pause
	resumed bool      // somebody ended the pause
	forget  time.Time // if resumed: until when the entry is kept
	counted bool      // the pause is counted in Set.paused
	known             // what concerns the store
}

// over reports whether the account is no longer paused.
func (e *entry) over(now time.Time) bool { return e.resumed || e.Pause.over(now) }

// forgotten returns until when the entry is kept; zero = it has no end, as its pause has none.
func (e *entry) forgotten() time.Time {
	switch {
	case e.resumed:
		return e.forget
	case e.Until.IsZero():
		return time.Time{}
	}
	return e.Until.Add(limiter.PauseKept)
}

const (
	mostHashed = 1 << 16
	sweepEvery = 100 * time.Millisecond
)

// New makes the Set of a process. f says how it is shared; nil = it is not.
func New(f *Fleet, hooks Hooks) *Set {
	s := &Set{hooks: hooks, names: map[string]*entry{}}
	if f != nil {
		s.keys, s.hashed = map[[16]byte]*entry{}, map[string][16]byte{}
		s.fleet = newFleet(f)
		s.ask.Store(true) // until the store has said whether there are any
	}
	return s
}

// Any reports whether an account may be paused. It costs an atomic load.
func (s *Set) Any() bool { return s.ask.Load() }

// Of returns the pause of an account; ok is false if it is not paused. It does not wait for the store.
func (s *Set) Of(account string) (p Pause, ok bool) {
	if !s.ask.Load() || account == "" {
		return Pause{}, false
	}
	s.begin()
	now := time.Now()
	s.mu.RLock()
	e, sure := s.findLocked(account)
	sweep := !s.next.IsZero() && !now.Before(s.next)
	if e != nil {
		p, ok = e.Pause, !e.over(now)
	}
	s.mu.RUnlock()
	if sure && !sweep {
		return p, ok
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e == nil {
		e = s.lookLocked(account)
	}
	if e != nil {
		p, ok = e.Pause, !e.over(now)
	}
	if sweep {
		s.sweepLocked(now)
	}
	return p, ok
}

// findLocked returns an account's entry, or nil. It changes nothing, so a read lock is enough. sure is
// false if only lookLocked can tell, which may compute the account's key and note its name.
func (s *Set) findLocked(account string) (e *entry, sure bool) {
	if e := s.names[account]; e != nil || s.keys == nil || len(s.keys) == len(s.names) {
		return e, true
	}
	key, hashed := s.hashed[account]
	return nil, hashed && s.keys[key] == nil
}

// lookLocked returns an account's entry, or nil, and notes the account's key and name.
func (s *Set) lookLocked(account string) *entry {
	if e, sure := s.findLocked(account); sure {
		return e
	}
	key, hashed := s.hashed[account]
	if !hashed {
		if len(s.hashed) >= mostHashed {
			clear(s.hashed)
		}
		key = s.fleet.o.Key(account)
		s.hashed[account] = key
	}
	e := s.keys[key]
	if e != nil {
		e.Account = account
		s.names[account] = e
	}
	return e
}

// Begun returns a channel that is closed when an account is paused next.
func (s *Set) Begun() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake == nil {
		s.wake = make(chan struct{})
	}
	return s.wake
}

// All returns the pauses that are in force, in no order.
func (s *Set) All() (list []Pause) {
	now := time.Now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for e := range s.entriesLocked() {
		if !e.over(now) {
			list = append(list, e.Pause)
		}
	}
	return list
}

// Pause pauses p.Account, at once in this process. With a fleet it waits up to a second for the
// store. After ErrTooMany and ErrBehind the account is not paused. If it was the store that had too
// many, calls that were waiting may have been handed back meanwhile. Any other error means that the
// account is paused here, but that the other processes may not know it yet.
func (s *Set) Pause(p Pause) error {
	s.mu.Lock()
	now := time.Now()
	e := s.lookLocked(p.Account)
	was := e != nil && !e.over(now)
	if !was && s.paused >= limiter.MaxPauses {
		s.sweepLocked(now)
		if s.paused >= limiter.MaxPauses {
			s.mu.Unlock()
			return ErrTooMany
		}
		e = s.lookLocked(p.Account)
	}
	if e == nil {
		if !s.roomLocked(now) {
			s.mu.Unlock()
			return ErrBehind
		}
		e = s.addLocked(p.Account)
	}
	before := *e
	e.Pause, e.resumed = p, false
	s.countLocked(e, now)
	a := s.askLocked(e, now)
	s.settleLocked()
	s.wakeLocked()
	s.mu.Unlock()

	s.hooks.Begun()
	err := s.told(a)
	if err == ErrTooMany {
		s.mu.Lock()
		if s.keys[e.key] == e && e.asked == nil && e.version == before.version { // it was not changed since
			e.Pause, e.resumed, e.forget = before.Pause, before.resumed, before.forget
			s.countLocked(e, time.Now())
			if before.version == 0 {
				s.dropLocked(e)
			}
			s.settleLocked()
		}
		s.mu.Unlock()
		return err
	}
	s.hooks.Tell(p, false)
	return err
}

// Resume ends the pause of an account, at once in this process. With a fleet it waits up to a second
// for the store. ErrBehind means that nothing was done. Any other error means that the other
// processes may not know it yet.
func (s *Set) Resume(account string) error {
	s.mu.Lock()
	now := time.Now()
	e := s.lookLocked(account)
	if e == nil && s.fleet == nil {
		s.mu.Unlock()
		return nil
	}
	if e == nil {
		if !s.roomLocked(now) {
			s.mu.Unlock()
			return ErrBehind
		}
		e = s.addLocked(account)
	}
	p, was := e.Pause, !e.over(now)
	e.Pause, e.resumed, e.forget = Pause{Account: account, Since: now}, true, now.Add(limiter.PauseKept)
	s.countLocked(e, now)
	a := s.askLocked(e, now)
	if s.fleet == nil {
		s.dropLocked(e)
	}
	s.settleLocked()
	s.mu.Unlock()

	err := s.told(a)
	if was {
		s.hooks.Tell(p, true)
	}
	return err
}

// addLocked adds an entry that is over, for the caller to fill.
func (s *Set) addLocked(account string) *entry {
	e := &entry{Pause: Pause{Account: account}, resumed: true}
	s.names[account] = e
	if s.fleet != nil {
		e.key = s.fleet.o.Key(account)
		s.keys[e.key] = e
	}
	return e
}

// dropLocked removes an entry.
func (s *Set) dropLocked(e *entry) {
	if s.names[e.Account] == e {
		delete(s.names, e.Account)
	}
	if s.fleet != nil && s.keys[e.key] == e {
		delete(s.keys, e.key)
		delete(s.fleet.toTell, e)
	}
}

// countLocked updates paused and next after an entry has changed.
func (s *Set) countLocked(e *entry, now time.Time) {
	if e.counted {
		s.paused--
	}
	if e.counted = !e.over(now); e.counted {
		s.paused++
		if !e.Until.IsZero() && (s.next.IsZero() || e.Until.Before(s.next)) {
			s.next = e.Until
		}
	}
}

// sweepLocked stops counting pauses that are over, and removes the entries that are not needed any
// more.
func (s *Set) sweepLocked(now time.Time) {
	s.next = time.Time{}
	for e := range s.entriesLocked() {
		s.countLocked(e, now)
		if end := e.forgotten(); e.over(now) && e.asked == nil && (s.fleet == nil || !now.Before(end)) {
			s.dropLocked(e)
		}
	}
	if least := now.Add(sweepEvery); !s.next.IsZero() && s.next.Before(least) {
		s.next = least
	}
	s.settleLocked()
}

// entriesLocked returns all entries, in no order.
func (s *Set) entriesLocked() iter.Seq[*entry] {
	if s.fleet == nil {
		return maps.Values(s.names)
	}
	return maps.Values(s.keys)
}

// roomLocked reports whether there is room for another entry. If there are too many it makes room:
// of those that are over, and that the store knows, it keeps MaxPauses.
func (s *Set) roomLocked(now time.Time) bool {
	if len(s.keys) < mostKept {
		return true
	}
	s.sweepLocked(now)
	var over []*entry
	for _, e := range s.keys {
		if e.over(now) && e.asked == nil {
			over = append(over, e)
		}
	}
	slices.SortFunc(over, func(a, b *entry) int { return a.forgotten().Compare(b.forgotten()) })
	for _, e := range over[:max(0, len(over)-limiter.MaxPauses)] {
		s.dropLocked(e)
	}
	return len(s.keys) < mostKept
}

// settleLocked sets ask: whether calls have to look for a pause of their account.
func (s *Set) settleLocked() {
	any := s.paused > 0 || s.fleet != nil && !s.fleet.heard
	if !any {
		clear(s.hashed)
	}
	s.ask.Store(any)
}

// wakeLocked closes the channel that Begun has returned.
func (s *Set) wakeLocked() {
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}
