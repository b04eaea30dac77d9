package limiter

import (
	"math"

	"github.com/recourse-go/recourse/limiter/internal/bucket"
)

// Taking what a call names, all at one instant or nothing; and when that would
// be possible.

// takeUsualLocked takes what almost all calls name: their keys are in no special state,
// and there is room. It reports false, and has taken nothing, where takeLocked has to see
// to the call, which does the same in more steps. All of the call's shards are locked.
func (l *Limiter) takeUsualLocked(c *call, r *Request) (p Permit, ok bool) {
	if r.Inside != nil || r.Priority != Interactive {
		return Permit{}, false
	}
	for i := range c.touches {
		if c.touches[i].e.cold != nil {
			return Permit{}, false
		}
	}
	home := c.locks[0]
	if len(c.locks) > 1 {
		var h homeShard
		for _, m := range c.limits {
			h.add(c.touches[touchOf(c.touches, m.group)].shard, m.holds())
		}
		home = h.shard
	}
	index, rec := l.freeRecordLocked(home, len(c.limits))
	at, t := bucket.At(c.now), &c.touches[0]
	for i, m := range c.limits {
		if t.g.id != m.group {
			t = &c.touches[touchOf(c.touches, m.group)]
		}
		e, f := t.e, &rec.refs[i]
		f.e, f.lim, f.round = e, m, 0
		f.got, _ = m.costs(r, &r.Uses[i])
		switch m.kind {
		case gateKind:
			continue
		case bucketKind:
			if f.got == 0 || e.buckets[m.index].TakeAt(at, f.got) {
				continue
			}
		case concurrencyKind:
			f.got = min(f.got, m.conc)
			if out := e.holder(m.index); int64(*out)+f.got <= m.conc {
				*out += int32(f.got)
				continue
			}
		}
		for j := range rec.refs[:i] {
			f := &rec.refs[j]
			algorithms[f.lim.kind].untake(f.e, f.lim, f.got, c.now)
		}
		clear(rec.refs)
		return Permit{}, false
	}
	return l.useRecordLocked(home, index, c.now), true
}

// takeLocked takes every ref at one instant, or nothing: then it returns the index
// of the first that refuses. All shards are locked. calls is nil for a call that
// has just come.
func (l *Limiter) takeLocked(refs []ref, prio Priority, account string, calls *likeCalls, now int64) int {
	extra := false
	for i := range refs {
		r := &refs[i]
		e, m := r.e, r.lim
		r.got, r.round = r.cost, 0
		if r.covered {
			if !r.passesLentLocked(now) {
				l.untakeLocked(refs[:i], now)
				return i
			}
			continue
		}
		if e.cold != nil {
			if x := e.coldOf(m); x != nil {
				extra = true
				if !l.passesLocked(r, x, prio, account, calls, now) {
					l.untakeLocked(refs[:i], now)
					return i
				}
				continue
			}
		}
		var ok bool
		if r.got, ok = algorithms[m.kind].take(e, m, nil, r.cost, prio == Backfill, now); !ok {
			l.untakeLocked(refs[:i], now)
			return i
		}
	}
	if extra {
		for i := range refs {
			x := refs[i].e.coldOf(refs[i].lim)
			if x != nil && x.store.closes(prio) && !refs[i].covered {
				x.store.began(now)
			}
			if x != nil && x.q != nil && !x.q.empty() && !refs[i].covered {
				x.q.served(prio, account, refs[i].got)
				l.armLocked(refs[i].e, now) // another call may be next now, and need something else
			}
		}
	}
	return -1
}

// passesLocked takes r if its limit lets it through, for a key that has cold state.
func (l *Limiter) passesLocked(r *ref, x *coldLimit, prio Priority, account string, calls *likeCalls, now int64) bool {
	e, m := r.e, r.lim
	e.advance(m, x, now)
	probes := x.allowed > 0 && r.probes(x)
	if x.hold != 0 || x.allowed > 0 && x.probes >= x.allowed && !probes || x.store.closes(prio) && x.store.ask > now {
		return false
	}
	if x.q != nil {
		x.q.shut = x.store.shuts(now)
	}
	if probes {
		// It has passed already.
	} else if guard := l.guardOfLocked(e, m, now); guard != nil {
		if guard.calls != calls {
			return false
		}
	} else if x.q != nil && !x.q.empty() && x.q.ahead(prio, account, r.cost, calls) {
		return false
	}
	// What has been granted ahead of the clock counts, and stays known when the key is
	// set back to the clock's time: so only that is forgotten which no call by the
	// clock can meet.
	a := algorithms[m.kind]
	a.forget(m, x, l.shards[e.shard].newest)
	if !x.learned.allows(r.cost) {
		return false
	}
	got, ok := a.take(e, m, x, r.cost, prio == Backfill && !x.q.owes(r.cost), now)
	if !ok {
		return false
	}
	r.got = got
	x.learned.take(got)
	if x.allowed > 0 && !probes {
		x.probes++
		r.round = x.round
	}
	return true
}

