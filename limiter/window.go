package limiter

// windowLog remembers what was granted in the last window, for a quota that a
// bucket would keep badly. Grants within 1/32 of a window are remembered as
// one, at the time of the last of them: a log stays small, never gives more
// than the quota in any window, and at worst 3 % less.
type windowLog struct {
	spans []span
	used  int64 // sum of spans
}

type span struct{ first, last, units int64 }

const spansPerWindow = 32

// expire forgets what is more than a window old. A grant counts in both
// windows that it is on the edge of.
func (w *windowLog) expire(window, now int64) {
	n := 0
	for n < len(w.spans) && w.spans[n].last+window < now {
		w.used -= w.spans[n].units
		n++
	}
	if n > 0 {
		w.spans = w.spans[:copy(w.spans, w.spans[n:])]
	}
}

func (w *windowLog) take(units, window, now int64) {
	if units == 0 {
		return
	}
	w.used += units
	if n := len(w.spans); n > 0 && now-w.spans[n-1].first < window/spansPerWindow {
		w.spans[n-1].last = now
		w.spans[n-1].units += units
		return
	}
	w.spans = append(w.spans, span{now, now, units})
}

// refund takes back units that were taken at the time at. What is forgotten
// already is not given back a second time.
func (w *windowLog) refund(units, at int64) {
	for i := range w.spans {
		if s := &w.spans[i]; s.first <= at && at <= s.last {
			u := min(units, s.units)
			s.units -= u
			w.used -= u
			return
		}
	}
}

// ready is when units fit into quota, if nothing else is granted.
func (w *windowLog) ready(units, quota, window, now int64) int64 {
	w.expire(window, now)
	free := quota - w.used
	for _, s := range w.spans {
		if free >= units {
			break
		}
		free += s.units
		now = s.last + window + 1
	}
	return now
}
