package limiter

import (
	"math"
	"time"

	"github.com/recourse-go/recourse/limiter/internal/windowlog"
)

// slidingLog is a quota whose grants are remembered for its window, in kindState.log.
// limit.index is the bucket that the limit was before a reload, or -1.
type slidingLog struct{ gate }

var _ algorithm = slidingLog{}

func (slidingLog) unused(m *limit, _ int64) float64 { return float64(m.quota) }

func (slidingLog) grow(e *entry, g *group, now int64) {
	for _, m := range g.limits {
		if m.kind == logKind {
			if x := e.makeCold(g, m); x.log == nil {
				x.log = m.remembers(now)
			}
		}
	}
}

func (slidingLog) forget(m *limit, x *coldLimit, seen int64) (keep, empty bool) {
	x.log.Forget(seen - x.specOf(m).window)
	return true, x.log.Empty()
}

// become takes for granted in the window all that the bucket can have granted, and as
// late as that can have been.
func (slidingLog) become(e *entry, m *limit, x *coldLimit, was *spec, ended bool, now int64) {
	if was.kind == fixedKind { // its window stays in force beside the log until it ends
		x.log = &windowlog.Log{}
		return
	}
	b := &e.buckets[m.index]
	if ended {
		b.Empty(x.hold)
	}
	x.log = was.remembered(b.Level(now), m.window, now, now)
}

// remembered is the most that a bucket which has this level at the time at can
// have granted until then, as late as that can have been, as far as it still
// counts at the time now.
func (w *spec) remembered(level float64, window, at, now int64) *windowlog.Log {
	log := &windowlog.Log{}
	const spansPerWindow = 32
	before := func(spans int64) int64 { // granted in the last spans of the window
		return int64(math.Ceil(min(w.rate*time.Duration(window).Seconds()/spansPerWindow*float64(spans), maxUnits)))
	}
	for k := int64(spansPerWindow); k > 0; k-- {
		last := at - window/spansPerWindow*(k-1)
		if units := before(k) - before(k-1); units > 0 {
			log.Take(units, last, window)
		}
	}
	if units := int64(math.Ceil(float64(w.burst) - level)); units > 0 {
		log.Take(units, at, window)
	}
	log.Forget(now - window)
	return log
}

// remembers is what the log of a key that was never used has in it.
func (m *limit) remembers(now int64) *windowlog.Log {
	if m.prior == nil || m.prior.spec.kind != bucketKind || now-m.prior.at > m.window {
		return &windowlog.Log{}
	}
	return m.prior.spec.remembered(float64(m.prior.spec.burst), m.window, m.prior.at, now)
}

func (slidingLog) take(_ *entry, m *limit, x *coldLimit, cost int64, _ bool, now int64) (int64, bool) {
	w := x.specOf(m)
	if x.log.Peak(now, w.window)+cost > w.quotaFor(x, cost) {
		return 0, false
	}
	x.log.Take(cost, now, w.window)
	return cost, true
}

// quotaFor is how much of its quota a window may have given once a call of this
// cost has passed. Refusals lower it, but not below the cost of one call that
// the quota itself has room for.
func (w *spec) quotaFor(x *coldLimit, cost int64) int64 {
	return max(x.lowered(w.quota), min(cost, w.quota))
}

func (slidingLog) untake(e *entry, m *limit, got, now int64) { e.coldOf(m).log.Refund(got, now) }

func (slidingLog) ready(_ *entry, m *limit, x *coldLimit, cost, ahead, _, start int64, _ bool) int64 {
	w := x.specOf(m)
	quota := w.quotaFor(x, cost)
	return x.log.Ready(min(cost+ahead, quota), quota, w.window, start)
}

func (slidingLog) refund(_ *entry, m, old *limit, x *coldLimit, got, at, _ int64) bool {
	if old.kind != logKind || m.prior != nil && at <= m.prior.at || x == nil || x.log == nil {
		return false // a reload has made it a window meanwhile
	}
	return got > 0 && x.log.Refund(got, at)
}

func (slidingLog) move(m *limit, x *coldLimit, units, from, to int64) bool {
	if units == 0 || x == nil || x.log == nil {
		return true
	}
	w := x.specOf(m)
	return x.log.Move(units, from, to, w.quota, w.window)
}

func (slidingLog) moveBack(m *limit, x *coldLimit, units, from, to int64) {
	if x != nil && x.log != nil && x.log.Refund(units, to) {
		x.log.Take(units, from, x.specOf(m).window)
	}
}

func (slidingLog) show(st State, e *entry, m *limit, x *coldLimit, now int64) State {
	w := x.specOf(m)
	log := (*windowlog.Log)(nil)
	if e == nil {
		log = m.remembers(now)
	} else {
		log = x.log
	}
	st.Burst = x.lowered(w.quota)
	st.Level = float64(max(0, st.Burst-log.Peak(now, w.window)))
	return st
}
