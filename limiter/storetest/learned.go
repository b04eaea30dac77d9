package storetest

import (
	"math"

	"github.com/recourse-go/recourse/limiter"
)

// learned is what replies have told about a limit, as the limiter keeps it too. For a limit of
// fixed windows it also keeps the current window.
type learned struct {
	left    int64 // units that may pass until reset
	reset   int64 // when the limit begins anew; 0 = nothing is known
	first   int64 // the first value of reset that a reply told
	slop    int64 // a reset within first ± slop is the same one
	since   int64 // when left was learned, or the window began
	last    int64 // the latest reset that a reply told and that has passed; 0 = none
	heard   int64 // when a reply was last believed
	count   int64 // state.granted after the call of that reply
	guessed bool  // no reply told reset: it is the end of a window that began with its first unit
	quota   int64 // the provider's own number of units; 0 = not known
}

func (d *learned) allows(n int64) bool { return d.reset == 0 || n <= max(d.left, 0) }

func (d *learned) advance(now int64) {
	if d.reset != 0 && now >= d.reset {
		if !d.guessed {
			d.last = d.reset
		}
		d.reset, d.left, d.guessed = 0, 0, false
	}
	if d.quota != 0 && now >= d.heard+quotaKept {
		d.quota = 0
	}
}

func (d *learned) forget() { d.reset, d.left, d.quota, d.guessed = 0, 0, 0, false }

// begin begins a window of n units that ends by itself.
func (d *learned) begin(n, now, window int64) {
	d.left, d.since, d.reset, d.guessed = n, now, now+window, true
}

// learn records what a reply says about the limit.
func (s *state) learn(c *limiter.StoreChange, now int64) {
	reset := span(c.Reset, true)
	if c.Remaining < 0 || c.Reset < 0 || reset > maxLearned {
		return
	}
	switch s.kind {
	case limiter.StoreBucket, limiter.StoreLog, limiter.StoreFixed:
	default:
		return
	}
	count := units(c.Count)
	if count > s.granted {
		count = 0 // the value was dropped since then, so all that it has granted came after the reply's call
	}
	left := units(c.Remaining) - (s.granted - count)
	fixed := s.kind == limiter.StoreFixed
	switch {
	case reset != 0:
		if !s.believe(left, now+reset, units(c.Limit.Units), fixed, now) {
			return
		}
	case count < s.count:
		return // the reply's call began before that of a reply that was believed
	case s.kind == limiter.StoreBucket:
		if n := units(c.Limit.Units); max(left, 0) < n {
			s.tat = max(s.tat, now+s.time-int64(math.Floor(float64(max(left, 0))*float64(s.time)/float64(n))))
		}
	case fixed && s.reset != 0: // its window goes on
		s.left, s.since = min(s.left, left), now
	default:
		s.begin(left, now, s.time)
	}
	s.heard, s.count = now, count
	if c.Quota > 0 && s.kind != limiter.StoreBucket {
		s.quota = units(c.Quota)
	}
}

// relearn restores what a process learned, the time age ago, about a limit that the store has
// lost. left does not yet account for the units that the store has granted since the loss.
func (s *state) relearn(reset, left, quota, age, most, now int64) {
	switch s.kind {
	case limiter.StoreBucket, limiter.StoreLog, limiter.StoreFixed:
	default:
		return
	}
	if reset > 0 && reset <= maxLearned {
		s.believe(left-s.granted, now+reset, most, s.kind == limiter.StoreFixed, now)
	}
	if quota > 0 && (s.quota == 0 || quota < s.quota) && age < quotaKept && s.kind != limiter.StoreBucket {
		s.quota, s.heard = quota, now-age
	}
}

// believe takes over what a reply says if it is news: a later reset, or fewer units until the
// same reset. It reports whether it was.
func (s *state) believe(left, reset, most int64, fixed bool, now int64) bool {
	d := &s.learned
	slop := min(resetSlop, (reset-now)/4)
	if fixed && d.last != 0 {
		reset = max(reset, d.last+s.time-slop) // a window is not shorter than its length
	}
	switch {
	case d.reset == 0 || d.guessed && !fixed:
	case d.guessed:
		left = min(left, d.left)
	case reset < d.first-d.slop:
		return false // of an earlier window
	case reset <= d.first+d.slop:
		d.reset = max(d.reset, reset)
		if left > d.left {
			return false
		}
		d.left, d.since = left, now
		return true
	case fixed && now < d.reset-d.slop:
		left = min(left, d.left)
	}
	if fixed {
		left = min(left, most)
	}
	d.left, d.reset, d.first, d.slop, d.since, d.guessed = left, reset, reset, slop, now, false
	return true
}
