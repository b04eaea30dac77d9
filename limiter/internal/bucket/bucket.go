// Package bucket is the token bucket of golang.org/x/time/rate with what a limiter of
// many keys needs beside it: times in nanoseconds, parts of units that are given back,
// a level to begin with, which may be a debt, and other numbers without a new grant.
package bucket

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// Bucket holds units, and fills at its rate up to its burst. Times are nanoseconds
// since some time that all calls of the process mean. They must not go back, because rate.Limiter gives the time between out
// twice then; whoever has the clock sees to that. The zero Bucket has no rate and no
// room. A Bucket must not be copied, and is not safe for concurrent use.
type Bucket struct{ tokens rate.Limiter }

// began has a reading of the monotonic clock, as all times have that are made of it:
// package time compares and subtracts these in a third of the steps.
var began = time.Now()

// At returns the time for TakeAt.
func At(now int64) time.Time { return began.Add(time.Duration(now)) }

// Init makes it one with level units in it at the time now; less than none are a debt.
func (b *Bucket) Init(perSecond float64, burst int64, level float64, now int64) {
	b.tokens = rate.Limiter{}
	t := At(now)
	if level < 0 { // a debt is a reservation that is not yet due
		b.tokens.SetBurstAt(t, int(math.Ceil(-level)))
		b.tokens.SetLimitAt(t, rate.Limit(perSecond))
		b.tokens.ReserveN(t, b.tokens.Burst())
	} else {
		b.tokens.SetLimitAt(t, rate.Limit(perSecond))
	}
	b.tokens.SetBurstAt(t, int(burst))
	if level >= 0 {
		b.Give(min(level, float64(burst)), now)
	}
}

// Rate is how many units a second it gets.
func (b *Bucket) Rate() float64 { return float64(b.tokens.Limit()) }

// Level is how many units it has at the time now.
func (b *Bucket) Level(now int64) float64 { return b.tokens.TokensAt(At(now)) }

// Take takes n units, or none where it has fewer. What it gets in a nanosecond is
// forgiven, because times have no smaller parts.
func (b *Bucket) Take(n, now int64) bool { return b.TakeAt(At(now), n) }

// TakeAt is Take for whoever takes of several buckets at once.
func (b *Bucket) TakeAt(t time.Time, n int64) bool { return b.tokens.AllowN(t, int(n)) }

// Give puts units back. What does not fit is lost.
func (b *Bucket) Give(n float64, now int64) {
	t := At(now)
	whole := math.Floor(n)
	b.tokens.AllowN(t, -int(whole)) // cut to the burst when it is next looked at
	if part, perSecond := n-whole, b.Rate(); part > 0 && perSecond > 0 {
		b.tokens.AllowN(t.Add(-time.Duration(part/perSecond*1e9)), 0) // units come whole: the rest by dating the bucket back
	}
}

// Empty takes all that is in it; a debt stays.
func (b *Bucket) Empty(now int64) {
	t, burst := At(now), b.tokens.Burst()
	b.tokens.SetBurstAt(t, 0)
	b.tokens.SetBurstAt(t, 0) // the first call cut nothing: tokens are cut to the burst before it changes
	b.tokens.SetBurstAt(t, burst)
}

// Tune gives it other numbers from the time now on. It keeps its level, as far as
// the burst has room, so that a change never grants anything.
func (b *Bucket) Tune(perSecond float64, burst, now int64) {
	t := At(now)
	b.tokens.SetLimitAt(t, rate.Limit(perSecond))
	b.tokens.SetBurstAt(t, int(burst))
}

// TuneRate is Tune with the burst as it is.
func (b *Bucket) TuneRate(perSecond float64, now int64) {
	b.tokens.SetLimitAt(At(now), rate.Limit(perSecond))
}

// SetBack is for a bucket that has seen the time seen, which is ahead of now: it goes
// on from now with what it can be sure of, which is its level without what it got from
// now on.
func (b *Bucket) SetBack(now, seen int64) {
	level := b.Level(seen)
	got := b.Rate() * (float64(seen-now) / 1e9)
	b.Init(b.Rate(), int64(b.tokens.Burst()), max(level-got, min(level, 0)), now)
}
