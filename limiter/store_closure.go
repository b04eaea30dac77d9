package limiter

import (
	"time"
)

// closure is what the store has said of a limit for a key when it refused a call of this
// process. It keeps the calls here from asking in vain: until its time is over none asks,
// and then one at a time, until the store lets some pass at once. It is no hold: it takes
// nothing, and leaves no probes.
type closure struct {
	until  int64 // nobody passes before, as the store said; it may be over
	ask    int64 // when a call asks again
	event  bool  // nobody knows when that is of use: somebody must end
	asking bool  // a call asks now
	held   bool
	outage bool // the store does not answer
	// backfill says that Backfill alone was refused: it leaves units to Interactive.
	backfill bool
	// tries is how many refusals of Backfill came one after another. It cannot reserve, so it
	// asks less often, the more processes ask.
	tries uint8
	// ahead is how far ahead the next call could reserve units; 0 = it could not. It asks
	// once that is as far as this process may.
	ahead time.Duration
	good  uint8
	cause Cause
}

const (
	pollSlots    = 250 * time.Millisecond // how often a call asks for a slot of which no event tells
	recheck      = 30 * time.Second       // how often a call asks after a limit that is closed for longer
	opensAfter   = 2                      // grants one after another until calls ask side by side again
	maxReserve   = time.Second            // how far ahead units are reserved
	backfillMost = 500 * time.Millisecond // between two asks of Backfill that units may pass
	minAskAgain  = time.Millisecond       // how soon, at the earliest, a call asks again that was refused
	refusedFirst = 10 * time.Second       // a limit is asked first for so long after it refused
)

// began notes that a call asks the store.
func (s *closure) began(now int64) { s.asking, s.ask = true, now+int64(pollSlots) }

// closes reports whether s is about calls of this priority. s may be nil.
func (s *closure) closes(prio Priority) bool {
	return s != nil && (!s.backfill || prio == Backfill)
}

// shuts reports whether Backfill alone cannot pass now. s may be nil.
func (s *closure) shuts(now int64) bool { return s != nil && s.backfill && s.ask > now }

// ready is when a call may ask that otherwise could pass at the time at.
func (s *closure) ready(prio Priority, at, now int64) int64 {
	switch {
	case !s.closes(prio) || s.ask <= now || at == onEvent:
		return at
	case s.event || s.asking:
		return onEvent
	}
	return max(at, s.ask)
}

// told is when a call could pass, as far as the store has said, that otherwise could at the
// time at.
func (s *closure) told(prio Priority, at int64) int64 {
	if !s.closes(prio) {
		return at
	}
	return max(at, s.until)
}

// closedUntil is the end of a hold that the store has told of; 0 = there is none.
func (s *closure) closedUntil(now int64) int64 {
	if s == nil || !s.held || s.until <= now {
		return 0
	}
	return s.until
}

// idle reports whether s says nothing any more that matters.
func (s *closure) idle(now int64) bool {
	return s == nil || s.until <= now && s.ask <= now && now-s.ask > int64(recheck)
}
