// Package bucket is the arithmetic of a token bucket, as golang.org/x/time/rate has
// it, without a lock and a time.Time of its own: whoever has many buckets under one
// lock pays for these once.
package bucket

// Bucket holds units, and fills at its rate up to its burst. Times are
// nanoseconds; one that is older than the newest seen counts as that, so that no
// time is given out twice. A Bucket is a value, and not safe for concurrent use.
type Bucket struct {
	rate  float64 // units a second
	burst float64
	level float64 // at the time at; less than 0 = a debt
	at    int64
}

// New is a bucket with level units in it at the time now; less than none are a debt.
func New(rate float64, burst int64, level float64, now int64) Bucket {
	return Bucket{rate: rate, burst: float64(burst), level: min(level, float64(burst)), at: now}
}

// Rate is how many units a second it gets.
func (b *Bucket) Rate() float64 { return b.rate }

// Level is how many units it has at the time now.
func (b *Bucket) Level(now int64) float64 {
	level := b.level
	if now > b.at {
		level += b.rate * (float64(now-b.at) / 1e9)
	}
	return min(level, b.burst)
}

// Take takes n units, or none where it has fewer. What it gets in a nanosecond is
// forgiven, because times have no smaller parts.
func (b *Bucket) Take(n, now int64) bool {
	level := b.Level(now) - float64(n)
	if level < 0 && -level >= b.rate/1e9 {
		return false
	}
	b.level, b.at = level, max(b.at, now)
	return true
}

// Give puts units back. What does not fit is lost.
func (b *Bucket) Give(n float64, now int64) {
	b.level, b.at = min(b.Level(now)+n, b.burst), max(b.at, now)
}

// Empty takes all that is in it; a debt stays.
func (b *Bucket) Empty(now int64) {
	b.level, b.at = min(b.Level(now), 0), max(b.at, now)
}

// Tune gives it other numbers from the time now on. It keeps its level, as far as
// the burst has room, so that a change never grants anything.
func (b *Bucket) Tune(rate float64, burst, now int64) {
	b.level, b.at = min(b.Level(now), float64(burst)), max(b.at, now)
	b.rate, b.burst = rate, float64(burst)
}

// TuneRate is Tune with the burst as it is.
func (b *Bucket) TuneRate(rate float64, now int64) { b.Tune(rate, int64(b.burst), now) }

// SetBack is for a bucket that has seen a time ahead of now: it goes on from now
// with what it can be sure of, which is its level without what it got from now on.
func (b *Bucket) SetBack(now int64) {
	if b.at <= now {
		return
	}
	got := b.rate * (float64(b.at-now) / 1e9)
	b.level, b.at = max(b.level-got, min(b.level, 0)), now
}
