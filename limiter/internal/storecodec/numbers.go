// Package storecodec has what the stores of a fleet write alike, whatever the server: the bounds of
// numbers, times in microseconds, short digests of ids and names, and causes as bytes.
package storecodec

import "time"

const (
	// MaxUnits is the greatest number of units, and the greatest version: up to it, a float64
	// holds all whole numbers.
	MaxUnits = int64(1) << 53

	// Longest is the longest time in microseconds. Sums of a few of them stay below MaxUnits.
	Longest = int64(366 * 24 * time.Hour / time.Microsecond)

	// DefaultLease is what a lease of 0 means, and MaxLease the longest, in microseconds.
	DefaultLease = int64(10 * time.Second / time.Microsecond)
	MaxLease     = int64(time.Hour / time.Microsecond)

	shortestLease = int64(time.Millisecond / time.Microsecond)
)

// Units returns a number of units, cut to the range from 0 to MaxUnits.
func Units(n int64) int64 { return min(max(n, 0), MaxUnits) }

// Version returns a version, cut to MaxUnits.
func Version(v uint64) int64 { return int64(min(v, uint64(MaxUnits))) }

// Micros returns a duration in microseconds, cut to ±Longest. up says whether to round up.
func Micros(d time.Duration, up bool) int64 {
	us := int64(d / time.Microsecond)
	if up && d%time.Microsecond > 0 {
		us++
	}
	return min(max(us, -Longest), Longest)
}

// Lease returns the length of a lease in microseconds.
func Lease(d time.Duration) int64 {
	if d <= 0 {
		return DefaultLease
	}
	return min(max(Micros(d, true), shortestLease), MaxLease)
}

// LongestPause is the longest duration of a pause; longer ones are cut to it.
const LongestPause = 100 * 366 * 24 * time.Hour
