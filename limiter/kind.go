package limiter

import (
	"math"

	"github.com/recourse-go/recourse/limiter/internal/windowlog"
)

// The kinds of limits.
//
// What the rest of the limiter asks about a kind stands here: a few properties, which
// the way of every call needs, and the methods of algorithm. Each kind implements these
// in a file of its own.

// kind is how a limit counts.
type kind uint8

const (
	gateKind kind = iota
	bucketKind
	logKind
	concurrencyKind
	fixedKind
	kinds // how many there are
)

// algorithms are the kinds.
var algorithms = [kinds]algorithm{
	gateKind:        gate{},
	bucketKind:      tokenBucket{},
	logKind:         slidingLog{},
	concurrencyKind: semaphore{},
	fixedKind:       fixedWindow{},
}

// metered reports whether a call takes units, which are spent. The state of a key can
// follow a limit from one metered kind to another.
func (k kind) metered() bool { return k == bucketKind || k == logKind || k == fixedKind }

// holds reports whether a call takes permits, at most spec.conc at once, and has them
// until it ends. entry.holder counts those that are out.
func (k kind) holds() bool { return k == concurrencyKind }

// dated reports whether a limit remembers when units were taken, for spec.window.
func (k kind) dated() bool { return k == logKind }

// most is the largest cost that can ever pass.
func (w *spec) most() int64 {
	switch w.kind {
	case bucketKind:
		return w.burst
	case logKind, fixedKind:
		return w.quota
	}
	return math.MaxInt64
}

// headroom is what backfill leaves in a full bucket for interactive calls.
func (w *spec) headroom(cost int64) int64 {
	if w.kind != bucketKind || cost == 0 {
		return 0
	}
	return max(0, min(w.burst/2, w.burst-cost))
}

// kindState is what a key's coldLimit has for kinds that keep their state there. A bucket
// is in entry.buckets instead, and the permits out in entry.few and coldState.holders.
type kindState struct {
	log     *windowlog.Log // logKind
	learned *learned       // fixedKind, and all with Limit.Learn
}

// clone is a copy that shares nothing with s.
func (s kindState) clone() kindState {
	if s.log != nil {
		s.log = s.log.Clone()
	}
	if s.learned != nil {
		d := *s.learned
		s.learned = &d
	}
	return s
}

// algorithm is what the limiter asks a kind of limit. In its methods m is a limit of the
// kind, e the state of a key, whose shard is locked, x the cold state of m for that key
// or nil, and now the time, which never runs backwards for e.
type algorithm interface {
	// place returns m's index in its group. index is the one that m had before a reload,
	// or -1.
	place(g *group, index int) int

	// unused is how many units a key has left that was never used.
	unused(m *limit, now int64) float64

	// grow gives e the state of all of g's limits of this kind, as far as it has none yet.
	grow(e *entry, g *group, now int64)

	// idle reports whether e is as a key that was never used.
	idle(e *entry, m *limit, now int64) bool

	// forget drops what does not count any more since the clock's time seen. It reports
	// whether x must be kept with e all the same, and whether nothing in it counts.
	forget(m *limit, x *coldLimit, seen int64) (keep, empty bool)

	// tune puts in force the numbers that e has now; with full it has all its units, too.
	tune(e *entry, m *limit, x *coldLimit, full bool, now int64)

	// become turns what a limit of another metered kind, with the numbers was, has left in
	// e into state of this kind. ended says that the hold x.hold is over.
	become(e *entry, m *limit, x *coldLimit, was *spec, ended bool, now int64)

	// setBack lets e, which has seen the time seen, ahead of now, go on from now.
	setBack(e *entry, m *limit, now, seen int64)

	// take takes cost, or nothing: got is how much. With reserve it leaves spec.headroom.
	take(e *entry, m *limit, x *coldLimit, cost int64, reserve bool, now int64) (got int64, ok bool)

	// untake undoes what take did at the same instant.
	untake(e *entry, m *limit, got, now int64)

	// ready is when a call of this cost could pass, after so many units ahead of it and
	// if headroom is left: start, later, or onEvent. held says that start is the end of a hold.
	ready(e *entry, m *limit, x *coldLimit, cost, ahead, headroom, start int64, held bool) int64

	// refund gives units back that were taken at the time at, when the limit was old, as
	// far as they are still missing. It reports whether there were any.
	refund(e *entry, m, old *limit, x *coldLimit, got, at, now int64) bool

	// move makes units that were taken at the time from count at the time to instead. It
	// reports false, and changes nothing, if they do not fit there. moveBack undoes it.
	move(m *limit, x *coldLimit, units, from, to int64) bool
	moveBack(m *limit, x *coldLimit, units, from, to int64)

	// retake gives units back that were taken earlier, and takes them at the time now.
	retake(e *entry, m *limit, got, now int64)

	// emptied takes all units as of the end of a hold, since a bucket is empty then. It
	// reports false for a kind that cannot be emptied, which needs probes instead.
	emptied(e *entry, m *limit, end int64) bool

	// recovered takes note that refusals had lowered the limit by the part cut of its
	// numbers, and that it has recovered from that since x.cutAt, for so many seconds, up
	// to x.cut.
	recovered(e *entry, m *limit, x *coldLimit, cut, seconds float64, now int64)

	// lower lets no more than left pass now, before the limit fills again. It reports false
	// where it does not fill.
	lower(e *entry, m *limit, left, now int64) bool

	// show writes into st what people are to see. e is nil for a key that was never used.
	show(st State, e *entry, m *limit, x *coldLimit, now int64) State
}

// gate is a limit that lets everything through until it is held. Other kinds embed it
// for what does not concern them.
type gate struct{}

var _ algorithm = gate{}

func (gate) place(_ *group, index int) int { return index }

func (gate) unused(*limit, int64) float64 { return 0 }

func (gate) grow(*entry, *group, int64) {}

func (gate) idle(*entry, *limit, int64) bool { return true }

func (gate) forget(*limit, *coldLimit, int64) (keep, empty bool) { return false, true }

func (gate) tune(*entry, *limit, *coldLimit, bool, int64) {}

func (gate) become(*entry, *limit, *coldLimit, *spec, bool, int64) {}

func (gate) setBack(*entry, *limit, int64, int64) {}

func (gate) take(_ *entry, _ *limit, _ *coldLimit, cost int64, _ bool, _ int64) (int64, bool) {
	return cost, true
}

func (gate) untake(*entry, *limit, int64, int64) {}

func (gate) ready(_ *entry, _ *limit, _ *coldLimit, _, _, _, start int64, _ bool) int64 { return start }

func (gate) refund(*entry, *limit, *limit, *coldLimit, int64, int64, int64) bool { return false }

func (gate) move(*limit, *coldLimit, int64, int64, int64) bool { return true }

func (gate) moveBack(*limit, *coldLimit, int64, int64, int64) {}

func (gate) retake(*entry, *limit, int64, int64) {}

func (gate) emptied(*entry, *limit, int64) bool { return false }

func (gate) recovered(*entry, *limit, *coldLimit, float64, float64, int64) {}

func (gate) lower(*entry, *limit, int64, int64) bool { return false }

func (gate) show(st State, _ *entry, _ *limit, _ *coldLimit, _ int64) State { return st }
