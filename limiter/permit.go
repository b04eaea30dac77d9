package limiter

import (
	"slices"
	"time"
)

// Permit is leave to make a call, and what the call holds until [Permit.Release].
//
// A Permit is a value: it can be copied, and whichever copy is released first
// counts. The methods of the zero Permit, and of one that was released, do
// nothing. A Permit is safe for concurrent use.
type Permit struct {
	l   *Limiter
	rec recordPlace
	gen uint32
	at  int64
} // four words and four fields: more would not stay in registers

// recordPlace is where a permit's record is.
type recordPlace struct{ home, index uint32 }

// Granted is when the call got the permit; the zero time for the zero Permit.
// It saves reading the clock again before the call is made. Like all times of
// a limiter without Options.Clock it runs by the monotonic clock: right for
// durations, and blind to what the time of day was set by since [New].
func (p Permit) Granted() time.Time {
	if p.l == nil {
		return time.Time{}
	}
	return p.l.time(p.at)
}

// restamp makes the permit of a call that has waited count from the time now, at which the
// call goes on. On a busy machine that is later than the permit was granted, and the
// provider counts the call by when it comes, so the limits must do the same. A log of the
// window does so exactly. A bucket gets no more meanwhile than its burst has room for, which
// is exact for one late call; several together can exceed the bucket by what it gets while
// they are late. ok is false if a log has forgotten the permit, since the call is late by
// more than the window: then the caller cancels the permit, and the call waits again.
func (p Permit) restamp(now int64) (_ Permit, ok bool) {
	if ahead := p.at - now; p.l == nil || ahead >= 0 && ahead <= maxAhead {
		return p, true
	}
	l := p.l
	locks, rec := p.lockRecord()
	defer l.unlock(locks)
	if rec == nil {
		return p, true
	}
	var debts []debt // of a call inside another: what it spends counts from when it goes on, too
	if n := rec.nested; n != nil {
		n.tree.mu.Lock()
		defer n.tree.mu.Unlock()
		debts = n.debts
	}
	cfg := l.config.Load()
	for _, s := range locks {
		now = max(now, l.shards[s].newest)
	}
	for i := range rec.refs {
		rec.refs[i].e.bringNear(cfg, now)
		now = max(now, rec.refs[i].e.touched)
	}
	for i := range rec.refs {
		rec.refs[i].e.touched = now
	}
	if !rec.moveLocked(cfg, debts, now) {
		return p, false
	}
	for i := range rec.refs {
		r := &rec.refs[i]
		if m := cfg.current(r.lim); m == r.lim && r.got > 0 {
			algorithms[m.kind].retake(r.e, m, r.got, now)
		}
	}
	for i := range debts {
		if debts[i].part.lim.dated() {
			debts[i].at = now
		}
	}
	rec.at, p.at = now, now
	return p, true
}

// moveLocked makes the units of the record, and those of debts, count from the time now on.
// It reports false, and changes nothing, where a log has no room for them or has forgotten
// them. All shards of the record are locked.
func (rec *record) moveLocked(cfg *config, debts []debt, now int64) bool {
	for i := range rec.refs {
		r := &rec.refs[i]
		r.e.migrate(cfg, now) // a reload is under way
		m := cfg.current(r.lim)
		if algorithms[m.kind].move(m, r.e.coldOf(m), r.got+owed(debts, i), rec.at, now) {
			continue
		}
		for j := range rec.refs[:i] {
			r := &rec.refs[j]
			m := cfg.current(r.lim)
			algorithms[m.kind].moveBack(m, r.e.coldOf(m), r.got+owed(debts, j), rec.at, now)
		}
		return false
	}
	return true
}

// Units is the most that the permit was charged by one of these limits, without what a
// call around lends it. A permit that was released has been charged nothing.
func (p Permit) Units(limits []string) (units int64) {
	if p.l == nil || len(limits) == 0 {
		return 0
	}
	sh := &p.l.shards[p.rec.home]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if rec := p.recordLocked(); rec != nil {
		for i := range rec.refs {
			if slices.Contains(limits, rec.refs[i].lim.Name) {
				units = max(units, rec.refs[i].got)
			}
		}
	}
	return units
}

// Release gives back what the permit holds of the limits of concurrency.
// Every permit must be released, once the call's response is read to its end.
// A response that takes long is a reason to call [Permit.Succeeded] as soon as
// it begins: as long as a probe after a hold is out, others may wait for it.
func (p Permit) Release() {
	if p.l != nil {
		p.end(released)
	}
}

