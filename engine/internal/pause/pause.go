// Package pause knows the accounts of which nothing is sent. What a process pauses or resumes is
// in force in it at once. With a store it is in force in all processes that share that: see
// [Fleet].
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
	Account string // "" = another process has paused it, and this one has seen no call of it
	Since   time.Time
	Until   time.Time // zero = when somebody resumes it
	Reason  string
}

func (p *Pause) over(now time.Time) bool { return !p.Until.IsZero() && !now.Before(p.Until) }

// ErrTooMany is the error of a pause where as many accounts are paused as may be.
var ErrTooMany = errors.New("too many accounts are paused")

// Hooks are what a Set calls when pauses begin and end. They are called without locks, by one
// goroutine at a time or several.
type Hooks struct {
	// Begun is called when accounts were paused, before Tell: calls that wait are to ask Of.
	Begun func()

	// Tell is called for each pause that has begun, and for each that somebody has ended.
	Tell func(p Pause, ended bool)
}

// Set is what a process knows of pauses. It is made by [New] and safe for concurrent use.
type Set struct {
	ask   atomic.Bool // there is something to ask for: false = no account is paused
	hooks Hooks
	fleet *fleet // nil = the process is alone

	mu     sync.RWMutex
	names  map[string]*entry   // those whose account's name is known
	keys   map[[16]byte]*entry // all, where there is a fleet
	hashed map[string][16]byte // keys of accounts that were asked for, while any is paused
	paused int                 // how many entries are pauses that are not over, as far as that was noticed
	next   time.Time           // when the next of them may be over; zero = none ends
	wake   chan struct{}       // closed when an account is paused; nil = nobody waits for that
}

// entry is what is known of an account: its latest pause, or that it is over. Where there is a fleet that
// is remembered, so that no older pause is put back.
type entry struct {
	Pause
	resumed bool      // the pause was ended
	forget  time.Time // of one that was resumed: so long it is remembered
	counted bool      // in Set.paused
	known             // to the store
}

// over reports whether the account is not paused any more.
func (e *entry) over(now time.Time) bool { return e.resumed || e.Pause.over(now) }

// forgotten is when the entry is not needed any more; zero = never, as it is.
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

// New makes the set of a process. f is with whom it is shared; nil = with nobody.
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

// Of is the pause of an account; ok is false where it is not paused. It does not wait for the store.
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

// findLocked finds an account's entry. It is not sure that there is none where the account's key must be
// worked out, or its name noted.
func (s *Set) findLocked(account string) (e *entry, sure bool) {
	if e := s.names[account]; e != nil || s.keys == nil || len(s.keys) == len(s.names) {
		return e, true
	}
	key, hashed := s.hashed[account]
	return nil, hashed && s.keys[key] == nil
}

// lookLocked is findLocked, and notes what it finds out.
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

// Begun is closed when an account is paused next.
func (s *Set) Begun() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake == nil {
		s.wake = make(chan struct{})
	}
	return s.wake
}

// All are the pauses, in no order.
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

// Pause pauses p.Account, at once in this process. An error other than ErrTooMany says that it is
// paused here, and that the others have not heard of it yet.
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
		if s.keys[e.key] == e && e.asked == nil && e.version == before.version { // nobody has changed it since
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

// Resume ends the pause of an account, at once in this process. An error says that the others have not
// heard of it yet.
func (s *Set) Resume(account string) error {
	s.mu.Lock()
	now := time.Now()
	e := s.lookLocked(account)
	if e == nil && s.fleet == nil {
		s.mu.Unlock()
		return nil
	}
	if e == nil {
		if s.roomLocked(now); len(s.keys) >= mostKept {
			s.mu.Unlock()
			return ErrTooMany
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

// addLocked adds an entry.
func (s *Set) addLocked(account string) *entry {
	e := &entry{Pause: Pause{Account: account}, resumed: true}
	s.names[account] = e
	if s.fleet != nil {
		e.key = s.fleet.o.Key(account)
		s.keys[e.key] = e
	}
	return e
}

// dropLocked forgets an entry that is over.
func (s *Set) dropLocked(e *entry) {
	if s.names[e.Account] == e {
		delete(s.names, e.Account)
	}
	if s.fleet != nil && s.keys[e.key] == e {
		delete(s.keys, e.key)
		delete(s.fleet.toTell, e)
	}
}

// countLocked counts an entry that has changed, and notes when it is over.
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

// sweepLocked notes which pauses are over, and forgets what is not needed any more.
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

// entriesLocked are all entries, in no order.
func (s *Set) entriesLocked() iter.Seq[*entry] {
	if s.fleet == nil {
		return maps.Values(s.names)
	}
	return maps.Values(s.keys)
}

// roomLocked forgets the oldest pauses that are over, where there are too many.
func (s *Set) roomLocked(now time.Time) {
	if len(s.keys) < mostKept {
		return
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
}

// settleLocked lets calls ask, or not any more.
func (s *Set) settleLocked() {
	any := s.paused > 0 || s.fleet != nil && !s.fleet.heard
	if !any {
		clear(s.hashed)
	}
	s.ask.Store(any)
}

// wakeLocked wakes those who wait for Begun.
func (s *Set) wakeLocked() {
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}
