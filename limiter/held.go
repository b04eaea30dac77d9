package limiter

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

// noteHold remembers the end of the latest hold of all.
func (l *Limiter) noteHold(until int64) {
	for {
		old := l.heldUntil.Load()
		if old >= until || l.heldUntil.CompareAndSwap(old, until) {
			return
		}
	}
}
