package bucket

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// A bucket gives what golang.org/x/time/rate's does, asked in the order of time.
func TestAsXTime(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		perSecond, burst := []float64{0.5, 7, 1000, 1e9}[rnd.IntN(4)], 1+rnd.Int64N(20)
		base := time.Unix(1000, 0)
		want := rate.NewLimiter(rate.Limit(perSecond), int(burst))
		want.AllowN(base, 0)
		var got Bucket
		got.Init(perSecond, burst, float64(burst), 0)
		now := int64(0)
		for range 200 {
			now += rnd.Int64N(int64(4e9/perSecond) + 2)
			at := base.Add(time.Duration(now))
			switch n := 1 + rnd.Int64N(burst); rnd.IntN(8) {
			case 0:
				perSecond *= []float64{0.5, 2}[rnd.IntN(2)]
				want.SetLimitAt(at, rate.Limit(perSecond))
				got.TuneRate(perSecond, now)
			case 1: // cut to the burst when it is next looked at
				want.AllowN(at, -int(n))
				want.AllowN(at, 0)
				got.Give(float64(n), now)
			default:
				if g, w := got.Take(n, now), want.AllowN(at, int(n)); g != w {
					t.Fatalf("seed %d: %d units at %d: %v, want %v; levels %v and %v", seed, n, now, g, w, got.Level(now), want.TokensAt(at))
				}
			}
			if g, w := got.Level(now), want.TokensAt(at); math.Abs(g-w) > 1e-6 {
				t.Fatalf("seed %d: level %v at %d, want %v", seed, g, now, w)
			}
		}
	}
}

func TestBucket(t *testing.T) {
	const s = int64(time.Second)
	for _, c := range []struct {
		name string
		do   func(b *Bucket)
		at   int64
		want float64
	}{
		{"fills at its rate", func(b *Bucket) {}, s / 2, 5},
		{"fills up to its burst", func(b *Bucket) {}, 5 * s, 20},
		{"an older time gives nothing", func(b *Bucket) { b.Take(5, s) }, s / 2, 5},
		{"gives back up to its burst", func(b *Bucket) { b.Give(100, 0) }, 0, 20},
		{"emptied", func(b *Bucket) { b.Empty(s) }, s, 0},
		{"fills once emptied", func(b *Bucket) { b.Empty(s) }, 2 * s, 10},
		{"a debt is not emptied", func(b *Bucket) { b.Init(10, 20, -5, 0); b.Empty(0) }, 0, -5},
		{"a smaller burst cuts", func(b *Bucket) { b.Tune(10, 3, s) }, s, 3},
		{"a larger burst gives nothing", func(b *Bucket) { b.Tune(10, 100, s) }, s, 10},
		{"another rate from now on", func(b *Bucket) { b.TuneRate(1, s) }, 3 * s, 12},
		{"set back", func(b *Bucket) { b.Take(1, s); b.SetBack(0, s) }, 0, 0},
		{"set back, with a part", func(b *Bucket) { b.Give(5, s); b.SetBack(s/2, s) }, s / 2, 10},
		{"set back with a debt", func(b *Bucket) { b.Init(10, 20, -5, s); b.SetBack(0, s) }, 0, -5},
		{"a new one is not over its burst", func(b *Bucket) { b.Init(10, 20, 100, 0) }, 0, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b Bucket
			b.Init(10, 20, 0, 0)
			c.do(&b)
			if got := b.Level(c.at); math.Abs(got-c.want) > 1e-9 {
				t.Errorf("level %v at %v, want %v", got, time.Duration(c.at), c.want)
			}
		})
	}
	var b Bucket
	b.Init(10, 20, 3, 0)
	if b.Take(4, 0) || !b.Take(3, 0) || b.Take(1, s/10-2) || !b.Take(1, s/10) {
		t.Error("it gave what it has not, or not what it has")
	}
}
