package limiter

import (
	"context"
	"time"
)

// Letting calls go on that wait.

// pending returns the first lane of e that may pass now or can't pass in time,
// or nil and the time to look again (onEvent: not by time).
func (l *Limiter) pending(cfg *config, e *entry, now int64) (*lane, int64) {
	soonest := int64(onEvent)
	if e.ext == nil {
		return nil, soonest
	}
	g := cfg.groups[e.group]
	for i := range e.ext.slots {
		x := &e.ext.slots[i]
		if x.q == nil {
			continue
		}
		ln := x.q.next()
		if ln == nil {
			x.q = nil
			continue
		}
		if t := l.kept(e, g.slots[i], now); t != nil {
			soonest = min(soonest, t.until)
			if t.ln.q != x.q {
				continue
			}
			ln = t.ln
		}
		cost := ln.head.refs[ln.use].cost
		head, w := int64(0), x.lawOf(g.slots[i])
		if cost > w.most() {
			return ln, now // since a reload
		}
		if ln.prio == Backfill && !x.q.owes(cost) {
			head = w.headroom(cost)
		}
		at := e.readyAt(g.slots[i], cost, 0, head, now)
		if at != onEvent {
			at = max(at, ln.calm)
		}
		if clock := l.shards[e.shard].newest; now-clock > maxAhead && ln.head.live.Load() {
			soonest = min(soonest, clock) // it goes on by the clock, whatever time another caller gives
			continue
		}
		if at <= now || at != onEvent && at > ln.head.deadline {
			return ln, now
		}
		soonest = min(soonest, at)
	}
	return nil, soonest
}

// arm sets e's timer for the next lane that waits there. e's shard is locked.
func (l *Limiter) arm(e *entry, now int64) {
	cfg := l.config.Load()
	if e.gen < cfg.gen {
		return // a reload is under way: it lets go on whoever waits here
	}
	_, at := l.pending(cfg, e, now)
	l.armAt(e, now, at)
}

func (l *Limiter) armAt(e *entry, now, at int64) {
	x := e.ext
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
			x.timer = time.AfterFunc(d, func() { l.wakeAt(e) })
		} else {
			x.timer.Reset(d)
		}
	}
}

// wakeAt is what e's timer does.
func (l *Limiter) wakeAt(e *entry) {
	now, sh := l.now(), &l.shards[e.shard]
	sh.mu.Lock()
	if e.touched-now > maxAhead {
		e.setBack(l.config.Load().groups[e.group], now)
	}
	sh.mu.Unlock()
	l.drain(e, now)
}

const maxMoves = 64 // of a lane at one instant

// drain lets every call go on that waits at e and may pass at the time now.
// Nothing is locked.
func (l *Limiter) drain(e *entry, now int64) {
	sh := &l.shards[e.shard]
	for stuck := 0; ; {
		sh.mu.Lock()
		now = l.clampAt(e, now)
		cfg := l.config.Load()
		if e.gen < cfg.gen {
			e.follow(cfg, now)
		}
		ln, at := l.pending(cfg, e, now)
		if ln == nil || stuck > 0 {
			if ln != nil {
				at = now + int64(100*time.Microsecond) // a rounding error: can't be due and refused for long
			}
			if e.ext != nil {
				e.ext.wake = 0 // its timer may have just fired
			}
			l.armAt(e, now, at)
			sh.mu.Unlock()
			return
		}
		if len(ln.locks) == 1 {
			now = l.clampNear(cfg, ln, now)
		} else {
			sh.mu.Unlock()
			l.lock(ln.locks)
			now = l.clampNear(cfg, ln, now)
			if ln.q == nil || ln.q.e != e || ln.q.next() != ln && !l.onTurn(ln, now) {
				l.unlock(ln.locks)
				continue
			}
			cfg = l.config.Load()
		}
		if !l.step(cfg, ln, now) {
			stuck++
		}
		l.unlock(ln.locks)
	}
}