// Complete is [Permit.Succeeded] and [Permit.Release] in one, for a call that
// is over when it is known to have succeeded.
func (p Permit) Complete() {
	if p.l != nil {
		p.end(completed)
	}
}

// Cancel is for a permit that was not used: it is released, and what it took is
// given back. It is [Permit.Refund] and [Permit.Release] in one.
func (p Permit) Cancel() {
	if p.l != nil {
		p.end(cancelled)
	}
}

// ending is how a permit ends.
type ending uint8

const (
	released ending = iota
	completed
	cancelled
)

func (p Permit) end(how ending) {
	l := p.l
	home := &l.shards[p.rec.home]
	home.mu.Lock()
	rec := p.recordLocked()
	if rec == nil {
		home.mu.Unlock()
		return
	}
	rec.gen++ // from here on this permit is released, and the record ours
	if how != cancelled && rec.nested == nil && rec.stored == nil && rec.giveBackUsualLocked(p.rec.home) {
		l.recycleLocked(home, p.rec.index)
		home.mu.Unlock()
		return
	}
	p.endAndUnlock(home, rec, how)
}

// endAndUnlock is end for all permits but usual ones, which take what is theirs back in a
// few steps. It unlocks the home shard.
func (p Permit) endAndUnlock(home *shard, rec *record, how ending) {
	l, n, stored := p.l, rec.nested, rec.stored
	if n != nil && how == cancelled {
		n.refundLocked(rec)
	}
	if stored != nil {
		stored.endLocked(how)
		rec.stored = nil
	}
	if n != nil {
		n.endLocked(rec, stored != nil && stored.nested)
		rec.nested = nil
		if n.loan != nil {
			defer n.loan.unpin()
		}
	}
	var wake [4]*entry
	woken := wake[:0]
	elsewhere := false
	for i := range rec.refs {
		r := &rec.refs[i]
		if uint32(r.e.shard) != p.rec.home {
			elsewhere = elsewhere || how != released || r.round != 0 || r.lim.holds()
		} else if l.endRefLocked(r, how, rec.at, n.countsAtLocked(i, rec.at)) {
			woken = addWake(woken, r.e)
		}
	}
	if elsewhere {
		// Until it is recycled, the record is ours alone; it may move when its shard's
		// records grow, but its refs do not.
		refs, at := rec.refs, rec.at
		home.mu.Unlock()
		woken = p.endElsewhere(refs, n, how, at, woken)
		home.mu.Lock()
	}
	l.recycleLocked(home, p.rec.index)
	home.mu.Unlock()
	l.wakeAll(woken)
}

// endElsewhere ends those of a permit's refs that are not in its home shard. It adds to
// woken the keys at which waiting calls may go on.
func (p Permit) endElsewhere(refs []taken, n *nested, how ending, at int64, woken []*entry) []*entry {
	for i := range refs {
		r := &refs[i]
		if uint32(r.e.shard) == p.rec.home {
			continue
		}
		sh := &p.l.shards[r.e.shard]
		sh.mu.Lock()
		if p.l.endRefLocked(r, how, at, n.countsAtLocked(i, at)) {
			woken = addWake(woken, r.e)
		}
		sh.mu.Unlock()
	}
	return woken
}

// endRefLocked ends one ref of a permit that was granted at the time at, and reports whether
// calls that wait for its key may go on. countsAt is when the limit counts what is left of
// it. The shard of r is locked.
func (l *Limiter) endRefLocked(r *taken, how ending, at, countsAt int64) (wake bool) {
	if how == completed {
		r.succeededLocked(at)
	}
	return l.giveBackLocked(r, how == cancelled, countsAt)
}

func addWake(es []*entry, e *entry) []*entry {
	for _, x := range es {
		if x == e {
			return es
		}
	}
	return append(es, e)
}

// giveBackLocked ends r's part of a permit that was given at the time at, and
// reports whether calls that wait for its key may go on. The shard of r is locked.
func (l *Limiter) giveBackLocked(r *taken, refund bool, at int64) (wake bool) {
	switch {
	case refund:
		wake = l.unusedLocked(r, at)
	case r.round != 0:
		wake = l.passedLocked(r)
	}
	if r.lim.holds() {
		*r.e.holder(r.lim.index) -= int32(r.got)
		x := r.e.coldOf(r.lim)
		wake = wake || x != nil && x.q != nil
	}
	return wake
}

// passedLocked ends r as a probe that was not refused, and reports whether calls that
// wait for its key may go on. The shard of r is locked.
func (l *Limiter) passedLocked(r *taken) (wake bool) {
	m, x, now := l.upToNowLocked(r)
	if x == nil {
		return false
	}
	x.probed(r, m, now, true)
	return x.q != nil
}

