// Package windowlog remembers what was granted and when, for a quota that holds
// in every window of time: so many units in any minute, wherever it begins.
//
// Times are nanoseconds and may come in any order: a caller can ask for a
// permit at a time ahead of the clock, and others go on by the clock meanwhile.
package windowlog

// Log is what was granted. The zero Log is empty. It is not safe for concurrent use.
type Log struct {
	spans []span // by time; they do not overlap
	units int64  // of all spans
}

// span is grants that are remembered as one. They count in a window where any
// moment from first to last is in it, so that none is ever forgotten too early.
type span struct{ first, last, units int64 }

const (
	// exact is how many grants are remembered one by one. A longer log
	// remembers grants within a part of the window as one: it gives at worst 3 % less.
	exact          = 64
	partsPerWindow = 32

	// most bounds a log that is only asked at times far ahead of the clock, of
	// which nothing can be forgotten: the oldest grants become one span.
	most = 256
)

// Clone returns a copy of the log.
func (l *Log) Clone() *Log {
	return &Log{spans: append([]span(nil), l.spans...), units: l.units}
}

// Forget drops the grants from before the given time.
func (l *Log) Forget(before int64) {
	n := 0
	for n < len(l.spans) && l.spans[n].last < before {
		l.units -= l.spans[n].units
		n++
	}
	if n > 0 {
		l.spans = l.spans[:copy(l.spans, l.spans[n:])]
	}
}

// Empty reports whether nothing is remembered that counts.
func (l *Log) Empty() bool { return l.units == 0 }

// Since is how many units are remembered from the given time on.
func (l *Log) Since(from int64) int64 {
	n := l.units
	for i := 0; i < len(l.spans) && l.spans[i].last < from; i++ {
		n -= l.spans[i].units
	}
	return n
}

// Peak is the most units that any window has which the given time is in. A
// grant on the edge of two windows counts in both.
func (l *Log) Peak(at, window int64) int64 {
	from, to, n := 0, 0, int64(0) // the spans that count in the window that ends at the time end
	peak, end := int64(0), at
	if len(l.spans) == 0 || l.spans[len(l.spans)-1].first <= at { // as almost always
		return l.Since(at - window)
	}
	for {
		for to < len(l.spans) && l.spans[to].first <= end {
			n += l.spans[to].units
			to++
		}
		for from < to && l.spans[from].last < end-window {
			n -= l.spans[from].units
			from++
		}
		peak = max(peak, n)
		if to == len(l.spans) || l.spans[to].first > at+window {
			return peak
		}
		end = l.spans[to].first
	}
}

// Take remembers that units were granted.
func (l *Log) Take(units, at, window int64) {
	if units == 0 {
		return
	}
	l.units += units
	i := len(l.spans) // the first span that ends after at
	for i > 0 && l.spans[i-1].last >= at {
		i--
	}
	part := window / partsPerWindow
	switch {
	case i < len(l.spans) && l.spans[i].first <= at:
		l.spans[i].units += units
		return
	case len(l.spans) < exact:
	case i > 0 && at-l.spans[i-1].first < part:
		l.spans[i-1].last = at
		l.spans[i-1].units += units
		return
	case i < len(l.spans) && l.spans[i].last-at < part:
		l.spans[i].first = at
		l.spans[i].units += units
		return
	}
	l.spans = append(l.spans, span{})
	copy(l.spans[i+1:], l.spans[i:])
	l.spans[i] = span{at, at, units}
	if len(l.spans) > most {
		l.spans[1].first = l.spans[0].first
		l.spans[1].units += l.spans[0].units
		l.spans = l.spans[:copy(l.spans, l.spans[1:])]
	}
}

// Refund takes back units that were granted at the given time, and reports
// whether they were still remembered.
func (l *Log) Refund(units, at int64) bool {
	for i := range l.spans {
		s := &l.spans[i]
		if at < s.first || at > s.last {
			continue
		}
		if s.units < units {
			return false
		}
		s.units -= units
		l.units -= units
		if s.units == 0 {
			l.spans = append(l.spans[:i], l.spans[i+1:]...)
		}
		return true
	}
	return false
}

// Move makes units that were granted at one time count at another one, and reports
// whether the quota has room for them there. If not, nothing changes. Units that
// are not remembered any more need room like new ones.
func (l *Log) Move(units, from, to, quota, window int64) bool {
	known := l.Refund(units, from)
	// Whoever came in between found them here and left room for them, so up to a
	// window later they fit always, unless the quota has been lowered or others
	// stand ahead of the clock.
	n := len(l.spans)
	if known && to >= from && to-from <= window && (n == 0 || l.spans[n-1].last <= to) || l.Peak(to, window)+units <= quota {
		l.Take(units, to, window)
		return true
	}
	if known {
		l.Take(units, from, window)
	}
	return false
}

// Ready is when so many units, not more than quota, fit into every window, if
// nothing else is granted: now or later.
func (l *Log) Ready(units, quota, window, now int64) int64 {
	at := now
	for i := range l.spans {
		if l.Peak(at, window)+units <= quota {
			break
		}
		at = max(at, l.spans[i].last+window+1)
	}
	return at
}