// untakeLocked undoes what take did at the same instant.
func (l *Limiter) untakeLocked(refs []ref, now int64) {
	for i := range refs {
		r := &refs[i]
		e, m := r.e, r.lim
		algorithms[m.kind].untake(e, m, r.got, now)
		if x := e.coldOf(m); x != nil {
			x.learned.give(r.got)
		}
		if r.round != 0 {
			e.coldOf(m).probes--
			r.round = 0
		}
	}
}

// advance brings x up to the time now.
func (e *entry) advance(m *limit, x *coldLimit, now int64) {
	x.learned.expire(now)
	if x.hold != 0 && now >= x.hold {
		e.recover(m, x, x.hold)
		e.endHold(m, x)
	}
	if x.allowed > 0 && x.probes == 0 && now >= x.lapse {
		x.stopProbing()
	}
	if x.cut > 0 {
		e.recover(m, x, now)
	}
}

// onEvent stands for a time that nobody knows, because somebody must release a permit first.
const onEvent = math.MaxInt64

// readyAt is when m would let a call of this cost through for e's key, if
// first so many units ahead of it went through: now, later, or onEvent.
// headroom is what must be left.
func (e *entry) readyAt(m *limit, prio Priority, cost, ahead, headroom, now int64) int64 {
	x := e.coldOf(m)
	start, held := now, false
	if x != nil {
		e.advance(m, x, now)
		if x.hold > now {
			start, held = x.hold, true
		} else if x.allowed > 0 && x.probes >= x.allowed {
			return onEvent
		}
	}
	at := algorithms[m.kind].ready(e, m, x, cost, ahead, headroom, start, held)
	if x != nil && at != onEvent {
		at = x.store.ready(prio, x.learned.ready(cost+ahead, at), now)
	}
	return at
}

// knownAt is readyAt, as far as it is known: an event can be now, or once no
// hold is in force.
func (e *entry) knownAt(m *limit, prio Priority, cost, ahead, headroom, now int64) int64 {
	at := e.readyAt(m, prio, cost, ahead, headroom, now)
	x := e.coldOf(m)
	if x == nil {
		if at == onEvent {
			at = now
		}
		return at
	}
	if at == onEvent {
		at = max(now, x.hold)
	}
	return x.store.told(prio, at)
}

// later is now + seconds, rounded up.
func later(now int64, seconds float64) int64 {
	ns := math.Ceil(seconds * 1e9)
	if ns >= float64(math.MaxInt64-1-max(now, 0)) {
		return math.MaxInt64 - 1
	}
	return now + int64(ns)
}

// estimateLocked is when a call that comes now would pass all its limits, and which
// of them it would wait for longest. What waits for an event counts as now.
func (l *Limiter) estimateLocked(refs []ref, prio Priority, account string, now int64) (until int64, last int) {
	until = math.MinInt64
	for i := range refs {
		r := &refs[i]
		x := r.e.coldOf(r.lim)
		ahead := int64(0)
		if x != nil && x.q != nil && !r.covered {
			ahead = x.q.before(prio, account)
		}
		head := int64(0)
		if prio == Backfill && (x == nil || !x.q.owes(r.cost)) {
			head = x.specOf(r.lim).headroom(r.cost)
		}
		if at := r.e.knownAt(r.lim, prio, r.cost, ahead, head, now); at > until {
			until, last = at, i
		}
	}
	return until, last
}

// estimateHeadLocked is estimate for the call at the head of calls, if no other goes
// before it. Where nothing would make it wait but an event, last is use.
func (l *Limiter) estimateHeadLocked(calls *likeCalls, w *waiter, use int, now int64) (until int64, last int) {
	until, last = now, use
	for i := range w.refs {
		r := &w.refs[i]
		x := r.e.coldOf(r.lim)
		head := int64(0)
		if calls.prio == Backfill && (x == nil || !x.q.owes(r.cost)) {
			head = x.specOf(r.lim).headroom(r.cost)
		}
		if at := r.e.knownAt(r.lim, calls.prio, r.cost, 0, head, now); at > until {
			until, last = at, i
		}
	}
	return until, last
}
