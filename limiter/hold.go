package limiter

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// Hold closes a limit for a key until the given time, for everyone who uses
// that key. A hold is only ever extended: an earlier time than that of a hold
// in force changes nothing. When it ends, the key's bucket is empty and fills
// at its rate, so that calls that waited go one after another; a limit without
// a rate lets one call through as a probe, then twice as many a round, until
// it is open again. A probe is over, and lets one more call through, at
// [Permit.Succeeded] or else at [Permit.Release], if no hold has come by then.
// One that never reached the provider ([Permit.Cancel], [Permit.Refund])
// makes room for another, and for no more. Calls from before the hold do
// neither. If nobody probes for a minute, the limit is open.
//
// Calls that wait and could not pass before their own deadline any more fail
// at once. limit is an index into the limits; one that does not exist is ignored.
//
// cause says why the limit is closed, for those who wait for it: [WaitError],
// [State] and [Permit.Waited] tell it. At most one is used. It is remembered
// with the hold that is in force, so it is dropped where the hold changes nothing.
func (l *Limiter) Hold(limit int, k Keys, until time.Time, cause ...Cause) {
	l.hold(l.now(), false, limit, &k, l.ns(until), cause)
}

// HoldAt is Hold at the time now.
func (l *Limiter) HoldAt(now time.Time, limit int, k Keys, until time.Time, cause ...Cause) {
	l.hold(l.ns(now), true, limit, &k, l.ns(until), cause)
}

func (l *Limiter) hold(now int64, given bool, limit int, k *Keys, until int64, cause []Cause) {
	c, e, m := l.open(now, given, limit, k, true)
	if e == nil {
		return
	}
	var late []*waiter
	var why Cause
	if x := e.more(c.cfg.groups[m.group], m); until > c.now {
		if until == 0 {
			until = 1 // 0 says that there is no hold
		}
		e.settle(m, x, c.now, l.time(c.now))
		if x.hold == 0 || x.hold < until {
			x.hold = until
			x.noteCause(cause, until)
			x.open() // no probe matters any more that is out
			l.noteHold(until)
			if x.q != nil {
				late, why = x.q.late(until), x.causeSince(c.now)
				l.arm(e, c.now)
			}
		}
	}
	l.unlock(c.locks)
	for _, w := range late {
		l.expire(w, m.Name, until, why)
	}
}

// Lift ends a hold at once and as if it had never been: for a hold that a
// success disproves.
func (l *Limiter) Lift(limit int, k Keys) { l.lift(l.now(), false, limit, &k) }

// LiftAt is Lift at the time now.
func (l *Limiter) LiftAt(now time.Time, limit int, k Keys) { l.lift(l.ns(now), true, limit, &k) }

func (l *Limiter) lift(now int64, given bool, limit int, k *Keys) {
	c, e, m := l.open(now, given, limit, k, false)
	if e == nil {
		return
	}
	now = c.now
	waiting := false
	if x := e.slot(m); x != nil {
		e.settle(m, x, c.now, l.time(c.now)) // perhaps it had ended by itself
		x.hold = 0
		x.noteCause(nil, c.now)
		x.open()
		waiting = x.q != nil
	}
	l.unlock(c.locks)
	if waiting {
		l.drain(e, now)
	}
}

// Refused counts a refusal by the provider for a key, and returns how many
// there were since a call of that key last succeeded ([Permit.Succeeded]).
// A limit with Adapt is lowered for the key. Refusals more than an hour apart
// are not counted together.
func (l *Limiter) Refused(limit int, k Keys) int {
	return l.refused(l.now(), false, limit, &k, math.MaxInt64)
}

// RefusedAt is Refused at the time now, for a call that was sent at sent: one
// that was already on its way when the refusal before it was counted belongs
// to that one and is not counted again.
func (l *Limiter) RefusedAt(now time.Time, limit int, k Keys, sent time.Time) int {
	return l.refused(l.ns(now), true, limit, &k, l.ns(sent))
}

func (l *Limiter) refused(now int64, given bool, limit int, k *Keys, sent int64) int {
	c, e, m := l.open(now, given, limit, k, true)
	if e == nil {
		return 0
	}
	defer l.unlock(c.locks)
	x := e.more(c.cfg.groups[m.group], m)
	e.settle(m, x, c.now, l.time(c.now))
	if x.refused > 0 && c.now-x.refusedAt >= refusalLapse {
		x.refused = 0
	}
	if x.refused > 0 && sent < x.refusedAt {
		return int(x.refused)
	}
	if x.refused < math.MaxInt32 {
		x.refused++
	}
	x.refusedAt = c.now
	if x.lawOf(m).adapt && (x.next == 0 || c.now >= x.next) {
		x.cut = 1 - max(adaptFloor, (1-x.cut)*adaptCut)
		x.cutAt, x.next = c.now, c.now+adaptEvery
		e.tune(m, x, l.time(c.now))
	}
	if x.q != nil {
		l.arm(e, c.now)
	}
	return int(x.refused)
}

