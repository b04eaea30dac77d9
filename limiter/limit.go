package limiter

import (
	"fmt"
	"math"
	"time"
)

// Limit is one limit, kept for each key apart. It has exactly one of these kinds:
//
//   - a token bucket (Rate, Burst): in any time w at most Burst + Rate·w units;
//   - a quota (Quota, Window): never more than Quota units in any Window, or in each of its windows (Fixed);
//   - Concurrency: at most so many permits held at once;
//   - none of them: a gate, which lets everything through until it is held.
type Limit struct {
	Name string      // unique in a Limiter
	Key  []Dimension // whom it counts; their order does not matter; empty = everyone together

	Rate  float64 // bucket: units a second, > 0
	Burst int64   // units that can pass at once; 0 = as many as Rate gives in a second, at least 1 and MaxCost

	Quota  int64         // units in any Window
	Window time.Duration // of Quota

	Concurrency int64

	// MaxCost is what the dearest request costs; 0 = not known. A bucket keeps a
	// quota: its burst B is Burst, or where that is 0 the larger of MaxCost and 1 %
	// of Quota, and its rate is (Quota − B)/Window. A log of the grants of the last
	// Window keeps the quota instead where B is all of it, or where Burst is 0 and B
	// is at least half of it, since a bucket would then refill by at most half of it
	// a Window.
	MaxCost int64

	// Fixed says that the windows of Quota follow one another, as most providers
	// count: all of it may pass in one, however fast, and so up to twice Quota in
	// a Window that begins in the middle of one. A window begins with its first
	// unit, unless a reply says when the next one begins: see Learn. Burst must be 0.
	Fixed bool

	// Learn says that replies tell what is left of a bucket or a quota, by
	// [Permit.Learn].
	Learn bool

	// Process says that each process keeps the limit by itself. Without it, all that share
	// a store keep the limit together: see Options.Member.
	Process bool

	// OnOutage says what the limit lets through while the store does not answer.
	OnOutage OnOutage

	// Adapt lowers the limit of a key after each refusal that [Limiter.Refuse]
	// reports (× 0.7, at most once a second, never below 5 %), and raises it
	// again by 0.5 % of the configured number a second, never above that.
	Adapt bool
}

// OnOutage is what a limit lets through while the store does not answer: see [Limit].
type OnOutage uint8

const (
	// OutageShare lets this process's share through: the limit divided by the number of
	// processes that were known last, less a tenth, beginning with an empty bucket. Where
	// a share does not hold the dearest request, and of a number of permits at once, the
	// limit is not divided: as many processes own it, for each key, as it has permits (one
	// for all else), and it is closed for the others. It is closed for all once
	// [MemberOptions.Expiry] is over, and where the number of processes is not known.
	OutageShare OnOutage = iota
	// OutageClosed lets nothing through.
	OutageClosed
	// OutageOpen lets through what this process's own count allows, as without a store.
	OutageOpen
)

// Use says what one request takes of a limit.
type Use struct {
	Limit string // its name
	Cost  int64  // units; ignored by a Concurrency limit (which takes Request.Parallel) and by a gate
	Bytes bool   // the cost is Request.Bytes instead
}

// Priority says who goes first when calls wait for the same limit.
type Priority int8

// The priorities. Backfill leaves half of each bucket's burst to Interactive
// and waits behind it, but is sure of [Options.BackfillShare] of what passes.
const (
	Interactive Priority = iota
	Backfill
	priorities
)

// Request is what a call wants: all Uses at one instant, or nothing.
type Request struct {
	Keys Keys
	Uses []Use // each limit at most once

	N        int   // requests that the call makes (a batch of n costs n times Cost); 0 = 1
	Parallel int   // permits of a Concurrency limit, cut to what the limit has; 0 = 1
	Bytes    int64 // size of what is sent, for Uses with Bytes

	Priority Priority

	// Inside is what the call around this one lends (see [Permit.Lend]). Of a limit
	// whose key both calls have, this one takes only what the call around it cannot
	// lend. nil = there is no call around it.
	Inside *Loan

	// MaxWait bounds the wait of Acquire: a call that would wait longer fails
	// at once with a *WaitError. 0 = only the context bounds it; negative = it
	// does not wait at all.
	MaxWait time.Duration

	again *waiter // the waiter whose call this repeats after a reload; nil = it is new
}

func (r *Request) cost(u *Use) int64 {
	if u.Bytes {
		return min(max(r.Bytes, 0), maxUnits)
	}
	c, n := min(max(u.Cost, 0), maxUnits), int64(max(r.N, 1))
	if n == 1 || c == 0 {
		return c
	}
	if c > maxUnits/n {
		return maxUnits
	}
	return c * n
}

