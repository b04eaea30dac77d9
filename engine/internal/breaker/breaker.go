// Package breaker has circuit breakers, one a key, which is mostly a host. A closed
// breaker lets every attempt pass, and counts those that found the host down. An
// open one refuses, for the section's Open. Then it is half open: it lets a few
// probes pass, closes when they found the host up, and opens again when one found
// it down.
//
// Whoever passes has a [Ticket] and must return it, whatever became of the attempt.
// A probe that takes longer than the breaker was open makes room for another, and
// what it finds out in the end still counts. So no breaker stays half open for want
// of a probe.
package breaker

import (
	"slices"
	"sync"
	"time"

	"github.com/recourse-go/recourse/policy"
)

// Evidence is what an attempt says about its host.
type Evidence uint8

// None is for what says nothing about the host; it counts neither way.
const (
	None Evidence = iota
	Up
	Down
)

// Key tells breakers apart. The policy's section is a part of it: a breaker whose
// section a reload has changed begins closed, and tickets of before are of the old
// one.
type Key struct {
	Section policy.Breaker
	Name    string // the host, or whatever else the section counts by
}

// maxKeys is how many breakers a Set remembers before it forgets closed ones; with
// twice as many it forgets any. Hosts are few.
const maxKeys = 4096

// Set is a provider's breakers. The zero value is ready, and safe for concurrent
// use.
type Set struct {
	mu   sync.Mutex
	keys map[Key]*circuit
}

// Take asks the breaker of a key for a ticket. It is nil where the breaker refuses;
// then until is when it is worth asking again: once it has been open for its time,
// or once the oldest probe takes too long.
func (s *Set) Take(now time.Time, key Key) (t *Ticket, until time.Time) {
	return s.find(key).take(now)
}

// find finds or makes the breaker of a key.
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

// forgetLocked makes room for a breaker. It looks at a few only, so that no call
// pays for a sweep.
func (s *Set) forgetLocked() {
	looked := 0
	for key, c := range s.keys {
		if len(s.keys) >= 2*maxKeys || c.current() == Closed {
			delete(s.keys, key) // it is made again when it is needed
		}
		if looked++; looked == 8 {
			return
		}
	}
}

// State is what a breaker does with the next attempt.
type State uint8

const (
	Closed   State = iota // it lets it pass
	Open                  // it refuses it, until its time is over
	HalfOpen              // it lets a probe pass
)

// String names the state.
func (s State) String() string { return [...]string{"closed", "open", "half open"}[s] }

// States are the breakers that the set remembers, and the state of each.
func (s *Set) States() map[Key]State {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := make(map[Key]State, len(s.keys))
	for key, c := range s.keys {
		states[key] = c.current()
	}
	return states
}

// Until is when an open breaker lets a probe pass; zero for one that is not open, or not
// remembered.
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
	round    int       // changes of the state so far; tickets of earlier ones say nothing
	opened   time.Time // when it opened last
	failures int       // in a row, however far apart
	window   window    // while it is closed, where the section has a Ratio
	probes   []*Ticket // under way while it is half open, the oldest first
	found    int       // probes that found the host up
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
		c.probes = slices.Delete(c.probes, 0, 1) // it is late, and makes room
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
	returned bool // under the circuit's lock
}

// Return says how the attempt went. Only the first time counts.
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

// failedLocked counts an attempt of a closed breaker, and reports whether that
// opens it: by so many failures in a row, or by their share of the attempts in the
// window that have ended and say something.
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

// window counts the attempts of the last while, in tenths of it.
type window struct {
	tenths [10]struct{ up, down int }
	latest int64 // the tenth that is counted now, since the Unix epoch
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