// step lets the call at the head of ln pass, fail or move on to another
// limit. It reports whether it did any of these. All of ln's shards are locked.
func (l *Limiter) step(cfg *config, ln *lane, now int64) bool {
	w := ln.head
	l.renew(cfg, w, now)
	if cfg.drops(w.refs) {
		for _, w := range l.displace(ln) { // a reload is under way
			close(w.done)
		}
		return true
	}
	w.restampDebts(now)
	i := l.take(w.refs, ln.prio, ln.account, ln, now)
	if i < 0 {
		w.permit = l.permit(w.refs, ln.locks, now)
		l.noteWaited(w, now)
		if w.inside != nil {
			w.inside.attach(w.permit, w.debts)
		}
		l.finish(w, granted)
		return true
	}
	if err := tooLarge(w.refs); err != nil { // its limit has become smaller
		w.err = err
		l.finish(w, failed)
		return true
	}
	if until, last := l.estimateHead(ln, w, i, now); until > w.deadline {
		w.err = w.refs[last].waitError(now, l.time(until), deadlineErr(w.byContext))
		l.finish(w, failed)
		return true
	}
	if i == ln.use {
		return false
	}
	// Lanes do not send each other from limit to limit for long, because who
	// goes first does not depend on where anyone waits. Should they do so all
	// the same, they must not keep a processor busy.
	if ln.movedAt != now {
		ln.movedAt, ln.moves = now, 0
	}
	if ln.moves++; ln.moves > maxMoves {
		ln.calm = now + int64(time.Millisecond)
	}
	l.parkAt(cfg, ln, i)
	ln.since = now
	l.arm(w.refs[i].e, now)
	l.giveTurn(cfg, ln, now)
	return true
}

// renew brings what w waits for up to cfg.
func (l *Limiter) renew(cfg *config, w *waiter, now int64) {
	for i := range w.refs {
		if e := w.refs[i].e; e.gen < cfg.gen {
			e.follow(cfg, now)
		}
	}
	cfg.refresh(w.refs)
}

// finish tells w what became of it. All of its lane's shards are locked.
func (l *Limiter) finish(w *waiter, s waitState) (wake *entry) {
	wake = l.settled(w, s)
	close(w.done)
	return wake
}

// settled is finish, but w does not know yet.
func (l *Limiter) settled(w *waiter, s waitState) (wake *entry) {
	w.state = s
	if s != granted && w.inside != nil {
		w.inside.unborrow(w.debts, nil, true)
	}
	return l.leave(w)
}

// expire fails w if it waits and is too late at the time until.
func (l *Limiter) expire(w *waiter, limit string, until int64, cause Cause) {
	ln := w.ln
	l.lock(ln.locks)
	var wake *entry
	if w.state == waiting && w.deadline < until {
		w.err = &WaitError{Limit: limit, Until: l.time(max(until, l.now())), Cause: cause, Err: deadlineErr(w.byContext)}
		wake = l.finish(w, failed)
	}
	l.unlock(ln.locks)
	if wake != nil {
		l.drain(wake, l.now())
	}
}

// abandon takes w out of the queue, if it still waits, since its context has
// ended (why) or its longest wait is over (nil). The error names what it waited
// for, and an estimate of when it would have passed, which is not before now. It
// is nil where w had been decided already.
func (l *Limiter) abandon(w *waiter, why error) *WaitError {
	ln := w.ln
	l.lock(ln.locks)
	if w.state != waiting {
		l.unlock(ln.locks)
		return nil
	}
	now := l.clamp(ln.locks, ln.refs, l.now())
	l.renew(l.config.Load(), w, now)
	until, last := l.estimateHead(ln, w, ln.use, now)
	if own := &w.refs[ln.use]; own.e.readyAt(own.lim, own.cost, 0, 0, now) == onEvent {
		last = ln.use // it has kept the call waiting, and nobody knows for how long still
	}
	err := w.refs[last].waitError(w.came, l.time(until), why)
	err.ended = why != nil
	w.state = gone
	if w.inside != nil {
		w.inside.unborrow(w.debts, nil, true)
	}
	wake := l.leave(w)
	l.unlock(ln.locks)
	if wake != nil {
		l.drain(wake, l.now())
	}
	return err
}

func deadlineErr(byContext bool) error {
	if byContext {
		return context.DeadlineExceeded
	}
	return nil
}
