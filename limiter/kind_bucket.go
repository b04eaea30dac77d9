package limiter

import (
	"math"
	"time"

	"github.com/recourse-go/recourse/limiter/internal/bucket"
)

// tokenBucket is a rate, or a quota that is kept by one. limit.index is the bucket's
// place in entry.buckets.
type tokenBucket struct{ gate }

var _ algorithm = tokenBucket{}

func (tokenBucket) place(g *group, index int) int {
	if index < 0 {
		index = g.buckets
		g.buckets++
	}
	return index
}

// fresh is the level of a bucket that was never touched.
func (m *limit) fresh(now int64) float64 {
	if m.base >= float64(m.burst) {
		return float64(m.burst)
	}
	return min(float64(m.burst), m.base+m.rate*time.Duration(now-m.since).Seconds())
}

func (tokenBucket) unused(m *limit, now int64) float64 { return m.fresh(now) }

func (tokenBucket) grow(e *entry, g *group, now int64) {
	had := len(e.buckets)
	if had >= g.buckets {
		return
	}
	if g.buckets > cap(e.buckets) {
		b := make([]bucket.Bucket, g.buckets)
		copy(b, e.buckets)
		e.buckets = b
	}
	e.buckets = e.buckets[:g.buckets]
	for _, m := range g.limits {
		if m.kind == bucketKind && m.index >= had {
			e.buckets[m.index].Init(m.rate, m.burst, m.fresh(now), now)
		}
	}
}

func (tokenBucket) idle(e *entry, m *limit, now int64) bool {
	w := e.coldOf(m).specOf(m)
	full := float64(w.burst)
	if w == &m.spec {
		full = m.fresh(now)
	}
	return e.buckets[m.index].Level(now) >= full
}

func (tokenBucket) tune(e *entry, m *limit, x *coldLimit, full bool, now int64) {
	w, factor := x.specOf(m), 1.0
	if x != nil {
		factor = 1 - x.cut
	}
	b := &e.buckets[m.index]
	b.Tune(w.rate*factor, w.burst, now)
	if full {
		b.Give(float64(w.burst), now)
	}
}

// become takes what the log has in the window for spent. Over the change no more passes
// in a window than the larger of the two limits allows.
func (tokenBucket) become(e *entry, m *limit, x *coldLimit, was *spec, ended bool, now int64) {
	used := int64(0)
	if x.log != nil {
		used, x.log = x.log.Since(now-was.window), nil
	}
	level := min(m.burst, was.quota) - used
	if ended { // a bucket is empty after a hold
		level = min(level, 0)
	}
	e.buckets[m.index].Init(m.rate*(1-x.cut), m.burst, float64(level), now)
}

func (tokenBucket) setBack(e *entry, m *limit, now, seen int64) {
	e.buckets[m.index].SetBack(now, seen)
}

func (tokenBucket) take(e *entry, m *limit, x *coldLimit, cost int64, reserve bool, now int64) (int64, bool) {
	b := &e.buckets[m.index]
	if reserve && b.Level(now) < float64(cost+x.specOf(m).headroom(cost)) {
		return 0, false
	}
	return cost, cost == 0 || b.Take(cost, now)
}

func (tokenBucket) untake(e *entry, m *limit, got, now int64) {
	if got > 0 {
		e.buckets[m.index].Give(float64(got), now)
	}
}

func (tokenBucket) ready(e *entry, m *limit, x *coldLimit, cost, ahead, headroom, start int64, held bool) int64 {
	level := 0.0
	if !held {
		level = e.buckets[m.index].Level(start)
	}
	need := float64(cost) + float64(ahead) + float64(headroom) - level
	if need <= 0 {
		return start
	}
	return later(start, x.fillTime(need, x.specOf(m).rate))
}

// fillTime is how long a bucket of the given rate takes to get so many units,
// in seconds, at what refusals have left of the rate and while that recovers.
func (x *coldLimit) fillTime(units, perSecond float64) float64 {
	if x == nil || x.cut == 0 {
		return units / perSecond
	}
	f, rising := 1-x.cut, x.cut/adaptRaise
	if n := perSecond * (f + 1) / 2 * rising; units > n {
		return rising + (units-n)/perSecond
	}
	return (math.Sqrt(f*f+2*adaptRaise*units/perSecond) - f) / adaptRaise
}

func (tokenBucket) refund(e *entry, m, old *limit, x *coldLimit, got, at, now int64) bool {
	// If the bucket was full meanwhile, what it lacked has come back
	// already. That can't have been faster than its rate. A reload may
	// have cut it to a smaller burst: then nothing is sure.
	if old != m {
		return false
	}
	perSecond := max(m.rate, x.specOf(m).rate)
	n := float64(got) - perSecond*time.Duration(now-at).Seconds()
	if n <= 0 {
		return false
	}
	e.buckets[m.index].Give(n, now)
	return true
}

func (tokenBucket) retake(e *entry, m *limit, got, now int64) {
	if b := &e.buckets[m.index]; b.Level(now) >= 0 {
		b.Give(float64(got), now)
		b.Take(got, now)
	}
}

func (tokenBucket) emptied(e *entry, m *limit, end int64) bool {
	e.buckets[m.index].Empty(end)
	return true
}

// recovered gives the bucket what it got meanwhile, which is the rising rate's integral,
// however often this is called: it has the mean rate for that time. (A lowered bucket
// was last changed at x.cutAt. Its full rate is read from it, because a reload may have
// changed m since.)
func (tokenBucket) recovered(e *entry, m *limit, x *coldLimit, cut, seconds float64, now int64) {
	b := &e.buckets[m.index]
	full := b.Rate() / (1 - cut)
	if w := x.specOf(m).rate; math.Abs(full-w) < 1e-9*w {
		full = w // rounding errors do not add up
	}
	rising := (cut - x.cut) / adaptRaise // seconds
	mean := 1 - (cut+x.cut)/2*rising/seconds - x.cut*(1-rising/seconds)
	b.TuneRate(full*mean, x.cutAt)
	b.TuneRate(full*(1-x.cut), now)
}

func (tokenBucket) lower(e *entry, m *limit, left, now int64) bool {
	b := &e.buckets[m.index]
	if over := int64(math.Floor(b.Level(now))) - left; over > 0 {
		b.Take(over, now)
	}
	return true
}

func (tokenBucket) show(st State, e *entry, m *limit, x *coldLimit, now int64) State {
	w := x.specOf(m)
	st.Burst, st.Rate = w.burst, w.rate*st.Factor
	if e == nil {
		st.Level = m.fresh(now)
	} else {
		st.Level = max(0, e.buckets[m.index].Level(now))
	}
	return st
}