// maxUnits is the largest number of units: 2⁵³, up to which a float64 holds whole numbers
// exactly, and on 32-bit machines 2³⁰, which an int holds. Larger numbers are cut to it.
const maxUnits = 1 << (30 + 23*(^uint(0)>>63))

// spec is a limit's numbers, checked and ready for use.
type spec struct {
	kind
	adapt  bool
	rate   float64 // bucketKind: units a second
	burst  int64   // bucketKind
	quota  int64   // of a quota: units in a window
	window int64   // of a quota: ns
	conc   int64   // concurrencyKind
}

// as returns w, the numbers that one key has of its own, as numbers of the kind that m has
// for all other keys, since the state of a key has room for one kind only. It converts a
// quota, which either a bucket or a log can keep, and returns any other w unchanged.
func (m *Limit) as(w spec, kind kind) spec {
	if m.Quota == 0 || w.kind == kind {
		return w
	}
	switch kind {
	case logKind, fixedKind:
		w = spec{kind: kind, adapt: w.adapt, quota: m.Quota, window: int64(m.Window)}
	case bucketKind:
		b := max(1, min(max(m.Burst, m.MaxCost, (m.Quota+99)/100), m.Quota-1))
		n := max(float64(m.Quota-b), 0.999) // of a quota of 1, less than another in the window
		w = spec{kind: kind, adapt: w.adapt, rate: n / m.Window.Seconds(), burst: b, quota: m.Quota, window: int64(m.Window)}
	}
	return w
}

// check returns what is wrong with the limit's numbers, or nil.
func (m *Limit) check() error {
	fail := func(format string, a ...any) error {
		return fmt.Errorf("limiter: limit %q: "+format, append([]any{m.Name}, a...)...)
	}
	forms := 0
	for _, set := range []bool{m.Rate != 0, m.Quota != 0 || m.Window != 0, m.Concurrency != 0} {
		if set {
			forms++
		}
	}
	switch {
	case forms > 1:
		return fail("more than one of rate, quota and concurrency")
	case math.IsNaN(m.Rate) || m.Rate < 0 || m.Rate > 1e15:
		return fail("rate %v is not between 0 and 1e15 a second", m.Rate)
	case m.Burst < 0 || m.Burst > maxUnits:
		return fail("burst %d is not between 0 and %d", m.Burst, int64(maxUnits))
	case m.Quota < 0 || m.Quota > maxUnits:
		return fail("quota %d is not between 0 and %d", m.Quota, int64(maxUnits))
	case m.Concurrency < 0 || m.Concurrency > math.MaxInt32:
		return fail("concurrency %d is not between 0 and %d", m.Concurrency, math.MaxInt32)
	case m.MaxCost < 0 || m.MaxCost > maxUnits:
		return fail("dearest cost %d is not between 0 and %d", m.MaxCost, int64(maxUnits))
	case (m.Quota != 0) != (m.Window != 0) || m.Window < 0:
		return fail("quota %d in a window of %v", m.Quota, m.Window)
	case m.Burst != 0 && m.Rate == 0 && m.Quota == 0:
		return fail("a burst without a rate or a quota")
	case m.Fixed && (m.Quota == 0 || m.Burst != 0):
		return fail("fixed windows without a quota, or with a burst")
	case m.Learn && m.Rate == 0 && m.Quota == 0:
		return fail("to learn without a rate or a quota")
	}
	return nil
}

// spec checks the limit and works out its numbers.
func (m *Limit) spec() (spec, error) {
	if err := m.check(); err != nil {
		return spec{}, err
	}
	w := spec{adapt: m.Adapt}
	switch {
	case m.Rate != 0:
		w.kind, w.rate, w.burst = bucketKind, m.Rate, m.Burst
		if w.burst == 0 {
			w.burst = max(1, m.MaxCost, int64(min(math.Ceil(m.Rate), maxUnits)))
		}
	case m.Fixed:
		w.kind, w.quota, w.window = fixedKind, m.Quota, int64(m.Window)
	case m.Quota != 0:
		b := m.Burst
		if b == 0 {
			b = max(1, m.MaxCost, (m.Quota+99)/100)
		}
		if b >= m.Quota || m.Burst == 0 && b >= m.Quota-b {
			w.kind, w.quota, w.window = logKind, m.Quota, int64(m.Window)
		} else {
			w.kind, w.rate, w.burst = bucketKind, float64(m.Quota-b)/m.Window.Seconds(), b
			w.quota, w.window = m.Quota, int64(m.Window)
		}
	case m.Concurrency != 0:
		w.kind, w.conc = concurrencyKind, m.Concurrency
	}
	return w, nil
}