// unusedLocked takes r back for a call that did not reach the provider, all but the
// permits of a limit of concurrency: the units, as far as they are still
// missing, and the probe. It reports whether calls that wait for its key may
// go on. The shard of r is locked.
func (l *Limiter) unusedLocked(r *taken, at int64) (wake bool) {
	if r.round == 0 && (r.got == 0 || !r.lim.metered()) {
		return false
	}
	m, x, now := l.upToNowLocked(r)
	wake = algorithms[m.kind].refund(r.e, m, r.lim, x, r.got, at, now)
	if x == nil {
		return false
	}
	wake = x.learned.refund(r.got, at) || wake
	if r.round != 0 {
		x.probed(r, m, now, false)
		wake = true
	}
	return wake && x.q != nil
}

// upToNowLocked brings r's limit and key up to this moment. The shard of r is locked.
func (l *Limiter) upToNowLocked(r *taken) (m *limit, x *coldLimit, now int64) {
	e, cfg := r.e, l.config.Load()
	now = l.clampKeyLocked(e, l.now())
	e.migrate(cfg, now) // a reload is under way
	m = cfg.current(r.lim)
	if x = e.coldOf(m); x != nil {
		e.advance(m, x, now)
	}
	return m, x, now
}

// Refund gives the units back that the permit took: for a call that turned out
// not to reach the provider. What it holds of the limits of concurrency stays
// until Release. A bucket that is full takes nothing back. A probe after a hold
// (see [Limiter.Hold]) makes room for another one.
func (p Permit) Refund() {
	if p.l == nil {
		return
	}
	home := &p.l.shards[p.rec.home]
	home.mu.Lock()
	if rec := p.recordLocked(); rec != nil && rec.nested != nil {
		rec.nested.refundLocked(rec)
	} else if rec != nil && rec.stored != nil {
		rec.stored.refundLocked(rec)
	}
	home.mu.Unlock()
	p.each(func(r *taken, at int64) (wake bool) {
		wake = p.l.unusedLocked(r, at)
		if r.lim.metered() {
			r.got = 0
		}
		return wake
	})
}

// Succeeded says that the provider did not refuse the call: the counts of
// consecutive refusals of the permit's keys start again from 0, unless the
// permit is older than the last refusal; and a probe after a hold (see
// [Limiter.Hold]) is over, however long the response is still read. What the
// permit holds of the limits of concurrency stays until Release.
func (p Permit) Succeeded() {
	if p.l == nil {
		return
	}
	if p.l.member != nil {
		p.tellSucceeded()
	}
	p.each(func(r *taken, at int64) (wake bool) {
		r.succeededLocked(at)
		return r.round != 0 && p.l.passedLocked(r)
	})
}

// succeededLocked starts the count of refusals again, unless a permit that was given
// at the time at is older than the last of them. The shard of r is locked.
func (r *taken) succeededLocked(at int64) {
	if x := r.e.coldOf(r.lim); x != nil && at >= x.refusedAt {
		x.refused = 0
	}
}

// each calls f for everything that the permit took, with the shard locked that it is in.
func (p Permit) each(f func(r *taken, at int64) (wake bool)) {
	l := p.l
	home := &l.shards[p.rec.home]
	home.mu.Lock()
	rec := p.recordLocked()
	if rec == nil {
		home.mu.Unlock()
		return
	}
	var wake [4]*entry
	woken := wake[:0]
	var lockBuf [4]uint32
	locks := lockBuf[:0]
	for i := range rec.refs {
		if r := &rec.refs[i]; uint32(r.e.shard) == p.rec.home {
			if f(r, rec.nested.countsAtLocked(i, rec.at)) {
				woken = addWake(woken, r.e)
			}
		} else {
			locks = addLock(locks, uint32(r.e.shard))
		}
	}
	home.mu.Unlock()
	for _, s := range locks {
		// A record may move when its shard's others grow, and may be released
		// meanwhile: look it up each time, with both shards locked.
		both := [2]uint32{min(p.rec.home, s), max(p.rec.home, s)}
		l.lock(both[:])
		if rec := p.recordLocked(); rec != nil {
			for i := range rec.refs {
				if r := &rec.refs[i]; uint32(r.e.shard) == s && f(r, rec.nested.countsAtLocked(i, rec.at)) {
					woken = addWake(woken, r.e)
				}
			}
		}
		l.unlock(both[:])
	}
	l.wakeAll(woken)
}

// wakeAll lets calls go on that wait for these keys.
func (l *Limiter) wakeAll(es []*entry) {
	for _, e := range es {
		l.drain(e, l.now())
	}
}
