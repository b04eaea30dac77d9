package simulate

import (
	"math"
	"time"
)

// chance returns a pseudo-random number in [0,1). It depends only on the seed, the purpose
// (salt) and the numbers of the call (of), so that a call gets the same number whatever
// else happens in the simulation.
func chance(seed uint64, salt uint64, of ...uint64) float64 {
	h := mix(seed ^ mix(salt))
	for _, x := range of {
		h = mix(h ^ x)
	}
	return float64(h>>11) / (1 << 53)
}

// The purposes of a chance.
const (
	forLatency uint64 = 1 + iota
	forFault
	forToken
	forRefresh
	forComeBack
)

// mix is the finalizer of splitmix64, by Sebastiano Vigna.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// at99 is the 99th percentile of the standard normal distribution.
const at99 = 2.3263478740408408

// of returns the latency at the quantile u, from 0 to 1.
func (l Latency) of(u float64) time.Duration {
	if l.Median <= 0 {
		return 0
	}
	spread := 0.0
	if l.P99 > l.Median {
		spread = math.Log(float64(l.P99)/float64(l.Median)) / at99
	}
	z := math.Sqrt2 * math.Erfinv(2*min(max(u, 1e-9), 1-1e-9)-1)
	return time.Duration(min(float64(l.Median)*math.Exp(spread*z), float64(time.Hour)))
}
