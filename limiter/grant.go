package limiter

import "time"

// Letting waiting calls go on.

// pendingLocked returns the first likeCalls at e whose head may pass now, or cannot pass
// before its deadline. It returns nil, and when to look again (onEvent: no time is known),
// where there is none.
func (l *Limiter) pendingLocked(cfg *config, e *entry, now int64) (*likeCalls, int64) {
	soonest := int64(onEvent)
	if e.cold == nil {
		return nil, soonest
	}
	g := cfg.groups[e.group]
	for i := range e.cold.limits {
		x := &e.cold.limits[i]
		if x.q == nil {
			continue
		}
		x.q.shut = x.store.shuts(now)
		if x.q.shut {
			soonest = min(soonest, x.store.ask)
		}
		calls := x.q.next()
		if calls == nil {
			x.q = nil
			continue
		}
		if t := l.guardOfLocked(e, g.limits[i], now); t != nil {
			soonest = min(soonest, t.until)
			if t.calls.q != x.q {
				continue
			}
			calls = t.calls
		}
		cost := calls.head.refs[calls.use].cost
		head, w := int64(0), x.specOf(g.limits[i])
		if cost > w.most() {
			return calls, now // since a reload
		}
		if calls.prio == Backfill && !x.q.owes(cost) {
			head = w.headroom(cost)
		}
		at := e.readyAt(g.limits[i], calls.prio, cost, 0, head, now)
		if at != onEvent {
			at = max(at, calls.calm)
		} else if s := x.store; s.closes(calls.prio) && s.ask > now {
			soonest = min(soonest, s.ask) // it may ask the store then, and be too late all the same
		}
		if clock := l.shards[e.shard].newest; now-clock > maxAhead && calls.head.live.Load() {
			soonest = min(soonest, clock) // it goes on by the clock, whatever time another caller gives
			continue
		}
		if at <= now || at != onEvent && at > calls.head.deadline {
			return calls, now
		}
		soonest = min(soonest, at)
	}
	return nil, soonest
}

// armLocked sets e's timer for the time at which the next call there may pass. e's shard
// is locked.
func (l *Limiter) armLocked(e *entry, now int64) {
	cfg := l.config.Load()
	if e.gen < cfg.gen {
		return // a reload is under way: it lets go on whoever waits here
	}
	_, at := l.pendingLocked(cfg, e, now)
	l.armAtLocked(e, now, at)
}

func (l *Limiter) armAtLocked(e *entry, now, at int64) {
	x := e.cold
	switch {
	case x == nil:
	case at == onEvent:
		if x.wake != 0 {
			x.timer.Stop()
			x.wake = 0
		}
	case x.wake != at:
		x.wake = at
		// The timer runs by the clock, which the key's time may be ahead of.
		d := time.Duration(max(0, at-min(now, l.shards[e.shard].newest)))
		if x.timer == nil {
			x.timer = l.afterFunc(d, func() { l.wakeAt(e) })
		} else {
			x.timer.Reset(d)
		}
	}
}

// wakeAt runs when e's timer fires.
func (l *Limiter) wakeAt(e *entry) {
	now, sh := l.now(), &l.shards[e.shard]
	sh.mu.Lock()
	if e.touched-now > maxAhead {
		e.setBack(l.config.Load().groups[e.group], now)
	}
	sh.mu.Unlock()
	l.drain(e, now)
}

const maxMoves = 64 // a likeCalls moves from limit to limit at most so often at one instant

