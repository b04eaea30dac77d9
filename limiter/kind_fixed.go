package limiter

import "math"

// fixedWindow is a quota whose windows follow one another: all of it may be used in one,
// however fast. A window begins with its first unit and lasts for spec.window, unless
// a reply tells when it ends. It is kept in kindState.learned.
type fixedWindow struct{ gate }

var _ algorithm = fixedWindow{}

func (fixedWindow) unused(m *limit, _ int64) float64 { return float64(m.quota) }

// become takes for used what of the window or of the bucket's burst is.
func (fixedWindow) become(e *entry, m *limit, x *coldLimit, was *spec, ended bool, now int64) {
	used := int64(0)
	switch was.kind {
	case logKind:
		if x.log != nil {
			used, x.log = x.log.Since(now-was.window), nil
		}
	case bucketKind:
		used = int64(math.Ceil(float64(was.burst) - e.buckets[m.index].Level(now)))
	}
	if d := x.learned; d.reset == 0 && used > 0 {
		d.begin(max(0, m.quota-used), now, m.window)
	} else {
		d.left = min(d.left, m.quota-used)
	}
}

func (fixedWindow) setBack(e *entry, m *limit, now, _ int64) {
	if d := e.coldOf(m).learned; d.guessed {
		d.reset, d.since = min(d.reset, now+m.window), min(d.since, now)
	}
}

func (fixedWindow) tune(e *entry, m *limit, x *coldLimit, _ bool, _ int64) {
	if d := x.learned; d != nil {
		d.left = min(d.left, x.specOf(m).quota)
	}
}

// take begins a window where there is none. Whether it has room is asked before.
func (fixedWindow) take(_ *entry, m *limit, x *coldLimit, cost int64, _ bool, now int64) (int64, bool) {
	if d := x.learned; d.reset == 0 && cost > 0 {
		w := x.specOf(m)
		quota := w.quotaFor(x, cost)
		if cost > quota {
			return 0, false
		}
		d.begin(quota, now, w.window)
	}
	return cost, true
}

// emptied needs no probes where the provider's window has begun anew since it refused.
func (fixedWindow) emptied(e *entry, m *limit, end int64) bool {
	x := e.coldOf(m)
	return x.learned.last != 0 && x.refusedAt <= x.learned.last && x.learned.last <= end
}

func (fixedWindow) show(st State, _ *entry, m *limit, x *coldLimit, _ int64) State {
	st.Burst = x.lowered(x.specOf(m).quota)
	st.Level = float64(st.Burst)
	return st
}
