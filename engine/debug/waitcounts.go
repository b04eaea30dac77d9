package debug

import (
	"sync"
	"time"
)

// maxWaitLimits is how many limits have counts of their own. The others share one.
const maxWaitLimits = 256

// waitKey names a limit of a provider. The limit "" stands for waits for credentials.
type waitKey struct{ provider, limit string }

// waitSpan counts the waits of one limit in one span.
type waitSpan struct {
	waits, handedBack int
	waited            time.Duration // by all calls, within the span
	longest           time.Duration // of the waits that ended in the span
	seen              int           // calls that were waiting when somebody looked
}

// waitCounts count the waits of the last five minutes by limit. The zero value is ready to use.
type waitCounts struct {
	mu     sync.RWMutex
	limits map[waitKey]*limitWaits
}

type limitWaits struct {
	mu sync.Mutex
	counted[waitSpan]
}

func (w *waitCounts) of(provider, limit string) *limitWaits {
	k := waitKey{provider, limit}
	w.mu.RLock()
	l := w.limits[k]
	w.mu.RUnlock()
	if l != nil {
		return l
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.limits == nil {
		w.limits = map[waitKey]*limitWaits{}
	}
	if len(w.limits) >= maxWaitLimits {
		k = waitKey{provider: "", limit: ""} // the rest
	}
	if l = w.limits[k]; l == nil {
		l = &limitWaits{}
		w.limits[k] = l
	}
	return l
}

// waited counts a wait of length d that ended at end. Its time is divided among the spans over which
// it extends.
func (w *waitCounts) waited(provider, limit string, end time.Time, d time.Duration) {
	l := w.of(provider, limit)
	l.mu.Lock()
	defer l.mu.Unlock()
	last := spanAt(end)
	x := l.at(last)
	if x == nil {
		return
	}
	x.waits++
	x.longest = max(x.longest, d)
	began := end.Add(-d)
	for n := last; n > last-spans; n-- {
		from, to := time.Unix(0, n*int64(span)), time.Unix(0, (n+1)*int64(span))
		if !to.After(began) {
			break
		}
		if from.Before(began) {
			from = began
		}
		if to.After(end) {
			to = end
		}
		if x := l.at(n); x != nil {
			x.waited += to.Sub(from)
		}
	}
}

// handedBack counts a call that was handed back because it would have waited too long.
func (w *waitCounts) handedBack(provider, limit string, at time.Time) {
	l := w.of(provider, limit)
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.at(spanAt(at)); x != nil {
		x.handedBack++
	}
}

// waiting notes how many calls wait now, since waited counts only the waits that have ended.
func (w *waitCounts) waiting(provider, limit string, now time.Time, n int) {
	l := w.of(provider, limit)
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.at(spanAt(now)); x != nil {
		x.seen = max(x.seen, n)
	}
}

// since returns the spans of the last five minutes, by limit.
func (w *waitCounts) since(now time.Time) map[waitKey][spans]waitSpan {
	w.mu.RLock()
	defer w.mu.RUnlock()
	all := make(map[waitKey][spans]waitSpan, len(w.limits))
	for k, l := range w.limits {
		l.mu.Lock()
		all[k] = l.counted.since(now)
		l.mu.Unlock()
	}
	return all
}
