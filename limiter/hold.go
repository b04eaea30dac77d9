package limiter

import (
	"math"
	"time"
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
// at once. A limit that does not exist is ignored.
//
// cause says why the limit is closed, for those who wait for it: [WaitError],
// [State] and [Permit.Waited] tell it. At most one is used. It is remembered
// with the hold that is in force, so it is dropped where the hold changes nothing.
func (l *Limiter) Hold(limit string, k Keys, until time.Time, cause ...Cause) {
	l.hold(l.now(), false, limit, &k, l.ns(until), cause)
	if l.member != nil {
		l.holdShared(limit, &k, until, cause)
	}
}

// HoldAt is Hold at the time now.
func (l *Limiter) HoldAt(now time.Time, limit string, k Keys, until time.Time, cause ...Cause) {
	l.hold(l.ns(now), true, limit, &k, l.ns(until), cause)
}

func (l *Limiter) hold(now int64, given bool, limit string, k *Keys, until int64, cause []Cause) {
	c, e, m := l.lockLimit(now, given, limit, k, true)
	if e == nil {
		return
	}
	var why Cause
	if len(cause) > 0 {
		why = cause[0]
	}
	l.closeAndUnlock(c, e, m, until, why)
}

// closeAndUnlock closes m for e's key until the given time, unlocks what c has
// locked, and fails the calls that wait and would be too late.
func (l *Limiter) closeAndUnlock(c *call, e *entry, m *limit, until int64, cause Cause) {
	var late []*waiter
	var why Cause
	if x := e.makeCold(c.cfg.groups[m.group], m); until > c.now {
		if until == 0 {
			until = 1 // 0 says that there is no hold
		}
		e.advance(m, x, c.now)
		if x.hold == 0 || x.hold < until {
			x.hold = until
			x.noteCause(cause, until)
			x.stopProbing() // the probes that are out do not matter any more
			l.noteHold(until)
			if x.q != nil {
				late, why = x.q.late(until), x.causeSince(c.now)
				l.armLocked(e, c.now)
			}
		}
	}
	l.unlock(c.locks)
	for _, w := range late {
		l.expire(w, m.Name, until, why)
	}
}

// noteHold remembers the end of the latest hold of all.
func (l *Limiter) noteHold(until int64) {
	for {
		old := l.heldUntil.Load()
		if old >= until || l.heldUntil.CompareAndSwap(old, until) {
			return
		}
	}
}

// Lift ends a hold at once and as if it had never been: for a hold that a
// success disproves. What replies have told of the limit ([Permit.Learn]) is forgotten too.
func (l *Limiter) Lift(limit string, k Keys) {
	l.lift(l.now(), false, limit, &k)
	if l.member != nil {
		l.liftShared(limit, &k)
	}
}

// LiftAt is Lift at the time now.
func (l *Limiter) LiftAt(now time.Time, limit string, k Keys) { l.lift(l.ns(now), true, limit, &k) }

func (l *Limiter) lift(now int64, given bool, limit string, k *Keys) {
	c, e, m := l.lockLimit(now, given, limit, k, false)
	if e == nil {
		return
	}
	now = c.now
	waiting := false
	if x := e.coldOf(m); x != nil {
		e.advance(m, x, c.now) // perhaps it had ended by itself
		x.hold, x.store = 0, nil
		x.noteCause(Cause{}, c.now)
		x.stopProbing()
		if x.learned != nil {
			x.learned.forget()
			x.own = x.learned.base
			algorithms[m.kind].tune(e, m, x, false, c.now)
		}
		waiting = x.q != nil
	}
	l.unlock(c.locks)
	if waiting {
		l.drain(e, now)
	}
}

// Held reports whether one of the limits that the permit was granted by has
// been closed for its key since (see [Limiter.Hold]). A caller that asks right
// before it makes its call, and gives the permit back with Cancel where the
// answer is yes, does not run into a wall that another has just been told of.
//
// As long as no hold is in force for any key this costs one atomic load.
func (p Permit) Held() bool {
	l := p.l
	if l == nil || l.heldUntil.Load() == 0 {
		return false
	}
	now := l.now()
	if until := l.heldUntil.Load(); until <= now {
		l.heldUntil.CompareAndSwap(until, 0)
		return false
	}
	held := false
	p.each(func(r *taken, _ int64) bool {
		if x := r.e.coldOf(r.lim); x != nil && (x.hold > now || x.store.holds(now)) {
			held = true
		}
		return false
	})
	return held
}

// Refusal is what is known of a refusal by the provider.
type Refusal struct {
	// Sent is when the call was sent. One that was already on its way when the
	// refusal before it was counted belongs to that one, and is not counted again.
	// The zero time counts always.
	Sent time.Time

	// Hold is how long the limit is closed after so many refusals in a row; nil, or
	// none, closes it not at all. It is called with the key locked, so it must be
	// fast and must not call the limiter.
	Hold func(refusals int) time.Duration

	// Cause says why the limit is closed: see [Limiter.Hold].
	Cause Cause
}

// Refuse counts a refusal by the provider for a key, and closes the limit for
// it, in one step: nobody passes in between. It returns how many refusals there
// were since a call of that key last succeeded ([Permit.Succeeded]); refusals more
// than an hour apart are not counted together. A limit with Adapt is lowered for
// the key. A limit that does not exist is ignored.
func (l *Limiter) Refuse(limit string, k Keys, r Refusal) (refusals int) {
	if l.member != nil {
		return l.refuseShared(limit, &k, &r)
	}
	return l.refuse(l.now(), false, limit, &k, &r)
}

// RefuseAt is Refuse at the time now.
func (l *Limiter) RefuseAt(now time.Time, limit string, k Keys, r Refusal) (refusals int) {
	return l.refuse(l.ns(now), true, limit, &k, &r)
}

func (l *Limiter) refuse(now int64, given bool, limit string, k *Keys, r *Refusal) int {
	c, e, m := l.lockLimit(now, given, limit, k, true)
	if e == nil {
		return 0
	}
	sent := int64(math.MaxInt64)
	if !r.Sent.IsZero() {
		sent = l.ns(r.Sent)
	}
	n := l.countRefusalLocked(c, e, m, sent)
	until := int64(math.MinInt64)
	if r.Hold != nil {
		if length := r.Hold(n); length > 0 {
			until = now + min(int64(length), math.MaxInt64-1-max(now, 0))
		}
	}
	l.closeAndUnlock(c, e, m, until, r.Cause)
	return n
}

// countRefusalLocked counts a refusal of a call that was sent at the time sent, and
// returns how many there are. All is locked.
func (l *Limiter) countRefusalLocked(c *call, e *entry, m *limit, sent int64) int {
	x := e.makeCold(c.cfg.groups[m.group], m)
	e.advance(m, x, c.now)
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
	if x.specOf(m).adapt && (x.next == 0 || c.now >= x.next) {
		x.cut = 1 - max(adaptFloor, (1-x.cut)*adaptCut)
		x.cutAt, x.next = c.now, c.now+adaptEvery
		algorithms[m.kind].tune(e, m, x, false, c.now)
	}
	if x.q != nil {
		l.armLocked(e, c.now)
	}
	return int(x.refused)
}

// lockLimit finds, locked, one limit's state for a key. The entry is nil, and
// nothing locked, when there is no such limit, or no such key and create is false.
func (l *Limiter) lockLimit(now int64, given bool, limit string, k *Keys, create bool) (*call, *entry, *limit) {
	cfg := l.config.Load()
	at := cfg.find(limit, 0)
	if at < 0 {
		return nil, nil, nil
	}
	m := cfg.limits[at]
	c, e, _ := l.lockKey(now, given, cfg.groups[m.group], k, create)
	if e == nil {
		return nil, nil, nil
	}
	return c, e, c.cfg.current(m)
}

func (l *Limiter) lockKey(now int64, given bool, g *group, k *Keys, create bool) (c *call, e *entry, created bool) {
	hash, sh := l.locate(g, k)
	c = &call{now: now, given: given, touches: []touch{{g: g, hash: hash, shard: sh}}, locks: []uint32{sh}}
	l.lockAll(c)
	e = l.shards[sh].table.find(hash, g, k)
	if e == nil && !create {
		l.unlock(c.locks)
		return nil, nil, false
	}
	created = e == nil
	l.entriesLocked(c, k)
	return c, c.touches[0].e, created
}

// endHold ends a hold whose time is over: from its end on the bucket fills anew, or probes
// are let through.
func (e *entry) endHold(m *limit, x *coldLimit) {
	end := x.hold
	x.hold = 0
	if algorithms[m.kind].emptied(e, m, end) {
		return
	}
	x.allowed, x.round, x.lapse = 1, end, end+probeLapse
}

// stopProbing opens the limit: it no longer lets only a few probes through at once.
func (x *coldLimit) stopProbing() { x.allowed, x.probes = 0, 0 }

// probed ends r as a probe at the time now; good = the provider may have let
// it through. x is r's state at that time.
func (x *coldLimit) probed(r *taken, m *limit, now int64, good bool) {
	current := x.allowed > 0 && r.round == x.round
	r.round = 0
	if !current {
		return
	}
	x.probes--
	if !good {
		return
	}
	// As long as no hold closes the limit again, each probe lets one more
	// through: twice as many a round.
	x.allowed++
	x.lapse = now + probeLapse
	if x.allowed > maxProbes || m.holds() && int64(x.allowed) >= x.specOf(m).conc {
		x.stopProbing()
	}
}

// recover raises a lowered limit for the time that has passed.
func (e *entry) recover(m *limit, x *coldLimit, now int64) {
	if x.cut == 0 || now <= x.cutAt {
		return
	}
	was, since := x.cut, time.Duration(now-x.cutAt).Seconds()
	x.cut = max(0, was-adaptRaise*since)
	algorithms[m.kind].recovered(e, m, x, was, since, now)
	x.cutAt = now
}

// lowered returns n as far as the refusals of the key have left it, and at least 1.
func (x *coldLimit) lowered(n int64) int64 {
	if x == nil || x.cut == 0 {
		return n
	}
	return max(1, int64(float64(n)*(1-x.cut)))
}
