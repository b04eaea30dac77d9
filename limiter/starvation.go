package limiter

// The starvation guard.
//
// A call that needs two limits, each of which others use up as soon as it has
// something, could wait for ever: it would have to find something of both at the
// same moment. So the limiter guards a call that has moved from limit to limit
// often: for a while, nobody else gets what that call needs. It guards one call at a
// time, so that no two wait for each other, and for a short part of the time that
// the call has waited already, so that others lose little.

const (
	movesUntilGuarded = 16 // moves from limit to limit until a call is guarded
	guardShare        = 8  // it is guarded for at most this part of the time waited
)

// guarded says whom the limiter guards, and until when. It is immutable.
type guarded struct {
	calls *likeCalls
	until int64
}

// guardLocked guards the first of calls, if it has moved often and nobody else is guarded.
// All of the calls' shards are locked.
func (l *Limiter) guardLocked(cfg *config, calls *likeCalls, now int64) {
	w := calls.head
	if w.moves++; w.moves < movesUntilGuarded {
		return
	}
	w.moves = 0
	old := l.guard.Load()
	if old != nil && now < old.until {
		return
	}
	until := now + (now-w.came)/guardShare
	if at, _ := l.estimateHeadLocked(calls, w, calls.use, now); at >= until {
		return // it would be in vain
	}
	if !l.guard.CompareAndSwap(old, &guarded{calls, until}) {
		return
	}
	for i := range calls.refs {
		e := calls.refs[i].e
		e.makeCold(cfg.groups[e.group], calls.refs[i].lim)
		l.armLocked(e, now)
	}
}

// unguardLocked guards calls no more, if they were guarded. All of the calls' shards are locked.
func (l *Limiter) unguardLocked(calls *likeCalls) {
	t := l.guard.Load()
	if t == nil || t.calls != calls || !l.guard.CompareAndSwap(t, nil) {
		return
	}
	for i := range calls.refs {
		e := calls.refs[i].e
		l.armLocked(e, l.clampKeyLocked(e, l.now()))
	}
}

// guardOfLocked returns for whom the limiter guards m's state for e's key, or nil. That
// does not depend on where the guarded call waits. e's shard is locked.
func (l *Limiter) guardOfLocked(e *entry, m *limit, now int64) *guarded {
	t := l.guard.Load()
	if t == nil || now >= t.until || !m.metered() && !m.holds() {
		return nil
	}
	for i := range t.calls.refs {
		if r := &t.calls.refs[i]; r.e == e && r.lim.position == m.position {
			return t
		}
	}
	return nil
}

// isGuardedLocked reports whether the first of calls is guarded. One of the calls' shards is locked.
func (l *Limiter) isGuardedLocked(calls *likeCalls, now int64) bool {
	t := l.guard.Load()
	return t != nil && t.calls == calls && now < t.until
}