// drain lets the calls that wait at e go on, as far as they may pass at the time now.
// Nothing is locked.
func (l *Limiter) drain(e *entry, now int64) {
	sh := &l.shards[e.shard]
	for stuck := 0; ; {
		sh.mu.Lock()
		now = l.clampKeyLocked(e, now)
		cfg := l.config.Load()
		e.migrate(cfg, now)
		calls, at := l.pendingLocked(cfg, e, now)
		if calls == nil || stuck > 0 {
			if calls != nil {
				at = now + int64(100*time.Microsecond) // a rounding error: can't be due and refused for long
			}
			if e.cold != nil {
				e.cold.wake = 0 // its timer may have just fired
			}
			l.armAtLocked(e, now, at)
			sh.mu.Unlock()
			return
		}
		if len(calls.locks) == 1 {
			now = l.clampNearLocked(cfg, calls, now)
		} else {
			sh.mu.Unlock()
			l.lock(calls.locks)
			now = l.clampNearLocked(cfg, calls, now)
			if calls.q == nil || calls.q.e != e || calls.q.next() != calls && !l.isGuardedLocked(calls, now) {
				l.unlock(calls.locks)
				continue
			}
			cfg = l.config.Load()
		}
		if !l.stepLocked(cfg, calls, now) {
			stuck++
		}
		l.unlock(calls.locks)
	}
}

// unlockAndDrain unlocks shards, and then lets the calls go on that wait at e; nil = at none.
func (l *Limiter) unlockAndDrain(locks []uint32, e *entry) {
	l.unlock(locks)
	if e != nil {
		l.drain(e, l.now())
	}
}

// stepLocked lets the first of calls pass, fail, or move on to another limit. It reports
// whether it did any of these. All of the calls' shards are locked.
func (l *Limiter) stepLocked(cfg *config, calls *likeCalls, now int64) bool {
	w := calls.head
	l.renewLocked(cfg, w, now)
	if cfg.drops(w.refs) {
		for _, w := range l.displaceLocked(calls) { // a reload is under way
			w.tell()
		}
		return true
	}
	w.restampDebtsLocked(now)
	i := l.takeLocked(w.refs, calls.prio, calls.account, calls, now)
	if i < 0 {
		w.permit = l.permitLocked(w.refs, calls.locks, now)
		l.noteWaitedLocked(w, now)
		if w.inside != nil {
			w.inside.attachLocked(w.permit, w.debts)
		}
		l.finishLocked(w, granted)
		return true
	}
	if err := tooLarge(w.refs); err != nil { // its limit has become smaller
		w.err = err
		l.finishLocked(w, failed)
		return true
	}
	if until, last := l.estimateHeadLocked(calls, w, i, now); until > w.deadline {
		w.err = w.refs[last].waitErrorLocked(now, l.time(until), deadlineErr(w.byContext))
		l.finishLocked(w, failed)
		return true
	}
	if i == calls.use {
		return false
	}
	// Calls do not send each other from limit to limit for long, because who
	// goes first does not depend on where anyone waits. Should they do so all
	// the same, they must not keep a processor busy.
	if calls.movedAt != now {
		calls.movedAt, calls.moves = now, 0
	}
	if calls.moves++; calls.moves > maxMoves {
		calls.calm = now + int64(time.Millisecond)
	}
	l.parkLocked(cfg, calls, i)
	calls.since = now
	l.armLocked(w.refs[i].e, now)
	l.guardLocked(cfg, calls, now)
	return true
}

// renewLocked makes w wait for the limits of cfg, and brings their keys up to cfg.
func (l *Limiter) renewLocked(cfg *config, w *waiter, now int64) {
	for i := range w.refs {
		w.refs[i].e.migrate(cfg, now)
	}
	cfg.refresh(w.refs)
}

// finishLocked ends the wait of w with s, and wakes its call. It returns the entry at which
// other calls may go on now, or nil. All of the calls' shards are locked.
func (l *Limiter) finishLocked(w *waiter, s waitState) (wake *entry) {
	wake = l.decideLocked(w, s)
	w.tell()
	return wake
}

// decideLocked is finishLocked without waking the call, which the caller does later.
func (l *Limiter) decideLocked(w *waiter, s waitState) (wake *entry) {
	w.state = s
	if s != granted && w.inside != nil {
		w.inside.unborrow(w.debts, nil, true)
	}
	return l.leaveLocked(w)
}