// open finds, locked, one limit's state for a key. The entry is nil, and
// nothing locked, when there is no such limit, or no such key and create is false.
func (l *Limiter) open(now int64, given bool, limit int, k *Keys, create bool) (*call, *entry, *limit) {
	cfg := l.config.Load()
	if uint(limit) >= uint(len(cfg.limits)) {
		return nil, nil, nil
	}
	m := cfg.limits[limit]
	c, e, _ := l.openKey(now, given, cfg.groups[m.group], k, create)
	if e == nil {
		return nil, nil, nil
	}
	return c, e, c.cfg.current(m)
}

func (l *Limiter) openKey(now int64, given bool, g *group, k *Keys, create bool) (c *call, e *entry, created bool) {
	hash, sh := l.place(g, k)
	c = &call{now: now, given: given, touches: []touch{{g: g, hash: hash, shard: sh}}, locks: []uint32{sh}}
	l.begin(c)
	e = l.shards[sh].table.find(hash, g, k)
	if e == nil && !create {
		l.unlock(c.locks)
		return nil, nil, false
	}
	created = e == nil
	l.entries(c, k)
	return c, c.touches[0].e, created
}

// endHold takes note that a hold is over: what it does to the limit, as of its end.
func (e *entry) endHold(m *limit, x *extSlot, now int64, t time.Time) {
	end := x.hold
	x.hold = 0
	if m.form == bucketForm {
		drainBucket(&e.buckets[m.index], t.Add(time.Duration(end-now)))
		return
	}
	x.window, x.opened, x.lapse = 1, end, end+probeLapse
}

// open ends the limit on calls at once that a hold has left.
func (x *extSlot) open() { x.window, x.probes = 0, 0 }

// probed ends r as a probe at the time now; good = the provider may have let
// it through. x is r's state, and settled.
func (x *extSlot) probed(r *taken, m *limit, now int64, good bool) {
	current := x.window > 0 && r.probe == x.opened
	r.probe = 0
	if !current {
		return
	}
	x.probes--
	if !good {
		return
	}
	// As long as no hold closes the limit again, each probe lets one more
	// through: twice as many a round.
	x.window++
	x.lapse = now + probeLapse
	if x.window > maxWindow || m.form == concurrencyForm && int64(x.window) >= x.lawOf(m).conc {
		x.open()
	}
}

// recover raises a lowered limit for the time that has passed.
func (e *entry) recover(m *limit, x *extSlot, now int64, t time.Time) {
	if x.cut == 0 || now <= x.cutAt {
		return
	}
	was, since := x.cut, time.Duration(now-x.cutAt).Seconds()
	x.cut = max(0, was-adaptRaise*since)
	if m.form == bucketForm {
		// What the bucket got meanwhile is the rising rate's integral, however
		// often this is called: first give it the mean rate for that time.
		// (A lowered bucket was last changed at cutAt. Its full rate is read
		// from it, because a reload may have changed m since.)
		b := &e.buckets[m.index]
		full := float64(b.Limit()) / (1 - was)
		if w := x.lawOf(m).rate; math.Abs(full-w) < 1e-9*w {
			full = w // rounding errors do not add up
		}
		rising := (was - x.cut) / adaptRaise // seconds
		mean := 1 - (was+x.cut)/2*rising/since - x.cut*(1-rising/since)
		b.SetLimitAt(t.Add(time.Duration(x.cutAt-now)), rate.Limit(full*mean))
		b.SetLimitAt(t, rate.Limit(full*(1-x.cut)))
	}
	x.cutAt = now
}

// fillTime is how long a bucket of the given rate takes to get so many units,
// in seconds, at what refusals have left of the rate and while that recovers.
func (x *extSlot) fillTime(units, perSecond float64) float64 {
	if x == nil || x.cut == 0 {
		return units / perSecond
	}
	f, rising := 1-x.cut, x.cut/adaptRaise
	if n := perSecond * (f + 1) / 2 * rising; units > n {
		return rising + (units-n)/perSecond
	}
	return (math.Sqrt(f*f+2*adaptRaise*units/perSecond) - f) / adaptRaise
}

// tune gives the bucket of m the rate that its law and refusals make.
func (e *entry) tune(m *limit, x *extSlot, t time.Time) {
	if m.form == bucketForm {
		e.buckets[m.index].SetLimitAt(t, rate.Limit(x.lawOf(m).rate*(1-x.cut)))
	}
}

// room is how much of its quota a window may have given once a call of this
// cost has passed. Refusals lower it, but not below the cost of one call that
// the quota itself has room for.
func (w *law) room(x *extSlot, cost int64) int64 {
	return max(x.lowered(w.quota), min(cost, w.quota))
}

// lowered is n under the refusals of the key, and at least 1.
func (x *extSlot) lowered(n int64) int64 {
	if x == nil || x.cut == 0 {
		return n
	}
	return max(1, int64(float64(n)*(1-x.cut)))
}
