// Package breaker provides circuit breakers, one for each key, which is usually a host.
// A closed breaker lets every attempt pass, and counts those that found the host down.
// An open one refuses attempts for the time Open of its policy section. Then it is half
// open: it lets a few probes pass, closes when these found the host up, and opens again
// when one found it down.
//
// An attempt that passes gets a [Ticket], which must be returned whatever became of the
// attempt. A probe that takes longer than Open no longer counts as under way, so that
// another can start, but its result still counts. So no breaker stays half open because
// a probe never ends.
package breaker

import (
	"slices"
	"sync"
	"time"

	"github.com/recourse-go/recourse/policy"
)

// Evidence is what an attempt says about its host.
type Evidence uint8

// What an attempt can say about its host.
const (
	None Evidence = iota // nothing; it counts neither way
	Up
	Down
)

// Key identifies a breaker. The policy's section is a part of it, so that a reload which
// changes the section starts a new, closed breaker. Older tickets belong to the old one.
type Key struct {
	Section policy.Breaker
	Name    string // the host, or whatever else the section counts by
}

// maxKeys is how many breakers a Set has before it removes closed ones. When it has twice
// as many, it removes any. Programs use far fewer hosts.
const maxKeys = 4096

// Set is a provider's breakers. The zero value is ready to use. A Set is safe for
// concurrent use.
type Set struct {
	mu   sync.Mutex
	keys map[Key]*circuit
}

// Take asks the breaker of a key for a ticket. The ticket is nil if the breaker refuses.
// Then until is when to ask again: when the breaker has been open for its time, or when
// the oldest probe will have taken too long.
func (s *Set) Take(now time.Time, key Key) (t *Ticket, until time.Time) {
	return s.find(key).take(now)
}

// find returns the breaker of a key, and makes it if there is none.
func (s *Set) find(key Key) *circuit {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.keys[key]; c != nil {
		return c
	}
	if s.keys == nil {
		s.keys = map[Key]*circuit{}
	}
	if len(s.keys) >= maxKeys {
		s.forgetLocked()
	}
	c := &circuit{section: key.Section}
	s.keys[key] = c
	return c
}

// forgetLocked removes breakers to make room. It looks at eight only, so that no call
// pays for a sweep of all.
func (s *Set) forgetLocked() {
	looked := 0
	for key, c := range s.keys {
		if len(s.keys) >= 2*maxKeys || c.current() == Closed {
			delete(s.keys, key) // find makes it again when it is needed
		}
		if looked++; looked == 8 {
			return
		}
	}
}

// State says what a breaker does with the next attempt.
type State uint8

// The states of a breaker.
const (
	Closed   State = iota // lets every attempt pass
	Open                  // refuses every attempt, until its time is over
	HalfOpen              // lets a few probes pass
)

// String returns the name of the state.
func (s State) String() string { return [...]string{"closed", "open", "half open"}[s] }

// States returns the state of each breaker of the set.
func (s *Set) States() map[Key]State {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := make(map[Key]State, len(s.keys))
	for key, c := range s.keys {
		states[key] = c.current()
	}
	return states
}

// Until returns when an open breaker lets a probe pass. It returns the zero time if the
// breaker is not open, or is not in the set.
func (s *Set) Until(key Key) time.Time {
	s.mu.Lock()
	c := s.keys[key]
	s.mu.Unlock()
	if c == nil {
		return time.Time{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != Open {
		return time.Time{}
	}
	return c.opened.Add(c.section.Open)
}

// circuit is the breaker of one key.
type circuit struct {
	section policy.Breaker

	mu       sync.Mutex
	state    State
	round    int       // how often the state has changed; tickets of an earlier round do not count
	opened   time.Time // when it opened last
	failures int       // failures in a row while it is closed, however far apart
	window   window    // attempts while it is closed, if the section has a Ratio
	probes   []*Ticket // probes that are under way while it is half open, the oldest first
	found    int       // probes that found the host up while it is half open
}

func (c *circuit) current() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

func (c *circuit) take(now time.Time) (t *Ticket, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == Open {
		if until = c.opened.Add(c.section.Open); now.Before(until) {
			return nil, until
		}
		c.becomeLocked(HalfOpen)
	}
	if c.state == HalfOpen && len(c.probes)+c.found >= max(c.section.Probes, 1) {
		if until = c.probes[0].taken.Add(c.section.Open); now.Before(until) {
			return nil, until
		}
		c.probes = slices.Delete(c.probes, 0, 1) // the oldest probe takes too long, so another may start
	}
	t = &Ticket{circuit: c, round: c.round, taken: now}
	if c.state == HalfOpen {
		c.probes = append(c.probes, t)
	}
	return t, time.Time{}
}

func (c *circuit) becomeLocked(s State) {
	c.state = s
	c.round++
	c.failures, c.window, c.probes, c.found = 0, window{}, nil, 0
}

// Ticket lets one attempt pass. It is safe for concurrent use.
type Ticket struct {
	circuit  *circuit
	round    int
	taken    time.Time
	returned bool // guarded by the circuit's lock
}

// Return says how the attempt went. Only the first call counts.
func (t *Ticket) Return(now time.Time, e Evidence) {
	c := t.circuit
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.returned {
		return
	}
	t.returned = true
	if t.round != c.round {
		return
	}
	if i := slices.Index(c.probes, t); i >= 0 {
		c.probes = slices.Delete(c.probes, i, i+1)
	}
	switch {
	case e == None:
	case c.state == HalfOpen && e == Up:
		if c.found++; c.found >= max(c.section.Probes, 1) {
			c.becomeLocked(Closed)
		}
	case c.state == HalfOpen, c.failedLocked(now, e):
		c.becomeLocked(Open)
		c.opened = now
	}
}

// failedLocked counts an attempt of a closed breaker, and reports whether that opens
// the breaker: by the number of failures in a row, or by the share of failures among the
// attempts of the window that say something about the host.
func (c *circuit) failedLocked(now time.Time, e Evidence) bool {
	b := &c.section
	if b.Ratio > 0 {
		c.window.count(now, b.Window, e)
	}
	if e == Up {
		c.failures = 0
		return false
	}
	if c.failures++; b.Failures > 0 && c.failures >= b.Failures {
		return true
	}
	up, down := c.window.sum()
	return b.Ratio > 0 && up+down >= b.Min && float64(down) >= b.Ratio*float64(up+down)
}

// window counts the attempts of the latest span of time, in ten parts of equal length.
type window struct {
	tenths [10]struct{ up, down int }
	latest int64 // the number of the current tenth, since the Unix epoch
}

func (w *window) count(now time.Time, length time.Duration, e Evidence) {
	n := int64(len(w.tenths))
	tenth := now.UnixNano() / int64(max(length/time.Duration(n), time.Millisecond))
	for ; w.latest < tenth; w.latest++ {
		if tenth-w.latest >= n {
			w.latest = tenth - n
		}
		w.tenths[(w.latest+1)%n] = struct{ up, down int }{}
	}
	if at := &w.tenths[w.latest%n]; e == Up {
		at.up++
	} else {
		at.down++
	}
}

func (w *window) sum() (up, down int) {
	for _, t := range w.tenths {
		up += t.up
		down += t.down
	}
	return up, down
}
