package limiter

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A call inside another one can wait for something that only its own caller can
// end: all slots of a limit are in use by responses that the same call has
// opened, and nobody reads them. That is a mistake in the calling code, which no
// wait mends, so the call fails. Where several goroutines of one call each
// read a response, waiting is right: each of them ends. What tells the two apart
// is whether any of these responses is being read.

// stallAfter is how long none of a call's open streams may be used before a
// call that waits for them fails. It must be longer than a reader is away
// between two reads, and short beside the wait that it saves.
const stallAfter = time.Second

// StalledError says that a call would wait for itself: it is made inside
// another one, all permits of a limit of concurrency that are out for its key
// are held by streams of that same call (see [Permit.Opened]), and nobody has used
// any of these for a second. Nothing was taken.
type StalledError struct {
	Limit string
	Open  []string // what holds the permits, in the order in which it was opened
}

// Error names the limit and what holds its permits.
func (e *StalledError) Error() string {
	open := make([]string, len(e.Open))
	for i, what := range e.Open {
		open[i] = fmt.Sprintf("%q", what)
	}
	return fmt.Sprintf("limiter: limit %q: the call waits for itself: every permit is held by a response of its own that is open and not read (%s)", e.Limit, strings.Join(open, ", "))
}

// stream is what a permit of a call inside another one is held for. It is
// guarded by the tree's lock.
type stream struct {
	what  string
	idle  func() time.Duration
	slots []slots // what the permit holds, where it has no loan
	loan  *Loan   // what the permit holds is here; nil = it lends nothing
}

// slots are permits of one limit of concurrency.
type slots struct {
	e        *entry
	position int // the limit's, in its group
	n        int64
}

// Opened says that the permit is held for a stream that its caller uses from
// now on, such as a response's body. what names it in a [*StalledError], and
// idle tells for how long nobody has used it: 0 while somebody does. idle is
// called with locks held, so it must be fast and must not call the limiter. For a
// permit that was not granted inside another call (Request.Inside) it does nothing.
func (p Permit) Opened(what string, idle func() time.Duration) {
	if p.l == nil {
		return
	}
	home := &p.l.shards[p.rec.home]
	home.mu.Lock()
	defer home.mu.Unlock()
	rec := p.recordLocked()
	if rec == nil || rec.nested == nil || rec.nested.stream != nil {
		return
	}
	n := rec.nested
	s := &stream{what: what, idle: idle, loan: n.loan}
	for i := range rec.refs {
		if r := &rec.refs[i]; r.lim.holds() {
			s.slots = append(s.slots, slots{r.e, r.lim.position, r.got})
		}
	}
	n.stream = s
	n.tree.mu.Lock()
	n.tree.streams = append(n.tree.streams, s)
	n.tree.mu.Unlock()
}

// holdsLocked is how many permits of a limit of concurrency the stream keeps from others.
func (s *stream) holdsLocked(e *entry, position int) (n int64) {
	if s.loan != nil {
		for i := range s.loan.parts {
			if pt := &s.loan.parts[i]; pt.e == e && pt.lim.position == position {
				n += pt.slots
			}
		}
		return n
	}
	for _, h := range s.slots {
		if h.e == e && h.position == position {
			n += h.n
		}
	}
	return n
}

// failStalled fails w where it waits for nothing but open streams of its own
// call that nobody uses. It returns when to look again.
func (l *Limiter) failStalled(w *waiter) (again time.Duration) {
	calls := w.calls
	l.lock(calls.locks)
	again, err := l.stalledLocked(w)
	var wake *entry
	if err != nil {
		w.err = err
		wake = l.finishLocked(w, failed)
	}
	l.unlockAndDrain(calls.locks, wake)
	return again
}

// stalledLocked returns an error where w waits for streams of its own call, and otherwise
// when to look again. All of the calls' shards are locked.
func (l *Limiter) stalledLocked(w *waiter) (again time.Duration, err error) {
	calls := w.calls
	if w.state != waiting {
		return stallAfter, nil
	}
	now := l.clampLocked(calls.locks, calls.refs, l.now())
	l.renewLocked(l.config.Load(), w, now)
	r := &w.refs[calls.use]
	if !r.lim.holds() {
		return stallAfter, nil
	}
	x := r.e.coldOf(r.lim)
	r.e.advance(r.lim, x, now)
	most := x.lowered(x.specOf(r.lim).conc)
	out := int64(*r.e.holder(r.lim.index))
	if x.hold != 0 || x.allowed > 0 || out+min(r.cost, most) <= most {
		return stallAfter, nil // it waits for something else
	}
	own, idle := int64(0), time.Duration(math.MaxInt64)
	var open []string
	t := w.inside.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.streams {
		if n := s.holdsLocked(r.e, r.lim.position); n > 0 {
			own += n
			idle = min(idle, s.idle())
			open = append(open, s.what)
		}
	}
	switch {
	case own < out:
		return stallAfter, nil // the others end by themselves
	case idle < stallAfter:
		return max(stallAfter-idle, time.Millisecond), nil
	}
	return stallAfter, &StalledError{Limit: r.lim.Name, Open: slices.Clip(open)}
}
